"""How much room a copy needs on the target, and whether it is there: measured, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import humanize

from pfms_ha_tui.operations.clone.plan import CloneParams
from pfms_ha_tui.operations.clone.proof import Place

_SPARE = 1.05
"""A copy needs a little more than the data: the redo log of the writes meanwhile."""
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """That there is no room for both, the old data and the copy."""

    text: str
    """How much is missing, as one clause."""
    hopeless: bool
    """Nor would there be without the old data, or nobody knows."""


def room_for(source: Place) -> int:
    """Bytes that a copy takes."""
    return int(source.size * _SPARE) + _SPARE_BYTES


def lack_of_room(params: CloneParams, target: Place, source: Place) -> Lack | None:
    """``None`` when the copy fits beside the old data."""
    label, needed = params.target, room_for(source)
    if target.free is None:
        return Lack(text=f"how much room {label} has could not be measured", hopeless=True)
    if target.free >= needed:
        return None
    short = (
        f"{label} has {humanize.naturalsize(target.free)} free beside its datadir, the copy of"
        f" {params.source} needs {humanize.naturalsize(needed)}"
    )
    hopeless = target.free + target.whole < needed
    return Lack(text=f"{short}: make room" if hopeless else short, hopeless=hopeless)

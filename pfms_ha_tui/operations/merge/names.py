"""Which merge a person means: by its path, by its name, or by the beginning of that; and whose it was."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pfms_ha_tui.operations.merge.archive import Archive
from pfms_ha_tui.operations.merge.container import failure
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.ledger import load_state
from pfms_ha_tui.operations.merge.merging import ROWS

_LISTED = 5


def is_path(text: str) -> bool:
    """Whether a text is a path for sure: no merge's name holds a separator."""
    return os.sep in text or text.startswith("~")


def find(text: str, places: Iterable[Path]) -> Path:
    """The path that is meant; one with a separator is taken as it is, be it there or not.

    Args:
        text: A path, or what ``archive list`` shows as a name, or the beginning of one name alone.
        places: Directories that hold a directory for each merge.

    Raises:
        ArchiveError: there is none of that name, or several begin so, or a directory cannot be read.
    """
    if is_path(text):
        return Path(text).expanduser()
    found: list[Path] = []
    for place in dict.fromkeys(places):
        try:
            found += sorted(one for one in place.iterdir() if one.name.startswith(text) and one.is_dir())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise failure(place, error) from error
    exact = [one for one in found if one.name == text]
    chosen = exact or (found if text else [])
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise ArchiveError(f"there is no merge named {text!r}", hint="see: pfms-ha-tui archive list")
    names = [str(one) if exact else one.name for one in chosen]
    more = " …" if len(names) > _LISTED else ""
    listed = f"{', '.join(names[:_LISTED])}{more}"
    raise ArchiveError(f"{len(names)} merges begin with {text!r}", hint=f"one of {listed}")


def losing_side(directory: Path) -> str:
    """Label of the node whose rows a merge's archive holds; blocks.

    Raises:
        ArchiveError: it cannot be read.
    """
    state = load_state(directory)
    with Archive(directory / (state.archive if state is not None else ROWS)) as archive:
        return archive.head.losing.label

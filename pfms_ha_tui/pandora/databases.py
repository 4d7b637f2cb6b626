"""``tdatabase``: the DB nodes as the web console's "Manage HA" view keeps them.

The meaning of its status columns is not public: only ``label``, ``disabled`` and ``action`` are read, and
nothing is written but the end of a resync request.
"""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.pandora.entities import decode
from pfms_ha_tui.pandora.sql import Sql, text_of

RESYNC = 8
"""``action``: somebody asked for a resync in the web console."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRow:
    """One node as the web console knows it."""

    host: str
    label: str
    disabled: bool
    """Never chosen as MASTER."""
    action: int
    """0 none, 8 resync; the others are not acted upon."""


def read_databases(session: Sql) -> tuple[DatabaseRow, ...]:
    """The rows of ``tdatabase``.

    Raises:
        NodeError: the table cannot be read.
    """
    rows = session.query("SELECT host, label, disabled, action FROM tdatabase ORDER BY id")
    return tuple(
        DatabaseRow(
            host=decode(text_of(row["host"]) or ""),
            label=decode(text_of(row["label"]) or ""),
            disabled=_number(row["disabled"]) != 0,
            action=_number(row["action"]),
        )
        for row in rows
    )


def clear_resync_request(session: Sql, host: str) -> bool:
    """Take back the resync request of ``host``; whether there was one.

    Only action 8 is cleared: a request that came in meanwhile (disable, promote, …) is another's business.
    The host is compared after decoding, as the web console stores it encoded.
    """
    waiting = session.query("SELECT id, host FROM tdatabase WHERE action = %s", (RESYNC,))
    cleared = 0
    for row in waiting:
        if decode(text_of(row["host"]) or "") == host:
            cleared += session.execute(
                "UPDATE tdatabase SET action = 0 WHERE id = %s AND action = %s", (row["id"], RESYNC)
            )
    return cleared > 0


def _number(value: object) -> int:
    text = text_of(value)
    try:
        return int(text) if text is not None else 0
    except ValueError:
        return 0

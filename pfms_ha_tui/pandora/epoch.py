"""The promotion record inside the cluster's own data: ``tconfig``, token ``pfms_ha_epoch``.

A JSON object. ``epoch``, ``master``, ``worker`` and ``at`` tell which of two writable nodes is the older
one; the rest is what a worker without the journal needs to let the old master follow again. It is written
on the node that is being promoted, after its own coordinates were taken and before it is opened, so
that a node which this program opened never lacks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import EpochRecord
from pfms_ha_tui.pandora.sql import Sql, text_of

TOKEN = "pfms_ha_epoch"  # noqa: S105 - the name of a row, not a secret


class OldMaster(StrEnum):
    """How the old master was left at a promotion."""

    FOLLOWS = "follows"
    """A switchover: it was alive, locked, and everything it had was received."""
    KILLED = "killed"
    """Its process was killed by us, proven."""
    GONE = "gone"
    """Its process was gone already, proven."""
    UNPROVEN = "unproven"
    """Out of reach: it may still have been writable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One change of master, with the coordinates that a rejoin needs."""

    epoch: int
    master: str
    """Label of the promoted node."""
    worker: str
    at: float
    """Wall time, seconds."""
    old_master: str | None = None
    """Label."""
    old_state: OldMaster = OldMaster.UNPROVEN
    received: BinlogPosition | None = None
    """R: up to here, in the old master's coordinates, the new one has everything."""
    own: BinlogPosition | None = None
    """P: the new master's own coordinates before its first write of its own."""
    received_gtid: str | None = None
    """The new master's GTID set before its first write of its own, when GTIDs are in use."""
    by_gtid: bool = False
    """Whether the slaves follow by GTID."""
    old_alive_at: float | None = None
    """Wall time at which the old master was last known to be alive."""

    @property
    def record(self) -> EpochRecord:
        """The part that judging needs."""
        return EpochRecord(epoch=self.epoch, master=self.master, worker=self.worker, at=self.at)


def to_json(promotion: Promotion) -> str:
    """The value of the ``tconfig`` row."""
    return msgspec.json.encode(promotion).decode()


def from_json(value: str) -> Promotion | None:
    """The record in ``value``; ``None`` if it is not one (nobody's word is taken for a fact)."""
    try:
        return msgspec.json.decode(value, type=Promotion)
    except (msgspec.DecodeError, ValueError):
        return None


def read_epoch(session: Sql) -> Promotion | None:
    """The newest record; ``None`` when there is none that can be read.

    Raises:
        NodeError: ``tconfig`` cannot be asked.
    """
    rows = session.query("SELECT value FROM tconfig WHERE token = %s", (TOKEN,))
    found = [from_json(text_of(row["value"]) or "") for row in rows]
    return max((record for record in found if record is not None), key=lambda one: one.epoch, default=None)


def write_epoch(session: Sql, promotion: Promotion) -> None:
    """Store the record. ``token`` is no unique key in Pandora's schema, so a row is looked for first.

    Raises:
        NodeError: the server refused.
    """
    value = to_json(promotion)
    rows = session.query("SELECT id_config FROM tconfig WHERE token = %s ORDER BY id_config", (TOKEN,))
    if rows:
        session.execute("UPDATE tconfig SET value = %s WHERE id_config = %s", (value, rows[0]["id_config"]))
    else:
        session.execute("INSERT INTO tconfig (token, value) VALUES (%s, %s)", (TOKEN, value))


def read_raw(session: Sql) -> str | None:
    """The value of the row as it is; ``None`` when there is none.

    Raises:
        NodeError: ``tconfig`` cannot be asked.
    """
    rows = session.query("SELECT value FROM tconfig WHERE token = %s ORDER BY id_config LIMIT 1", (TOKEN,))
    return text_of(rows[0]["value"]) if rows else None


def restore_raw(session: Sql, value: str | None) -> None:
    """Bring the row back to ``value`` without a trace in the binary log: for a promotion that was undone.

    The node goes back to following another one, which never saw the row.

    Raises:
        NodeError: the server refused.
    """
    session.execute("SET SESSION sql_log_bin = 0")
    try:
        if value is None:
            session.execute("DELETE FROM tconfig WHERE token = %s", (TOKEN,))
        else:
            session.execute("UPDATE tconfig SET value = %s WHERE token = %s", (value, TOKEN))
    finally:
        session.execute("SET SESSION sql_log_bin = 1")

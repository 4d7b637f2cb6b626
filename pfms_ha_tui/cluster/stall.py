"""Replication that claims to run and does not move: only the history can tell."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import NodeObservation
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.topology import channel


def stalled(history: Sequence[Snapshot], slave: NodeState, master: NodeState, policy: Policy) -> str | None:
    """How replication stands still although both threads say yes, as one clause; ``None`` if it moves.

    Receiving stands still when the slave still lacks what the master had written ``stall_after`` ago
    and has received nothing since; applying, when it still has not applied what it had received then
    and has applied nothing since. A history that does not reach back that far proves nothing.
    """
    now, then = slave.last_good, _look_before(history, slave.label, policy.stall_after)
    if now is None or then is None:
        return None
    new, old = channel(now.facts), channel(then.facts)
    if new is None or old is None or new.source_host != old.source_host or new.source_port != old.source_port:
        return None
    span = words.seconds(now.mono - then.mono)
    source = _look_before(history, master.label, policy.stall_after)
    wrote = source.facts.binlog if source is not None and source.facts is not None else None
    if _stands(old.read, new.read) and _behind(new.read, wrote):
        return f"{slave.label} says it receives, but got nothing for {span} of what {master.label} wrote"
    if new.sql_delay:
        return None
    if _stands(old.executed, new.executed) and _behind(new.executed, old.read):
        return f"{slave.label} says it applies, but has done nothing for {span} of what it received"
    return None


def _look_before(history: Sequence[Snapshot], label: str, span: float) -> NodeObservation | None:
    """The newest answering probe of a node that is at least ``span`` seconds old."""
    for snapshot in reversed(history):
        node = snapshot.node(label)
        seen = node.last_good if node is not None else None
        if seen is not None and history[-1].mono - seen.mono >= span:
            return seen
    return None


def _stands(old: BinlogPosition | None, new: BinlogPosition | None) -> bool:
    return old is not None and old == new


def _behind(one: BinlogPosition | None, other: BinlogPosition | None) -> bool:
    return one is not None and other is not None and one.comparable(other) and one < other

"""Whether a read-only master is so because its server restarted, or because somebody wanted it."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster.assemble import UPTIME_JITTER
from pfms_ha_tui.cluster.masters import newest_record, own_epoch
from pfms_ha_tui.cluster.observation import EpochRecord, NodeObservation
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot

_OPENING = 5.0
"""Seconds from a promotion's record to the node being open: a look in between still shows it read-only."""


def restarted_read_only(history: Sequence[Snapshot], node: NodeState) -> bool:
    """Whether ``node`` was writable until its server restarted; unknown counts as no.

    Writable it was if it was seen so, or if it was promoted after the last look at the server that ran then:
    a node that dies the moment it is promoted is never seen writable, and nobody can have locked it either.
    """
    return node.restarted_readonly or _restarted_since_promotion(history, node)


def _restarted_since_promotion(history: Sequence[Snapshot], node: NodeState) -> bool:
    seen, record = node.last_good, newest_record(history[-1])
    if seen is None or record is None or record.master != node.label or own_epoch(node) != record.epoch:
        return False
    started = _started(seen)
    if started is None or not _began_after(seen, record):
        return False
    for snapshot in reversed(history[:-1]):
        known = snapshot.node(node.label)
        earlier = known.last_good if known is not None else None
        before = _started(earlier) if earlier is not None else None
        if earlier is not None and before is not None and started - before > UPTIME_JITTER:
            return earlier.at <= record.at + _OPENING
    return False


def _began_after(seen: NodeObservation, record: EpochRecord) -> bool:
    """By the server's own clock: this host's may have been set since. To about a second, as uptime is."""
    facts = seen.facts
    if facts is None or facts.clock is None or facts.uptime is None:
        return False
    return facts.clock - facts.uptime > record.at - UPTIME_JITTER


def _started(seen: NodeObservation) -> float | None:
    """Monotonic time of the server's start, to about a second."""
    if seen.facts is None or seen.facts.uptime is None:
        return None
    return seen.mono - seen.facts.uptime

"""What in an observation is news, and what of it is kept."""

from __future__ import annotations

from pfms_ha_tui.cluster.event import LagSample
from pfms_ha_tui.cluster.observation import NodeObservation, Replication
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot


def tells_more(before: NodeObservation, seen: NodeObservation) -> bool:
    """Whether an observation is news that a judgement should not wait a tick for."""
    if before.reach is not seen.reach or (not seen.reach.answers and before.attempts != seen.attempts):
        return True
    if seen.facts is None or before.facts is None:
        return (seen.facts is None) is not (before.facts is None)
    return before.facts.read_only is not seen.facts.read_only or _threads(
        before.facts.replication
    ) != _threads(seen.facts.replication)


def _threads(replication: tuple[Replication, ...] | None) -> object:
    if replication is None:
        return None
    return [
        (one.source_host, one.source_port, one.io, one.sql, one.io_errno, one.sql_errno)
        for one in replication
    ]


def lag_sample(node: NodeState, snapshot: Snapshot) -> LagSample | None:
    """The slave's lag now: of its newest observation, or unknown while it does not answer."""
    if node.role is not Role.SLAVE:
        return None
    if not node.answers or node.observation is None:
        return LagSample(at=snapshot.at, seconds=None, bytes=None)
    replication = node.replication
    behind = replication.seconds_behind if replication is not None else None
    return LagSample(at=node.observation.at, seconds=behind, bytes=node.bytes_behind)

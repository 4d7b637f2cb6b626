"""Who follows whom, and whose word still counts: plain questions to a snapshot.

"Fresh" means younger than ``stale_after`` (and never younger than two ticks). A node whose newest
probe is not fresh is neither up nor down: nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pfms_ha_tui.cluster.observation import IoState, Reach, Replication, ServerFacts
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot

Addresses = Mapping[tuple[str, int], str]
"""(host in lower case, port) → label."""


def source_labels(nodes: Sequence[NodeState]) -> dict[str, str | None]:
    """For every node, the label of the node that its first channel follows; see :func:`source_label`."""
    addresses = _addresses(nodes)
    return {
        node.label: source_label(nodes, node, node.replication, addresses) if node.replication else None
        for node in nodes
    }


def source_label(
    nodes: Sequence[NodeState],
    follower: NodeState,
    replication: Replication,
    addresses: Addresses | None = None,
) -> str | None:
    """The label of the node that a channel follows; ``None`` when it is none of the cluster's.

    By configured address first, then by the name the server gives itself, then by identity. A bare
    server id is no identity (a foreign master may well be number 1 too): on MariaDB it counts only if
    that node also lists the follower among its slaves.
    """
    host = replication.source_host.casefold()
    label = (addresses or _addresses(nodes)).get((host, replication.source_port))
    if label is not None:
        return label if label != follower.label else None
    others = [node for node in nodes if node.label != follower.label]
    named = [node.label for node in others if node.port == replication.source_port and _is_named(node, host)]
    if len(named) == 1:
        return named[0]
    for node in others:
        if node.facts is not None and _is_identity(node.facts, follower.facts, replication):
            return node.label
    return None


def _addresses(nodes: Sequence[NodeState]) -> Addresses:
    return {(node.host.casefold(), node.port): node.label for node in nodes}


def _is_named(node: NodeState, host: str) -> bool:
    if node.facts is None:
        return False
    for name in (node.facts.report_host, node.facts.hostname):
        if name and name.casefold() not in ("localhost", "localhost.localdomain"):
            own = name.casefold()
            if own == host or own.startswith(host + ".") or host.startswith(own + "."):
                return True
    return False


def _is_identity(source: ServerFacts, follower: ServerFacts | None, replication: Replication) -> bool:
    if replication.source_uuid and source.server_uuid:
        return replication.source_uuid.casefold() == source.server_uuid.casefold()
    if replication.source_server_id is None or follower is None or follower.server_id is None:
        return False
    return replication.source_server_id == source.server_id and any(
        slave.server_id == follower.server_id for slave in source.slaves
    )


def source_of(snapshot: Snapshot, node: NodeState) -> NodeState | None:
    """The node of the cluster that ``node`` follows by its newest facts, if any."""
    return snapshot.node(node.source) if node.source is not None else None


def slaves_of(snapshot: Snapshot, master: NodeState) -> list[NodeState]:
    """Nodes configured to follow ``master``, by their newest facts, in the configured order."""
    return in_order(node for node in snapshot.nodes if node.source == master.label)


def in_order(nodes: Iterable[NodeState]) -> list[NodeState]:
    """In the configured order."""
    return sorted(nodes, key=lambda node: (node.order, node.label))


def stale_after(policy: Policy) -> float:
    """Seconds after which an observation no longer counts; a slow beat must not make all of them stale."""
    return max(policy.stale_after, 2 * policy.interval)


def fresh(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether the newest probe still says how the node is."""
    return node.observation is not None and snapshot.mono - node.observation.mono <= stale_after(policy)


def reach(node: NodeState, snapshot: Snapshot, policy: Policy) -> Reach:
    """The newest probe's outcome; ``UNKNOWN`` when there is none or it is stale."""
    if node.observation is None or not fresh(node, snapshot, policy):
        return Reach.UNKNOWN
    return node.observation.reach


def answers(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether the server process answers now."""
    return reach(node, snapshot, policy).answers


def silent(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether a fresh probe got no answer from the server process (for whatever reason)."""
    return fresh(node, snapshot, policy) and not node.answers


def current(node: NodeState, snapshot: Snapshot, policy: Policy) -> ServerFacts | None:
    """Facts that the newest probe itself brought and that are fresh; else ``None``."""
    if node.observation is None or not answers(node, snapshot, policy):
        return None
    return node.observation.facts


def channel(facts: ServerFacts | None) -> Replication | None:
    """The (first) channel that facts tell of."""
    return facts.replication[0] if facts is not None and facts.replication else None


def writers(snapshot: Snapshot, policy: Policy) -> list[NodeState]:
    """Nodes that take writes of their own now, in the configured order.

    A writable node that follows another one is a slave with an open door, not a second master, unless
    both its threads were stopped or the two follow each other.
    """
    writable = [node for node in snapshot.nodes if _writable_now(node, snapshot, policy)]
    return in_order(node for node in writable if not _tied(node, writable, snapshot, policy))


def _writable_now(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    facts = current(node, snapshot, policy)
    return facts is not None and facts.read_only is False


def _tied(node: NodeState, writable: Sequence[NodeState], snapshot: Snapshot, policy: Policy) -> bool:
    replication = channel(current(node, snapshot, policy))
    if replication is None or (replication.io is IoState.NO and not replication.sql):
        return False
    source = source_of(snapshot, node)
    if source is None:
        return True
    back = source_of(snapshot, source) if any(other.label == source.label for other in writable) else None
    return back is None or back.label != node.label


def inferred_master(snapshot: Snapshot, policy: Policy) -> NodeState | None:
    """The node that is master by what the nodes themselves do, present or dead; ``None`` if they disagree.

    The only writer; without one, the only node that was a writer when last seen; else the node that
    every slave follows.
    """
    now = writers(snapshot, policy)
    if now:
        return now[0] if len(now) == 1 else None
    last = [node for node in snapshot.nodes if node.role is Role.MASTER]
    if len(last) == 1:
        return last[0]
    followed = {
        source.label for node in snapshot.nodes if (source := source_of(snapshot, node)) is not None
    } - {node.label for node in snapshot.nodes if node.replication is not None}
    return snapshot.node(followed.pop()) if len(followed) == 1 and not last else None

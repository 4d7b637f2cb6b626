"""Which node is the master, and which one only believes it: the epochs inside the cluster's own data.

Every promotion leaves a record (epoch, master) in the promoted node's data, from where it replicates.
Whatever copy of it is found, it proves that this promotion took place; so a node whose own copy,
read since it came back, is older than the newest copy anywhere was master before that promotion.
The journal alone is no such proof: it is written before the promotion, which may have failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import EpochRecord
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Role, Snapshot
from pfms_ha_tui.cluster.topology import answers, current, in_order, inferred_master, writers

_UNREAD = ("epoch", "pandora", "tconfig")
"""Keys of ``NodeObservation.missing`` that mean the record could not be read, not that there is none."""


def newest_record(snapshot: Snapshot) -> EpochRecord | None:
    """The newest promotion that any copy of the data tells of, however old the copy."""
    records = [
        node.pandora_seen.pandora.epoch
        for node in snapshot.nodes
        if node.pandora_seen is not None
        and node.pandora_seen.pandora is not None
        and node.pandora_seen.pandora.epoch is not None
    ]
    return max(records, key=lambda record: record.epoch, default=None)


def own_epoch(node: NodeState) -> int | None:
    """The epoch in the node's data as read since it stands as it does; 0 without a record; ``None`` unread.

    A copy from before it came back, or from before it became writable, proves nothing: another worker
    may have promoted it in between.
    """
    seen = node.pandora_seen
    if seen is None or seen.pandora is None or node.standing_since is None:
        return None
    if seen.mono < node.standing_since or any(key in seen.missing for key in _UNREAD):
        return None
    return seen.pandora.epoch.epoch if seen.pandora.epoch is not None else 0


def outdated(snapshot: Snapshot, node: NodeState) -> str | None:
    """The proof, in one sentence, that a later promotion made another node master; ``None`` without one."""
    newest, own = newest_record(snapshot), own_epoch(node)
    if newest is None or own is None or newest.master == node.label or own >= newest.epoch:
        return None
    carries = f"carries epoch {own}" if own else "carries no promotion record"
    return f"{node.label} {carries}, {newest.master} was made master in epoch {newest.epoch}"


def rightful_writers(snapshot: Snapshot, policy: Policy) -> list[NodeState]:
    """Writers without those that a later promotion replaced."""
    return [node for node in writers(snapshot, policy) if outdated(snapshot, node) is None]


def master_of(snapshot: Snapshot, policy: Policy, facts: JournalFacts) -> NodeState | None:
    """The node taken for the master, present or dead; ``None`` when nobody can tell.

    The only rightful writer; else, by the known roles, the one that was; else what the nodes' own
    configuration says. Two rightful writers have no master unless the known roles name one of them.
    """
    rightful = rightful_writers(snapshot, policy)
    if len(rightful) == 1:
        return rightful[0]
    known = snapshot.node(facts.master) if facts.roles_known and facts.master is not None else None
    if rightful:
        return known if any(node is known for node in rightful) else None
    if known is not None:
        return known
    guess = inferred_master(snapshot, policy)
    return guess if guess is not None and outdated(snapshot, guess) is None else None


def rivals(snapshot: Snapshot, policy: Policy, facts: JournalFacts) -> list[NodeState]:
    """Every node of a true split-brain: two or more rightful writers; empty without one.

    A known master that answers but cannot be read (say, error 1040) still counts while it was
    writable when last read: another writer beside it is a split-brain, not its successor.
    """
    rightful = rightful_writers(snapshot, policy)
    known = snapshot.node(facts.master) if facts.roles_known and facts.master is not None else None
    if (
        rightful
        and known is not None
        and answers(known, snapshot, policy)
        and current(known, snapshot, policy) is None
        and known.role is Role.MASTER
        and all(node.label != known.label for node in rightful)
    ):
        rightful = in_order([known, *rightful])
    return rightful if len(rightful) > 1 else []


def returned_masters(snapshot: Snapshot, policy: Policy) -> list[NodeState]:
    """Nodes that answer, follow nobody (or write on their own) and carry an older epoch."""
    open_ones = {node.label for node in writers(snapshot, policy)}
    candidates = [
        node for node in snapshot.nodes if node.label in open_ones or _locked(node, snapshot, policy)
    ]
    return in_order(node for node in candidates if outdated(snapshot, node) is not None)


def _locked(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    now = current(node, snapshot, policy)
    return now is not None and now.read_only is True and now.replication == ()


def winner_of(sides: Sequence[NodeState], facts: JournalFacts) -> tuple[NodeState | None, str]:
    """The side that stays master: by the journal, then the newest keep-alive, then the configured order."""
    if facts.roles_known:
        for node in sides:
            if node.label == facts.master:
                return node, "the known master"
    ages = {node.label: _newest_keepalive(node) for node in sides}
    known = {label: age for label, age in ages.items() if age is not None}
    if len(known) < len(sides):
        missing = words.labels([label for label, age in ages.items() if age is None])
        return None, f"the newest contact of a Pandora server on {missing} is not known"
    best = max(known.values())
    newest = [node for node in sides if known[node.label] == best]
    if len(newest) == 1:
        return newest[0], "the newest contact of a Pandora server"
    return newest[0], "first in the configured order"


def _newest_keepalive(node: NodeState) -> float | None:
    seen = node.pandora_seen
    return seen.pandora.newest_keepalive if seen is not None and seen.pandora is not None else None

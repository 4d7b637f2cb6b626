"""Which slave may become master, and why another may not.

``why_not_candidate`` is the one gate that readiness, the worker's decision, the wizards, the keys and
the command line share.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import Flavor, IoState, Reach, ServerFacts
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot, SyncState
from pfms_ha_tui.cluster.topology import current, fresh, in_order, reach, source_of
from pfms_ha_tui.cluster.transactions import own_transactions


def why_not_candidate(
    history: Sequence[Snapshot],
    node: NodeState,
    master: NodeState,
    policy: Policy,
    facts: JournalFacts,
    *,
    by_person: bool = False,
    named: bool = False,
) -> str | None:
    """The reason, as one clause, why ``node`` may not take over from ``master``; ``None`` if it may.

    Args:
        history: Snapshots, oldest first; ``node`` and ``master`` are of the newest.
        node: The slave in question.
        master: The present or dead master.
        policy: The thresholds.
        facts: What the journal remembers.
        by_person: Whether a person decides, who sees the loss meter: then lag and what the slave did
            when the fault began do not stand against it.
        named: Whether that person names this very node: then a resync that failed or was cancelled, and
            left its old data in place, does not stand against it either.
    """
    snapshot = history[-1]
    return (
        _standing(node, master, snapshot, policy, facts, named=named)
        or _replication(node, master, snapshot, policy, by_person=by_person)
        or _lag(node, master, policy, by_person=by_person)
        or _binary_log(node, snapshot, policy)
        or _own_data(history, node, master, policy)
    )


def only_by_name(
    history: Sequence[Snapshot], master: NodeState, policy: Policy, facts: JournalFacts
) -> str | None:
    """The one node that a person may promote, if only by its name; ``None``: there is none, or a choice."""
    others = [node for node in history[-1].nodes if node.label != master.label]

    def able(*, named: bool) -> list[str]:
        return [
            node.label
            for node in others
            if why_not_candidate(history, node, master, policy, facts, by_person=True, named=named) is None
        ]

    found = able(named=True)
    return found[0] if len(found) == 1 and not able(named=False) else None


def eligible(
    history: Sequence[Snapshot], master: NodeState, policy: Policy, facts: JournalFacts
) -> list[NodeState]:
    """Every node that may take over by itself, in the configured order."""
    return in_order(
        node for node in history[-1].nodes if why_not_candidate(history, node, master, policy, facts) is None
    )


def choose(
    history: Sequence[Snapshot], master: NodeState, policy: Policy, facts: JournalFacts
) -> NodeState | None:
    """The node that takes over: the one that received most, then the configured order.

    While the master answers, nobody knows which slave will have received most when it dies; then a
    slave that does not lag comes first, so that the name on the screen does not flicker.
    """
    found = eligible(history, master, policy, facts)
    if not found:
        return None
    if master.answers:
        return next((node for node in found if not _lags(node, policy)), found[0])
    best = found[0]
    for node in found[1:]:
        if received_more(node, best):
            best = node
    return best


def _lags(node: NodeState, policy: Policy) -> bool:
    lag = node.replication.seconds_behind if node.replication is not None else None
    return lag is None or lag > policy.warn_lag


def received_more(node: NodeState, best: NodeState) -> bool:
    """Whether ``node`` is known to have received more of its master than ``best``."""
    one = node.replication.read if node.replication is not None else None
    other = best.replication.read if best.replication is not None else None
    return one is not None and other is not None and one.comparable(other) and one > other


def _standing(
    node: NodeState,
    master: NodeState,
    snapshot: Snapshot,
    policy: Policy,
    facts: JournalFacts,
    *,
    named: bool,
) -> str | None:
    name = node.label
    if name == master.label:
        return f"{name} is the master"
    if node.disabled:
        return f"{name} is disabled"
    if name in facts.diverged:
        return f"{name} has diverged and needs a resync"
    if name in facts.failed_resync or node.sync.state is SyncState.FAILED:
        untouched = node.sync.state is SyncState.FAILED and node.sync.untouched
        if not (named and untouched):
            return f"{name} needs a resync"
    if node.sync.state is SyncState.RUNNING:
        return f"{name} is being resynced"
    if not fresh(node, snapshot, policy):
        return f"there is no fresh word from {name}"
    state = reach(node, snapshot, policy)
    if state is Reach.IMPAIRED:
        return f"{name} answers, but with an error"
    if state is not Reach.ALIVE:
        return f"{name} does not answer"
    if current(node, snapshot, policy) is None:
        return f"{name} answers, but could not be read"
    if not answered_since_fault(node, master):
        return f"{name} has not been seen since {master.label} stopped answering"
    return None


def _replication(
    node: NodeState, master: NodeState, snapshot: Snapshot, policy: Policy, *, by_person: bool
) -> str | None:
    name = node.label
    now = current(node, snapshot, policy)
    if now is None or now.replication is None:
        return f"whether {name} replicates may not be read"
    if not now.replication:
        return f"{name} follows nobody"
    if len(now.replication) > 1:
        return f"{name} follows several masters"
    replication = now.replication[0]
    source = source_of(snapshot, node)
    if source is None or source.label != master.label:
        return f"{name} follows {source.label if source else replication.source_host}, not {master.label}"
    if not replication.sql:
        return f"{name} does not apply what it receives{_error(replication.sql_errno, replication.sql_error)}"
    if master.fault_since is None:
        if replication.io is not IoState.YES:
            return f"{name} does not receive{_error(replication.io_errno, replication.io_error)}"
        return None
    if replication.io is IoState.NO and not replication.io_errno:
        return f"receiving was stopped on {name}"
    if by_person or node.streaming_at_fault:
        return None
    if node.streaming_at_fault is None:
        return f"it is not known whether {name} was receiving from {master.label} when the fault began"
    return f"{name} was not receiving from {master.label} when the fault began"


def _error(errno: int, text: str) -> str:
    return f" (error {errno}: {words.quoted(text)})" if errno else ""


def answered_since_fault(node: NodeState, master: NodeState) -> bool:
    """Whether the node's last answer is from within the master's fault: a common end leaves older ones."""
    if master.fault_since is None:
        return True
    return node.answered_at is not None and node.answered_at >= master.fault_since


def lag_of(node: NodeState, master: NodeState) -> float | None:
    """Seconds the node is behind as far as its server tells; ``None`` = unknown, which is not zero.

    Once the master is silent the server says NULL, and what counts is what it said while it received;
    a greater number that it still gives is believed.
    """
    replication = node.replication
    if replication is None:
        return None
    now = replication.seconds_behind
    if master.fault_since is None:
        return now
    if node.streamed_lag is None:
        return None
    return max(node.streamed_lag, now) if now is not None else node.streamed_lag


def _lag(node: NodeState, master: NodeState, policy: Policy, *, by_person: bool) -> str | None:
    replication = node.replication
    if replication is None or replication.read is None or replication.executed is None:
        return f"how far {node.label} is cannot be read"
    if by_person:
        return None
    lag = lag_of(node, master)
    if lag is None:
        return f"the lag of {node.label} is not known"
    if lag > policy.max_lag:
        return f"{node.label} is {words.seconds(lag)} behind, more than {words.seconds(policy.max_lag)}"
    return None


def _binary_log(node: NodeState, snapshot: Snapshot, policy: Policy) -> str | None:
    now = current(node, snapshot, policy)
    log_bin = now.log_bin if now is not None else None
    if log_bin is None:
        return f"whether {node.label} writes a binary log is not known"
    return None if log_bin else f"{node.label} writes no binary log: nobody could follow it"


def _own_data(history: Sequence[Snapshot], node: NodeState, master: NodeState, policy: Policy) -> str | None:
    extra = own_transactions(history, node, master)
    if extra is not None:
        return f"{node.label} has {extra}"
    now = current(node, history[-1], policy)
    if now is None or now.read_only is None:
        return f"whether {node.label} is read-only is not known"
    if not now.read_only and not _complete_gtids(now, master.facts):
        return f"{node.label} is writable: nobody can tell whether it has rows of its own"
    return None


def _complete_gtids(one: ServerFacts, other: ServerFacts | None) -> bool:
    """Whether both keep whole GTID sets, in which any transaction of one's own would have shown."""
    return other is not None and all(
        facts.flavor is Flavor.MYSQL and facts.gtid_mode is True and facts.gtid_executed is not None
        for facts in (one, other)
    )

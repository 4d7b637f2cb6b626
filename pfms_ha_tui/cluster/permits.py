"""Why a person may not start an operation now: one clause or None, for keys, wizards and commands alike."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.candidates import only_by_name, why_not_candidate
from pfms_ha_tui.cluster.diagnosis import Diagnosis
from pfms_ha_tui.cluster.guards import why_not_remembered
from pfms_ha_tui.cluster.masters import outdated, rivals
from pfms_ha_tui.cluster.observation import Reach, SshState
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot, SyncState
from pfms_ha_tui.cluster.topology import answers, current, reach, silent, writers
from pfms_ha_tui.cluster.transactions import own_transactions


def why_not_change(history: Sequence[Snapshot], policy: Policy, facts: JournalFacts) -> str | None:
    """Why nothing at all may be changed: nothing seen yet, mode observe, another operation, no ledger."""
    if not history:
        return "no node has been asked yet"
    if policy.mode is Mode.OBSERVE:
        return "the mode is observe: nothing is ever changed"
    if facts.operation is not None:
        return f"an operation is running: {words.quoted(facts.operation).rstrip('.')}"
    return why_not_remembered(facts)


def why_not_failover(
    history: Sequence[Snapshot],
    diagnosis: Diagnosis,
    policy: Policy,
    facts: JournalFacts,
    *,
    target: str | None = None,
) -> str | None:
    """Why a person may not fail over (to ``target``, or to anybody); lag and a missing verdict do not count.

    The person has seen the loss meter; a master that answers is for a switchover. One who names the target
    may take a node whose resync failed or was cancelled, too, if that left its old data in place; where it is
    the only one left, it is proposed, and its name has to be typed.
    """
    why = why_not_change(history, policy, facts)
    if why is not None:
        return why
    snapshot = history[-1]
    if rivals(snapshot, policy, facts):
        return "more than one node is writable: choose the side that stays master first"
    master = snapshot.node(diagnosis.master) if diagnosis.master is not None else None
    if master is None:
        return "it is not known which node was the master: name it first"
    if answers(master, snapshot, policy):
        return f"{master.label} answers: use a switchover"
    if not silent(master, snapshot, policy):
        return f"there is no fresh word about {master.label}"
    others = [node for node in snapshot.nodes if node.label != master.label]
    if target is not None:
        others = [node for node in others if node.label == target]
        if not others:
            return f"{target} is the master" if target == master.label else f"there is no node {target}"
    named = target is not None
    reasons = [
        why_not_candidate(history, node, master, policy, facts, by_person=True, named=named)
        for node in others
    ]
    if None in reasons or (not named and only_by_name(history, master, policy, facts) is not None):
        return None
    return "; ".join(reason for reason in reasons if reason is not None) or "there is no other node"


def why_not_switchover(
    target: str, history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> str | None:
    """Why ``target`` may not become master by a planned change."""
    why = why_not_change(history, policy, facts)
    if why is not None:
        return why
    snapshot = history[-1]
    node = snapshot.node(target)
    if node is None:
        return f"there is no node {target}"
    if rivals(snapshot, policy, facts):
        return "more than one node is writable: choose the side that stays master first"
    master = snapshot.node(diagnosis.master) if diagnosis.master is not None else None
    if master is None:
        return "it is not known which node is the master"
    if master.label == target:
        return f"{target} is the master already"
    if not answers(master, snapshot, policy):
        return f"{master.label} does not answer: that is for a failover"
    if current(master, snapshot, policy) is None:
        return f"{master.label} answers, but cannot be read"
    if all(writer.label != master.label for writer in writers(snapshot, policy)):
        return f"{master.label} is not writable"
    return why_not_candidate(history, node, master, policy, facts)


def why_not_reopen(
    target: str, history: Sequence[Snapshot], policy: Policy, facts: JournalFacts
) -> str | None:
    """Why ``target`` may not be made writable again as the master it was.

    Every other node must answer: one that does not may have been promoted by another worker.
    """
    why = why_not_change(history, policy, facts)
    if why is not None:
        return why
    snapshot = history[-1]
    node = snapshot.node(target)
    now = current(node, snapshot, policy) if node is not None else None
    if node is None or now is None or reach(node, snapshot, policy) is not Reach.ALIVE:
        return f"{target} does not answer or cannot be read"
    if now.read_only is not True:
        return f"{target} is not read-only"
    if now.replication != ():
        return f"{target} follows another server"
    proof = outdated(snapshot, node)
    if proof is not None:
        return proof
    if target in facts.diverged or target in facts.failed_resync:
        return f"{target} needs a resync"
    return _why_not_alone(node, snapshot, policy)


def _why_not_alone(node: NodeState, snapshot: Snapshot, policy: Policy) -> str | None:
    for other in snapshot.nodes:
        if other.label == node.label:
            continue
        now = current(other, snapshot, policy)
        if now is None or now.read_only is None:
            return f"whether {other.label} was promoted meanwhile is not known"
        if not now.read_only:
            return f"{other.label} is writable"
    return None


def why_not_rejoin(
    target: str, history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> str | None:
    """Why ``target`` may not become a slave again at the recorded coordinates (which the rejoin checks)."""
    why = why_not_change(history, policy, facts)
    if why is not None:
        return why
    snapshot = history[-1]
    node = snapshot.node(target)
    if node is None:
        return f"there is no node {target}"
    master = snapshot.node(diagnosis.master) if diagnosis.master is not None else None
    if master is None or current(master, snapshot, policy) is None or not _writes(master, snapshot, policy):
        return "there is no master that it could follow"
    if master.label == target:
        return f"{target} is the master"
    now = current(node, snapshot, policy)
    if now is None:
        return f"{target} does not answer or cannot be read"
    if now.replication is None:
        return f"whether {target} replicates may not be read"
    if now.replication:
        return f"{target} follows a server already"
    if now.read_only is not True:
        return f"{target} is writable: lock it first"
    if target in facts.diverged:
        return f"{target} has diverged: {words.quoted(facts.diverged[target]).rstrip('.')}"
    if target in facts.failed_resync or node.sync.state is not SyncState.OK:
        return f"{target} needs a resync"
    extra = own_transactions(history, node, master)
    return f"{target} has {extra}" if extra is not None else None


def _writes(node: NodeState, snapshot: Snapshot, policy: Policy) -> bool:
    return any(writer.label == node.label for writer in writers(snapshot, policy))


def why_not_resync(
    target: str,
    history: Sequence[Snapshot],
    diagnosis: Diagnosis,
    policy: Policy,
    facts: JournalFacts,
    *,
    source: str | None = None,
) -> str | None:
    """Why ``target`` may not be rebuilt from another node; the only good copy is never overwritten.

    A running operation is no reason: requests queue.
    """
    if not history:
        return "no node has been asked yet"
    if policy.mode is Mode.OBSERVE:
        return "the mode is observe: nothing is ever changed"
    forgetful = why_not_remembered(facts)
    if forgetful is not None:
        return forgetful
    snapshot = history[-1]
    node = snapshot.node(target)
    if node is None:
        return f"there is no node {target}"
    if node.sync.state in (SyncState.QUEUED, SyncState.RUNNING):
        return f"{target} is being resynced already"
    if target in facts.diverged:
        # A resync would throw away the only copy of those rows.
        return f"{target} holds rows that nobody else has: merge them first"
    if diagnosis.master is None:
        return "it is not known which node is the master"
    if diagnosis.master == target or facts.master == target:
        return f"{target} is the master"
    if _writes(node, snapshot, policy):
        return f"{target} takes writes of its own: lock it first"
    if node.shell is not None and node.shell.state is SshState.OFF:
        return f"SSH to {target}'s host is not configured"
    if node.shell is None or node.shell.state is not SshState.UP:
        return f"there is no SSH to {target}'s host"
    return _why_no_source(target, source, snapshot, diagnosis, policy, facts)


def _why_no_source(
    target: str,
    source: str | None,
    snapshot: Snapshot,
    diagnosis: Diagnosis,
    policy: Policy,
    facts: JournalFacts,
) -> str | None:
    others = [node for node in snapshot.nodes if node.label != target]
    if source is not None:
        others = [node for node in others if node.label == source]
        if not others:
            return f"{source} is the target itself" if source == target else f"there is no node {source}"
    reasons = [_why_not_source(node, snapshot, diagnosis, policy, facts) for node in others]
    if None in reasons:
        return None
    return "; ".join(reason for reason in reasons if reason is not None) or "there is no node to copy from"


def _why_not_source(
    node: NodeState, snapshot: Snapshot, diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> str | None:
    name = node.label
    now = current(node, snapshot, policy)
    if now is None:
        return f"{name} does not answer or cannot be read"
    if name in facts.diverged or name in facts.failed_resync or node.sync.state is not SyncState.OK:
        return f"{name} needs a resync itself"
    if name == diagnosis.master:
        return None
    replication = now.replication[0] if now.replication else None
    if replication is None or not replication.sql:
        return f"{name} does not replicate"
    return None

"""Which slave is to be resynced by itself: one whose data no longer fits what it receives, and stays so.

Only with ``splitbrain_autofix``, only so many times a day, and never a node that may hold what nobody else
has. Replication that somebody stopped, a full disk, a lost connection are no reasons: a fresh copy would
not help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import Diagnosis
from pfms_ha_tui.cluster.guards import why_not_roles
from pfms_ha_tui.cluster.masters import rightful_writers
from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.cluster.permits import why_not_resync
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot
from pfms_ha_tui.cluster.topology import current
from pfms_ha_tui.cluster.transactions import own_transactions

DATA_ERRORS = frozenset(
    {
        *(1007, 1008, 1049),  # the database is there already, or is not
        *(1050, 1051, 1054, 1060, 1061, 1072, 1091, 1146),  # tables, columns, keys that differ
        *(1032, 1062, 1451, 1452),  # rows that are missing, or there already
        *(1396, 1677),  # accounts, column types
        *(1594, 13121),  # its relay log cannot be read
    }
)
"""Errors of the SQL thread that say: the data, or the relay log, is not what the master's log expects."""
LOG_ERRORS = frozenset({1236, 13114})
"""Errors of the IO thread that say: the master no longer has what it would have to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedResync:
    """A slave to be rebuilt from the cluster's master."""

    target: str
    master: str
    reason: str
    obstacles: tuple[str, ...]
    """What stands against doing it by itself."""


def wanted_resyncs(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> Sequence[WantedResync]:
    """Every slave that needs it, those that may have it first; none without ``splitbrain_autofix``."""
    if not policy.splitbrain_autofix or not history:
        return ()
    snapshot = history[-1]
    rightful = rightful_writers(snapshot, policy)
    if len(rightful) != 1:
        return ()
    master, wanted = rightful[0], list[WantedResync]()
    for node in snapshot.nodes:
        why = _permitted(node.label, facts) or _broken_for_long(history, node, master, policy)
        if why is None or node.label == master.label:
            continue
        wanted.append(
            WantedResync(
                target=node.label,
                master=master.label,
                reason=why,
                obstacles=tuple(dict.fromkeys(_obstacles(history, diagnosis, policy, facts, node, master))),
            )
        )
    return sorted(wanted, key=lambda one: bool(one.obstacles))


def _permitted(label: str, facts: JournalFacts) -> str | None:
    """Why it may be rebuilt once its rows are merged; only as long as it is marked as needing that."""
    return facts.to_resync.get(label) if label in facts.failed_resync else None


def why_broken(node: NodeState) -> str | None:
    """Why a slave cannot go on with the data it has, as one clause; ``None`` when it can, or nobody knows."""
    replication = node.replication
    if replication is None:
        return None
    if not replication.sql and replication.sql_errno in DATA_ERRORS:
        return f"{node.label} cannot apply what it receives (error {replication.sql_errno})"
    if replication.io is not IoState.YES and replication.io_errno in LOG_ERRORS:
        return f"{node.label} can no longer be sent what it lacks (error {replication.io_errno})"
    return None


def _broken_for_long(
    history: Sequence[Snapshot], node: NodeState, master: NodeState, policy: Policy
) -> str | None:
    """Why it is broken, if it has been for as long as a person is given to repair it."""
    snapshot = history[-1]
    if current(node, snapshot, policy) is None or node.source != master.label:
        return None
    since = snapshot.mono
    for one in reversed(history):
        then = one.node(node.label)
        if then is None or why_broken(then) is None:
            break
        since = one.mono
    return why_broken(node) if snapshot.mono - since >= policy.resync_hold else None


def _obstacles(
    history: Sequence[Snapshot],
    diagnosis: Diagnosis,
    policy: Policy,
    facts: JournalFacts,
    node: NodeState,
    master: NodeState,
) -> list[str]:
    label, attempts = node.label, facts.auto_resyncs.get(node.label, 0)
    found = []
    if attempts >= policy.resync_retries:
        times = "once" if attempts == 1 else f"{attempts} times"
        found.append(f"{label} was resynced by itself {times} within a day: a person has to look")
    permitted = _permitted(label, facts) is not None
    if label in facts.failed_resync and not attempts and not permitted:
        found.append(f"{label} is marked as needing a resync by hand")
    reasons = (why_not_roles(facts), why_not_resync(label, history, diagnosis, policy, facts))
    found += [why for why in reasons if why is not None]
    if facts.master != master.label:
        found.append(f"{master.label} is not the known master")
    if permitted:
        if current(node, history[-1], policy) is None:
            found.append(f"{label} cannot be read: whether it holds more by now is not known")
        elif node.writable:
            found.append(f"{label} is writable again: it may hold rows that are not merged")
        return found
    extra = own_transactions(history, node, master)
    if extra is not None:
        found.append(f"{label} has {extra}")
    if any(then.writable for one in history if (then := one.node(label)) is not None):
        found.append(f"{label} was writable a moment ago: it may hold rows of its own")
    if label in facts.diverged:
        found.append(f"{label} has diverged: {words.quoted(facts.diverged[label]).rstrip('.')}")
    return found

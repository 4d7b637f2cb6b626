"""What the worker does by itself, or why it does not: one pure function of what is known.

An action needs the mode automatic, no maintenance, no other operation and no rival manager; each
action then has conditions of its own. Whatever is not known counts against acting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind
from pfms_ha_tui.cluster.guards import why_not_armed, why_not_roles
from pfms_ha_tui.cluster.judge import ACTIONABLE
from pfms_ha_tui.cluster.learning import learn
from pfms_ha_tui.cluster.masters import (
    master_of,
    newest_record,
    outdated,
    own_epoch,
    returned_masters,
    rightful_writers,
    rivals,
    winner_of,
)
from pfms_ha_tui.cluster.permits import why_not_rejoin, why_not_reopen
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.restarts import restarted_read_only
from pfms_ha_tui.cluster.resyncing import wanted_resyncs
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot, SyncState
from pfms_ha_tui.cluster.topology import current, silent, writers

__all__ = ["Action", "Decision", "decide", "learn"]


class Action(StrEnum):
    """What can be done by itself."""

    NONE = "none"
    FAILOVER = "failover"
    LOCK = "lock"
    """Make a returned old master read-only and end its sessions."""
    REJOIN = "rejoin"
    """Make a locked old master a slave again."""
    REOPEN = "reopen"
    """Make the unchanged master writable again after it restarted read-only."""
    RESYNC = "resync"
    """Rebuild a slave whose replication broke, with ``splitbrain_autofix``."""
    MERGE_AND_CLONE = "merge_and_clone"
    """Split-brain with ``splitbrain_autofix``: lock, archive, merge and clone the losing side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """At most one action on at most one node."""

    action: Action
    reason: str
    """One sentence: why this action, or why none."""
    target: str | None = None
    """The node that is changed: promoted, locked, rejoined, reopened, or cloned."""
    master: str | None = None
    """The master the action rests on: the dead one of a failover, else the one that stays."""
    proposal: Action = Action.NONE
    """What would be done (or a person may do) were it not for ``blocked_by``."""
    blocked_by: tuple[str, ...] = ()
    """One clause for each thing that stands against the proposal."""
    suspect: bool = False
    """Whether the master stopped answering and the verdict on it is not complete yet."""
    left: Mapping[str, str] = field(default_factory=dict)
    """label → why it is not resynced by itself although it needs it, one sentence; whatever else is done."""

    @property
    def idle(self) -> bool:
        """Whether what can wait may begin: nothing is done, and neither a failover nor a lock is due."""
        due = self.suspect or self.proposal in (Action.FAILOVER, Action.LOCK)
        return self.action is Action.NONE and not due


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    action: Action
    target: str | None
    master: str | None
    reason: str
    obstacles: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


def decide(
    history: Sequence[Snapshot],
    diagnosis: Diagnosis,
    readiness: Readiness,
    policy: Policy,
    facts: JournalFacts,
) -> Decision:
    """The one thing to do now.

    Args:
        history: Snapshots, oldest first.
        diagnosis: Of this very history.
        readiness: Of this very history.
        policy: The thresholds.
        facts: What the journal remembers; a running operation in it blocks everything.
    """
    if not history:
        return Decision(action=Action.NONE, reason="No node has been asked yet.")
    wish = _wish(history, diagnosis, readiness, policy, facts)
    suspect = diagnosis.kind is DiagnosisKind.MASTER_SUSPECT
    if wish is None:
        reason = "Nothing is to be done."
        return Decision(action=Action.NONE, reason=reason, master=diagnosis.master, suspect=suspect)
    blocked = list(wish.obstacles)
    for why in (why_not_armed(history[-1], policy, facts), _busy(facts)):
        if why is not None and why not in blocked:
            blocked.append(why)
    if blocked:
        return Decision(
            action=Action.NONE,
            reason=_none_of(wish.action, blocked[0]),
            target=wish.target,
            master=wish.master,
            proposal=wish.action,
            blocked_by=tuple(blocked),
            suspect=suspect,
            left=wish.left,
        )
    return Decision(
        action=wish.action,
        reason=words.sentence(wish.reason),
        target=wish.target,
        master=wish.master,
        proposal=wish.action,
        left=wish.left,
    )


_NAMES = {
    Action.FAILOVER: "failover",
    Action.LOCK: "locking of the old master",
    Action.REJOIN: "rejoin",
    Action.REOPEN: "reopening of the master",
    Action.RESYNC: "resync",
    Action.MERGE_AND_CLONE: "repair of the split-brain",
}


def _none_of(action: Action, why: str) -> str:
    return words.sentence(f"No {_NAMES[action]} by itself: {why}")


def _busy(facts: JournalFacts) -> str | None:
    if facts.operation is None:
        return None
    return f"an operation is running: {words.quoted(facts.operation).rstrip('.')}"


def _wish(
    history: Sequence[Snapshot],
    diagnosis: Diagnosis,
    readiness: Readiness,
    policy: Policy,
    facts: JournalFacts,
) -> _Wish | None:
    """The first thing that wants doing; a second writable node comes before everything else.

    What is blocked holds back all that is less urgent, but for rows that are left over to be merged: their
    node is locked, and may be away for days, so that other nodes go on becoming slaves again meanwhile.
    """
    snapshot = history[-1]
    pressing = (
        _lock(snapshot, policy, facts)
        or _failover(snapshot, diagnosis, readiness, policy, facts)
        or _split(snapshot, policy, facts)
    )
    if pressing is not None:
        return pressing
    left = _left_over(snapshot, policy, facts)
    able = next((wish for wish in left if not wish.obstacles), None)
    if able is not None:
        return able
    if not left:
        reopening = _reopen(history, diagnosis, policy, facts)
        if reopening is not None:
            return reopening
    less = _rejoin(history, diagnosis, policy, facts) or _resync(history, diagnosis, policy, facts)
    if left and (less is None or less.obstacles or less.target in {wish.target for wish in left}):
        return left[0]
    return less


def _lock(snapshot: Snapshot, policy: Policy, facts: JournalFacts) -> _Wish | None:
    open_ones = {node.label for node in writers(snapshot, policy)}
    for node in returned_masters(snapshot, policy):
        proof = outdated(snapshot, node)
        if node.label not in open_ones or proof is None:
            continue
        obstacles: tuple[str, ...] = ()
        if facts.roles_known and facts.master == node.label:
            obstacles = (f"{node.label} is the master by the known roles, although {proof}",)
        master = master_of(snapshot, policy, facts)
        return _Wish(
            action=Action.LOCK,
            target=node.label,
            master=master.label if master is not None and master.label != node.label else None,
            reason=f"{node.label} is an old master that is back and writable: {proof}",
            obstacles=obstacles,
        )
    return None


def _failover(
    snapshot: Snapshot, diagnosis: Diagnosis, readiness: Readiness, policy: Policy, facts: JournalFacts
) -> _Wish | None:
    if diagnosis.kind not in ACTIONABLE and diagnosis.kind is not DiagnosisKind.MASTER_DEAD_NO_CANDIDATE:
        return None
    master = snapshot.node(diagnosis.master) if diagnosis.master is not None else None
    obstacles = [guard.reason for guard in readiness.guards if guard.ok is not True]
    obstacles += _failover_invariants(snapshot, master, readiness, policy, facts)
    return _Wish(
        action=Action.FAILOVER,
        target=readiness.candidate,
        master=diagnosis.master,
        reason=f"{diagnosis.text} {readiness.candidate} takes over.",
        obstacles=tuple(dict.fromkeys(obstacles)),
    )


def _failover_invariants(
    snapshot: Snapshot,
    master: NodeState | None,
    readiness: Readiness,
    policy: Policy,
    facts: JournalFacts,
) -> list[str]:
    """What must hold whatever the guards say: a fault in one of them must not open a second master."""
    found: list[str] = []
    if not readiness.ready and all(guard.ok for guard in readiness.guards):
        found.append("the guards were not judged")
    if master is None or facts.master != master.label:
        found.append("the dead node is not the known master")
    elif not silent(master, snapshot, policy):
        found.append(f"{master.label} answers")
    if readiness.candidate is None or snapshot.node(readiness.candidate) is None:
        found.append("there is no node that can take over")
    elif master is not None and readiness.candidate == master.label:
        found.append("the candidate is the dead node itself")
    open_ones = [node.label for node in writers(snapshot, policy)]
    if open_ones:
        found.append(f"{words.labels(open_ones)} already takes writes")
    record = newest_record(snapshot)
    if (
        record is not None
        and record.epoch > facts.epoch
        and (master is None or record.master != master.label)
    ):
        found.append(f"{record.master} was made master by another worker in epoch {record.epoch}")
    return found


def _split(snapshot: Snapshot, policy: Policy, facts: JournalFacts) -> _Wish | None:
    sides = rivals(snapshot, policy, facts)
    if not sides:
        return None
    names = words.labels([node.label for node in sides])
    winner, why = winner_of(sides, facts)
    if winner is None:
        reason = f"{names} are both writable"
        return _Wish(action=Action.MERGE_AND_CLONE, target=None, master=None, reason=reason, obstacles=(why,))
    losers = [node for node in sides if node.label != winner.label]
    obstacles: list[str] = []
    if not policy.splitbrain_autofix:
        obstacles.append("splitbrain_autofix is off: a person chooses the side that stays master")
    if len(losers) > 1:
        obstacles.append("more than two nodes are writable")
    for node in sides:
        if current(node, snapshot, policy) is None:
            obstacles.append(f"{node.label} cannot be read")
        elif own_epoch(node) is None:
            obstacles.append(f"the promotion record of {node.label} has not been read since it is writable")
        if node.sync.state is not SyncState.OK or node.label in facts.failed_resync:
            obstacles.append(f"{node.label} needs a resync by hand")
    obstacles += _tried_enough(losers[0].label, policy, facts)
    return _Wish(
        action=Action.MERGE_AND_CLONE,
        target=losers[0].label,
        master=winner.label,
        reason=f"{names} are both writable; {winner.label} stays master ({why})",
        obstacles=tuple(obstacles),
    )


def _left_over(snapshot: Snapshot, policy: Policy, facts: JournalFacts) -> list[_Wish]:
    """Locked nodes whose rows are not merged yet: the other side of a split-brain, or a returned master."""
    rightful = rightful_writers(snapshot, policy)
    if not policy.splitbrain_autofix or len(rightful) != 1:
        return []
    master, wishes = rightful[0], list[_Wish]()
    for node in snapshot.nodes:
        if node.label not in facts.diverged or node.label == master.label:
            continue
        obstacles = _tried_enough(node.label, policy, facts)
        why = why_not_roles(facts)
        if why is not None:
            obstacles.append(why)
        elif facts.master != master.label:
            obstacles.append(f"{master.label} is not the known master")
        if current(node, snapshot, policy) is None:
            obstacles.append(f"{node.label} cannot be read")
        if node.label in facts.failed_resync:
            obstacles.append(f"{node.label} needs a resync by hand")
        wishes.append(
            _Wish(
                action=Action.MERGE_AND_CLONE,
                target=node.label,
                master=master.label,
                reason=f"{node.label} holds rows that {master.label} does not have",
                obstacles=tuple(obstacles),
            )
        )
    return wishes


def _tried_enough(label: str, policy: Policy, facts: JournalFacts) -> list[str]:
    attempts = facts.auto_merges.get(label, 0)
    if attempts < policy.resync_retries:
        return []
    times = "once" if attempts == 1 else f"{attempts} times"
    return [f"the rows of {label} were to be merged by itself {times} within a day: a person has to look"]


def _reopen(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> _Wish | None:
    if diagnosis.kind is not DiagnosisKind.NO_MASTER or facts.master is None or not facts.roles_known:
        return None
    node = history[-1].node(facts.master)
    if node is None or diagnosis.master != facts.master or not node.answers:
        return None
    record = newest_record(history[-1])
    obstacles: list[str] = []
    why = why_not_reopen(facts.master, history, policy, facts)
    if why is not None:
        obstacles.append(why)
    if not restarted_read_only(history, node):
        obstacles.append(
            f"{node.label} was not seen to restart read-only: somebody may have locked it on purpose"
        )
    if facts.epoch_master not in (None, node.label) and facts.epoch > 0:
        obstacles.append(f"{facts.epoch_master} was made master in epoch {facts.epoch}")
    if record is not None and (record.epoch > facts.epoch or own_epoch(node) != record.epoch):
        obstacles.append(f"{record.master} was made master in epoch {record.epoch}")
    return _Wish(
        action=Action.REOPEN,
        target=node.label,
        master=node.label,
        reason=f"{node.label} restarted read-only and no other node has been promoted",
        obstacles=tuple(obstacles),
    )


def _rejoin(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> _Wish | None:
    snapshot = history[-1]
    rightful = rightful_writers(snapshot, policy)
    if len(rightful) != 1:
        return None
    master = rightful[0]
    for node in returned_masters(snapshot, policy):
        if node.label in facts.diverged or node.label in facts.failed_resync:
            continue
        reasons = (
            why_not_roles(facts),
            why_not_rejoin(node.label, history, diagnosis, policy, facts),
        )
        obstacles = [reason for reason in reasons if reason is not None]
        if facts.master != master.label and not obstacles:
            obstacles.append(f"{master.label} is not the known master")
        if not _has_schema(node):
            obstacles.append(f"{node.label} holds no Pandora database: it may be an empty server")
        return _Wish(
            action=Action.REJOIN,
            target=node.label,
            master=master.label,
            reason=f"the old master {node.label} is back and locked; it follows {master.label} again",
            obstacles=tuple(obstacles),
        )
    return None


def _resync(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> _Wish | None:
    """The first that may be rebuilt; one that may not is no reason to let another one wait."""
    wanted = wanted_resyncs(history, diagnosis, policy, facts)
    if not wanted:
        return None
    first = wanted[0]
    return _Wish(
        action=Action.RESYNC,
        target=first.target,
        master=first.master,
        reason=f"{first.reason}; it is rebuilt from {first.master}",
        obstacles=first.obstacles,
        left={one.target: _none_of(Action.RESYNC, one.obstacles[0]) for one in wanted if one.obstacles},
    )


def _has_schema(node: NodeState) -> bool:
    seen = node.pandora_seen
    return seen is not None and seen.pandora is not None and seen.pandora.schema_release is not None

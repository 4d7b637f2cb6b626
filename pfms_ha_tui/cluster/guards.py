"""The seven guards of an automatic failover, always on screen, and every "why not" that others share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.candidates import answered_since_fault, choose, lag_of, why_not_candidate
from pfms_ha_tui.cluster.clocks import clock_skew
from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Says, ShellObservation, SshState
from pfms_ha_tui.cluster.policy import Mode, OnIsolation, Policy
from pfms_ha_tui.cluster.readiness import Guard, Readiness
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot
from pfms_ha_tui.cluster.testimony import process_state, witnesses
from pfms_ha_tui.cluster.topology import (
    answers,
    in_order,
    silent,
    slaves_of,
)

SHELL_VALID = 120.0
"""Seconds: a look through SSH older than this says nothing about whether a node could be fenced."""
PREFLIGHT_VALID = 3600.0
"""Seconds: a preflight older than this is none."""

_MakeGuard = Callable[[bool | None, str], Guard]
_COMPLETE = frozenset(
    {
        DiagnosisKind.MASTER_DEAD,
        DiagnosisKind.MASTER_DEAD_NO_CANDIDATE,
        DiagnosisKind.MASTER_HUNG,
        DiagnosisKind.MASTER_UNREACHABLE,
    }
)


def readiness(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> Readiness:
    """Whether a failover would happen if the master died now, or why none happens now that it did.

    Args:
        history: Snapshots, oldest first; may be empty after a start.
        diagnosis: Of this very history.
        policy: The thresholds.
        facts: What the journal remembers.
    """
    snapshot = history[-1] if history else None
    master = snapshot.node(diagnosis.master) if snapshot is not None and diagnosis.master else None
    heir = choose(history, master, policy, facts) if master is not None else None
    guards = (
        _armed(snapshot, policy, facts),
        _verdict(history, master, diagnosis, policy),
        _slave(history, master, heir, policy, facts),
        _isolation(snapshot, master, policy),
        _operation(snapshot, policy, facts),
        _fencing(snapshot, master, diagnosis, policy),
        _preflight(history, heir, policy, facts),
    )
    candidate = heir.label if heir is not None else None
    return Readiness(
        guards=guards,
        candidate=candidate,
        sentence=_sentence(snapshot, master, candidate, guards, diagnosis, policy, facts),
    )


def _sentence(
    snapshot: Snapshot | None,
    master: NodeState | None,
    candidate: str | None,
    guards: Sequence[Guard],
    diagnosis: Diagnosis,
    policy: Policy,
    facts: JournalFacts,
) -> str:
    passed = sum(1 for guard in guards if guard.ok)
    count = f"({passed} of {len(guards)} checks pass)"
    first = next((guard.reason for guard in guards if not guard.ok), None)
    if snapshot is None or master is None:
        if diagnosis.kind is DiagnosisKind.SPLIT_BRAIN:
            return "No automatic failover: more than one node is writable."
        return "No automatic failover: it is not known which node is the master."
    if silent(master, snapshot, policy):
        if facts.operation is not None:
            # The steps of a failover fail the guards: "no failover" would be said of the one that runs.
            running = words.quoted(facts.operation).rstrip(".")
            return f"{running[:1].upper()}{running[1:]}; until it ends, nothing else starts by itself."
        if first is None:
            return f"{candidate} takes over now {count}."
        return f"No automatic failover: {first} {count}."
    if first is None:
        return f"If {master.label} died now, {candidate} would take over {count}."
    by_hand = f"; {candidate} could take over by hand" if candidate is not None else ""
    return f"If {master.label} died now, nothing would happen by itself: {first}{by_hand} {count}."


def why_not_armed(snapshot: Snapshot | None, policy: Policy, facts: JournalFacts) -> str | None:
    """Why nothing may happen by itself at all, as one clause; the roles are another question."""
    if policy.mode is not Mode.AUTOMATIC:
        return f"the mode is {policy.mode.value}"
    if snapshot is None:
        return "nothing has been seen yet"
    if facts.maintenance is not None and snapshot.at < facts.maintenance.until:
        why = words.quoted(facts.maintenance.reason)
        return f"maintenance by {words.quoted(facts.maintenance.by)}" + (f": {why}" if why else "")
    if facts.rival_manager is not None:
        return words.quoted(facts.rival_manager).rstrip(".")
    return why_not_remembered(facts)


def why_not_remembered(facts: JournalFacts) -> str | None:
    """Why no operation could be remembered, as one clause.

    Not even a second master is locked then: the ledger refuses the first step of every operation, and where
    it does not (a file that was moved away) a worker that dies in between would find nothing of it.
    """
    return None if facts.ledger_fault is None else words.quoted(facts.ledger_fault).rstrip(".")


def why_not_roles(facts: JournalFacts) -> str | None:
    """Why the roles count as unknown, as one clause."""
    if facts.roles_known and facts.master is not None:
        return None
    return "the roles are not confirmed since the worker started"


def why_not_operation(snapshot: Snapshot | None, policy: Policy, facts: JournalFacts) -> str | None:
    """Why no failover may start now because of another operation or an earlier failover."""
    if facts.operation is not None:
        return f"an operation is running: {words.quoted(facts.operation).rstrip('.')}"
    if facts.last_failover_at is not None:
        if snapshot is None:
            return "the last failover may be too recent"
        # A last failover in the future means that this host's clock was set back: it counts as recent.
        if snapshot.at - facts.last_failover_at < policy.recovery_block:
            span = words.seconds(policy.recovery_block)
            return f"a failover was less than {span} ago; acknowledge it to allow another one"
    return None


def _armed(snapshot: Snapshot | None, policy: Policy, facts: JournalFacts) -> Guard:
    why = why_not_armed(snapshot, policy, facts) or why_not_roles(facts)
    return Guard(
        key="armed",
        title="automatic, roles known",
        ok=why is None,
        reason=why or f"the mode is automatic and {facts.master} is known as the master",
    )


def _verdict(
    history: Sequence[Snapshot], master: NodeState | None, diagnosis: Diagnosis, policy: Policy
) -> Guard:
    if not history or master is None:
        return Guard(
            key="verdict", title="its death could be proven", ok=None, reason="no master is known to judge"
        )
    snapshot = history[-1]
    if silent(master, snapshot, policy):
        if diagnosis.kind is DiagnosisKind.MASTER_UNREACHABLE and policy.on_isolation is OnIsolation.HOLD:
            reason = f"{master.label} is unreachable, and the policy then is to hold"
            return Guard(key="verdict", title="the verdict is complete", ok=False, reason=reason)
        complete = diagnosis.kind in _COMPLETE
        reason = diagnosis.text.rstrip(".")
        return Guard(key="verdict", title="the verdict is complete", ok=complete, reason=reason)
    return _evidence_sources(snapshot, master, policy)


def _evidence_sources(snapshot: Snapshot, master: NodeState, policy: Policy) -> Guard:
    title = f"death of {master.label} could be proven"
    able: list[str] = []
    for node in slaves_of(snapshot, master):
        replication = node.replication
        if answers(node, snapshot, policy) and replication is not None and replication.io is IoState.YES:
            able.append(f"{node.label} can testify")
    if _ssh(master, snapshot) is True:
        able.append(f"SSH to {master.label}'s host works")
    if able:
        return Guard(key="verdict", title=title, ok=True, reason=words.labels(able))
    reason = (
        f"nobody could confirm that {master.label} is dead: no slave receives and there is no SSH to its host"
    )
    return Guard(key="verdict", title=title, ok=False, reason=reason)


def _slave(
    history: Sequence[Snapshot],
    master: NodeState | None,
    heir: NodeState | None,
    policy: Policy,
    facts: JournalFacts,
) -> Guard:
    title = "a slave could take over"
    if not history or master is None:
        return Guard(key="slave", title=title, ok=None, reason="no master is known that a slave could follow")
    if heir is not None:
        lag = lag_of(heir, master)
        behind = words.seconds(lag) if lag is not None else "unknown"
        return Guard(
            key="slave",
            title=f"{heir.label} follows, {behind} ≤ {words.seconds(policy.max_lag)} behind",
            ok=True,
            reason=f"{heir.label} may take over",
        )
    others = [node for node in in_order(history[-1].nodes) if node.label != master.label]
    reasons = [why_not_candidate(history, node, master, policy, facts) for node in others]
    reason = "; ".join(why for why in reasons if why is not None) or "there is no other node"
    return Guard(key="slave", title=title, ok=False, reason=reason)


def _isolation(snapshot: Snapshot | None, master: NodeState | None, policy: Policy) -> Guard:
    title = "this host is not cut off"
    if snapshot is None:
        return Guard(key="isolation", title=title, ok=None, reason="nothing has been seen yet")
    here = [
        node.label
        for node in in_order(snapshot.nodes)
        if answers(node, snapshot, policy)
        and (master is None or (node.label != master.label and answered_since_fault(node, master)))
    ]
    said = witnesses(snapshot)
    if any(opinion.says is Says.LOST for opinion in said) and all(
        opinion.says is not Says.SEES for opinion in said
    ):
        return Guard(key="isolation", title=title, ok=False, reason="no witness answers us")
    if here:
        verb = "answers" if len(here) == 1 else "answer"
        return Guard(key="isolation", title=title, ok=True, reason=f"{words.labels(here)} {verb}")
    reason = "no other node answers, so it may be this host that is cut off"
    return Guard(key="isolation", title=title, ok=False, reason=reason)


def _operation(snapshot: Snapshot | None, policy: Policy, facts: JournalFacts) -> Guard:
    why = why_not_operation(snapshot, policy, facts)
    span = words.seconds(policy.recovery_block)
    return Guard(
        key="operation",
        title=f"no failover in the last {span}",
        ok=why is None,
        reason=why or f"no operation is running, and no failover was in the last {span}",
    )


def _ssh(node: NodeState, snapshot: Snapshot) -> bool | None:
    shell = node.shell
    if shell is None or shell.state is SshState.UNKNOWN or snapshot.mono - shell.mono > SHELL_VALID:
        return None
    return shell.state is SshState.UP


def _fencing(
    snapshot: Snapshot | None, master: NodeState | None, diagnosis: Diagnosis, policy: Policy
) -> Guard:
    title = "the old master can be fenced"
    if snapshot is None or master is None:
        return Guard(key="fencing", title=title, ok=None, reason="no master is known to fence")
    title, name = f"{master.label} can be fenced", master.label

    def guard(ok: bool | None, reason: str) -> Guard:
        return Guard(key="fencing", title=title, ok=ok, reason=reason)

    if silent(master, snapshot, policy) and process_state(master) is ProcessState.NONE:
        return guard(True, f"{name}'s host runs no database process")
    up = _ssh(master, snapshot)
    if up and master.shell is not None and master.shell.can_fence:
        return guard(True, f"SSH to {name}'s host works and may stop the database")
    if not policy.require_fencing:
        return guard(True, "the policy accepts a failover without fencing")
    if diagnosis.kind is DiagnosisKind.MASTER_UNREACHABLE and policy.on_isolation is OnIsolation.PROMOTE:
        return guard(True, f"{name} is unreachable, and the policy then is to promote without fencing")
    return _not_fenced(master.shell, up, name, guard)


def _not_fenced(shell: ShellObservation | None, up: bool | None, name: str, guard: _MakeGuard) -> Guard:
    if up is None or shell is None:
        return guard(None, f"whether SSH to {name}'s host works is not known")
    if shell.state is SshState.OFF:
        return guard(False, f"SSH to {name}'s host is not configured, so it could not be fenced")
    if not up:
        why = f" ({words.quoted(shell.failure)})" if shell.failure else ""
        return guard(False, f"no SSH to {name}'s host, so it could not be fenced{why}")
    if shell.can_fence is None:
        return guard(None, f"whether SSH to {name}'s host may stop the database is not known")
    return guard(False, f"the SSH account on {name}'s host may not stop the database")


def _preflight(
    history: Sequence[Snapshot], heir: NodeState | None, policy: Policy, facts: JournalFacts
) -> Guard:
    title = "the last preflight is green"

    def guard(ok: bool | None, reason: str) -> Guard:
        return Guard(key="preflight", title=title, ok=ok, reason=reason)

    if not history or facts.preflight_at is None:
        return guard(None, "no preflight has run yet")
    age = history[-1].mono - facts.preflight_at
    if facts.preflight:
        more = f" (and {len(facts.preflight) - 1} more)" if len(facts.preflight) > 1 else ""
        return guard(False, f"preflight: {words.quoted(facts.preflight[0]).rstrip('.')}{more}")
    if age > PREFLIGHT_VALID:
        return guard(None, f"the last preflight is {words.seconds(age)} old")
    if heir is not None:
        skew = clock_skew(history, heir, policy)
        if skew is not None and abs(skew) > policy.clock_tolerance:
            return guard(False, f"the clock of {heir.label} is off by {words.seconds(abs(skew))}")
    return guard(True, f"green {words.seconds(age)} ago")

"""From the history of a cluster to its diagnosis: one sentence for the banner, and everything behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.candidates import choose, why_not_candidate
from pfms_ha_tui.cluster.clocks import clock_findings
from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Finding, Severity, finding
from pfms_ha_tui.cluster.drift import drift_findings
from pfms_ha_tui.cluster.findings import lone_writer_findings, slave_findings
from pfms_ha_tui.cluster.masters import master_of, rightful_writers, rivals
from pfms_ha_tui.cluster.observation import Reach, Says
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.restarts import restarted_read_only
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot
from pfms_ha_tui.cluster.testimony import witnesses
from pfms_ha_tui.cluster.topology import (
    answers,
    current,
    fresh,
    in_order,
    reach,
    silent,
    slaves_of,
)
from pfms_ha_tui.cluster.verdict import Case, Verdict, verdict

_ORDER = {kind: place for place, kind in enumerate(DiagnosisKind)}

ACTIONABLE = frozenset(
    {DiagnosisKind.MASTER_DEAD, DiagnosisKind.MASTER_HUNG, DiagnosisKind.MASTER_UNREACHABLE}
)
"""The only diagnoses that a failover may follow; each is a complete verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Charge:
    """A finding about the cluster or its master, with what it rests on."""

    finding: Finding
    evidence: tuple[str, ...] = ()


def diagnose(history: Sequence[Snapshot], policy: Policy, facts: JournalFacts) -> Diagnosis:
    """What is wrong with the cluster, worst first.

    Args:
        history: Snapshots, oldest first, newest last. Stalls are seen as far as it reaches back
            (``stall_after``); a verdict about the master needs the newest snapshot only.
        policy: The thresholds.
        facts: What the journal remembers.
    """
    if not history or all(node.observation is None for node in history[-1].nodes):
        return Diagnosis(
            kind=DiagnosisKind.UNKNOWN,
            severity=Severity.UNKNOWN,
            text="No node has been asked yet.",
            master=None,
        )
    snapshot = history[-1]
    master = master_of(snapshot, policy, facts)
    sides = rivals(snapshot, policy, facts)
    charge = _charge(history, master, sides, policy, facts)
    found = [charge.finding] if charge is not None else []
    found += slave_findings(history, master, sides, policy, facts)
    found += lone_writer_findings(snapshot, master, policy, facts)
    found += clock_findings(history, policy)
    found += drift_findings(snapshot, master, policy)
    found.sort(key=lambda one: _place(one, charge))
    serious = [one for one in found if one.severity not in (Severity.OK, Severity.INFO)]
    if serious and not facts.roles_known:
        text = "Which node is the master has not been confirmed since the worker started"
        hint = (
            "It is confirmed by a healthy cluster, by the last promotion's record, "
            "or by a person: pfms-ha-tui name-master NODE."
        )
        unconfirmed = finding(DiagnosisKind.UNKNOWN, Severity.WARNING, None, text, hint)
        found.append(unconfirmed)
        serious.append(unconfirmed)
    if not serious:
        return Diagnosis(
            kind=DiagnosisKind.HEALTHY,
            severity=Severity.OK,
            text=_healthy_text(snapshot, master),
            master=master.label if master is not None else None,
            findings=tuple(found),
        )
    top = serious[0]
    return Diagnosis(
        kind=top.kind,
        severity=top.severity,
        text=_banner(top, serious, charge, master, snapshot, policy),
        master=master.label if master is not None else None,
        findings=tuple(found),
        evidence=charge.evidence if charge is not None else (),
        hint=top.hint,
    )


def _place(one: Finding, charge: _Charge | None) -> int:
    """Worst first; a master of which nothing is known comes before what follows from that."""
    blind = charge is not None and one is charge.finding and one.kind is DiagnosisKind.UNKNOWN
    return _ORDER[DiagnosisKind.MASTER_SUSPECT if blind else one.kind]


def _banner(
    top: Finding,
    serious: Sequence[Finding],
    charge: _Charge | None,
    master: NodeState | None,
    snapshot: Snapshot,
    policy: Policy,
) -> str:
    text = top.text
    if charge is None and master is not None and answers(master, snapshot, policy):
        text = f"{master.label} is MASTER. {text}" if top.node != master.label else text
    more = len(serious) - 1
    if more and charge is None:
        text += f" (and {words.plural(more, 'more finding')})"
    return text


def _healthy_text(snapshot: Snapshot, master: NodeState | None) -> str:
    if master is None:
        return "Every node is in order."
    slaves = slaves_of(snapshot, master)
    if not slaves:
        return f"{master.label} is MASTER and has no slave."
    lags = [slave.replication.seconds_behind or 0 for slave in slaves if slave.replication is not None]
    names = words.labels([slave.label for slave in slaves])
    if len(slaves) == 1:
        return f"{master.label} is MASTER, {names} follows {words.seconds(max(lags, default=0))} behind."
    most = "at most " if len(set(lags)) > 1 else ""
    return f"{master.label} is MASTER, {names} follow {most}{words.seconds(max(lags, default=0))} behind."


def _charge(
    history: Sequence[Snapshot],
    master: NodeState | None,
    sides: Sequence[NodeState],
    policy: Policy,
    facts: JournalFacts,
) -> _Charge | None:
    """What is wrong with the cluster as a whole or with its master."""
    snapshot = history[-1]
    if sides:
        return _split_brain(sides, snapshot, policy)
    judged = None
    if master is not None and silent(master, snapshot, policy):
        judged = verdict(history, master, policy)
    gone = judged is not None and judged.case is Case.GONE
    if not gone and not any(answers(node, snapshot, policy) for node in snapshot.nodes):
        return _no_connection(snapshot, policy)
    if master is None:
        return _no_master(snapshot, policy)
    if judged is not None:
        return _silent_master(history, master, judged, policy, facts)
    return _answering_master(history, master, policy, facts)


def _split_brain(sides: Sequence[NodeState], snapshot: Snapshot, policy: Policy) -> _Charge:
    names = words.labels([node.label for node in sides])
    lines: list[str] = []
    for node in sides:
        if current(node, snapshot, policy) is None:
            lines.append(f"{node.label} was writable when it was last read, and still answers.")
        else:
            rate = f"{node.write_rate:.1f} writes/s" if node.write_rate is not None else "writes not known"
            lines.append(f"{node.label} is writable: {rate}{_pandora_contact(node, snapshot)}.")
    text = (
        f"{names} are both writable: their data drift apart"
        if len(sides) == 2
        else (f"{names} are all writable: their data drift apart")
    )
    rates = [f"{node.label} {node.write_rate:.1f} writes/s" for node in sides if node.write_rate is not None]
    if rates:
        text += f" ({', '.join(rates)})"
    hint = "Choose who stays master; lock the other, merge its rows, then resync it."
    return _Charge(
        finding=finding(DiagnosisKind.SPLIT_BRAIN, Severity.CRITICAL, None, text, hint), evidence=tuple(lines)
    )


def _pandora_contact(node: NodeState, snapshot: Snapshot) -> str:
    """Where Pandora's servers write is where the newer data is."""
    seen = node.pandora_seen
    newest = seen.pandora.newest_keepalive if seen is not None and seen.pandora is not None else None
    if newest is None:
        return ", last contact of a Pandora server not known"
    return f", last contact of a Pandora server {words.seconds(snapshot.at - newest)} ago"


def _state_clause(node: NodeState, snapshot: Snapshot, policy: Policy) -> str:
    return {
        Reach.REFUSED: f"{node.label} refuses connections",
        Reach.HUNG: f"{node.label} accepts connections but says nothing",
        Reach.UNREACHABLE: f"{node.label} is unreachable",
        Reach.FAULT: f"{node.label} cannot be asked",
        Reach.IMPAIRED: f"{node.label} answers but cannot be read",
        Reach.UNKNOWN: f"there is no news of {node.label}",
    }.get(reach(node, snapshot, policy), f"{node.label} does not answer")


def _settings_at_fault(node: NodeState) -> bool:
    """Whether what this side asks is wrong; a name that is not found says nothing: the net may be gone."""
    failure = node.observation.failure if node.observation is not None else None
    return failure is not None and failure.code in ("tls", "config", "protocol")


def _no_connection(snapshot: Snapshot, policy: Policy) -> _Charge:
    nodes = in_order(snapshot.nodes)
    clauses = [_state_clause(node, snapshot, policy) for node in nodes]
    text = f"No node answers: {words.labels(clauses)}"
    if not any(fresh(node, snapshot, policy) for node in nodes):
        return _Charge(
            finding=finding(
                DiagnosisKind.UNKNOWN, Severity.UNKNOWN, None, f"No news of any node: {words.labels(clauses)}"
            )
        )
    said = witnesses(snapshot)
    if all(reach(node, snapshot, policy) is Reach.REFUSED for node in nodes):
        hint = "Their hosts answer: start the databases."
    elif all(_settings_at_fault(node) for node in nodes):
        hint = "The settings on this side are at fault, as each node's line says."
    elif any(opinion.says is Says.SEES for opinion in said):
        hint = "A witness answers us: look at the nodes' own network."
    else:
        hint = "This host may be cut off: check its network first."
    details = [
        words.sentence(f"{node.label}: {words.quoted(node.observation.failure.text)}")
        for node in nodes
        if node.observation is not None and node.observation.failure is not None
    ]
    details += [f"Witness {opinion.by}: {opinion.says.value}." for opinion in said]
    return _Charge(
        finding=finding(DiagnosisKind.NO_CONNECTION, Severity.CRITICAL, None, text, hint),
        evidence=tuple(details),
    )


def _no_master(snapshot: Snapshot, policy: Policy) -> _Charge:
    """Nobody is writable and nobody knows who was."""
    absent = [node for node in in_order(snapshot.nodes) if current(node, snapshot, policy) is None]
    if absent:
        clauses = [_state_clause(node, snapshot, policy) for node in absent]
        text = f"It is not known which node is the master: {words.labels(clauses)}"
        kind, severity = DiagnosisKind.UNKNOWN, Severity.UNKNOWN
    else:
        text = "No node accepts writes, and it is not known which one was the master"
        kind, severity = DiagnosisKind.NO_MASTER, Severity.CRITICAL
    hint = "If you know which node holds the newest data, name it as the master."
    return _Charge(finding=finding(kind, severity, None, text, hint))


_COMPLETE = {
    Case.GONE: DiagnosisKind.MASTER_DEAD,
    Case.HUNG: DiagnosisKind.MASTER_HUNG,
    Case.UNREACHABLE: DiagnosisKind.MASTER_UNREACHABLE,
}
_INCOMPLETE = {
    Case.OURS: DiagnosisKind.UNKNOWN,
    Case.BY_SELF: DiagnosisKind.MASTER_UNREACHABLE_BY_SELF,
    Case.SUSPECT: DiagnosisKind.MASTER_SUSPECT,
}


def _silent_master(
    history: Sequence[Snapshot], master: NodeState, judged: Verdict, policy: Policy, facts: JournalFacts
) -> _Charge:
    name = master.label
    if judged.case in _INCOMPLETE:
        kind = _INCOMPLETE[judged.case]
        suspicion = finding(kind, Severity.WARNING, name, judged.text, judged.hint)
        return _Charge(finding=suspicion, evidence=judged.evidence)
    kind, text = _COMPLETE[judged.case], judged.text
    heir = choose(history, master, policy, facts)
    hint = f"{heir.label} can take over." if heir is not None else None
    if heir is None and facts.operation is not None:
        # Its steps stop the very threads a candidate is known by: that is no verdict on the candidate.
        hint = f"An operation is running: {words.sentence(words.quoted(facts.operation))}"
    elif heir is None:
        if judged.case is Case.GONE:
            kind = DiagnosisKind.MASTER_DEAD_NO_CANDIDATE
        others = [node for node in in_order(history[-1].nodes) if node.label != name]
        reasons = [why_not_candidate(history, node, master, policy, facts) for node in others]
        why = "; ".join(reason for reason in reasons if reason is not None)
        text += f" Nobody can take over: {why or 'there is no other node'}."
        able = [
            node.label
            for node in others
            if why_not_candidate(history, node, master, policy, facts, by_person=True, named=True) is None
        ]
        hint = f"Bring {name} back: nobody else may be promoted, not even by name."
        if able:
            hint = f"Bring {name} back, or fail over to {' or '.join(able)} by name and accept the loss."
    return _Charge(finding=finding(kind, Severity.CRITICAL, name, text, hint), evidence=judged.evidence)


def _answering_master(
    history: Sequence[Snapshot], master: NodeState, policy: Policy, facts: JournalFacts
) -> _Charge | None:
    snapshot, name = history[-1], master.label
    state = reach(master, snapshot, policy)
    if state is Reach.UNKNOWN:
        seen = master.observation
        age = f" for {words.seconds(snapshot.mono - seen.mono)}" if seen is not None else " yet"
        text = f"There is no news of {name}{age}"
        return _Charge(finding=finding(DiagnosisKind.UNKNOWN, Severity.UNKNOWN, name, text))
    now = current(master, snapshot, policy)
    if state is Reach.IMPAIRED:
        return _impaired(master, choose(history, master, policy, facts))
    if now is None or now.read_only is None:
        why = words.quoted(master.observation.missing.get("read_only", "")) if master.observation else ""
        text = f"{name} answers, but whether it is writable cannot be read" + (f": {why}" if why else "")
        return _Charge(finding=finding(DiagnosisKind.UNKNOWN, Severity.WARNING, name, text))
    if any(node.label == name for node in rightful_writers(snapshot, policy)):
        return None
    if not now.read_only:
        text = f"{name} is writable, but follows another server"
        return _Charge(
            finding=finding(
                DiagnosisKind.NO_MASTER, Severity.CRITICAL, name, text, f"Check what {name} follows, and why."
            )
        )
    if facts.operation is not None:
        text = f"No node accepts writes while an operation runs: {words.quoted(facts.operation).rstrip('.')}"
        return _Charge(finding=finding(DiagnosisKind.NO_MASTER, Severity.WARNING, name, text))
    if facts.roles_known and facts.master == name and now.replication == ():
        restarted = restarted_read_only(history, master)
        why = "it restarted read-only" if restarted else "somebody made it read-only"
        text = f"No node accepts writes: {name} is still the master, but {why}"
        hint = f"Make {name} writable again; no other node is known to have been promoted."
    else:
        text = f"No node accepts writes; {name} was the master as far as is known"
        hint = "If you know which node holds the newest data, name it as the master."
    return _Charge(finding=finding(DiagnosisKind.NO_MASTER, Severity.CRITICAL, name, text, hint))


_IMPAIRED_HINTS = {
    "too_many_connections": "Free connections or raise max_connections. The server lives: no failover.",
    "access_denied": "Check the account this program uses. The server lives: no failover.",
    "host_blocked": "Run FLUSH HOSTS there. The server lives: no failover.",
}


def _impaired(master: NodeState, heir: NodeState | None) -> _Charge:
    failure = master.observation.failure if master.observation is not None else None
    said = words.quoted(failure.text).rstrip(".") if failure is not None else "it answers with an error"
    code = failure.code if failure is not None else ""
    hint = _IMPAIRED_HINTS.get(code) or (failure.hint if failure is not None else None)
    if code == "write_probe":
        way_out = f", or switch over to {heir.label}" if heir is not None else ""
        hint = f"It may be a full disk or stalled storage: make room there{way_out}."
    # Our own account being refused says little about what Pandora itself can do.
    severity = Severity.WARNING if code in ("access_denied", "host_blocked") else Severity.CRITICAL
    return _Charge(
        finding=finding(
            DiagnosisKind.MASTER_IMPAIRED,
            severity,
            master.label,
            f"{master.label} is alive but impaired: {said}",
            hint or "The server lives: no failover.",
        ),
        evidence=(words.sentence(f"From here: {said}"),),
    )

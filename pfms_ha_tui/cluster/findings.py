"""What is wrong with single nodes: slaves, old masters, roles that contradict each other."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity, finding
from pfms_ha_tui.cluster.masters import outdated, returned_masters
from pfms_ha_tui.cluster.observation import IoState, Reach, Replication, ServerFacts
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot, SyncState
from pfms_ha_tui.cluster.stall import stalled
from pfms_ha_tui.cluster.topology import (
    answers,
    current,
    fresh,
    in_order,
    silent,
    source_of,
    writers,
)
from pfms_ha_tui.cluster.transactions import own_transactions


def slave_findings(
    history: Sequence[Snapshot],
    master: NodeState | None,
    rivals: Sequence[NodeState],
    policy: Policy,
    facts: JournalFacts,
) -> list[Finding]:
    """Everything about the nodes that are neither the master nor one side of a split-brain."""
    sides = {node.label for node in rivals}
    returned = {node.label for node in returned_masters(history[-1], policy)}
    found: list[Finding] = []
    for node in in_order(history[-1].nodes):
        if (master is not None and node.label == master.label) or node.label in sides:
            continue
        found += _about_resync(node, facts)
        if node.sync.state is SyncState.RUNNING:
            found += _expected_but(node, history[-1], policy)
        else:
            found += _about_slave(history, node, master, policy, facts, returned)
    return found


def _about_resync(node: NodeState, facts: JournalFacts) -> Iterable[Finding]:
    name, sync = node.label, node.sync
    if name in facts.diverged:
        yield finding(
            DiagnosisKind.DIVERGED,
            Severity.CRITICAL,
            name,
            f"{name} has diverged: {words.quoted(facts.diverged[name])}",
            f"Save and merge what only {name} holds, then resync it.",
        )
    elif sync.state is SyncState.RUNNING:
        done = f" ({sync.percent:.0f} %)" if sync.percent is not None else ""
        text = f"{name} is being resynced{done}: down or behind is expected until it ends"
        yield finding(DiagnosisKind.SLAVE_RESYNCING, Severity.WARNING, name, text)
    elif sync.state is SyncState.QUEUED:
        text = f"{name} is waiting for its resync"
        yield finding(DiagnosisKind.SLAVE_RESYNCING, Severity.WARNING, name, text)
    elif sync.state is SyncState.FAILED or name in facts.failed_resync:
        why = f": {words.quoted(sync.reason)}" if sync.reason else ""
        text = f"{name} needs a resync{why}"
        hint = f"Resync {name}; until then it does not take over by itself."
        yield finding(DiagnosisKind.NEEDS_RESYNC, Severity.CRITICAL, name, text, hint)


def _expected_but(node: NodeState, snapshot: Snapshot, policy: Policy) -> Iterable[Finding]:
    """What not even a resync explains: its server is stopped, replaced and catches up, but never opened."""
    now = current(node, snapshot, policy)
    if now is not None and now.replication and now.read_only is False:
        yield _writable(node.label)


def _about_slave(
    history: Sequence[Snapshot],
    node: NodeState,
    master: NodeState | None,
    policy: Policy,
    facts: JournalFacts,
    returned: Container[str],
) -> Iterable[Finding]:
    snapshot, name = history[-1], node.label
    if not answers(node, snapshot, policy):
        yield _absent(node, snapshot, policy)
        return
    now = current(node, snapshot, policy)
    if now is None:
        failure = node.observation.failure if node.observation is not None else None
        why = words.quoted(failure.text) if failure is not None else "no facts"
        hint = failure.hint if failure is not None else None
        text = f"{name} answers, but cannot be read: {why}"
        yield finding(DiagnosisKind.SLAVE_DOWN, Severity.WARNING, name, text, hint)
        return
    extra = own_transactions(history, node, master) if master is not None else None
    if extra is not None and name not in facts.diverged:
        yield finding(
            DiagnosisKind.DIVERGED,
            Severity.CRITICAL,
            name,
            f"{name} has {extra}",
            f"Save and merge what only {name} holds, then resync it.",
        )
    if now.replication is None:
        why = node.observation.missing.get("replication", "") if node.observation is not None else ""
        text = f"Whether {name} replicates may not be read" + (f": {words.quoted(why)}" if why else "")
        yield finding(DiagnosisKind.UNKNOWN, Severity.WARNING, name, text, "Grant REPLICATION CLIENT.")
        return
    if name in returned:
        settled = name in facts.diverged or extra is not None
        if now.read_only is False or not settled:
            yield _returned(node, now, snapshot, _way_back(node, facts))
        return
    if not now.replication:
        yield _follows_nobody(name, _way_back(node, facts))
        return
    if now.read_only is False:
        yield _writable(name)
    moved = facts.roles_moved_at is not None and (
        node.observation is None or node.observation.mono <= facts.roles_moved_at
    )
    found = _channel_findings(history, node, now.replication[0], master, policy, moved=moved)
    if name in facts.diverged or extra is not None:
        remedy = f"Save and merge what only {name} holds, then resync it."
    elif node.sync.state is SyncState.FAILED or name in facts.failed_resync:
        remedy = f"Resync {name}."
    else:
        yield from found
        return
    for one in found:
        # Starting replication on such a node would mix two histories: never the advice.
        yield replace(one, hint=remedy) if one.kind is DiagnosisKind.REPLICATION_STOPPED else one


def _writable(name: str) -> Finding:
    text, hint = f"{name} is a slave, yet it accepts writes", f"Make {name} read-only, also in its my.cnf."
    return finding(DiagnosisKind.SLAVE_WRITABLE, Severity.WARNING, name, text, hint)


def _absent(node: NodeState, snapshot: Snapshot, policy: Policy) -> Finding:
    name, seen = node.label, node.observation
    if seen is None:
        return finding(DiagnosisKind.UNKNOWN, Severity.UNKNOWN, name, f"{name} has not been asked yet")
    if not fresh(node, snapshot, policy):
        age = words.seconds(snapshot.mono - seen.mono)
        return finding(DiagnosisKind.UNKNOWN, Severity.UNKNOWN, name, f"No news of {name} for {age}")
    failure = seen.failure
    said = words.quoted(failure.text).rstrip(".") if failure is not None else ""
    hint = failure.hint if failure is not None else None
    if seen.reach is Reach.FAULT:
        text = f"{name} cannot be asked" + (f": {said}" if said else "")
        return finding(DiagnosisKind.UNKNOWN, Severity.WARNING, name, text, hint)
    since = node.fault_since if node.fault_since is not None else seen.mono
    if seen.reach is Reach.HUNG and node.answered_at is not None:
        # Silence is noticed only after a while; it began with the last answer.
        since = node.answered_at
    span = words.seconds(snapshot.mono - since)
    text = {
        Reach.REFUSED: f"{name} is down: its host refuses the connection, for {span}",
        Reach.HUNG: f"{name} hangs: it accepts connections but gives no answer, for {span}",
        Reach.UNREACHABLE: f"{name} is unreachable, for {span}",
    }.get(seen.reach, f"{name} does not answer, for {span}")
    default = f"Start the database on {name}." if seen.reach is Reach.REFUSED else f"Look at {name}'s host."
    return finding(DiagnosisKind.SLAVE_DOWN, Severity.CRITICAL, name, text, hint or default)


def _way_back(node: NodeState, facts: JournalFacts) -> str:
    """What to do with a node that follows nobody; a rejoin only where it is not refused anyway."""
    name = node.label
    if name in facts.diverged:
        return f"Save and merge what only {name} holds, then resync it."
    if node.sync.state is SyncState.FAILED or name in facts.failed_resync:
        return f"Resync {name}."
    return f"Rejoin {name} as a slave, or resync it."


def _returned(node: NodeState, now: ServerFacts, snapshot: Snapshot, hint: str) -> Finding:
    name = node.label
    proof = outdated(snapshot, node)
    if now.read_only is False:
        text = f"The old master {name} is back and still accepts writes ({proof})"
        return finding(
            DiagnosisKind.OLD_MASTER_RETURNED, Severity.CRITICAL, name, text, f"Lock {name}, then rejoin it."
        )
    text = f"The old master {name} is back, locked, and follows nobody yet ({proof})"
    return finding(DiagnosisKind.OLD_MASTER_RETURNED, Severity.WARNING, name, text, hint)


def _follows_nobody(name: str, hint: str) -> Finding:
    return finding(
        DiagnosisKind.REPLICATION_STOPPED,
        Severity.CRITICAL,
        name,
        f"{name} is read-only and follows nobody: it gets no data",
        hint,
    )


def _channel_findings(
    history: Sequence[Snapshot],
    node: NodeState,
    replication: Replication,
    master: NodeState | None,
    policy: Policy,
    *,
    moved: bool,
) -> Iterable[Finding]:
    """What is wrong with one channel; while roles are ``moved`` by us, it may still follow the old master."""
    snapshot, name = history[-1], node.label
    source = source_of(snapshot, node)
    if source is None or (master is not None and source.label != master.label and not moved):
        yield _foreign(node, replication, source, master)
        if source is None:
            return
    about = source.label
    broken = list(_broken_threads(name, about, replication, silent(source, snapshot, policy)))
    yield from broken
    if broken:
        return
    stall = stalled(history, node, source, policy)
    if stall is not None:
        yield finding(
            DiagnosisKind.REPLICATION_STALLED,
            Severity.CRITICAL,
            name,
            stall,
            f"Look at the process list of {name}; a long statement or a full disk stops it without an error.",
        )
    yield from _lag_findings(node, replication, policy)


def _foreign(
    node: NodeState, replication: Replication, source: NodeState | None, master: NodeState | None
) -> Finding:
    name = node.label
    if source is None:
        host = words.quoted(replication.source_host)
        return finding(
            DiagnosisKind.FOREIGN_MASTER,
            Severity.CRITICAL,
            name,
            f"{name} follows {host}:{replication.source_port}, which is no node of this cluster",
            f"Point {name} at the master, or add that server to the configuration.",
        )
    present = f"; the master is {master.label}" if master is not None else ""
    return finding(
        DiagnosisKind.FOREIGN_MASTER,
        Severity.WARNING,
        name,
        f"{name} follows {source.label}, not the master{present}",
        f"Point {name} at the master where its coordinates allow it, or resync it.",
    )


def _broken_threads(
    name: str, about: str, replication: Replication, master_silent: bool
) -> Iterable[Finding]:
    kind = DiagnosisKind.REPLICATION_STOPPED
    if (
        replication.io is IoState.NO
        and not replication.sql
        and not (replication.io_errno or replication.sql_errno)
    ):
        text = f"Replication is stopped on {name}"
        advice = f"Start it on {name} if nobody stopped it on purpose and {name} took no writes of its own."
        yield finding(kind, Severity.CRITICAL, name, text, advice)
        return
    if replication.io is not IoState.YES:
        if replication.io_errno:
            why = f": error {replication.io_errno}, {words.quoted(replication.io_error)}"
        elif replication.io is IoState.CONNECTING:
            why = ": it is still connecting"
        else:
            why = ": receiving is stopped"
        # While the master is silent this is a consequence, not the trouble itself.
        severity = Severity.WARNING if master_silent else Severity.CRITICAL
        hint = None if master_silent else f"Check the way from {name} to {about} and the replication account."
        yield finding(kind, severity, name, f"{name} receives nothing from {about}{why}", hint)
    if not replication.sql:
        why = (
            f": error {replication.sql_errno}, {words.quoted(replication.sql_error)}"
            if replication.sql_errno
            else ": applying is stopped"
        )
        hint = f"Correct the cause and start replication on {name}, or resync it."
        yield finding(kind, Severity.CRITICAL, name, f"{name} applies nothing of what it receives{why}", hint)


def _lag_findings(node: NodeState, replication: Replication, policy: Policy) -> Iterable[Finding]:
    name, lag = node.label, replication.seconds_behind
    missing = f" ({words.size(node.bytes_behind)})" if node.bytes_behind else ""
    if lag is None:
        yield finding(
            DiagnosisKind.SLAVE_LAGGING, Severity.WARNING, name, f"The lag of {name} is not known{missing}"
        )
    elif lag > policy.warn_lag:
        far = (
            f", too far to take over (limit {words.seconds(policy.max_lag)})" if lag > policy.max_lag else ""
        )
        hint = f"It is delayed by {replication.sql_delay} s on purpose." if replication.sql_delay else None
        yield finding(
            DiagnosisKind.SLAVE_LAGGING,
            Severity.WARNING,
            name,
            f"{name} is {words.seconds(lag)} behind{missing}{far}",
            hint,
        )


def lone_writer_findings(
    snapshot: Snapshot, master: NodeState | None, policy: Policy, facts: JournalFacts
) -> list[Finding]:
    """The known roles and what the nodes do contradict each other."""
    if not facts.roles_known or facts.master is None or master is None or facts.master == master.label:
        return []
    if all(node.label != master.label for node in writers(snapshot, policy)):
        return []
    text = f"{master.label} is writable now, although {facts.master} was known as the master"
    hint = "If this change was meant, it is adopted as soon as a slave follows the new master."
    return [finding(DiagnosisKind.UNKNOWN, Severity.WARNING, master.label, text, hint)]

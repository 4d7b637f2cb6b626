"""One cluster's state as text: the table of nodes, the report of ``status``, the line of a plug-in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.observation import IoState, Replication
from pfms_ha_tui.cluster.snapshot import NodeState, Role, SyncState
from pfms_ha_tui.console.format import NOTHING, age, behind, latency, moment, position, share, span
from pfms_ha_tui.console.glyphs import GUARD, MODE, REACH, SEVERITY, SSH, SYNC, kind_words
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.worker.protocol import ClusterState

NAGIOS_WORDS = {
    Severity.OK: "OK",
    Severity.INFO: "OK",
    Severity.WARNING: "WARNING",
    Severity.CRITICAL: "CRITICAL",
    Severity.UNKNOWN: "UNKNOWN",
}

HEADINGS = (
    "NODE",
    "ADDRESS",
    "ROLE",
    "SQL",
    "SSH",
    "REPLICATION",
    "BEHIND",
    "POSITION",
    "VERSION",
    "SYNC",
    "SEEN",
)


def status_report(state: ClusterState) -> Iterator[str]:
    """The lines of ``pfms-ha-tui status``."""
    sign = SEVERITY[state.diagnosis.severity]
    kind = kind_words(state.diagnosis.kind)
    yield f"{clean(state.name)}  {sign.glyph} {kind}  {clean(state.diagnosis.text)}"
    yield f"  {clean(state.readiness.sentence)}"
    facts = [MODE[state.mode], f"checked every {span(state.interval)}"]
    if not state.roles_known:
        facts.append("roles not known yet")
    if state.maintenance is not None:
        until = moment(state.maintenance.until, time.time())
        facts.append(f"maintenance until {until}: {clean(state.maintenance.reason)}")
    yield f"  {' · '.join(facts)}"
    if state.rival_manager:
        yield f"  {clean(state.rival_manager)}"
    yield ""
    yield from (f"  {line}" for line in nodes_table(state))
    yield ""
    for guard in state.readiness.guards:
        yield f"  {GUARD[guard.ok].glyph} {clean(guard.title)}: {clean(guard.reason)}"
    findings = [finding for finding in state.diagnosis.findings if finding.severity is not Severity.OK]
    if findings:
        yield ""
    for finding in findings:
        hint = f" ({clean(finding.hint)})" if finding.hint else ""
        where = f"{clean(finding.node)}: " if finding.node and finding.node not in finding.text else ""
        yield f"  {SEVERITY[finding.severity].glyph} {where}{clean(finding.text)}{hint}"
    for note in state.notes:
        yield f"  note: {clean(note)}"


def nodes_table(state: ClusterState) -> Iterator[str]:
    """A heading and a line for each node, columns aligned."""
    mono = time.monotonic()
    rows = [HEADINGS, *(_row(state, node, mono) for node in state.snapshot.nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def nagios_line(states: Sequence[ClusterState], worst: Severity) -> str:
    """``PFMS-HA OK - text | performance data``, one line, as plug-ins must speak."""
    texts = "; ".join(f"{state.name}: {state.diagnosis.text}" for state in states)
    data: list[str] = []
    for state in states:
        for node in state.snapshot.nodes:
            prefix = f"{state.name}_{node.label}"
            if node.role is Role.SLAVE and node.replication is not None and node.answers:
                lag = node.replication.seconds_behind
                # "U" is how a plug-in says "no value": unknown is never zero.
                data.append(f"'{prefix}_behind'={'U' if lag is None else f'{lag}s'}")
            data.append(f"'{prefix}_up'={int(node.answers)}")
        data.append(f"'{state.name}_checks'={state.readiness.passed};;;0;{len(state.readiness.guards)}")
    return clean(f"PFMS-HA {NAGIOS_WORDS[worst]} - {texts}").replace("|", "/") + f" | {clean(' '.join(data))}"


def _row(state: ClusterState, node: NodeState, mono: float) -> tuple[str, ...]:
    seen = node.age(mono)
    facts = node.facts
    live = node.answers
    replication = node.replication
    return (
        clean(node.label),
        clean(f"{node.host}:{node.port}"),
        _role(node),
        _sql(node),
        SSH[node.shell.state].word if node.shell else "?",
        _threads(replication) if live and replication else NOTHING,
        behind(replication.seconds_behind, node.bytes_behind) if live and replication else NOTHING,
        clean(position(replication.executed if replication else facts.binlog)) if live and facts else NOTHING,
        clean(facts.version) if facts else NOTHING,
        _sync(state, node),
        age(seen) if seen is None or live else "< 2 s ago" if seen < 2 else f"{age(seen)} ago",
    )


def _role(node: NodeState) -> str:
    """The role; "was" for the last one of a node that does not answer: never two masters by memory."""
    if node.role is Role.UNKNOWN:
        return "?"
    if not node.answers:
        return {Role.MASTER: "was MASTER", Role.SLAVE: "was SLAVE", Role.NONE: "was no one's"}[node.role]
    return "read-only" if node.role is Role.NONE else node.role.value


def _sql(node: NodeState) -> str:
    observation = node.observation
    if observation is None:
        return "?"
    word = REACH[observation.reach].word
    return (
        f"{word} {latency(observation.latency)}"
        if observation.reach.answers and observation.latency
        else word
    )


def _threads(replication: Replication) -> str:
    return f"IO {replication.io.value}, SQL {'Yes' if replication.sql else 'No'}"


def _sync(state: ClusterState, node: NodeState) -> str:
    """As the console's icon: "ok" only of a node that answers, has not diverged and, if it follows, runs."""
    if node.sync.state is SyncState.RUNNING and node.sync.percent is not None:
        return share(node.sync.percent)
    if node.sync.state is not SyncState.OK:
        return SYNC[node.sync.state].word
    if not node.answers or node.role is Role.UNKNOWN:
        return "?"
    if any(f.kind is DiagnosisKind.DIVERGED and f.node == node.label for f in state.diagnosis.findings):
        return "diverged"
    replication = node.replication
    if replication is None:
        return SYNC[SyncState.OK].word
    if replication.sql_errno:
        return "broken"
    return SYNC[SyncState.OK].word if replication.io is IoState.YES and replication.sql else "?"

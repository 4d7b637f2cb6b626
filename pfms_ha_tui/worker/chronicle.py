"""From one state to the next: the lines of the timeline. Changes only, and no floods.

What flaps (a link that goes up and down every second) is told a few times, and then counted: one line
a minute says how often it changed and how it is now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity
from pfms_ha_tui.cluster.observation import IoState, NodeObservation, Reach, Replication, SshState
from pfms_ha_tui.cluster.snapshot import NodeState, Role, SyncState
from pfms_ha_tui.worker.protocol import ClusterState

BURST = 6
WINDOW = 60.0
"""More than ``BURST`` changes of one thing within ``WINDOW`` seconds are counted instead of told."""
FLAPPED = "verdict_flapped"
"""Kind of the line that counts a verdict which is over by then."""
SETTLE = 5.0
"""A finding is over once it was gone for this many seconds."""
_TOLD_BY_CHANGES = frozenset(
    {
        DiagnosisKind.NEEDS_RESYNC,
        DiagnosisKind.SLAVE_DOWN,
        DiagnosisKind.SLAVE_RESYNCING,
        DiagnosisKind.REPLICATION_STOPPED,
        DiagnosisKind.HEALTHY,
        DiagnosisKind.UNKNOWN,
    }
)
"""Findings that say again what a change of reach or replication, or an operation's event, already told."""

_BY_RANK = tuple(DiagnosisKind)
"""Worst first."""
_NOTHING_JUDGED = frozenset({DiagnosisKind.NO_CONNECTION, DiagnosisKind.SPLIT_BRAIN})
"""Verdicts under which the single nodes are not looked at, or not all."""
_JUDGED_APART = frozenset({DiagnosisKind.CLOCK_SKEW, DiagnosisKind.CONFIG_DRIFT})
"""Findings that no other one about the same node covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that has no number and no actor yet."""

    node: str | None
    severity: Severity
    kind: str
    text: str
    details: str | None = None
    topic: Hashable
    """What changed: the unit of counting."""


@dataclass(slots=True)
class _Flapping:
    told: deque[float] = field(default_factory=deque)
    untold: int = 0
    since: float = 0.0
    last: Draft | None = None


class Chronicle:
    """Remembers what was told about one cluster; :meth:`news` for each new state, in order."""

    def __init__(self) -> None:
        self._before: ClusterState | None = None
        self._verdict: tuple[DiagnosisKind, str | None] | None = None
        self._verdicts: set[Hashable] = set()
        """Those that were told, among the topics."""
        self._topics: dict[Hashable, _Flapping] = {}
        self._findings: dict[tuple[DiagnosisKind, str | None], float] = {}
        self._texts: dict[tuple[DiagnosisKind, str | None], str] = {}

    def news(self, state: ClusterState) -> list[Draft]:
        """The lines that ``state`` adds to the timeline."""
        mono = state.snapshot.mono
        told = [draft for draft in self._changes(state) if self._admit(draft, mono)]
        self._before = state
        return [*told, *self._counted(mono)]

    def _changes(self, state: ClusterState) -> Iterator[Draft]:
        before = self._before
        for node in state.snapshot.nodes:
            old = before.snapshot.node(node.label) if before is not None else None
            yield from _node_changes(old, node)
        if any(node.observation is None for node in state.snapshot.nodes):
            return  # what half of the nodes tell at the start is no diagnosis
        yield from self._finding_changes(state)
        if self._verdict != _verdict(state):
            self._verdict = _verdict(state)
            self._verdicts.add(self._verdict)
            diagnosis = state.diagnosis
            yield Draft(
                node=diagnosis.master if diagnosis.kind is not DiagnosisKind.HEALTHY else None,
                severity=diagnosis.severity,
                kind=diagnosis.kind,
                text=diagnosis.text,
                details="\n".join(diagnosis.evidence) or None,
                topic=_verdict(state),
            )

    def _finding_changes(self, state: ClusterState) -> Iterator[Draft]:
        mono = state.snapshot.mono
        seen: dict[tuple[DiagnosisKind, str | None], Finding] = {
            (finding.kind, finding.node): finding
            for finding in state.diagnosis.findings
            if finding.kind not in _TOLD_BY_CHANGES and finding.kind is not state.diagnosis.kind
        }
        for key, finding in seen.items():
            if key not in self._findings:
                yield Draft(
                    node=finding.node,
                    severity=finding.severity,
                    kind=finding.kind,
                    text=finding.text,
                    details=finding.hint,
                    topic=key,
                )
            self._findings[key] = mono
            self._texts[key] = finding.text
        for key in self._findings:
            if _not_over(key, state):
                self._findings[key] = mono
        for key in [key for key, last in self._findings.items() if mono - last > SETTLE]:
            kind, node = key
            del self._findings[key]
            yield Draft(
                node=node,
                severity=Severity.OK,
                kind=kind,
                text=f"no longer: {self._texts.pop(key)}",
                topic=key,
            )

    def _admit(self, draft: Draft, mono: float) -> bool:
        topic = self._topics.setdefault(draft.topic, _Flapping())
        while topic.told and topic.told[0] < mono - WINDOW:
            topic.told.popleft()
        if topic.untold == 0 and len(topic.told) < BURST:
            topic.told.append(mono)
            return True
        if topic.untold == 0:
            topic.since = mono
        topic.untold += 1
        topic.last = draft
        return False

    def _counted(self, mono: float) -> Iterator[Draft]:
        for key, topic in list(self._topics.items()):
            if topic.last is not None and mono - topic.since >= WINDOW:
                last = topic.last
                # A verdict that was counted may be another one by now: then it is no verdict any more.
                past = key in self._verdicts and key != self._verdict
                now = "the last time" if past else "now"
                times = f"changed {words.plural(topic.untold, 'more time')} in {mono - topic.since:.0f} s"
                yield Draft(
                    node=last.node,
                    severity=last.severity,
                    kind=FLAPPED if past else last.kind,
                    text=f"{times}; {now}: {last.text}",
                    details=last.details,
                    topic=key,
                )
                topic.untold, topic.last = 0, None
            elif topic.last is None and (not topic.told or topic.told[-1] < mono - WINDOW):
                del self._topics[key]


def _not_over(key: tuple[DiagnosisKind, str | None], state: ClusterState) -> bool:
    """Whether a finding stands although it is not listed: it is the verdict, covered, or not judged."""
    kind, label = key
    found = state.diagnosis.findings
    if state.diagnosis.kind in _NOTHING_JUDGED or any((one.kind, one.node) == key for one in found):
        return True
    node = state.snapshot.node(label) if label is not None else None
    if node is None:
        return False
    if node.observation is None or node.observation.facts is None:
        return True
    if kind in _JUDGED_APART:
        return False
    worse = _BY_RANK[: _BY_RANK.index(kind)]
    return node.sync.state is SyncState.RUNNING or any(
        one.node == label and one.kind in worse for one in found
    )


def _verdict(state: ClusterState) -> tuple[DiagnosisKind, str | None]:
    return state.diagnosis.kind, state.diagnosis.master


def _node_changes(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    for draft in (*_reach_change(old, new), *_replication_change(old, new)):
        if new.sync.state is SyncState.RUNNING and draft.severity is not Severity.OK:
            text = f"{draft.text} (expected: it is being resynced)"
            yield replace(draft, severity=Severity.INFO, text=text)
        else:
            yield draft
    yield from _restart(old, new)
    yield from _role_change(old, new)
    yield from _ssh_change(old, new)


def _reach_change(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    seen = new.observation
    if seen is None or seen.reach is Reach.UNKNOWN:
        return
    before = old.observation.reach if old is not None and old.observation is not None else Reach.UNKNOWN
    if seen.reach is before or (before is Reach.UNKNOWN and seen.reach is Reach.ALIVE):
        return
    why = f": {seen.failure.text}" if seen.failure is not None else ""
    text, severity = {
        Reach.ALIVE: (f"{new.label} answers again", Severity.OK),
        Reach.IMPAIRED: (f"{new.label} answers, but says no{why}", Severity.WARNING),
        Reach.REFUSED: (f"{new.label} is down{why}", Severity.CRITICAL),
        Reach.HUNG: (f"{new.label} does not answer{why}", Severity.CRITICAL),
        Reach.UNREACHABLE: (f"{new.label} cannot be reached{why}", Severity.CRITICAL),
        Reach.FAULT: (f"{new.label} cannot be asked, by a fault on this side{why}", Severity.WARNING),
    }[seen.reach]
    hint = seen.failure.hint if seen.failure is not None else None
    yield Draft(
        node=new.label,
        severity=severity,
        kind=f"node_{seen.reach}",
        text=text,
        details=hint,
        topic=(new.label, "reach"),
    )


def _restart(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    before, after = _started(old.last_good if old else None), _started(new.last_good)
    if before is not None and after is not None and after - before > 2.0:
        text = f"the server of {new.label} was restarted"
        yield Draft(
            node=new.label,
            severity=Severity.INFO,
            kind="node_restarted",
            text=text,
            topic=(new.label, "restart"),
        )


def _started(seen: NodeObservation | None) -> float | None:
    """Monotonic time of the server's start, to about a second."""
    if seen is None or seen.facts is None or seen.facts.uptime is None:
        return None
    return seen.mono - seen.facts.uptime


def _role_change(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    if old is None or Role.UNKNOWN in (old.role, new.role) or old.role is new.role:
        return
    role = {
        Role.MASTER: "takes writes and follows nobody now (MASTER)",
        Role.SLAVE: "follows another node now (SLAVE)",
        Role.NONE: "is read-only and follows nobody now",
        Role.UNKNOWN: "has no known role",
    }[new.role]
    yield Draft(
        node=new.label,
        severity=Severity.INFO,
        kind="role_changed",
        text=f"{new.label} {role}; it was {old.role}",
        topic=(new.label, "role"),
    )


def _replication_change(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    before, after = (old.replication if old else None), new.replication
    if before is None or after is None or _threads(before) == _threads(after):
        return
    wrong = _wrong(after)
    if wrong is None:
        text, severity, kind = f"{new.label} replicates again", Severity.OK, "replication_started"
    else:
        text, severity, kind = f"{new.label} {wrong}", Severity.WARNING, "replication_stopped"
    error = after.io_error or after.sql_error
    yield Draft(
        node=new.label,
        severity=severity,
        kind=kind,
        text=text,
        details=error or None,
        topic=(new.label, "replication"),
    )


def _threads(replication: Replication) -> tuple[bool, bool]:
    """Whether it receives and applies; "connecting" and "no" are the same news."""
    return replication.io is IoState.YES, replication.sql


def _wrong(replication: Replication) -> str | None:
    parts: list[str] = []
    if replication.io is not IoState.YES:
        errno = f" (error {replication.io_errno})" if replication.io_errno else ""
        parts.append(
            f"lost its connection to the master{errno}"
            if replication.io is IoState.CONNECTING or errno
            else "does not receive: its IO thread is stopped"
        )
    if not replication.sql:
        errno = f" (error {replication.sql_errno})" if replication.sql_errno else ""
        parts.append(f"does not apply: its SQL thread is stopped{errno}")
    return " and ".join(parts) or None


def _ssh_change(old: NodeState | None, new: NodeState) -> Iterator[Draft]:
    before = old.shell.state if old is not None and old.shell is not None else SshState.UNKNOWN
    after = new.shell.state if new.shell is not None else SshState.UNKNOWN
    if before is after or after in (SshState.UNKNOWN, SshState.OFF):
        return
    if after is SshState.UP:
        if before is SshState.DOWN:
            text = f"SSH to {new.label} works again"
            yield Draft(
                node=new.label, severity=Severity.OK, kind="ssh_up", text=text, topic=(new.label, "ssh")
            )
        return
    failure, hint = (new.shell.failure, new.shell.hint) if new.shell is not None else (None, None)
    yield Draft(
        node=new.label,
        severity=Severity.WARNING,
        kind="ssh_down",
        text=f"SSH to {new.label} does not work" + (f": {failure}" if failure else ""),
        details=hint,
        topic=(new.label, "ssh"),
    )

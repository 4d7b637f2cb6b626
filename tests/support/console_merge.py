"""What a worker answers the merge wizard, for a console without nodes behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from support.console_story import WALL

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.merges import read_moment
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import Order, OrderKind, Plan, Rights, Start
from pfms_ha_tui.worker.protocol_merge import (
    ColumnProblem,
    DryRun,
    LeftBehind,
    Looked,
    MergeQuery,
    Moment,
    MomentQuery,
    MomentRead,
    ProposedWindow,
    RowsPerSpan,
    SkippedRows,
    Split,
    SplitQuery,
    SplitSide,
    TableCounts,
    WindowPreset,
)
from pfms_ha_tui.worker.server import Methods

BEGAN = int(WALL) - 95 * 60 - int(WALL) % 60
NOW = int(WALL)


def moment(at: int) -> Moment:
    """In the zone of the tests."""
    from zoneinfo import ZoneInfo

    found = read_moment(f"@{at}", ZoneInfo("Europe/Madrid")).moment
    assert found is not None
    return found


def split() -> Split:
    """node2 was made writable beside node1 an hour and a half ago."""
    window = ProposedWindow(
        start=moment(BEGAN - 120),
        end=moment(NOW + 121),
        reasons=(
            "the journal knows when the nodes were last in step",
            "the data of the two nodes differ from then on",
            "the losing node may have written up to now",
        ),
        certain=True,
    )
    return Split(
        sides=(
            SplitSide(
                label="node1", writable=True, epoch=4, keepalive=WALL - 3, named_by_hosts_file=True,
                named_by_journal=True, position="binlog.000018:1135140", rows=11_402,
            ),
            SplitSide(
                label="node2", writable=True, epoch=3, keepalive=WALL - 212,
                position="binlog.000007:88210", rows=2_318,
            ),
        ),
        losing="node2",
        master="node1",
        reasons=(
            "node1 was promoted later (epoch 4, node2 has 3)",
            "the journal has node1 as the master",
            "Pandora's servers reported to node1 209 s later than to node2",
            "Pandora is sent to node1",
        ),
        certain=True,
        warnings={
            "node1": "node1 looks like the master: node1 was promoted later (epoch 4, node2 has 3);"
            " Pandora is sent to node1. After this merge node1 would be rebuilt from node2"
        },
        skew=0.1,
        window=window,
        presets=(
            WindowPreset(title="since the split", start=window.start, end=window.end),
            WindowPreset(title="last hour", start=moment(NOW - 3600), end=moment(NOW)),
            WindowPreset(title="last 6 hours", start=moment(NOW - 6 * 3600), end=moment(NOW)),
            WindowPreset(title="last 24 hours", start=moment(NOW - 86_400), end=moment(NOW)),
            WindowPreset(title="last 7 days", start=moment(NOW - 7 * 86_400), end=moment(NOW)),
            WindowPreset(title="today", start=moment(NOW - NOW % 86_400 - 3600), end=moment(NOW)),
            WindowPreset(title="yesterday", start=moment(NOW - 2 * 86_400), end=moment(NOW - 86_400)),
        ),
        zone="Europe/Madrid",
        tables=("tagente_datos", "tagente_datos_string", "tevento"),
    )  # fmt: skip


def histogram(query: MergeQuery) -> tuple[RowsPerSpan, ...]:
    """The same on both until the split; then each writes its own."""
    start = query.start - query.start % 60
    size = 60 if query.end - start <= 240 * 60 else 3600
    spans: list[RowsPerSpan] = []
    for at in range(start, query.end, size):
        usual = (110 + (at // 60 * 37) % 23) * (size // 60)
        apart = BEGAN <= at < NOW
        spans.append(
            RowsPerSpan(
                start=at,
                seconds=size,
                losing=usual if at < BEGAN else usual // 5 if apart else 0,
                master=usual if at < NOW else 0,
            )
        )
    return tuple(spans)


def dry_run(query: MergeQuery) -> DryRun:
    """With everything that has to be read in it."""
    return DryRun(
        losing=query.losing,
        master=query.into or "node1",
        start=query.start,
        end=query.end,
        tables=(
            TableCounts(table="tagente_datos", rows=2_040, there=241, to_add=1_761, skipped=38),
            TableCounts(table="tagente_datos_string", rows=212, there=12, to_add=200, skipped=0),
            TableCounts(table="tevento", rows=64, there=2, to_add=60, skipped=2),
            TableCounts(table="tevent_comment", rows=2, there=0, to_add=2, skipped=0),
            TableCounts(table="tevent_extended", rows=0, there=0, to_add=0, skipped=0),
        ),
        skipped=(
            SkippedRows(text="module 812 “Disk /data” of web-19 does not exist on the master", rows=26),
            SkippedRows(text="module 813 “CPU load” of web-19 is “Ping” on the master", rows=12),
            SkippedRows(text="agent 77 “web-19” does not exist on the master", rows=2),
        ),
        left_behind=(
            LeftBehind(area="agents", table="tagente", created=1, changed=0, samples=("web-19",)),
            LeftBehind(
                area="modules", table="tagente_modulo", created=2, changed=1,
                samples=("Disk /data", "CPU load", "Ping"),
            ),
            LeftBehind(area="users", table="tusuario", created=0, changed=1, samples=("carol",)),
        ),
        not_compared=("tlayout_data: its columns differ on the master",),
        seconds=0.42,
    )  # fmt: skip


def steps(state: StepState) -> tuple[StepView, ...]:
    """Of a merge."""
    return (
        StepView(name="check", title="check both nodes", state=state),
        StepView(
            name="lock", title="lock node2", state=state, node="node2",
            preview=("SET GLOBAL read_only = 1", "SHOW PROCESSLIST", "KILL every client session"),
        ),
        StepView(
            name="archive", title="archive the rows", state=state,
            preview=("write rows.sql.gz below /var/lib/pfms-ha-tui/archive",),
        ),
        StepView(
            name="apply", title="add what node1 lacks", state=state,
            preview=("START TRANSACTION", "INSERT INTO … VALUES …, UPDATE tconfig (pfms_ha_merge)", "COMMIT"),
        ),
        StepView(name="verify", title="compare the archive with the master", state=state),
    )  # fmt: skip


def merged(state: OperationState = OperationState.DONE) -> OperationView:
    """The operation, at its end."""
    done = StepState.DONE if state is OperationState.DONE else StepState.WAITING
    return OperationView(
        id=31,
        kind="merge",
        title="merge node2 into node1",
        state=state,
        actor="carol",
        dry_run=False,
        steps=steps(done),
        started_at=WALL - 4,
        finished_at=WALL - 1 if state is OperationState.DONE else None,
        text="2023 rows of node2 were added to node1; node2 is to be rebuilt from it now",
        log=(
            "tagente_datos: 2040 in the window, 241 were on the master, 1761 added, 38 skipped",
            "tagente_datos: 2040 archived (checksum 918273645), 2002 on the master, its window grew from"
            " 11000 to 12761",
        ),
    )


@dataclass
class MergeScript:
    """What the wizard asked, and what it is told; fields may be replaced before it asks."""

    split: Split = field(default_factory=split)
    fault: str | None = None
    """Why no node can be asked."""
    problems: tuple[ColumnProblem, ...] = ()
    slow: int = 0
    """So many times the dry run only says how far it is."""
    moments: dict[str, MomentRead] = field(default_factory=dict)
    asked: list[MergeQuery] = field(default_factory=list)
    started: list[Start] = field(default_factory=list)

    def offer(self, methods: Methods) -> None:
        """Add the methods."""
        methods.add("merge_moments", MomentQuery, self._moments, rights=Rights.READ)
        methods.add("merge_split", SplitQuery, self._split, rights=Rights.FULL)
        methods.add("merge_histogram", MergeQuery, self._histogram, rights=Rights.FULL)
        methods.add("merge_dry_run", MergeQuery, self._dry_run, rights=Rights.FULL)
        methods.add("plan", Order, self._plan, rights=Rights.READ)
        methods.add("start", Start, self._start, rights=Rights.FULL)

    async def _moments(self, _peer: Peer, query: MomentQuery) -> list[MomentRead]:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo("Europe/Madrid")
        return [self.moments.get(text) or read_moment(text, zone) for text in query.texts]

    async def _split(self, _peer: Peer, _query: SplitQuery) -> Looked:
        if self.fault is not None:
            raise OperationError(self.fault, node="node2", hint="is it up?")
        return Looked(split=self.split)

    async def _histogram(self, _peer: Peer, query: MergeQuery) -> Looked:
        return Looked(histogram=histogram(query))

    async def _dry_run(self, _peer: Peer, query: MergeQuery) -> Looked:
        self.asked.append(query)
        if self.slow:
            self.slow -= 1
            progress = Progress(done=400_000, total=None, unit="rows")
            return Looked(progress=progress, doing="tagente_datos")
        return Looked(dry_run=replace(dry_run(query), problems=self.problems))

    async def _plan(self, _peer: Peer, order: Order) -> Plan:
        clone = order.kind is OrderKind.CLONE
        planned = replace(
            merged(OperationState.PLANNED), steps=steps(StepState.WAITING), text=None, started_at=None, log=()
        )
        return Plan(
            operation=replace(planned, kind="clone", title="resync of node2 from node1")
            if clone
            else planned,
            confirm=order.target or "node1",
            impact=(
                f"{order.target} is locked: read-only, its clients ended. Nothing on it is deleted.",
                "Everything in the window is written to an archive before anything is added.",
                "Only rows that node1 lacks are added to it; merge --undo can take them back.",
            ),
        )

    async def _start(self, _peer: Peer, start: Start) -> OperationView:
        self.started.append(start)
        return merged()

"""The merge wizard: who lost, from when to when, what would be added, and the plan that a label starts.

Nothing is changed before the label is typed on the last page: the worker looks at both nodes, and answers
what the pages ask (:mod:`pfms_ha_tui.worker.protocol_merge`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import as_text, clean
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.dialogs import LineOfText
from pfms_ha_tui.console.screens.merge_columns import columns_unfit, command_for, settle
from pfms_ha_tui.console.screens.merge_pages import DryRunPage, MergePage, SidesPage
from pfms_ha_tui.console.screens.merge_window import WindowPage
from pfms_ha_tui.console.screens.order_panel import OrderPanel
from pfms_ha_tui.console.screens.wizard import WizardScreen
from pfms_ha_tui.console.widgets.merge import dry_run_lines, moment_words
from pfms_ha_tui.errors import PfmsError, WorkerError
from pfms_ha_tui.worker.protocol import Order, OrderKind
from pfms_ha_tui.worker.protocol_merge import (
    DryRun,
    Looked,
    MergeQuery,
    Moment,
    RowsPerSpan,
    Split,
    SplitQuery,
)

_REPORT_WIDTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What has been chosen so far."""

    cluster: str
    losing: str | None = None
    into: str | None = None
    start: Moment | None = None
    end: Moment | None = None
    own_window: bool = False
    """A person chose it: what is found out later proposes nothing any more."""
    anyway: bool = False
    """Its label was typed although it looks like the wrong direction."""
    tables: tuple[str, ...] | None = None
    """Only these; ``None`` = as configured."""
    left_out: tuple[str, ...] = ()
    """``table.column`` that is archived, not merged."""
    renamed: tuple[str, ...] = ()
    """``table.column=column of the master``."""

    @property
    def query(self) -> MergeQuery | None:
        """The dry run that belongs to it; ``None`` until everything is chosen."""
        if self.losing is None or self.into is None or self.start is None or self.end is None:
            return None
        return MergeQuery(
            cluster=self.cluster,
            losing=self.losing,
            into=self.into,
            start=self.start.at,
            end=self.end.at,
            tables=self.tables,
            drop_columns=self.left_out,
            rename_columns=self.renamed,
        )

    @property
    def order(self) -> Order:
        """As it is sent to the worker."""
        return Order(
            cluster=self.cluster,
            kind=OrderKind.MERGE,
            target=self.losing,
            into=self.into,
            start=f"@{self.start.at}" if self.start is not None else None,
            end=f"@{self.end.at}" if self.end is not None else None,
            anyway=self.anyway,
            tables=self.tables,
            drop_columns=self.left_out,
            rename_columns=self.renamed,
        )


class ConfirmPage(MergePage):
    """Every command, and the label."""

    TITLE = "Confirm"
    KEYS = ("back", "order.confirm", "copy", "help", "quit")

    def compose(self) -> ComposeResult:
        yield OrderPanel()

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        wanted = self.merge.wanted
        return (
            f"{wanted.losing} is locked, its rows are archived, what {wanted.into} lacks is added to it, and"
            " both are compared. Read what will run."
        )

    def enter(self) -> None:
        self.query_one(OrderPanel).ask_plan(self.merge.wanted.order)

    def draw(self, scene: Scene) -> None:
        self.query_one(OrderPanel).draw(scene)

    def proceed(self) -> None:
        self.query_one(OrderPanel).confirm()

    def rehearse(self) -> None:
        self.merge.console.say("the dry run was the page before: esc goes back to it")

    def to_copy(self) -> tuple[str, str] | None:
        return "the plan", self.query_one(OrderPanel).text()


class MergeWizard(WizardScreen):
    """From two masters back to one: recover what the losing side wrote, step by step."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(("export", "merge.drop"))

    def __init__(self, cluster: str):
        super().__init__([SidesPage(), WindowPage(), DryRunPage(), ConfirmPage()])
        self.wanted = Wanted(cluster=cluster)
        self.split: Split | None = None
        self.split_at = 0.0
        """When it was found out, wall time."""
        self.histogram: tuple[RowsPerSpan, ...] | None = None
        """Of :attr:`wanted`'s window and a little around it."""
        self.found: DryRun | None = None
        """Of :attr:`wanted` as it is."""
        self.looks: dict[str, Looked] = {}
        """Method of what is being looked at → how far that is."""
        self.faults: dict[str, WorkerError] = {}
        """What the worker could not find out."""
        self._asked: dict[str, object] = {}

    @property
    def place(self) -> str:
        wanted = self.wanted
        return f"Merge {wanted.losing} into {wanted.into}" if self._index and wanted.losing else "Merge"

    @property
    def node(self) -> str | None:
        return self.wanted.losing

    @property
    def key_ids(self) -> tuple[str, ...]:
        page = self.page
        return DryRunPage.KEYS_UNFIT if isinstance(page, DryRunPage) and self.unfit else page.KEYS

    @property
    def banner_room(self) -> int:
        return 2 if self.size.height < 30 else super().banner_room

    def on_mount(self) -> None:
        super().on_mount()
        self.ask_split(None, None)

    # What the worker is asked.

    def ask_split(self, one: str | None, other: str | None) -> None:
        """Who lost, of these two or of those the worker chooses; they are the pair that is wanted now."""

        def take(found: Looked) -> None:
            split = found.split
            wanted = (self.wanted.losing, self.wanted.into)
            if split is None or wanted not in ((one, other), (other, one)):
                return
            self.split, self.split_at = split, self.scene.wall
            if one is None:
                self.choose(replace(self.wanted, losing=split.losing, into=split.master, anyway=False))
            self.window_proposed()

        self._look("merge_split", SplitQuery(cluster=self.wanted.cluster, one=one, other=other), take)

    def window_proposed(self) -> None:
        """Fill in the window that journal and data propose, or else the last hour; never over a person's."""
        split = self.split
        if split is None or self.wanted.own_window:
            return
        if split.window is not None:
            self.choose(replace(self.wanted, start=split.window.start, end=split.window.end))
        elif split.presets and self.wanted.start is None:
            first = split.presets[0]
            self.choose(replace(self.wanted, start=first.start, end=first.end))

    def ask_histogram(self) -> None:
        """Rows per span of time, a little beyond the window so that its ends can be judged."""
        query = self.wanted.query
        if query is None:
            return
        around = max(300, (query.end - query.start) // 8)

        def take(found: Looked) -> None:
            self.histogram = found.histogram

        start = max(0, query.start - around)
        self._look("merge_histogram", replace(query, start=start, end=query.end + around), take)

    def ask_dry_run(self, *, again: bool = False) -> None:
        """What would be added, unless that is known of this very merge."""
        query = self.wanted.query
        if query is None or (not again and self._asked.get("merge_dry_run") == query):
            return
        self.found = None

        def take(found: Looked) -> None:
            if self.wanted.query == query:
                self.found = found.dry_run

        self._look("merge_dry_run", query, take)

    def _look(self, method: str, query: object, take: Callable[[Looked], None]) -> None:
        self._asked[method] = query
        self.faults.pop(method, None)
        self.looks[method] = Looked()
        self.run_worker(self._asking(method, query, take), group=method, exclusive=True, exit_on_error=False)
        self.refresh_scene()

    async def _asking(self, method: str, query: object, take: Callable[[Looked], None]) -> None:
        while True:
            try:
                found = await self.console.link.ask(method, query, Looked)
            except WorkerError as exc:
                self.faults[method] = exc
                self._asked.pop(method, None)
                break
            if found.split is not None or found.histogram is not None or found.dry_run is not None:
                take(found)
                break
            self.looks[method] = found
            self.refresh_scene()
        self.looks.pop(method, None)
        self.refresh_scene()

    # What is chosen.

    def choose(self, wanted: Wanted) -> None:
        """Keep a choice; what was found for another one does not count any more."""
        if wanted.query != self.wanted.query:
            self.found = self.histogram = None
            self._asked.pop("merge_dry_run", None)
        self.wanted = wanted
        if self.page.TITLE == WindowPage.TITLE:
            self.ask_histogram()
        elif self.page.TITLE == DryRunPage.TITLE:
            self.ask_dry_run()
        self.refresh_scene()

    def choose_losing(self, losing: str, into: str) -> None:
        """The side that lost, after its label was typed if that looks wrong; then on to the next page."""
        split = self.split
        known = split is not None and {losing, into} == {side.label for side in split.sides}
        if not known or "merge_split" in self.faults:
            wanted = self.wanted
            if {losing, into} != {wanted.losing, wanted.into}:  # window and columns were those of other nodes
                wanted = replace(wanted, start=None, end=None, own_window=False, left_out=(), renamed=())
            self.choose(replace(wanted, losing=losing, into=into, anyway=False))
            self.ask_split(losing, into)
            return
        warning = split.warnings.get(losing) if split is not None else None
        if warning is None:
            self.choose(replace(self.wanted, losing=losing, into=into, anyway=False))
            self.turn(1)
            return

        def typed(answer: str | None) -> None:
            if answer is None:
                return
            if answer.strip() != losing:
                self.console.say(f"“{answer.strip()}” is not {losing}: nothing was chosen", "warning")
                return
            self.choose(replace(self.wanted, losing=losing, into=into, anyway=True))
            self.turn(1)

        text = (
            f"{clean(warning)}. If that is what you want, type the name of the node that would lose: {losing}"
        )
        self.app.push_screen(LineOfText("Wrong direction?", text, ""), typed)

    @property
    def unfit(self) -> tuple[str, ...]:
        """``table.column`` that stops the merge, and could be left out."""
        return columns_unfit(self.found)

    @property
    def map_command(self) -> str | None:
        """The command that merges with the columns mapped; ``None`` while none stands in the way."""
        query = self.wanted.query
        return command_for(query, self.found) if query is not None else None

    def settle_columns(self) -> None:
        """Leave the columns that do not fit out of the merge, or map them; after a person said so."""
        settle(self)

    def open_export(self) -> None:
        """The dry run as a text file, for those who have to redo the configuration by hand."""
        found, wanted = self.found, self.wanted
        if found is None or wanted.start is None or wanted.end is None:
            self.console.say("there is no dry run to export yet", "warning")
            return
        from pfms_ha_tui.console.incident import write_new

        ends = f"{moment_words(wanted.start, whole=True)} until {moment_words(wanted.end, whole=True)}"
        head = [
            f"Dry run of a merge: {clean(found.losing)} into {clean(found.master)}, {ends}",
            f"made {fmt.full_moment(self.console.clock.wall())}",
            "",
        ]
        rows = [
            f"{clean(one.table)}: {one.created} only on {clean(found.losing)}, {one.changed} different"
            + (f": {', '.join(map(clean, one.samples))}" if one.samples else "")
            for one in found.left_behind
        ]
        text = "\n".join(
            (*head, as_text(dry_run_lines(found, _REPORT_WIDTH, self.map_command)), "", *rows, "")
        )

        def written(answer: str | None) -> None:
            if not answer:
                return
            path = Path(answer).expanduser()
            try:
                write_new(path, text)
            except PfmsError as exc:
                self.console.say(str(exc), "error")
            else:
                self.console.say(f"wrote {path}")

        name = "".join(char if char.isalnum() or char in "-_." else "-" for char in found.losing)
        default = Path.cwd() / f"merge-{name}-{wanted.start.at}.txt"
        self.app.push_screen(LineOfText("Export the dry run", "Writes it to:", str(default)), written)

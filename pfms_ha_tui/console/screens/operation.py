"""One operation: as it would be, as it runs, as it ended. The same screen for every kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.operation import operation_lines, plan_lines
from pfms_ha_tui.console.widgets.pane import Document, Pane
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.view import OperationView
from pfms_ha_tui.worker.protocol import OperationRef, OperationsQuery, Order, Plan, Start

REHEARSAL_WITHIN = 120.0
START_WITHIN = 60.0


class LabelField(Input):
    """Where the node's label is typed. Nothing but the very label confirms."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    def __init__(self) -> None:
        super().__init__(id="label", compact=True)
        self.cursor_blink = False

    def action_leave(self) -> None:
        self.value = ""
        self.screen.query_one("#plan", Document).focus()


class OrderScreen(ConsoleScreen):
    """What an order would do; started only by typing the node's label."""

    KEYS = ("back", "order.confirm", "order.rehearse", "copy", "help", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("order.confirm", "order.rehearse", "copy"))

    def __init__(self, order: Order):
        super().__init__()
        self.order = order
        self.plan: Plan | None = None
        self._fault: WorkerError | None = None
        self._rehearsal: OperationView | None = None
        self._rehearsing = False
        self._starting = False
        self._wrong: str | None = None

    @property
    def place(self) -> str:
        about = f" {self.order.target}" if self.order.target else ""
        return f"{self.order.kind.value.capitalize()}{about}"

    @property
    def node(self) -> str | None:
        return self.order.target

    def body(self) -> ComposeResult:
        yield Document(id="plan", classes="panel fades", title="Plan")
        yield Pane(id="ask", classes="still")
        yield LabelField()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#plan", Document).focus()
        self._ask_plan()

    def _ask_plan(self) -> None:
        self.run_worker(self._plan(), group="plan", exclusive=True, exit_on_error=False)

    async def _plan(self) -> None:
        try:
            self.plan = await self.console.link.ask("plan", self.order, Plan)
            self._fault = None
        except WorkerError as exc:
            self._fault = exc
        self.refresh_scene()

    def show(self, scene: Scene) -> None:
        super().show(scene)
        document = self.query_one("#plan", Document)
        document.set_title("Rehearsal, nothing was changed" if self._rehearsal else "Plan")
        document.paint(lambda width, _h: self._lines(scene, width))
        ask, field = self.query_one("#ask", Pane), self.query_one("#label", LabelField)
        typing = field.has_focus
        field.display = typing
        lines = self._question(self.size.width - 2, typing=typing)
        ask.styles.height = len(lines)
        ask.paint(lambda _w, _h: lines)

    def _lines(self, scene: Scene, width: int) -> Sequence[Line]:
        if self._fault is not None:
            return wrap(line(("✖ ", Ink.BAD), clean(str(self._fault))), width, indent=2)
        if self._rehearsal is not None:
            return operation_lines(self._rehearsal, scene.wall, width)
        if self.plan is None:
            return [line(("asking the worker what it would do …", Ink.DIM))]
        return plan_lines(self.plan, width)

    def _question(self, width: int, *, typing: bool) -> list[Line]:
        if self._starting:
            return [line(" ", ("starting …", Ink.BUSY))]
        if self._rehearsing:
            return [line(" ", ("rehearsing against the live cluster …", Ink.BUSY))]
        if self.plan is None:
            return [line("")]
        if self.plan.why_not is not None:
            return [line(" ", ("It cannot be started now.", Ink.WARN), "  esc goes back.")]
        if not typing:
            key = self.key_for("order.confirm", "enter")
            start = line(" Nothing has been done yet.  ", (key, Ink.KEY), " to confirm, ", ("esc", Ink.KEY))
            return wrap((*start, *line(" to leave everything as it is.")), width)
        label = (clean(self.plan.confirm), Ink.STRONG)
        words = line(" Type ", label, " and press enter to start; esc leaves it.")
        if self._wrong is not None:
            words = (*words, *line("  ", (f"“{clean(self._wrong)}” is not it.", Ink.BAD)))
        return wrap(words, width)

    def confirm(self) -> None:
        """Ask for the label."""
        if self.plan is None or self.plan.why_not is not None:
            why = self.plan.why_not if self.plan is not None else "the plan is not here yet"
            self.console.say(f"it cannot be started: {why}", "warning")
            return
        self._rehearsal = None
        field = self.query_one("#label", LabelField)
        field.display = True
        field.focus()
        self.refresh_scene()

    def rehearse(self) -> None:
        """Every check against the live cluster."""
        if not self._rehearsing and not self._starting:
            self._rehearsing = True
            self.run_worker(self._rehearse(), group="rehearsal", exit_on_error=False)
            self.refresh_scene()

    async def _rehearse(self) -> None:
        start = Start(order=self.order, dry_run=True)
        try:
            ask = self.console.link.ask
            self._rehearsal = await ask("start", start, OperationView, timeout=REHEARSAL_WITHIN)
        except WorkerError as exc:
            self.console.say(str(exc), "error")
        finally:
            self._rehearsing = False
        self.refresh_scene()

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self.refresh_scene()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id != "label" or self.plan is None or self._starting:
            return
        if event.value.strip() != self.plan.confirm:
            self._wrong = event.value.strip()
            event.input.value = ""
            self.refresh_scene()
            return
        self._starting = True
        self.run_worker(self._start(event.value.strip()), group="start", exit_on_error=False)
        self.refresh_scene()

    async def _start(self, label: str) -> None:
        start = Start(order=self.order, confirm=label)
        try:
            ask = self.console.link.ask
            begun = await ask("start", start, OperationView, timeout=START_WITHIN)
        except WorkerError as exc:
            # What stood against it may have changed since the plan was made: look again.
            self._starting = False
            self.console.say(str(exc), "error")
            self.query_one("#label", LabelField).action_leave()
            self._ask_plan()
            return
        self.app.switch_screen(OperationScreen(begun))

    def to_copy(self) -> tuple[str, str] | None:
        return "the plan", self.pane_text(self.query_one("#plan", Document))


class OperationScreen(ConsoleScreen):
    """An operation that runs, or the last one."""

    PLACE = "Operation"
    KEYS = ("back", "operation.cancel", "timeline", "evidence", "copy", "help", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("operation.cancel", "timeline", "evidence", "copy"))

    def __init__(self, begun: OperationView | None = None):
        super().__init__()
        self._view = begun
        self._asked: int | None = None

    def body(self) -> ComposeResult:
        yield Document(id="operation", classes="panel fades", title="Operation")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#operation", Document).focus()
        if self._view is None and (self.scene.state is None or self.scene.state.operation is None):
            self.run_worker(self._last(), group="last", exit_on_error=False)

    async def _last(self) -> None:
        state = self.scene.state
        if state is None:
            return
        try:
            query = OperationsQuery(cluster=state.name, limit=1)
            past = await self.console.link.ask("operations", query, list[OperationView])
        except WorkerError as exc:
            self.console.say(str(exc), "error")
            return
        if past:
            self._view = past[0]
            self.refresh_scene()

    @property
    def view(self) -> OperationView | None:
        """The newest of what is known of the operation."""
        return self._view

    def show(self, scene: Scene) -> None:
        super().show(scene)
        told = scene.state.operation if scene.state is not None else None
        if told is not None and (self._view is None or told.id >= self._view.id):
            self._view = told
        view = self._view
        document = self.query_one("#operation", Document)
        document.set_title(f"Operation {view.id}" if view is not None else "Operation")
        if view is None:
            document.paint(lambda _w, _h: [line(("there has been none yet", Ink.DIM))])
            return
        document.paint(lambda width, _h: operation_lines(view, scene.wall, width))

    def cancel(self) -> None:
        """Ask for the end at the next safe point, after a person said so twice."""
        from pfms_ha_tui.console.screens.dialogs import Question

        view, state = self._view, self.scene.state
        if view is None or state is None:
            return
        which = OperationRef(cluster=state.name, id=view.id)

        def answered(answer: str | None) -> None:
            if answer == "cancel":
                self.run_worker(self.console.tell("cancel", which), group="cancel", exit_on_error=False)

        self.app.push_screen(
            Question(
                "Cancel the operation",
                [f"{view.title} ends at its next safe point; what it did so far is undone."],
                [("stay", "Let it go on"), ("cancel", "Cancel it")],
            ),
            answered,
        )

    def to_copy(self) -> tuple[str, str] | None:
        return "the operation", self.pane_text(self.query_one("#operation", Document))

"""What an order would do, and the field whose label starts it: on a screen of its own or in a wizard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from pfms_ha_tui.console.ink import Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.operation import operation_lines, plan_lines
from pfms_ha_tui.console.widgets.pane import Document, Pane
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.view import CloneCheck, OperationState, OperationView
from pfms_ha_tui.worker.protocol import (
    BEGIN_WITHIN,
    CLONE_CHECK_WITHIN,
    REHEARSAL_WITHIN,
    Order,
    OrderKind,
    Plan,
    Start,
)

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.base import ConsoleScreen


class LabelField(Input):
    """Where the node's label is typed. Nothing but the very label confirms."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    def __init__(self) -> None:
        super().__init__(id="label", compact=True)
        self.cursor_blink = False

    def action_leave(self) -> None:
        self.value = ""
        self.screen.query_one("#plan", Document).focus()


class OrderPanel(Vertical):
    """The plan of an order; started only by typing the node's label, and then followed."""

    class Refused(Message):
        """It was confirmed, but what was shown does not hold any more; the panel looks again by itself."""

    def __init__(self) -> None:
        super().__init__(classes="order-panel")
        self.plan: Plan | None = None
        self._order: Order | None = None
        self.found: CloneCheck | None = None
        """What the hosts told, where it is in :attr:`plan`."""
        self._round = 0
        """Of asking for a plan: an answer to an earlier round is not about what is shown."""
        self._fault: WorkerError | None = None
        self._rehearsal: OperationView | None = None
        self._rehearsing = False
        self._starting = False
        self._checking = False
        self._wrong: str | None = None

    def compose(self) -> ComposeResult:
        yield Document(id="plan", classes="panel fades", title="Plan")
        yield Pane(id="ask", classes="still")
        yield LabelField()

    @property
    def _screen(self) -> ConsoleScreen:
        return cast("ConsoleScreen", self.screen)

    def ask_plan(self, order: Order, found: CloneCheck | None = None) -> None:
        """Ask the worker what ``order`` would do, and show it.

        Args:
            order: what may be started.
            found: with the exact commands of a clone, which the plan alone cannot know yet.
        """
        self._round += 1
        self.plan, self._order, self.found = None, order, found
        self._fault = self._rehearsal = self._wrong = None
        self._rehearsing = self._checking = False
        self.query_one("#plan", Document).focus()
        self.run_worker(self._plan(order, self._round), group="plan", exclusive=True, exit_on_error=False)

    async def _plan(self, order: Order, asked: int) -> None:
        fault: WorkerError | None = None
        plan: Plan | None = None
        try:
            plan = await self._screen.console.link.ask("plan", order, Plan)
        except WorkerError as exc:
            fault = exc
        if asked != self._round:
            return
        self.plan = plan if self.found is None or plan is None else plan.checked(self.found)
        self._fault = fault
        self._screen.refresh_scene()
        if order.kind is OrderKind.CLONE and self.plan is not None and self.found is None:
            await self._check_clone(order, self.plan, asked)

    async def _check_clone(self, order: Order, plan: Plan, asked: int) -> None:
        """Only the hosts know the exact commands of a clone, and what stands against it there."""
        self._checking = True
        self._screen.refresh_scene()
        found: CloneCheck | None = None
        why_not = plan.why_not
        try:
            found = await self._screen.console.link.ask(
                "clone_check", order, CloneCheck, timeout=CLONE_CHECK_WITHIN
            )
        except WorkerError as exc:
            why_not = why_not or f"servers and hosts could not be asked what exactly would run: {exc}"
        if asked != self._round:
            return
        self._checking, self.found = False, found
        self.plan = plan.checked(found) if found is not None else replace(plan, why_not=why_not)
        self._screen.refresh_scene()

    def draw(self, scene: Scene) -> None:
        """Draw it."""
        document = self.query_one("#plan", Document)
        document.set_title("Rehearsal, nothing was changed" if self._rehearsal else "Plan")
        document.paint(lambda width, _h: self._lines(scene, width))
        ask, field = self.query_one("#ask", Pane), self.query_one("#label", LabelField)
        typing = field.has_focus
        field.display = typing
        lines = self._question(self.app.size.width - 2, typing=typing)
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
        if self._checking:
            return [line(" ", ("asking servers and hosts what exactly would run …", Ink.BUSY))]
        if self.plan.why_not is not None:
            return [line(" ", ("It cannot be started now.", Ink.WARN), "  esc goes back.")]
        if not typing:
            key = self._screen.key_for("order.confirm", "enter")
            start = line(" Nothing has been done yet.  ", (key, Ink.KEY), " to confirm, ", ("esc", Ink.KEY))
            return wrap((*start, *line(" to leave everything as it is.")), width)
        label = (clean(self.plan.confirm), Ink.STRONG)
        words = line(" Type ", label, " and press enter to start; esc leaves it.")
        if self._wrong is not None:
            words = (*words, *line("  ", (f"“{clean(self._wrong)}” is not it.", Ink.BAD)))
        return wrap(words, width)

    @property
    def _why_not(self) -> str | None:
        """Why it cannot be started: nobody confirms what was not shown in full."""
        if self.plan is None:
            return "the plan is not here yet"
        return "the exact commands are not here yet" if self._checking else self.plan.why_not

    def _as_shown(self, order: Order) -> Order:
        return order.settled(self.found) if self.found is not None else order

    def confirm(self) -> None:
        """Ask for the label."""
        why = self._why_not
        if why is not None:
            self._screen.console.say(f"it cannot be started: {why}", "warning")
            return
        self._rehearsal = None
        field = self.query_one("#label", LabelField)
        field.display = True
        field.focus()
        self._screen.refresh_scene()

    def rehearse(self) -> None:
        """Every check against the live cluster."""
        if self._order is not None and not self._rehearsing and not self._starting:
            self._rehearsing = True
            order = self._as_shown(self._order)
            self.run_worker(self._rehearse(order, self._round), group="rehearsal", exit_on_error=False)
            self._screen.refresh_scene()

    async def _rehearse(self, order: Order, asked: int) -> None:
        start = Start(order=order, dry_run=True)
        rehearsal: OperationView | None = None
        try:
            ask = self._screen.console.link.ask
            rehearsal = await ask("start", start, OperationView, timeout=REHEARSAL_WITHIN)
        except WorkerError as exc:
            self._screen.console.say(str(exc), "error")
        if asked != self._round:
            return
        self._rehearsal, self._rehearsing = rehearsal or self._rehearsal, False
        self._screen.refresh_scene()

    def on_descendant_focus(self) -> None:
        self._screen.refresh_scene()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id != "label" or self.plan is None or self._starting or self._order is None:
            return
        event.stop()
        if self._why_not is not None:
            self.query_one("#label", LabelField).action_leave()
            return
        if event.value.strip() != self.plan.confirm:
            self._wrong = event.value.strip()
            event.input.value = ""
            self._screen.refresh_scene()
            return
        self._starting = True
        order, title = self._as_shown(self._order), self.plan.operation.title
        start = Start(order=order, confirm=self.plan.confirm, planned=title)
        self.run_worker(self._start(start, self._order, self._round), group="start", exit_on_error=False)
        self._screen.refresh_scene()

    async def _start(self, start: Start, order: Order, asked: int) -> None:
        from pfms_ha_tui.console.screens.operation import OperationScreen

        try:
            ask = self._screen.console.link.ask
            begun = await ask("start", start, OperationView, timeout=BEGIN_WITHIN)
        except WorkerError as exc:
            self._starting = False
            self._screen.console.say(str(exc), "error")
            if asked != self._round:
                self._screen.refresh_scene()
                return
            # What stood against it may have changed since the plan was made: look again.
            self.query_one("#label", LabelField).action_leave()
            self.post_message(self.Refused())
            self.ask_plan(order)
            return
        if begun.state is OperationState.PLANNED:
            self._screen.console.say("queued: it begins when the operation that runs has ended")
        self.app.switch_screen(OperationScreen(begun))

    def text(self) -> str:
        """What it shows."""
        return self._screen.pane_text(self.query_one("#plan", Document))

"""One operation: as it would be, as it runs, as it ended. The same screen for every kind."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.screens.order_panel import OrderPanel
from pfms_ha_tui.console.widgets.operation import operation_lines
from pfms_ha_tui.console.widgets.pane import Document
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.protocol import Cancel, OperationsQuery, Order, OrderKind


class OrderScreen(ConsoleScreen):
    """What an order would do; started only by typing the node's label."""

    KEYS = ("back", "order.confirm", "order.rehearse", "copy", "help", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("order.confirm", "order.rehearse", "copy"))

    def __init__(self, order: Order):
        super().__init__()
        self.order = order

    @property
    def place(self) -> str:
        about = f" {self.order.target}" if self.order.target else ""
        return f"{self.order.kind.value.capitalize()}{about}"

    @property
    def node(self) -> str | None:
        return self.order.target

    @property
    def _panel(self) -> OrderPanel:
        return self.query_one(OrderPanel)

    def body(self) -> ComposeResult:
        yield OrderPanel()

    def on_mount(self) -> None:
        super().on_mount()
        self._panel.ask_plan(self.order)

    def show(self, scene: Scene) -> None:
        super().show(scene)
        self._panel.draw(scene)

    def confirm(self) -> None:
        """Ask for the label."""
        self._panel.confirm()

    def rehearse(self) -> None:
        """Every check against the live cluster."""
        self._panel.rehearse()

    def to_copy(self) -> tuple[str, str] | None:
        return "the plan", self._panel.text()


class OperationScreen(ConsoleScreen):
    """An operation that runs, or the last one."""

    PLACE = "Operation"
    KEYS = ("back", "operation.cancel", "timeline", "evidence", "copy", "help", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(
        ("operation.cancel", "merge.clone", "timeline", "evidence", "copy")
    )

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
        told = scene.state.operation if scene.state is not None else None
        if told is not None and (self._view is None or told.id >= self._view.id):
            self._view = told
        view = self._view
        super().show(scene)  # its line of keys depends on how the operation stands
        document = self.query_one("#operation", Document)
        document.set_title(f"Operation {view.id}" if view is not None else "Operation")
        if view is None:
            document.paint(lambda _w, _h: [line(("there has been none yet", Ink.DIM))])
            return
        document.paint(
            lambda width, _h: [*self._next_lines(width), *operation_lines(view, scene.wall, width)]
        )

    @property
    def key_ids(self) -> tuple[str, ...]:
        running = self._view is not None and self._view.state is OperationState.RUNNING
        keys = tuple(one for one in self.KEYS if running or one != "operation.cancel")
        return ("merge.clone", *keys) if self._may_rebuild else keys

    @property
    def _to_rebuild(self) -> str | None:
        """The side that lost, after a merge that came to its end."""
        view = self._view
        if view is None or view.kind != "merge" or view.dry_run or view.state is not OperationState.DONE:
            return None
        return next((step.node for step in view.steps if step.name == "lock"), None)

    def _next_lines(self, width: int) -> list[Line]:
        losing, view = self._to_rebuild, self._view
        if losing is None:
            return []
        outcome = f"{clean(view.text)}." if view is not None and view.text else ""
        told = wrap(line(("▶ Next: ", Ink.KEY), outcome), width, indent=2)
        if not self._may_rebuild:
            return [*told, EMPTY]
        key = self.key_for("merge.clone", "c")
        return [*told, line("  To rebuild it: ", (key, Ink.KEY), " goes on with the clone."), EMPTY]

    @property
    def _may_rebuild(self) -> bool:
        """Not while the worker would refuse it, as after a merge of a part only."""
        losing, state = self._to_rebuild, self.scene.state
        if losing is None or state is None:
            return False
        return losing not in state.refusals.get(OrderKind.CLONE, {})

    def go_on(self) -> None:
        """Rebuild the side that lost; that asks for its label again."""
        losing, state = self._to_rebuild, self.scene.state
        if losing is None or state is None:
            self.console.say("no merge has ended here", "warning")
            return
        order = Order(cluster=state.name, kind=OrderKind.CLONE, target=losing)
        self.app.switch_screen(OrderScreen(order))

    def cancel(self) -> None:
        """Ask for the end at the next safe point, after a person said so twice."""
        from pfms_ha_tui.console.screens.dialogs import Question

        view, state = self._view, self.scene.state
        if view is None or state is None:
            return
        which = Cancel(cluster=state.name, id=view.id)

        def answered(answer: str | None) -> None:
            if answer == "cancel":
                self.run_worker(self.console.tell("cancel", which), group="cancel", exit_on_error=False)

        self.app.push_screen(
            Question(
                "Cancel the operation",
                [f"{view.title} ends at its next safe point; {view.if_cancelled}."],
                [("stay", "Let it go on"), ("cancel", "Cancel it")],
            ),
            answered,
        )

    def to_copy(self) -> tuple[str, str] | None:
        return "the operation", self.pane_text(self.query_one("#operation", Document))

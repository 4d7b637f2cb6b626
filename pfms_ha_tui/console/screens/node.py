"""Node details: what the worker knows, the lag, and what the server itself answers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pfms_ha_tui.cluster.snapshot import NodeState
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, text_of
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.details import heading, node_lines, raw_lines
from pfms_ha_tui.console.widgets.lag import lag_graph, lag_title
from pfms_ha_tui.console.widgets.nodes import matches
from pfms_ha_tui.console.widgets.pane import Document, Pane
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.protocol import NodeDetails

TWO_COLUMNS = 110


class NodeScreen(ConsoleScreen):
    """One node. What needs a question to the server is asked after the first paint."""

    KEYS = ("back", "filter", "reload", "copy", "help", "commands", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("evidence", "timeline", "filter", "reload", "copy"))

    def __init__(self, label: str):
        super().__init__()
        self.label = label
        self._cluster = ""
        self._details: NodeDetails | None = None
        self._problem: str | None = None

    @property
    def place(self) -> str:
        return self.label

    @property
    def node(self) -> str | None:
        return self.label

    def body(self) -> ComposeResult:
        with Horizontal(id="columns"):
            yield Document(id="known", classes="panel fades", title=self.label)
            with Vertical(id="right"):
                yield Pane(id="lag", classes="panel still fades", title=lag_title(99))
                yield Document(id="raw", classes="panel", title="As the server says it")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#known", Document).focus()
        self._cluster = self.scene.state.name if self.scene.state else ""
        self.reload()

    def reload(self) -> None:
        """Ask the server for everything, now."""
        self.run_worker(self._load(), group="details", exclusive=True, exit_on_error=False)

    async def _load(self) -> None:
        try:
            self._details = await self.console.link.node_details(self._cluster, self.label)
            self._problem = None
        except WorkerError as exc:
            self._problem = str(exc)
        self.refresh_scene()

    def show(self, scene: Scene) -> None:
        super().show(scene)
        wide = self.size.width >= TWO_COLUMNS
        self.query_one("#right").display = wide
        node = scene.state.snapshot.node(self.label) if scene.state else None
        known = self.query_one("#known", Document)
        age = scene.data_age
        known.set_title(
            f"{self.label} · {fmt.age(age)} old" if scene.stale and age is not None else self.label
        )
        if node is None:
            known.paint(lambda _w, _h: [line(("this cluster has no such node any more", Ink.UNKNOWN))])
            return
        known.paint(lambda width, _h: self._filtered(self._known(scene, node, width, everything=not wide)))
        if not wide:
            return
        lag = self.query_one("#lag", Pane)
        lag.display = node.replication is not None or bool(scene.lag(self.label))
        lag.paint(lambda width, height: lag_graph(scene, node, width, height))
        raw = self.query_one("#raw", Document)
        raw.set_title(self._raw_title())
        raw.paint(lambda width, _h: self._filtered(raw_lines(self._details, self._problem, width)))

    def _raw_title(self) -> str:
        when = f" · {fmt.clock(self._details.at)}" if self._details is not None else ""
        return f"As the server says it{when}"

    def _known(self, scene: Scene, node: NodeState, width: int, *, everything: bool) -> list[Line]:
        lines = node_lines(scene, node, width)
        if everything:
            if node.replication is not None:
                lines += [*heading(lag_title(width)), *lag_graph(scene, node, width, 6)]
            lines += [*heading(self._raw_title()), EMPTY, *raw_lines(self._details, self._problem, width)]
        return lines

    def _filtered(self, lines: list[Line]) -> list[Line]:
        if not self.words:
            return lines
        return [value for value in lines if matches(text_of(value), self.words)] or [
            line((f"no line contains “{clean(self.words)}”", Ink.DIM))
        ]

    def to_copy(self) -> tuple[str, str] | None:
        pane = self.focused
        if not isinstance(pane, Pane):
            return None
        return f"everything shown of {self.label}", self.pane_text(pane)

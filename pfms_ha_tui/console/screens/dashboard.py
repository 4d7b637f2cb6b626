"""The dashboard: how the cluster stands, at one look."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.evidence import evidence_lines
from pfms_ha_tui.console.widgets.lag import lag_lines, lag_title
from pfms_ha_tui.console.widgets.nodes import nodes_page
from pfms_ha_tui.console.widgets.pane import Listing, Pane
from pfms_ha_tui.console.widgets.readiness import readiness_lines, readiness_title
from pfms_ha_tui.console.widgets.timeline import Choice, timeline_page
from pfms_ha_tui.console.widgets.topology import topology_lines

THREE_PANES = 110
FOUR_PANES = 170
"""Columns of the terminal from which on the upper row has so many panes."""
LEAST_TOP = 9
"""Lines of the upper row: seven guards and a border."""
LEAST_TIMELINE = 4
SHOWN = 200
"""Events on the dashboard; the timeline screen has them all."""
TO_MERGE = (DiagnosisKind.SPLIT_BRAIN, DiagnosisKind.DIVERGED)
"""Where one side has rows that the other lacks."""
ROOM_FOR_MERGE = 100
"""Columns from which on the line of keys names the merge also where nothing is to be merged."""
MANY_NODES = 8
"""From so many nodes on the filter is about them too; a few are never hidden."""


class Dashboard(ConsoleScreen):
    """Banner, topology, readiness, lag, nodes and timeline."""

    KEYS = (
        *("resync", "clone", "merge", "switchover", "failover", "pause", "operation"),
        *("details", "evidence", "timeline", "filter", "copy", "help", "commands", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings(
        (
            *("resync", "clone", "merge", "switchover", "failover", "pause", "operation"),
            *("evidence", "timeline", "filter", "copy", "export"),
        )
    )

    def __init__(self) -> None:
        super().__init__()
        self._choice = Choice()
        self._fold: tuple[int, ...] = ()
        """How the panes are laid out now."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Where there is something to merge, that stands first; else a narrow line has no room for it."""
        state = self.scene.state
        others = tuple(key for key in self.KEYS if key != "merge")
        if state is not None and state.diagnosis.kind in TO_MERGE:
            return ("merge", *others)
        return self.KEYS if self.size.width >= ROOM_FOR_MERGE else others

    def body(self) -> ComposeResult:
        with Grid(id="top"):
            yield Pane(id="topology", classes="panel still fades", title="Topology")
            yield Pane(id="readiness", classes="panel still fades", title="Failover readiness")
            yield Pane(id="lag", classes="panel still fades", title=lag_title(0))
            yield Pane(id="matrix", classes="panel still fades", title="Who sees whom")
        yield Listing(id="nodes", classes="panel fades", title="Nodes")
        yield Listing(id="events", classes="panel", title="Timeline", follow_top=True)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#nodes", Listing).focus()

    @property
    def node(self) -> str | None:
        """The node under the cursor of the table."""
        return self.query_one("#nodes", Listing).cursor_key

    def show(self, scene: Scene) -> None:
        super().show(scene)
        self._arrange(scene)
        self._pane("topology").paint(lambda width, height: topology_lines(scene, width, height))
        readiness = self._pane("readiness")
        readiness.set_title(readiness_title(scene))
        guards = scene.state.readiness.guards if scene.state else None
        readiness.paint(lambda width, height: readiness_lines(scene, width, height), guards)
        lag = self._pane("lag")
        if lag.display:
            lag.set_title(lag_title(lag.outer_size.width))
            lag.paint(lambda width, height: lag_lines(scene, width, height))
        if self._pane("matrix").display:
            self._pane("matrix").paint(lambda width, height: evidence_lines(scene, width, height))
        nodes = self.query_one("#nodes", Listing)
        total = len(scene.state.snapshot.nodes) if scene.state else 0
        words = self.words if total >= MANY_NODES else ""
        nodes.paint(lambda width, height: nodes_page(scene, width, height, words))
        title = self.filtered("Nodes", len(nodes.lines), total) if words else "Nodes"
        if scene.stale and scene.data_age is not None:
            title += f" · {fmt.age(scene.data_age)} old"
        nodes.set_title(title)
        timeline = self.query_one("#events", Listing)
        events = self._choice.of(scene.events, self.words)
        timeline.set_title(self.filtered("Timeline", len(events), len(scene.events)))
        timeline.paint(lambda width, _h: timeline_page(scene, events[:SHOWN], width), (events, scene.day))

    def _pane(self, name: str) -> Pane:
        return self.query_one(f"#{name}", Pane)

    def _arrange(self, scene: Scene) -> None:
        """Fold and size the panes for this terminal."""
        width, height = self.size
        if not width or not height:
            return
        nodes = len(scene.state.snapshot.nodes) if scene.state else 2
        banner = self._pane("banner").styles.height
        taken = 2 + (1 if len(scene.board.clusters) > 1 else 0) + int(banner.value if banner else 1)
        nodes_height = min(max(nodes, 1), max(2, height // 4)) + 3
        room = height - taken - nodes_height - LEAST_TIMELINE
        columns = 4 if width >= FOUR_PANES else 3 if width >= THREE_PANES else 2
        wanted = max(LEAST_TOP, min(height // 5, 12), min(2 * nodes + 2, height // 3))
        top = max(3, min(wanted, room))
        below = 8 if columns == 2 and room - top >= 8 else 0
        fold = (columns, top, below, nodes_height)
        if fold == self._fold:
            return  # every assignment to a style lays the whole screen out again
        self._fold = fold
        self._pane("lag").display = columns > 2 or bool(below)
        self._pane("matrix").display = columns > 3
        self._pane("lag").styles.column_span = 2 if below else 1
        grid = self.query_one("#top", Grid)
        grid.styles.grid_size_columns = columns
        grid.styles.grid_columns = {2: "38fr 42fr", 3: "38fr 50fr 32fr", 4: "38fr 50fr 32fr 50fr"}[columns]
        grid.styles.grid_rows = f"{top} {below}" if below else f"{top}"
        grid.styles.height = top + below
        self.query_one("#nodes").styles.height = nodes_height

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        if event.pane.id == "nodes":
            self.open_node(event.key)
        else:
            self.open_timeline(event.key)

    def on_listing_moved(self) -> None:
        self.call_after_refresh(self.refresh_keys)

    def open_details(self) -> None:
        focused = self.focused
        if isinstance(focused, Listing):
            focused.action_choose()
        elif self.node is not None:
            self.open_node(self.node)

    def open_export(self) -> None:
        self.console.export(self._choice.of(self.scene.events, self.words))

    def to_copy(self) -> tuple[str, str] | None:
        pane = self.focused
        if not isinstance(pane, Listing) or pane.cursor_key is None:
            return None
        if pane.id == "nodes":
            return self.console.node_text(pane.cursor_key)
        return self.console.event_text(pane.cursor_key)

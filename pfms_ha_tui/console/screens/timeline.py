"""The timeline: all events, with a filter, the details of one, and the export of an incident."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import Ink, Line, line
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.pane import Document, Listing
from pfms_ha_tui.console.widgets.timeline import LEVELS, Choice, event_lines, timeline_page
from pfms_ha_tui.errors import WorkerError

_LEVEL_WORDS = {Severity.WARNING: "warning and worse", Severity.CRITICAL: "critical only"}


class TimelineScreen(ConsoleScreen):
    """Every event that is known, newest first; older ones are fetched when the end is reached."""

    PLACE = "Timeline"
    HAS_BANNER = False
    KEYS = ("back", "filter", "severity", "export", "copy", "help", "commands", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("evidence", "filter", "severity", "export", "copy"))

    def __init__(self, event: str | None = None):
        super().__init__()
        self._wanted = event
        self._level: Severity | None = None
        self._events: list[Event] = []
        self._asking = False
        self._choice = Choice()
        self._height = 0

    def body(self) -> ComposeResult:
        yield Listing(id="events", classes="panel", title="Timeline", follow_top=True)
        yield Document(id="event", classes="panel", title="Event")

    def on_mount(self) -> None:
        super().on_mount()
        events = self.query_one("#events", Listing)
        events.focus()
        if self._wanted is not None:
            self.call_after_refresh(events.choose_key, self._wanted)

    def show(self, scene: Scene) -> None:
        super().show(scene)
        self._events = self._choice.of(scene.events, self.words, self._level)
        events = self.query_one("#events", Listing)
        title = f"Timeline · {fmt.plural(len(scene.events), 'event')}" if scene.events else "Timeline"
        if self._level is not None:
            title += f" · {_LEVEL_WORDS[self._level]}"
        if self.words or self._level is not None:
            title = self.filtered(title, len(self._events), len(scene.events))
        events.set_title(title)
        height = max(5, min(14, self.size.height // 3))
        if height != self._height:
            self._height = height
            self.query_one("#event").styles.height = height
        shown = self._events
        events.paint(lambda width, _h: timeline_page(scene, shown, width), (shown, scene.day))
        self._show_event()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_event()
        if event.pane.cursor >= len(self._events) - 1:
            self._fetch_older()

    def _show_event(self) -> None:
        document = self.query_one("#event", Document)
        event = self._event()

        def draw(width: int, _height: int) -> list[Line]:
            return event_lines(event, width) if event else [line(("no event is chosen", Ink.DIM))]

        document.paint(draw)

    def _event(self) -> Event | None:
        key = self.query_one("#events", Listing).cursor_key
        return next((event for event in self._events if str(event.id) == key), None)

    def _fetch_older(self) -> None:
        state = self.scene.state
        if state is None or self._asking or state.name in self.scene.board.complete:
            return
        self._asking = True
        self.run_worker(self._older(state.name), group="older", exit_on_error=False)

    async def _older(self, cluster: str) -> None:
        try:
            await self.console.link.older_events(cluster)
        except WorkerError as exc:
            self.console.say(str(exc), "warning")
        finally:
            self._asking = False

    def open_details(self) -> None:
        self.query_one("#event", Document).focus()

    def on_listing_chosen(self) -> None:
        self.open_details()

    def next_severity(self) -> None:
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        self.refresh_scene()

    def open_export(self) -> None:
        self.console.export(self._events)

    def to_copy(self) -> tuple[str, str] | None:
        event = self._event()
        return self.console.event_text(str(event.id)) if event is not None else None

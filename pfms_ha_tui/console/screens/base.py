"""What every screen of the console shares: title, tabs, banner, filter and the line of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from pfms_ha_tui.console.actions import shown_keys
from pfms_ha_tui.console.ink import Line, as_text
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.banner import banner_lines
from pfms_ha_tui.console.widgets.keys import key_line, typing_line
from pfms_ha_tui.console.widgets.pane import Pane
from pfms_ha_tui.console.widgets.title import tab_line, title_line

if TYPE_CHECKING:
    from pfms_ha_tui.console.app import Console


class Strip(Pane):
    """One line with places that can be clicked."""

    class Clicked(Message):
        """A place was clicked."""

        def __init__(self, strip: Strip, name: str):
            super().__init__()
            self.strip = strip
            self.name = name

        @property
        def control(self) -> Strip:
            """The line."""
            return self.strip

    places: Iterable[tuple[int, int, str]] = ()
    """(first column, end, name)."""

    def on_click(self, event: events.Click) -> None:
        for start, end, name in self.places:
            if start <= event.x < end:
                self.post_message(self.Clicked(self, name))


class FilterBar(Input):
    """Where the words of the filter are typed. It stays in sight while a filter holds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear_filter", "Clear", show=False),
        Binding("enter,down,up", "to_list", "To the list", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder="words to look for; esc clears", id="filter", compact=True)
        self.cursor_blink = False

    def action_clear_filter(self) -> None:
        cast("ConsoleScreen", self.screen).clear_filter()

    def action_to_list(self) -> None:
        cast("ConsoleScreen", self.screen).leave_filter()


class ConsoleScreen(Screen[None]):
    """A screen that shows one scene after the other."""

    PLACE: ClassVar[str] = ""
    """Its name in the title; empty for the dashboard."""
    KEYS: ClassVar[tuple[str, ...]] = ()
    """Ids of the actions on the line of keys, in its order."""
    HAS_BANNER: ClassVar[bool] = True
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        """The filter."""
        self._focus_before: Widget | None = None
        self._composed = False

    @property
    def console(self) -> Console:
        """The app."""
        return cast("Console", self.app)

    @property
    def scene(self) -> Scene:
        """What is known now."""
        return self.console.scene

    @property
    def place(self) -> str:
        """The name in the title."""
        return self.PLACE

    @property
    def node(self) -> str | None:
        """Label of the node that an action would be about."""
        return None

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the actions on the line of keys now."""
        return self.KEYS

    def compose(self) -> ComposeResult:
        yield Strip(id="title", classes="strip")
        yield Strip(id="tabs", classes="strip")
        yield Pane(id="banner")
        yield from self.body()
        yield FilterBar()
        yield Strip(id="keys", classes="strip")

    def body(self) -> ComposeResult:
        """The panes between banner and keys."""
        yield from ()

    def on_mount(self) -> None:
        self._composed = True
        self.refresh_scene()

    def on_resize(self) -> None:
        self.refresh_scene()

    def on_screen_resume(self) -> None:
        self.refresh_scene()

    def refresh_scene(self) -> None:
        """Show the present scene."""
        if self._drawable:
            self.show(self.scene)

    @property
    def _drawable(self) -> bool:
        """Whether the panes are there: neither before they are mounted nor while the app takes them down."""
        return self._composed and self.app.is_running and self.is_attached and self.is_current

    def show(self, scene: Scene) -> None:
        """Draw ``scene``; a screen adds its own panes to this."""
        for pane in self.query(".fades").results(Pane):
            pane.fade(scene.stale)
        self.query_one("#title", Strip).paint(lambda width, _h: [title_line(scene, width, self.place)])
        self._show_tabs(scene)
        self.show_banner(scene)
        self._show_keys(scene)

    def _show_tabs(self, scene: Scene) -> None:
        tabs = self.query_one("#tabs", Strip)
        clusters = scene.board.worst_first()
        tabs.display = len(clusters) > 1

        def draw(width: int, _height: int) -> list[Line]:
            drawn, tabs.places = tab_line(scene, clusters, width)
            return [drawn]

        if tabs.display:
            tabs.paint(draw)

    def show_banner(self, scene: Scene) -> int:
        """Draw the banner; the lines it takes."""
        banner = self.query_one("#banner", Pane)
        banner.display = self.HAS_BANNER
        if not self.HAS_BANNER:
            return 0
        tabs = 1 if len(scene.board.clusters) > 1 else 0
        lines = banner_lines(scene, self.size.width, self.banner_room - tabs)
        if banner.styles.height is None or banner.styles.height.value != len(lines):
            banner.styles.height = len(lines)
        banner.paint(lambda _w, _h: lines)
        return len(lines)

    @property
    def banner_room(self) -> int:
        """Lines that the banner may take, the tabs included."""
        return 4 if self.size.height < 30 else 6

    def _show_keys(self, scene: Scene) -> None:
        keys = self.query_one("#keys", Strip)

        def draw(width: int, _height: int) -> list[Line]:
            if isinstance(self.focused, FilterBar):
                keys.places = ()
                return [typing_line(width)]
            drawn, keys.places = key_line(scene, self.node, self.key_ids, self.console.keymap, width)
            return [drawn]

        keys.paint(draw)

    def on_strip_clicked(self, event: Strip.Clicked) -> None:
        if event.strip.id == "tabs":
            self.console.show_cluster(event.name)
        elif event.strip.id == "keys":
            self.console.action_perform(event.name)

    # What the actions of the table call.

    def open_details(self) -> None:
        """Details of what the cursor is on."""

    def open_evidence(self) -> None:
        """The evidence screen."""
        from pfms_ha_tui.console.screens.evidence import EvidenceScreen

        if not isinstance(self, EvidenceScreen):
            self.app.push_screen(EvidenceScreen())

    def open_timeline(self, event: str | None = None) -> None:
        """The timeline screen, with the cursor on ``event``."""
        from pfms_ha_tui.console.screens.timeline import TimelineScreen

        if not isinstance(self, TimelineScreen):
            self.app.push_screen(TimelineScreen(event))

    def open_node(self, label: str) -> None:
        """The screen of one node."""
        from pfms_ha_tui.console.screens.node import NodeScreen

        self.app.push_screen(NodeScreen(label))

    def open_help(self) -> None:
        """The help screen."""
        from pfms_ha_tui.console.screens.help import HelpScreen

        if not isinstance(self, HelpScreen):
            self.app.push_screen(HelpScreen())

    def open_export(self) -> None:
        """Ask for a file and write the incident to it."""

    def next_severity(self) -> None:
        """Show fewer or more events."""

    def settle_columns(self) -> None:
        """Merge without the columns that do not fit, or map them."""

    def go_on(self) -> None:
        """Begin what follows from what this screen shows."""

    def advance(self) -> None:
        """Go on to the next page of a wizard."""

    def confirm(self) -> None:
        """Start what this screen shows, once its label is typed."""

    def give_up_old(self) -> None:
        """Ask whether the old data may go before a copy."""

    def rehearse(self) -> None:
        """Check what this screen shows against the live cluster."""

    def cancel(self) -> None:
        """Cancel what this screen shows."""

    def reload(self) -> None:
        """Ask again for what was asked once."""

    def to_copy(self) -> tuple[str, str] | None:
        """(what it is, the text) for the clipboard; ``None`` = nothing is here."""
        return None

    def copy(self) -> None:
        """Put what the cursor is on into the terminal's clipboard."""
        found = self.to_copy()
        if found is None:
            self.console.say("there is nothing to copy here", "warning")
            return
        what, text = found
        self.app.copy_to_clipboard(text)
        self.console.say(f"copied {what}")

    def back(self) -> None:
        """Clear the filter, else leave this screen; the dashboard is never left."""
        if self.words or self.query_one(FilterBar).has_class("-open"):
            self.clear_filter()
        elif len(self.app.screen_stack) > self.console.base_depth:
            self.app.pop_screen()

    # The filter.

    def open_filter(self) -> None:
        """Show the line where words are typed."""
        bar = self.query_one(FilterBar)
        if self.focused is not bar:
            self._focus_before = self.focused
        bar.add_class("-open")
        bar.focus()

    def on_descendant_focus(self) -> None:
        self.refresh_keys()

    def on_descendant_blur(self) -> None:
        self.refresh_keys()

    def refresh_keys(self) -> None:
        """Draw the line of keys again: another node or pane is meant now."""
        if self._drawable:
            self._show_keys(self.scene)

    def leave_filter(self) -> None:
        """Back to the list; the filter holds."""
        if not self.words:
            self.clear_filter()
        elif self._focus_before is not None:
            self.set_focus(self._focus_before)

    def clear_filter(self) -> None:
        """Show everything again."""
        bar = self.query_one(FilterBar)
        bar.value = ""
        bar.remove_class("-open")
        self.words = ""
        if self.focused is bar or self.focused is None:
            self.set_focus(self._focus_before)
        self.refresh_scene()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter" and event.value != self.words:
            self.words = event.value
            self.refresh_scene()

    def filtered(self, title: str, shown: int, total: int) -> str:
        """A pane's title, with the filter in it when one holds."""
        return f"{title} · filter “{self.words}” {shown} of {total}" if self.words else title

    def key_for(self, action: str, default: str) -> str:
        """The key that does ``action``, as people write it."""
        keys = shown_keys(self.console.keymap.get(action, default))
        return keys[0] if keys else default

    @staticmethod
    def pane_text(pane: Pane) -> str:
        """A pane's lines as plain text."""
        return as_text(pane.lines)

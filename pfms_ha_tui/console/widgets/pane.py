"""Panes of lines that repaint only what changed.

A pane keeps the function that draws it, so that it can redraw itself when its size changes. Its lines
are compared with those on the screen, span by span, and only the columns that differ are written: at
one update a second over SSH this is the difference between a quiet line and a noisy one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pfms_ha_tui.console.glyphs import SELECTED
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, Span, crop, line_to_ascii, merge, to_ascii, width_of
from pfms_ha_tui.console.themes import background_style, ink_style


@dataclass(frozen=True, slots=True)
class Page:
    """What a pane shows."""

    lines: Sequence[Line]
    header: Line | None = None
    """Stays on top while the lines scroll."""
    keys: Sequence[str] = ()
    """One per line, in a list whose lines can be chosen."""


Source = Callable[[int, int], Page | Sequence[Line]]
"""(width, height) → what to show."""


class Pane(ScrollView, can_focus=False):
    """Lines of text, drawn by a function of the pane's size."""

    ALLOW_SELECT = False
    GUTTER = 0
    """Cells in front of every line."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, title: str = ""):  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._source: Source | None = None
        self._key: object = None
        self._lines: list[Line] = []
        self._header: Line | None = None
        self._keys: tuple[str, ...] = ()
        self._title = ""
        self._strips: dict[tuple[Line, bool], Strip] = {}
        self._styles_by_ink: dict[tuple[Ink, bool], Style] = {}
        self._faded = False
        if title:
            self.call_later(self.set_title, title)

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown now, the part scrolled out of sight included."""
        return self._lines

    @property
    def header_lines(self) -> int:
        """1 when a header stands above the lines."""
        return 0 if self._header is None else 1

    def set_title(self, title: str) -> None:
        """Show ``title`` in the border, as plain text."""
        if title != self._title:
            self._title = title
            self.border_title = Content(to_ascii(title) if self.ascii else title)

    def paint(self, source: Source, key: object = None) -> None:
        """Show what ``source`` draws, now and after every change of size.

        Args:
            source: draws the pane.
            key: what the drawing depends on; nothing is drawn again while it equals the one before.
        """
        self._source = source
        if key is None or key != self._key:
            self._key = key
            self.repaint()

    def repaint(self) -> None:
        """Draw again and write what differs."""
        if not (self.is_attached and self.app.is_running):
            self._key = None
            return
        room = self.scrollable_content_region
        if self._source is None or not self.is_mounted or room.width <= self.GUTTER or room.height <= 0:
            self._key = None
            return
        drawn = self._source(room.width - self.GUTTER, room.height)
        page = drawn if isinstance(drawn, Page) else Page(drawn)
        lines, header = list(page.lines), page.header
        if self.ascii:
            lines = [line_to_ascii(value) for value in lines]
            header = None if header is None else line_to_ascii(header)
        self._replace(lines, header, tuple(page.keys))

    @property
    def ascii(self) -> bool:
        """Whether the terminal has nothing but ASCII."""
        return self.app.has_class("-ascii")

    def _replace(self, lines: list[Line], header: Line | None, keys: tuple[str, ...]) -> None:
        old, old_header = self._lines, self._header
        self._lines, self._header, self._keys = lines, header, keys
        if len(self._strips) > 4096:
            self._strips.clear()
        if len(lines) != len(old) or (header is None) != (old_header is None):
            self.virtual_size = Size(self.scrollable_content_region.width, len(lines) + self.header_lines)
        if (header is None) != (old_header is None):
            self.refresh()
            return
        if header is not None and old_header is not None and header != old_header:
            self._refresh_difference(0, old_header, header)
        top = self.header_lines - self.scroll_offset.y
        for index in range(max(len(lines), len(old))):
            y = index + top
            if not self.header_lines <= y < self.size.height:
                continue
            before = old[index] if index < len(old) else EMPTY
            after = lines[index] if index < len(lines) else EMPTY
            if before is not after and before != after:
                self._refresh_difference(y, before, after)

    def _refresh_difference(self, y: int, before: Line, after: Line) -> None:
        first = 0
        x1 = self.GUTTER
        while first < min(len(before), len(after)) and before[first] == after[first]:
            x1 += cell_len(before[first].text)
            first += 1
        widths = width_of(before), width_of(after)
        x2 = self.GUTTER + max(widths)
        if widths[0] == widths[1]:
            last = 1
            while last <= min(len(before), len(after)) - first and before[-last] == after[-last]:
                x2 -= cell_len(before[-last].text)
                last += 1
        if x2 > x1:
            self.refresh(Region(x1, y, x2 - x1, 1))

    def notify_style_update(self) -> None:
        """The theme or a class changed: forget every rendered line."""
        self._strips.clear()
        self._styles_by_ink.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines) + self.header_lines)
        self.repaint()

    def watch_show_vertical_scrollbar(self) -> None:
        self.call_later(self.repaint)

    def render_line(self, y: int) -> Strip:
        """One row of the pane."""
        width = self.scrollable_content_region.width
        if self._header is not None and y == 0:
            return self._strip((Span(" " * self.GUTTER), *self._header), False, width)
        index = y - self.header_lines + self.scroll_offset.y
        value = self._lines[index] if 0 <= index < len(self._lines) else EMPTY
        return self._strip(self._with_gutter(index, value), self._is_cursor(index), width)

    def _with_gutter(self, _index: int, value: Line) -> Line:
        return value

    def _is_cursor(self, _index: int) -> bool:
        return False

    def _strip(self, value: Line, cursor: bool, width: int) -> Strip:
        strip = self._strips.get((value, cursor))
        if strip is None:
            spans = merge(crop(value, width))
            if self.ascii:
                spans = line_to_ascii(spans)  # once more, for the mark of what was cut
            strip = Strip([Segment(span.text, self._style(span.ink, cursor)) for span in spans])
            self._strips[(value, cursor)] = strip
        blank = self._style(Ink.PLAIN, cursor)
        return strip.adjust_cell_length(width, blank)

    def _style(self, ink: Ink, cursor: bool) -> Style:
        style = self._styles_by_ink.get((ink, cursor))
        if style is None:
            variables = self.app.theme_variables
            style = self.rich_style
            if cursor:
                style += background_style(variables, focused=self._in_charge)
            style += ink_style(variables, ink, faded=self._faded, no_color=self.app.no_color)
            self._styles_by_ink[(ink, cursor)] = style
        return style

    @property
    def _in_charge(self) -> bool:
        """Whether the keys move the cursor of this pane."""
        return self.has_focus

    def fade(self, faded: bool) -> None:
        """Draw everything in grey, or in its own inks again."""
        if faded != self._faded:
            self._faded = faded
            self._strips.clear()
            self._styles_by_ink.clear()
            self.refresh()


MOVES = [
    Binding("down,j", "move(1)", "Down", id="move.down", show=False),
    Binding("up,k", "move(-1)", "Up", id="move.up", show=False),
    Binding("pagedown,space", "page(1)", "Page down", id="move.page-down", show=False),
    Binding("pageup,b", "page(-1)", "Page up", id="move.page-up", show=False),
    Binding("home,g", "edge(0)", "First", id="move.first", show=False),
    Binding("end,G", "edge(1)", "Last", id="move.last", show=False),
]
"""What a keymap may name besides the actions."""


class Document(Pane, can_focus=True):
    """A pane to read: the keys scroll it."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES]

    def action_move(self, by: int) -> None:
        self.scroll_relative(y=by, animate=False, immediate=True)

    def action_page(self, by: int) -> None:
        self.scroll_relative(y=by * max(1, self.size.height - 2), animate=False, immediate=True)

    def action_edge(self, end: int) -> None:
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False, immediate=True)


class Listing(Pane, can_focus=True):
    """A pane whose lines are chosen from. The cursor stays on its key when lines come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter", "choose", "Details", id="details", show=False),
    ]
    GUTTER = 1

    @dataclass
    class Moved(Message):
        """The cursor stands on another key."""

        pane: Listing
        key: str | None

        @property
        def control(self) -> Listing:
            """The list."""
            return self.pane

    @dataclass
    class Chosen(Message):
        """Enter, or a double click."""

        pane: Listing
        key: str

        @property
        def control(self) -> Listing:
            """The list."""
            return self.pane

    def __init__(
        self,
        *,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
        title: str = "",
        follow_top: bool = False,
        driven: bool = False,
    ):
        super().__init__(id=id, classes=classes, title=title)
        self._driven = driven
        """Whether the keys come from a field beside it, so that its cursor counts without the focus."""
        self._cursor = 0
        self._cursor_key: str | None = None
        self._follow_top = follow_top
        """Whether a cursor on the first line stays there when a newer line comes in above it."""

    @property
    def cursor_key(self) -> str | None:
        """The key under the cursor."""
        return self._cursor_key

    @property
    def cursor(self) -> int:
        """The index of the line under the cursor."""
        return self._cursor

    def choose_key(self, key: str) -> None:
        """Put the cursor on ``key`` if it is there; if nothing is drawn yet, once it is."""
        if key in self._keys:
            self._go(self._keys.index(key))
        elif not self._keys:
            self._cursor_key = key

    def action_move(self, by: int) -> None:
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self._cursor + by * max(1, self.size.height - self.header_lines - 1))

    def action_edge(self, end: int) -> None:
        self._go(len(self._keys) - 1 if end else 0)

    def action_choose(self) -> None:
        if self._cursor_key is not None:
            self.post_message(self.Chosen(self, self._cursor_key))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        index = offset.y - self.header_lines + self.scroll_offset.y
        if offset.y >= self.header_lines and 0 <= index < len(self._keys):
            self._go(index)
            if event.chain == 2:
                self.action_choose()

    def on_focus(self) -> None:
        self._cursor_changed()

    def on_blur(self) -> None:
        self._cursor_changed()

    def _cursor_changed(self) -> None:
        self._strips.clear()
        self._styles_by_ink.clear()
        self._refresh_row(self._cursor)

    def _replace(self, lines: list[Line], header: Line | None, keys: tuple[str, ...]) -> None:
        at_top = self._follow_top and self._cursor == 0
        super()._replace(lines, header, keys)
        before = self._cursor
        if not at_top and self._cursor_key in keys:
            self._cursor = keys.index(self._cursor_key)
        self._cursor = max(0, min(self._cursor, len(keys) - 1))
        key = keys[self._cursor] if keys else None
        if before != self._cursor:
            self._refresh_row(before)
            self._refresh_row(self._cursor)
            self.call_after_refresh(self._show_cursor)
        if key != self._cursor_key:
            self._cursor_key = key
            self._refresh_row(self._cursor)
            self.post_message(self.Moved(self, key))

    def _go(self, index: int) -> None:
        if not self._keys:
            return
        index = max(0, min(index, len(self._keys) - 1))
        if index == self._cursor:
            return
        before, self._cursor = self._cursor, index
        self._cursor_key = self._keys[index]
        self._refresh_row(before)
        self._refresh_row(index)
        self._show_cursor()
        self.post_message(self.Moved(self, self._cursor_key))

    def _show_cursor(self) -> None:
        room = self.scrollable_content_region.height - self.header_lines
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True)
        elif room > 0 and self._cursor >= top + room:
            self.scroll_to(y=self._cursor - room + 1, animate=False, immediate=True)

    def _refresh_row(self, index: int) -> None:
        y = index + self.header_lines - self.scroll_offset.y
        if self.header_lines <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _with_gutter(self, index: int, value: Line) -> Line:
        marker = SELECTED if self._is_cursor(index) and self._in_charge else " "
        return (Span(to_ascii(marker) if self.ascii else marker, Ink.KEY), *value)

    @property
    def _in_charge(self) -> bool:
        return self.has_focus or self._driven

    def _is_cursor(self, index: int) -> bool:
        return index == self._cursor and 0 <= index < len(self._keys)

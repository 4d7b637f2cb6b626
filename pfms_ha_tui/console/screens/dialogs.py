"""Small windows over a screen: a question, a line to fill in, a terminal that is too small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from pfms_ha_tui.console.commands import Command
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, width_of, wrap
from pfms_ha_tui.console.widgets.pane import Listing, Page, Pane

LEAST_WIDTH, LEAST_HEIGHT = 80, 24


class Question(ModalScreen[str | None]):
    """A question with answers to choose from; the first one is under the cursor.

    Dismissed with the key of the answer, or ``None`` for escape.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "cancel", "Cancel", show=False),
    ]
    AUTO_FOCUS = "#answers"

    def __init__(self, title: str, text: Sequence[str], answers: Sequence[tuple[str, str]]):
        """``text``: paragraphs. ``answers``: (key, words); put the one that changes nothing first."""
        super().__init__(classes="dialog")
        self._question = title
        self._text = text
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(classes="window"):
            yield Pane(id="text", classes="still")
            yield Listing(id="answers")

    def on_mount(self) -> None:
        window = self.query_one(".window")
        window.border_title = self._question.replace("[", r"\[")
        width = min(72, self.app.size.width - 4)
        window.styles.width = width
        lines: list[Line] = []
        for paragraph in self._text:
            lines += [*wrap(line(clean(paragraph)), width - 4), EMPTY]
        text, answers = self.query_one("#text", Pane), self.query_one("#answers", Listing)
        text.styles.height = len(lines)
        answers.styles.height = len(self._answers)
        text.paint(lambda _w, _h: lines)
        answers.paint(
            lambda _w, _h: Page(
                [line(" ", words) for _, words in self._answers], keys=[key for key, _ in self._answers]
            )
        )

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        self.dismiss(event.key)

    def action_cancel(self) -> None:
        self.dismiss(None)


class LineOfText(ModalScreen[str | None]):
    """One line to fill in. Dismissed with it, or ``None`` for escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "cancel", "Cancel", show=False)]
    AUTO_FOCUS = "#line"

    def __init__(self, title: str, text: str, value: str):
        super().__init__(classes="dialog")
        self._question = title
        self._text = text
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="window"):
            yield Pane(id="text", classes="still")
            field = Input(self._value, id="line", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field

    def on_mount(self) -> None:
        window = self.query_one(".window")
        window.border_title = self._question.replace("[", r"\[")
        width = min(100, self.app.size.width - 4)
        window.styles.width = width
        lines = [*wrap(line(clean(self._text)), width - 4), EMPTY]
        text = self.query_one("#text", Pane)
        text.styles.height = len(lines)
        text.paint(lambda _w, _h: lines)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        self.dismiss(None)


class TooSmall(ModalScreen[None]):
    """Instead of a dashboard that could be misread."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+c", "app.leave", "Quit", show=False)]

    def compose(self) -> ComposeResult:
        yield Pane(id="small", classes="still")

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width, height = self.app.size

        def draw(room: int, lines: int) -> list[Line]:
            text = line(
                ("terminal too small", Ink.STRONG), f": {width}x{height}, needs {LEAST_WIDTH}x{LEAST_HEIGHT}"
            )
            wrapped = wrap(text, room)
            blank = max(0, (lines - len(wrapped)) // 2)
            return [EMPTY] * blank + [
                line(" " * max(0, (room - width_of(one)) // 2)) + one for one in wrapped
            ]

        self.query_one("#small", Pane).paint(draw)


def too_small(width: int, height: int) -> bool:
    """Whether the dashboard has no room."""
    return width < LEAST_WIDTH or height < LEAST_HEIGHT


class Palette(ModalScreen[str | None]):
    """Every command by its name. Dismissed with the id of the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c,ctrl+p", "cancel", "Close", show=False),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
    ]
    AUTO_FOCUS = "#words"

    def __init__(self, commands: Sequence[Command]):
        super().__init__(classes="dialog top")
        self._commands = commands

    def compose(self) -> ComposeResult:
        with Vertical(classes="window"):
            field = Input(placeholder="what to do; esc closes", id="words", compact=True)
            field.cursor_blink = False
            yield field
            yield Listing(id="commands", driven=True)

    def on_mount(self) -> None:
        window = self.query_one(".window")
        window.border_title = "Commands"
        window.styles.width = min(100, self.app.size.width - 4)
        self._paint("")

    def _paint(self, words: str) -> None:
        found = [command for command in self._commands if command.matches(words)]
        commands = self.query_one("#commands", Listing)
        commands.styles.height = max(1, min(len(self._commands), self.app.size.height - 8))

        def draw(width: int, _height: int) -> Page:
            return Page([command.as_line(width) for command in found], keys=[command.id for command in found])

        commands.paint(draw)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._paint(event.value)

    def on_input_submitted(self) -> None:
        self._choose()

    def on_listing_chosen(self) -> None:
        self._choose()

    def _choose(self) -> None:
        key = self.query_one("#commands", Listing).cursor_key
        if key is not None:
            self.dismiss(key)

    def action_move(self, by: int) -> None:
        self.query_one("#commands", Listing).action_move(by)

    def action_page(self, by: int) -> None:
        self.query_one("#commands", Listing).action_page(by)

    def action_cancel(self) -> None:
        self.dismiss(None)

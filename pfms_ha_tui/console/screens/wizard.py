"""A wizard: pages that are gone through one after the other, with where one is on top.

    class Colour(WizardPage):
        TITLE = "Colour"
        def compose(self): yield Listing(id="colours", classes="panel", title="Colours")
        def about(self, scene): return "Which colour it gets."
        def draw(self, scene): self.query_one("#colours", Listing).paint(…)
        def chosen(self, key): self.colour = key; self.proceed()

    class PaintWizard(WizardScreen):
        PLACE = "Paint"
        def __init__(self): super().__init__([Colour(), Confirm()])

Enter goes on, escape goes back a page and leaves the wizard from the first one. What was filled in on a page
stays there. Nothing is changed before the last page's confirmation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widget import Widget

from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, width_of, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen, FilterBar
from pfms_ha_tui.console.widgets.pane import Listing, Pane

_HERE, _PASSED = "▶", "✔"


class WizardPage(Vertical):
    """One page. It is mounted once and stays as it was filled in; only the present one is in sight."""

    TITLE: ClassVar[str] = ""
    """One word for the line of steps."""
    KEYS: ClassVar[tuple[str, ...]] = ("back", "wizard.next", "copy", "help", "quit")
    """Ids of the actions on the line of keys while this page is up."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """As :attr:`KEYS`, without what does not apply now."""
        return self.KEYS

    @property
    def wizard(self) -> WizardScreen:
        """The screen it belongs to."""
        return cast("WizardScreen", self.screen)

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        """What is decided here, in one or two sentences."""
        return ""

    def enter(self) -> None:
        """It comes up, from before or from behind."""
        self.focus_first()

    def draw(self, scene: Scene) -> None:
        """Draw its panes."""

    def why_not_next(self) -> str | None:
        """Why one cannot go on yet, as one clause."""
        return None

    def proceed(self) -> None:
        """Enter: go on, or say why not."""
        why = self.why_not_next()
        if why is not None:
            self.wizard.console.say(why, "warning")
        else:
            self.wizard.turn(1)

    def advance(self) -> None:
        """Next, by whatever means but enter in a list."""
        self.proceed()

    def chosen(self, key: str) -> None:  # noqa: ARG002
        """Enter on a line of one of its lists."""
        self.proceed()

    def rehearse(self) -> None:
        """Ask again for what this page found out."""

    def to_copy(self) -> tuple[str, str] | None:
        """(what it is, the text) for the clipboard."""
        pane = self.screen.focused
        return (self.TITLE, ConsoleScreen.pane_text(pane)) if isinstance(pane, Pane) else None

    def focus_first(self) -> None:
        """Give the keys to the first pane that takes them."""
        for widget in self.query(Widget):
            if widget.focusable:
                widget.focus()
                return


class WizardScreen(ConsoleScreen):
    """Pages, the line of steps above them, and the keys that turn them."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(
        ("wizard.next", "order.confirm", "order.rehearse", "copy")
    )

    def __init__(self, pages: Sequence[WizardPage]):
        super().__init__()
        self.pages = pages
        self._index = 0

    @property
    def page(self) -> WizardPage:
        """The one that is up."""
        return self.pages[self._index]

    @property
    def key_ids(self) -> tuple[str, ...]:
        return self.page.key_ids

    def body(self) -> ComposeResult:
        yield Pane(id="steps", classes="still")
        yield from self.pages

    def on_mount(self) -> None:
        super().on_mount()
        for page in self.pages:
            page.add_class("wizard-page")
        self.turn(0)

    def turn(self, by: int) -> None:
        """Show the page so many further; past the ends nothing happens."""
        self._index = max(0, min(self._index + by, len(self.pages) - 1))
        for page in self.pages:
            page.display = page is self.page
        self.page.enter()
        self.refresh_scene()
        self.call_after_refresh(self.refresh_scene)  # once more, when its panes know their sizes

    def show(self, scene: Scene) -> None:
        super().show(scene)
        steps = self.query_one("#steps", Pane)
        lines = self._steps(scene, self.size.width)
        if steps.styles.height is None or steps.styles.height.value != len(lines):
            steps.styles.height = len(lines)
        steps.paint(lambda _w, _h: lines)
        self.page.draw(scene)

    def _steps(self, scene: Scene, width: int) -> list[Line]:
        parts = line(" ")
        for number, page in enumerate(self.pages):
            if number < self._index:
                parts += line((f"{_PASSED} {page.TITLE}", Ink.OK))
            elif number == self._index:
                parts += line((f"{_HERE} {page.TITLE}", Ink.STRONG))
            else:
                parts += line((page.TITLE, Ink.DIM))
            parts += line(("  ", Ink.DIM))
        count = f"step {self._index + 1} of {len(self.pages)}"
        gap = width - width_of(parts) - len(count) - 1
        if gap > 0:
            parts += line(" " * gap, (count, Ink.DIM))
        about = self.page.about(scene)
        lines = [parts]
        if self.size.height >= 30:
            lines.append(EMPTY)
        if about:
            lines += [line(" ") + one for one in wrap(line(clean(about)), width - 2)]
        return lines

    def advance(self) -> None:
        """Enter outside of a list, or "Next" by the mouse or from the commands."""
        self.page.advance()

    def confirm(self) -> None:
        """The key that confirms counts on the last page only."""
        if self.page is self.pages[-1]:
            self.page.proceed()

    def rehearse(self) -> None:
        """Let the page ask again."""
        self.page.rehearse()

    def back(self) -> None:
        """One page back; from the first one, leave."""
        if self._index > 0 and not (self.words or self.query_one(FilterBar).has_class("-open")):
            self.turn(-1)
        else:
            super().back()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Enter in a list of the page."""
        event.stop()
        self.page.chosen(event.key)

    def to_copy(self) -> tuple[str, str] | None:
        return self.page.to_copy()

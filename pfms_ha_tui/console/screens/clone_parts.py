"""What the clone wizard's pages share: what is wanted so far, the methods in words, a list to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from textual.app import ComposeResult

from pfms_ha_tui.config.settings import CloneMethod, Transfer
from pfms_ha_tui.console.ink import Line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.wizard import WizardPage
from pfms_ha_tui.console.widgets.pane import Listing, Page, Pane
from pfms_ha_tui.worker.protocol import Order, OrderKind

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.clone import CloneWizard

_LEAST_LIST, _AROUND_LIST = 5, 15
"""Lines: the list is as high as it is long, but leaves room for what stands around it."""


class Method(NamedTuple):
    """A method in words."""

    name: str
    short: str
    """For its line in the list."""
    long: str


METHODS = {
    CloneMethod.STREAM: Method(
        "Stream",
        "one pass, straight into the new datadir",
        "The backup tool’s data goes straight into the new datadir and is prepared there. One pass, no room"
        " needed on the source.",
    ),
    CloneMethod.STAGED: Method(
        "Staged",
        "backup, prepare, then rsync: the manual’s way",
        "Backup and prepare on the source, then rsync, which goes on where a broken line stopped it. Slower;"
        " the source needs room for the backup.",
    ),
    CloneMethod.PLUGIN: Method(
        "CLONE plugin",
        "MySQL copies itself: the fastest",
        "MySQL copies itself into a freshly initialised datadir. The fastest, and needs no backup tool.",
    ),
    CloneMethod.SCRIPT: Method(
        "Site script",
        "your own ha_resync does it all",
        "Your own ha_resync script does it all. This program checks before, and judges what it leaves; it"
        " cannot keep the old data, nor undo.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What has been chosen so far."""

    cluster: str
    target: str | None = None
    source: str | None = None
    """``None`` = the worker chooses."""
    method: CloneMethod | None = None
    """``None`` = as configured."""
    transfer: Transfer | None = None
    bandwidth: int | None = None
    threads: int | None = None
    give_up_old: bool = False

    @property
    def order(self) -> Order:
        """As it is sent to the worker."""
        return Order(
            cluster=self.cluster,
            kind=OrderKind.CLONE,
            target=self.target,
            source=self.source,
            method=self.method,
            transfer=self.transfer,
            bandwidth=self.bandwidth,
            threads=self.threads,
            give_up_old=self.give_up_old,
        )


class ClonePage(WizardPage):
    """A page of this wizard."""

    @property
    def clone(self) -> CloneWizard:
        """The wizard."""
        return cast("CloneWizard", self.screen)

    @property
    def wanted(self) -> Wanted:
        """What has been chosen so far."""
        return self.clone.wanted


class ChoicePage(ClonePage):
    """A list to choose from, and below it what the line under the cursor means."""

    LIST: ClassVar[str] = ""
    """The title of the list."""

    def compose(self) -> ComposeResult:
        yield Listing(classes="panel", title=self.LIST)
        yield Pane(classes="panel still meaning")

    @property
    def listing(self) -> Listing:
        """The list."""
        return self.query_one(Listing)

    def rows(self, scene: Scene) -> Sequence[tuple[str, Line]]:
        """(key, line) of what can be chosen."""
        raise NotImplementedError

    def header(self, scene: Scene) -> Line | None:  # noqa: ARG002
        """Stands above them."""
        return None

    def meaning(self, scene: Scene, key: str) -> Sequence[Line]:
        """What choosing it means, or why it cannot be chosen; a line for each paragraph."""
        raise NotImplementedError

    def advance(self) -> None:
        """Choose the line under the cursor, as enter does: that is the one in sight as chosen."""
        key = self.listing.cursor_key
        if key is None:
            self.proceed()
        else:
            self.chosen(key)

    def draw(self, scene: Scene) -> None:
        def page(_width: int, _height: int) -> Page:
            rows = self.rows(scene)
            return Page([one for _, one in rows], self.header(scene), [key for key, _ in rows])

        def below(width: int, _height: int) -> list[Line]:
            key = self.listing.cursor_key
            paragraphs = self.meaning(scene, key) if key is not None else ()
            return [
                one for paragraph in paragraphs for one in wrap(paragraph, width, indent=_indent(paragraph))
            ]

        header = 0 if self.header(scene) is None else 1
        room = max(_LEAST_LIST, self.app.size.height - _AROUND_LIST)
        height = min(len(self.rows(scene)) + header + 2, room)
        if self.listing.styles.height is None or self.listing.styles.height.value != height:
            self.listing.styles.height = height
        self.listing.paint(page)
        self.query_one(".meaning", Pane).paint(below)

    def on_listing_moved(self) -> None:
        self.call_after_refresh(self.clone.refresh_scene)


def _indent(paragraph: Line) -> int:
    """Under the words, where a sign stands in front of them."""
    return 2 if paragraph and len(paragraph[0].text) == 2 else 0

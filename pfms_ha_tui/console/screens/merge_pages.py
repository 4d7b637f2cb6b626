"""Pages of the merge wizard: who lost, and the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.ink import Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.wizard import WizardPage
from pfms_ha_tui.console.widgets.merge import dry_run_lines, follows, moment_words, sides_lines
from pfms_ha_tui.console.widgets.operation import progress_line
from pfms_ha_tui.console.widgets.pane import Document, Listing, Page
from pfms_ha_tui.worker.protocol_merge import DryRun, Split

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.merge import MergeWizard

_ARROW = "→"
_STALE = 15.0
"""Seconds after which it is said that the evidence is not of now."""


class MergePage(WizardPage):
    """A page of this wizard."""

    @property
    def merge(self) -> MergeWizard:
        """The wizard."""
        return cast("MergeWizard", self.screen)

    def fault_lines(self, method: str, width: int) -> list[Line]:
        """Why something could not be found out."""
        fault = self.merge.faults[method]
        again = self.merge.key_for("order.rehearse", "f5")
        return [
            *wrap(line(("✖ ", Ink.BAD), clean(str(fault))), width, indent=2),
            line(""),
            line((again, Ink.KEY), " asks again, ", ("esc", Ink.KEY), " leaves; nothing was changed"),
        ]


class SidesPage(MergePage):
    """Which of two nodes lost."""

    TITLE = "Who lost"

    def compose(self) -> ComposeResult:
        yield Listing(id="directions", classes="panel", title="Whose rows are recovered?")
        yield Document(id="sides", classes="panel", title="Evidence")

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        return (
            "One side stays master: it gets the rows that only the other has; then the other is rebuilt."
            " Nothing is changed before you confirm on the last page."
        )

    def enter(self) -> None:
        super().enter()
        self._put_cursor()

    def _put_cursor(self) -> None:
        wanted = self.merge.wanted
        if wanted.losing is not None and wanted.into is not None:
            self.query_one("#directions", Listing).choose_key(_key(wanted.losing, wanted.into))

    def rehearse(self) -> None:
        wanted = self.merge.wanted
        self.merge.ask_split(wanted.losing, wanted.into)

    def why_not_next(self) -> str | None:
        asking = self.merge.split is None or "merge_split" in self.merge.looks
        return "the evidence is not here yet" if asking else None

    def proceed(self) -> None:
        key = self.query_one("#directions", Listing).cursor_key
        if key is not None:
            self.chosen(key)

    def chosen(self, key: str) -> None:
        why = self.why_not_next()
        if why is not None:
            self.merge.console.say(why, "warning")
            return
        losing, _, into = key.partition("\0")
        self.merge.choose_losing(losing, into)

    def on_listing_moved(self) -> None:
        self.call_after_refresh(self.merge.refresh_scene)

    def draw(self, scene: Scene) -> None:
        directions = self.query_one("#directions", Listing)
        pairs = self._pairs(scene)
        before = directions.cursor_key
        known = None if self.why_not_next() is not None else self.merge.split
        directions.styles.height = min(6, max(1, len(pairs))) + 2
        directions.paint(
            lambda _w, _h: Page(
                [_direction(losing, into, known) for losing, into in pairs],
                keys=[_key(losing, into) for losing, into in pairs],
            )
        )
        if before is None:
            self._put_cursor()
        self.query_one("#sides", Document).paint(lambda width, _h: self._lines(scene, width))

    def _pairs(self, scene: Scene) -> list[tuple[str, str]]:
        split = self.merge.split
        if split is None:
            return []
        pairs = [(split.losing, split.master), (split.master, split.losing)]
        nodes = scene.state.snapshot.nodes if scene.state is not None else ()
        known = {side.label for side in split.sides}
        pairs += [(node.label, split.master) for node in nodes if node.label not in known]
        return pairs

    def _lines(self, scene: Scene, width: int) -> Sequence[Line]:
        split = self.merge.split
        if "merge_split" in self.merge.faults:
            return self.fault_lines("merge_split", width)
        if split is None or "merge_split" in self.merge.looks:
            return [line(("asking both nodes, and comparing their rows per minute …", Ink.BUSY))]
        key = self.query_one("#directions", Listing).cursor_key or _key(split.losing, split.master)
        losing, _, into = key.partition("\0")
        if {losing, into} != {side.label for side in split.sides}:
            return wrap(line(f"Enter looks at {clean(losing)} and {clean(into)}; nothing is changed."), width)
        # What was found out stands still, so its ages are those of then.
        lines, past = sides_lines(split, losing, self.merge.split_at, width), scene.wall - self.merge.split_at
        if past >= _STALE:
            key = self.merge.key_for("order.rehearse", "f5")
            lines += [
                line(""),
                line((f"as it was {fmt.span(past)} ago; ", Ink.WARN), (key, Ink.KEY), " looks anew"),
            ]
        return lines


def _key(losing: str, into: str) -> str:
    return f"{losing}\0{into}"


def _direction(losing: str, into: str, split: Split | None) -> Line:
    known = split is not None and {losing, into} == {side.label for side in split.sides}
    words = line((clean(losing), Ink.STRONG), f" lost {_ARROW} its rows go into ", (clean(into), Ink.STRONG))
    if split is None or not known:
        return words
    if split.warnings.get(losing) is not None:
        return words + line(("   ✖ looks like the wrong direction", Ink.BAD))
    if follows(split, losing):
        return words + line((f"   ▲ it is a slave of {clean(into)} now", Ink.WARN))
    if losing == split.losing:
        sign = ("   ✔ proposed", Ink.OK) if split.certain else ("   ▲ proposed, not certain", Ink.WARN)
        return words + line(sign)
    return words + line(("   the other way round", Ink.DIM))


class DryRunPage(MergePage):
    """Row by row, without changing anything."""

    TITLE = "Dry run"
    KEYS = ("back", "wizard.next", "order.rehearse", "export", "copy", "help", "quit")
    KEYS_UNFIT = ("back", "order.rehearse", "merge.drop", "export", "copy", "help", "quit")
    """While columns stop the merge."""

    def compose(self) -> ComposeResult:
        yield Document(id="dry-run", classes="panel", title="Dry run, nothing is changed")

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        found, wanted = self.merge.found, self.merge.wanted
        return f"{self._window}: {self._what(found, wanted.losing, wanted.into)}"

    @property
    def _window(self) -> str:
        """The window that is looked at: nobody confirms another one than he chose."""
        start, end = self.merge.wanted.start, self.merge.wanted.end
        if start is None or end is None:
            return "No window"
        return f"{moment_words(start, whole=False)} – {moment_words(end, whole=False)}"

    def _what(self, found: DryRun | None, losing: str | None, into: str | None) -> str:
        if found is None:
            return f"every row of {losing} in this window is looked for on {into}."
        if found.blocked:
            key = self.merge.key_for("merge.drop", "w")
            or_else = f", or {key} leaves the columns out or maps them" if self.merge.unfit else ""
            return f"the tables of the two nodes differ: repair the master's and look again{or_else}."
        return f"what only {losing} has. Read what is skipped, and what is not merged at all."

    def enter(self) -> None:
        super().enter()
        self.merge.ask_dry_run()

    def rehearse(self) -> None:
        self.merge.ask_dry_run(again=True)

    def why_not_next(self) -> str | None:
        found = self.merge.found
        if found is None:
            return "the dry run is not done"
        return "the tables of the two nodes differ" if found.blocked else None

    def to_copy(self) -> tuple[str, str] | None:
        command = self.merge.map_command
        return ("the command", command) if command is not None else super().to_copy()

    def draw(self, scene: Scene) -> None:  # noqa: ARG002
        self.query_one("#dry-run", Document).paint(lambda width, _h: self._lines(width))

    def _lines(self, width: int) -> Sequence[Line]:
        merge = self.merge
        if "merge_dry_run" in merge.faults:
            return self.fault_lines("merge_dry_run", width)
        if merge.found is not None:
            return dry_run_lines(merge.found, width, merge.map_command)
        looking = merge.looks.get("merge_dry_run")
        if looking is None or looking.progress is None:
            return [line(("comparing the configuration of both nodes …", Ink.BUSY))]
        where = f"comparing {clean(looking.doing)} …" if looking.doing else "comparing …"
        return [line((where, Ink.BUSY)), progress_line(looking.progress)]


def span_words(start: int, end: int) -> str:
    """How long a window is."""
    return fmt.span(end - start) if end > start else "empty"

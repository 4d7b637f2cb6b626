"""The page of the merge wizard that asks from when to when."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import Horizontal

from pfms_ha_tui.console.ink import Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.dialogs import LineOfText, Question
from pfms_ha_tui.console.screens.merge_pages import MergePage, span_words
from pfms_ha_tui.console.widgets.merge import histogram_lines, moment_words
from pfms_ha_tui.console.widgets.pane import Listing, Page, Pane
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.protocol_merge import Moment, MomentQuery, MomentRead, WindowPreset

_GO, _START, _END, _TABLES, _PRESET = "go", "start", "end", "tables", "preset"
WIDE = 110
"""Columns of the terminal from which on the list has room for offsets."""


class WindowPage(MergePage):
    """From when to when."""

    TITLE = "Window"

    def compose(self) -> ComposeResult:
        with Horizontal(id="window-columns"):
            yield Listing(id="window", classes="panel", title="Window")
            yield Pane(id="histogram", classes="panel still", title="Rows in time on both nodes")
        yield Pane(id="why", classes="panel still", title="Why")

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        split = self.merge.split
        zone = f" Zone: {clean(split.zone)}." if split is not None and split.zone else ""
        return (
            "Rows of this time are merged. Too wide costs only time, nothing is added twice;"
            f" what lies outside is left behind.{zone}"
        )

    def enter(self) -> None:
        super().enter()
        self.query_one("#window", Listing).choose_key(_GO)
        self.merge.ask_histogram()

    def rehearse(self) -> None:
        self.merge.ask_histogram()

    def why_not_next(self) -> str | None:
        wanted = self.merge.wanted
        if wanted.start is None or wanted.end is None:
            return "the window has no beginning or no end"
        return "the window ends before it begins" if wanted.end.at <= wanted.start.at else None

    def chosen(self, key: str) -> None:
        wanted = self.merge.wanted
        kind, _, place = key.partition(" ")
        if kind == _GO:
            self.proceed()
        elif kind == _PRESET:
            preset = self._presets[int(place)]
            self.merge.choose(replace(wanted, start=preset.start, end=preset.end, own_window=True))
        elif kind == _TABLES:
            self._choose_tables()
        else:
            moment = wanted.start if kind == _START else wanted.end
            self._edit(kind, _editable(moment), "")

    @property
    def _presets(self) -> tuple[WindowPreset, ...]:
        return self.merge.split.presets if self.merge.split is not None else ()

    @property
    def _tables(self) -> tuple[str, ...]:
        split, chosen = self.merge.split, self.merge.wanted.tables
        return chosen if chosen is not None else split.tables if split is not None else ()

    def _choose_tables(self) -> None:
        """Ask for the names; the worker knows which can be merged."""

        def typed(answer: str | None) -> None:
            if answer is None:
                return
            names = tuple(dict.fromkeys(answer.replace(",", " ").split()))
            usual = self.merge.split.tables if self.merge.split is not None else ()
            chosen = None if not names or names == usual else names
            self.merge.choose(replace(self.merge.wanted, tables=chosen))

        text = (
            "Only these tables, separated by blanks; empty = as configured. Others that can be merged:"
            " tagente_datos_inc, tagente_datos_log4x, and those of merge_tables in the settings."
        )
        self.app.push_screen(LineOfText("Tables", text, " ".join(self._tables)), typed)

    def _edit(self, kind: str, text: str, problem: str) -> None:
        """Ask for one end of the window until it is a moment."""
        what = "The first moment" if kind == _START else "The moment after the last"
        asked = (
            f"{what}, local time: 2026-03-29 14:05:00. An offset behind it (+02:00) makes it unmistakable."
        )

        def typed(answer: str | None) -> None:
            if answer is not None:
                self.merge.run_worker(self._read(kind, answer), group="moment", exit_on_error=False)

        self.app.push_screen(LineOfText("Begin" if kind == _START else "End", problem or asked, text), typed)

    async def _read(self, kind: str, text: str) -> None:
        try:
            ask = self.merge.console.link.ask
            reads = await ask("merge_moments", MomentQuery(texts=(text,)), list[MomentRead])
        except WorkerError as exc:
            self.merge.console.say(str(exc), "error")
            return
        if self.merge.page is not self:
            self.merge.console.say(f"the page was left before {text!r} was read: it was not taken", "warning")
            return
        read = reads[0] if reads else MomentRead(problem="the worker did not read it")
        if read.moment is not None:
            self._take(kind, read.moment)
        elif read.choices:
            self._which(kind, read)
        else:
            hint = f" ({clean(read.hint)})" if read.hint else ""
            self._edit(kind, text, f"✖ {clean(read.problem or '')}{hint}.")

    def _which(self, kind: str, read: MomentRead) -> None:
        """The clocks were put back: which of the two moments is meant?"""

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._take(kind, read.choices[int(answer)])

        self.app.push_screen(
            Question(
                "Which one?",
                [f"{clean(read.problem or '')}."],
                [
                    (str(place), moment_words(choice, whole=True) + (" — the first", " — the second")[place])
                    for place, choice in enumerate(read.choices[:2])
                ],
            ),
            answered,
        )

    def _take(self, kind: str, moment: Moment) -> None:
        wanted = replace(self.merge.wanted, own_window=True)
        chosen = replace(wanted, start=moment) if kind == _START else replace(wanted, end=moment)
        self.merge.choose(chosen)

    def draw(self, scene: Scene) -> None:  # noqa: ARG002
        wide = self.app.size.width >= WIDE
        window = self.query_one("#window", Listing)
        window.styles.width = 52 if wide else 40
        window.paint(lambda _w, _h: self._page(wide=wide))
        self.query_one("#histogram", Pane).paint(self._histogram)
        self.query_one("#why", Pane).paint(lambda width, _h: self._why(width))

    def _page(self, *, wide: bool) -> Page:
        wanted = self.merge.wanted
        why = self.why_not_next()
        go = line(("Go on with this window", Ink.STRONG if why is None else Ink.DIM))
        if wanted.start is not None and wanted.end is not None:
            go += line(
                (f"  {span_words(wanted.start.at, wanted.end.at)}", Ink.DIM if why is None else Ink.BAD)
            )
        lines = [go]
        keys = [_GO]
        for kind, name, moment in ((_START, "begin", wanted.start), (_END, "end", wanted.end)):
            shown = moment_words(moment, whole=wide) if moment is not None else "not chosen"
            lines.append(line((f"{name:7}", Ink.DIM), (clean(shown), Ink.PLAIN)))
            keys.append(kind)
        usual = wanted.tables is None
        names = ", ".join(self._tables)
        lines.append(line(("tables ", Ink.DIM), (clean(names), Ink.PLAIN if usual else Ink.WARN)))
        keys.append(_TABLES)
        for place, preset in enumerate(self._presets):
            same = wanted.start == preset.start and wanted.end == preset.end
            lines.append(line(("● " if same else "○ ", Ink.OK if same else Ink.DIM), clean(preset.title)))
            keys.append(f"{_PRESET} {place}")
        return Page(lines, keys=keys)

    def _histogram(self, width: int, height: int) -> list[Line]:
        merge, wanted = self.merge, self.merge.wanted
        if "merge_histogram" in merge.faults:
            return self.fault_lines("merge_histogram", width)
        if merge.histogram is None or wanted.query is None:
            return [line(("counting the rows on both nodes …", Ink.BUSY))]
        labels = (wanted.losing or "", wanted.into or "")
        window, offset = (wanted.query.start, wanted.query.end), wanted.start.offset if wanted.start else ""
        return histogram_lines(merge.histogram, window, labels, width, height, offset)

    def _why(self, width: int) -> list[Line]:
        split, wanted = self.merge.split, self.merge.wanted
        why = self.why_not_next()
        if why is not None:
            return wrap(line(("✖ ", Ink.BAD), f"{why}: choose another one"), width, indent=2)
        proposed = split.window if split is not None else None
        if proposed is None:
            words = "The rows per minute of the two nodes do not differ: there may be nothing to merge."
            return wrap(line(("▲ ", Ink.WARN), words), width, indent=2)
        if (wanted.start, wanted.end) != (proposed.start, proposed.end):
            words = "Chosen by you; the one that journal and data propose is “since the split”."
            lines = wrap(line(("● ", Ink.INFO), words), width, indent=2)
            late = wanted.start is not None and wanted.start.at > proposed.start.at
            early = wanted.end is not None and wanted.end.at < proposed.end.at
            if late or early:
                words = "It leaves out a part of that one: rows there would be lost with the rebuilding."
                lines += wrap(line(("▲ ", Ink.WARN), (words, Ink.STRONG)), width, indent=2)
            return lines
        lines = []
        for reason in proposed.reasons:
            lines += wrap(line(("✔ ", Ink.OK), clean(reason)), width, indent=2)
        if split is not None and split.older is not None:
            since = moment_words(split.older, whole=False)
            words = f"Rows differ before it too, since {since}: see “everything that differs”."
            lines = [*wrap(line(("▲ ", Ink.WARN), (words, Ink.STRONG)), width, indent=2), *lines]
        if not proposed.certain:
            words = "Only the data tell it, not the journal: look twice."
            lines += wrap(line(("▲ ", Ink.WARN), words), width, indent=2)
        return lines


def _editable(moment: Moment | None) -> str:
    if moment is None:
        return ""
    return f"{moment.text} {moment.offset}" if moment.comes_twice else moment.text

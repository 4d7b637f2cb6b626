"""The evidence: what the judgement rests on, in full sentences."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.glyphs import GUARD, SEVERITY, kind_words
from pfms_ha_tui.console.ink import Ink, Line, clean, line, text_of, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.details import heading
from pfms_ha_tui.console.widgets.evidence import evidence_lines
from pfms_ha_tui.console.widgets.nodes import matches
from pfms_ha_tui.console.widgets.pane import Document


class EvidenceScreen(ConsoleScreen):
    """Diagnosis, findings, guards with their reasons, and who sees whom."""

    PLACE = "Evidence"
    KEYS = ("back", "timeline", "filter", "copy", "help", "commands", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("timeline", "filter", "copy"))

    def body(self) -> ComposeResult:
        yield Document(id="evidence", classes="panel fades", title="Evidence")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#evidence", Document).focus()

    def show(self, scene: Scene) -> None:
        super().show(scene)

        def draw(width: int, _height: int) -> list[Line]:
            lines = evidence_document(scene, width)
            return [one for one in lines if matches(text_of(one), self.words)] if self.words else lines

        self.query_one("#evidence", Document).paint(draw)

    def to_copy(self) -> tuple[str, str] | None:
        return "the evidence", self.pane_text(self.query_one("#evidence", Document))


def evidence_document(scene: Scene, width: int) -> list[Line]:
    """Everything behind the banner's sentences."""
    state = scene.state
    if state is None:
        return [line(("nothing is known of the cluster yet", Ink.DIM))]
    diagnosis, readiness = state.diagnosis, state.readiness
    sign = SEVERITY[diagnosis.severity]
    lines = heading("What is wrong")
    kind = f"{sign.glyph} {kind_words(diagnosis.kind)}"
    lines += wrap(line((kind, sign.ink), "  ", (clean(diagnosis.text), Ink.STRONG)), width, indent=2)
    if diagnosis.hint:
        lines += wrap(line("  ", ("→ ", Ink.KEY), clean(diagnosis.hint)), width, indent=4)
    for sentence in diagnosis.evidence:
        lines += wrap(line("  · ", clean(sentence)), width, indent=4)
    others = [finding for finding in diagnosis.findings if finding.text != diagnosis.text]
    if others:
        lines += heading("Also found")
        for finding in others:
            lines += wrap(line(SEVERITY[finding.severity].dot, " ", clean(finding.text)), width, indent=2)
            if finding.hint:
                lines += wrap(line("  ", ("→ ", Ink.KEY), clean(finding.hint)), width, indent=4)
    lines += heading(f"Would a failover work now?  {readiness.passed} of {len(readiness.guards)} checks pass")
    lines += wrap(line((clean(readiness.sentence), Ink.STRONG)), width)
    for guard in readiness.guards:
        mark = GUARD[guard.ok]
        lines += wrap(line(mark.dot, " ", (clean(guard.title), Ink.STRONG)), width, indent=2)
        if guard.reason and guard.reason != guard.title:
            lines += wrap(
                line("  ", (clean(guard.reason), Ink.DIM if guard.ok else Ink.PLAIN)), width, indent=2
            )
    lines += [*heading("Who sees whom"), *evidence_lines(scene, width, None)]
    roles = "known" if state.roles_known else "not yet known: nothing is done automatically until they are"
    lines += [*heading("Memory"), line(("Roles     ", Ink.DIM), roles)]
    lines.append(line(("Epoch     ", Ink.DIM), str(state.epoch)))
    return lines[1:]

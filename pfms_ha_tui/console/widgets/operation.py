"""An operation as lines: what it would do, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import STEP
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, wrap
from pfms_ha_tui.console.widgets.details import heading
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.protocol import Plan

BAR = 24
"""Cells of a progress bar."""

_STATE_INK = {
    OperationState.PLANNED: Ink.INFO,
    OperationState.RUNNING: Ink.BUSY,
    OperationState.DONE: Ink.OK,
    OperationState.FAILED: Ink.BAD,
    OperationState.CANCELLED: Ink.WARN,
    OperationState.INTERRUPTED: Ink.BAD,
}


def plan_lines(plan: Plan, width: int) -> list[Line]:
    """Before it is confirmed: whether it may start, what it costs, and every command."""
    lines: list[Line] = []
    if plan.why_not is not None:
        lines += wrap(line(("✖ refused: ", Ink.BAD), (clean(plan.why_not), Ink.STRONG)), width, indent=2)
        lines.append(EMPTY)
    if plan.warning is not None:
        lines += wrap(
            line(("✖ wrong direction? ", Ink.BAD), (clean(plan.warning), Ink.STRONG)), width, indent=2
        )
        lines.append(EMPTY)
    if plan.impact:
        lines += heading("What it costs")
        for sentence in plan.impact:
            lines += wrap(line(("▲ ", Ink.WARN), clean(sentence)), width, indent=2)
    lines += heading("What will run, in this order")
    for number, step in enumerate(plan.operation.steps, 1):
        where = f"{step.node}: " if step.node and step.node not in step.title else ""
        lines += wrap(
            line((f"{number:2} ", Ink.DIM), (clean(where + step.title), Ink.STRONG)), width, indent=3
        )
        for command in step.preview:
            lines += wrap(line("     ", (clean(command), Ink.INFO)), width, indent=7)
    return lines


def operation_lines(view: OperationView, now: float, width: int) -> list[Line]:
    """Each step with its state, time and outcome; the running one with its progress."""
    lines: list[Line] = []
    rehearsal = "rehearsal: " if view.dry_run else ""
    lines += wrap(line((clean(rehearsal + view.title), Ink.STRONG)), width)
    state = line((view.state.value, _STATE_INK[view.state]), f"  by {clean(view.actor)}", *_times(view, now))
    lines += wrap(state, width)
    if view.text:
        lines += wrap(line((clean(view.text), _STATE_INK[view.state])), width)
    lines.append(EMPTY)
    for number, step in enumerate(view.steps, 1):
        lines += _step(number, step, now, width)
    if view.log:
        lines += heading("Log")
        for entry in view.log:
            lines += wrap(line((clean(entry), Ink.DIM)), width, indent=2)
    return lines


def _times(view: OperationView, now: float) -> Iterator[tuple[str, Ink]]:
    if view.started_at is None:
        return
    yield (f"  {fmt.full_moment(view.started_at)}", Ink.DIM)
    end = view.finished_at if view.finished_at is not None else now
    took = "took" if view.finished_at is not None else "for"
    yield (f"  {took} {fmt.latency(max(0.0, end - view.started_at))}", Ink.DIM)


def _step(number: int, step: StepView, now: float, width: int) -> Iterator[Line]:
    sign = STEP[step.state]
    took = ""
    if step.started_at is not None:
        end = step.finished_at if step.finished_at is not None else now
        if step.finished_at is not None or step.state is StepState.RUNNING:
            took = f"  {fmt.latency(max(0.0, end - step.started_at))}"
    ink = Ink.DIM if step.state in (StepState.WAITING, StepState.SKIPPED) else Ink.PLAIN
    head = line(sign.dot, (f" {number:2} ", Ink.DIM), (clean(step.title), ink), (took, Ink.DIM))
    yield from wrap(head, width, indent=5)
    if step.text:
        bad = step.state is StepState.FAILED
        yield from wrap(line("     ", (clean(step.text), Ink.BAD if bad else Ink.DIM)), width, indent=5)
    if step.progress is not None and step.state is StepState.RUNNING:
        yield progress_line(step.progress)


def progress_line(progress: Progress) -> Line:
    """A bar, and figures with their units; without a total only what is done."""
    amount = (
        fmt.size(progress.done)
        if progress.unit == "bytes"
        else f"{fmt.number(progress.done)} {clean(progress.unit)}"
    )
    words = [amount]
    if progress.rate is not None:
        words.append(fmt.rate(progress.rate, clean(progress.unit)))
    if progress.eta is not None:
        words.append(f"{fmt.span(round(progress.eta))} left")
    tail = (f"  {' · '.join(words)}", Ink.PLAIN)
    if not progress.total:
        return line("     ", ("…", Ink.BUSY), tail)
    share = max(0.0, min(1.0, progress.done / progress.total))
    full = int(share * BAR)
    bar = (("█" * full, Ink.BUSY), ("·" * (BAR - full), Ink.DIM))
    return line("     ", *bar, (f" {fmt.share(progress.done, progress.total)}", Ink.STRONG), tail)

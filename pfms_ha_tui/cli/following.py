"""An operation that runs, followed on the command line to its end; its steps are told as they pass."""

from __future__ import annotations

import asyncio
import sys

from pfms_ha_tui.console.format import latency, number, rate, share, size, span
from pfms_ha_tui.console.glyphs import STEP
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.client import Goodbye, StateUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import OperationsQuery

QUIET_FOR = 10.0
"""Seconds without a state after which the ledger is asked how the operation stands."""

_GOES_ON = (OperationState.RUNNING, OperationState.PLANNED)


async def followed(client: WorkerClient, cluster: str, begun: OperationView) -> OperationView:
    """The operation's end; its steps are printed as they pass.

    Raises:
        WorkerError: the worker stops before, or is lost.
    """
    printer = _StepPrinter()
    view = begun
    printer.show(view)
    updates = client.subscribe()
    while view.state in _GOES_ON:
        try:
            async with asyncio.timeout(QUIET_FOR):
                update = await anext(updates)
        except TimeoutError:
            view = await _asked(client, cluster, begun)
            updates = client.subscribe()
            continue
        if isinstance(update, Goodbye):
            raise WorkerError("the worker stops; the operation goes on when it is started again")
        if not isinstance(update, StateUpdate) or update.state.name != cluster:
            continue
        shown = update.state.operation
        if shown is not None and shown.id == begun.id:
            view = shown
        elif shown is not None and shown.id > begun.id:
            view = await _asked(client, cluster, begun)
        printer.show(view)
    return view


async def _asked(client: WorkerClient, cluster: str, begun: OperationView) -> OperationView:
    past = await client.call("operations", OperationsQuery(cluster=cluster), list[OperationView])
    return next((view for view in past if view.id == begun.id), begun)


class _StepPrinter:
    """Prints each change of a step once, on stderr."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[StepState, str]] = {}

    def show(self, view: OperationView) -> None:
        for step in view.steps:
            running = step.state is StepState.RUNNING
            words = progress_words(step.progress) if step.progress is not None and running else ""
            now = (step.state, words)
            if step.state is StepState.WAITING or self._said.get(step.name) == now:
                continue
            self._said[step.name] = now
            sys.stderr.write(step_line(step) + (f"  {words}" if words else "") + "\n")
        sys.stderr.flush()


def step_line(step: StepView) -> str:
    """A step as it stands, in one line."""
    sign = STEP[step.state]
    took = ""
    if step.started_at is not None and step.finished_at is not None:
        took = f" ({latency(step.finished_at - step.started_at)})"
    text = f": {clean(step.text)}" if step.text else ""
    return f"{sign.glyph} {clean(step.title)}{text}{took}"


def progress_words(progress: Progress) -> str:
    """How far a step is, in one line."""
    amount = size(progress.done) if progress.unit == "bytes" else f"{number(progress.done)} {progress.unit}"
    parts = [amount]
    if progress.total:
        parts.insert(0, share(progress.done, progress.total))
    if progress.rate is not None:
        parts.append(rate(progress.rate, progress.unit))
    if progress.eta is not None:
        parts.append(f"{span(round(progress.eta))} left")
    return " · ".join(parts)

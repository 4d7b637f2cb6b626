"""What is read off an operation as it is shown: how far it is, how it ended, what became of each step."""

from __future__ import annotations

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState

_ALMOST = 99.0
"""Percent: the copy is there, the node not yet a slave again."""


def percent(view: OperationView) -> float | None:
    """Of the bytes that a clone copies; the rest takes little time. ``None`` when nobody counts them."""
    copying = next((step for step in view.steps if step.name == "transfer"), None)
    if copying is None:
        return None
    progress = copying.progress
    if progress is not None and progress.unit == "bytes" and progress.total:
        return min(_ALMOST, 100.0 * progress.done / progress.total)
    return _ALMOST if copying.state is StepState.DONE else 0.0


def outcome(view: OperationView) -> tuple[Severity, str]:
    """How it ended, in one sentence of the timeline."""
    severity, words = {
        OperationState.DONE: (Severity.INFO, "finished"),
        OperationState.CANCELLED: (Severity.WARNING, "was cancelled"),
        OperationState.INTERRUPTED: (Severity.CRITICAL, "is interrupted"),
    }.get(view.state, (Severity.CRITICAL, "failed"))
    return severity, f"{view.title} {words}" + (f": {view.text}" if view.text else "")


def steps_told(view: OperationView) -> str | None:
    """A line for each step that was begun."""
    lines = [
        f"{step.state.value}: {step.title}" + (f" — {step.text}" if step.text else "")
        for step in view.steps
        if step.state is not StepState.WAITING
    ]
    return "\n".join(lines) or None

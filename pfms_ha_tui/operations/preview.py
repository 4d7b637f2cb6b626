"""What an operation that has not begun would do, as a person reads it."""

from __future__ import annotations

from pfms_ha_tui.masking import mask
from pfms_ha_tui.operations.step import Operation, Step
from pfms_ha_tui.operations.view import StepState, StepView


def preview_of(step: Step) -> tuple[str, ...]:
    """The step's preview, secrets masked."""
    return tuple(mask(line) for line in step.preview())


def steps_ahead(operation: Operation) -> tuple[StepView, ...]:
    """Every step with what it would run."""
    return tuple(
        StepView(
            name=step.name,
            title=step.title,
            state=StepState.WAITING,
            preview=preview_of(step),
            node=step.node,
        )
        for step in operation.steps
    )

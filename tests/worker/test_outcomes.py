"""How far a resync is, as its icon shows it: never without a figure while bytes are copied, never 100 before
its end."""

from __future__ import annotations

import pytest

from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.outcomes import percent


def clone(state: StepState, progress: Progress | None = None, *, name: str = "transfer") -> OperationView:
    return OperationView(
        id=1,
        kind="clone",
        title="resync of node2 from node1",
        state=OperationState.RUNNING,
        actor="carol",
        dry_run=False,
        steps=(
            StepView(name="check", title="check", state=StepState.DONE),
            StepView(name=name, title="copy", state=state, progress=progress),
        ),
    )


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (clone(StepState.WAITING), 0.0),
        (clone(StepState.RUNNING), 0.0),
        (clone(StepState.RUNNING, Progress(done=43, total=100, unit="bytes")), 43.0),
        (clone(StepState.RUNNING, Progress(done=140, total=100, unit="bytes")), 99.0),
        (clone(StepState.RUNNING, Progress(done=5, total=None, unit="bytes")), 0.0),
        (clone(StepState.DONE), 99.0),
        (clone(StepState.RUNNING, name="script"), None),
    ],
)
def test_the_percentage_of_a_resync(view: OperationView, shown: float | None) -> None:
    assert percent(view) == shown

"""How an operation and its steps are shown: the same on every screen and in every printer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepState(StrEnum):
    """How a step of an operation stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is. ``total`` None = not known."""

    done: float
    total: float | None
    unit: str
    """``bytes``, ``rows``, ``seconds``, ``transactions``."""
    rate: float | None = None
    """Units per second."""
    eta: float | None = None
    """Seconds left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step as it is shown."""

    name: str
    title: str
    state: StepState
    preview: tuple[str, ...] = ()
    """The exact SQL and shell, secrets masked."""
    node: str | None = None
    progress: Progress | None = None
    started_at: float | None = None
    finished_at: float | None = None
    text: str | None = None
    """What came of it, or why it failed."""


class OperationState(StrEnum):
    """How an operation stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The worker died under it; to be resumed or rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """One operation as it is shown."""

    id: int
    kind: str
    """``failover`` ``switchover`` ``rejoin`` ``clone`` ``merge``."""
    title: str
    state: OperationState
    actor: str
    dry_run: bool
    steps: tuple[StepView, ...]
    started_at: float | None = None
    finished_at: float | None = None
    cancellable: bool = False
    text: str | None = None
    """The outcome in one sentence."""
    log: tuple[str, ...] = ()
    """The newest lines, oldest first, secrets masked."""

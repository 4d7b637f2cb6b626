"""How an operation and its steps are shown: the same on every screen and in every printer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pfms_ha_tui.config.settings import CloneMethod


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


TO_BE_REBUILT = "is to be rebuilt from it now"
"""What a merge's outcome says of the losing side once nothing is left that it alone has."""


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

    @property
    def if_cancelled(self) -> str:
        """What becomes of what it did so far, as one clause."""
        if self.kind == "merge":
            return "rows that were added stay, and it can be gone on with or taken back"
        return "what it did so far is undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """One way to clone, and whether these two hosts can go it."""

    method: CloneMethod
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneCheck:
    """What the checks of a clone came to; nothing was changed."""

    title: str
    """Of the operation that was checked, with the method that it came to."""
    source: str
    """The node whose data would be copied."""
    method: CloneMethod | None
    """By which it would be done; ``None`` when something speaks against it."""
    problems: tuple[str, ...]
    """Everything that speaks against it, each with its way out; empty = it may be started."""
    warnings: tuple[str, ...]
    passed: tuple[str, ...]
    """What was found to be good, one sentence each."""
    methods: tuple[MethodChoice, ...]
    """Empty when the hosts could not be asked."""
    cramped: str | None
    """There is room for the copy only without the old data: how much is missing."""
    steps: tuple[StepView, ...]
    """With the exact commands, if nothing speaks against it."""

"""Steps and operations: what the engine runs.

A step is written so that it may run twice: after the worker was killed in the middle of it, it is run
again or undone, and finds out from the node itself what was done already. What it cannot find out
there (coordinates, identities, old values) it notes in the ledger *before* it changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.operations.waiting import Clock

T = TypeVar("T")


class OnFailure(StrEnum):
    """What the failure of a step means for the operation."""

    UNDO = "undo"
    """Everything done so far is undone in reverse order, this step first."""
    STOP = "stop"
    """Nothing is undone, nothing further is done: the state is safe as it is, or a person must look."""
    GO_ON = "go on"
    """It is reported; the other steps do not depend on it."""


class Recovery(StrEnum):
    """What becomes of an operation whose worker died under it."""

    RESUME = "resume"
    """From the interrupted step on."""
    ROLL_BACK = "roll back"
    """Undo in reverse order."""
    GIVE_UP = "give up"
    """Neither is safe, or nothing was done: it ends as it is."""


class Cancelled(OperationError):  # noqa: N818 - an outcome, not a fault
    """A person cancelled the operation at a safe point."""

    code = "cancelled"


class Skip(OperationError):  # noqa: N818 - an outcome, not a fault
    """There is nothing to do for this step; the reason is its outcome."""

    code = "skipped"


class StepRun(Protocol):
    """What a step has while it runs: the ledger's notes, the clock, a way to tell how far it is."""

    @property
    def clock(self) -> Clock:
        """Where time comes from."""

    @property
    def number(self) -> int:
        """The operation's number in the ledger."""

    @property
    def actor(self) -> str:
        """Who ordered it: a person's name, or ``worker``."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed."""

    async def note(self, **facts: object) -> None:
        """Journal facts of the operation, all in one transaction, before this returns."""

    def fact(self, key: str, kind: type[T]) -> T | None:
        """A fact noted by this or an earlier step (also before a crash), or ``None``."""

    def need(self, key: str, kind: type[T]) -> T:
        """As :meth:`fact`, for one that must be there.

        Raises:
            OperationError: it was never noted.
        """

    def say(self, text: str) -> None:
        """One line for the operation's log."""

    def progress(self, done: float, total: float | None, unit: str) -> None:
        """How far the step is; rate and time left are computed here."""

    def checkpoint(self) -> None:
        """A safe point inside a step.

        Raises:
            Cancelled: a person asked for it.
        """


class Step:
    """One thing an operation does. Override what applies."""

    name = ""
    """Stable word, unique in its operation."""
    title = ""
    """For a person, in a few words."""
    node: str | None = None
    """Label of the node it changes."""
    on_failure = OnFailure.UNDO
    stays: str | None = None
    """What of it stays when the operation is undone, in a few words."""
    cancel_before = False
    """Whether cancelling just before this step is safe (then everything done so far is undone)."""

    def preview(self) -> Sequence[str]:
        """The exact SQL and shell it will run, with what is known by now; secrets masked."""
        return ()

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Find out, changing nothing, whether it would work; what it would do, in one sentence.

        Raises:
            PfmsError: it would not.
        """
        return None

    async def run(self, run: StepRun) -> str | None:
        """Do it; what came of it, in one sentence.

        Raises:
            PfmsError: it failed.
        """
        raise NotImplementedError

    async def verify(self, run: StepRun) -> None:
        """Look whether it is really so.

        Raises:
            PfmsError: it is not; the step counts as failed.
        """

    async def undo(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Take it back, whether it was done, half done or not begun; what came of it.

        ``None`` = there was nothing to take back.

        Raises:
            PfmsError: it could not be taken back; undoing stops here, as what was done before may lean on it.
        """
        return None


class Operation:
    """A procedure: its steps in order, and what must be held while they run."""

    kind = ""
    title = ""
    cluster = ""
    commit: str | None = None
    """Name of the step of no return: once it is done nothing is undone any more; ``None`` = always undoable.
    If it fails itself, its own ``undo`` must prove that it had no effect before anything else is undone."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    @property
    def params(self) -> Mapping[str, object]:
        """What it takes to build the very same operation again after a crash; JSON."""
        return {}

    async def open(self, run: StepRun) -> None:
        """Take what the steps need (sessions, locks) before the first of them.

        Raises:
            PfmsError: it cannot be had; nothing was changed.
        """

    async def close(self) -> None:
        """Give it back; never raises."""

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """Told how it ended, sessions still open: for events and hooks. What it raises is only logged."""

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:  # noqa: ARG002
        """What to do after a crash, by how the steps stood; sessions are open. May look at the nodes.

        Raises:
            PfmsError: that cannot be told now; the operation stays interrupted and is looked at again.
        """
        if not any(state is not StepState.WAITING for state in states.values()):
            return Recovery.GIVE_UP
        return Recovery.RESUME if self.committed(states) else Recovery.ROLL_BACK

    def committed(self, states: Mapping[str, StepState]) -> bool:
        """Whether the step of no return is done."""
        return self.commit is not None and states.get(self.commit) is StepState.DONE

    def outcome(self, run: StepRun) -> str:  # noqa: ARG002
        """One sentence for a success."""
        return f"{self.title}: done"

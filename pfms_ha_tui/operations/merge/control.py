"""How a long call tells where it is, and how it is asked to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pfms_ha_tui.operations.merge.errors import MergeCancelled


class Phase(StrEnum):
    """What a merge is doing."""

    PLAN = "plan"
    ARCHIVE = "archive"
    APPLY = "apply"
    VERIFY = "verify"
    UNDO = "undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeProgress:
    """Where it is."""

    phase: Phase
    table: str
    done: int
    """Rows of the losing side looked at so far, over all tables."""
    total: int | None
    """``None`` = not known."""
    added: int = 0
    """Rows added (or, undoing, removed) so far."""
    waiting: str | None = None
    """Why it pauses: a slave's lag, the rate limit."""


def _ignore(_: MergeProgress) -> None:
    """Nobody looks."""


class Control:
    """Given to every long call; may be shared by threads.

    Args:
        report: Told where it is, from the thread that works; must return at once.
        every: Seconds between two reports, at least.
    """

    def __init__(self, report: Callable[[MergeProgress], None] = _ignore, *, every: float = 0.2) -> None:
        self._report = report
        self._every = every
        self._last = 0.0
        self._stop = threading.Event()

    def cancel(self) -> None:
        """Ask it to stop between two batches."""
        self._stop.set()

    def check(self) -> None:
        """A safe point.

        Raises:
            MergeCancelled: somebody asked to stop.
        """
        if self._stop.is_set():
            raise MergeCancelled("stopped as asked", hint="start it again to go on; nothing is added twice")

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until somebody asks to stop.

        Raises:
            MergeCancelled: somebody asked to stop.
        """
        self._stop.wait(seconds)
        self.check()

    def tell(self, progress: MergeProgress, *, now: bool = False) -> None:
        """Report, unless the last report was a moment ago."""
        moment = time.monotonic()
        if now or moment - self._last >= self._every:
            self._last = moment
            self._report(progress)

"""Waiting that cannot last for ever: a deadline, and a timer that only progress resets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from pfms_ha_tui.errors import OperationError

T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from, so that tests need not wait for it."""

    def wall(self) -> float:
        """Seconds since 1970."""

    def mono(self) -> float:
        """Monotonic seconds; the only ones that durations are computed from."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class SystemClock:
    """The clock of this machine."""

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def mono(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await asyncio.sleep(seconds)


class DeadlineError(OperationError):
    """Something did not come about in time, although it moved."""

    code = "deadline"


class NoProgressError(OperationError):
    """Something stood still for too long."""

    code = "no_progress"


async def await_progress(
    sample: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    *,
    what: str,
    deadline: float,
    clock: Clock,
    no_progress: float | None = None,
    progress_of: Callable[[T], object] | None = None,
    interval: float | Callable[[float], float] = 0.05,
    seen: Callable[[T], None] | None = None,
    node: str | None = None,
) -> T:
    """Sample until ``done``, and return the sample that was.

    Args:
        sample: looks once; an exception of it ends the wait.
        done: whether a sample is what is waited for.
        what: for the error, as in "timed out waiting for {what}".
        deadline: seconds from now until the wait is given up.
        clock: the clock.
        no_progress: seconds after which an unchanged ``progress_of(sample)`` is given up; ``None`` = never.
        progress_of: the part of a sample whose change is progress; by default the whole.
        interval: seconds between two samples, or a function of the seconds waited so far.
        seen: told every sample.
        node: for the error.

    Raises:
        DeadlineError: not done after ``deadline`` seconds.
        NoProgressError: unchanged for ``no_progress`` seconds.
    """
    started = moved = clock.mono()
    key: object = None
    first = True
    while True:
        value = await sample()
        now = clock.mono()
        if seen is not None:
            seen(value)
        if done(value):
            return value
        newest = progress_of(value) if progress_of is not None else value
        if first or newest != key:
            key, moved, first = newest, now, False
        if no_progress is not None and now - moved >= no_progress:
            raise NoProgressError(f"no progress for {no_progress:g} s while waiting for {what}", node=node)
        if now - started >= deadline:
            raise DeadlineError(f"{what} did not come about within {deadline:g} s", node=node)
        pause = interval(now - started) if callable(interval) else interval
        await clock.sleep(min(pause, max(0.0, started + deadline - now)))


def soon_then_calmly(elapsed: float) -> float:
    """Every 2 ms at first, where each millisecond counts; 20 ms after half a second, 200 ms after ten."""
    if elapsed < 0.5:
        return 0.002
    return 0.02 if elapsed < 10 else 0.2

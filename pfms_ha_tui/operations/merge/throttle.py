"""How much is added at a time, and when it pauses: for the slaves, and for those who use the master."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import MergeError

Lag = Callable[[], Mapping[str, float | None]]
"""Label → seconds behind of every slave that follows the master; ``None`` = it does not say."""

_FIRST_BATCH = 5_000
_SMALLEST = 200
_LARGEST = 200_000
_POLL = 0.5


def no_slaves() -> Mapping[str, float | None]:
    """A master without slaves to wait for."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The limits of a merge's writing."""

    batch_time: float = 0.5
    """Seconds that one batch should take."""
    max_rows_per_second: int | None = None
    max_slave_lag: float = 10.0
    """Seconds; adding pauses while a slave is further behind, or does not say."""
    patience: float = 900.0
    """Seconds a pause for slaves may last before the merge stops (it can be resumed)."""


class Throttle:
    """Sizes the next batch by how long the last one took, and waits between them."""

    def __init__(self, pace: Pace, lag: Lag, control: Control, say: Callable[[str | None], None]) -> None:
        self._pace = pace
        self._lag = lag
        self._control = control
        self._say = say
        self._size = float(_FIRST_BATCH)
        self._debt = 0.0
        self._checked = 0.0

    @property
    def size(self) -> int:
        """Rows of the next batch."""
        size = int(self._size)
        limit = self._pace.max_rows_per_second
        if limit is not None:
            size = min(size, max(1, int(limit * self._pace.batch_time)))
        return size

    def took(self, rows: int, seconds: float) -> None:
        """Learn from a batch, and wait as long as the limits ask.

        Raises:
            MergeError: a slave stayed too far behind for too long.
            MergeCancelled: somebody asked to stop.
        """
        if rows >= self._size / 2 or seconds > self._pace.batch_time:
            ideal = rows * self._pace.batch_time / max(seconds, 0.001)
            self._size = min(_LARGEST, max(_SMALLEST, min(ideal, self._size * 2)))
        limit = self._pace.max_rows_per_second
        if limit is not None:
            self._debt = max(0.0, self._debt + rows / limit - seconds)
            if self._debt > 0:
                self._say(f"held to {limit} rows a second")
                self._control.pause(self._debt)
                self._debt = 0.0
                self._say(None)
        self._wait_for_slaves()

    def _wait_for_slaves(self) -> None:
        now = time.monotonic()
        if now - self._checked < _POLL:
            return
        started = now
        waited = False
        while (why := self._behind()) is not None:
            waited = True
            self._say(why)
            if time.monotonic() - started > self._pace.patience:
                raise MergeError(
                    f"stopped after {self._pace.patience:g} s of waiting: {why}",
                    code="slave_lag",
                    hint="look at the slave, then start the merge again: it goes on where it was",
                )
            self._control.pause(_POLL)
        if waited:
            self._say(None)
        self._checked = time.monotonic()

    def _behind(self) -> str | None:
        for label, seconds in sorted(self._lag().items()):
            if seconds is None:
                return f"{label} does not say how far it is behind"
            if seconds > self._pace.max_slave_lag:
                return f"{label} is {seconds:g} s behind (limit {self._pace.max_slave_lag:g} s)"
        return None

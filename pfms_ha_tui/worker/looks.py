"""Work that only looks and may take long: begun by the first to ask, stopped when nobody asks any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.merge.control import Control, MergeProgress
from pfms_ha_tui.worker.threads import in_thread

T = TypeVar("T")

WAIT = 1.0
"""Seconds an answer waits for the result."""
FORGOTTEN = 15.0
"""Seconds without a question after which the work is stopped, and its result dropped."""
MOST = 4
"""Works at a time: each holds connections to the nodes."""


@dataclass(slots=True)
class _Look:
    control: Control
    task: asyncio.Task[object]
    told: list[MergeProgress] = field(default_factory=list)
    """The newest progress, at most one."""
    end: asyncio.TimerHandle | None = None


class Looks:
    """The works of one worker; for its event loop only."""

    def __init__(self, *, wait: float = WAIT, forgotten: float = FORGOTTEN, most: int = MOST):
        self._wait = wait
        self._forgotten = forgotten
        self._most = most
        self._running: dict[Hashable, _Look] = {}
        self._ending: set[asyncio.Task[object]] = set()
        """Works that were told to stop and have not yet: they still hold their connections."""

    async def ask(self, key: Hashable, job: Callable[[Control], T]) -> T | MergeProgress | None:
        """The result of ``job``; or, after a second, how far it is (``None`` = nothing to tell yet).

        Args:
            key: What is asked; the same key joins the same work.
            job: Blocking; gives up when its control says so.

        Raises:
            PfmsError: as the job, or too much is asked at once.
        """
        look = self._running.get(key) or self._begin(key, job)
        if look.end is not None:
            look.end.cancel()
        loop = asyncio.get_running_loop()
        look.end = loop.call_later(self._forgotten, self._forget, key)
        await asyncio.wait({look.task}, timeout=self._wait)
        if not look.task.done():
            return look.told[-1] if look.told else None
        self._forget(key)
        return cast("T", look.task.result())

    def _begin(self, key: Hashable, job: Callable[[Control], T]) -> _Look:
        if len(self._running) + len(self._ending) >= self._most:
            raise WorkerError(
                f"{self._most} looks at the data are under way already",
                code="busy",
                hint="try again in a moment",
            )
        told: list[MergeProgress] = []

        def report(progress: MergeProgress) -> None:
            told[:] = [progress]

        control = Control(report)
        task: asyncio.Task[object] = asyncio.create_task(in_thread(lambda: job(control), name="look"))
        look = _Look(control=control, task=task, told=told)
        self._running[key] = look
        return look

    def _forget(self, key: Hashable) -> None:
        look = self._running.pop(key, None)
        if look is None:
            return
        look.control.cancel()
        if look.end is not None:
            look.end.cancel()
        look.task.add_done_callback(_heard)
        if not look.task.done():
            self._ending.add(look.task)
            look.task.add_done_callback(self._ending.discard)


def _heard(task: asyncio.Task[object]) -> None:
    """A fault that nobody asks about any more is no fault of the loop's."""
    if not task.cancelled():
        task.exception()

"""An interrupted operation is brought to its end, again and again until it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.operations.view import OperationView
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.retries import FIRST_RETRY, LONGEST_RETRY

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that it waits for every node to be seen once."""

Attempt = Callable[[int], Awaitable[bool]]
"""Try once to end the operation of that number; whether it has ended. Raises PfmsError if it cannot try."""


class Recovery:
    """The recovery of one cluster's operation: there is at most one."""

    def __init__(
        self, monitor: ClusterMonitor, attempt: Attempt, *, mono: Callable[[], float] = time.monotonic
    ) -> None:
        self._monitor = monitor
        self._attempt = attempt
        self._mono = mono
        self.task: asyncio.Task[None] | None = None
        """``None`` when nothing is interrupted."""

    def begin(self, view: OperationView, *, after: float) -> None:
        """Bring ``view`` to its end, from so many seconds on."""
        work = self._run(view.id, view.title, after)
        self.task = asyncio.create_task(work, name=f"recovery of {view.title}")

    async def hold(self) -> None:
        """Make no further attempt; the operation still counts as interrupted until :meth:`over`."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})

    def over(self) -> None:
        """It has ended, by whatever means."""
        self.task = None
        self._monitor.judge_soon()

    async def _run(self, number: int, title: str, after: float) -> None:
        await asyncio.sleep(after)
        deadline = self._mono() + PATIENCE
        while self._mono() < deadline and not self._all_seen():  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(0.1)
        self._monitor.memory.journal.add_event(
            cluster=self._monitor.name,
            severity=Severity.WARNING,
            kind="operation_recovery",
            text=f"{title} was interrupted; it is brought to an end",
            actor="worker",
            operation=number,
        )
        wait = FIRST_RETRY
        while True:
            try:
                if await self._attempt(number):
                    break
            except PfmsError as error:
                log.warning("%s stays interrupted: %s", title, error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_RETRY)
        self.over()

    def _all_seen(self) -> bool:
        history = self._monitor.history
        return bool(history) and all(node.observation is not None for node in history[-1].nodes)

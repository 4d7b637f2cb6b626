"""Plans ask nodes and read files: one at a time for each client, a few in all, and each for a limited time.

A newer question of the same client takes the place of the one before it. What cannot be stopped, a thread
that waits for a silent node, keeps its place until it has ended, so that asking again and again opens no
more sessions than there are places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import TypeVar

from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.threads import in_thread

T = TypeVar("T")

MOST = 8
"""Questions, and threads of such, that are under way at a time."""


class Planning:
    """The plans of one worker; for its event loop only."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._newest: dict[Hashable, asyncio.Task[object]] = {}
        self._held: set[asyncio.Task[object]] = set()
        """What holds a place: questions, and threads that outlive theirs."""

    async def ask(
        self, client: Hashable, work: Callable[[], Coroutine[object, object, T]], *, within: float
    ) -> T:
        """The result of ``work``.

        Args:
            client: Who asks; the question asked before by the same one is given up.
            work: What blocks in it goes through :meth:`thread`.
            within: Seconds.

        Raises:
            PfmsError: as the work; or it took too long, too much is asked at once, the client asked anew.
        """
        before = self._newest.pop(client, None)
        if before is not None:
            before.cancel()
        if sum(not one.cancelling() for one in self._held) >= self._most:
            raise WorkerError("too many plans are being made", code="busy", hint="try again in a moment")
        task = asyncio.create_task(work())
        self._hold(task)
        self._newest[client] = task
        try:
            done, _ = await asyncio.wait({task}, timeout=within)
        finally:
            if self._newest.get(client) is task:
                del self._newest[client]
            task.cancel()
        if not done:
            hint = "look at the nodes' lines, then try again"
            raise WorkerError(f"a node did not answer within {within:g} s", code="silent", hint=hint)
        if task.cancelled():
            raise WorkerError("another plan was asked for meanwhile", code="superseded")
        return task.result()

    async def thread(self, job: Callable[[], T], *, name: str) -> T:
        """The result of ``job``, which keeps its place also when nobody waits for it any more."""
        task = asyncio.create_task(in_thread(job, name=name))
        self._hold(task)
        return await asyncio.shield(task)

    def _hold(self, task: asyncio.Task[T]) -> None:
        self._held.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[T]) -> None:
        self._held.discard(task)
        if not task.cancelled():
            task.exception()  # one that nobody waits for any more is no fault of the loop's

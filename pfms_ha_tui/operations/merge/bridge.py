"""A blocking merge inside an operation's step: on a thread, watched, cancelled at its safe points."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import TimeoutError as LateError
from typing import TypeVar

from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.merge.control import Control, MergeProgress
from pfms_ha_tui.operations.merge.errors import MergeCancelled
from pfms_ha_tui.operations.merge.throttle import Lag
from pfms_ha_tui.operations.step import Cancelled, StepRun

T = TypeVar("T")

_LOOK = 0.2
_LAG_TIMEOUT = 5.0
_LAG_AGE = 1.0


async def on_thread(run: StepRun, job: Callable[[Control], T]) -> T:
    """Run ``job`` on a thread; its progress is the step's, and cancelling the operation stops it.

    Returns only when the thread has ended, however it ended.

    Raises:
        Cancelled: a person asked for it.
        PfmsError: as the job raises.
    """
    loop = asyncio.get_running_loop()
    told: list[str | None] = [None]

    def show(progress: MergeProgress) -> None:
        run.progress(progress.done, progress.total, "rows")
        if progress.waiting != told[0]:
            told[0] = progress.waiting
            run.say(f"waiting: {progress.waiting}" if progress.waiting else "going on")

    def report(progress: MergeProgress) -> None:
        loop.call_soon_threadsafe(show, progress)

    control = Control(report)
    working = asyncio.ensure_future(asyncio.to_thread(job, control))
    cancelled: Cancelled | None = None
    try:
        while not working.done():
            await asyncio.wait((working,), timeout=_LOOK)
            try:
                run.checkpoint()
            except Cancelled as asked:
                cancelled = asked
                control.cancel()
        return working.result()
    except MergeCancelled:
        if cancelled is None:
            raise
        raise cancelled from None
    finally:
        # The worker is being stopped: leave no thread behind that writes to a master.
        control.cancel()
        while not working.done():
            await asyncio.shield(asyncio.wait((working,)))


def slaves_lag(operation: ClusterOperation, master: str, losing: str) -> Lag:
    """How far the master's slaves are behind, asked from the merge's thread at most once a second.

    A slave that cannot be asked, or whose threads do not both run, is no reason to wait: it will not catch up
    by waiting. One that replicates and does not know how far it is behind is.
    """
    loop = asyncio.get_running_loop()
    others = [label for label in operation.labels if label not in (master, losing)]
    newest: dict[str, float | None] = {}
    asked = 0.0

    async def ask() -> dict[str, float | None]:
        answers = await asyncio.gather(*(_lag_of(operation, label, master) for label in others))
        return {label: lag for label, (follows, lag) in zip(others, answers, strict=True) if follows}

    def lag() -> Mapping[str, float | None]:
        nonlocal newest, asked
        if others and time.monotonic() - asked >= _LAG_AGE:
            coroutine: Coroutine[None, None, dict[str, float | None]] = ask()
            waiting = asyncio.run_coroutine_threadsafe(coroutine, loop)
            try:
                newest = waiting.result(_LAG_TIMEOUT)
            except LateError:
                waiting.cancel()
                newest = dict.fromkeys(newest)
            asked = time.monotonic()
        return newest

    return lag


async def _lag_of(operation: ClusterOperation, label: str, master: str) -> tuple[bool, float | None]:
    """Whether a node follows the master with both threads running, and its lag."""
    try:
        link = await operation.link(label)
        state = await link.replication()
    except PfmsError:
        return False, None
    node = operation.context.node(master)
    if state is None or (state.source_host, state.source_port) != (node.host, node.port):
        return False, None
    if state.io is not IoState.YES or not state.sql:
        return False, None
    return True, None if state.seconds_behind is None else float(state.seconds_behind)

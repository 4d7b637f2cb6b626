"""Blocking work beside the event loop, in daemon threads: what hangs there never holds the exit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class SerialThread:
    """One thread that runs what it is given, in order."""

    def __init__(self, name: str):
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run ``job`` after everything submitted before it."""
        future: Future[T] = Future()
        self._jobs.put(lambda: _settle(future, job))
        return future

    async def run(self, job: Callable[[], T]) -> T:
        """The result of ``job``; cancelling stops the waiting, not a job that has begun."""
        return await asyncio.wrap_future(self.submit(job))

    def stop(self, timeout: float) -> bool:
        """End after what was submitted; whether that happened within ``timeout`` seconds."""
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it holds must not wait for the next one


async def in_thread(job: Callable[[], T], *, name: str) -> T:
    """The result of ``job``, run in a daemon thread of its own."""
    future: Future[T] = Future()
    threading.Thread(target=_settle, args=(future, job), name=name, daemon=True).start()
    return await asyncio.wrap_future(future)


def _settle(future: Future[T], job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)

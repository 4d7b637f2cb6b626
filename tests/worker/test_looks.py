"""Looks at the data: answered within a moment, joined by whoever asks the same, stopped when nobody asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import MergeCancelled, MergeError
from pfms_ha_tui.worker.looks import Looks

DEADLINE = 20.0


def progress(done: int) -> MergeProgress:
    return MergeProgress(phase=Phase.PLAN, table="tagente_datos", done=done, total=None)


class Slow:
    """A job that ends when it is told, or when its control is cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()
        self.cancelled = threading.Event()

    def __call__(self, control: Control) -> str:
        self.begun += 1
        control.tell(progress(7), now=True)
        while not self.go.wait(0.01):
            try:
                control.check()
            except MergeCancelled:
                self.cancelled.set()
                raise
        return "found"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)


async def test_what_takes_long_says_how_far_it_is_and_is_done_once() -> None:
    looks, job = Looks(wait=0.05), Slow()
    first = await looks.ask("key", job)
    while first is None:
        first = await looks.ask("key", job)
    assert first == progress(7)
    job.go.set()
    async with asyncio.timeout(DEADLINE):
        while (found := await looks.ask("key", job)) != "found":
            assert isinstance(found, MergeProgress)
    assert job.begun == 1


async def test_two_who_ask_the_same_get_the_same_work() -> None:
    looks, job = Looks(wait=DEADLINE), Slow()
    both = [asyncio.create_task(looks.ask("key", job)) for _ in range(2)]
    await until(lambda: job.begun > 0)
    job.go.set()
    assert await asyncio.gather(*both) == ["found", "found"]
    assert job.begun == 1


async def test_work_that_nobody_asks_about_is_stopped() -> None:
    looks, job = Looks(wait=0.02, forgotten=0.1), Slow()
    await looks.ask("key", job)
    await until(job.cancelled.is_set)


async def test_a_fault_is_told_to_who_asks_and_the_next_one_begins_anew() -> None:
    looks = Looks(wait=DEADLINE)

    def broken(_: Control) -> str:
        raise MergeError("no such node")

    with pytest.raises(MergeError, match="no such node"):
        await looks.ask("key", broken)
    assert await looks.ask("key", lambda _: "found") == "found"


async def test_too_many_at_once_are_refused() -> None:
    looks, jobs = Looks(wait=0.02, most=2), [Slow(), Slow(), Slow()]
    await looks.ask(1, jobs[0])
    await looks.ask(2, jobs[1])
    with pytest.raises(WorkerError, match="under way already"):
        await looks.ask(3, jobs[2])
    for job in jobs:
        job.go.set()
    assert await looks.ask(1, jobs[0]) in ("found", progress(7), None)


async def test_work_that_was_told_to_stop_keeps_its_place_until_it_has() -> None:
    looks, ends = Looks(wait=0.02, forgotten=0.05, most=1), threading.Event()
    told = threading.Event()

    def deaf(control: Control) -> str:
        while not ends.is_set():
            ends.wait(0.01)
            try:
                control.check()
            except MergeCancelled:
                told.set()
        return "late"

    await looks.ask("deaf", deaf)
    await until(told.is_set)
    for key in ("deaf", "other"):
        with pytest.raises(WorkerError, match="under way already"):
            await looks.ask(key, lambda _: "found")
    ends.set()
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                assert await looks.ask("other", lambda _: "found") in ("found", None)
                break
            except WorkerError:
                await asyncio.sleep(0.01)

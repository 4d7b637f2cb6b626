"""The step engine: order, journal, undo, cancel, and what is left after a kill at any instant."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import toy_operation
from support.toy_operation import Toy, ToyStep, World

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.masking import MASK
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.execution import Execution
from pfms_ha_tui.operations.ledger import Change, Ledger, LedgerError
from pfms_ha_tui.operations.step import OnFailure, Step, StepRun
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState
from pfms_ha_tui.operations.waiting import (
    DeadlineError,
    NoProgressError,
    SystemClock,
    await_progress,
)

ALL = {"a", "b", "commit", "d"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world.json")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def shown() -> list[OperationView]:
    return []


@pytest.fixture
def engine(ledger: Ledger, shown: list[OperationView]) -> Iterator[Engine]:
    engine = Engine(ledger, publish=shown.append)
    yield engine
    engine.close()


def states(view: OperationView) -> list[str]:
    return [str(step.state) for step in view.steps]


async def test_every_step_runs_in_order_and_the_ledger_tells_it(
    engine: Engine, ledger: Ledger, world: World, shown: list[OperationView]
) -> None:
    toy = Toy(world)
    view = await engine.run(toy, actor="carol")
    assert view.state is OperationState.DONE
    assert world.effects() == ALL
    assert (toy.opened, toy.closed) == (1, 1)
    entry = ledger.entry(view.id)
    assert entry is not None
    assert entry.view == view
    assert entry.actor == "carol"
    assert ledger.unfinished("c") is None
    running = [next((s.name for s in v.steps if s.state is StepState.RUNNING), None) for v in shown]
    assert [name for n, name in enumerate(running) if name and name != running[n - 1]] == [
        "a",
        "b",
        "commit",
        "d",
    ]


async def test_a_transition_is_on_the_disk_before_the_step_acts(
    engine: Engine, ledger: Ledger, world: World
) -> None:
    seen: list[list[StepState]] = []

    class Looking(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            entry = ledger.unfinished("c")
            assert entry is not None
            seen.append([step.state for step in entry.steps])
            return await super().run(run)

    await engine.run(Toy(world, [Looking(world, "a"), Looking(world, "b")]), actor="x")
    assert seen == [[StepState.RUNNING, StepState.WAITING], [StepState.DONE, StepState.RUNNING]]


@pytest.mark.parametrize("fail", ["early", "late", "verify", "bug"])
async def test_a_failure_before_the_step_of_no_return_undoes_everything_in_reverse(
    engine: Engine, ledger: Ledger, world: World, fail: str
) -> None:
    taken: list[str] = []

    class Telling(ToyStep):
        async def undo(self, run: StepRun) -> str | None:
            taken.append(self.name)
            return await super().undo(run)

    steps: list[ToyStep] = [Telling(world, "a"), Telling(world, "b", fail=fail), Telling(world, "commit")]
    view = await engine.run(Toy(world, steps), actor="x")
    assert view.state is OperationState.FAILED
    assert world.effects() == set()
    assert taken == ["b", "a"]
    assert view.steps[0].state is StepState.UNDONE
    assert view.steps[2].state is StepState.WAITING
    assert "put b" in (view.text or "")
    assert ledger.unfinished("c") is None


async def test_a_failing_step_of_no_return_is_undone_itself_first(engine: Engine, world: World) -> None:
    view = await engine.run(Toy(world, fail_at="commit"), actor="x")
    assert view.state is OperationState.FAILED
    assert world.effects() == set()


async def test_after_the_step_of_no_return_nothing_is_undone(engine: Engine, world: World) -> None:
    view = await engine.run(Toy(world, fail_at="d"), actor="x")
    assert view.state is OperationState.FAILED
    assert world.effects() == ALL
    assert states(view) == ["done", "done", "done", "failed"]


async def test_a_step_that_others_do_not_need_is_reported_and_the_rest_goes_on(
    engine: Engine, world: World
) -> None:
    steps = [ToyStep(world, "a", fail="early", on_failure=OnFailure.GO_ON), ToyStep(world, "b")]
    view = await engine.run(Toy(world, steps), actor="x")
    assert states(view) == ["failed", "done"]
    assert view.state is OperationState.FAILED
    assert "a failed early" in (view.text or "")


async def test_a_step_can_stop_the_operation_without_undoing(engine: Engine, world: World) -> None:
    steps = [
        ToyStep(world, "a"),
        ToyStep(world, "b", fail="late", on_failure=OnFailure.STOP),
        ToyStep(world, "c"),
    ]
    view = await engine.run(Toy(world, steps), actor="x")
    assert view.state is OperationState.FAILED
    assert world.effects() == {"a", "b"}


async def test_an_undo_that_fails_leaves_it_interrupted_and_can_be_taken_up_again(
    engine: Engine, ledger: Ledger, world: World
) -> None:
    stuck = True
    steps = [
        ToyStep(world, "a"),
        ToyStep(world, "b", undo_fails=lambda: stuck),
        ToyStep(world, "c2", fail="late"),
    ]
    toy = Toy(world, steps)
    view = await engine.run(toy, actor="x")
    assert view.state is OperationState.INTERRUPTED
    assert world.effects() == {"a", "b"}, "what was done before may lean on what could not be undone"
    with pytest.raises(OperationError) as caught:
        await engine.run(Toy(world), actor="y")
    assert caught.value.code == "busy"
    entry = ledger.unfinished("c")
    assert entry is not None
    again = await engine.recover(toy, entry)
    assert again.state is OperationState.INTERRUPTED
    stuck = False
    entry = ledger.unfinished("c")
    assert entry is not None
    last = await engine.recover(toy, entry)
    assert last.state is OperationState.FAILED
    assert world.effects() == set()
    assert (last.text or "").count("c2 failed late") == 1


async def test_an_interrupted_operation_can_be_given_up_by_a_person(
    engine: Engine, ledger: Ledger, world: World
) -> None:
    steps = [ToyStep(world, "a", undo_fails=lambda: True), ToyStep(world, "b", fail="early")]
    await engine.run(Toy(world, steps), actor="x")
    entry = ledger.unfinished("c")
    assert entry is not None
    await engine.give_up(entry, actor="carol")
    assert ledger.unfinished("c") is None
    ended = ledger.entry(entry.id)
    assert ended is not None
    assert "carol" in (ended.text or "")


async def test_cancel_waits_for_a_safe_point_and_undoes(engine: Engine, world: World) -> None:
    running = asyncio.Event()
    release = asyncio.Event()

    class Slow(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            running.set()
            await release.wait()
            return await super().run(run)

    steps = [Slow(world, "a"), ToyStep(world, "b"), ToyStep(world, "c2", cancel_before=True)]
    task = asyncio.create_task(engine.run(Toy(world, steps), actor="x"))
    await running.wait()
    execution = engine.running("c")
    assert isinstance(execution, Execution)
    assert execution.view.cancellable
    execution.cancel("carol")
    release.set()
    view = await task
    assert view.state is OperationState.CANCELLED
    assert "carol" in (view.text or "")
    assert world.effects() == set()
    assert states(view) == ["undone", "undone", "waiting"]


async def test_cancel_inside_a_step_at_its_own_safe_point(engine: Engine, world: World) -> None:
    running = asyncio.Event()

    class Copying(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            self.world.put(self.name)
            running.set()
            while True:
                run.checkpoint()
                await asyncio.sleep(0.01)

    steps = [Copying(world, "a"), ToyStep(world, "b", cancel_before=True)]
    task = asyncio.create_task(engine.run(Toy(world, steps), actor="x"))
    await running.wait()
    execution = engine.running("c")
    assert execution is not None
    execution.cancel("carol")
    assert (await task).state is OperationState.CANCELLED
    assert world.effects() == set()


async def test_past_the_last_safe_point_a_cancel_is_refused(engine: Engine, world: World) -> None:
    refused: list[bool] = []

    class Late(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            execution = engine.running("c")
            assert execution is not None
            assert not execution.view.cancellable
            with pytest.raises(OperationError, match="no longer"):
                execution.cancel("carol")
            refused.append(True)
            return await super().run(run)

    view = await engine.run(
        Toy(world, [ToyStep(world, "a", cancel_before=True), Late(world, "b")]), actor="x"
    )
    assert view.state is OperationState.DONE
    assert refused == [True]


async def test_a_dry_run_changes_nothing_and_holds_nothing(
    engine: Engine, ledger: Ledger, world: World
) -> None:
    view = await engine.run(Toy(world), actor="x", dry_run=True)
    assert (view.state, view.dry_run) == (OperationState.DONE, True)
    assert [step.text for step in view.steps] == ["would be put"] * 4
    assert world.effects() == set()
    assert ledger.unfinished("c") is None


async def test_a_dry_run_names_every_step_that_would_fail(engine: Engine, world: World) -> None:
    steps = [ToyStep(world, "a", fail="early"), ToyStep(world, "b"), ToyStep(world, "c2", fail="late")]
    view = await engine.run(Toy(world, steps), actor="x", dry_run=True)
    assert states(view) == ["failed", "done", "failed"]
    assert view.state is OperationState.FAILED
    assert view.text == f"dry run: it would not work: {view.steps[0].text}"


async def test_a_dry_run_leaves_out_what_rests_on_a_step_that_would_fail(
    engine: Engine, world: World
) -> None:
    class Resting(ToyStep):
        async def rehearse(self, run: StepRun) -> str | None:
            return run.need("candidate", str)

    view = await engine.run(
        Toy(world, [ToyStep(world, "a", fail="early"), Resting(world, "b")]), actor="x", dry_run=True
    )
    assert states(view) == ["failed", "skipped"]
    assert "rests on a step" in (view.steps[1].text or "")
    view = await engine.run(Toy(world, [Resting(world, "b")]), actor="x", dry_run=True)
    assert states(view) == ["failed"]


async def test_two_operations_never_run_on_one_cluster_but_on_two(ledger: Ledger, world: World) -> None:
    one, other = Engine(ledger), Engine(ledger)
    running = asyncio.Event()
    release = asyncio.Event()

    class Waiting(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            running.set()
            await release.wait()
            return await super().run(run)

    task = asyncio.create_task(one.run(Toy(world, [Waiting(world, "a")]), actor="x"))
    await running.wait()
    with pytest.raises(OperationError) as caught:
        await other.run(Toy(world), actor="y")
    assert caught.value.code == "busy"
    elsewhere = Toy(World(world.path.with_name("other.json")))
    elsewhere.cluster = "c2"
    assert (await other.run(elsewhere, actor="y")).state is OperationState.DONE
    release.set()
    assert (await task).state is OperationState.DONE
    one.close()
    other.close()


async def test_secrets_reach_neither_the_ledger_nor_the_screen(
    engine: Engine, world: World, shown: list[OperationView], tmp_path: Path
) -> None:
    class Talking(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            run.say("CHANGE MASTER TO MASTER_PASSWORD='geheim'")
            raise OperationError("password=geheim was refused")

    await engine.run(Toy(world, [Talking(world, "a")]), actor="x")
    assert MASK in shown[-1].steps[0].preview[0]
    assert not any("geheim" in repr(view) for view in shown)
    engine.close()
    dump = "\n".join(sqlite3.connect(tmp_path / "ledger.db").iterdump())
    assert "geheim" not in dump


async def test_facts_are_typed_and_missing_ones_are_told(engine: Engine, world: World) -> None:
    class Noting(Step):
        name = title = "note"

        async def run(self, run: StepRun) -> str | None:
            await run.note(number=5, names=["x"])
            assert run.fact("number", int) == 5
            assert run.need("names", list[str]) == ["x"]
            assert run.fact("nothing", str) is None
            with pytest.raises(OperationError, match="cannot be read"):
                run.fact("number", str)
            run.need("nothing", str)
            return None

    toy = Toy(world)
    toy.steps = [Noting()]
    view = await engine.run(toy, actor="x")
    assert "no note 'nothing'" in (view.text or "")


async def test_progress_has_rate_and_time_left(
    engine: Engine, world: World, shown: list[OperationView]
) -> None:
    class Moving(Step):
        name = title = "move"

        async def run(self, run: StepRun) -> str | None:
            for done in range(0, 60, 10):
                run.progress(done, 100, "bytes")
                await asyncio.sleep(0.06)
            return None

    toy = Toy(world)
    toy.steps = [Moving()]
    await engine.run(toy, actor="x")
    figures = [view.steps[0].progress for view in shown if view.steps[0].progress is not None]
    assert figures
    last = figures[-1]
    assert last.total == 100
    assert last.rate is not None
    assert last.rate > 0
    assert last.eta == pytest.approx((100 - last.done) / last.rate)


async def test_when_the_ledger_fails_before_the_step_of_no_return_nothing_is_kept(
    ledger: Ledger, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(ledger)
    broken = False
    real = ledger.write

    def write(operation: int, change: Change) -> None:
        if broken:
            raise LedgerError("disk full")
        real(operation, change)

    class Breaking(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            nonlocal broken
            text = await super().run(run)
            broken = True
            return text

    monkeypatch.setattr(ledger, "write", write)
    view = await engine.run(
        Toy(world, [ToyStep(world, "a"), Breaking(world, "b"), ToyStep(world, "commit")]), actor="x"
    )
    assert view.state is OperationState.FAILED
    assert world.effects() == set()
    broken = False
    entry = ledger.unfinished("c")
    assert entry is not None
    assert (await engine.recover(Toy(world, [ToyStep(world, n) for n in ("a", "b", "commit")]), entry)).state
    assert world.effects() == set()
    engine.close()


async def test_when_the_ledger_fails_at_the_step_of_no_return_the_rest_is_still_done(
    ledger: Ledger, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(ledger)
    broken = False
    real = ledger.write

    def write(operation: int, change: Change) -> None:
        if broken:
            raise LedgerError("disk full")
        real(operation, change)

    class Breaking(ToyStep):
        async def verify(self, run: StepRun) -> None:
            nonlocal broken
            broken = True

    monkeypatch.setattr(ledger, "write", write)
    steps = [ToyStep(world, "a"), Breaking(world, "commit"), ToyStep(world, "d")]
    view = await engine.run(Toy(world, steps), actor="x")
    assert view.state is OperationState.DONE
    assert world.effects() == {"a", "commit", "d"}
    engine.close()


async def test_a_stopped_worker_leaves_it_interrupted(engine: Engine, ledger: Ledger, world: World) -> None:
    running = asyncio.Event()

    class Endless(ToyStep):
        async def run(self, run: StepRun) -> str | None:
            self.world.put(self.name)
            running.set()
            await asyncio.Event().wait()
            return None

    toy = Toy(world, [ToyStep(world, "a"), Endless(world, "b"), ToyStep(world, "commit")])
    task = asyncio.create_task(engine.run(toy, actor="x"))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    entry = ledger.unfinished("c")
    assert entry is not None
    assert entry.state is OperationState.INTERRUPTED
    assert toy.closed == 1
    view = await engine.recover(toy, entry)
    assert view.state is OperationState.FAILED
    assert world.effects() == set()


async def test_what_cannot_be_opened_is_not_started(engine: Engine, ledger: Ledger, world: World) -> None:
    class Closed(Toy):
        async def open(self, run: StepRun) -> None:
            raise OperationError("no lock")

    view = await engine.run(Closed(world), actor="x")
    assert view.state is OperationState.FAILED
    assert "not started: no lock" in (view.text or "")
    assert ledger.unfinished("c") is None


async def test_an_operation_of_another_version_is_not_guessed_at(
    engine: Engine, ledger: Ledger, world: World
) -> None:
    steps = [ToyStep(world, "a", undo_fails=lambda: True), ToyStep(world, "b", fail="early")]
    await engine.run(Toy(world, steps), actor="x")
    entry = ledger.unfinished("c")
    assert entry is not None
    with pytest.raises(OperationError, match="another version"):
        await engine.recover(Toy(world), entry)


def test_a_file_that_is_no_ledger_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(path)


# Kills: the same program is killed at every transition, once just before and once just after the write


def run_toy(folder: Path, at: int, when: str, fail_at: str, recover: str = "run") -> int:
    done = subprocess.run(
        [sys.executable, toy_operation.__file__, str(folder), str(at), when, fail_at, recover],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fail_at", ["", "b", "commit"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_at_any_transition_it_ends_wholly_done_or_wholly_undone(
    tmp_path: Path, fail_at: str, when: str
) -> None:
    for at in range(100):
        folder = tmp_path / str(at)
        folder.mkdir()
        code = run_toy(folder, at, when, fail_at)
        world = World(folder / "world.json")
        ledger = Ledger(folder / "ledger.db")
        engine = Engine(ledger)
        entry = ledger.unfinished("c")
        if entry is not None:
            view = await engine.recover(Toy(world, fail_at=fail_at or None), entry)
            assert view.state in (OperationState.DONE, OperationState.FAILED)
            assert world.effects() == (ALL if view.state is OperationState.DONE else set()), (at, view)
        else:
            assert world.effects() in (ALL, set())
        assert ledger.unfinished("c") is None
        engine.close()
        ledger.close()
        if code == 0:
            assert at > 8, "it must have been killed at many transitions"
            return
    pytest.fail("it never outlived its kills")


@pytest.mark.timeout(600)
async def test_killed_again_while_recovering_it_still_ends_whole(tmp_path: Path) -> None:
    for first in (5, 7, 9):
        for second in range(100):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            assert run_toy(folder, first, "after", "d" if first == 9 else "") == -signal.SIGKILL
            code = run_toy(folder, second, "after", "", "recover")
            world = World(folder / "world.json")
            ledger = Ledger(folder / "ledger.db")
            engine = Engine(ledger)
            if (entry := ledger.unfinished("c")) is not None:
                await engine.recover(Toy(world), entry)
            assert world.effects() in (ALL, set())
            assert ledger.unfinished("c") is None
            engine.close()
            ledger.close()
            if code == 0:
                break


# Waiting


async def test_a_wait_ends_at_its_deadline_even_while_things_move() -> None:
    count = 0

    async def sample() -> int:
        nonlocal count
        count += 1
        return count

    with pytest.raises(DeadlineError, match="the moon"):
        await await_progress(
            sample,
            lambda _: False,
            what="the moon",
            deadline=0.2,
            no_progress=10,
            interval=0.01,
            clock=SystemClock(),
        )
    assert count > 1


async def test_only_progress_resets_the_other_timer() -> None:
    values = iter([1, 2, 3])
    last = 0

    async def sample() -> int:
        nonlocal last
        last = next(values, last)
        return last

    with pytest.raises(NoProgressError, match="no progress"):
        await await_progress(
            sample,
            lambda _: False,
            what="x",
            deadline=60,
            no_progress=0.1,
            interval=0.01,
            clock=SystemClock(),
        )
    assert last == 3


async def test_a_wait_returns_the_sample_that_was_waited_for() -> None:
    values = iter(range(10))

    async def sample() -> int:
        return next(values)

    seen: list[int] = []
    found = await await_progress(
        sample,
        lambda value: value == 4,
        what="x",
        deadline=60,
        interval=0.001,
        clock=SystemClock(),
        seen=seen.append,
    )
    assert (found, seen) == (4, [0, 1, 2, 3, 4])

"""The connection to the worker: found, lost, found again, started, refused."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support import console_states as states
from support.console_app import DEADLINE, NamedWorker, tell
from support.console_past import past_events
from support.console_story import CLUSTER, MONO, WALL, StillClock
from support.scripted import ScriptedWorker

from pfms_ha_tui.cluster.event import LagSample
from pfms_ha_tui.console import link as link_module
from pfms_ha_tui.console.app import Console
from pfms_ha_tui.console.link import Link, Start
from pfms_ha_tui.console.scene import LAG_WINDOW, Board, Phase, Scene
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.protocol import ClusterState


@dataclass
class Line:
    """A link at work."""

    link: Link
    board: Board
    clock: StillClock

    async def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, self.board
            await asyncio.sleep(0.01)


@asynccontextmanager
async def linked(socket: Path, start: Start | None = None, config: Path | None = None) -> AsyncIterator[Line]:
    board, clock = Board(), StillClock()
    link = Link(socket, board, lambda: None, start=start, clock=clock, longest_delay=0.3, config=config)
    task = asyncio.create_task(link.run())
    try:
        yield Line(link, board, clock)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def later(state: ClusterState, seconds: float) -> ClusterState:
    """The state as if every node had been seen again later."""
    nodes = []
    for node in state.snapshot.nodes:
        assert node.last_good is not None
        seen = replace(node.last_good, at=node.last_good.at + seconds, mono=node.last_good.mono + seconds)
        nodes.append(replace(node, last_good=seen, observation=seen))
    snapshot = replace(state.snapshot, mono=state.snapshot.mono + seconds, nodes=tuple(nodes))
    return replace(state, snapshot=snapshot)


async def test_a_worker_that_runs_is_followed_with_its_past(folder: Path) -> None:
    async with NamedWorker(folder / "w.sock") as worker:
        tell(worker, [states.healthy()])
        async with linked(folder / "w.sock") as line:
            await line.until(lambda: line.board.lags.get((CLUSTER, "node2")) and not line.link.busy)
            assert line.board.phase is Phase.UP
            assert line.board.welcome is not None
            assert line.board.welcome.pid == 4121
            assert [event.id for event in line.board.events[CLUSTER]] == [6, 5, 4, 3, 2, 1]
            assert CLUSTER in line.board.complete
            assert len(line.board.lags[(CLUSTER, "node2")]) > 500


async def test_every_state_adds_one_sample_of_lag_and_old_ones_go(folder: Path) -> None:
    async with NamedWorker(folder / "w.sock") as worker:
        worker.publish(states.healthy())
        worker.lag[(CLUSTER, "node2")] = [LagSample(at=WALL - LAG_WINDOW + 1, seconds=3, bytes=0)]
        async with linked(folder / "w.sock") as line:
            await line.until(lambda: len(line.board.lags.get((CLUSTER, "node2"), ())) == 2)
            worker.publish(later(states.healthy(), 1))
            await line.until(lambda: len(line.board.lags[(CLUSTER, "node2")]) == 3)
            worker.publish(later(states.healthy(), 1))
            worker.publish(later(states.lagging(), 2))
            await line.until(lambda: line.board.lags[(CLUSTER, "node2")][-1].seconds == 47)
            samples = line.board.lags[(CLUSTER, "node2")]
            assert [sample.seconds for sample in samples] == [3, 0, 0, 47], "the same look counts once"
            line.clock.forward(100)
            worker.publish(later(states.healthy(), 100))
            await line.until(lambda: line.board.lags[(CLUSTER, "node2")][-1].at == WALL + 100)
            assert line.board.lags[(CLUSTER, "node2")][0].seconds == 0, "the one before the window is gone"


async def test_a_node_that_does_not_answer_leaves_a_gap(folder: Path) -> None:
    async with NamedWorker(folder / "w.sock") as worker:
        worker.publish(states.healthy())
        async with linked(folder / "w.sock") as line:
            await line.until(lambda: line.board.lags.get((CLUSTER, "node2")))
            before = list(line.board.lags[(CLUSTER, "node2")])
            worker.publish(replace(states.healthy(), epoch=99))
            await line.until(lambda: line.board.clusters[CLUSTER].epoch == 99)
            assert line.board.lags[(CLUSTER, "node2")] == before


async def test_a_lost_worker_is_said_and_found_again(folder: Path) -> None:
    socket = folder / "w.sock"
    async with linked(socket) as line:
        async with NamedWorker(socket) as worker:
            tell(worker, [states.healthy()])
            await line.until(lambda: CLUSTER in line.board.clusters)
        await line.until(lambda: line.board.phase is Phase.LOST)
        assert CLUSTER in line.board.clusters, "what was known is kept"
        scene = Scene(line.board, line.board.clusters[CLUSTER], MONO + 12, WALL)
        assert scene.stale
        assert scene.data_age == pytest.approx(12)
        with pytest.raises(WorkerError):
            await line.link.node_details(CLUSTER, "node1")
        async with NamedWorker(socket) as worker:
            tell(worker, [later(states.healthy(), 30)])
            await line.until(lambda: line.board.clusters[CLUSTER].snapshot.mono == MONO + 30)
            assert line.board.phase is Phase.UP
            assert line.board.problem is None


async def test_a_cluster_that_left_the_settings_is_forgotten_with_the_next_worker(folder: Path) -> None:
    socket = folder / "w.sock"
    other = replace(states.healthy(), name="pandora-dr")
    async with linked(socket) as line:
        async with NamedWorker(socket) as worker:
            tell(worker, [states.healthy(), other])
            await line.until(lambda: len(line.board.clusters) == 2)
        async with NamedWorker(socket) as worker:
            tell(worker, [states.healthy()])
            await line.until(lambda: line.board.phase is Phase.UP and len(line.board.clusters) == 1)


async def test_no_worker_is_said_with_what_to_do(folder: Path) -> None:
    async with linked(folder / "w.sock", config=Path("a b.toml")) as line:
        await line.until(lambda: line.board.phase is Phase.FAILED)
        assert "no worker is running" in str(line.board.problem)
        assert "pfms-ha-tui worker --config 'a b.toml'" in str(line.board.problem)


async def test_a_worker_is_started_once_when_none_runs(folder: Path) -> None:
    socket = folder / "w.sock"
    worker = NamedWorker(socket)
    starts = 0

    async def start() -> None:
        nonlocal starts
        starts += 1
        await worker.server.start()
        tell(worker, [states.healthy()])

    async with linked(socket, start) as line:
        await line.until(lambda: CLUSTER in line.board.clusters)
        assert line.link.started
        await worker.server.close()
        await line.until(lambda: line.board.phase is Phase.LOST)
        await asyncio.sleep(0.5)
        assert starts == 1, "one that ended is not started again and again"


async def test_a_worker_that_cannot_be_started_is_one_sentence(folder: Path) -> None:
    async def start() -> None:
        raise WorkerError("the state folder is not writable", hint="chmod it")

    async with linked(folder / "w.sock", start) as line:
        await line.until(lambda: line.board.phase is Phase.FAILED)
        assert not line.link.started
        assert "no worker could be started: the state folder is not writable" in str(line.board.problem)


async def test_one_that_runs_is_never_started_beside(folder: Path) -> None:
    async def start() -> None:
        pytest.fail("started beside a running worker")

    async with ScriptedWorker(folder / "w.sock") as worker:
        worker.publish(states.healthy())
        async with linked(folder / "w.sock", start) as line:
            await line.until(lambda: CLUSTER in line.board.clusters)


async def test_older_events_are_fetched_until_there_are_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "EVENTS_AT_ONCE", 3)
    async with NamedWorker(folder / "w.sock") as worker:
        tell(worker, [states.healthy()])
        async with linked(folder / "w.sock") as line:
            await line.until(lambda: len(line.board.events.get(CLUSTER, ())) == 3)
            assert CLUSTER not in line.board.complete
            assert await line.link.older_events(CLUSTER)
            assert [event.id for event in line.board.events[CLUSTER]] == [6, 5, 4, 3, 2, 1]
            assert not await line.link.older_events(CLUSTER)
            assert CLUSTER in line.board.complete
            assert not await line.link.older_events(CLUSTER)


async def test_events_are_kept_once_and_newest_first(folder: Path) -> None:
    async with NamedWorker(folder / "w.sock") as worker:
        tell(worker, [states.healthy()])
        async with linked(folder / "w.sock") as line:
            await line.until(lambda: len(line.board.events.get(CLUSTER, ())) == 6)
            newest = replace(past_events()[-1], id=7)
            worker.server.publish_events([past_events()[-1], newest])
            await line.until(lambda: len(line.board.events[CLUSTER]) == 7)
            assert [event.id for event in line.board.events[CLUSTER]] == [7, 6, 5, 4, 3, 2, 1]


def test_a_state_is_stale_by_its_own_interval() -> None:
    board = Board(phase=Phase.UP)
    slow = replace(states.healthy(), interval=10.0)
    assert not Scene(board, slow, MONO + 29, WALL).stale
    assert Scene(board, slow, MONO + 31, WALL).stale
    assert Scene(board, states.healthy(), MONO + 6, WALL).stale
    assert not Scene(board, states.healthy(), MONO + 4, WALL).stale
    assert not Scene(board, None, MONO, WALL).stale


def test_a_demo_does_not_say_that_anything_keeps_running(folder: Path) -> None:
    words = Console(folder / "w.sock", demo=True)._worker_goes_on()
    assert words == "the demo ends: its cluster is removed, and its worker ends with it"
    assert "not connected" in Console(folder / "w.sock")._worker_goes_on()

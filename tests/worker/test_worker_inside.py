"""The whole worker in one event loop, over fake senses: what is wired to what."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.fake_senses import FakeSenses, settings

from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.config.settings import Settings, WorkerSettings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker import main as module
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.main import Worker, prepare_directories
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import (
    ClusterState,
    EventsQuery,
    LagQuery,
    NodeDetails,
    NodeQuery,
    Nothing,
    Rights,
)
from pfms_ha_tui.worker.server import Methods

DEADLINE = 20.0


@dataclass
class FakeHands:
    worker: Worker
    said: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    failing: bool = False

    def offer(self, methods: Methods) -> None:
        self.said.append("offer")
        methods.add("act", Nothing, self._act, rights=Rights.FULL)

    async def start(self) -> None:
        assert all(monitor.state is None for monitor in self.worker.monitors.values()), (
            "nothing is judged yet"
        )
        self.said.append("start")

    def decided(self, monitor: ClusterMonitor, decision: Decision) -> None:
        self.decisions.append(decision)

    def happened(self, event: Event) -> None:
        self.events.append(event.kind)

    async def stop(self, timeout: float) -> None:
        self.said.append("stop")
        if self.failing:
            raise ZeroDivisionError("a fault of ours")

    async def _act(self, peer: Peer, params: Nothing) -> list[str]:
        return [peer.actor]


class Running:
    """A worker, run as a task of the test's loop."""

    def __init__(self, directory: Path):
        self.settings = Settings(
            clusters=(settings(interval=0.05),),
            worker=WorkerSettings(
                state_dir=directory, socket=directory / "w.sock", log_file=directory / "worker.log"
            ),
            source=directory / "config.toml",
            warnings=("the config is readable by others",),
        )
        self.senses = FakeSenses()
        self.hands: list[FakeHands] = []
        self.ready = asyncio.Event()
        prepare_directories(self.settings.worker)
        self.worker = Worker(self.settings, self.senses, on_ready=self.ready.set, hands=self._make)
        self.task: asyncio.Task[int] | None = None

    def _make(self, worker: Worker) -> FakeHands:
        self.hands.append(FakeHands(worker))
        return self.hands[-1]

    async def start(self) -> None:
        self.task = asyncio.create_task(self.worker.run())
        async with asyncio.timeout(DEADLINE):
            await self.ready.wait()

    async def ended(self) -> int:
        assert self.task is not None
        async with asyncio.timeout(DEADLINE):
            return await self.task

    async def connect(self) -> WorkerClient:
        return await WorkerClient.connect(self.settings.worker.socket)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    one = Running(tmp_path / "state")
    yield one
    if one.task is not None and not one.task.done():
        one.worker.stop("the test is over")
        await one.ended()


async def test_decisions_events_and_methods_go_through_the_hands(running: Running) -> None:
    await running.start()
    (hands,) = running.hands
    async with await running.connect() as client, asyncio.timeout(DEADLINE):
        assert await client.call("act", result=list[str]) == [client.welcome.actor]
        while not hands.decisions:  # noqa: ASYNC110 - decisions come by callback
            await asyncio.sleep(0.01)
        await client.call("stop")
    assert await running.ended() == 0
    assert hands.said == ["offer", "start", "stop"]
    assert hands.events[0] == "worker_started"
    assert hands.events[-1] == "worker_stopped"


async def test_hands_that_fail_at_the_end_do_not_keep_the_rest_from_ending(running: Running) -> None:
    await running.start()
    running.hands[0].failing = True
    running.worker.stop("test")
    assert await running.ended() == 0
    assert not running.settings.worker.socket.exists()


async def test_every_method_of_the_protocol_answers(running: Running) -> None:
    await running.start()
    async with await running.connect() as client:
        assert client.welcome.clusters == ("pandora",)
        assert client.welcome.config == str(running.settings.source)
        async with asyncio.timeout(DEADLINE):
            while not (states := await client.call("state", result=list[ClusterState])):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert states[0].notes == ("the config is readable by others",)
        events = await client.call("events", EventsQuery(limit=5), list[Event])
        assert events[-1].kind == "worker_started"
        assert await client.call("lag", LagQuery(cluster="pandora", node="x", since=0), list[LagSample]) == []
        details = await client.call("node", NodeQuery(cluster="pandora", node="node2"), NodeDetails)
        assert details.node == "node2"
        with pytest.raises(WorkerError, match="there is no node 'x' in pandora"):
            await client.call("node", NodeQuery(cluster="pandora", node="x"), NodeDetails)
        with pytest.raises(WorkerError, match="there is no cluster 'x'"):
            await client.call("node", NodeQuery(cluster="x", node="x"), NodeDetails)


async def test_stop_by_a_person_is_told_with_the_name(running: Running) -> None:
    await running.start()
    async with await running.connect() as client:
        actor = client.welcome.actor
        await client.call("stop")
    await running.ended()
    assert running.worker._why == f"{actor} asked for it"


async def test_sigterm_stops_it(running: Running) -> None:
    await running.start()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running.ended() == 0


async def test_a_rival_manager_is_told_and_refuses_automatic(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_rival", lambda: "pandora_ha runs on this host as process 77")
    await running.start()
    async with await running.connect() as client, asyncio.timeout(DEADLINE):
        while True:
            states = await client.call("state", result=list[ClusterState])
            if states and states[0].rival_manager is not None:
                break
            await asyncio.sleep(0.01)
        assert states[0].rival_manager == "pandora_ha runs on this host as process 77"
        armed = next(guard for guard in states[0].readiness.guards if guard.key == "armed")
        assert armed.ok is False
        assert "pandora_ha" in armed.reason
        events = await client.call("events", EventsQuery(), list[Event])
        assert [event.kind for event in events].count("rival_manager") == 1


async def test_a_fault_in_a_callback_is_told_without_its_text(running: Running) -> None:
    await running.start()

    def breaks() -> None:
        raise ZeroDivisionError("inner text")

    asyncio.get_running_loop().call_soon(breaks)
    async with await running.connect() as client, asyncio.timeout(DEADLINE):
        while True:
            events = await client.call("events", EventsQuery(), list[Event])
            if any(event.kind == "worker_fault" for event in events):
                break
            await asyncio.sleep(0.01)
    (told,) = [event for event in events if event.kind == "worker_fault"]
    assert "inner text" not in told.text


async def test_a_taken_socket_ends_the_start_with_one_sentence(running: Running, tmp_path: Path) -> None:
    await running.start()
    other = Running(tmp_path / "other")
    other.settings = replace(
        other.settings, worker=replace(other.settings.worker, socket=running.settings.worker.socket)
    )
    other.worker = Worker(other.settings, other.senses)
    with pytest.raises(WorkerError, match="another worker listens"):
        await other.worker.run()
    async with await running.connect():
        pass

"""Orders of people over fake senses: what waits for its turn, and is asked again then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from support.fake_senses import DEADLINE, Watched, settings
from support.toy_operation import Toy, ToyStep, World

from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.snapshot import Role
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import OperationError, WorkerError
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.view import OperationView
from pfms_ha_tui.worker.conductor import ClusterHands
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.ledger_watch import LedgerWatch
from pfms_ha_tui.worker.orders import Orders
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import Cancel, EventsQuery, Order, OrderKind, Plan, Rights, Start
from pfms_ha_tui.worker.server import Methods


class Held(ToyStep):
    """Goes on when it is let."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "held")
        self.let = asyncio.Event()

    async def run(self, run: StepRun) -> str | None:
        await self.let.wait()
        return None


@dataclass
class Desk:
    """Where orders are taken for a watched pair."""

    watched: Watched
    hands: ClusterHands
    methods: Methods
    held: Held

    async def occupy(self) -> None:
        """An operation runs until its step is let go."""
        toy = Toy(self.held.world, [self.held])
        toy.cluster = self.watched.cluster.name
        await self.hands.ordered(toy, actor="carol")  # type: ignore[arg-type]
        assert self.hands.busy

    async def resync(
        self, label: str, planned: str | None = None, method: CloneMethod | None = None
    ) -> object:
        """A person orders a resync, of which a plan was shown."""
        order = Order(cluster="pandora", kind=OrderKind.CLONE, target=label, method=method)
        return await self.call("start", Start(order=order, confirm=label, planned=planned))

    async def call(self, method: str, params: object) -> object:
        """As a person does."""
        peer = Peer(pid=1, uid=os.geteuid(), actor="carol", rights=Rights.FULL)
        return await self.methods.call(peer, method, msgspec.Raw(msgspec.json.encode(params)))

    async def plan(self, label: str) -> Plan:
        """What a resync would do."""
        order = Order(cluster="pandora", kind=OrderKind.CLONE, target=label)
        plan = await self.call("plan", order)
        assert isinstance(plan, Plan)
        return plan

    async def event(self, kind: str, about: str = "") -> Event:
        """The newest event of a kind, once there is one."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for event in await self.watched.memory.journal.events(EventsQuery()):
                    if event.kind == kind and about in event.text:
                        return event
                await asyncio.sleep(0.01)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched = Watched(settings(), journal)
    ledger = Ledger(tmp_path / "operations.db")
    hands = ClusterHands(watched.monitor, ledger, archives=tmp_path / "archive")
    methods = Methods()
    orders = Orders(ledger, {watched.monitor.name: hands})
    orders.offer(methods)
    watched.monitor._on_decision = lambda _, decision: hands.decided(decision)
    desk = Desk(watched, hands, methods, Held(World(tmp_path / "world.json")))
    await watched.healthy()
    yield desk
    desk.held.let.set()
    await watched.monitor.stop(1.0)
    await orders.stop(1.0)
    await journal.close()


async def test_a_resync_that_waited_is_refused_when_its_node_has_become_the_master(desk: Desk) -> None:
    await desk.occupy()
    planned = await desk.resync("node2")
    assert isinstance(planned, OperationView)
    assert "waits for its turn" in (await desk.event("operation_queued")).text
    watched = desk.watched
    # a failover took place meanwhile, and node1 follows node2
    watched.tell(watched.master("node2"), watched.down("node1"))
    await watched.until(lambda state: state.snapshot.node("node2").role is Role.MASTER)  # type: ignore[union-attr]
    desk.held.let.set()
    refused = await desk.event("operation_failed")
    assert "the resync of node2 did not begin" in refused.text
    assert [view.kind for view in await desk.hands.past(9)] == ["toy"]


async def test_a_resync_that_waited_begins_when_its_turn_comes(desk: Desk) -> None:
    await desk.occupy()
    await desk.resync("node2")
    desk.held.let.set()
    begun = await desk.event("operation_started", "resync of node2 from node1")
    assert begun.actor == "carol"


async def test_a_resync_that_waited_keeps_its_source_although_another_one_would_be_chosen_now(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.occupy()
    await desk.resync("node2")
    # a healthy slave came up meanwhile: the worker would choose it as the source
    monkeypatch.setattr(desk.hands.builder, "_source", lambda *_: "node3")
    desk.held.let.set()
    await desk.event("operation_started", "resync of node2 from node1")


async def test_a_resync_that_waited_takes_another_source_when_the_planned_one_is_gone_and_tells_it(
    desk: Desk,
) -> None:
    builder = desk.hands.builder
    order = Order(cluster="pandora", kind=OrderKind.CLONE, target="node2")
    allowed = builder.allowed(order, "resync of node2 from node3", source="node3")
    assert allowed.title == "resync of node2 from node1"
    told = await desk.event("operation_changed")
    assert "node3 will not do any more" in told.text
    assert "resync of node2 from node1" in told.text
    with pytest.raises(OperationError, match="by now it would be"):
        builder.allowed(replace(order, source="node1"), "resync of node2 from node3", source="node3")
    with pytest.raises(OperationError, match=r"node3 \(staged\); by now it would be the .* node3 \("):
        builder.allowed(order, "resync of node2 from node3 (staged)", source="node3")


async def test_the_method_that_was_named_is_part_of_what_was_shown(desk: Desk) -> None:
    with pytest.raises(OperationError, match=r"node1 \(staged\); by now it would be .* \(stream\)") as it:
        await desk.resync("node2", "resync of node2 from node1 (staged)", CloneMethod.STREAM)
    assert it.value.code == "changed"


async def test_a_resync_that_waits_can_be_cancelled(desk: Desk) -> None:
    await desk.occupy()
    await desk.resync("node2")
    with pytest.raises(OperationError, match="no resync of node1 waits") as it:
        await desk.call("cancel", Cancel(cluster="pandora", queued="node1"))
    assert "node2" in (it.value.hint or "")
    await desk.call("cancel", Cancel(cluster="pandora", queued="node2"))
    assert "did not begin: carol cancelled it" in (await desk.event("operation_cancelled")).text
    assert "node2" not in desk.watched.memory.resyncs
    desk.held.let.set()
    await desk.event("operation_done")
    await desk.watched.until(lambda _: not desk.hands.busy)
    assert [view.kind for view in await desk.hands.past(9)] == ["toy"]


async def test_a_cancel_of_nothing_in_particular_is_refused(desk: Desk) -> None:
    with pytest.raises(WorkerError, match="neither an operation nor a node is named"):
        await desk.call("cancel", Cancel(cluster="pandora"))
    with pytest.raises(OperationError, match="operation 7 is not running"):
        await desk.call("cancel", Cancel(cluster="pandora", id=7))


async def test_a_resync_that_still_waits_when_the_worker_stops_is_told_to_be_forgotten(desk: Desk) -> None:
    await desk.occupy()
    await desk.resync("node2")
    desk.held.let.set()
    await desk.hands.stop(DEADLINE)
    assert "the worker stopped first" in (await desk.event("operation_failed")).text


async def test_what_is_more_urgent_goes_before_a_resync_that_waits(desk: Desk) -> None:
    await desk.occupy()
    await desk.resync("node2")
    watched = desk.watched
    await watched.until(lambda state: state.snapshot.node("node2").sync.state == "queued")  # type: ignore[union-attr]
    urgent = Decision(action=Action.LOCK, reason="node2 came back writable", target="node2", master="node1")
    watched.monitor._on_decision = lambda _, __: desk.hands.decided(urgent)
    desk.held.let.set()
    await desk.event("operation_started", "lock node2")
    state = await watched.until(lambda state: state.operation is not None and state.operation.kind == "lock")
    assert state.snapshot.node("node2").sync.state == "queued"  # type: ignore[union-attr]


@pytest.mark.parametrize("due", [Action.FAILOVER, Action.LOCK])
async def test_a_resync_that_waits_does_not_begin_while_what_is_due_is_blocked(
    desk: Desk, due: Action
) -> None:
    await desk.occupy()
    await desk.resync("node2")
    blocked = Decision(action=Action.NONE, reason="blocked", proposal=due, blocked_by=("no verdict yet",))
    after: list[bool] = []

    def decide(_: object, __: Decision) -> None:
        if not desk.hands.busy:
            after.append(True)
        desk.hands.decided(blocked)

    monitor = desk.watched.monitor
    monitor._on_decision = decide
    desk.held.let.set()
    async with asyncio.timeout(DEADLINE):
        while len(after) < 3:
            monitor.judge_soon()
            await asyncio.sleep(0.01)
    assert [view.kind for view in await desk.hands.past(9)] == ["toy"]
    monitor._on_decision = lambda _, decision: desk.hands.decided(decision)
    monitor.judge_soon()
    await desk.event("operation_started", "resync of node2 from node1")


async def test_a_ledger_that_is_moved_away_turns_the_readiness_red_and_is_told_once(
    desk: Desk, tmp_path: Path
) -> None:
    watch = LedgerWatch(desk.hands._ledger, [desk.watched.memory])
    await watch.look()
    (tmp_path / "operations.db").rename(tmp_path / "elsewhere.db")
    for _ in range(2):
        await watch.look()
    desk.watched.monitor.judge_soon()
    state = await desk.watched.until(
        lambda state: any("operations.db was moved away" in guard.reason for guard in state.readiness.guards)
    )
    assert not state.readiness.ready
    assert (await desk.watched.kinds()).count("ledger_failing") == 1
    (tmp_path / "elsewhere.db").rename(tmp_path / "operations.db")
    await watch.look()
    await desk.event("ledger_recovered")
    assert desk.watched.memory.ledger_fault is None


async def test_a_resync_of_a_node_whose_rows_are_not_merged_says_that_they_go(desk: Desk) -> None:
    await desk.watched.until(lambda state: state.diagnosis.master == "node1")
    assert not any("Merge it first" in told for told in (await desk.plan("node2")).impact)
    desk.watched.memory.set_diverged("node2", "its rows are not merged yet")
    assert any("Merge it first" in told for told in (await desk.plan("node2")).impact)


async def test_a_dead_master_that_would_be_rebuilt_may_hold_what_nobody_else_has(desk: Desk) -> None:
    watched = desk.watched
    assert len((await desk.plan("node2")).impact) == 2
    watched.tell(watched.master("node2"), watched.down("node1"))
    await watched.until(lambda state: state.diagnosis.master == "node2")
    assert any("node1 was the master until it died" in told for told in (await desk.plan("node1")).impact)


async def test_what_would_be_another_operation_than_the_one_that_was_shown_is_not_begun(desk: Desk) -> None:
    await desk.occupy()
    other = r"was the resync of node2 from node9; by now .* from node1"
    with pytest.raises(OperationError, match=other) as it:
        await desk.resync("node2", planned="resync of node2 from node9")
    assert it.value.code == "changed"
    await desk.resync("node2", planned=(await desk.plan("node2")).operation.title)
    await desk.event("operation_queued", "node2")

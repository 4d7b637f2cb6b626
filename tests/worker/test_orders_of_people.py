"""What a person orders over fake senses: refusals say what is wrong, plans say what is run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from support.fake_senses import Watched, settings

from pfms_ha_tui.errors import OperationError, WorkerError
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.worker.conductor import ClusterHands
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.orders import Orders
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import NodeQuery, Order, OrderKind, Pause, Plan, Rights
from pfms_ha_tui.worker.server import Methods


@dataclass
class Counter:
    """A healthy pair, and the methods of its worker."""

    watched: Watched
    methods: Methods

    async def call(self, method: str, params: object) -> object:
        """As a person does."""
        peer = Peer(pid=1, uid=os.geteuid(), actor="carol", rights=Rights.FULL)
        return await self.methods.call(peer, method, msgspec.Raw(msgspec.json.encode(params)))


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched = Watched(settings(), journal)
    ledger = Ledger(tmp_path / "operations.db")
    methods = Methods()
    hands = ClusterHands(watched.monitor, ledger, archives=tmp_path / "archive")
    orders = Orders(ledger, {watched.monitor.name: hands})
    orders.offer(methods)
    await watched.healthy()
    yield Counter(watched, methods)
    await watched.monitor.stop(1.0)
    await orders.stop(1.0)
    await journal.close()


async def test_a_slave_is_not_named_the_master_beside_one_that_takes_writes(counter: Counter) -> None:
    with pytest.raises(OperationError, match="node1 takes writes and is the master"):
        await counter.call("name_master", NodeQuery(cluster="pandora", node="node2"))
    assert "master_named" not in await counter.watched.kinds()
    await counter.call("name_master", NodeQuery(cluster="pandora", node="node1"))
    assert "master_named" in await counter.watched.kinds()


async def test_one_of_two_that_take_writes_is_named(counter: Counter) -> None:
    counter.watched.tell(counter.watched.master(), counter.watched.master("node2"))
    await counter.watched.until(lambda state: all(node.writable for node in state.snapshot.nodes))
    await counter.call("name_master", NodeQuery(cluster="pandora", node="node2"))
    assert "master_named" in await counter.watched.kinds()


async def test_a_node_that_does_not_exist_is_answered_with_those_that_do(counter: Counter) -> None:
    with pytest.raises(WorkerError) as refused:
        await counter.call("name_master", NodeQuery(cluster="pandora", node="node9"))
    assert "node1, node2" in (refused.value.hint or "")


async def test_a_pause_of_nothing_is_told_why_it_is_none(counter: Counter) -> None:
    with pytest.raises(WorkerError, match="longer than nothing"):
        await counter.call("pause", Pause(cluster="pandora", seconds=0))


@pytest.mark.parametrize(("gtid", "words"), [(False, "AUTO_POSITION = 0"), (True, "AUTO_POSITION = 1")])
async def test_the_plan_of_a_switchover_follows_as_the_slaves_do(
    counter: Counter, gtid: bool, words: str
) -> None:
    slave = counter.watched.slave()
    assert slave.facts is not None
    assert slave.facts.replication is not None
    channels = tuple(replace(channel, gtid=gtid) for channel in slave.facts.replication)
    counter.watched.tell(replace(slave, facts=replace(slave.facts, replication=channels, uptime=2000)))
    await counter.watched.until(
        lambda state: any(
            node.facts is not None and node.facts.uptime == 2000 for node in state.snapshot.nodes
        )
    )
    order = Order(cluster="pandora", kind=OrderKind.SWITCHOVER, target="node2")
    plan = await counter.call("plan", order)
    assert isinstance(plan, Plan)
    preview = "\n".join(line for step in plan.operation.steps for line in step.preview)
    assert words in preview
    assert ("LOG_POS" in preview) is not gtid

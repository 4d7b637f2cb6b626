"""Plans are bounded: one for each client, a few in all, each for a limited time; and by what a client may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from support.fake_senses import Watched, settings

from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.merge.operation import MergeBack
from pfms_ha_tui.worker import orders as module
from pfms_ha_tui.worker.conductor import ClusterHands
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.orders import Orders
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.planning import Planning
from pfms_ha_tui.worker.protocol import Order, OrderKind, Plan, Rights
from pfms_ha_tui.worker.server import Methods

DEADLINE = 20.0
LOOKER = Peer(pid=7, uid=7, actor="dave", rights=Rights.READ)


async def ready(number: int = 1) -> int:
    return number


async def test_a_newer_question_of_the_same_client_takes_the_place_of_the_one_before() -> None:
    planning, never = Planning(), asyncio.Event()
    first = asyncio.create_task(planning.ask("console", never.wait, within=DEADLINE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await planning.ask("console", ready, within=DEADLINE) == 1
    with pytest.raises(WorkerError) as caught:
        await first
    assert caught.value.code == "superseded"


async def test_only_so_many_are_made_at_a_time_and_each_ends() -> None:
    planning, gate = Planning(most=2), asyncio.Event()
    waiting = [asyncio.create_task(planning.ask(name, gate.wait, within=DEADLINE)) for name in ("a", "b")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(WorkerError, match="too many"):
        await planning.ask("c", ready, within=DEADLINE)
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await planning.ask("c", ready, within=DEADLINE) == 1
    with pytest.raises(WorkerError, match="did not answer within"):
        await planning.ask("c", asyncio.Event().wait, within=0.01)


async def test_a_thread_that_cannot_be_stopped_keeps_its_place() -> None:
    planning, release = Planning(most=2), threading.Event()

    async def stuck() -> bool:
        return await planning.thread(lambda: release.wait(DEADLINE), name="stuck")

    with pytest.raises(WorkerError, match="did not answer within"):
        await planning.ask("a", stuck, within=0.05)
    with pytest.raises(WorkerError, match="did not answer within"):
        await planning.ask("a", stuck, within=0.05)
    with pytest.raises(WorkerError, match="too many"):
        await planning.ask("a", ready, within=DEADLINE)
    release.set()
    async with asyncio.timeout(DEADLINE):
        while planning._held:  # noqa: ASYNC110 - threads end by themselves
            await asyncio.sleep(0.01)
    assert await planning.ask("a", ready, within=DEADLINE) == 1


@pytest.fixture
async def methods(tmp_path: Path) -> AsyncIterator[Methods]:
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched, ledger = Watched(settings(), journal), Ledger(tmp_path / "operations.db")
    hands = ClusterHands(watched.monitor, ledger, archives=tmp_path / "archive")
    orders, offered = Orders(ledger, {watched.monitor.name: hands}), Methods()
    orders.offer(offered)
    await watched.healthy()
    yield offered
    await watched.monitor.stop(1.0)
    await orders.stop(1.0)
    await journal.close()


async def planned(methods: Methods, peer: Peer, order: Order) -> Plan:
    plan = await methods.call(peer, "plan", msgspec.Raw(msgspec.json.encode(order)))
    assert isinstance(plan, Plan)
    return plan


async def test_for_who_may_only_look_no_node_is_asked_and_no_file_is_read(
    methods: Methods, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def loss(*_: object) -> object:
        asked.append("loss")
        return SimpleNamespace(sentence=lambda: "3 transactions")

    def direction(_: MergeBack) -> str:
        asked.append("direction")
        return "looks wrong"

    monkeypatch.setattr("pfms_ha_tui.worker.impact.measure_loss", loss)
    monkeypatch.setattr(MergeBack, "why_wrong_way", direction)
    failover = Order(cluster="pandora", kind=OrderKind.FAILOVER)
    merge = Order(cluster="pandora", kind=OrderKind.MERGE, target="node2", into="node1", start="@1", end="@2")
    told = await planned(methods, LOOKER, failover)
    assert "full rights only" in told.impact[0]
    assert (await planned(methods, LOOKER, merge)).warning is None
    for option in ("resume", "restore", "undo"):
        saved = Order(cluster="pandora", kind=OrderKind.MERGE, **{option: str(tmp_path)})  # type: ignore[arg-type]
        with pytest.raises(WorkerError) as caught:
            await planned(methods, LOOKER, saved)
        assert caught.value.code == "denied"
    assert asked == []

    carol = replace(LOOKER, rights=Rights.FULL)
    assert (await planned(methods, carol, failover)).impact[0] == "3 transactions"
    assert (await planned(methods, carol, merge)).warning == "looks wrong"
    assert asked == ["loss", "direction"]


async def test_a_plan_that_a_silent_node_holds_up_ends(
    methods: Methods, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(module, "PLAN_WITHIN", 0.05)
    monkeypatch.setattr(MergeBack, "why_wrong_way", lambda _: cast(None, release.wait(DEADLINE)))
    merge = Order(cluster="pandora", kind=OrderKind.MERGE, target="node2", into="node1", start="@1", end="@2")
    with pytest.raises(WorkerError, match="did not answer within"):
        await planned(methods, replace(LOOKER, rights=Rights.FULL), merge)
    release.set()

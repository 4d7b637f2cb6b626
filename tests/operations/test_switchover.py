"""Switchover on real servers: no row lost, all undone on failure, refused with reasons."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.operating import Surgery, all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError, SandboxError
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.roles import Promote
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.switchover import (
    LockMaster,
    PromoteTarget,
    ReachMaster,
    Switchover,
    SwitchoverParams,
)
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

pytestmark = pytest.mark.timeout(300)


def switchover(kit: Surgery, master: str = "node1", target: str = "node2", **more: object) -> Switchover:
    operation = rebuild("switchover", {"master": master, "target": target, **more}, kit.context)
    assert isinstance(operation, Switchover)
    return operation


def step_of(view: OperationView, name: str) -> StepState:
    return next(step.state for step in view.steps if step.name == name)


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
async def test_every_acknowledged_row_is_on_every_node_afterwards(
    flavor: Flavor, gtid: bool, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, gtid=gtid, nodes=3, writer_rate=200))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await sandbox.writer.wait_for_rows(100)
        view = await kit.engine.run(switchover(kit, others=["node3"]), actor="carol")
        assert view.state is OperationState.DONE, view
        await sandbox.writer.wait_for_rows(100)
        back = await kit.engine.run(switchover(kit, "node2", "node3", others=["node1"]), actor="carol")
        assert back.state is OperationState.DONE, back
        await sandbox.writer.wait_for_rows(50)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2, node3)
        assert [await is_writable(node) for node in sandbox.nodes] == [False, False, True]
        assert await follows(node1, node3)
        assert await follows(node2, node3)
        assert sandbox.hosts_file.read_text() == f"{node3.host}\n"
        assert [call.split()[-1] for _, call in sandbox.restarts()] == [node2.host, node3.host]
        entry = kit.ledger.entry(view.id)
        assert entry is not None
        assert 0 < float(entry.facts["pause"]) < 30
        newest = kit.context.records.newest()
        assert newest is not None
        assert (newest.epoch, newest.master, newest.old_master) == (2, "node3", "node2")
        assert kit.context.records.last_failover_at() is None
        events = await node3.sql(
            "SELECT evento, event_type FROM tevento WHERE id_extra LIKE 'pfms-ha-%%' ORDER BY id_evento",
            database="pandora",
        )
        assert "node2&#x20;is&#x20;MASTER&#x20;in&#x20;place&#x20;of&#x20;node1" in str(events[1]["evento"])
        assert {row["event_type"] for row in events} == {"system"}


@pytest.mark.parametrize("where", ["lock", "reach", "detach", "promote"])
async def test_a_failure_before_the_promotion_undoes_everything(
    flavor: Flavor, where: str, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        operation = switchover(kit)
        step = next(step for step in operation.steps if step.name == where)
        real = step.run

        async def fail_late(run: StepRun) -> str | None:
            await real(run)
            raise OperationError("a fault made for this test")

        monkeypatch.setattr(step, "run", fail_late)
        await sandbox.writer.wait_for_rows(50)
        view = await kit.engine.run(operation, actor="carol")
        assert view.state is OperationState.FAILED, view
        assert "everything was undone" in (view.text or "")
        assert await is_writable(node1)
        assert not await is_writable(node2)
        await until(lambda: follows(node2, node1), "node2 follows node1 again")
        await sandbox.writer.wait_for_rows(50)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        assert not kit.context.records.marks()
        # and it works afterwards
        await sandbox.writer.resume()
        again = await kit.engine.run(switchover(kit), actor="carol")
        assert again.state is OperationState.DONE, again


async def test_the_undone_promotion_leaves_the_master_with_the_newest_epoch(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        operation = switchover(kit)

        async def not_really(self: Promote, run: StepRun) -> None:
            raise OperationError("a fault made for this test")

        monkeypatch.setattr(PromoteTarget, "verify", not_really)
        view = await kit.engine.run(operation, actor="carol")
        assert view.state is OperationState.FAILED
        newest = kit.context.records.newest()
        assert newest is not None
        assert (newest.master, newest.epoch) == ("node1", 2)
        link = switchover(kit)
        carried = await link.epoch_on("node1")
        assert carried is not None
        assert carried.epoch == 2
        await link.close()


async def test_a_writer_that_ignores_read_only_makes_it_fail_and_loses_nothing(
    sandbox_factory: Factory, tmp_path: Path
) -> None:
    """MariaDB's administrators write in spite of read_only: the master never stands still."""
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB, writer=False))
    node1, node2 = sandbox.nodes
    stop = False

    async def stubborn() -> None:
        while not stop:
            with contextlib.suppress(SandboxError):
                await node1.sql(
                    "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (1, 1, 1)",
                    database="pandora",
                )

    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        kit.context = kit.with_limits(pause=1.0)
        writers = [asyncio.create_task(stubborn()) for _ in range(3)]
        view = await kit.engine.run(switchover(kit), actor="carol")
        stop = True
        await asyncio.gather(*writers)
        assert view.state is OperationState.FAILED, view
        assert step_of(view, "promote") in (StepState.WAITING, StepState.UNDONE, StepState.FAILED)
        assert await is_writable(node1)
        assert not await is_writable(node2)


async def test_everything_that_speaks_against_it_is_named_at_once(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1, node2 = sandbox.nodes

    def nowhere(cluster: ClusterSettings) -> ClusterSettings:
        return replace(cluster, pandora=replace(cluster.pandora, hosts_file=tmp_path / "no" / "hosts.conf"))

    async with surgery(sandbox, tmp_path / "ledger.db", change=nowhere) as kit:
        await node2.sql("STOP REPLICA SQL_THREAD")
        view = await kit.engine.run(switchover(kit), actor="carol")
        assert view.state is OperationState.FAILED
        text = view.text or ""
        assert "node2 does not apply" in text
        assert "hosts file could not be written" in text
        assert await is_writable(node1)
        dry = await kit.engine.run(switchover(kit), actor="carol", dry_run=True)
        assert dry.state is OperationState.FAILED
        assert "node2 does not apply" in (dry.steps[0].text or "")


async def test_a_long_transaction_is_not_killed_unless_told_to(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node2 = sandbox.node("node2")
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        kit.context = kit.with_limits(long_transaction=1.0)
        helper = switchover(kit)
        link = await helper.link("node1")
        await link.execute("START TRANSACTION")
        await link.execute("UPDATE tagente SET comentarios = 'x' WHERE id_agente = 1")
        await asyncio.sleep(2.1)
        view = await kit.engine.run(switchover(kit), actor="carol")
        assert view.state is OperationState.FAILED
        assert "transaction open for" in (view.text or "")
        assert not await is_writable(node2)
        forced = await kit.engine.run(switchover(kit, kill_long=True), actor="carol")
        assert forced.state is OperationState.DONE, forced
        assert await is_writable(node2)
        await helper.close()


async def test_a_target_that_dies_in_the_pause_leaves_the_master_open(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1, node2 = sandbox.nodes
    real = ReachMaster.run

    async def die(self: ReachMaster, run: StepRun) -> str | None:
        node2.kill()
        await node2.wait_gone()
        return await real(self, run)

    monkeypatch.setattr(ReachMaster, "run", die)
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await kit.engine.run(switchover(kit), actor="carol")
        assert view.state is OperationState.FAILED, view
        assert await is_writable(node1)
        await sandbox.writer.wait_for_rows(20)


async def test_a_target_that_dies_while_it_is_opened_is_fenced_before_the_master_is_opened(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell whether it was opened: only the proof that its process is gone lets the master open."""
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1, node2 = sandbox.nodes

    async def freeze(self: PromoteTarget, run: StepRun) -> None:
        node2.freeze()
        raise OperationError("its connection is lost in the middle of it")

    monkeypatch.setattr(PromoteTarget, "verify", freeze)
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await kit.shells["node2"].run("true", timeout=20)
        view = await kit.engine.run(switchover(kit), actor="carol")
        assert view.state is OperationState.FAILED, view
        assert not node2.running, "it was writable and frozen: it must not come back so"
        assert await is_writable(node1)


async def test_a_master_that_dies_in_the_pause_does_not_block_the_cluster(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1, node2 = sandbox.nodes
    real = LockMaster.run

    async def die(self: LockMaster, run: StepRun) -> str | None:
        text = await real(self, run)
        node1.kill()
        await node1.wait_gone()
        return text

    monkeypatch.setattr(LockMaster, "run", die)
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await kit.engine.run(switchover(kit), actor="carol")
        assert view.state is OperationState.FAILED, view
        assert kit.ledger.unfinished(kit.cluster.name) is None
        assert not await is_writable(node2)
        failover = rebuild("failover", {"old_master": "node1", "candidates": ["node2"]}, kit.context)
        rescued = await kit.engine.run(failover, actor="worker")
        assert rescued.state is OperationState.DONE, rescued
        assert await is_writable(node2)


async def test_two_workers_never_change_the_same_cluster(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    """Each has a ledger of its own, as on two hosts: the servers' own lock decides."""
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    async with surgery(sandbox, tmp_path / "one.db") as one, surgery(sandbox, tmp_path / "two.db") as two:
        views = await asyncio.gather(
            one.engine.run(switchover(one), actor="worker"), two.engine.run(switchover(two), actor="worker")
        )
        assert sorted(view.state for view in views) == [OperationState.DONE, OperationState.FAILED], views
        assert [await is_writable(node) for node in sandbox.nodes] == [False, True]


def test_parameters_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(OperationError, match="no operation of the kind 'dance'"):
        rebuild("dance", {}, None)  # type: ignore[arg-type]
    with pytest.raises(OperationError, match="master"):
        rebuild("switchover", {"target": "node2"}, None)  # type: ignore[arg-type]
    assert SwitchoverParams(master="a", target="b").others == ()

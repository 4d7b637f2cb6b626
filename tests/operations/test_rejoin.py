"""A returned old master on real servers: locked, compared, and a slave only if it has nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.operating import Surgery, all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.divergence import Survey
from pfms_ha_tui.operations.records import Mark, MarkKind
from pfms_ha_tui.operations.rejoin import Compare, FollowAgain
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

pytestmark = pytest.mark.timeout(300)

INSERT = (
    "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (999999, 1, 1), (999999, 2, 2)"
)

COUNT = "SELECT count(*) FROM tagente_datos"


async def fail_over(kit: Surgery, *, kill: bool = True) -> None:
    """node1 dies and node2 takes over; nothing is written at that time, so that nothing is lost."""
    node1, node2 = kit.sandbox.nodes
    await kit.sandbox.writer.wait_for_rows(30)
    await kit.sandbox.writer.pause()
    await all_rows_on(kit.sandbox, node2)
    if kill:
        node1.kill()
        await node1.wait_gone()
    params = {"old_master": "node1", "candidates": ["node2"], "by_person": True}
    view = await kit.engine.run(rebuild("failover", params, kit.context), actor="worker")
    assert view.state is OperationState.DONE, view
    await kit.sandbox.writer.resume()
    await kit.sandbox.writer.wait_for_rows(20)


async def rejoin(kit: Surgery) -> OperationView:
    operation = rebuild("rejoin", {"node": "node1", "master": "node2"}, kit.context)
    return await kit.engine.run(operation, actor="worker")


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
async def test_an_old_master_with_nothing_more_follows_the_new_one(
    flavor: Flavor, gtid: bool, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(flavor=flavor, gtid=gtid, boot_read_only=False, writer_rate=100)
    )
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        dry = rebuild("rejoin", {"node": "node1", "master": "node2"}, kit.context)
        drill = await kit.engine.run(dry, actor="carol", dry_run=True)
        assert drill.state is OperationState.DONE, drill
        assert await is_writable(node1), "a drill changes nothing"
        view = await rejoin(kit)
        assert view.state is OperationState.DONE, view
        assert not await is_writable(node1)
        assert await follows(node1, node2)
        await sandbox.writer.wait_for_rows(20)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        # and back again, so that the roles are those of the start
        back = rebuild("switchover", {"master": "node2", "target": "node1"}, kit.context)
        assert (await kit.engine.run(back, actor="carol")).state is OperationState.DONE
        await until(lambda: follows(node2, node1), "node2 follows node1")
        await sandbox.writer.resume()
        await sandbox.writer.wait_for_rows(20)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node2)
        before = await node2.sql(COUNT, database="pandora")
        dialect = back.dialect("node2")
        for statement in (dialect.stop_replica, dialect.reset_replica_all):
            await node2.sql(statement)
        again = rebuild("rejoin", {"node": "node2", "master": "node1"}, kit.context)
        view = await kit.engine.run(again, actor="carol")
        assert view.state is (OperationState.DONE if gtid else OperationState.FAILED), view
        assert await node2.sql(COUNT, database="pandora") == before, "nothing is applied twice"
        if not gtid:
            assert "followed node1 already" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)["node2"]
            assert await node2.replication() is None


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
async def test_an_old_master_with_transactions_of_its_own_is_diverged_and_they_are_named(
    flavor: Flavor, gtid: bool, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(flavor=flavor, gtid=gtid, boot_read_only=False, writer_rate=100)
    )
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        await node1.sql(INSERT, database="pandora")
        await node1.sql("DELETE FROM tagente_datos WHERE id_agente_modulo = 999999", database="pandora")
        view = await rejoin(kit)
        assert view.state is OperationState.FAILED, view
        assert not await is_writable(node1), "locked all the same"
        assert await node1.replication() is None
        reason = kit.context.records.marked(MarkKind.DIVERGED)["node1"]
        assert "2 transactions" in reason
        assert "pandora.tagente_datos 4 rows" in reason
        entry = kit.ledger.entry(view.id)
        assert entry is not None
        found = _survey(entry.facts["survey"])
        assert [[change.rows for change in one.changes] for one in found.transactions] == [[2], [2]]
        assert found.first_at is not None
        assert found.restarted
        assert found.crashed
        assert await is_writable(node2)


def _survey(value: str) -> Survey:
    return msgspec.json.decode(value, type=Survey)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"innodb_flush_log_at_trx_commit": "0"}, "innodb_flush_log_at_trx_commit=0"),
        ({"innodb_flush_log_at_trx_commit": "2"}, None),
    ],
    ids=["flush0", "flush2"],
)
async def test_after_an_unclean_end_the_log_is_believed_only_where_it_can_be(
    variables: dict[str, str], words: str | None, flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, variables=variables, writer_rate=100))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        view = await rejoin(kit)
        if words is None:
            assert view.state is OperationState.DONE, view
            return
        assert view.state is OperationState.FAILED, view
        assert words in kit.context.records.marked(MarkKind.NEEDS_RESYNC)["node1"]
        assert not await follows(node1, node2)
        assert (await rejoin(kit)).state is OperationState.FAILED, "the mark stays until it is cloned"


async def test_a_lost_host_with_flush_2_needs_a_resync(
    sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(writer_rate=100))
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        # a host that booted after its master was last alive: here the boot time is made up, the rest is real
        monkeypatch.setattr("pfms_ha_tui.operations.rejoin._BOOT_TIME", "date +%s")
        view = await rejoin(kit)
        assert view.state is OperationState.FAILED
        assert "its host went down" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)["node1"]


async def test_without_ssh_a_lost_host_cannot_be_ruled_out(sandbox_factory: Factory, tmp_path: Path) -> None:
    sandbox = await sandbox_factory(SandboxOptions(writer_rate=100))
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        kit.context = replace(kit.context, shells=lambda _: None)
        view = await rejoin(kit)
        assert view.state is OperationState.FAILED
        assert "without SSH" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)["node1"]


async def test_a_clean_stop_is_no_crash_whatever_the_settings(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(flavor=flavor, variables={"innodb_flush_log_at_trx_commit": "0"}, writer_rate=100)
    )
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await sandbox.writer.wait_for_rows(20)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node2)
        await node1.stop()
        await fail_over_quietly(kit)
        await node1.start()
        view = await rejoin(kit)
        assert view.state is OperationState.DONE, view
        assert await follows(node1, node2)


async def fail_over_quietly(kit: Surgery) -> None:
    params = {"old_master": "node1", "candidates": ["node2"], "by_person": True}
    view = await kit.engine.run(rebuild("failover", params, kit.context), actor="worker")
    assert view.state is OperationState.DONE, view


async def test_a_worker_without_the_journal_uses_the_record_in_the_data(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, boot_read_only=False, writer_rate=100))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
    await node1.start()
    async with surgery(sandbox, tmp_path / "other.db") as stranger:
        assert stranger.context.records.newest() is None
        view = await rejoin(stranger)
        assert view.state is OperationState.DONE, view
        assert await follows(node1, node2)


async def test_the_present_master_is_never_locked_by_an_older_record(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    """A worker that slept through two changes of master believes that node2 is master."""
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "old.db") as old, surgery(sandbox, tmp_path / "new.db") as new:
        to2 = rebuild("switchover", {"master": "node1", "target": "node2"}, old.context)
        assert (await old.engine.run(to2, actor="carol")).state is OperationState.DONE
        to1 = rebuild("switchover", {"master": "node2", "target": "node1"}, new.context)
        assert (await new.engine.run(to1, actor="dave")).state is OperationState.DONE
        for kind in ("lock", "rejoin"):
            view = await old.engine.run(
                rebuild(kind, {"node": "node1", "master": "node2"}, old.context), actor="worker"
            )
            assert view.state is OperationState.FAILED, view
            assert "epoch 2 names node1" in (view.text or "")
            assert await is_writable(node1)
            assert not await is_writable(node2)


async def test_a_returned_writable_master_is_locked_and_its_clients_ended(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, boot_read_only=False, writer_rate=100))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        sleeping = asyncio.create_task(node1.sql("SELECT SLEEP(300)", timeout=310))
        await until(lambda: _sleeps(sandbox), "a client is connected")
        lock = rebuild("lock", {"node": "node1", "master": "node2"}, kit.context)
        view = await kit.engine.run(lock, actor="worker")
        assert view.state is OperationState.DONE, view
        assert not await is_writable(node1)
        assert await is_writable(node2)
        await asyncio.wait({sleeping}, timeout=30)
        assert sleeping.done()
        await asyncio.gather(sleeping, return_exceptions=True)


async def _sleeps(sandbox: Sandbox) -> bool:
    rows = await sandbox.nodes[0].sql("SHOW PROCESSLIST")
    return any("SLEEP(300)" in str(row.get("Info")) for row in rows)


async def test_a_rejoin_that_fails_is_begun_again_without_applying_anything_twice(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1, node2 = sandbox.nodes
    real = FollowAgain.verify

    async def fail(self: FollowAgain, run: StepRun) -> None:
        await real(self, run)
        raise OperationError("a fault made for this test")

    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await fail_over(kit)
        await node1.start()
        with monkeypatch.context() as patch:
            patch.setattr(FollowAgain, "verify", fail)
            view = await rejoin(kit)
        assert view.state is OperationState.FAILED
        await sandbox.writer.wait_for_rows(20)
        assert (await rejoin(kit)).state is OperationState.DONE
        assert await follows(node1, node2)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)


async def test_a_master_that_came_back_read_only_is_opened_again_unless_somebody_was_promoted(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=100))
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        node1.kill()
        await node1.wait_gone()
        await node1.start()
        assert not await is_writable(node1)
        reopen = rebuild("reopen", {"node": "node1"}, kit.context)
        view = await kit.engine.run(reopen, actor="worker")
        assert view.state is OperationState.DONE, view
        assert await is_writable(node1)
        await sandbox.writer.wait_for_rows(20)
        await fail_over(kit)
        await node1.start()
        refused = await kit.engine.run(rebuild("reopen", {"node": "node1"}, kit.context), actor="worker")
        assert refused.state is OperationState.FAILED
        assert not await is_writable(node1)


async def test_a_mark_keeps_a_node_closed(flavor: Flavor, sandbox_factory: Factory, tmp_path: Path) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node1.sql("SET GLOBAL read_only = 1")
        mark = Mark(node="node1", kind=MarkKind.DIVERGED, reason="has rows of its own", at=1.0)
        kit.context.records.put_mark(mark)
        view = await kit.engine.run(rebuild("reopen", {"node": "node1"}, kit.context), actor="worker")
        assert view.state is OperationState.FAILED
        assert "has rows of its own" in (view.text or "")
        kit.context.records.clear_mark("node1", MarkKind.DIVERGED)
        assert not kit.context.records.marks()
    assert Compare.name == "compare"

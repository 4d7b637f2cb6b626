"""Failover on real servers: fenced first, nothing received is lost, one writable node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.operating import Surgery, all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.config import load
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations import roles
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.drain import restart_applier, stop_applier
from pfms_ha_tui.operations.failover_steps import PromoteCandidate
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.roles import Detach
from pfms_ha_tui.operations.step import Operation, StepRun
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState
from pfms_ha_tui.pandora.epoch import OldMaster
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.writing import SequencedRow

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

pytestmark = pytest.mark.timeout(300)


def failover(kit: Surgery, *candidates: str, **more: object) -> Operation:
    params = {"old_master": "node1", "candidates": list(candidates or ("node2",)), **more}
    return rebuild("failover", params, kit.context)


def step_text(view: OperationView, name: str) -> str:
    return next(step.text or "" for step in view.steps if step.name == name)


async def received_rows(sandbox: Sandbox, label: str) -> set[SequencedRow]:
    return set(await sandbox.writer.rows_on(sandbox.node(label)))


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_the_slaves_take_over_from_a_dead_or_frozen_master(
    flavor: Flavor, gtid: bool, fault: str, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, gtid=gtid, nodes=3, writer_rate=200))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await sandbox.writer.wait_for_rows(100)
        if not gtid:
            # by position a slave that has a transaction less cannot follow: let both have the same
            await sandbox.writer.pause()
            await all_rows_on(sandbox, node2, node3)
        node1.kill() if fault == "kill" else node1.freeze()
        operation = failover(kit, "node2", "node3", evidence=["node1 is dead"])
        view = await kit.engine.run(operation, actor="worker")
        assert view.state is OperationState.DONE, view
        assert not node1.running, "fenced"
        newest = kit.context.records.newest()
        assert newest is not None
        assert newest.old_state is (OldMaster.KILLED if fault == "freeze" else OldMaster.GONE)
        assert (newest.old_master, newest.by_gtid) == ("node1", gtid)
        # the dying master may have sent one of them a transaction more
        winner, loser = (node2, node3) if newest.master == "node2" else (node3, node2)
        assert await is_writable(winner)
        assert not await is_writable(loser)
        assert await follows(loser, winner)
        assert sandbox.hosts_file.read_text() == f"{winner.host}\n"
        assert kit.context.records.last_failover_at() is not None
        assert kit.context.records.acknowledge("carol") == 1
        assert kit.context.records.last_failover_at() is None
        assert "node1 is dead" in view.log
        await sandbox.writer.resume()
        await sandbox.writer.wait_for_rows(50)
        await sandbox.writer.pause()
        kept = await received_rows(sandbox, winner.label)
        await until(lambda: _has(sandbox, loser.label, kept), "both slaves have the same")
        lost = set(sandbox.writer.acknowledged()) - kept
        assert len(lost) <= (3 if gtid else 0), "only what was never received may be lost"


async def _has(sandbox: Sandbox, label: str, rows: set[SequencedRow]) -> bool:
    return await received_rows(sandbox, label) == rows


async def test_a_slave_that_is_behind_applies_everything_it_received_first(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=200))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node2.sql("STOP REPLICA SQL_THREAD")
        await sandbox.writer.wait_for_rows(600)
        await sandbox.writer.pause()
        acknowledged = set(sandbox.writer.acknowledged())
        await until(lambda: _received_all(sandbox), "node2 received everything")
        node1.kill()
        await node2.sql("START REPLICA SQL_THREAD")
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.DONE, view
        assert acknowledged <= await received_rows(sandbox, "node2")


async def _received_all(sandbox: Sandbox) -> bool:
    node1, node2 = sandbox.nodes
    mysql = node1.flavor is Flavor.MYSQL
    at = (await node1.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS"))[0]["Position"]
    row = await node2.replication()
    return row is not None and row["Read_Source_Log_Pos" if mysql else "Read_Master_Log_Pos"] == at


async def pair_with_half_a_transaction(sandbox_factory: Factory, flavor: Flavor, *, gtid: bool) -> Sandbox:
    """50 MB of one transaction, and the master dies while it is being sent."""
    sandbox = await sandbox_factory(
        SandboxOptions(flavor=flavor, gtid=gtid, writer=False, variables={"max_allowed_packet": "64M"})
    )
    node1, node2 = sandbox.nodes
    await node1.sql("CREATE TABLE big (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)", database="pandora")
    await node1.sql("INSERT INTO big (b) VALUES (REPEAT('x', 8000))", database="pandora")
    for _ in range(12):
        await node1.sql("INSERT INTO big (b) SELECT b FROM big", database="pandora", timeout=120)
    name = "Read_Source_Log_Pos" if flavor is Flavor.MYSQL else "Read_Master_Log_Pos"
    await until(lambda: _received_all(sandbox), "node2 received the base", 120)
    base = int(str((await node2.replication() or {})[name]))

    async def big() -> None:
        await node1.sql("INSERT INTO big (b) SELECT b FROM big", database="pandora", timeout=120)
        await node1.sql("INSERT INTO big (b) SELECT b FROM big LIMIT 4096", database="pandora", timeout=120)

    async def in_the_middle() -> bool:
        return int(str((await node2.replication() or {})[name])) > base + 1_000_000

    writing = asyncio.create_task(big())
    await until(in_the_middle, "the transaction is being sent", 120)
    node1.kill()
    await asyncio.gather(writing, return_exceptions=True)
    return sandbox


@pytest.mark.mysql
async def test_a_stop_in_the_middle_of_a_transaction_does_not_wait_for_its_end(
    mysql_server: None, sandbox_factory: Factory
) -> None:
    sandbox = await pair_with_half_a_transaction(sandbox_factory, Flavor.MYSQL, gtid=False)
    async with surgery_link(sandbox, "node2") as link:
        async with asyncio.timeout(30):
            await stop_applier(link)
        state = await link.replication()
        assert state is not None
        assert not state.sql
        await restart_applier(link)
        await until(lambda: _applies(link), "the applier to run again")


async def _applies(link: Link) -> bool:
    state = await link.replication()
    return state is not None and state.sql and not state.sql_errno


@contextlib.asynccontextmanager
async def surgery_link(sandbox: Sandbox, label: str) -> AsyncIterator[Link]:
    """A session with one node."""
    cluster = load(sandbox.config_path).clusters[0]
    node = cluster.node(label)
    assert node is not None
    link = await Link.open(node, cluster)
    try:
        yield link
    finally:
        await link.close()


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
async def test_a_transaction_cut_off_by_the_masters_death_is_rolled_back(
    flavor: Flavor, gtid: bool, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await pair_with_half_a_transaction(sandbox_factory, flavor, gtid=gtid)
    node2 = sandbox.nodes[1]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.DONE, view
        assert await is_writable(node2)
        rows = (await node2.sql("SELECT COUNT(*) AS n FROM big", database="pandora"))[0]["n"]
        entry = kit.ledger.entry(view.id)
        assert entry is not None
        cut_off = entry.facts["cut_off"] == "true"
        # the machine decides whether the master died in the middle or after it; never half a transaction
        assert rows in ((4096,) if cut_off else (4096, 8192, 12288)), (cut_off, rows)
        await node2.sql("INSERT INTO big (b) VALUES ('after')", database="pandora")


async def test_a_process_that_cannot_be_proved_gone_stops_it(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        node1.freeze()
        await node1.ssh.stop()
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.FAILED, view
        assert not await is_writable(node2)
        assert step_text(view, "choose") == ""
        allowed = await kit.engine.run(failover(kit, fencing_required=False), actor="worker")
        assert allowed.state is OperationState.DONE, allowed
        newest = kit.context.records.newest()
        assert newest is not None
        assert newest.old_state is OldMaster.UNPROVEN


async def test_a_complaint_of_the_guards_stops_it_before_anything_is_touched(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1, node2 = sandbox.nodes

    async def complain() -> Sequence[str]:
        return ("node2 still receives from node1",)

    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        kit.context = replace(kit.context, recheck=complain)
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.FAILED
        assert "node2 still receives from node1" in (view.text or "")
        assert node1.running
        assert await is_writable(node1)
        assert not await is_writable(node2)
        assert kit.context.records.newest() is None
        person = await kit.engine.run(failover(kit, by_person=True), actor="carol")
        assert person.state is OperationState.DONE, person
        assert "guards hold" not in step_text(person, "guards"), "they did not, and a person was not asked"


async def test_another_writable_node_stops_it(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, nodes=3))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node3.sql("SET GLOBAL read_only = 0")
        node1.kill()
        view = await kit.engine.run(failover(kit, "node2", others=["node3"]), actor="worker")
        assert view.state is OperationState.FAILED
        assert "node3 is writable" in (view.text or "")
        assert not await is_writable(node2)


async def test_a_slave_with_a_broken_applier_is_not_promoted(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, nodes=3))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node2.sql("STOP REPLICA SQL_THREAD")
        node1.kill()
        view = await kit.engine.run(failover(kit, "node2", "node3"), actor="worker")
        assert await is_writable(node3), view
        assert not await is_writable(node2)
        assert any("node2 cannot be promoted" in line for line in view.log)


async def test_the_slave_that_received_most_is_taken_and_the_other_one_marked(
    sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=3, writer_rate=100))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node2.sql("STOP SLAVE IO_THREAD")
        await sandbox.writer.wait_for_rows(50)
        node1.kill()
        await node2.sql("START SLAVE IO_THREAD")
        view = await kit.engine.run(failover(kit, "node2", "node3"), actor="worker")
        assert await is_writable(node3), view
        assert not await is_writable(node2)
        assert view.state is OperationState.FAILED, "a slave that is left behind is no success"
        assert "node3 took over at" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)["node2"]
        assert not await follows(node2, node3)


async def test_an_old_master_that_answers_again_at_the_last_moment_stops_it(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, boot_read_only=False))
    node1, node2 = sandbox.nodes
    real = Detach.run

    async def restart(self: Detach, run: StepRun) -> str | None:
        text = await real(self, run)
        await node1.start()
        return text

    monkeypatch.setattr(Detach, "run", restart)
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        node1.kill()
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.FAILED, view
        assert "answers again" in (view.text or "")
        assert await is_writable(node1)
        assert not await is_writable(node2)
        await until(lambda: follows(node2, node1), "node2 follows node1 again")
        assert kit.context.records.newest() is None


async def test_what_may_have_been_opened_unseen_is_fenced_before_another_is_promoted(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, nodes=3))
    node1, node2, node3 = sandbox.nodes

    async def freeze(self: PromoteCandidate, run: StepRun) -> None:
        if (self.node or run.need("candidate", str)) == "node2":
            node2.freeze()
            raise OperationError("its connection is lost in the middle of it")

    monkeypatch.setattr(PromoteCandidate, "verify", freeze)

    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await node2.ssh.stop()
        node1.kill()
        view = await kit.engine.run(failover(kit, "node2"), actor="worker")
        assert view.state is OperationState.INTERRUPTED, view
        assert "node2" in kit.context.records.marked(MarkKind.UNRESOLVED)
        entry = kit.ledger.unfinished(kit.cluster.name)
        assert entry is not None
        await kit.engine.give_up(entry, actor="carol")
        blocked = await kit.engine.run(failover(kit, "node3"), actor="worker")
        assert blocked.state is OperationState.FAILED, "node2 may be writable"
        assert not await is_writable(node3)
        await node2.ssh.start()
        view = await kit.engine.run(failover(kit, "node3"), actor="worker")
        assert view.state is OperationState.DONE, view
        assert not node2.running
        assert await is_writable(node3)


async def test_a_lock_that_is_cut_short_leaves_the_node_unresolved_until_one_is_proved(
    shared_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(operation: ClusterOperation, label: str) -> int:
        await asyncio.sleep(3600)
        return 0

    async def locked(operation: ClusterOperation, label: str) -> int:
        return 0

    run = cast(StepRun, SimpleNamespace(clock=SimpleNamespace(wall=lambda: 1.0)))
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        operation = cast(ClusterOperation, failover(kit))
        monkeypatch.setattr(roles, "lock_node", hang)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await roles.make_harmless(operation, "node2", run)
        assert "node2" in kit.context.records.marked(MarkKind.UNRESOLVED)
        monkeypatch.setattr(roles, "lock_node", locked)
        await roles.make_harmless(operation, "node2", run)
        assert not kit.context.records.marks()


async def test_what_cannot_take_the_promotion_back_is_reported_and_the_rest_is_done(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1, node2 = sandbox.nodes
    told = tmp_path / "told"

    def broken(cluster: ClusterSettings) -> ClusterSettings:
        hook = tmp_path / "hook"
        hook.write_text(f'#!/bin/sh\necho "$PFMS_EVENT $PFMS_OLD_MASTER $PFMS_NEW_MASTER_HOST" >>{told}\n')
        hook.chmod(0o755)
        return replace(
            cluster,
            pandora=replace(cluster.pandora, hosts_file=tmp_path / "no" / "hosts.conf", service_cmd="false"),
            hooks={"any": str(hook)},
        )

    async with surgery(sandbox, tmp_path / "ledger.db", change=broken) as kit:
        node1.kill()
        view = await kit.engine.run(failover(kit), actor="worker")
        assert view.state is OperationState.FAILED
        assert [step.name for step in view.steps if step.state is StepState.FAILED] == [
            "hosts_file",
            "pandora",
        ]
        assert await is_writable(node2)
        lines = sorted(told.read_text().splitlines())
        assert f"failover_finished node1 {node2.host}" in lines
        assert f"failover_failed node1 {node2.host}" in lines
        assert "failover_started node1 " in lines


async def test_a_drill_changes_nothing_and_tells_what_would_happen(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, nodes=3))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node2, node3)
        view = await kit.engine.run(failover(kit, "node2", "node3"), actor="carol", dry_run=True)
        assert view.state is OperationState.DONE, view
        assert "would be killed" in step_text(view, "fence")
        assert "node2 received up to" in step_text(view, "choose")
        assert "would become MASTER with epoch 1" in step_text(view, "promote")
        assert "would follow node2" in step_text(view, "follow_node3")
        assert await is_writable(node1)
        assert await follows(node2, node1)
        assert await follows(node3, node1)
        assert kit.context.records.newest() is None
        await sandbox.writer.resume()
        await sandbox.writer.wait_for_rows(10)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2, node3)

"""Clones on real servers: what is there afterwards, on both flavours and by every method."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.cloning import (
    clone_of,
    data_is_equal,
    interrupted_in,
    kill_program,
    leftover_programs,
    nothing_left,
    rows_of,
)
from support.operating import all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.config.settings import CloneMethod, ClusterSettings, Transfer
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)


def with_log(path: Path) -> Callable[[ClusterSettings], ClusterSettings]:
    return lambda cluster: replace(cluster, pandora=replace(cluster.pandora, resync_log=path))


@pytest.mark.parametrize("transfer", [Transfer.DIRECT, Transfer.RELAY])
async def test_a_streamed_clone_follows_with_the_same_data(
    sandbox_factory: Start, tmp_path: Path, transfer: Transfer
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))
    node1, node2 = sandbox.nodes
    await node2.sql("SET GLOBAL read_only = 1")
    await node2.sql("DELETE FROM tagente_datos LIMIT 500", database="pandora")
    async with surgery(sandbox, tmp_path / "ledger.db", change=with_log(tmp_path / "resync.log")) as kit:
        view = await clone_of(kit, method=CloneMethod.STREAM, transfer=transfer)

        assert view.state is OperationState.DONE, view.text
        assert await follows(node2, node1)
        assert not await is_writable(node2)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        await data_is_equal(node1, node2)
        assert kit.context.records.marked(MarkKind.NEEDS_RESYNC) == {}
        nothing_left(sandbox)
        assert "resync of node2 from node1 (stream) begins" in (tmp_path / "resync.log").read_text()
        events = await rows_of(node1, "SELECT evento FROM tevento WHERE id_extra LIKE 'pfms-ha-%'")
        assert len(events) == 2
        transfer_step = next(step for step in view.steps if step.name == "transfer")
        assert "mbstream" in transfer_step.preview[0]
        assert sandbox.accounts.admin.password not in str(view)


@pytest.mark.mysql
@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
@pytest.mark.usefixtures("mysql_server")
async def test_the_clone_plugin_fills_a_new_datadir(
    sandbox_factory: Start, tmp_path: Path, gtid: bool
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MYSQL, gtid=gtid))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        # so much that it limits nothing; that the plugin takes it is what counts
        view = await clone_of(kit, bandwidth=2000 * 2**20)

        assert view.state is OperationState.DONE, view.text
        assert view.steps[0].text is not None
        assert "plugin" in view.steps[0].text
        transfer = next(step for step in view.steps if step.name == "transfer")
        assert "SET GLOBAL clone_max_data_bandwidth = 2000" in transfer.preview
        assert await follows(node2, node1)
        assert not await is_writable(node2)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        await data_is_equal(node1, node2)
        nothing_left(sandbox)
        plugin = "SELECT plugin_name FROM information_schema.plugins WHERE plugin_name = 'clone'"
        assert await rows_of(node1, plugin) == []
        persisted = await node2.sql(
            "SELECT variable_value AS v FROM performance_schema.persisted_variables"
            " WHERE variable_name = 'super_read_only'"
        )
        assert [row["v"] for row in persisted] == ["ON"]
        await node2.restart()
        assert not await is_writable(node2)


@pytest.mark.parametrize("gtid", [False, True], ids=["position", "gtid"])
async def test_a_clone_of_another_slave_follows_the_master(
    sandbox_factory: Start, tmp_path: Path, gtid: bool
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB, nodes=3, gtid=gtid))
    node1, node2, _ = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await clone_of(kit, source="node3")

        assert view.state is OperationState.DONE, view.text
        assert await follows(node2, node1)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, *sandbox.nodes)
        await data_is_equal(node1, node2)
        nothing_left(sandbox)


async def test_a_staged_clone_goes_on_where_its_line_broke_and_leaves_no_backup_on_the_source(
    sandbox_factory: Start, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        task = asyncio.create_task(clone_of(kit, method=CloneMethod.STAGED, bandwidth=16 * 2**20))
        await until(lambda: task.done() or _sending(sandbox, node2), "rsync to send", 60.0)
        kill_program(sandbox, "/usr/bin/ssh -F")
        view = await task

        assert view.state is OperationState.DONE, view.text
        assert any("it goes on where it was" in line for line in view.log), view.log
        assert await follows(node2, node1)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        await data_is_equal(node1, node2)
        nothing_left(sandbox)


@pytest.mark.mysql
@pytest.mark.usefixtures("mysql_server")
@pytest.mark.parametrize("step", ["transfer", "swap", "start", "follow"])
async def test_a_worker_that_dies_under_the_plugin_leaves_a_working_slave(
    sandbox_factory: Start, tmp_path: Path, step: str
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MYSQL))
    node1, node2 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await interrupted_in(kit, step)

        assert view.state in (OperationState.DONE, OperationState.FAILED), view.text
        await until(lambda: follows(node2, node1), "node2 to follow", 60.0)
        assert not await is_writable(node2)
        nothing_left(sandbox)
        plugin = "SELECT plugin_name FROM information_schema.plugins WHERE plugin_name = 'clone'"
        assert await rows_of(node1, plugin) == []
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)


@pytest.mark.mysql
@pytest.mark.usefixtures("mysql_server")
async def test_the_plugin_clones_a_slave_with_gtids_that_stays_read_only(
    sandbox_factory: Start, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MYSQL, nodes=3, gtid=True))
    node1, node2, node3 = sandbox.nodes
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await clone_of(kit, source="node3")

        assert view.state is OperationState.DONE, view.text
        assert await follows(node2, node1)
        assert await follows(node3, node1)
        assert (await node3.sql("SELECT @@GLOBAL.super_read_only AS v"))[0]["v"] == 1
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)
        await data_is_equal(node1, node2)
        nothing_left(sandbox)


@pytest.mark.mysql
@pytest.mark.usefixtures("mysql_server")
async def test_a_parallel_slave_without_gtids_is_no_source(sandbox_factory: Start, tmp_path: Path) -> None:
    """Its position lags behind its data: seen as rows that came twice, found by the comparison."""
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MYSQL, nodes=3))
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await clone_of(kit, source="node3")
        assert view.state is OperationState.FAILED
        assert "choose node1 as source" in (view.text or "")
        assert kit.context.records.marks() == ()


def _sending(sandbox: Sandbox, target: SandboxNode) -> bool:
    """Whether rsync has brought some data to the target."""
    files = target.datadir.parent.glob("*.pfms-ha-new-*/*")
    sent = sum(path.stat().st_size for path in files if path.is_file())
    return sent > 2**20 and any(line.startswith("rsync -a") for line in leftover_programs(sandbox))

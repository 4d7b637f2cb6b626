"""Clones that go wrong: the old data works again, the source is untouched, and the node is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.cloning import clone_of, interrupted_in, kill_program, nothing_left
from support.operating import Surgery, all_rows_on, follows, is_writable, surgery, until
from support.smalldisk import datadir_on_small_disk

from pfms_ha_tui.config.settings import CloneMethod, ClusterSettings, Compression, Transfer
from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.operations.catalog import PROCEDURES
from pfms_ha_tui.operations.clone import Clone, CloneParams
from pfms_ha_tui.operations.records import Mark, MarkKind
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)


def slow(cluster: ClusterSettings) -> ClusterSettings:
    """So slow a copy that there is time to break it, and short limits."""
    clone = replace(
        cluster.clone,
        method=CloneMethod.STREAM,
        transfer=Transfer.RELAY,
        compression=Compression.OFF,
        bandwidth=4 * 2**20,
        stall_timeout=20.0,
    )
    return replace(cluster, clone=clone)


@pytest.fixture
async def kit(sandbox_factory: Start, tmp_path: Path) -> AsyncIterator[Surgery]:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))
    async with surgery(sandbox, tmp_path / "ledger.db", change=slow) as found:
        yield found


async def under_way(kit: Surgery, step: str = "transfer") -> asyncio.Task[OperationView]:
    """A clone whose step has begun (the transfer: that has moved some data)."""
    task = asyncio.create_task(clone_of(kit))

    def moving() -> bool:
        running = kit.engine.running("sandbox")
        if task.done():
            raise AssertionError(task.result().text)
        if running is None:
            return False
        now = next(one for one in running.view.steps if one.name == step)
        return now.state == "running" and (
            step != "transfer" or (now.progress is not None and now.progress.done > 2**20)
        )

    await until(moving, f"the step {step}", 60.0)
    return task


async def old_data_works(kit: Surgery) -> None:
    """The slave is what it was before, nothing is left anywhere, and nobody trusts it for now."""
    node1, node2 = kit.sandbox.nodes[:2]
    await until(lambda: follows(node2, node1), "node2 to follow on its old data")
    assert not await is_writable(node2)
    assert await is_writable(node1)
    nothing_left(kit.sandbox)
    assert "node2" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)
    assert "node2" in kit.context.records.marked(MarkKind.UNTOUCHED)
    await kit.sandbox.writer.pause()
    await all_rows_on(kit.sandbox, node1, node2)


async def test_a_cancelled_clone_leaves_the_old_slave_working(kit: Surgery) -> None:
    task = await under_way(kit)
    running = kit.engine.running("sandbox")
    assert running is not None
    running.cancel("carol")
    view = await task
    assert view.state is OperationState.CANCELLED
    await old_data_works(kit)


async def test_a_dying_backup_tool_is_noticed_although_the_pipe_ends_quietly(kit: Surgery) -> None:
    task = await under_way(kit)
    kill_program(kit.sandbox, "mariadb-backup --")
    view = await task
    assert view.state is OperationState.FAILED
    assert "backup" in (view.text or "")
    await old_data_works(kit)


async def test_a_dying_receiver_is_noticed(kit: Surgery) -> None:
    task = await under_way(kit)
    kill_program(kit.sandbox, "mbstream -x")
    view = await task
    assert view.state is OperationState.FAILED
    assert "unpack" in (view.text or "")
    await old_data_works(kit)


async def test_a_master_that_dies_ends_the_clone_quickly(kit: Surgery) -> None:
    task = await under_way(kit)
    node1, node2 = kit.sandbox.nodes
    node1.kill()
    view = await task
    assert view.state is OperationState.FAILED
    assert node2.running
    assert not await is_writable(node2)
    nothing_left(kit.sandbox)


async def test_lost_ssh_of_the_target_is_undone_when_it_is_back(kit: Surgery) -> None:
    task = await under_way(kit)
    node2 = kit.sandbox.nodes[1]
    await node2.ssh.stop()
    await asyncio.sleep(5)
    await node2.ssh.start()
    view = await task
    assert view.state is OperationState.FAILED
    await old_data_works(kit)


async def test_a_master_is_never_a_target(kit: Surgery) -> None:
    view = await clone_of(kit, target="node1", source="node2")
    assert view.state is OperationState.FAILED
    assert "is the master" in (view.text or "")


async def test_a_target_that_serves_writes_is_refused(kit: Surgery) -> None:
    node1, node2 = kit.sandbox.nodes
    await node2.sql("SET GLOBAL read_only = 0")
    view = await clone_of(kit)
    assert view.state is OperationState.FAILED
    assert "node2 is writable" in (view.text or "")
    assert await follows(node2, node1)
    assert kit.context.records.marks() == ()


async def test_a_target_whose_ssh_leads_to_another_node_is_refused(kit: Surgery) -> None:
    """A stale label or a swapped address: SSH leads to the master, SQL to the slave.

    All nodes of the sandbox see each other's processes, so the last thing that tells them apart counts here.
    """
    wrong = kit.shells["node1"]
    context = replace(kit.context, shells=lambda label: wrong)
    params = CloneParams(target="node2", source="node1", master="node1")
    view = await kit.engine.run(Clone(context, params), actor="carol")
    assert view.state is OperationState.FAILED
    assert "set service to the one of this node" in (view.text or "")
    assert kit.context.records.marks() == ()
    assert kit.sandbox.nodes[0].running
    nothing_left(kit.sandbox)


async def test_every_complaint_is_named_at_once(kit: Surgery) -> None:
    node2 = kit.sandbox.nodes[1]
    await node2.sql("SET GLOBAL read_only = 0")
    (node2.datadir.parent / f"{node2.datadir.name}.pfms-ha-old-000000000000").mkdir()
    kit.context.records.put_mark(Mark(node="node2", kind=MarkKind.NEEDS_RESYNC, reason="x", at=0.0))
    view = await clone_of(kit)
    assert view.state is OperationState.FAILED
    assert "is writable" in (view.text or "")
    assert "an earlier clone left" in (view.text or "")


async def test_an_account_that_cannot_log_in_from_the_target_is_found_before_anything_changes(
    kit: Surgery,
) -> None:
    node1 = kit.sandbox.nodes[0]
    await node1.sql(f"DROP USER '{kit.cluster.replication.user}'@'%'")
    view = await clone_of(kit)
    assert view.state is OperationState.FAILED
    assert "cannot log in to node1 from node2" in (view.text or "")
    assert kit.context.records.marks() == ()


async def test_a_second_clone_is_refused_while_one_runs(kit: Surgery) -> None:
    task = await under_way(kit)
    with pytest.raises(Exception, match="operation"):
        await clone_of(kit)
    running = kit.engine.running("sandbox")
    assert running is not None
    running.cancel("carol")
    await task


async def test_a_dry_run_changes_nothing_and_shows_the_commands(kit: Surgery) -> None:
    view = await clone_of(kit, dry_run=True)
    assert view.state is OperationState.DONE, view.text
    transfer = next(step for step in view.steps if step.name == "transfer")
    assert transfer.preview[0].startswith("mariadb-backup ")
    assert kit.context.records.marks() == ()
    nothing_left(kit.sandbox)


GETTING = ("directory", "transfer", "prepare", "stop", "swap")
JOINING = ("start", "follow", "catch_up", "compare", "remove_old")


@pytest.mark.parametrize("step", [*GETTING, *JOINING])
async def test_a_worker_that_dies_in_any_step_leaves_a_working_slave(kit: Surgery, step: str) -> None:
    """The task is cut off in the step, as a stopped worker is; another one brings it to its end."""
    view = await interrupted_in(kit, step, bandwidth=64 * 2**20)
    node1, node2 = kit.sandbox.nodes
    assert view.state in (OperationState.DONE, OperationState.FAILED), view.text
    await until(lambda: follows(node2, node1), "node2 to follow")
    assert not await is_writable(node2)
    nothing_left(kit.sandbox)
    marked = "node2" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)
    assert marked is (view.state is OperationState.FAILED), view.text
    await kit.sandbox.writer.pause()
    await all_rows_on(kit.sandbox, node1, node2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop packets")
async def test_a_network_that_is_cut_for_twenty_seconds_loses_nothing(kit: Surgery) -> None:
    task = await under_way(kit)
    node2 = kit.sandbox.nodes[1]
    await node2.block()
    try:
        await asyncio.sleep(20)
    finally:
        await node2.unblock()
    view = await task
    if view.state is OperationState.INTERRUPTED:
        entry = kit.ledger.unfinished("sandbox")
        assert entry is not None
        view = await kit.engine.recover(PROCEDURES[entry.kind](kit.context, entry.params), entry)
    assert view.state is OperationState.FAILED, view.text
    await old_data_works(kit)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")
async def test_a_full_disk_of_the_target_is_told_and_undone(kit: Surgery) -> None:
    node2 = kit.sandbox.nodes[1]
    async with datadir_on_small_disk(node2, spare=250 * 2**20) as small:
        task = await under_way(kit)
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(2**20))
        view = await task
        assert view.state is OperationState.FAILED
        assert "No space left" in (view.text or "") or "unpack" in (view.text or "")
        (small / "filler").unlink()
        # A server that found its disk full looks again only after a minute: nobody waits for that. Killed, it
        # leaves a relay log that breaks off, which it fetches again.
        node2.kill()
        await node2.wait_gone()
        await node2.start(["--relay-log-recovery=1"])
        await until(lambda: answers(node2), "node2 to answer", 60.0)
        await old_data_works(kit)


async def answers(node: SandboxNode) -> bool:
    """Whether it says how it replicates."""
    try:
        return await node.replication() is not None
    except SandboxError:
        return False

"""Targets and sources out of the ordinary: dead, without room, lagging."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.cloning import clone_of, data_is_equal, nothing_left
from support.operating import Surgery, all_rows_on, follows, surgery, until
from support.smalldisk import datadir_on_small_disk

from pfms_ha_tui.cluster.observation import ProcessState
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.processes import FoundProcess
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone import Clone, CloneParams
from pfms_ha_tui.operations.clone.host import Host
from pfms_ha_tui.operations.clone.proof import prove
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


@pytest.fixture
async def kit(sandbox_factory: Start, tmp_path: Path) -> AsyncIterator[Surgery]:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB, nodes=3))
    async with surgery(sandbox, tmp_path / "ledger.db") as found:
        yield found


async def test_a_slave_whose_data_is_broken_is_rebuilt_without_its_server(kit: Surgery) -> None:
    node1, node2, _ = kit.sandbox.nodes
    node2.kill()
    await node2.wait_gone()
    os.truncate(node2.datadir / "ibdata1", 4096)
    view = await clone_of(kit)
    assert view.state is OperationState.DONE, view.text
    assert await follows(node2, node1)
    await kit.sandbox.writer.pause()
    await all_rows_on(kit.sandbox, node1, node2)
    await data_is_equal(node1, node2)
    nothing_left(kit.sandbox)


async def test_a_dead_target_whose_place_is_the_masters_is_refused(kit: Surgery) -> None:
    """SSH of the dead node leads to the master's host, and its datadir is said to be the master's."""
    node1, node2, _ = kit.sandbox.nodes
    node2.kill()
    await node2.wait_gone()
    shells = {**kit.shells, "node2": kit.shells["node1"]}
    facts = {**kit.context.host_facts, "node2": kit.context.host_facts["node1"]}
    context = replace(kit.context, shells=shells.get, host_facts=facts)
    params = CloneParams(target="node2", source="node3", master="node1")
    view = await kit.engine.run(Clone(context, params), actor="carol")
    assert view.state is OperationState.FAILED
    assert node1.running
    nothing_left(kit.sandbox)


async def test_a_source_that_does_not_replicate_is_refused_unless_a_person_insists(kit: Surgery) -> None:
    node1, node2, node3 = kit.sandbox.nodes
    await node3.sql("STOP SLAVE SQL_THREAD")
    view = await clone_of(kit, source="node3")
    assert view.state is OperationState.FAILED
    assert "node3 does not replicate" in (view.text or "")

    params = CloneParams(target="node2", source="node3", master="node1", force_source=True)
    view = await kit.engine.run(Clone(kit.context, params), actor="carol")
    assert view.state in (OperationState.DONE, OperationState.FAILED)
    await until(lambda: follows(node2, node1), "node2 to follow")
    nothing_left(kit.sandbox)

    # whoever is followed by another node is no target
    await node3.sql("STOP SLAVE")
    await node3.sql(f"CHANGE MASTER TO MASTER_HOST = '{node2.host}', MASTER_PORT = {node2.port}")
    await node3.sql("START SLAVE IO_THREAD")
    await until(lambda: node2.sql("SHOW SLAVE HOSTS"), "node2 to be followed")
    view = await clone_of(kit)
    assert view.state is OperationState.FAILED
    assert "node2 has slaves of its own: let them follow node1 first" in (view.text or "")


@needs_root
async def test_without_room_for_both_the_old_data_goes_only_after_a_second_confirmation(kit: Surgery) -> None:
    node1, node2, _ = kit.sandbox.nodes
    async with datadir_on_small_disk(node2, spare=80 * 2**20):
        view = await clone_of(kit, method=CloneMethod.STREAM)
        assert view.state is OperationState.FAILED
        assert "confirm that the old data of node2 is removed" in (view.text or "")
        assert await follows(node2, node1)

        params = CloneParams(target="node2", source="node1", master="node1", give_up_old=True)
        view = await kit.engine.run(Clone(kit.context, params), actor="carol")
        assert view.state is OperationState.DONE, view.text
        assert await follows(node2, node1)
        assert kit.context.records.marked(MarkKind.NEEDS_RESYNC) == {}
        nothing_left(kit.sandbox)


class OtherMachine(NodeShell):
    """A host where everything is at the same paths, but another node's server runs there."""

    pid = 0

    async def find_process(self, pid_file: str | None, datadir: str | None) -> FoundProcess:
        return FoundProcess(state=ProcessState.RUNNING, pid=self.pid, proved=True)


async def test_the_same_paths_on_another_machine_do_not_pass_for_the_node(kit: Surgery) -> None:
    """What tells two hosts set up alike apart is a word that only this very server can have open."""
    _, node2, node3 = kit.sandbox.nodes
    settings = kit.context.node("node2")
    link = await Link.open(settings, kit.cluster)
    shell = OtherMachine(settings, kit.cluster)
    try:
        shell.pid = node2.mysqld_pid or 0
        assert (await prove(link, Host(shell, "t0"))).pid == node2.mysqld_pid
        shell.pid = node3.mysqld_pid or 0
        with pytest.raises(OperationError, match="is not the server that answers"):
            await prove(link, Host(shell, "t0"))
    finally:
        await link.close()
        await shell.close()

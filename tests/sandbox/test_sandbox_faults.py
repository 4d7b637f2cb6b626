"""The faults a sandbox gives its nodes are real ones."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions

SandboxFactory = Callable[[SandboxOptions], Awaitable[Sandbox]]


@pytest.fixture
async def node(shared_sandbox: Sandbox) -> AsyncIterator[SandboxNode]:
    """The slave, given back running."""
    node = shared_sandbox.nodes[1]
    yield node
    if not node.running:
        await node.start()


async def _refused(node: SandboxNode) -> bool:
    try:
        _, writer = await asyncio.open_connection(node.host, node.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


async def test_a_killed_server_is_gone_and_comes_back_with_its_data(node: SandboxNode) -> None:
    before = node.mysqld_pid
    node.kill()
    await node.wait_gone()
    assert await _refused(node)
    with pytest.raises(SandboxError, match="node2"):
        await node.sql("SELECT 1")
    with pytest.raises(SandboxError, match="does not run"):
        node.kill()
    await node.start()
    assert node.running
    assert node.mysqld_pid != before
    assert (await node.sql("SELECT COUNT(*) AS n FROM tagente_datos", database="pandora"))[0]["n"] >= 20_000


async def test_a_node_that_starts_again_is_read_only_and_replicates(
    shared_sandbox: Sandbox, node: SandboxNode
) -> None:
    await node.stop()
    assert not node.running
    await node.start()
    assert (await node.sql("SELECT @@read_only AS ro"))[0]["ro"] == 1
    await shared_sandbox.writer.wait_for_rows(1)
    await shared_sandbox.wait_for_slaves()


async def test_a_frozen_server_accepts_connections_and_says_nothing(node: SandboxNode) -> None:
    node.freeze()
    try:
        assert node.running
        reader, writer = await asyncio.open_connection(node.host, node.port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.5)
        writer.close()
        await writer.wait_closed()
        with pytest.raises(SandboxError):
            await node.sql("SELECT 1", timeout=1)
    finally:
        node.thaw()
    assert await node.sql("SELECT 1 AS one") == [{"one": 1}]


async def test_a_frozen_server_can_be_stopped(node: SandboxNode) -> None:
    node.freeze()
    await node.stop()
    assert not node.running
    assert (node.directory / "exit.status").read_text().strip() == "0"


async def test_start_options_hold_for_one_start(node: SandboxNode) -> None:
    await node.restart(["--skip-slave-start"])
    status = await node.replication()
    assert status is not None
    assert "Yes" not in (status.get("Slave_SQL_Running"), status.get("Replica_SQL_Running"))
    await node.restart()
    status = await node.replication()
    assert status is not None
    assert "Yes" in (status.get("Slave_SQL_Running"), status.get("Replica_SQL_Running"))


async def test_a_server_that_does_not_start_says_why(node: SandboxNode) -> None:
    await node.stop()
    with pytest.raises(SandboxError, match="no-such-option") as caught:
        await node.start(["--no-such-option=1"])
    assert caught.value.node == "node2"
    await node.start()


async def test_a_server_that_dies_is_started_again_if_wanted(sandbox_factory: SandboxFactory) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(nodes=1, rows=0, writer=False, restart_after=0.3, flavor=Flavor.MARIADB)
    )
    node = sandbox.master
    before = node.mysqld_pid
    node.kill()
    await node.wait_answers(not_pid=before)
    assert await node.sql("SELECT 1 AS one") == [{"one": 1}]
    await node.stop()
    await asyncio.sleep(0.6)
    assert not node.running


@pytest.mark.mysql
@pytest.mark.usefixtures("mysql_server")
async def test_mysql_restarts_itself_when_told_to(sandbox_factory: SandboxFactory) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=1, rows=0, writer=False, flavor=Flavor.MYSQL))
    node = sandbox.master
    before = node.mysqld_pid
    await node.sql("RESTART")
    await node.wait_answers(not_pid=before)
    assert await node.sql("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_blocked_address_answers_nothing_and_the_rules_are_taken_back(
    sandbox_factory: SandboxFactory,
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=1, rows=0, writer=False))
    node = sandbox.master
    await node.block()
    await node.block()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.open_connection(node.host, node.port), 0.5)
    assert await node.sql("SELECT 1 AS one") == [{"one": 1}]
    await node.unblock()
    assert not await _refused(node)
    await node.block()
    await sandbox.stop()
    assert node.host not in await _firewall()


async def _firewall() -> str:
    process = await asyncio.create_subprocess_exec(
        "iptables", "-w", "-S", "INPUT", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return said.decode()


async def test_signals_reach_the_server_itself_whoever_started_it(node: SandboxNode) -> None:
    pid = node.mysqld_pid
    assert pid is not None
    executable = Path(f"/proc/{pid}/comm").read_text().strip()
    assert executable in ("mariadbd", "mysqld")
    os.kill(pid, signal.SIGKILL)
    await node.wait_gone()

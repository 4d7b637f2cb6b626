"""The writer behaves as a Pandora server does, and its book of acknowledged rows is exact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from pfms_ha_tui.sandbox import Sandbox, SandboxOptions, SequencedRow

SandboxFactory = Callable[[SandboxOptions], Awaitable[Sandbox]]


@pytest.fixture
async def sandbox(sandbox_factory: SandboxFactory) -> Sandbox:
    """Two MariaDB nodes; what is tested here does not depend on the flavor."""
    return await sandbox_factory(SandboxOptions(rows=100, writer_rate=200))


async def test_every_acknowledged_row_is_on_both_nodes_once(sandbox: Sandbox) -> None:
    await sandbox.writer.wait_for_rows(100)
    stats = await sandbox.writer.pause()
    await sandbox.wait_for_slaves()
    acknowledged = sandbox.writer.acknowledged()
    assert len(acknowledged) == stats.acknowledged
    assert {row.table for row in acknowledged} == {"tagente_datos", "tagente_datos_string", "tevento"}
    for node in sandbox.nodes:
        found = await sandbox.writer.rows_on(node)
        assert sorted(found) == sorted(acknowledged)
        assert set(found.values()) == {1}
        assert await sandbox.writer.lost_on(node) == []


async def test_a_lost_row_is_found(sandbox: Sandbox) -> None:
    await sandbox.writer.wait_for_rows(30)
    await sandbox.writer.pause()
    lost = next(row for row in sandbox.writer.acknowledged() if row.table == "tevento")
    await sandbox.master.sql(
        "DELETE FROM tevento WHERE id_extra = %s", (f"pfms-writer-{lost.sequence}",), database="pandora"
    )
    assert await sandbox.writer.lost_on(sandbox.master) == [SequencedRow("tevento", lost.sequence)]


async def test_a_refused_row_is_not_acknowledged(sandbox: Sandbox) -> None:
    await sandbox.writer.wait_for_rows(5)
    await sandbox.master.sql("SET GLOBAL read_only = 1")
    deadline = time.monotonic() + 20
    while "read-only" not in str((await sandbox.writer.stats()).last_error):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    acknowledged = len(sandbox.writer.acknowledged())
    await asyncio.sleep(0.5)
    assert len(sandbox.writer.acknowledged()) == acknowledged
    assert await sandbox.writer.lost_on(sandbox.master) == []


async def test_a_pause_holds(sandbox: Sandbox) -> None:
    await sandbox.writer.wait_for_rows(5)
    paused = await sandbox.writer.pause()
    assert paused.paused
    await asyncio.sleep(0.3)
    assert (await sandbox.writer.stats()).acknowledged == paused.acknowledged
    await sandbox.writer.resume()
    await sandbox.writer.wait_for_rows(5)


async def test_it_goes_to_the_host_in_the_hosts_file_when_its_service_is_restarted(sandbox: Sandbox) -> None:
    node1, node2 = sandbox.nodes
    await sandbox.writer.wait_for_rows(1)
    await node2.sql("STOP SLAVE")
    await node2.sql("SET GLOBAL read_only = 0")
    sandbox.hosts_file.write_text(node2.host)
    assert (await sandbox.writer.wait_for_rows(5)).host == node1.host
    process = await asyncio.create_subprocess_exec(
        str(sandbox.paths.service_command), "restart-server", node2.host
    )
    assert await process.wait() == 0
    deadline = time.monotonic() + 20
    while (await sandbox.writer.stats()).host != node2.host:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await sandbox.writer.wait_for_rows(5)
    moment, arguments = sandbox.restarts()[-1]
    assert arguments == f"restart-server {node2.host}"
    assert abs(moment - time.time()) < 60


async def test_it_comes_back_after_its_database_was_killed(sandbox: Sandbox) -> None:
    await sandbox.writer.wait_for_rows(5)
    sandbox.master.kill()
    await sandbox.master.wait_gone()
    deadline = time.monotonic() + 20
    while (await sandbox.writer.stats()).failed == 0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await sandbox.master.start()
    await sandbox.master.sql("SET GLOBAL read_only = 0")
    stats = await sandbox.writer.wait_for_rows(5)
    assert stats.connects >= 2
    assert stats.longest_gap > 0.1
    assert (await sandbox.writer.reset_gap()).longest_gap < stats.longest_gap


async def test_a_frozen_database_holds_up_neither_a_pause_nor_a_restart(sandbox: Sandbox) -> None:
    node1, node2 = sandbox.nodes
    await sandbox.writer.wait_for_rows(5)
    node1.freeze()
    started = time.monotonic()
    await sandbox.writer.pause()
    assert time.monotonic() - started < 15
    await sandbox.writer.resume()
    await asyncio.sleep(0.3)
    await node2.sql("STOP SLAVE")
    await node2.sql("SET GLOBAL read_only = 0")
    await sandbox.writer.retarget(node2.host)
    stats = await sandbox.writer.wait_for_rows(5, timeout=20)
    assert stats.host == node2.host


async def test_pandora_servers_stay_alive(sandbox: Sandbox) -> None:
    alive = "SELECT MIN(UNIX_TIMESTAMP() - server_keepalive_utimestamp) AS age, COUNT(*) AS n FROM tserver"
    await sandbox.master.sql("UPDATE tserver SET server_keepalive_utimestamp = 0", database="pandora")
    deadline = time.monotonic() + 20
    while (row := (await sandbox.master.sql(alive, database="pandora"))[0])["age"] > 10:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert row["n"] == 18

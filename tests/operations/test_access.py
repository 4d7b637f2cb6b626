"""Sessions and locks on real servers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.operating import surgery

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.access import ClusterLock, Link, lock_name
from pfms_ha_tui.sandbox import Sandbox


async def test_the_lock_is_held_by_one_and_free_again_when_given_back(
    shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        one, other = ClusterLock(kit.cluster), ClusterLock(kit.cluster)
        await one.take(kit.cluster.nodes)
        await one.check("node1")
        with pytest.raises(OperationError) as caught:
            await other.take(reversed(kit.cluster.nodes))
        assert caught.value.code == "locked"
        with pytest.raises(OperationError):
            await other.check("node2")
        await one.release()
        await other.take(kit.cluster.nodes)
        await other.check("node2")
        await other.release()


async def test_a_lock_whose_session_was_killed_is_noticed(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        lock = ClusterLock(kit.cluster)
        await lock.take(kit.cluster.nodes[:1])
        (number,) = lock.connection_ids("node1")
        await shared_sandbox.nodes[0].sql(f"KILL {number}")
        with pytest.raises(OperationError, match="lost"):
            await lock.check("node1")
        await lock.release()


async def test_the_session_of_a_lock_ends_by_itself_when_nobody_pings_it(
    shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        lock = ClusterLock(kit.cluster)
        await lock.take(kit.cluster.nodes[:1])
        (number,) = lock.connection_ids("node1")
        link = lock._links["node1"]
        rows = await link.query("SELECT @@SESSION.wait_timeout AS seconds, CONNECTION_ID() AS id")
        assert rows[0] == {"seconds": 30, "id": number}
        await lock.release()


async def test_a_cancelled_call_gives_up_its_connection_at_once(
    shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        link = await Link.open(kit.cluster.nodes[0], kit.cluster)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await link.query("SELECT SLEEP(200)", timeout=300)
        assert time.monotonic() - started < 60
        with pytest.raises(SqlError):
            await link.query("SELECT 1")
        await link.close()
        with pytest.raises(OperationError, match="closed"):
            await link.query("SELECT 1")


async def test_clients_are_ended_but_not_those_that_are_spared(
    shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        node = kit.cluster.nodes[1]
        link, spared, victim = [await Link.open(node, kit.cluster) for _ in range(3)]
        assert await link.kill_clients([spared.connection_id]) >= 1
        assert await spared.query("SELECT 1 AS one") == [{"one": 1}]
        with pytest.raises(SqlError):
            await victim.query("SELECT 1")
        state = await link.replication()
        assert state is not None
        assert state.sql, "replication is no client"
        await asyncio.gather(link.close(), spared.close(), victim.close())


async def test_a_server_that_is_away_is_told_at_once(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    async with surgery(shared_sandbox, tmp_path / "ledger.db") as kit:
        nobody = replace(kit.cluster.nodes[0], port=1)
        with pytest.raises(SqlError):
            await Link.open(nobody, kit.cluster)
        with pytest.raises(SqlError):
            await ClusterLock(kit.cluster).take([nobody])


def test_a_lock_name_fits_whatever_the_cluster_is_called() -> None:
    assert lock_name("pandora") == "pfms_ha_pandora"
    long, other = lock_name("x" * 200), lock_name("x" * 201)
    assert len(long) <= 64
    assert long != other

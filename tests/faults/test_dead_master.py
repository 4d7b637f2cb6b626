"""The master's server dies, hangs, or comes back: the real worker, real servers, acknowledged rows."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest
from support.faultlab import Pool, fault_lab, writable_ones
from support.latewrite import LateWrite
from support.operating import is_writable, until

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, SandboxNode, SandboxOptions
from pfms_ha_tui.sandbox.sqlclient import SqlClient
from pfms_ha_tui.worker.protocol import OrderKind

pytestmark = pytest.mark.timeout(150)


def pair(flavor: Flavor = Flavor.MARIADB) -> SandboxOptions:
    """Semi-synchronous: whatever was acknowledged had been received, so nothing at all may be missing."""
    return SandboxOptions(flavor=flavor, writer_rate=100, semi_sync=True)


async def test_a_killed_master_is_replaced_and_comes_back_as_a_slave(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair(flavor))) as lab:
        await lab.rows(50)
        lab.master.kill()
        await lab.becomes_writable(lab.slave)
        await lab.hosts_file_names(lab.slave)
        await lab.rows(50)
        await lab.assert_nothing_lost(lab.slave)
        done = await lab.worker.operation("failover")
        assert done.actor == "worker"
        calls = lab.sandbox.restarts()[lab.restarts_before :]
        assert [call.split()[-1] for _, call in calls] == [lab.slave.host]
        await lab.master.start()
        rejoin = await lab.worker.operation("rejoin", state=None)
        if rejoin.state is not OperationState.DONE:
            # what it had written and never sent, and so never acknowledged, is its own
            assert "diverged" in (rejoin.text or ""), rejoin
            return
        await lab.comes_to_follow(lab.master, lab.slave)
        await lab.rows(20)
        await lab.assert_nothing_lost(lab.slave)


async def test_a_frozen_master_is_killed_before_it_is_replaced_and_keeps_no_write(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    """A zombie would take the writes that wait in its sockets when it wakes up: it must never wake up."""
    async with fault_lab(tmp_path, await pool.cluster(pair(flavor))) as lab:
        await lab.rows(30)
        pid = lab.master.mysqld_pid
        waiting = LateWrite(lab.sandbox, lab.master)
        await lab.caught_up()
        lab.master.freeze()
        waiting.send()
        await lab.sandbox.writer.resume()
        await lab.becomes_writable(lab.slave)
        done = await lab.worker.operation("failover")
        assert any("was frozen" in (step.text or "") for step in done.steps), done
        assert lab.master.mysqld_pid != pid, "it could be woken up"
        await until(lambda: not waiting.alive, "the end of the write that was waiting")
        assert not waiting.acknowledged
        await lab.rows(30)
        await lab.master.start()
        await lab.worker.operation("rejoin")
        await lab.assert_nothing_lost(lab.slave)
        for node in (lab.master, lab.slave):
            assert not await waiting.is_on(node)


async def test_a_short_freeze_is_no_failover(pool: Pool, tmp_path: Path) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair())) as lab:
        await lab.rows(10)
        begun = time.monotonic()
        lab.master.freeze()
        await lab.worker.until_state(
            lambda state: time.monotonic() - begun > 2.5 and state.diagnosis.kind != "Healthy", "a suspicion"
        )
        lab.master.thaw()
        await lab.worker.ready()
        await lab.rows(10)
        await lab.no_failover()


async def test_a_slave_far_behind_applies_everything_it_received_before_it_is_opened(
    pool: Pool, tmp_path: Path
) -> None:
    """10,000 transactions in the relay log when the master dies, none of which may be missing."""
    async with fault_lab(tmp_path, await pool.cluster(pair())) as lab:
        await lab.caught_up()
        held = lab.slave.client.connect(database="pandora", timeout=30)
        with contextlib.closing(held), held.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 30")
            cursor.execute("LOCK TABLES tagente_datos WRITE")
            many = (
                "BEGIN NOT ATOMIC FOR i IN 1..10000 DO INSERT INTO tagente_datos"
                " (id_agente_modulo, datos, utimestamp) VALUES (900001, i, 1); END FOR; END"
            )
            await lab.master.sql(many, database="pandora", timeout=60)
            row = await lab.slave.replication()
            assert row is not None
            assert int(str(row["Read_Master_Log_Pos"])) - int(str(row["Exec_Master_Log_Pos"])) > 1_000_000
            lab.master.kill()
            await lab.worker.until_state(
                lambda state: state.operation is not None, "the beginning of a failover"
            )
            assert not await is_writable(lab.slave)
        await lab.becomes_writable(lab.slave)
        ((count,),) = [
            tuple(row.values())
            for row in await lab.slave.sql(
                "SELECT COUNT(*) FROM tagente_datos WHERE id_agente_modulo = 900001", database="pandora"
            )
        ]
        assert count == 10_000
        await lab.sandbox.writer.resume()
        await lab.rows(10)
        await lab.master.start()
        await lab.worker.operation("rejoin")


async def test_a_transaction_of_50_mb_that_was_cut_off_is_rolled_back_and_does_not_block(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair(flavor))) as lab:
        await lab.rows(10)
        await lab.sandbox.writer.pause()
        big = threading.Thread(target=_write_50_mb, args=(lab.master.client,), daemon=True)
        start = await _read_position(lab.slave)
        big.start()
        end = time.monotonic() + 60
        while (await _read_position(lab.slave)) <= start + 1_000_000:
            assert time.monotonic() < end, "the transaction did not come"
        lab.master.kill()
        await lab.becomes_writable(lab.slave)
        await lab.sandbox.writer.resume()
        await lab.rows(20)
        done = await lab.worker.operation("failover")
        await lab.assert_nothing_lost(lab.slave)
        rows = await lab.slave.sql(
            "SELECT COUNT(*) AS n FROM tagente_datos_string WHERE id_agente_modulo = 900002",
            database="pandora",
        )
        assert rows[0]["n"] in (0, 50), (rows, done)
        big.join(30)


async def test_an_old_master_with_rows_of_its_own_is_locked_told_and_not_overwritten(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair(flavor))) as lab:
        await lab.rows(10)
        await lab.caught_up()
        lab.master.kill()
        await lab.becomes_writable(lab.slave)
        await lab.worker.operation("failover")
        lab.not_ours = (lab.master.label,)  # it starts writable by its settings
        with lab.worker.frozen():
            off = ["--read-only=0"] + (["--super-read-only=0"] if flavor is Flavor.MYSQL else [])
            await lab.master.start(off)
            assert await is_writable(lab.master)
            await lab.master.sql(
                "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (900004, 1, 1)",
                database="pandora",
            )
        await lab.becomes_locked(lab.master)
        failed = await lab.worker.operation("rejoin", state=OperationState.FAILED)
        assert "diverged" in (failed.text or ""), failed
        assert "tagente_datos" in (failed.text or ""), failed
        assert not await is_writable(lab.master)
        assert await lab.master.replication() is None
        state = await lab.worker.until_state(
            lambda state: any(finding.kind == "Diverged" for finding in state.diagnosis.findings),
            "the finding",
        )
        assert state.diagnosis.master == lab.slave.label


async def test_a_slave_that_did_not_receive_when_its_master_died_is_no_heir_and_the_master_is_reopened(
    pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(SandboxOptions())) as lab:
        await lab.rows(10)
        await lab.slave.sql("STOP SLAVE IO_THREAD")
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "ReplicationStopped", "the finding"
        )
        await lab.rows(5)
        lab.master.kill()
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "MasterDeadNoCandidate", "a diagnosis"
        )
        assert not await is_writable(lab.slave)
        plan = await lab.worker.plan(OrderKind.FAILOVER, lab.slave.label)
        counted = rf"{lab.slave.label} has not received \d+ transactions .*tagente_datos"
        assert re.match(counted, plan.impact[0]), plan.impact
        await lab.master.ssh.stop()
        plan = await lab.worker.plan(OrderKind.FAILOVER, lab.slave.label)
        assert f"{lab.slave.label} has not received is unknown" in plan.impact[0], plan.impact
        await lab.master.ssh.start()
        await lab.master.start()
        await lab.becomes_writable(lab.master)
        await lab.worker.operation("reopen")
        assert [one.kind for one in await lab.worker.operations()] == ["reopen"]
        await lab.slave.sql("START SLAVE IO_THREAD")
        await lab.worker.ready()
        await lab.rows(5)
        await lab.assert_nothing_lost(lab.master)


@pytest.mark.parametrize("nodes", [2, 3])
async def test_with_gtids_and_more_slaves_everybody_follows_the_new_master(
    flavor: Flavor, nodes: int, pool: Pool, tmp_path: Path
) -> None:
    options = SandboxOptions(flavor=flavor, nodes=nodes, gtid=True, writer_rate=50, semi_sync=True)
    async with fault_lab(tmp_path, await pool.cluster(options)) as lab:
        await lab.rows(20)
        await lab.caught_up()
        lab.master.kill()
        await lab.worker.operation("failover")
        await lab.sandbox.writer.resume()
        (new,) = await writable_ones(lab.sandbox)
        for node in lab.sandbox.nodes:
            if node not in (new, lab.master):
                await lab.comes_to_follow(node, new)
        await lab.master.start()
        await lab.comes_to_follow(lab.master, new)
        await lab.rows(20)
        await lab.assert_nothing_lost(new)


@pytest.mark.parametrize("first", ["master", "slave"])
async def test_when_both_were_dead_exactly_one_takes_writes_again_in_whatever_order_they_come_back(
    first: str, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair())) as lab:
        await lab.caught_up()
        lab.slave.kill()
        lab.master.kill()
        await lab.worker.until_state(lambda state: state.diagnosis.kind != "Healthy", "a diagnosis")
        for node in [lab.master, lab.slave] if first == "master" else [lab.slave, lab.master]:
            # A failover that fences the master at this very moment stops what has just been started.
            with contextlib.suppress(SandboxError):
                await node.start()

        async def somebody_is_open() -> bool:
            return bool(await writable_ones(lab.sandbox))

        # A slave that is back while its master is still proven dead may take over.
        await until(somebody_is_open, "a writable node", 60)
        (heir,) = await writable_ones(lab.sandbox)
        assert heir is lab.master or first == "slave"
        other = lab.slave if heir is lab.master else lab.master
        await lab.worker.until_state(
            lambda state: state.operation is None or state.operation.state is not OperationState.RUNNING,
            "the end of the operation",
        )
        if not other.running:
            await other.start()
        await lab.comes_to_follow(other, heir)
        await lab.sandbox.writer.resume()
        await lab.rows(20)
        await lab.assert_nothing_lost(heir)


async def _read_position(slave: SandboxNode) -> int:
    row = await slave.replication()
    assert row is not None
    name = "Read_Source_Log_Pos" if slave.flavor is Flavor.MYSQL else "Read_Master_Log_Pos"
    return int(str(row[name]))


def _write_50_mb(client: SqlClient) -> None:
    """Fifty rows of a megabyte in one transaction."""
    row = "INSERT INTO tagente_datos_string (id_agente_modulo, datos, utimestamp) VALUES (900002, %s, 1)"
    text = "x" * 1_000_000
    with contextlib.suppress(SandboxError):
        client.script(
            [("BEGIN", None), *((row, (text,)) for _ in range(50)), ("COMMIT", None)],
            database="pandora",
            timeout=60,
        )

"""Faults that are no reason to change anything: the server lives, or nobody may act."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pymysql
import pytest
from support.faultlab import FaultLab, Pool, fault_lab
from support.operating import follows, is_writable
from support.smalldisk import datadir_on_small_disk
from support.storm import storm_on

from pfms_ha_tui.cluster.observation import NodeObservation
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions

pytestmark = pytest.mark.timeout(150)

PAIR = SandboxOptions(writer_rate=50)
SEMI_SYNC = SandboxOptions(writer_rate=100, semi_sync=True)
FULL = 30.0
Session: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"


async def test_a_full_connection_table_for_thirty_seconds_is_no_failover(pool: Pool, tmp_path: Path) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        seen: set[str] = set()
        with storm_on(lab.sandbox, lab.master) as storm:
            end = time.monotonic() + FULL
            while time.monotonic() < end:
                # the worker's own sessions are ended too, and their places taken
                await asyncio.to_thread(storm.fill)
                if (observation := await _observation(lab)) is not None and observation.failure is not None:
                    seen.add(observation.failure.code)
                    assert observation.reach.answers, observation
                await asyncio.sleep(0.3)
        assert "too_many_connections" in seen, seen
        await lab.worker.ready()
        await lab.no_failover()


async def _observation(lab: FaultLab) -> NodeObservation | None:
    state = await lab.worker.state()
    node = state.snapshot.node(lab.master.label) if state is not None else None
    return node.observation if node is not None else None


async def test_a_password_that_was_changed_is_no_failover(pool: Pool, tmp_path: Path) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        account = lab.sandbox.accounts.admin
        alter = f"ALTER USER '{account.user}'@'%' IDENTIFIED BY "
        nodes = lab.sandbox.nodes
        root = [_as_root(node.client.socket, account.password) for node in nodes]
        try:
            for session in root:
                _run(session, "SET SESSION sql_log_bin = 0", alter + "'another one'")
                _kill_sessions(session, account.user)
            await lab.worker.until_state(lambda state: state.diagnosis.kind != "Healthy", "a diagnosis")
            begun = time.monotonic()
            state = await lab.worker.until_state(lambda state: time.monotonic() - begun > 7, "some time")
            assert not state.readiness.ready
            for node in state.snapshot.nodes:
                assert node.observation is not None
                assert node.observation.failure is not None
                assert node.observation.failure.code == "access_denied"
                assert node.observation.reach.answers
            assert not await lab.worker.operations()
        finally:
            for session in root:
                _run(session, alter + f"'{account.password}'")
                session.close()
        await lab.worker.ready()
        await lab.no_failover()


def _as_root(socket: Path, password: str) -> Session:
    return pymysql.connect(unix_socket=str(socket), user="root", password=password, autocommit=True)


def _run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.query(statement)


def _kill_sessions(session: Session, user: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE user = %s AND id <> CONNECTION_ID()", (user,)
        )
        for (number,) in cursor.fetchall():
            with contextlib.suppress(pymysql.MySQLError):
                cursor.execute(f"KILL {int(number)}")


async def test_a_master_whose_host_has_no_ssh_is_replaced_when_it_refuses_but_never_without_proof(
    pool: Pool, tmp_path: Path
) -> None:
    """SSH to the master's host is down: it cannot be fenced, and the policy wants that. Nothing is done."""
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        await lab.master.ssh.stop()
        await lab.worker.until_state(lambda state: not state.readiness.ready, "the guard to be red")
        lab.master.kill()
        state = await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "MasterDead", "a diagnosis"
        )
        assert any("fenced" in guard.reason and guard.ok is not True for guard in state.readiness.guards)
        assert not await is_writable(lab.slave)
        assert not await lab.worker.operations()
        await lab.master.ssh.start()
        await lab.becomes_writable(lab.slave)
        await lab.worker.operation("failover")
        await lab.master.start()
        await lab.worker.operation("rejoin", state=None)


async def test_a_frozen_master_without_ssh_is_not_replaced_while_fencing_is_required(
    pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR), on_isolation="hold", isolation_hold=5) as lab:
        lab.master.ssh.freeze()
        lab.master.freeze()
        begun = time.monotonic()
        await lab.worker.until_state(
            lambda state: time.monotonic() - begun > 12 and state.diagnosis.kind != "Healthy", "a diagnosis"
        )
        lab.master.thaw()
        lab.master.ssh.thaw()
        await lab.worker.ready(60)
        await lab.no_failover()


async def test_ssh_down_on_the_slave_does_not_keep_it_from_taking_over(pool: Pool, tmp_path: Path) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        await lab.caught_up()
        await lab.slave.ssh.stop()
        lab.master.kill()
        await lab.becomes_writable(lab.slave)
        await lab.worker.operation("failover")
        await lab.sandbox.writer.resume()
        await lab.rows(5)
        await lab.slave.ssh.start()
        await lab.master.start()
        await lab.worker.operation("rejoin")


async def test_fencing_that_fails_opens_nobody(pool: Pool, tmp_path: Path) -> None:
    """The right to stop the server is gone when it is needed: the process stays, frozen and writable."""
    async with fault_lab(tmp_path, await pool.cluster(PAIR), ssh_sudo=True) as lab:
        sudo = lab.master.directory / "bin" / "sudo"
        works = sudo.read_text()
        try:
            lab.master.freeze()
            sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
            await lab.worker.until_state(
                lambda state: (
                    state.diagnosis.kind == "MasterHung"
                    and (
                        not state.readiness.ready
                        if state.operation is None
                        else state.operation.state is OperationState.FAILED
                    )
                ),
                "a failover that failed, or a guard that forbids it",
            )
            begun = time.monotonic()
            await lab.worker.until_state(lambda state: time.monotonic() - begun > 3, "some time")
            assert not await is_writable(lab.slave)
            assert not [one for one in await lab.worker.operations() if one.state is OperationState.DONE]
        finally:
            sudo.write_text(works)
            lab.master.thaw()
        await lab.worker.ready(60)
        await lab.rows(5)
        await lab.caught_up()


async def test_a_broken_sql_thread_is_told_and_its_slave_never_promoted(pool: Pool, tmp_path: Path) -> None:
    options = SandboxOptions(writer_rate=50, rows=10)
    async with fault_lab(tmp_path, await pool.cluster(options)) as lab:
        await lab.slave.sql(
            "INSERT INTO tconfig (id_config, token, value) VALUES (77777, 'only_here', '1')",
            database="pandora",
        )
        await lab.master.sql(
            "INSERT INTO tconfig (id_config, token, value) VALUES (77777, 'clash', '1')", database="pandora"
        )
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "ReplicationStopped" and not state.readiness.ready,
            "the finding",
        )
        lab.master.kill()
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "MasterDeadNoCandidate", "a diagnosis"
        )
        assert not await is_writable(lab.slave)
        await lab.master.start()
        await lab.becomes_writable(lab.master)
        await lab.worker.operation("reopen")
        assert [one.kind for one in await lab.worker.operations()] == ["reopen"]


async def test_a_full_disk_is_no_failover_and_a_switchover_is_proposed(
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]], tmp_path: Path
) -> None:
    """The server lives and answers, but no write ends: what helps is room, or a planned change of master."""
    sandbox = await sandbox_factory(SandboxOptions(writer_rate=50, rows=10))
    async with datadir_on_small_disk(sandbox.master, spare=100 * 2**20) as disk:
        await sandbox.master.sql("SET GLOBAL read_only = 0")
        for statement in ("STOP SLAVE", "START SLAVE"):  # it would try again after a minute
            await sandbox.nodes[1].sql(statement)
        async with fault_lab(tmp_path, sandbox) as lab:
            await lab.rows(10)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(b"\0" * 2**20):
                    continue
            state = await lab.worker.until_state(
                lambda state: state.diagnosis.kind == "MasterImpaired", "the finding", 60
            )
            (impaired,) = [one for one in state.diagnosis.findings if one.kind == "MasterImpaired"]
            assert f"switch over to {lab.slave.label}" in (impaired.hint or ""), impaired
            begun = time.monotonic()
            await lab.worker.until_state(lambda state: time.monotonic() - begun > 3, "some time")
            assert not await lab.worker.operations()
            assert not await is_writable(lab.slave)
            assert await follows(lab.slave, lab.master)
        # it would wait a minute for its disk
        sandbox.master.kill()
        await sandbox.master.wait_gone()


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["ahead", "back"])
async def test_a_jump_of_the_workers_clock_is_no_fault_and_makes_none(
    seconds: int, pool: Pool, tmp_path: Path
) -> None:
    """In the middle of a short freeze, which it neither lengthens nor hides, and of a failover."""
    async with fault_lab(tmp_path, await pool.cluster(SEMI_SYNC)) as lab:
        await lab.worker.stop()
        lab.worker.start(jumping=True)
        await lab.worker.ready()
        await lab.rows(10)
        begun = time.monotonic()
        lab.master.freeze()
        await lab.worker.until_state(
            lambda state: time.monotonic() - begun > 1.5 and state.diagnosis.kind != "Healthy", "a suspicion"
        )
        lab.worker.jump(seconds)
        await asyncio.sleep(max(0.0, begun + 2.5 - time.monotonic()))
        lab.master.thaw()
        state = await lab.worker.until_state(
            lambda state: any("clock" in one.reason for one in state.readiness.guards if one.ok is False),
            "a guard that names the clock",
        )
        assert abs(state.snapshot.at - time.time() - seconds) < 60
        await lab.rows(10)
        await lab.no_failover()
        lab.worker.jump(0)
        await lab.worker.ready()
        lab.master.kill()
        await lab.worker.until_state(lambda state: state.operation is not None, "the beginning of a failover")
        lab.worker.jump(seconds)
        await lab.becomes_writable(lab.slave)
        await lab.worker.operation("failover")
        await lab.rows(10)
        await lab.assert_nothing_lost(lab.slave)
        lab.worker.jump(0)
        await lab.master.start()
        await lab.worker.operation("rejoin", state=None)

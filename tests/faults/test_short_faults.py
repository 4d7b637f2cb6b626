"""Ten minutes of faults, every one shorter than what counts: nobody may be promoted, whatever coincides."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pymysql
import pytest
from support.faultlab import FaultLab, Pool, fault_lab
from support.operating import follows, until

from pfms_ha_tui.sandbox import SandboxNode, SandboxOptions

SECONDS = 600.0
PAIR = SandboxOptions(netns=True, writer_rate=50)
_FREEZE = (0.2, 3.9)
_CUT = (0.5, 44.0)
_STORM = (1.0, 10.0)
_SSH = (0.5, 10.0)
_CONNECTIONS = 10


@pytest.mark.soak
@pytest.mark.netns
@pytest.mark.timeout(1200)
async def test_soak_of_short_faults_is_no_failover(pool: Pool, tmp_path: Path) -> None:
    """Freezes below 4 s, cuts below 45 s, full connection tables, SSH servers that go and come."""
    seed = int(time.time())
    chance = random.Random(seed)  # noqa: S311
    happened: Counter[str] = Counter()
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        end = time.monotonic() + SECONDS
        kinds: dict[str, Callable[[FaultLab, random.Random], Awaitable[None]]] = {
            "freeze": _freeze,
            "cut": _cut,
            "storm": _storm,
            "ssh": _ssh,
        }
        while time.monotonic() < end:
            # one fault, or two that overlap
            for_now = chance.sample(sorted(kinds), k=chance.choice([1, 1, 2]))
            happened.update(for_now)
            await asyncio.gather(*(kinds[kind](lab, chance) for kind in for_now))
            await asyncio.sleep(chance.uniform(0.1, 4))
            assert not await lab.worker.operations(), f"seed {seed}, {dict(happened)}"
        await lab.worker.ready(120)
        await lab.no_failover()
        await lab.rows(10)
        await lab.caught_up()
        print(f"\nseed {seed}: {dict(happened)}, no operation began")


async def _freeze(lab: FaultLab, chance: random.Random) -> None:
    victim = chance.choice([lab.master, lab.master, lab.slave])
    victim.freeze()
    await asyncio.sleep(chance.uniform(*_FREEZE))
    victim.thaw()


async def _cut(lab: FaultLab, chance: random.Random) -> None:
    master, slave = lab.master.label, lab.slave.label
    pairs = [("worker", master), ("worker", slave), (master, slave)]
    cut = chance.sample(pairs, k=chance.choice([1, 1, 2, 3]))
    how = chance.choice(["drop", "reject"]) if len(cut) == 1 else "drop"
    for one, other in cut:
        lab.sandbox.partitions.cut(one, other, how="reject" if how == "reject" else "drop")
    await asyncio.sleep(chance.uniform(*_CUT) if chance.random() < 0.5 else chance.uniform(0.5, 8))
    for one, other in cut:
        lab.sandbox.partitions.heal(one, other)
    await until(lambda: follows(lab.slave, lab.master), "replication to go on", 90)


async def _storm(lab: FaultLab, chance: random.Random) -> None:
    """Whoever is not connected yet gets error 1040."""
    seconds = chance.uniform(*_STORM)
    with contextlib.suppress(pymysql.MySQLError, OSError):
        await asyncio.to_thread(_take_all, lab.master, lab, seconds)


def _take_all(node: SandboxNode, lab: FaultLab, seconds: float) -> None:
    account = lab.sandbox.accounts.pandora
    end = time.monotonic() + seconds
    keeper = node.client.connect(database=None, timeout=60)
    taken: list[pymysql.connections.Connection[pymysql.cursors.Cursor]] = []
    with contextlib.closing(keeper), keeper.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.max_connections AS n")
        before = int((cursor.fetchone() or {})["n"])
        cursor.execute(f"SET GLOBAL max_connections = {_CONNECTIONS}")
        try:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = %s",
                (lab.sandbox.accounts.admin.user,),
            )
            for row in cursor.fetchall():
                with contextlib.suppress(pymysql.MySQLError):
                    cursor.execute(f"KILL {int(row['id'])}")
            while time.monotonic() < end:
                with contextlib.suppress(pymysql.MySQLError, OSError):
                    taken.append(
                        pymysql.connect(
                            unix_socket=str(node.client.socket), user=account.user, password=account.password
                        )
                    )
                time.sleep(0.02)
        finally:
            for session in taken:
                session.close()
            cursor.execute(f"SET GLOBAL max_connections = {before}")


async def _ssh(lab: FaultLab, chance: random.Random) -> None:
    victim = chance.choice([lab.master, lab.slave])
    await victim.ssh.stop()
    await asyncio.sleep(chance.uniform(*_SSH))
    await victim.ssh.start()

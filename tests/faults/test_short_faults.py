"""Ten minutes of faults, every one shorter than what counts: nobody may be promoted, whatever coincides."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.faultlab import FaultLab, Pool, fault_lab
from support.operating import follows, until
from support.storm import storm_on

from pfms_ha_tui.sandbox import SandboxOptions

SECONDS = 600.0
PAIR = SandboxOptions(netns=True, writer_rate=50)
_FREEZE = (0.2, 3.9)
_CUT = (0.5, 44.0)
_STORM = (1.0, 10.0)
_SSH = (0.5, 10.0)


@pytest.mark.soak
@pytest.mark.netns
@pytest.mark.timeout(1200)
async def test_soak_of_short_faults_is_no_failover(pool: Pool, tmp_path: Path) -> None:
    """Freezes below 4 s, cuts below 45 s, full connection tables, SSH servers that go and come."""
    seed = int(time.time())
    chance = random.Random(seed)  # noqa: S311
    happened: Counter[str] = Counter()
    seen: set[str] = set()
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        watching = asyncio.create_task(_watch(lab, seen))
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
        watching.cancel()
        assert not happened["storm"] or "too_many_connections" in seen, seen
        await lab.worker.ready(120)
        await lab.no_failover()
        await lab.rows(10)
        await lab.caught_up()
        print(f"\nseed {seed}: {dict(happened)}, the worker saw {sorted(seen)}, no operation began")


async def _watch(lab: FaultLab, seen: set[str]) -> None:
    """What the worker says is wrong with the nodes."""
    while True:
        state = await lab.worker.state()
        for node in state.snapshot.nodes if state is not None else ():
            if node.observation is not None and node.observation.failure is not None:
                seen.add(node.observation.failure.code)
        await asyncio.sleep(0.3)


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
    # in a thread: the server may be frozen meanwhile
    await asyncio.to_thread(_rage, lab, chance.uniform(*_STORM))


def _rage(lab: FaultLab, seconds: float) -> None:
    end = time.monotonic() + seconds
    with storm_on(lab.sandbox, lab.master) as storm:
        while time.monotonic() < end:
            storm.fill()
            time.sleep(0.05)


async def _ssh(lab: FaultLab, chance: random.Random) -> None:
    victim = chance.choice([lab.master, lab.slave])
    await victim.ssh.stop()
    await asyncio.sleep(chance.uniform(*_SSH))
    await victim.ssh.start()

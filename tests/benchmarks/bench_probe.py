"""What watching costs: a probe of a real node, 100 probers in one process, and a death noticed.

Run as ``python tests/benchmarks/bench_probe.py`` or ``pytest -m bench tests/benchmarks/bench_probe.py``.

probe    from sending the questions to the last byte of the answers, on a healthy local node
         (goal: median ≤ 5 ms)
cpu      of one core, for 100 probers at 1 s ticks; the 100 servers at the wire are another process
notice   kill -9 → the second refusal is reported, at an interval of a minute, so that it is the open
         socket that tells
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.nodekit import Recorder, fake_cluster, sandbox_cluster

from pfms_ha_tui.cluster.observation import Reach
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.probe import Probe
from pfms_ha_tui.nodes.prober import NodeProber
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

ROUNDS = 500
CROWD = 100
SECONDS = 20.0
KILLS = 10


def spread(values: list[float]) -> str:
    """Median, 99th percentile and maximum of seconds, as milliseconds."""
    ordered = sorted(values)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return (
        f"median {statistics.median(ordered) * 1e3:.1f} ms, "
        f"p99 {late * 1e3:.1f} ms, max {ordered[-1] * 1e3:.1f} ms"
    )


async def probe_latency(flavor: Flavor) -> float:
    """Print and return the median of a probe, master and slave together."""
    async with Sandbox.start(SandboxOptions(flavor=flavor, rows=1000)) as sandbox:
        cluster = sandbox_cluster(sandbox)
        taken: list[float] = []
        spent = 0.0

        def run() -> None:
            nonlocal spent
            for node in cluster.nodes:
                with SqlSession.open(node, cluster, several=True) as session:
                    probe = Probe(session, cluster)
                    probe.ask(lambda _: None)
                    started = time.process_time()
                    for _ in range(ROUNDS):
                        taken.append(probe.ask(lambda _: None).latency)
                        time.sleep(0.002)
                    spent += time.process_time() - started

        await asyncio.to_thread(run)
        print(f"probe {flavor}: {spread(taken)}; cpu {spent / len(taken) * 1e3:.2f} ms each")
        return statistics.median(taken)


@contextlib.contextmanager
def crowd(count: int) -> Iterator[list[int]]:
    """Ports of servers at the wire, in a process of their own."""
    tests = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    with subprocess.Popen(
        [sys.executable, "-m", "support.fakeserver", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        try:
            yield [int(process.stdout.readline()) for _ in range(count)]
        finally:
            process.kill()


def crowd_cost() -> tuple[float, float]:
    """Print and return the share of a core that 100 probers take, and the 99th percentile of their gaps."""
    with crowd(CROWD) as ports:
        cluster = fake_cluster(*ports, policy=Policy(interval=1.0))
        recorders = [Recorder() for _ in ports]
        probers = [
            NodeProber(node, cluster, recorder)
            for node, recorder in zip(cluster.nodes, recorders, strict=True)
        ]
        for prober in probers:
            prober.start()
        for recorder in recorders:
            recorder.wait_reach(Reach.ALIVE)
        started, clock = time.process_time(), time.monotonic()
        time.sleep(SECONDS)
        used = (time.process_time() - started) / (time.monotonic() - clock)
        began = time.monotonic()
        assert all(prober.stop(20.0) for prober in probers)
        ended = time.monotonic() - began
    gaps: list[float] = []
    latencies: list[float] = []
    for recorder in recorders:
        times = [seen.mono for seen in recorder.seen]
        gaps += [later - sooner for sooner, later in itertools.pairwise(times)]
        latencies += [seen.latency for seen in recorder.seen if seen.latency is not None]
    late = sorted(gaps)[int(len(gaps) * 0.99)]
    print(f"{CROWD} probers at 1 s: {used * 100:.1f} % of a core, gap p99 {late * 1e3:.0f} ms")
    print(f"{CROWD} probers, latency: {spread(latencies)}")
    print(f"{CROWD} probers stopped in {ended:.2f} s")
    return used, late


async def notice(flavor: Flavor) -> float:
    """Print and return the median time from kill -9 to the second reported refusal."""
    taken: list[float] = []
    async with Sandbox.start(SandboxOptions(flavor=flavor, rows=1000, writer=False)) as sandbox:
        cluster = sandbox_cluster(sandbox, policy=Policy(interval=60.0))
        node = sandbox.nodes[0]
        for _ in range(KILLS):
            recorder = Recorder()
            prober = NodeProber(cluster.nodes[0], cluster, recorder)
            prober.start()
            await asyncio.to_thread(recorder.wait_reach, Reach.ALIVE)
            started = time.monotonic()
            node.kill()
            gone = await asyncio.to_thread(
                recorder.wait_for, lambda seen: seen.reach is Reach.REFUSED and seen.attempts >= 2
            )
            taken.append(gone.mono - started)
            prober.stop()
            await node.wait_gone()
            await node.start()
    print(f"kill -9 noticed on {flavor}: {spread(taken)}")
    return statistics.median(taken)


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_a_probe_is_quick(flavor: Flavor) -> None:
    assert await probe_latency(flavor) <= 0.005


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_a_hundred_probers_leave_room_for_the_rest() -> None:
    used, late = crowd_cost()
    assert used <= 0.5
    assert late <= 1.5


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_a_death_is_noticed(flavor: Flavor) -> None:
    assert await notice(flavor) <= 0.4


if __name__ == "__main__":
    for kind in Flavor:
        asyncio.run(probe_latency(kind))
        asyncio.run(notice(kind))
    crowd_cost()

"""What one worker costs: 100 observed nodes at 1 s ticks, and a pair with real servers.

Measured from outside, on the real process. The 100 nodes are servers at the wire (one master, 99 slaves)
in a process of their own; with ``--ssh`` every node's host is looked at through a real SSH server too.

cycle   from the first question of a probe to a console holding the judged state: the probe's latency, and
        the way from judging to the socket's other end (without the wait for the tick)
gap     between two looks at the same node
cpu     of one core, user and system, of the worker alone
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.fakeserver import BUILT_IN, SLAVE, Behaviour, FakeServer
from support.live_worker import config_for, healthy

from pfms_ha_tui.config import load
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.options import SSH_PORT
from pfms_ha_tui.worker.client import StateUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import ClusterState


@dataclass
class Figures:
    """What was measured."""

    cycles: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: float = 0.0
    diagnosis: str = ""

    def report(self, title: str) -> str:
        """One line."""
        cycles = [1000 * _at(self.cycles, percent) for percent in (50, 99, 100)]
        probes = [1000 * _at(self.latencies, percent) for percent in (50, 99)]
        gaps = [_at(self.gaps, percent) for percent in (50, 99, 100)]
        return (
            f"{title}: cycle p50 {cycles[0]:.1f} ms, p99 {cycles[1]:.1f} ms, max {cycles[2]:.1f} ms;"
            f" probe p50 {probes[0]:.2f} ms, p99 {probes[1]:.2f} ms;"
            f" gap p50 {gaps[0]:.3f} s, p99 {gaps[1]:.3f} s, max {gaps[2]:.3f} s (n={len(self.gaps)});"
            f" cpu median {statistics.median(self.cpu):.1f} %, max {max(self.cpu):.1f} %;"
            f" rss {self.rss:.1f} MB; {self.diagnosis}"
        )


def _at(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def serve(count: int) -> None:
    """``count`` servers, the first a master that the others follow; their ports on stdout."""
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(FakeServer(_master()))
        slaves = [
            stack.enter_context(FakeServer(_slave(number, master.port))) for number in range(2, count + 1)
        ]
        print("\n".join(str(server.port) for server in (master, *slaves)), flush=True)
        sys.stdin.read()


def _master() -> Behaviour:
    names, ((*values,),) = BUILT_IN["AS clock"]
    return Behaviour(
        answers={
            "AS clock": (names, [_state(tuple(names), values, server_id=1, read_only=0)]),
            "SLAVES STATUS": (tuple(SLAVE), []),
            "MASTER STATUS": (("File", "Position"), [("binlog.000018", 1135140)]),
        }
    )


def _slave(number: int, port: int) -> Behaviour:
    names, ((*values,),) = BUILT_IN["AS clock"]
    follows = SLAVE | {"Master_Host": "127.0.0.1", "Master_Port": port}
    return Behaviour(
        answers={
            "AS clock": (names, [_state(tuple(names), values, server_id=number, read_only=1)]),
            "SLAVES STATUS": (tuple(follows), [tuple(follows.values())]),
        }
    )


def _state(
    names: tuple[str, ...], values: list[object], *, server_id: int, read_only: int
) -> tuple[object, ...]:
    changed = {"server_id": server_id, "read_only": read_only, "clock": f"{time.time():.2f}"}
    return tuple(changed.get(name, value) for name, value in zip(names, values, strict=True))


@contextlib.contextmanager
def servers(count: int) -> Iterator[list[int]]:
    """The ports of that many servers in another process."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield [int(process.stdout.readline()) for _ in range(count)]
    finally:
        process.communicate("")


def many_config(folder: Path, ports: list[int], ssh: Sandbox | None) -> Path:
    """Settings for one cluster of that many nodes."""
    lines = [
        "[worker]",
        f'state_dir = "{folder / "state"}"',
        "[clusters.many]",
        'mode = "manual"',
        'admin_user = "root"',
        'admin_password = "bench-password"',
        'replication_user = "slaveuser"',
        'replication_password = "bench-password"',
        'tls_mode = "off"',
    ]
    if ssh is None:
        lines.append("ssh_enabled = false")
    else:
        text = ssh.config_path.read_text()
        lines += [line for line in text.splitlines() if line.startswith(("ssh_key", "ssh_known_hosts"))]
    for number, port in enumerate(ports, 1):
        lines += [
            "[[clusters.many.nodes]]",
            f'label = "node{number}"',
            'host = "127.0.0.1"',
            f"port = {port}",
        ]
        if ssh is not None:
            lines += [f'ssh_host = "{ssh.nodes[0].host}"', f"ssh_port = {SSH_PORT}"]
    path = folder / "config.toml"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


async def watch(client: WorkerClient, seconds: float) -> Figures:
    """Follow the states for so long, after the start has settled."""
    figures = Figures()
    pid = client.welcome.pid
    seen: dict[str, float] = {}
    began, cpu_began, cpu = time.monotonic(), time.monotonic(), _cpu(pid)
    async for update in client.subscribe():
        now = time.monotonic()
        if not isinstance(update, StateUpdate):
            continue
        _take(figures, update.state, seen, now)
        if now - cpu_began >= 5.0:
            used = _cpu(pid)
            figures.cpu.append(100 * (used - cpu) / (now - cpu_began))
            cpu, cpu_began = used, now
        if now - began >= seconds:
            break
    figures.rss = _rss(pid)
    return figures


def _take(figures: Figures, state: ClusterState, seen: dict[str, float], now: float) -> None:
    figures.diagnosis = f"{state.diagnosis.kind}: {state.diagnosis.text[:100]}"
    for node in state.snapshot.nodes:
        look = node.observation
        if look is None or seen.get(node.label) == look.mono:
            continue
        if node.label in seen:
            figures.gaps.append(look.mono - seen[node.label])
            figures.latencies.append(look.latency or 0.0)
            figures.cycles.append((look.latency or 0.0) + now - state.snapshot.mono)
        seen[node.label] = look.mono


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


async def measure(
    config: Path, environ: dict[str, str], seconds: float, settle: float, wait: bool
) -> Figures:
    """Start a worker with the settings and watch it."""
    settings = load(config)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pfms_ha_tui", "worker", "--config", str(config)),
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while not settings.worker.socket.exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.05)
        async with await WorkerClient.connect(settings.worker.socket, client="bench") as client:
            if wait:
                await healthy(client)
            await asyncio.sleep(settle)
            async with await WorkerClient.connect(settings.worker.socket, client="bench") as second:
                return await watch(second, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def bench_many(count: int, seconds: float, *, ssh: bool) -> Figures:
    """One worker, many nodes."""
    with tempfile.TemporaryDirectory() as name, servers(count) as ports:
        folder = Path(name)
        if not ssh:
            return await measure(many_config(folder, ports, None), {}, seconds, 10.0, wait=False)
        async with Sandbox.start(SandboxOptions(nodes=1, writer=False)) as sandbox:
            config = many_config(folder, ports, sandbox)
            return await measure(config, sandbox.environment, seconds, 20.0, wait=False)


async def bench_pair(seconds: float) -> Figures:
    """One worker, the demo's two real servers."""
    with tempfile.TemporaryDirectory() as name:
        async with Sandbox.start(SandboxOptions(nodes=2)) as sandbox:
            config = config_for(sandbox, Path(name))
            return await measure(config, sandbox.environment, seconds, 5.0, wait=True)


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_100_nodes_at_1_s_ticks_fit_into_one_core() -> None:
    figures = await bench_many(100, 60.0, ssh=False)
    print("\n" + figures.report("worker, 100 nodes"))
    assert _at(figures.cycles, 99) <= 1.0
    assert statistics.median(figures.cpu) <= 100.0


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_a_pair_costs_little() -> None:
    figures = await bench_pair(60.0)
    print("\n" + figures.report("worker, 2 nodes"))
    assert figures.rss <= 80.0


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--serve", type=int, help="only be that many servers")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--ssh", action="store_true", help="look at every node's host too")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    figures = await bench_many(arguments.nodes, arguments.seconds, ssh=arguments.ssh)
    print(figures.report(f"worker, {arguments.nodes} nodes{', ssh' if arguments.ssh else ''}"))
    print((await bench_pair(arguments.seconds)).report("worker, 2 nodes"))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

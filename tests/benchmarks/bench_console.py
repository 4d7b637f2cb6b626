"""What the console costs: time to the first node row, bytes on the wire, processor, memory.

The real program in a pseudo-terminal of 120x40, against a worker that publishes two nodes every second
with positions and write rates that move, as on a cluster under load. ``--socket`` measures against a
worker that runs already (of the sandbox, say).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support import console_past, console_states
from support.console_terminal import Terminal, environment
from support.scripted import ScriptedWorker

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.worker.protocol import ClusterState

CONFIG = """
[worker]
state_dir = "{folder}"
socket = "{socket}"

[clusters.pandora-prod]
mode = "automatic"
admin_user = "pandora"
admin_password = "none-of-it"

[[clusters.pandora-prod.nodes]]
label = "node1"
host = "127.0.0.1"

[[clusters.pandora-prod.nodes]]
label = "node2"
host = "127.0.0.2"
"""
FIRST_ROW = b"binlog.18:"
"""Stands in a node's row and nowhere else before it."""


LIMITS = {
    "first row": ("s", 0.8),
    "wire": ("B/s", 4000.0),
    "cpu": ("% of a core", 4.0),
    "rss": ("MB", 80.0),
}
"""Figure → unit, and what it must not exceed."""


def moving(state: ClusterState, tick: int) -> ClusterState:
    """``state`` a tick later: time, positions, latencies and write rates have moved."""
    now, wall = time.monotonic(), time.time()
    position = BinlogPosition("binlog.000018", 1_135_140 + tick * 18_211)
    nodes = []
    for node in state.snapshot.nodes:
        seen = node.last_good
        assert seen is not None
        assert seen.facts is not None
        facts = seen.facts
        if facts.replication:
            lag = tick % 9 // 8
            follows = replace(facts.replication[0], read=position, executed=position, seconds_behind=lag)
            facts = replace(facts, replication=(follows,))
        else:
            facts = replace(facts, binlog=position)
        seen = replace(seen, at=wall, mono=now, latency=0.0007 + tick % 5 / 10_000, facts=facts)
        shell = replace(node.shell, mono=now, at=wall) if node.shell else None
        nodes.append(
            replace(node, observation=seen, last_good=seen, shell=shell, write_rate=200.0 + tick % 37)
        )
    return replace(state, snapshot=replace(state.snapshot, at=wall, mono=now, nodes=tuple(nodes)))


@contextlib.contextmanager
def busy_worker(socket: Path) -> Iterator[None]:
    """A scripted worker in a thread, publishing once a second."""
    stop = threading.Event()
    ready = threading.Event()

    async def serve() -> None:
        state = console_states.healthy()
        async with ScriptedWorker(socket, version="0.1.0") as worker:
            worker.events += [replace(event, at=time.time() - 60) for event in console_past.past_events()]
            tick = 0
            while not stop.is_set():
                worker.publish(moving(state, tick))
                ready.set()
                tick += 1
                await asyncio.sleep(1.0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait(20)
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def measure(config: Path, runs: int, seconds: float, row: bytes) -> dict[str, list[float]]:
    """Start the console ``runs`` times; watch the last one for ``seconds``."""
    command = [sys.executable, "-m", "pfms_ha_tui", "--config", str(config), "--no-spawn"]
    figures: dict[str, list[float]] = {name: [] for name in ("first row", "wire", "cpu", "rss")}
    for run in range(runs):
        terminal = Terminal(command, environment())
        try:
            found = terminal.read(20, row)
            figures["first row"].append(time.monotonic() - terminal.started)
            if not found:
                raise SystemExit(f"no node row within 20 s; the console said: {terminal.output[-2000:]!r}")
            if run == runs - 1:
                _watch(terminal, seconds, figures)
            terminal.send(b"q")
            terminal.wait(10)
        finally:
            terminal.close()
    return figures


def _watch(terminal: Terminal, seconds: float, figures: dict[str, list[float]]) -> None:
    """Slices of ten seconds, after the console has settled."""
    terminal.read(3)
    for _ in range(max(1, round(seconds / 10))):
        before, cpu, began = len(terminal.output), terminal.cpu(), time.monotonic()
        terminal.read(10)
        took = time.monotonic() - began
        figures["wire"].append((len(terminal.output) - before) / took)
        figures["cpu"].append(100 * (terminal.cpu() - cpu) / took)
        figures["rss"].append(terminal.rss() / 1e6)


def report(figures: dict[str, list[float]]) -> list[str]:
    """One line a figure: median, least, most."""
    lines = []
    for name, values in figures.items():
        unit, limit = LIMITS[name]
        lines.append(
            f"console {name:10} median {statistics.median(values):8.3f} {unit}  "
            f"({min(values):.3f} to {max(values):.3f}, n={len(values)}; limit {limit:g})"
        )
    return lines


def measure_scripted(runs: int, seconds: float) -> dict[str, list[float]]:
    """Against the scripted worker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.toml"
        config.write_text(CONFIG.format(folder=folder, socket=folder / "worker.sock"), encoding="utf-8")
        config.chmod(0o600)
        with busy_worker(folder / "worker.sock"):
            return measure(config, runs, seconds, FIRST_ROW)


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_console_costs() -> None:
    print("\n" + "\n".join(report(measure_scripted(20, 60.0))))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="of a worker that runs already")
    parser.add_argument("--row", default=FIRST_ROW.decode(), help="text that only a node's row has")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    if arguments.config is None:
        figures = measure_scripted(arguments.runs, arguments.seconds)
    else:
        figures = measure(arguments.config, arguments.runs, arguments.seconds, arguments.row.encode())
    print("\n".join(report(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

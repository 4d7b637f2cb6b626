"""How long nobody can write: from the fault to the first row that the new master takes, on the real pair.

Default settings, the two-node sandbox, a Pandora server that writes 200 rows a second. Measured from outside
by a client that tries to write on the slave every two milliseconds.

kill        from SIGKILL to the first acknowledged INSERT on the slave: noticed, confirmed, fenced, drained,
            opened
freeze      from SIGSTOP to the same
switchover  the longest time between two acknowledged rows of the writer, and the pause as the operation
            measured it
returned    from the port of a returned writable old master being open to it being read-only
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
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.faultlab import FaultLab, Pool, fault_lab

from pfms_ha_tui.sandbox import Flavor, SandboxNode, SandboxOptions
from pfms_ha_tui.worker.protocol import OrderKind

RUNS = 20
RATE = 200.0


@dataclass(frozen=True, slots=True)
class Goal:
    """Seconds that are not to be exceeded."""

    median: float | None
    most: float


KILL = Goal(0.5, 1.0)
FREEZE = Goal(None, 6.5)
SWITCHOVER = Goal(0.25, 0.6)
RETURNED = Goal(None, 1.2)
_TRY_EVERY = 0.002


class FirstWrite(threading.Thread):
    """Tries to write on a node until it may; :attr:`at` is the moment of the acknowledgement."""

    def __init__(self, lab: FaultLab, node: SandboxNode) -> None:
        super().__init__(daemon=True)
        self.at: float | None = None
        self.stopped = False
        account = lab.sandbox.accounts.pandora
        self._host, self._account = node.host, account
        self._connection = self._connect()

    def _connect(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host=self._host,
            user=self._account.user,
            password=self._account.password,
            database="pandora",
            autocommit=True,
            ssl_disabled=True,
            connect_timeout=2,
            read_timeout=2,
        )

    def run(self) -> None:
        """Until it works."""
        statement = "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (900010, 1, 1)"
        while not self.stopped:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(statement)
            except (pymysql.MySQLError, OSError):
                if not self._connection.open:
                    with contextlib.suppress(pymysql.MySQLError, OSError):
                        self._connection = self._connect()
                time.sleep(_TRY_EVERY)
            else:
                self.at = time.monotonic()
                break
        with contextlib.suppress(pymysql.MySQLError):
            self._connection.close()


async def written(first: FirstWrite, timeout: float) -> float:
    """The moment of the first write."""
    await asyncio.to_thread(first.join, timeout)
    first.stopped = True
    if first.at is None:
        raise AssertionError(f"nobody could write for {timeout:g} s")
    return first.at


async def rejoined(lab: FaultLab) -> None:
    """The dead node is back as a slave, and the roles are turned."""
    await lab.master.start()
    await lab.worker.ready()
    lab.turn(lab.slave)


async def killed(lab: FaultLab) -> float:
    """One run of ``kill``; the writer's last rows are received first, so that the node can rejoin."""
    await lab.rows(30)
    await lab.caught_up()
    first = FirstWrite(lab, lab.slave)
    first.start()
    await asyncio.sleep(0.3 + 0.7 * (time.time() % 1))
    at = time.monotonic()
    lab.master.kill()
    took = await written(first, 30) - at
    await lab.sandbox.writer.resume()
    await rejoined(lab)
    return took


async def frozen(lab: FaultLab) -> float:
    """One run of ``freeze``."""
    await lab.rows(30)
    await lab.caught_up()
    first = FirstWrite(lab, lab.slave)
    first.start()
    at = time.monotonic()
    lab.master.freeze()
    took = await written(first, 60) - at
    await lab.sandbox.writer.resume()
    await rejoined(lab)
    return took


async def switched(lab: FaultLab) -> tuple[float, float]:
    """One run of ``switchover``: the gap the writer saw, and the pause as the operation measured it."""
    await lab.rows(100)
    await lab.sandbox.writer.reset_gap()
    begun = await lab.worker.order(OrderKind.SWITCHOVER, lab.slave.label, lab.slave.label)
    done = await lab.worker.operation("switchover", after=begun.id - 1)
    await lab.rows(50)
    gap = (await lab.sandbox.writer.stats()).longest_gap
    await lab.worker.ready()
    lab.turn(lab.slave)
    words = (done.steps[-2].text or "") + (done.text or "")
    told = [word for word in words.replace("ms", " ms").split() if word.isdigit()]
    return gap, float(told[-1]) / 1000 if told else float("nan")


async def returned(lab: FaultLab) -> float:
    """One run of ``returned``: the old master starts writable, as a site without our settings has it."""
    await lab.rows(10)
    await lab.caught_up()
    lab.master.kill()
    await lab.becomes_writable(lab.slave)
    await lab.sandbox.writer.resume()
    await lab.rows(10)
    off = ["--read-only=0"] + (["--super-read-only=0"] if lab.master.flavor is Flavor.MYSQL else [])
    start = asyncio.create_task(lab.master.start(off))
    opened = await _port_opens(lab.master)
    await start
    end = time.monotonic() + 30
    while True:
        closed = lab.sampler.closed(lab.master.label, opened)
        if closed is not None or time.monotonic() > end:
            break
        await asyncio.sleep(0.02)
    assert closed is not None, "it was never locked"
    await lab.worker.ready()
    lab.turn(lab.slave)
    return closed - opened


async def _port_opens(node: SandboxNode) -> float:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(node.host, node.port)
            writer.close()
            return time.monotonic()
        await asyncio.sleep(0.002)


def report(title: str, values: list[float], goal: Goal, unit: float = 1.0, name: str = "s") -> str:
    """Median and spread, and whether they are what they shall be."""
    shown = [value / unit for value in values]
    median, most = statistics.median(shown), max(shown)
    wanted = [f"median ≤ {goal.median / unit:g}"] if goal.median is not None else []
    wanted.append(f"max ≤ {goal.most / unit:g}")
    reached = (goal.median is None or median <= goal.median / unit) and most <= goal.most / unit
    return (
        f"{title}: median {median:.3f} {name}, min {min(shown):.3f}, max {most:.3f} (n={len(shown)});"
        f" goal {', '.join(wanted)}: {'reached' if reached else 'MISSED'}"
    )


async def measure(flavor: Flavor, runs: int, which: tuple[str, ...], directory: Path) -> list[str]:
    """Every figure of one kind of server."""
    lines: list[str] = []
    pool = Pool()
    options = SandboxOptions(flavor=flavor, writer_rate=RATE)
    try:
        async with fault_lab(directory, await pool.cluster(options)) as lab:
            if "kill" in which:
                values = [await killed(lab) for _ in range(runs)]
                lines.append(report(f"{flavor} kill -9 → writable", values, KILL))
            if "switchover" in which:
                pairs = [await switched(lab) for _ in range(runs)]
                for what, values in (
                    ("gap of the writer", [gap for gap, _ in pairs]),
                    ("write pause", [told for _, told in pairs]),
                ):
                    lines.append(report(f"{flavor} switchover, {what}", values, SWITCHOVER, 0.001, "ms"))
            if "freeze" in which:
                values = [await frozen(lab) for _ in range(runs)]
                lines.append(report(f"{flavor} SIGSTOP → writable", values, FREEZE))
            if "returned" in which:
                lab.not_ours = tuple(node.label for node in lab.sandbox.nodes)
                values = [await returned(lab) for _ in range(runs)]
                lines.append(report(f"{flavor} returned master locked", values, RETURNED))
    finally:
        pool.close()
    return lines


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_times_to_write_again(flavor: Flavor, tmp_path: Path) -> None:
    for line in await measure(flavor, RUNS, ("kill", "freeze", "switchover", "returned"), tmp_path):
        print(line)


def main() -> None:
    """The figures by themselves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flavor", type=Flavor, default=Flavor.MARIADB)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("which", nargs="*", default=["kill", "freeze", "switchover", "returned"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        lines = asyncio.run(
            measure(arguments.flavor, arguments.runs, tuple(arguments.which), Path(directory))
        )
    print("\n".join(lines))


if __name__ == "__main__":
    main()

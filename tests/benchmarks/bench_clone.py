"""A clone against the manual's way and against ``cp -r``: the same data, the same machine, writes going on.

Run as ``python tests/benchmarks/bench_clone.py [mariadb|mysql] [MEGABYTES]`` or by ``pytest -m bench``.

cp        ``cp -r`` of the datadir, the server running: what the disk can do
manual    backup, prepare, rsync one after the other, as the manual types them (only the copying, no restart)
stream    this program: copy and prepare, node to node (goal: ≤ 0.55 × manual, ≤ 1.6 × cp)
relay     the same bytes through this process (goal: its memory ≤ 100 MB)
plugin    MySQL's CLONE plugin, from its first statement to a finished datadir
writes    rows per second that the source accepts during the clone, against those before it (goal: ≥ 80 %)
progress  how far the share of the bytes that is shown is from the truth, at worst (goal: 5 %)
time left how far what is shown after the first quarter is from what it then took (goal: 20 %), as a share of
          that, or of a tenth of the whole where less is left
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.cloning import clone_of
from support.operating import Surgery, surgery

from pfms_ha_tui.config.settings import CloneMethod, Transfer
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

MEGABYTES = 2000
_WRITE_FOR = 5.0


async def fill(sandbox: Sandbox, megabytes: int) -> None:
    """Grow a table of the master until the data has the wanted size; texts compress about 2 : 1."""
    node1 = sandbox.nodes[0]
    await node1.sql("SET GLOBAL binlog_format = 'STATEMENT'")
    size = 0.0
    seed = "INSERT INTO tagente_datos_string SELECT 1, CONCAT(SHA2(RAND(), 256), REPEAT('x', 64)), {}"
    await node1.sql(seed.format("utimestamp FROM tagente_datos LIMIT 20000"), database="pandora", timeout=600)
    while size < megabytes:
        await node1.sql(
            "INSERT INTO tagente_datos_string SELECT id_agente_modulo, datos, utimestamp + 1"
            " FROM tagente_datos_string LIMIT 400000",
            database="pandora",
            timeout=600,
        )
        size = sum(path.stat().st_size for path in node1.datadir.rglob("*.ibd")) / 2**20
    await sandbox.wait_for_slaves(timeout=1200)


async def timed(command: str) -> float:
    """Seconds of a shell command."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", f"set -e -o pipefail; {command}", stderr=asyncio.subprocess.DEVNULL
    )
    status = await process.wait()
    assert status == 0, command
    return time.monotonic() - began


async def copying(sandbox: Sandbox) -> float:
    """``cp -r`` of the datadir and its removal; seconds of the copy alone."""
    with tempfile.TemporaryDirectory(dir=sandbox.root) as place:
        return await timed(f"cp -r {shlex.quote(str(sandbox.nodes[0].datadir))} {place}/; sync -f {place}")


async def by_hand(sandbox: Sandbox) -> float:
    """The manual's three commands."""
    node1, node2 = sandbox.nodes[:2]
    admin = sandbox.accounts.admin
    options = sandbox.root / "manual.cnf"
    options.touch(mode=0o600)
    options.write_text(
        f"[client]\nuser={admin.user}\npassword={admin.password}\nsocket={node1.files.socket}\n"
    )
    with tempfile.TemporaryDirectory(dir=sandbox.root) as place:
        backup, copy = f"{place}/backup", f"{place}/copy"
        tool = f"mariadb-backup --defaults-extra-file={options}"
        rsync = shlex.join(
            ["rsync", "-a", "-e", str(node1.directory / "bin" / "ssh"), f"{backup}/", f"{node2.host}:{copy}/"]
        )
        return await timed(
            f"{tool} --backup --target-dir={backup} --datadir={node1.datadir};"
            f" mariadb-backup --prepare --target-dir={backup}; {rsync}; sync -f {place}"
        )


async def writes(sandbox: Sandbox) -> float:
    """Rows per second accepted now."""
    before = (await sandbox.writer.stats()).acknowledged
    await asyncio.sleep(_WRITE_FOR)
    return ((await sandbox.writer.stats()).acknowledged - before) / _WRITE_FOR


def seconds(view: OperationView, *names: str) -> float:
    """Wall time of steps."""
    return sum(
        (step.finished_at or 0.0) - (step.started_at or 0.0) for step in view.steps if step.name in names
    )


@dataclass(slots=True)
class Shown:
    """The progress of the copy as a person saw it: when, and what."""

    looks: list[tuple[float, Progress]] = field(default_factory=list)

    async def watch(self, kit: Surgery) -> None:
        """Note each new progress, for ever."""
        while True:
            for view in kit.shown[-1:]:
                for step in view.steps:
                    now = step.progress
                    if step.name != "transfer" or now is None or step.finished_at is not None:
                        continue
                    if not self.looks or self.looks[-1][1] != now:
                        self.looks.append((time.time(), now))
            await asyncio.sleep(0.02)

    def faults(self, began: float, ended: float) -> tuple[float, list[float]]:
        """The worst of the shares of bytes, and of the times left after the first quarter, in order."""
        if not self.looks:
            return float("nan"), [float("nan")]
        whole, last = ended - began, self.looks[-1][1].done
        shares = [abs(one.done / one.total - one.done / last) for _, one in self.looks if one.total]
        left = [
            abs(one.eta - (ended - at)) / max(ended - at, whole / 10)
            for at, one in self.looks
            if one.eta is not None and at - began >= whole / 4
        ]
        return max(shares, default=float("nan")), sorted(left) or [float("nan")]


async def cloned(kit: Surgery, method: CloneMethod, transfer: Transfer | None) -> tuple[float, float, float]:
    """Seconds of copy and prepare, of the whole clone, and the share of writes that went on."""
    before = await writes(kit.sandbox)
    shown = Shown()
    watching = asyncio.create_task(shown.watch(kit))
    began, rows = time.monotonic(), (await kit.sandbox.writer.stats()).acknowledged
    view = await clone_of(kit, method=method, transfer=transfer)
    watching.cancel()
    assert view.state is OperationState.DONE, view.text
    copy = next(step for step in view.steps if step.name == "transfer")
    share, left = shown.faults(copy.started_at or 0.0, copy.finished_at or 0.0)
    print(
        f"    {len(shown.looks)} looks: the share of bytes at most {share:.1%} off, the time left"
        f" {median(left):.0%} (median), {left[-1]:.0%} at worst"
    )
    took = time.monotonic() - began
    during = ((await kit.sandbox.writer.stats()).acknowledged - rows) / took
    for step in view.steps:
        print(f"    {step.name:12} {seconds(view, step.name):6.1f} s  {step.text or ''}")
    return seconds(view, "transfer", "prepare"), took, during / before if before else 0.0


@contextlib.asynccontextmanager
async def filled(flavor: Flavor, megabytes: int) -> AsyncIterator[Surgery]:
    """A cluster with that much data."""
    options = SandboxOptions(
        flavor=flavor,
        writer_rate=200,
        variables={"innodb-buffer-pool-size": "512M"},
    )
    async with Sandbox.start(options) as sandbox:
        await fill(sandbox, megabytes)
        with tempfile.TemporaryDirectory() as place:
            async with surgery(sandbox, Path(place) / "ledger.db") as kit:
                yield kit


async def mariadb(megabytes: int) -> dict[str, float]:
    """All figures on MariaDB."""
    async with filled(Flavor.MARIADB, megabytes) as kit:
        figures = {"cp": await copying(kit.sandbox), "manual": await by_hand(kit.sandbox)}
        print(f"cp -r {figures['cp']:.1f} s; the manual's way {figures['manual']:.1f} s")
        for name, transfer in (("stream", Transfer.DIRECT), ("relay", Transfer.RELAY)):
            figures[name], whole, share = await cloned(kit, CloneMethod.STREAM, transfer)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures[f"{name} writes"], figures["memory"] = share, memory
            against = {other: figures[name] / figures[other] for other in ("manual", "cp")}
            print(
                f"{name}: copy and prepare {figures[name]:.1f} s = {against['manual']:.2f} × manual,"
                f" {against['cp']:.2f} × cp; whole clone {whole:.1f} s;"
                f" writes {share:.0%}; this process at most {memory:.0f} MB"
            )
        return figures


async def mysql(megabytes: int) -> float:
    """Seconds of the CLONE plugin."""
    async with filled(Flavor.MYSQL, megabytes) as kit:
        cp = await copying(kit.sandbox)
        copy, whole, share = await cloned(kit, CloneMethod.PLUGIN, None)
        print(
            f"plugin: copy {copy:.1f} s = {copy / cp:.2f} × cp ({cp:.1f} s);"
            f" whole {whole:.1f} s; writes {share:.0%}"
        )
        return copy


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_a_streamed_clone_beats_the_manual() -> None:
    figures = await mariadb(MEGABYTES)
    assert figures["stream"] <= 0.55 * figures["manual"]
    assert figures["stream"] <= 1.6 * figures["cp"]
    assert figures["memory"] <= 100


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_the_plugin_clones() -> None:
    assert await mysql(MEGABYTES) > 0


if __name__ == "__main__":
    kinds = [word for word in sys.argv[1:] if not word.isdigit()] or ["mariadb", "mysql"]
    wanted = next((int(word) for word in sys.argv[1:] if word.isdigit()), MEGABYTES)
    if "mariadb" in kinds:
        asyncio.run(mariadb(wanted))
    if "mysql" in kinds:
        asyncio.run(mysql(wanted))

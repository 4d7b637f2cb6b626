"""A merge against the manual's ``mysqldump | mysql``: the same rows, the same servers, in one run.

Run as ``python tests/benchmarks/bench_merge.py [mariadb|mysql] [ROWS]`` or by ``pytest -m bench``. Both nodes
get ROWS rows of ``tagente_datos`` (5 million), a fifth of it of texts and a twenty-fifth of events, over 100
hours, with the manual's small buffer pool. The manual's way is timed as the manual types it: three dumps of
the window with ``FROM_UNIXTIME`` in the condition (which reads the whole table), ``sed`` for the events,
three loads.

hour      a window of one hour, 1 % of the rows, of which the master lacks a share: none, a tenth, all
          (goal: dry run ≤ 2 s; the whole merge - archive, adding, proof - 20 × faster than by hand)
full      all 100 hours, of which the master lacks a tenth (goal: rows per second ≥ those of the manual's way,
          which adds everything once more), then all of it
memory    the merge's process in each case (goal: ≤ 150 MB)

The dump program is looked for on the PATH and in ``BENCH_DUMP``; without one only the merge is timed.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from pfms_ha_tui.config import load
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest, new_directory
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions

ROWS = 5_000_000
HOURS = 100
BEGIN = 1_760_000_400
TABLES = ("tagente_datos", "tagente_datos_string", "tevento")
_CHUNK = 100_000
_EVENT_COLUMNS = (
    "id_agente, id_grupo, estado, timestamp, evento, utimestamp, event_type, id_agentmodule, criticity, tags,"
    " source, id_extra, critical_instructions, warning_instructions, unknown_instructions, custom_data, data,"
    " event_custom_id"
)


def filling(flavor: Flavor, rows: int) -> Iterator[str]:
    """Statements that fill an empty node, outside the binary log."""
    limit = "max_recursive_iterations" if flavor is Flavor.MARIADB else "cte_max_recursion_depth"
    yield "SET SESSION sql_log_bin = 0"
    yield f"SET SESSION {limit} = {_CHUNK + 1}"
    kinds = {
        "tagente_datos": (rows, "1 + i % 160, ROUND(50 + 40 * SIN(i / 4000 + i % 160), 2), {when}"),
        "tagente_datos_string": (
            rows // 5,
            "10 + 10 * (i % 20), CONCAT('Accepted&#x20;publickey&#x20;for&#x20;user', i % 40,"
            " '&#x20;from&#x20;10.0.0.', i % 250, '&#x20;', i), {when}",
        ),
        f"tevento ({_EVENT_COLUMNS})": (
            rows // 25,
            "1 + i % 20, 2, i % 3, FROM_UNIXTIME({when}), CONCAT('Module&#x20;&#039;CPU&#x20;Load&#039;"
            "&#x20;is&#x20;going&#x20;to&#x20;CRITICAL&#x20;&#40;', i, '&#41;'), {when}, 'going_up_critical',"
            " 1 + 10 * (i % 20), 4, '', 'monitoring_server', '', '', '', '', '', '5', ''",
        ),
    }
    for table, (count, columns) in kinds.items():
        when = f"{BEGIN} + FLOOR(i * {HOURS * 3600} / {count})"
        for first in range(0, count, _CHUNK):
            end = min(first + _CHUNK, count)
            yield (
                f"INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n"
                f" WHERE i + 1 < {end}) SELECT {columns.format(when=when)} FROM n"
            )


def fill(node: SandboxNode, rows: int) -> None:
    """Empty and writable, then full."""
    words = "SLAVE" if node.flavor is Flavor.MARIADB else "REPLICA"
    node.client.query(f"STOP {words}")
    if node.flavor is Flavor.MYSQL:
        node.client.query("SET GLOBAL super_read_only = 0")
    node.client.query("SET GLOBAL read_only = 0")
    empty = [(f"DELETE FROM {table}", None) for table in ("tevent_comment", "tevent_extended")]
    empty += [("SET SESSION foreign_key_checks = 0", None)]
    empty += [(f"TRUNCATE TABLE {table}", None) for table in TABLES]
    script = [*empty, *((statement, None) for statement in filling(node.flavor, rows))]
    node.client.script(script, database="pandora", timeout=1800)


def take_away(node: SandboxNode, window: Window, share: float) -> None:
    """Delete a share of the window's rows, whole modules and agents of it, outside the binary log."""
    if share <= 0:
        return
    for table in TABLES:
        column = "id_evento" if table == "tevento" else "utimestamp"
        where = f"utimestamp >= {window.start} AND utimestamp < {window.end}"
        if share < 1:
            where += f" AND {column} % 100 < {share * 100:g}"
        node.client.script(
            [("SET SESSION sql_log_bin = 0", None), (f"DELETE FROM {table} WHERE {where}", None)],
            database="pandora",
            timeout=1800,
        )


def by_program(sandbox: Sandbox, window: Window) -> dict[str, float]:
    """Seconds of each phase in a process of its own, and its memory in megabytes."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "child",
                str(sandbox.config_path),
                place,
                str(window.start),
                str(window.end),
            ],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdout=subprocess.PIPE,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def child(config: str, place: str, start: str, end: str) -> None:
    """One merge of node2 into node1, timed."""
    cluster = load(Path(config)).clusters[0]
    job = Merge(cluster, MergeRequest(losing="node2", master="node1", window=Window(int(start), int(end))))
    figures: dict[str, float] = {}
    began = time.monotonic()
    plan = job.plan(Control())
    figures["plan"] = time.monotonic() - began
    directory = new_directory(Path(place), "node2", "node1", 0.0)
    began = time.monotonic()
    job.archive(directory, Control())
    figures["archive"] = time.monotonic() - began
    mark = time.monotonic()
    result = job.apply(directory, Control())
    figures["apply"] = time.monotonic() - mark
    mark = time.monotonic()
    check = job.verify(directory, result, Control())
    figures["verify"] = time.monotonic() - mark
    figures["total"] = time.monotonic() - began
    figures["rows"] = float(sum(one.rows for one in result.tables))
    figures["added"] = float(result.added)
    figures["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert check.good
    assert plan.to_add == result.added
    print(json.dumps(figures))


def dump_program(node: SandboxNode) -> list[str] | None:
    """The dump program of this kind of server."""
    chosen = os.environ.get("BENCH_DUMP")
    if chosen:
        return shlex.split(chosen)
    names = ("mariadb-dump",) if node.flavor is Flavor.MARIADB else ("mysqldump",)
    places = os.pathsep.join([str(node.directory / "bin"), os.environ.get("PATH", "")])
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return [found]
    return None


def by_hand(sandbox: Sandbox, window: Window) -> float | None:
    """Seconds of the manual's way; ``None`` without a dump program."""
    master, losing = sandbox.nodes[:2]
    dump, client = dump_program(losing), shutil.which("mysql") or shutil.which("mariadb")
    if dump is None or client is None:
        return None
    admin = sandbox.accounts.admin
    with tempfile.TemporaryDirectory() as place:
        options = Path(place) / "manual.cnf"
        options.touch(mode=0o600)
        options.write_text(f"[client]\nuser={admin.user}\npassword={admin.password}\n")
        zone = datetime.now().astimezone().tzinfo
        first, last = (
            datetime.fromtimestamp(moment, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
            for moment in (window.start, window.end)
        )
        began = time.monotonic()
        for table in TABLES:
            file = Path(place) / f"{table}.sql"
            where = f'FROM_UNIXTIME(utimestamp) > "{first}" AND FROM_UNIXTIME(utimestamp) < "{last}"'
            with file.open("wb") as out:
                subprocess.run(
                    [
                        dump[0],
                        f"--defaults-file={options}",
                        *dump[1:],
                        f"--host={losing.host}",
                        *("-n", "-t", "--skip-create-options", "--databases", "pandora", "--tables", table),
                        f"--where={where}",
                    ],
                    stdout=out,
                    check=True,
                )
            if table == "tevento":
                subprocess.run(["sed", "-i", "s/([0-9]*,/(NULL,/gi", str(file)], check=True)
            with file.open("rb") as text:
                subprocess.run(
                    [client, f"--defaults-file={options}", f"--host={master.host}", "pandora"],
                    stdin=text,
                    check=True,
                )
        return time.monotonic() - began


DRY_RUN, FASTER, AS_FAST, MEMORY = 2.0, 20.0, 1.0, 150.0
"""Goals: seconds for an hour, times by hand for an hour and for everything, megabytes."""


def show(name: str, ours: dict[str, float], manual: float | None, faster: float | None) -> None:
    """One line of figures, each goal that is not reached with what it is."""
    phases = ", ".join(f"{phase} {ours[phase]:.2f}" for phase in ("archive", "apply", "verify"))
    print(
        f"{name:22} {ours['rows']:9.0f} rows, {ours['added']:9.0f} added:"
        f" dry run {ours['plan']:6.2f} s, merge {ours['total']:7.2f} s ({phases}), {ours['memory']:.0f} MB",
        end="",
    )
    missed: list[str] = []
    if manual is None:
        print("; by hand: no dump program or no client", end="")
    else:
        ratio = manual / ours["total"]
        print(f"; by hand {manual:7.2f} s = {ratio:.1f} ×", end="")
        if faster is not None and ratio < faster:
            missed.append(f"{faster:g} ×")
    if faster == FASTER and ours["plan"] > DRY_RUN:
        missed.append(f"dry run {DRY_RUN:g} s")
    if ours["memory"] > MEMORY:
        missed.append(f"{MEMORY:g} MB")
    print(f"; missed: {', '.join(missed)}" if missed else "", flush=True)


def hour(number: int) -> Window:
    return Window(BEGIN + number * 3600, BEGIN + (number + 1) * 3600)


async def measure(flavor: Flavor, rows: int) -> None:
    """All figures for one kind of server."""
    options = SandboxOptions(nodes=2, flavor=flavor, rows=0, writer=False, boot_read_only=False)
    async with Sandbox.start(options) as sandbox:
        await asyncio.gather(*(asyncio.to_thread(fill, node, rows) for node in sandbox.nodes))
        await asyncio.to_thread(_measure, sandbox)


def _measure(sandbox: Sandbox) -> None:
    master = sandbox.nodes[0]
    print(f"\n{sandbox.options.flavor}, load {os.getloadavg()[0]:.1f}", flush=True)
    for number, share in ((40, 0.0), (50, 0.1), (60, 1.0)):
        for window in (hour(number), hour(number + 2)):
            take_away(master, window, share)
        ours = by_program(sandbox, hour(number))
        show(f"hour, lacks {share:.0%}", ours, by_hand(sandbox, hour(number + 2)), FASTER)
    everything = Window(BEGIN, BEGIN + HOURS * 3600)
    take_away(master, everything, 0.1)
    ours = by_program(sandbox, everything)
    manual = by_hand(sandbox, everything)
    show("full, lacks 10%", ours, manual, AS_FAST)
    master.client.script(
        [
            ("SET SESSION sql_log_bin = 0, foreign_key_checks = 0", None),
            *((f"TRUNCATE TABLE {table}", None) for table in TABLES),
        ],
        database="pandora",
        timeout=600,
    )
    show("full, lacks all", by_program(sandbox, everything), manual, None)


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_a_merge_against_the_manuals_way(flavor: Flavor) -> None:
    await measure(flavor, ROWS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        kind = Flavor(sys.argv[1] if len(sys.argv) > 1 else "mariadb")
        asyncio.run(measure(kind, int(sys.argv[2]) if len(sys.argv) > 2 else ROWS))

"""After a real split-brain: dry run, merge, archives, taking back and restoring, by the command line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.demo import headless

from pfms_ha_tui.cli.exits import Exit


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def demo(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with headless("--scenario", "split-brain", "--flavor", request.param) as (_, described):
        yield described


def run(demo: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui", *words, "--config", demo["config"]],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=180,
        check=False,
    )


def window() -> tuple[str, ...]:
    now = datetime.now().astimezone()
    begin, end = now - timedelta(minutes=40), now + timedelta(minutes=5)
    return ("--start", begin.isoformat(" ", "seconds"), "--end", end.isoformat(" ", "seconds"))


def dry_run(demo: dict[str, Any], *span: str) -> dict[str, dict[str, int]]:
    done = run(demo, "merge", "--from", "node2", *span, "--dry-run", "--json")
    assert done.returncode == Exit.OK, done.stderr
    return {one["table"]: one for one in json.loads(done.stdout)["tables"]}


def to_add(tables: dict[str, dict[str, int]]) -> int:
    return sum(one["to_add"] for one in tables.values())


def test_a_split_brain_is_merged_taken_back_and_restored(demo: dict[str, Any]) -> None:
    span = window()

    proposed = run(demo, "merge", "--from", "node2")
    assert proposed.returncode == Exit.FAILED
    assert "proposed: --start" in proposed.stderr

    tables = dry_run(demo, *span)
    assert tables["tevento"]["to_add"] == 24
    assert tables["tevent_comment"]["to_add"] == 6
    assert tables["tagente_datos"]["skipped"] == 60
    told = run(demo, "merge", "--from", "node2", *span, "--dry-run").stdout
    assert "new-at-site-b does not exist on the master" in told
    assert "NOT merged" in told
    assert "renamed at site B" in told

    wrong = run(demo, "merge", "--from", "node1", "--into", "node2", *span, "--yes")
    assert wrong.returncode == Exit.FAILED
    assert "node1 looks like the master" in wrong.stderr
    assert "--anyway" in wrong.stderr

    unconfirmed = run(demo, "merge", "--from", "node2", *span)
    assert unconfirmed.returncode == Exit.FAILED
    assert f"window: {span[1][:19]} " in unconfirmed.stderr
    assert to_add(dry_run(demo, *span)) == to_add(tables), "nothing was changed so far"

    merged = run(demo, "merge", "--from", "node2", *span, "--yes")
    assert merged.returncode == Exit.OK, merged.stdout + merged.stderr
    assert "each as often as it should be" in merged.stderr
    assert demo["admin"]["password"] not in merged.stdout + merged.stderr

    (entry,) = json.loads(run(demo, "archive", "list", "--json").stdout)
    assert (entry["losing"], entry["master"], entry["merge"]) == ("node2", "node1", "merged")
    directory = entry["directory"]
    name = Path(directory).name
    assert name in run(demo, "archive", "list").stdout
    shown = run(demo, "archive", "show", name)
    assert shown.returncode == Exit.OK, shown.stderr
    assert "its checksum is right" in shown.stdout
    assert (
        "renamed&#x20;at&#x20;site&#x20;B"
        in run(demo, "archive", "show", directory, "--configuration").stdout
    )

    again = run(demo, "merge", "--resume", name, "--yes")
    assert again.returncode == Exit.FAILED
    assert "finished" in again.stderr

    undone = run(demo, "merge", "--undo", name[:-1], "--yes")
    assert undone.returncode == Exit.OK, undone.stdout + undone.stderr
    refused = run(demo, "resync", "node2", "--yes")
    assert refused.returncode == Exit.FAILED
    assert "node2 holds rows that nobody else has" in refused.stderr
    assert to_add(dry_run(demo, *span)) == to_add(tables)
    assert "taken back already" in run(demo, "merge", "--undo", directory, "--yes").stderr

    restored = run(demo, "merge", "--restore", f"{directory}/rows.sql.gz", "--yes")
    assert restored.returncode == Exit.OK, restored.stdout + restored.stderr
    assert to_add(dry_run(demo, *span)) == 0
    deadline = time.monotonic() + 20
    while "nobody else has" in (told := run(demo, "resync", "node2", "--dry-run").stderr):
        assert time.monotonic() < deadline, told

    damage(Path(directory) / "rows.sql.gz")
    damaged = run(demo, "archive", "show", directory)
    assert damaged.returncode == Exit.FAILED
    assert "damaged" in damaged.stderr


def damage(path: Path) -> None:
    """Change one byte of the rows; the file stays one that can be opened."""
    assert gzip.decompress(path.read_bytes())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)

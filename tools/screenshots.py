"""Every picture of the README and the runbook, made from the real program on a real cluster.

``make screenshots`` runs it. It starts ``pfms-ha-tui demo --headless``, looks at it through the console at
several sizes, brings about the faults that the pictures show, and writes PNG files into ``screenshots/``.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = ROOT / "screenshots"
SETTLE = 45.0
"""Seconds of normal life before the first picture, so that the lag graph has something to show."""

SIZES = ("80x24", "120x40", "200x60")


def main() -> int:
    """Take them all."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with cluster() as described:
        time.sleep(SETTLE)
        for size in SIZES:
            shoot(described, f"dashboard-{size}", size=size)
        shoot(described, "dashboard-light-120x40", theme="light")
        shoot(described, "dashboard-colour-blind-120x40", theme="colour-blind")
        shoot(described, "node-120x40", keys="j enter")
        shoot(described, "evidence-120x40", keys="e")
        shoot(described, "timeline-120x40", keys="t")
        shoot(described, "help-120x40", keys="question_mark")
        shoot(described, "plan-120x40", keys="j s")
        run(described, "switchover", "node2", "--yes")
        shoot(described, "operation-120x40", keys="o")
    clone()
    with cluster("--scenario", "split-brain") as described:
        shoot(described, "merge-who-lost-120x40", keys="m wait:3")
        shoot(described, "merge-window-120x40", keys="m wait:3 enter wait:2")
        shoot(described, "merge-dry-run-120x40", keys="m wait:3 enter wait:2 enter wait:3")
        shoot(described, "merge-dry-run-80x24", size="80x24", keys="m wait:3 enter wait:2 enter wait:3")
    return 0


def clone() -> None:
    """The wizard's pages, and a clone under way, so slowly that it is still there for its picture."""
    method = "j c enter enter wait:3"
    checks = f"{method} enter enter wait:4"
    with cluster("--nodes", "3", "--rows", "200000") as described:
        shoot(described, "clone-method-120x40", keys=method)
        for size in ("80x24", "120x40"):
            shoot(described, f"clone-checks-{size}", size=size, keys=checks)
        shoot(described, "clone-plan-120x40", keys=f"{checks} enter wait:1")
        command = [sys.executable, "-m", "pfms_ha_tui", "resync", "node2", "--bandwidth", "1 MB/s", "--yes"]
        with subprocess.Popen(
            [*command, "--config", described["config"]],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as resync:
            time.sleep(8)
            shoot(described, "clone-running-120x40", keys="o")
            resync.wait(timeout=300)


@contextlib.contextmanager
def cluster(*options: str) -> Iterator[dict[str, Any]]:
    """A running demo, as it describes itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pfms_ha_tui", "demo", "--headless", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the demo did not start")
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(timeout=60)


def run(described: dict[str, Any], *words: str) -> None:
    """One command on the cluster."""
    command = [sys.executable, "-m", "pfms_ha_tui", *words, "--config", described["config"]]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def shoot(
    described: dict[str, Any], name: str, *, size: str = "120x40", keys: str = "", theme: str = "dark"
) -> None:
    """One picture."""
    out = SCREENSHOTS / f"{name}.png"
    subprocess.run(
        [
            *(sys.executable, str(ROOT / "tools" / "render.py")),
            *("--socket", described["socket"], "--size", size, "--keys", keys, "--theme", theme),
            *("--out", str(out)),
        ],
        check=True,
    )
    out.with_suffix(".svg").unlink()
    sys.stderr.write(f"{out.relative_to(ROOT)}\n")


if __name__ == "__main__":
    raise SystemExit(main())

"""The demo's contract: one JSON line when healthy, everything in it real, nothing left at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.demo import headless

from pfms_ha_tui.cli.exits import Exit


def alive(pid: int) -> bool:
    """Runs, and is not merely waiting for some init to collect its exit status."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_healthy_cluster_is_described_in_one_line_and_gone_after_a_signal(number: signal.Signals) -> None:
    with headless() as (process, described):
        pids = [described["worker_pid"], *(node["mysqld_pid"] for node in described["nodes"])]
        assert all(alive(pid) for pid in pids)
        assert Path(described["config"]).is_file()
        assert Path(described["socket"]).is_socket()
        assert [node["label"] for node in described["nodes"]] == ["node1", "node2"]
        assert {"host", "port", "ssh_port", "datadir"} <= set(described["nodes"][0])
        assert set(described["admin"]) == {"user", "password"}
        status = subprocess.run(
            [sys.executable, "-m", "pfms_ha_tui", "status", "--json", "--config", described["config"]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert status.returncode == Exit.OK
        assert json.loads(status.stdout)[0]["diagnosis"]["kind"] == "Healthy"
        assert described["admin"]["password"] not in status.stdout
        os.kill(process.pid, number)
        assert process.wait(timeout=60) == Exit.OK
    assert not any(alive(pid) for pid in pids)
    assert not Path(described["root"]).exists()


def test_a_worker_that_somebody_started_for_the_demo_ends_with_it() -> None:
    with headless("--no-worker") as (process, described):
        spawn = [sys.executable, "-m", "pfms_ha_tui.worker", "--config", described["config"]]
        subprocess.run(spawn, check=True, timeout=60)
        status = subprocess.run(
            [sys.executable, "-m", "pfms_ha_tui", "events", "--json", "--config", described["config"]],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        (pid,) = {int(word) for word in re.findall(r"worker (\d+) started", status.stdout)}
        assert alive(pid)
        process.terminate()
        assert process.wait(timeout=60) == Exit.OK
        deadline = time.monotonic() + 20
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(pid)


def test_without_a_worker_only_the_cluster_runs() -> None:
    with headless("--no-worker", "--nodes", "3") as (_, described):
        assert "worker_pid" not in described
        assert len(described["nodes"]) == 3


def test_the_demo_without_a_terminal_names_the_way_that_needs_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui", "demo"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == Exit.FAILED
    assert "--headless" in done.stderr
    assert "starting" not in done.stderr, "nothing was built"

"""The commands that change a cluster, on a real one: shown, refused, rehearsed, confirmed, verified."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.demo import headless

from pfms_ha_tui.cli.exits import Exit


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, Any]]:
    with headless() as (_, described):
        yield described


def run(demo: dict[str, Any], *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui", *words, "--config", demo["config"]],
        capture_output=True,
        text=True,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        timeout=120,
        check=False,
    )


def state(demo: dict[str, Any]) -> dict[str, Any]:
    (cluster,) = json.loads(run(demo, "status", "--json").stdout)
    assert isinstance(cluster, dict)
    return cluster


def master(demo: dict[str, Any]) -> str:
    (label,) = [node["label"] for node in state(demo)["snapshot"]["nodes"] if node["role"] == "MASTER"]
    return str(label)


def other(demo: dict[str, Any]) -> str:
    return "node1" if master(demo) == "node2" else "node2"


def test_a_failover_while_the_master_lives_is_refused_with_what_to_do(demo: dict[str, Any]) -> None:
    done = run(demo, "failover", "--yes")
    assert done.returncode == Exit.FAILED
    assert "answers: use a switchover" in done.stderr


def test_without_a_terminal_nothing_starts_unconfirmed(demo: dict[str, Any]) -> None:
    before = master(demo)
    done = run(demo, "switchover", other(demo))
    assert done.returncode == Exit.FAILED
    assert "--yes" in done.stderr
    assert master(demo) == before


def test_a_rehearsal_shows_every_step_and_changes_nothing(demo: dict[str, Any]) -> None:
    before, epoch = master(demo), state(demo)["epoch"]
    done = run(demo, "drill", "switchover", other(demo))
    assert done.returncode == Exit.OK, done.stderr
    assert "read_only = 1" in done.stdout
    assert "nothing was changed" in done.stdout
    assert demo["admin"]["password"] not in done.stdout + done.stderr
    assert (master(demo), state(demo)["epoch"]) == (before, epoch)


def test_a_failover_can_be_rehearsed_while_everything_is_healthy(demo: dict[str, Any]) -> None:
    done = run(demo, "drill", "--json")
    assert done.returncode == Exit.OK, done.stderr
    assert "ordered now, it would be refused" in done.stderr
    assert json.loads(done.stdout)["state"] == "done"
    assert state(demo)["diagnosis"]["kind"] == "Healthy"


def test_a_switchover_ends_verified_with_the_roles_changed(demo: dict[str, Any]) -> None:
    target = other(demo)
    done = run(demo, "switchover", target, "--yes")
    assert done.returncode == Exit.OK, done.stderr
    assert f"{target} is MASTER" in done.stdout
    assert "writes paused for" in done.stdout
    assert master(demo) == target


def test_the_same_node_twice_is_refused(demo: dict[str, Any]) -> None:
    done = run(demo, "switchover", master(demo), "--yes")
    assert done.returncode == Exit.FAILED
    assert "is the master already" in done.stderr


def test_an_unknown_node_is_answered_with_the_known_ones(demo: dict[str, Any]) -> None:
    done = run(demo, "switchover", "node9", "--yes")
    assert done.returncode == Exit.FAILED
    assert "node1, node2" in done.stderr


def test_a_pause_is_shown_blocks_by_itself_and_can_be_ended(demo: dict[str, Any]) -> None:
    assert run(demo, "pause", "30m", "kernel update").returncode == Exit.OK
    shown = run(demo, "status").stdout
    assert "kernel update" in shown
    assert state(demo)["readiness"]["guards"][0]["ok"] is False
    assert run(demo, "resume").returncode == Exit.OK
    assert state(demo)["maintenance"] is None


def test_what_is_told_the_worker_can_be_rehearsed(demo: dict[str, Any]) -> None:
    before = state(demo)
    told = (("pause", "30m"), ("resume",), ("ack",), ("mode", "observe"), ("name-master", master(demo)))
    for words in told:
        done = run(demo, *words, "--dry-run", "--yes", "--json")
        assert done.returncode == Exit.OK, done.stderr
        assert "nothing was changed" in json.loads(done.stdout)["text"]
    after = state(demo)
    assert [after[key] for key in ("mode", "maintenance")] == [before[key] for key in ("mode", "maintenance")]


def test_the_mode_is_changed_and_told(demo: dict[str, Any]) -> None:
    assert run(demo, "mode", "observe").returncode == Exit.OK
    refused = run(demo, "switchover", other(demo), "--yes")
    assert refused.returncode == Exit.FAILED
    assert "observe" in refused.stderr
    assert run(demo, "mode", "automatic").returncode == Exit.OK
    assert state(demo)["mode"] == "automatic"


def test_acknowledging_nothing_is_said(demo: dict[str, Any]) -> None:
    done = run(demo, "ack")
    assert done.returncode == Exit.FAILED
    assert "no failover to acknowledge" in done.stderr


def test_a_resync_shows_every_command_as_it_was_asked_for(demo: dict[str, Any]) -> None:
    options = ("--method", "staged", "--bandwidth", "20 MB/s", "--threads", "2", "--dry-run")
    done = run(demo, "resync", other(demo), *options)
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "--parallel=2" in done.stdout
    assert "--bwlimit=19531" in done.stdout
    assert "no room for both" not in done.stdout


def test_a_resync_that_the_hosts_speak_against_is_refused_with_everything(demo: dict[str, Any]) -> None:
    done = run(demo, "resync", other(demo), "--method", "plugin", "--threads", "99", "--yes")
    assert done.returncode == Exit.FAILED
    assert "no CLONE plugin" in done.stderr
    assert "99 threads" in done.stderr


def test_a_resync_that_runs_is_cancelled_from_another_command_and_undone(demo: dict[str, Any]) -> None:
    assert "no operation is running" in run(demo, "cancel").stderr
    label = other(demo)
    words = ("resync", label, "--bandwidth", "100 kB/s", "--yes", "--config", demo["config"])
    command = [sys.executable, "-m", "pfms_ha_tui", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as resync:
        try:
            deadline = time.monotonic() + 60
            while not (operation := state(demo)["operation"]) or operation["state"] != "running":
                assert time.monotonic() < deadline, "the resync did not begin"
                assert resync.poll() is None, resync.communicate()
            shown = run(demo, "status").stdout
            done = run(demo, "cancel", str(operation["id"]))
            _, told = resync.communicate(timeout=60)
        finally:
            resync.kill()
    assert operation["title"].startswith(f"resync of {label} from ")
    assert "is being resynced" in shown
    assert done.returncode == Exit.OK, done.stderr
    assert done.stdout.startswith("cancelled: ")
    assert resync.returncode == Exit.FAILED, told


def test_old_data_that_may_go_first_needs_a_second_word(demo: dict[str, Any]) -> None:
    label = other(demo)
    primary, secondary = pty.openpty()
    try:
        os.write(primary, f"{label}\nyes\n".encode())
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pfms_ha_tui", "resync", label, "--give-up-old"),
                *("--config", demo["config"]),
            ],
            stdin=secondary,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(primary)
        os.close(secondary)
    assert done.returncode == Exit.FAILED
    assert "Type remove if that is meant" in done.stderr
    assert "nothing was done" in done.stderr


def test_a_bandwidth_that_is_none_is_a_usage_error(demo: dict[str, Any]) -> None:
    done = run(demo, "resync", "node2", "--bandwidth", "3 parsecs")
    assert done.returncode == Exit.USAGE
    assert "20 MB/s" in done.stderr

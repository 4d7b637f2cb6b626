"""What ``status``, ``nodes`` and ``events`` say of a worker's state, and how they end."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import console_states as states
from support.console_past import past_events
from support.console_story import CLUSTER
from support.scripted import ScriptedWorker

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.worker.protocol import ClusterState


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[worker]\nstate_dir = "{tmp_path}"\n'
        f'[clusters.{CLUSTER}]\nadmin_user = "root"\nadmin_password = "x"\n'
        f'[[clusters.{CLUSTER}.nodes]]\nlabel = "node1"\nhost = "127.0.0.1"\n'
    )
    path.chmod(0o600)
    return path


async def run(config: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pfms_ha_tui", *words, "--config", str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def ask(config: Path, state: ClusterState, *words: str) -> tuple[int, str, str]:
    async with ScriptedWorker(config.parent / "worker.sock") as worker:
        worker.publish(state)
        worker.happen(past_events())
        return await run(config, *words)


async def test_without_a_worker_the_reason_and_the_remedy_are_told(config: Path) -> None:
    status, out, err = await run(config, "status")
    assert status == Exit.NO_WORKER
    assert out == ""
    assert "no worker is running" in err
    assert "pfms-ha-tui worker" in err


async def test_a_plug_in_without_a_worker_is_unknown_in_one_line(config: Path) -> None:
    status, out, err = await run(config, "status", "--nagios")
    assert status == Exit.UNKNOWN
    assert re.fullmatch(r"PFMS-HA UNKNOWN - [^\n]+\n", out)
    assert err == ""


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (states.healthy, Exit.OK),
        (states.lagging, Exit.WARNING),
        (states.split_brain, Exit.CRITICAL),
        (states.dead_master, Exit.CRITICAL),
    ],
)
async def test_the_exit_status_is_the_health(
    config: Path, state: Callable[[], ClusterState], status: Exit
) -> None:
    assert (await ask(config, state(), "status"))[0] == status
    assert (await ask(config, state(), "status", "--nagios"))[0] == status


async def test_the_report_names_every_node_and_every_check(config: Path) -> None:
    state = states.healthy()
    _, out, _ = await ask(config, state, "status")
    for node in state.snapshot.nodes:
        assert re.search(
            rf"^\s*{node.label}\s+{node.host}:{node.port}\s+{node.role.value}", out, re.MULTILINE
        )
    for guard in state.readiness.guards:
        assert guard.title in out
    assert state.readiness.sentence in out


async def test_a_dead_node_shows_no_figure_of_its_past_as_if_it_were_live(config: Path) -> None:
    _, out, _ = await ask(config, states.dead_master(), "nodes")
    (line,) = [line for line in out.splitlines() if line.startswith("node1")]
    assert "refused" in line
    assert " ago" in line
    assert "binlog" not in line


async def test_unknown_lag_is_never_a_zero_for_a_plug_in(config: Path) -> None:
    _, out, _ = await ask(config, states.sql_stopped(), "status", "--nagios")
    assert "node2_behind'=U" in out


async def test_a_plug_in_speaks_one_line_whatever_a_server_said(config: Path) -> None:
    _, out, _ = await ask(config, states.nasty(), "status", "--nagios")
    assert out.count("\n") == 1
    assert out.count("|") == 1
    assert "\x1b" not in out


async def test_json_is_the_whole_state(config: Path) -> None:
    _, out, _ = await ask(config, states.healthy(), "status", "--json")
    (cluster,) = json.loads(out)
    assert cluster["name"] == CLUSTER
    assert [node["label"] for node in cluster["snapshot"]["nodes"]] == ["node1", "node2"]


async def test_an_unknown_cluster_is_answered_with_the_known_ones(config: Path) -> None:
    status, _, err = await ask(config, states.healthy(), "status", "--cluster", "nowhere")
    assert status == Exit.FAILED
    assert CLUSTER in err


async def test_events_come_oldest_first_and_no_more_than_asked(config: Path) -> None:
    _, out, _ = await ask(config, states.healthy(), "events", "--json", "--limit", "3")
    moments = [json.loads(line)["at"] for line in out.splitlines()]
    assert len(moments) == 3
    assert moments == sorted(moments)


async def test_followed_events_appear_as_they_happen(config: Path) -> None:
    async with ScriptedWorker(config.parent / "worker.sock") as worker:
        worker.publish(states.healthy())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pfms_ha_tui", "events", "--follow", "--json", "--config", str(config)),
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            (first, *_) = past_events()
            reading = asyncio.ensure_future(process.stdout.readline())
            async with asyncio.timeout(30):
                while not reading.done():
                    worker.server.publish_events((first,))
                    await asyncio.wait({reading}, timeout=0.1)
            assert json.loads(reading.result())["text"] == first.text
        finally:
            process.terminate()
            await process.communicate()

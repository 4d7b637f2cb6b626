"""Running Pandora's service command: real processes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from pfms_ha_tui.masking import MASK, Secret
from pfms_ha_tui.pandora.service import CommandError, restart_argv, restart_pandora, run_command


def script(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "service"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_command_is_split_like_a_shell_does_but_run_without_one() -> None:
    assert restart_argv("service 'pandora server'", "$(reboot)") == (
        "service",
        "pandora server",
        "restart-server",
        "$(reboot)",
    )


@pytest.mark.parametrize("command", ["", "   ", "service 'pandora"])
def test_a_command_that_cannot_be_split_is_refused(command: str) -> None:
    with pytest.raises(CommandError):
        restart_argv(command, "node2")


async def test_the_host_reaches_the_command(tmp_path: Path) -> None:
    program = script(tmp_path, 'echo "$@"')
    result = await restart_pandora(str(program), "10.0.0.2", timeout=20)
    assert result.output == "restart-server 10.0.0.2\n"


async def test_a_failure_tells_status_and_output_without_secrets(tmp_path: Path) -> None:
    Secret("hunter2secret")
    program = script(tmp_path, 'echo "dbpass hunter2secret" >&2; exit 3')
    with pytest.raises(CommandError) as caught:
        await restart_pandora(str(program), "node2", timeout=20)
    assert "ended with 3" in caught.value.reason
    assert MASK in caught.value.reason
    assert "hunter2secret" not in str(caught.value)


async def test_a_program_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be started"):
        await restart_pandora(str(tmp_path / "nothing"), "node2", timeout=20)


async def test_the_deadline_kills_the_whole_group(tmp_path: Path) -> None:
    program = script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait")
    started = time.monotonic()
    with pytest.raises(CommandError, match="did not end"):
        await restart_pandora(str(program), "node2", timeout=1)
    assert time.monotonic() - started < 60
    child = int((tmp_path / "child").read_text())
    for _ in range(300):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the child of the killed command still runs")


async def test_a_daemon_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    program = script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/daemon; echo started")
    try:
        result = await run_command([str(program)], timeout=100)
        assert result.output == "started\n"
    finally:
        os.kill(int((tmp_path / "daemon").read_text()), 9)


async def test_only_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    program = script(tmp_path, "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done")
    result = await run_command([str(program)], timeout=60)
    assert result.output.endswith("line 4999\n")
    assert len(result.output) <= 16_384

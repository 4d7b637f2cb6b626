"""Whatever ends the owner of a sandbox, nothing of the sandbox stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions, guardian

_OWNER = """
import asyncio, signal, sys
from pathlib import Path
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions

async def main():
    async with Sandbox.start(SandboxOptions(rows=10, root=Path(sys.argv[1]))) as sandbox:
        print(sandbox.guardian_pid, flush=True)
        await asyncio.sleep(600)

# Whoever runs the tests in the background or under nohup has them ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path (Unix sockets) that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="pfms-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start_owner(folder: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], Path]]]:
    """Starts a process that owns a sandbox; the root is the second value."""
    owners: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        root = folder / f"{guardian.ROOT_PREFIX}owned"
        owner = subprocess.Popen(
            [sys.executable, "-c", _OWNER, str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        owners.append(owner)
        return owner, root

    yield start
    for owner in owners:
        owner.kill()
        owner.wait()
        if owner.stdout is not None:
            owner.stdout.close()
    guardian.clear_away(folder / f"{guardian.ROOT_PREFIX}owned")


def _wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _guardian_pid(owner: subprocess.Popen[str]) -> int:
    assert owner.stdout is not None
    return int(owner.stdout.readline())


def _nothing_left(root: Path) -> bool:
    return not root.exists() and not guardian.processes_of(root)


Owner = Callable[[], tuple[subprocess.Popen[str], Path]]


def test_a_server_that_somebody_started_from_a_shell_of_his_own_goes_too(start_owner: Owner) -> None:
    owner, root = start_owner()
    watcher = _guardian_pid(owner)
    node = root / "node1"
    old = int((node / "main.pid").read_text())
    os.kill(old, signal.SIGKILL)
    _wait_until(lambda: not (node / "main.pid").exists(), "its supervisor noticed the end of the server")
    bare = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([node / "bin" / "systemctl", "start", "mariadb"], env=bare, check=True, timeout=60)
    server = int((node / "main.pid").read_text())
    try:
        assert server in guardian.processes_of(root)
    finally:
        owner.kill()
        owner.wait()
        _wait_until(lambda: not Path(f"/proc/{watcher}").exists(), "the guardian ended")
        gone = not Path(f"/proc/{server}").exists()
        if not gone:
            os.kill(server, signal.SIGKILL)
    assert gone
    assert _nothing_left(root)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_owner_takes_the_sandbox_with_it(start_owner: Owner, number: signal.Signals) -> None:
    owner, root = start_owner()
    watcher = _guardian_pid(owner)
    assert len(guardian.processes_of(root)) >= 5
    owner.send_signal(number)
    owner.wait(timeout=30)
    _wait_until(lambda: _nothing_left(root), f"left: {guardian.processes_of(root)}, {root.exists()}")
    _wait_until(lambda: not Path(f"/proc/{watcher}").exists(), "the guardian stays")


def test_an_owner_killed_while_it_starts_leaves_nothing(start_owner: Owner) -> None:
    owner, root = start_owner()
    _wait_until(lambda: (root / "node1" / "main.pid").exists(), "no server was started")
    owner.kill()
    owner.wait(timeout=30)
    _wait_until(lambda: _nothing_left(root), "something is left")


def test_ctrl_c_while_it_starts_leaves_nothing(start_owner: Owner) -> None:
    owner, root = start_owner()
    _wait_until(lambda: (root / "node1" / "my.cnf").exists(), "nothing was started")
    owner.send_signal(signal.SIGINT)
    owner.wait(timeout=30)
    _wait_until(lambda: _nothing_left(root), "something is left")


def test_a_frozen_server_is_removed_as_well(start_owner: Owner) -> None:
    owner, root = start_owner()
    _guardian_pid(owner)
    os.kill(int((root / "node1" / "main.pid").read_text()), signal.SIGSTOP)
    owner.kill()
    owner.wait(timeout=30)
    _wait_until(lambda: _nothing_left(root), "something is left")


def test_what_owner_and_guardian_left_is_cleared_by_the_next_start(start_owner: Owner, folder: Path) -> None:
    owner, root = start_owner()
    watcher = _guardian_pid(owner)
    assert guardian.clear_abandoned(folder) == []
    os.kill(watcher, signal.SIGKILL)
    time.sleep(0.1)
    owner.kill()
    owner.wait(timeout=30)
    assert root.exists()
    assert guardian.processes_of(root)
    assert guardian.clear_abandoned(folder) == [root]
    assert _nothing_left(root)


async def test_a_stop_leaves_nothing_and_may_be_repeated() -> None:
    sandbox = await Sandbox.start(SandboxOptions(rows=10))
    root = sandbox.root
    extra = await asyncio.create_subprocess_exec("sleep", "600", env=sandbox.environment)
    await sandbox.stop()
    assert _nothing_left(root)
    assert await extra.wait() == -signal.SIGKILL
    await sandbox.stop()


async def test_a_failed_start_leaves_nothing(folder: Path) -> None:
    root = folder / "sandbox"
    with pytest.raises(SandboxError, match="no-such-variable"):
        await Sandbox.start(SandboxOptions(root=root, variables={"no_such_variable": "1"}))
    assert _nothing_left(root)


async def test_a_directory_in_use_is_refused_and_kept(folder: Path) -> None:
    (folder / "precious").write_text("data")
    with pytest.raises(SandboxError, match="not empty"):
        await Sandbox.start(SandboxOptions(root=folder))
    assert (folder / "precious").read_text() == "data"


async def test_a_path_too_long_for_sockets_is_refused(folder: Path) -> None:
    with pytest.raises(SandboxError, match="too long"):
        await Sandbox.start(SandboxOptions(root=folder / ("x" * 100)))

"""The worker process on real servers: started, asked, hurt, stopped."""

from __future__ import annotations

import asyncio
import grp
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.live_worker import LiveWorker, alive, config_for, ended, event_where, healthy, state_where

from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.cluster.observation import Reach, SshState
from pfms_ha_tui.config import load
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import (
    ClusterState,
    EventsQuery,
    LagQuery,
    NodeDetails,
    NodeQuery,
    Rights,
)
from pfms_ha_tui.worker.spawn import spawn_worker

DEADLINE = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    """Two MariaDB nodes that no test of this module breaks."""
    sandbox = Sandbox(SandboxOptions())
    sandbox.start_now()
    yield sandbox
    sandbox.stop_now()


@pytest.fixture
async def started() -> AsyncIterator[Callable[[LiveWorker], LiveWorker]]:
    """Stops every worker that a test starts."""
    with ExitStack() as stack:

        def start(worker: LiveWorker) -> LiveWorker:
            stack.callback(worker.stop)
            return worker

        yield start


@pytest.fixture
async def worker(cluster: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]) -> LiveWorker:
    return started(LiveWorker(cluster, config_for(cluster, tmp_path)))


async def test_both_kinds_of_server_are_seen_healthy_with_every_fact(
    shared_sandbox: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    worker = started(LiveWorker(shared_sandbox, config_for(shared_sandbox, tmp_path, mode="automatic")))
    async with await worker.connect() as client:
        state = await state_where(
            client,
            lambda state: (
                state.readiness.ready and all(node.shell is not None for node in state.snapshot.nodes)
            ),
        )
        assert state.diagnosis.kind == "Healthy"
        assert state.readiness.candidate == "node2"
        assert state.notes == ()
        for node in state.snapshot.nodes:
            assert node.facts is not None
            assert node.shell is not None
            assert node.shell.state is SshState.UP
            assert node.observation is not None
            assert node.observation.missing == {}
        details = await client.call("node", NodeQuery(cluster="sandbox", node="node2"), NodeDetails)
        assert len(details.replica_status) == 1
        assert details.missing == {}
        await state_where(client, lambda later: later.snapshot.mono > state.snapshot.mono + 1.5)
        lag = await client.call("lag", LagQuery(cluster="sandbox", node="node2", since=0), list[LagSample])
        assert lag
        assert all(sample.seconds is not None for sample in lag)


async def test_a_detached_worker_outlives_who_started_it_and_is_found_again(
    cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    config = config_for(cluster, tmp_path)
    code = (
        "import asyncio, sys, os; from pathlib import Path; from pfms_ha_tui.config import load\n"
        "from pfms_ha_tui.worker.client import WorkerClient\n"
        "from pfms_ha_tui.worker.spawn import spawn_worker\n"
        "async def main():\n"
        "    await spawn_worker(Path(sys.argv[1]))\n"
        "    client = await WorkerClient.connect(load(Path(sys.argv[1])).worker.socket, client='console')\n"
        "    pid = client.welcome.pid\n"
        "    print(pid, os.getsid(pid) != os.getsid(0), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    console = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop yet
        [sys.executable, "-c", code, str(config)], stdout=subprocess.PIPE, text=True
    )
    assert console.stdout is not None
    number, own_session = console.stdout.readline().split()
    pid = int(number)
    try:
        assert own_session == "True"
        console.kill()
        console.communicate()
        with pytest.raises(WorkerError) as running:
            await spawn_worker(config)
        assert running.value.code == "running"
        async with await WorkerClient.connect(load(config).worker.socket, client="console") as client:
            assert client.welcome.pid == pid
            await healthy(client)
            os.kill(pid, signal.SIGHUP)
            before = (await client.call("state", result=list[ClusterState]))[0].snapshot.mono
            await state_where(client, lambda state: state.snapshot.mono > before + 1.5)
            for descriptor in ("0", "1", "2"):
                assert Path(f"/proc/{pid}/fd/{descriptor}").readlink() == Path("/dev/null")
            await client.call("stop")
        await ended(pid)
        assert not load(config).worker.socket.exists()
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


async def test_two_consoles_at_once_start_one_worker(
    cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    config = config_for(cluster, tmp_path)
    one, two = await asyncio.gather(spawn_worker(config), spawn_worker(config), return_exceptions=True)
    (other,) = [found for found in (one, two) if found is not None]
    assert isinstance(other, WorkerError)
    assert other.code == "running"
    async with await WorkerClient.connect(load(config).worker.socket, client="console") as client:
        pid = client.welcome.pid
        await client.call("stop")
    await ended(pid)


async def test_a_start_that_fails_says_why_in_one_sentence(cluster: Sandbox, tmp_path: Path) -> None:
    config = config_for(cluster, tmp_path)
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(WorkerError, match=r"could not be started.*cannot make the directory") as failed:
        await spawn_worker(config)
    assert "Traceback" not in failed.value.reason


async def test_a_second_worker_is_refused_with_the_pid_of_the_first(
    worker: LiveWorker, cluster: Sandbox, tmp_path: Path
) -> None:
    async with await worker.connect():
        second = LiveWorker(cluster, tmp_path / "config.toml")
        said = second.said()
    assert second.process.returncode == 4
    assert (
        f"another worker is running with the state directory {tmp_path / 'state'} (pid {worker.pid})" in said
    )
    assert len(said.strip().splitlines()) == 1


async def test_sigterm_ends_it_cleanly_and_the_next_one_remembers(
    worker: LiveWorker, cluster: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    async with await worker.connect() as client:
        await healthy(client)
    begun = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begun < DEADLINE / 2
    assert not worker.settings.worker.socket.exists()
    again = started(LiveWorker(cluster, tmp_path / "config.toml"))
    async with await again.connect() as client:
        events = await client.call("events", EventsQuery(), list[Event])
    kinds = [event.kind for event in reversed(events)]
    assert kinds[:3] == ["worker_started", "Healthy", "worker_stopped"]
    assert "worker_started" in kinds[3:]


async def test_a_killed_worker_leaves_its_journal_and_lock_usable(
    worker: LiveWorker, cluster: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    async with await worker.connect() as client:
        await healthy(client)
        await event_where(client, lambda event: event.kind == "Healthy")
        worker.process.kill()
        worker.process.communicate()
    again = started(LiveWorker(cluster, tmp_path / "config.toml"))
    async with await again.connect() as client:
        state = await healthy(client)
        assert state.notes == ()
        kinds = [event.kind for event in await client.call("events", EventsQuery(), list[Event])]
    assert kinds.count("worker_started") == 2


async def test_a_damaged_journal_is_set_aside_and_the_console_is_told(
    cluster: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    config = config_for(cluster, tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.db").write_bytes(b"garbage" * 1000)
    worker = started(LiveWorker(cluster, config))
    async with await worker.connect() as client:
        state = await healthy(client)
        assert "damaged and set aside as" in state.notes[0]
        await event_where(client, lambda event: event.kind == "journal_damaged")
    (aside,) = (tmp_path / "state").glob("journal.db.corrupt-*")
    assert aside.read_bytes() == b"garbage" * 1000


async def test_killing_the_master_shows_in_a_moment_and_a_frozen_slave_delays_nobody(
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]],
    tmp_path: Path,
    started: Callable[[LiveWorker], LiveWorker],
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=2))
    worker = started(LiveWorker(sandbox, config_for(sandbox, tmp_path)))
    node1, node2 = sandbox.nodes
    async with await worker.connect() as client:
        await healthy(client)
        node2.freeze()
        frozen = await state_where(client, lambda state: _reach(state, 1) is Reach.HUNG)
        gaps: list[float] = []
        last = _seen(frozen)

        def counts(state: ClusterState) -> bool:
            nonlocal last
            seen = _seen(state)
            if seen > last:
                gaps.append(seen - last)
                last = seen
            return len(gaps) >= 4

        await state_where(client, counts)
        assert sorted(gaps)[len(gaps) // 2] < 2.0, "the frozen node slows the other one down"
        node2.thaw()
        await state_where(client, lambda state: _reach(state, 1) is Reach.ALIVE)
        node1.kill()
        event = await event_where(client, lambda event: event.kind == "node_refused")
        assert event.node == "node1"
        await event_where(client, lambda event: event.kind == "MasterDead")
        await event_where(client, lambda event: event.kind == "replication_stopped" and event.node == "node2")


def _reach(state: ClusterState, index: int) -> Reach | None:
    seen = state.snapshot.nodes[index].observation
    return seen.reach if seen is not None else None


def _seen(state: ClusterState) -> float:
    seen = state.snapshot.nodes[0].observation
    return seen.mono if seen is not None else 0.0


async def test_it_stops_at_once_while_its_nodes_hang(
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]],
    tmp_path: Path,
    started: Callable[[LiveWorker], LiveWorker],
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=2))
    worker = started(LiveWorker(sandbox, config_for(sandbox, tmp_path)))
    async with await worker.connect() as client:
        await healthy(client)
        for node in sandbox.nodes:
            node.freeze()
            node.ssh.freeze()
        await state_where(client, lambda state: _reach(state, 0) is Reach.HUNG)
        begun = time.monotonic()
        status = worker.stop()
    for node in sandbox.nodes:
        node.thaw()
        node.ssh.thaw()
    assert status == 0
    assert time.monotonic() - begun < DEADLINE / 2


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a file system that is easily filled."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode()}")
    yield state
    subprocess.run(["umount", str(state)], check=True)


async def test_on_a_full_disk_it_goes_on_watching_and_loses_no_event(
    small_state: Path,
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]],
    tmp_path: Path,
    started: Callable[[LiveWorker], LiveWorker],
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=2))
    worker = started(LiveWorker(sandbox, config_for(sandbox, tmp_path)))
    async with await worker.connect() as client:
        await healthy(client)
        ballast = _fill(small_state)
        sandbox.nodes[1].kill()
        await event_where(client, lambda event: event.kind == "node_refused")
        state = await state_where(client, lambda state: bool(state.notes))
        assert "the journal cannot be written" in state.notes[0]
        await state_where(client, lambda later: later.snapshot.mono > state.snapshot.mono + 1.5)
        await event_where(client, lambda event: event.kind == "node_refused")
        ballast.unlink()
        await state_where(client, lambda state: not state.notes)
        await event_where(client, lambda event: event.kind == "journal_recovered")
    assert worker.stop() == 0
    with sqlite3.connect(small_state / "journal.db") as raw:
        kinds = [row[0] for row in raw.execute("SELECT kind FROM event ORDER BY id")]
    raw.close()
    assert "node_refused" in kinds
    assert kinds[-1] == "worker_stopped"


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 65536
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    return ballast


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other accounts")
async def test_groups_get_the_rights_the_settings_give_them(
    cluster: Sandbox, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    readers, writers = grp.getgrnam("games"), grp.getgrnam("mail")
    directory = Path(tempfile.mkdtemp(prefix="pfms-rights-"))
    try:
        directory.chmod(0o755)
        groups = f'read_group = "{readers.gr_name}"\nadmin_group = "{writers.gr_name}"'
        worker = started(LiveWorker(cluster, config_for(cluster, directory, worker=groups)))
        async with await worker.connect() as client:
            await healthy(client)
            assert client.welcome.rights is Rights.FULL
            path = worker.settings.worker.socket
            assert _as_nobody(path, [readers.gr_gid]) == "read nobody stop: denied"
            assert _as_nobody(path, []).startswith("denied: this account has no rights")
            assert alive(worker.pid)
            assert _as_nobody(path, [writers.gr_gid]) == "full nobody stop: done"
            await ended_child(worker)
    finally:
        shutil.rmtree(directory)


async def ended_child(worker: LiveWorker) -> None:
    async with asyncio.timeout(DEADLINE):
        while worker.process.poll() is None:  # noqa: ASYNC110 - a child without a watcher
            await asyncio.sleep(0.02)


def _as_nobody(path: Path, groups: list[int]) -> str:
    """What another account gets at the socket. Only what it may read by itself is imported beforehand."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(65534)
            os.setuid(65534)
            text = asyncio.run(_try_everything(path))
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


async def _try_everything(path: Path) -> str:
    try:
        client = await WorkerClient.connect(path)
    except WorkerError as error:
        return f"denied: {error.reason}"
    async with client:
        await client.call("state", result=list[ClusterState])
        try:
            await client.call("stop")
            stopped = "done"
        except WorkerError as error:
            stopped = error.code
        return f"{client.welcome.rights} {client.welcome.actor} stop: {stopped}"


async def test_systemd_hears_of_readiness_life_and_end(
    cluster: Sandbox, tmp_path: Path, started: Callable[[LiveWorker], LiveWorker]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        worker = started(LiveWorker(cluster, config_for(cluster, tmp_path), environ=environ))
        heard: list[str] = []
        while heard.count("WATCHDOG=1") < 2 or not any(
            "Healthy" in line or "MASTER" in line for line in heard
        ):
            heard.append((await asyncio.to_thread(systemd.recv, 2000)).decode())
        assert heard[0].startswith("READY=1")
        worker.stop()
        systemd.settimeout(0.1)
        try:
            while True:
                heard.append(systemd.recv(2000).decode())
        except TimeoutError:
            pass
        assert heard[-1] == "STOPPING=1"


def test_a_fault_of_the_worker_itself_is_logged_without_secrets_and_gives_a_status(
    cluster: Sandbox, tmp_path: Path
) -> None:
    config = config_for(cluster, tmp_path)
    code = (
        "import sys; from pathlib import Path; from pfms_ha_tui.config import load\n"
        "from pfms_ha_tui.worker.main import run_worker\n"
        "class Broken:\n"
        "    def shell(self, node, cluster):\n"
        "        raise ZeroDivisionError('with ' + cluster.admin.password.reveal())\n"
        "raise SystemExit(run_worker(load(Path(sys.argv[1])), foreground=False, senses=Broken()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(config)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ran.returncode == 4
    assert ran.stderr == ""
    log = load(config).worker.log_file.read_text()
    assert "ZeroDivisionError" in log
    assert cluster.accounts.admin.password not in log

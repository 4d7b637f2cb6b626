"""The parts of the process around the watching: lock, log, systemd, rival managers, threads."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pfms_ha_tui.config.settings import WorkerSettings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.worker.lock import Lock
from pfms_ha_tui.worker.logs import OLD_LOGS, logging_to
from pfms_ha_tui.worker.main import prepare_directories
from pfms_ha_tui.worker.rival import find_rival
from pfms_ha_tui.worker.sdnotify import Notifier
from pfms_ha_tui.worker.threads import SerialThread, in_thread


def settings(directory: Path, **more: str) -> WorkerSettings:
    return WorkerSettings(
        state_dir=directory / "state",
        socket=directory / "run" / "w.sock",
        log_file=directory / "log" / "worker.log",
        log_bytes=2000,
        read_group=more.get("read_group"),
    )


def test_a_second_lock_is_refused_with_the_pid_of_the_first_and_free_after_its_end(tmp_path: Path) -> None:
    first = Lock.take(tmp_path)
    with pytest.raises(WorkerError, match=rf"another worker is running .*\(pid {os.getpid()}\)") as refused:
        Lock.take(tmp_path)
    assert refused.value.code == "running"
    first.release()
    Lock.take(tmp_path).release()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pfms_ha_tui.worker.lock import Lock\n"
        "lock = Lock.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(WorkerError, match=str(holder.pid)):
            Lock.take(tmp_path)
        holder.kill()
        holder.wait()
    Lock.take(tmp_path).release()


def test_a_lock_in_a_directory_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot open the lock"):
        Lock.take(tmp_path / "missing")


def test_directories_are_made_and_closed_to_others(tmp_path: Path) -> None:
    prepare_directories(settings(tmp_path))
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run").is_dir()
    prepare_directories(settings(tmp_path, read_group="staff"))
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o711


def test_a_directory_in_the_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(WorkerError, match="cannot make the directory"):
        prepare_directories(settings(tmp_path))


def test_a_directory_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(WorkerError, match="anybody may write"):
        prepare_directories(settings(tmp_path))
    (tmp_path / "run").chmod(0o1777)
    prepare_directories(settings(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, -1)
    with pytest.raises(WorkerError, match="belongs to another account"):
        prepare_directories(settings(tmp_path))


def test_the_log_masks_secrets_also_in_arguments_and_tracebacks(tmp_path: Path) -> None:
    Secret("hunter2-of-the-log")
    prepare_directories(settings(tmp_path))
    logger = logging.getLogger("pfms_ha_tui.test")
    with logging_to(settings(tmp_path), stderr=False):
        logger.info("password is %s", "hunter2-of-the-log")
        try:
            raise ValueError("hunter2-of-the-log in an error")
        except ValueError:
            logger.exception("failed")
    text = (tmp_path / "log" / "worker.log").read_text()
    assert "password is ••••" in text
    assert "Traceback" in text
    assert "hunter2" not in text


def test_the_log_rotates_and_keeps_a_bounded_number_of_old_files(tmp_path: Path) -> None:
    prepare_directories(settings(tmp_path))
    with logging_to(settings(tmp_path), stderr=False):
        for number in range(300):
            logging.getLogger("pfms_ha_tui.test").info("line %d %s", number, "x" * 100)
    files = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert len(files) == OLD_LOGS + 1
    assert all(path.stat().st_size <= 2000 for path in (tmp_path / "log").iterdir())


def test_a_log_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with (
        pytest.raises(WorkerError, match="cannot open the log file"),
        logging_to(settings(tmp_path), stderr=False),
    ):
        pass


def test_a_full_disk_under_the_log_does_not_hide_why_the_worker_ends(tmp_path: Path) -> None:
    def end_with_a_reason() -> None:
        with logging_to(replace(settings(tmp_path), log_file=Path("/dev/full")), stderr=False):
            logging.getLogger("pfms_ha_tui.test").warning("a line that cannot be written")
            raise WorkerError("the reason")

    with pytest.raises(WorkerError, match="the reason"):
        end_with_a_reason()


def test_systemd_is_told_ready_alive_and_stopping(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000000"})
        assert notifier.watchdog_interval == 15.0
        notifier.ready("two\nlines")
        notifier.alive()
        notifier.stopping()
        assert [systemd.recv(200) for _ in range(3)] == [
            b"READY=1\nSTATUS=two lines",
            b"WATCHDOG=1",
            b"STOPPING=1",
        ]


def test_systemd_in_the_abstract_namespace_is_told_too() -> None:
    name = f"pfms-ha-tui-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert systemd.recv(200) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nonexistent/x"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "x"},
    ],
)
def test_without_systemd_nothing_is_said_and_nothing_fails(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    notifier.ready("here")
    assert notifier.watchdog_interval is None


def process(proc: Path, pid: int, *arguments: str) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "cmdline").write_bytes("\0".join(arguments).encode() + b"\0")
    (directory / "cwd").symlink_to(proc)


def conf(path: Path, mode: str | None) -> str:
    path.write_text("dbhost localhost\n" + (f"ha_mode {mode}\n" if mode else "# ha_mode pandora\n"))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "mode", "found"),
    [
        (["/usr/bin/pandora_ha", "-d", "{conf}"], "pandora", True),
        (["/usr/bin/perl", "/usr/bin/pandora_ha", "{conf}"], "pandora", True),
        (["perl5.36", "-w", "pandora_ha.pl", "{conf}"], "pandora", True),
        (["/usr/bin/pandora_ha", "{conf}"], "pacemaker", False),
        (["/usr/bin/pandora_ha", "{conf}"], None, False),
        (["/usr/bin/pandora_ha", "/nonexistent/pandora_server.conf"], "pandora", True),
        (["/usr/bin/pandora_ha"], "pandora", True),
        (["vim", "/usr/bin/pandora_ha"], "pandora", False),
        (["grep", "pandora_ha"], "pandora", False),
        (["/usr/bin/perl", "/usr/bin/pandora_server", "{conf}"], "pandora", False),
    ],
)
def test_a_rival_is_pandora_ha_in_its_own_mode_and_nothing_that_only_names_it(
    tmp_path: Path, arguments: list[str], mode: str | None, found: bool
) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "version").write_text("Linux")
    process(proc, 1, "init")
    process(proc, 77, *(word.format(conf=conf(tmp_path / "p.conf", mode)) for word in arguments))
    rival = find_rival(proc)
    assert (rival is not None) is found
    assert rival is None or "77" in rival


def test_a_relative_configuration_is_read_from_the_rivals_directory(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    process(proc, 5, "pandora_ha", "p.conf")
    conf(proc / "p.conf", "pacemaker")
    assert find_rival(proc) is None


async def test_a_thread_that_hangs_does_not_hold_up_the_next_call_or_the_end() -> None:
    release = threading.Event()
    hanging = asyncio.ensure_future(in_thread(release.wait, name="hangs"))
    assert await in_thread(lambda: 42, name="runs") == 42
    assert not hanging.done()
    release.set()
    assert await hanging


async def test_a_serial_thread_keeps_the_order_and_survives_a_fault() -> None:
    thread = SerialThread("t")
    seen: list[int] = []
    first = thread.submit(lambda: seen.append(1))
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    await thread.run(lambda: seen.append(2))
    assert first.done()
    assert seen == [1, 2]
    assert thread.stop(5.0)

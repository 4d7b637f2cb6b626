"""Backup tools: their command lines, versions, last words, and the coordinates they leave."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.operations.clone import tools
from pfms_ha_tui.operations.clone.peer import measured
from pfms_ha_tui.operations.clone.stream import PipeLog, pipe
from pfms_ha_tui.operations.clone.tools import Tool

XTRABACKUP_80 = (
    "xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 55ec21d7)"
)
XTRABACKUP_24 = (
    "xtrabackup version 2.4.29 based on MySQL server 5.7.44 Linux (x86_64) (revision id: 2e6c0951)"
)
MARIADB_BACKUP = "mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (XTRABACKUP_80, (8, 0, 35)),
        (XTRABACKUP_24, (2, 4, 29)),
        (MARIADB_BACKUP, (10, 11, 19)),
        ("mariabackup: command not found", None),
    ],
)
def test_the_version_of_a_tool_is_read_from_its_own_words(
    said: str, version: tuple[int, int, int] | None
) -> None:
    assert tools.tool_version(said) == version


@pytest.mark.parametrize(
    ("tool", "version", "server", "fits"),
    [
        (Tool.XTRABACKUP, (8, 0, 35), "8.0.30-22", True),
        (Tool.XTRABACKUP, (2, 4, 29), "5.7.44", True),
        (Tool.XTRABACKUP, (2, 4, 29), "8.0.30", False),
        (Tool.XTRABACKUP, (8, 0, 35), "8.4.2", False),
        (Tool.MARIADB_BACKUP, (10, 11, 19), "10.11.4-MariaDB", True),
        (Tool.MARIADB_BACKUP, (10, 11, 19), "11.4.2-MariaDB", False),
    ],
)
def test_a_tool_of_another_series_is_refused(
    tool: Tool, version: tuple[int, int, int], server: str, fits: bool
) -> None:
    why = tools.why_not_version(tool, version, Dialect.of(server))
    assert (why is None) is fits


def test_xtrabackup_is_called_as_its_manual_says() -> None:
    streamed = tools.backup(
        Tool.XTRABACKUP, host="10.0.0.1", port=3306, scratch="/tmp/x y", threads=4, slave=True
    )
    assert streamed == (
        "xtrabackup --defaults-file=/dev/fd/3 --backup --stream=xbstream '--target-dir=/tmp/x y'"
        " --host=10.0.0.1 --port=3306 --parallel=4 --log-copy-interval=100 --slave-info"
    )
    assert tools.unpack(Tool.XTRABACKUP, "/data/new", 4) == "xbstream -x -C /data/new -p 4"
    assert tools.prepare(Tool.XTRABACKUP, "/data/new", 2**30) == (
        "xtrabackup --prepare --target-dir=/data/new --use-memory=1024M"
    )


def test_the_masters_coordinates_are_read_from_a_backup() -> None:
    assert tools.binlog_info("binlog.000003\t157\n") == (BinlogPosition("binlog.000003", 157), "")
    assert tools.binlog_info("binlog.000001\t25986\t0-1-49\n")[1] == "0-1-49"
    one, other = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "4e11fa47-71ca-11e1-9e33-c80aa9429562:1-9"
    several = f"binlog.000003\t157\t{one},\n{other}\n"
    assert tools.binlog_info(several)[1] == f"{one},{other}"


@pytest.mark.parametrize("text", ["", "binlog.000003", "binlog.000003\tx\n", "\t157\n"])
def test_coordinates_that_cannot_be_read_are_never_guessed(text: str) -> None:
    with pytest.raises(OperationError):
        tools.binlog_info(text)


@pytest.mark.parametrize(
    ("text", "position", "gtids"),
    [
        (
            "CHANGE MASTER TO MASTER_LOG_FILE='binlog.000002', MASTER_LOG_POS=4711;\n",
            BinlogPosition("binlog.000002", 4711),
            "",
        ),
        (
            "CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='binlog.000002', SOURCE_LOG_POS=4711;\n",
            BinlogPosition("binlog.000002", 4711),
            "",
        ),
        (
            "SET GLOBAL gtid_slave_pos = '0-1-49';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n",
            None,
            "0-1-49",
        ),
        (
            "SET GLOBAL gtid_purged='3e11fa47:1-5,\n4e11:1-9';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1;",
            None,
            "3e11fa47:1-5,4e11:1-9",
        ),
    ],
)
def test_a_slaves_coordinates_are_read_in_every_spelling(
    text: str, position: BinlogPosition | None, gtids: str
) -> None:
    assert tools.slave_info(text) == (position, gtids)


def test_a_slaves_coordinates_that_cannot_be_read_are_never_guessed() -> None:
    with pytest.raises(OperationError):
        tools.slave_info("nothing of use")


def test_a_password_stands_in_the_options_file_and_not_in_the_command_line() -> None:
    given = tools.credentials("root", 'pa"ss\\word#', include="/etc/my.cnf").decode()
    assert given.startswith("!include /etc/my.cnf\n")
    assert 'password="pa\\"ss\\\\word#"' in given


def run_pipe(script: str) -> PipeLog:
    log = PipeLog("t0")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        log.line(line)
    return log


def test_a_pipe_counts_only_if_every_member_ended_well_and_the_tool_said_so() -> None:
    good = pipe("t0", [("backup", "echo data; echo '[00] completed OK!' >&2"), ("unpack", "cat >/dev/null")])
    assert run_pipe(good).complaint(["backup", "unpack"]) is None
    unfinished = pipe("t0", [("backup", "echo data"), ("unpack", "cat >/dev/null")])
    assert "completed OK!" in (run_pipe(unfinished).complaint(["backup", "unpack"]) or "")
    broken = pipe(
        "t0",
        [
            ("backup", "echo '[00] completed OK!' >&2"),
            ("unpack", "cat >/dev/null; echo no space >&2; false"),
        ],
    )
    complaint = run_pipe(broken).complaint(["backup", "unpack"]) or ""
    assert "unpack ended with 1" in complaint
    assert "no space" in complaint
    silent = run_pipe("echo '[00] completed OK!' >&2; echo '@t0 backup 0' >&2")
    assert "unpack did not say" in (silent.complaint(["backup", "unpack"]) or "")


def test_a_fault_that_a_tool_repeats_is_told_once_and_whole() -> None:
    log = PipeLog("t0")
    for second in range(10, 40):
        log.line(f"[00] 2026-11-28 21:32:{second} Error: failed to execute query SHOW STATUS: gone away")
    log.line("mariadb-backup: Error: cannot read redo log header")
    log.line("@t0 backup 1")
    assert log.complaint(["backup"]) == (
        "backup ended with 1: Error: failed to execute query SHOW STATUS: gone away"
        " / mariadb-backup: Error: cannot read redo log header"
    )


def test_a_member_cannot_pass_its_own_words_for_the_end_of_another(tmp_path: Path) -> None:
    log = PipeLog("t0")
    log.line("@other backup 0")
    assert log.ends == {}


def test_only_an_absolute_defaults_file_of_the_server_is_included() -> None:
    assert tools.defaults_file(["/usr/sbin/mysqld", "--defaults-file=/etc/my.cnf"]) == "/etc/my.cnf"
    assert tools.defaults_file(["/usr/sbin/mysqld", "--defaults-file=my.cnf", "--user=mysql"]) is None


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ("67108864 bytes (67 MB, 64 MiB) copied, 0.167772 s, 400 MB/s", 400_000_381),
        (
            "1+1 records in\n1+1 records out\n2000000 bytes (2.0 MB, 1.9 MiB) copied, 2 s, 1.0 MB/s\n",
            1_000_000,
        ),
        ("8 bytes copied, 1.5e-05 s, 600 kB/s", 533_333),
        ("67108864 bytes copied, 0 s, Infinity B/s", None),
        ("dd: not found", None),
    ],
)
def test_the_rate_of_a_link_is_read_from_what_arrived(said: str, rate: int | None) -> None:
    assert measured(said) == rate

"""Which process is the node's server; "none" only when that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.observation import ProcessState
from pfms_ha_tui.nodes.processes import HostFacts, HostProcess, can_fence, judge, parse, script

DATADIR = "/var/lib/mysql/"
SERVER = HostProcess(
    pid=100,
    state="S",
    exe="/usr/sbin/mysqld",
    cwd="/var/lib/mysql",
    args=("/usr/sbin/mysqld",),
    may_signal=True,
)
UNREADABLE = replace(SERVER, exe="", cwd="", may_signal=False)
TWIN = replace(UNREADABLE, pid=101)
NAMED_HERE = replace(UNREADABLE, args=("mariadbd", "--datadir=/var/lib/mysql"))
NAMED_ELSEWHERE = replace(UNREADABLE, args=("mariadbd", "--datadir", "/srv/x"))
OTHER = replace(SERVER, pid=200, cwd="/srv/other")
EDITOR = HostProcess(pid=300, state="S", exe="/usr/bin/vi", cwd="/root", args=("vi", "/etc/mysqld.cnf"))
ROOT = HostFacts(uid=0, visible=True, real_datadir="/var/lib/mysql")


@pytest.mark.parametrize(
    ("facts", "state", "pid", "proved"),
    [
        (replace(ROOT, processes=(SERVER,)), ProcessState.RUNNING, 100, True),
        (replace(ROOT, processes=(replace(SERVER, state="T"),)), ProcessState.FROZEN, 100, True),
        (replace(ROOT, processes=(replace(SERVER, state="t"),)), ProcessState.FROZEN, 100, True),
        (replace(ROOT, processes=(replace(SERVER, state="Z"),)), ProcessState.NONE, None, False),
        (replace(ROOT, processes=()), ProcessState.NONE, None, False),
        (replace(ROOT, processes=(EDITOR,)), ProcessState.NONE, None, False),
        (replace(ROOT, processes=(OTHER,)), ProcessState.NONE, None, False),
        (replace(ROOT, processes=(OTHER, SERVER)), ProcessState.RUNNING, 100, True),
        # hidepid: what cannot be seen is not gone.
        (replace(ROOT, visible=False), ProcessState.UNKNOWN, None, False),
        # Another account: the pid file names it.
        (replace(ROOT, pid_file_says=100, processes=(UNREADABLE,)), ProcessState.RUNNING, 100, True),
        # Another account, nothing readable: the only server there may be it, but is not proved.
        (replace(ROOT, processes=(UNREADABLE,)), ProcessState.RUNNING, 100, False),
        (replace(ROOT, processes=(UNREADABLE, TWIN)), ProcessState.UNKNOWN, None, False),
        # A stale pid file that now names another process.
        (replace(ROOT, pid_file_says=300, processes=(EDITOR,)), ProcessState.NONE, None, False),
        (replace(ROOT, pid_file_says=200, processes=(OTHER,)), ProcessState.NONE, None, False),
        # Started with a datadir on the command line.
        (replace(ROOT, real_datadir=None, processes=(NAMED_HERE,)), ProcessState.RUNNING, 100, True),
        (replace(ROOT, real_datadir=None, processes=(NAMED_ELSEWHERE,)), ProcessState.NONE, None, False),
        # A symbolic link to the datadir.
        (
            replace(ROOT, real_datadir="/data/mysql", processes=(replace(SERVER, cwd="/data/mysql"),)),
            ProcessState.RUNNING,
            100,
            True,
        ),
        # Just started, not in its datadir yet.
        (replace(ROOT, processes=(replace(SERVER, cwd="/"),)), ProcessState.RUNNING, 100, False),
    ],
)  # fmt: skip
def test_the_process_is_told_by_evidence(
    facts: HostFacts, state: ProcessState, pid: int | None, proved: bool
) -> None:
    found = judge(facts, DATADIR)
    assert (found.state, found.pid, found.proved) == (state, pid, proved)


def test_two_processes_that_claim_the_datadir_are_no_proof() -> None:
    found = judge(replace(ROOT, processes=(SERVER, replace(SERVER, pid=101))), DATADIR)
    assert (found.state, found.proved) == (ProcessState.UNKNOWN, False)


@pytest.mark.parametrize(
    ("processes", "services", "proved"),
    [
        ((replace(UNREADABLE, unit="mariadb.service"),), ("mariadb", "mysqld"), True),
        ((replace(UNREADABLE, unit="mariadb.service"),), ("mysql-b",), False),
        ((replace(UNREADABLE, unit=""),), ("mariadb",), False),
        (
            (replace(UNREADABLE, unit="mariadb.service"), replace(OTHER, unit="b.service")),
            ("mariadb",),
            False,
        ),
    ],
)
def test_the_only_server_of_a_host_is_proved_by_its_service(
    processes: tuple[HostProcess, ...], services: tuple[str, ...], proved: bool
) -> None:
    assert judge(replace(ROOT, processes=processes), DATADIR, services).proved is proved


def test_without_a_known_datadir_a_single_server_is_reported_but_never_proved() -> None:
    facts = HostFacts(visible=True, processes=(SERVER,))
    found = judge(facts, None)
    assert (found.state, found.pid, found.proved) == (ProcessState.RUNNING, 100, False)


@pytest.mark.parametrize(
    ("facts", "fence"),
    [
        (replace(ROOT, processes=(SERVER,)), True),
        (replace(ROOT, processes=(replace(SERVER, may_signal=False),)), False),
        (ROOT, True),
        (replace(ROOT, uid=1000, sudo=True), True),
        (replace(ROOT, uid=1000, sudo=False), False),
        (replace(ROOT, uid=1000), None),
    ],
)
def test_fencing_is_possible_only_if_shown(facts: HostFacts, fence: bool | None) -> None:
    assert can_fence(facts, judge(facts, DATADIR)) is fence


def test_half_an_answer_is_no_answer() -> None:
    assert parse("clock=1.5\nuid=0\nvisible=yes\n") is None
    assert parse("") is None


def test_the_answer_is_read_with_odd_names_in_it() -> None:
    facts = parse(
        "clock=1700000000.25\nuid=0\nvisible=yes\npidfile=100\ndatadir=/var/lib/mysql\n"
        "df=/dev/my disk 1000 400 600 40% /var/lib\nsudo=yes\n"
        "process=100\nstat=T 1 2\nexe=/usr/sbin/mysqld (deleted)\ncwd=/var/lib/mysql\n"
        "args=/usr/sbin/mysqld\t--x=a=b\t\nsignal=yes\n"
        "end=yes\n"
    )
    assert facts is not None
    assert facts.clock == 1700000000.25
    assert (facts.disk_total, facts.disk_free) == (1000 * 1024, 600 * 1024)
    assert facts.sudo is True
    assert facts.processes == (
        HostProcess(
            pid=100,
            state="T",
            exe="/usr/sbin/mysqld",
            cwd="/var/lib/mysql",
            args=("/usr/sbin/mysqld", "--x=a=b"),
            may_signal=True,
        ),
    )


def test_a_clock_without_fractions_is_still_a_clock() -> None:
    facts = parse("clock=1700000000.%N\nend=yes\n")
    assert facts is not None
    assert facts.clock == 1700000000


def test_the_script_finds_a_real_process_and_names_with_quotes_do_no_harm(tmp_path: Path) -> None:
    """A stand-in server: any program, started under the server's name in the datadir."""
    datadir = tmp_path / "it's a $(touch evil) dir"
    datadir.mkdir()
    stand_in = subprocess.Popen(
        ["mariadbd", "-c", "import time; time.sleep(60)"], executable=sys.executable, cwd=datadir
    )
    try:
        (datadir / "server.pid").write_text(f"{stand_in.pid}\n")
        text = script("server.pid", str(datadir), sudo=False)
        done = subprocess.run(
            ["/bin/sh", "-c", text], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        facts = parse(done.stdout)
        assert facts is not None
        assert facts.uid == os.getuid()
        assert facts.pid_file_says == stand_in.pid
        assert facts.disk_free is not None
        found = judge(facts, str(datadir))
        assert (found.state, found.pid, found.proved) == (ProcessState.RUNNING, stand_in.pid, True)
        assert not (tmp_path / "evil").exists()
    finally:
        stand_in.kill()
        stand_in.wait()

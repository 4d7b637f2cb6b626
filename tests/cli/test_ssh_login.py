"""The console as the engineer on call has it: in a terminal, behind an SSH login, on a real cluster."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from support.console_terminal import Terminal
from support.demo import headless

LEAVE = b"\x1b[?1049l"
WAIT = 60.0
RGB = b"8;2;"


@pytest.mark.mysql
def test_the_console_runs_behind_an_ssh_login_in_sixteen_colours_on_mysql(mysql_server: None) -> None:
    with headless("--flavor", "mysql", "--gtid") as (_, described):
        cluster = tomllib.loads(Path(described["config"]).read_text())["clusters"]["sandbox"]
        node = described["nodes"][0]
        console = shlex.join([sys.executable, "-m", "pfms_ha_tui", "--config", described["config"]])
        root = shlex.quote(str(Path(__file__).parents[2]))
        # The sandbox's SSH server gives no terminal of its own; script does, as sshd would.
        there = (
            f"export TERM=xterm LANG=C.UTF-8 PYTHONPATH={root}; unset COLORTERM; "
            f"exec script -qec {shlex.quote(f'stty cols 120 rows 40; exec {console}')} /dev/null"
        )
        login = [
            *("ssh", "-T", "-i", cluster["ssh_key"], "-p", str(node["ssh_port"])),
            *("-o", f"UserKnownHostsFile={cluster['ssh_known_hosts']}", "-o", "IdentitiesOnly=yes"),
            f"{cluster.get('ssh_user', 'root')}@{node['host']}",
        ]
        raw = f"stty raw -echo; exec {shlex.join([*login, there])}"
        terminal = Terminal(["sh", "-c", raw], dict(os.environ))
        try:
            assert terminal.read(WAIT, b"node1 is MASTER"), terminal.output[-2000:]
            assert RGB not in terminal.output
            terminal.send(b"q")
            assert terminal.read(WAIT, LEAVE), terminal.output[-2000:]
            assert terminal.wait(WAIT) == 0
        finally:
            terminal.close()

"""The real program in a real terminal: what it refuses, how it looks there, and how it leaves."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.console_app import NamedWorker, tell
from support.console_states import STATES
from support.console_terminal import Terminal, environment

from pfms_ha_tui.console.terminal import few_colours, hung_up, only_ascii

CONFIG = """
[worker]
state_dir = "{folder}"
socket = "{folder}/w.sock"

[clusters.pandora-prod]
mode = "automatic"
admin_user = "pandora"
admin_password = "none-of-it"

[[clusters.pandora-prod.nodes]]
label = "node1"
host = "127.0.0.1"

[[clusters.pandora-prod.nodes]]
label = "node2"
host = "127.0.0.2"
"""
HERE = b"binlog.18:1135140"
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
WAIT = 40.0


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    path.chmod(0o600)
    return path


def command(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "pfms_ha_tui", "--config", str(config), "--no-spawn", *more]


def here(**changes: str) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return environment(PYTHONPATH=root, **changes)


@asynccontextmanager
async def worker(folder: Path, state: str = "healthy") -> AsyncIterator[None]:
    async with NamedWorker(folder / "w.sock") as running:
        tell(running, [STATES[state]()])
        yield


async def in_terminal(terminal: Terminal, seconds: float, until: bytes | None = None) -> bool:
    """As ``terminal.read``, with the worker's event loop running meanwhile."""
    return await asyncio.to_thread(terminal.read, seconds, until)


async def ended(terminal: Terminal) -> int | None:
    return await asyncio.to_thread(terminal.wait, WAIT)


class TestRefusals:
    """Each is one sentence that says what and what to do, and nothing is drawn."""

    def refused(self, config: Path, environ: dict[str, str], **streams: int) -> str:
        done = subprocess.run(
            command(config),
            env=environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=WAIT,
        )
        assert done.returncode not in (0, None)
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return done.stderr

    def test_no_terminal(self, config: Path) -> None:
        said = self.refused(config, here())
        assert "the console needs a terminal" in said
        assert "pfms-ha-tui status" in said
        assert len(said.strip().splitlines()) <= 2

    @pytest.mark.parametrize("term", ["dumb", ""])
    def test_a_terminal_that_cannot_move_its_cursor(self, config: Path, term: str) -> None:
        terminal = Terminal(command(config), here(TERM=term))
        try:
            assert terminal.wait(WAIT) not in (0, None)
            assert b"cannot be drawn on this terminal" in terminal.output
            assert ENTER not in terminal.output
        finally:
            terminal.close()


def test_a_terminal_that_hung_up_is_recognised() -> None:
    ours, tty = pty.openpty()
    try:
        assert not hung_up(tty)
    finally:
        os.close(ours)
    assert hung_up(tty)
    os.close(tty)
    assert hung_up(tty)


class TestLeaving:
    async def test_q_gives_the_terminal_back_and_says_that_the_worker_goes_on(
        self, folder: Path, config: Path
    ) -> None:
        async with worker(folder):
            terminal = Terminal(command(config), here())
            try:
                assert await in_terminal(terminal, WAIT, HERE), terminal.output[-2000:]
                terminal.send(b"y")
                assert await in_terminal(terminal, WAIT, b"\x1b]52;c;"), "a copy goes to the terminal"
                terminal.send(b"q")
                assert await ended(terminal) == 0
                assert terminal.output.rindex(LEAVE) > terminal.output.index(ENTER)
                said = terminal.output[terminal.output.rindex(LEAVE) :].decode()
                assert "the worker (pid 4121) keeps running: automatic failover stays armed" in said
            finally:
                terminal.close()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    async def test_a_signal_gives_the_terminal_back(
        self, folder: Path, config: Path, number: signal.Signals
    ) -> None:
        async with worker(folder):
            terminal = Terminal(command(config), here())
            try:
                assert await in_terminal(terminal, WAIT, HERE)
                os.kill(terminal.pid, number)
                assert await ended(terminal) == 128 + number
                assert LEAVE in terminal.output
                assert b"\x1b[?25h" in terminal.output[terminal.output.rindex(LEAVE) :]
                assert b"Traceback" not in terminal.output
            finally:
                terminal.close()

    async def test_a_terminal_that_goes_away_ends_it(self, folder: Path, config: Path) -> None:
        async with worker(folder):
            terminal = Terminal(command(config), here())
            try:
                assert await in_terminal(terminal, WAIT, HERE)
                terminal.hang_up()
                assert await ended(terminal) is not None
            finally:
                terminal.close()

    async def test_even_when_hangups_are_ignored(self, folder: Path, config: Path) -> None:
        """As under nohup: without an answer of its own Textual would spin for ever."""
        async with worker(folder):
            script = (
                "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
                "os.execv(sys.argv[1], sys.argv[1:])"
            )
            terminal = Terminal([sys.executable, "-c", script, *command(config)], here())
            try:
                assert await in_terminal(terminal, WAIT, HERE)
                terminal.hang_up()
                assert await ended(terminal) is not None
            finally:
                terminal.close()

    async def test_a_terminal_that_takes_no_more_output_cannot_hold_it(
        self, folder: Path, config: Path
    ) -> None:
        """Stopped with XOFF, or a dead SSH connection: the writes block, and SIGTERM must still end it."""
        async with worker(folder):
            terminal = Terminal(command(config), here())
            try:
                assert await in_terminal(terminal, WAIT, HERE)
                # Nobody reads any more: make it redraw until the pseudo-terminal is full.
                for number in range(60):
                    if not terminal.alive():
                        break
                    terminal.resize(120 + number % 2, 40)
                    await asyncio.sleep(0.02)
                os.kill(terminal.pid, signal.SIGTERM)
                assert await asyncio.to_thread(terminal.gone, WAIT)
            finally:
                terminal.close()


@pytest.mark.parametrize(
    ("term", "colorterm", "few"),
    [
        ("xterm", "", True),
        ("linux", "", True),
        ("xterm-256color", "", False),
        ("tmux-256color", "", False),
        ("xterm", "truecolor", False),
        ("xterm-kitty", "", False),
    ],
)
def test_what_a_terminal_says_of_its_colours_counts(term: str, colorterm: str, few: bool) -> None:
    assert few_colours({"TERM": term, "COLORTERM": colorterm}) is few


def test_ascii_is_for_terminals_without_utf8_and_for_whoever_asks() -> None:
    assert not only_ascii({"TERM": "xterm"}, "utf-8")
    assert not only_ascii({"TERM": "xterm"}, "UTF8")
    assert only_ascii({"TERM": "xterm"}, "iso8859-1")
    assert only_ascii({"TERM": "xterm"}, None)
    assert only_ascii({"TERM": "linux"}, "utf-8")
    assert only_ascii({"TERM": "xterm", "PFMS_HA_TUI_ASCII": "1"}, "utf-8")
    assert not only_ascii({"TERM": "linux", "PFMS_HA_TUI_ASCII": "0"}, "utf-8")


class TestColours:
    async def drawn(self, folder: Path, config: Path, environ: dict[str, str]) -> str:
        async with worker(folder, "dead-master"):
            terminal = Terminal(command(config), environ)
            try:
                assert await in_terminal(terminal, WAIT, HERE)
                await in_terminal(terminal, 0.5)
                return terminal.output.decode("utf-8", "replace")
            finally:
                terminal.close()

    async def test_no_color_sends_none(self, folder: Path, config: Path) -> None:
        shown = await self.drawn(folder, config, here(NO_COLOR="1", COLORTERM="truecolor"))
        for sgr in re.findall(r"\x1b\[([\d;]*)m", shown):
            codes = {int(code or 0) for code in sgr.split(";")}
            assert not {code for code in codes if 30 <= code <= 49 or 90 <= code <= 107} - {39, 49}, sgr
        assert "✖ MASTER DEAD" in shown

    async def test_sixteen_colours_are_enough(self, folder: Path, config: Path) -> None:
        shown = await self.drawn(folder, config, here(TERM="xterm"))
        assert "38;2" not in shown
        assert "38;5" not in shown
        assert re.search(r"\x1b\[[\d;]*9?1m", shown), "bad news is red"

    async def test_without_utf8_it_is_ascii(self, folder: Path, config: Path) -> None:
        shown = await self.drawn(folder, config, here(PYTHONIOENCODING="ascii", PYTHONUTF8="0"))
        assert shown.isascii()
        assert "x MASTER DEAD" in shown


@pytest.fixture
def tmux(folder: Path) -> Iterator[list[str]]:
    program = shutil.which("tmux")
    if program is None:
        pytest.skip("tmux is not installed")
    call = [program, "-S", str(folder / "tmux"), "-f", "/dev/null"]
    yield call
    subprocess.run([*call, "kill-server"], capture_output=True, check=False)


async def test_in_a_real_terminal_multiplexer(folder: Path, config: Path, tmux: list[str]) -> None:
    """Drawn by an emulator that is not ours: what it holds is what a person sees."""

    def call(*arguments: str) -> str:
        done = subprocess.run([*tmux, *arguments], capture_output=True, text=True, check=True, env=here())
        return done.stdout

    async def until(words: str) -> str:
        deadline = time.monotonic() + WAIT
        while True:
            shown = await asyncio.to_thread(call, "capture-pane", "-p", "-t", "c")
            if words in shown:
                return shown
            assert time.monotonic() < deadline, shown
            await asyncio.sleep(0.1)

    async with worker(folder, "dead-master"):
        await asyncio.to_thread(
            call,
            "new-session",
            "-d",
            "-s",
            "c",
            "-x",
            "100",
            "-y",
            "30",
            shlex.join(command(config)) + "; sleep 100",
        )
        shown = await until("was MASTER")
        assert "✖ MASTER DEAD" in shown
        assert "╭─ Nodes ─" in shown
        assert "├" not in shown.splitlines()[0]
        await asyncio.to_thread(call, "send-keys", "-t", "c", "e")
        await until("What is wrong")
        await asyncio.to_thread(call, "resize-window", "-t", "c", "-x", "60", "-y", "20")
        await until("terminal too small: 60x20, needs 80x24")
        await asyncio.to_thread(call, "resize-window", "-t", "c", "-x", "120", "-y", "40")
        await until("What is wrong")
        await asyncio.to_thread(call, "send-keys", "-t", "c", "q")
        await until("keeps running")

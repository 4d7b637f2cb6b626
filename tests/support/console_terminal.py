"""A console in a pseudo-terminal of its own, and what it costs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """One program on one pseudo-terminal. Everything it writes is kept in :attr:`output`."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, columns: int = 120, lines: int = 40
    ):
        self.output = b""
        self.fd, tty = pty.openpty()
        self.resize(columns, lines)
        self.started = time.monotonic()
        # setsid -c makes the pseudo-terminal the controlling one, so that it hangs up like a real one.
        self._process = subprocess.Popen(
            ["setsid", "-c", *command], stdin=tty, stdout=tty, stderr=tty, env=dict(environ)
        )
        os.close(tty)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def resize(self, columns: int, lines: int) -> None:
        """Change the size; the program is told by SIGWINCH."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds: float, until: bytes | None = None) -> bool:
        """Take output for so long, or until ``until`` is in it; whether it is (or the program ended)."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if until is not None and until in self.output:
                return True
            ready, _, _ = select.select([self.fd], [], [], min(left, 0.2))
            if ready:
                try:
                    got = os.read(self.fd, 65536)
                except OSError:
                    got = b""
                if not got:
                    return until is None or until in self.output
                self.output += got
        return until is not None and until in self.output

    def send(self, keys: bytes) -> None:
        """As if typed."""
        os.write(self.fd, keys)

    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> int | None:
        """The exit status within ``seconds``, taking output meanwhile; ``None`` = it still runs."""
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            if self.fd >= 0:
                self.read(0.1)
            else:
                time.sleep(0.05)
        return self._process.poll()

    def gone(self, seconds: float) -> bool:
        """Whether the program ends within ``seconds`` although nobody takes its output."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def hang_up(self) -> None:
        """The terminal goes away, as when an SSH connection drops."""
        os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        """End the program and the terminal."""
        if self.alive():
            self._process.kill()
        self._process.wait(10)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        """Bytes of memory held now."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


def environment(**changes: str) -> dict[str, str]:
    """What a login over SSH gives: a common terminal, UTF-8."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TZ", "PYTHONPATH") if name in os.environ}
    return kept | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | changes

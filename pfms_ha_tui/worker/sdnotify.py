"""systemd's readiness and watchdog protocol (sd_notify(3)), spoken by hand: one datagram per message."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the worker is; silent when it was not started by systemd."""

    def __init__(self, environ: Mapping[str, str] | None = None):
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_interval = _interval(environ)
        """Seconds between two signs of life systemd wants, halved for safety; ``None`` = it wants none."""

    def ready(self, status: str) -> None:
        """The worker serves; one sentence for ``systemctl status``."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One sentence for ``systemctl status``."""
        self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The worker ends on purpose."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message.encode(), self._address)


def _interval(environ: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        meant_for = int(environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 and meant_for == os.getpid() else None


def _line(text: str) -> str:
    return " ".join(text.split())

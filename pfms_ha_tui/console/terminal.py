"""The terminal: what it can do, and how to leave it whole when it or the process must go.

Textual reads standard input in a thread and writes to standard error. It has no answer to SIGTERM and
SIGHUP, and spins when its terminal disappears; both are dealt with here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pfms_ha_tui.errors import PfmsError

if TYPE_CHECKING:
    from textual.drivers.linux_driver import LinuxDriver

GRACE = 3.0
"""Seconds a signalled console may take to leave by itself before it is made to."""
_RESTORE = b"\x1b[?1003l\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?7h"
DEMO = "PFMS_HA_TUI_DEMO"
"""Set in the environment of a console whose cluster and worker end with it."""
INSTEAD = "pfms-ha-tui status tells the same in plain text"


def refuse_without_terminal(environ: Mapping[str, str]) -> None:
    """Raise unless this process has a terminal that a full-screen program can use.

    Raises:
        PfmsError: no terminal, or one without cursor movement.
    """
    for stream, name in (
        (sys.__stdin__, "input"),
        (sys.__stdout__, "output"),
        (sys.__stderr__, "error output"),
    ):
        if stream is None or stream.closed or not stream.isatty():
            raise PfmsError(
                f"the console needs a terminal, and standard {name} is not one", hint=INSTEAD, code="terminal"
            )
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise PfmsError(
            f"the console cannot be drawn on this terminal (TERM={term or 'is not set'})",
            hint=INSTEAD,
            code="terminal",
        )


def only_ascii(environ: Mapping[str, str], encoding: str | None) -> bool:
    """Whether to draw with nothing but ASCII: no UTF-8, the Linux text console, or asked for."""
    wanted = environ.get("PFMS_HA_TUI_ASCII", "")
    if wanted:
        return wanted != "0"
    utf8 = (encoding or "").casefold().replace("-", "").replace("_", "") == "utf8"
    return not utf8 or environ.get("TERM") == "linux"


def few_colours(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has sixteen colours at most, by what it says of itself (as Rich reads it)."""
    if environ.get("COLORTERM", "").strip().casefold() in ("truecolor", "24bit"):
        return False
    return environ.get("TERM", "").rpartition("-")[2].casefold() not in ("kitty", "256color", "direct")


def hung_up(descriptor: int) -> bool:
    """Whether the terminal behind ``descriptor`` is gone."""
    watch = select.poll()
    watch.register(descriptor, 0)
    try:
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in watch.poll(0))
    except OSError:
        return True


class Leaving:
    """Signals end the console as ``q`` does; one that cannot (its terminal takes no more output) is ended.

    Use as a context manager around the run of the app. ``leave`` is called with the exit code, from a
    signal handler: it must only tell the event loop.
    """

    def __init__(self, leave: Callable[[int], None]):
        self._leave = leave
        self._saved: dict[int, signal.Handlers | Callable[..., object] | int | None] = {}
        self._restore_attributes: Callable[[], None] = lambda: None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Leaving:
        with contextlib.suppress(termios.error, OSError, ValueError):
            attributes = termios.tcgetattr(0)
            self._restore_attributes = lambda: termios.tcsetattr(0, termios.TCSANOW, attributes)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._saved[number] = signal.signal(number, lambda got, _frame: self.now(128 + got))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._saved.items():
            signal.signal(number, handler)

    def now(self, code: int) -> None:
        """Leave with that exit code, by force if it takes longer than :data:`GRACE`."""
        if self._timer is None:
            self._timer = threading.Timer(GRACE, self._by_force, [code])
            self._timer.daemon = True
            self._timer.start()
        self._leave(code)

    def _by_force(self, code: int) -> None:
        with contextlib.suppress(Exception):
            os.set_blocking(2, False)
            os.write(2, _RESTORE)
            self._restore_attributes()
        os._exit(code)


def driver_class(gone: Callable[[], None]) -> type[LinuxDriver]:
    """Textual's driver, which calls ``gone`` (from its thread) instead of failing when the terminal goes."""
    from textual.drivers.linux_driver import LinuxDriver

    class Driver(LinuxDriver):
        def run_input_thread(self) -> None:
            try:
                super().run_input_thread()
            except (OSError, ValueError):
                gone()

    return Driver

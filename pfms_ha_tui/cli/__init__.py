"""The command line: parsing, calling, printing, and nothing else.

Heavy parts (console, worker, sandbox) are imported by the command that needs them, so that
``status`` and ``--version`` answer at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.parser import build_parser
from pfms_ha_tui.errors import ConfigError, PfmsError, WorkerError, name_config
from pfms_ha_tui.masking import mask

__all__ = ["main"]

_NOT_REACHED = {"no_worker", "denied", "silent", "version", "lost", "stopped"}
"""Codes of a WorkerError that say nobody answered; the others are the worker's own refusals."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status (see :class:`Exit`)."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has had enough; say nothing, also not at the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except PfmsError as error:
        name_config(error, getattr(arguments, "config", None))
        return _refuse(error, nagios=getattr(arguments, "nagios", False))
    except Exception as error:
        report = _crash_report()
        _complain(f"internal error, {type(error).__name__}: {error}; the details are in {report}")
        return Exit.FAILED


def _refuse(error: PfmsError, *, nagios: bool) -> int:
    if nagios:
        # A plug-in speaks on stdout, in one line.
        sys.stdout.write(f"PFMS-HA UNKNOWN - {mask(' '.join(str(error).split()))}\n")
        return Exit.UNKNOWN
    _complain(str(error))
    if isinstance(error, ConfigError):
        return Exit.CONFIG
    if isinstance(error, WorkerError) and error.code in _NOT_REACHED:
        return Exit.NO_WORKER
    return Exit.FAILED


def _complain(text: str) -> None:
    sys.stderr.write(f"pfms-ha-tui: {mask(text)}\n")


def _crash_report() -> Path:
    """The traceback goes to a file, never to the screen."""
    handle, name = tempfile.mkstemp(
        prefix=f"pfms-ha-tui-crash-{time.strftime('%Y%m%d-%H%M%S')}-", suffix=".txt"
    )
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(mask(traceback.format_exc()))
    return Path(name)

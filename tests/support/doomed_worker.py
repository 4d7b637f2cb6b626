"""SIGKILL at one moment of an operation: ``doomed_worker.py KIND:STEP:WHEN[:PID_FILE] ARGS``.

WHEN is ``before`` (the step is journaled as begun, nothing of it is done) or ``after`` (it is done, and that
is not journaled). It hits this worker, or once the process that the file names. Everything else is
``pfms-ha-tui ARGS`` as it is.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfms_ha_tui.cli import main
from pfms_ha_tui.operations.ledger import Change, Ledger
from pfms_ha_tui.operations.view import StepState


def doom(kind: str, step: str, when: str, pid_file: str | None = None) -> None:
    """Make the ledger deadly at that moment."""
    write = Ledger.write
    killed: set[int] = set()

    def kill() -> None:
        victim = os.getpid() if pid_file is None else int(Path(pid_file).read_text())
        if not killed:
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)

    def deadly(self: Ledger, operation: int, change: Change) -> None:
        entry = change.entry
        there = (
            entry is not None
            and entry.name.partition("_node")[0] == step
            and kind_of(self, operation) == kind
        )
        if there and entry is not None and when == "after" and entry.state is StepState.DONE:
            kill()
        write(self, operation, change)
        if there and entry is not None and when == "before" and entry.state is StepState.RUNNING:
            kill()

    Ledger.write = deadly  # type: ignore[method-assign]


def kind_of(ledger: Ledger, number: int) -> str | None:
    """The kind of an operation."""
    try:
        entry = ledger.entry(number)
    except sqlite3.Error:
        return None
    return entry.kind if entry is not None else None


if __name__ == "__main__":
    doom(*sys.argv[1].split(":"))
    sys.argv = ["pfms-ha-tui", *sys.argv[2:]]
    sys.exit(main())

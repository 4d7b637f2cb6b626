"""A worker that is killed by SIGKILL at one moment of an operation: ``doomed_worker.py KIND:STEP:WHEN ARGS``.

WHEN is ``before`` (the step is journaled as begun, nothing of it is done) or ``after`` (it is done, and that
is not journaled). Everything else is ``pfms-ha-tui ARGS`` as it is.
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


def doom(kind: str, step: str, when: str) -> None:
    """Make the ledger deadly at that moment."""
    write = Ledger.write

    def deadly(self: Ledger, operation: int, change: Change) -> None:
        entry = change.entry
        there = (
            entry is not None
            and entry.name.partition("_node")[0] == step
            and kind_of(self, operation) == kind
        )
        if there and entry is not None and when == "after" and entry.state is StepState.DONE:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, operation, change)
        if there and entry is not None and when == "before" and entry.state is StepState.RUNNING:
            os.kill(os.getpid(), signal.SIGKILL)

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

"""A merge in a process of its own that dies by SIGKILL at a chosen moment.

``python -m support.merge_process CONFIG DIRECTORY POINT NTH``: archives and applies [BASE, BASE + 3600) of
node2 into node1. ``POINT`` names where it dies, the ``NTH`` time it comes by.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.divergence import BASE

from pfms_ha_tui.config import load
from pfms_ha_tui.nodes import connection, rowstream
from pfms_ha_tui.operations.merge import batches, container, ledger, throttle, undo
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest, undo_directory
from pfms_ha_tui.operations.merge.window import Window

POINTS = {
    "archive member": (container.Writer, "add", "before"),
    "archive synced": (container.Writer, "sync", "after"),
    "state saved": (ledger, "replace_file", "before"),
    "inserted": (rowstream.RowSession, "write", "after"),
    "before undo": (ledger.UndoFile, "add", "before"),
    "after undo": (ledger.UndoFile, "add", "after"),
    "before commit": (connection.SqlSession, "commit", "before"),
    "after commit": (connection.SqlSession, "commit", "after"),
    "mark placed": (ledger.MarkRow, "place", "after"),
    "taken back": (undo._Undoer, "take_back", "after"),
}


def die_at(point: str, nth: int) -> None:
    owner, name, when = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    seen = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if when == "before" and seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if when == "after" and seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def main() -> None:
    config, directory, point, nth = sys.argv[1:]
    throttle._FIRST_BATCH = 20
    throttle._LARGEST = 20
    cluster = load(Path(config)).clusters[0]
    if point != "nowhere":
        die_at(point, int(nth))
    place = Path(directory)
    if "--undo" in os.environ.get("MERGE_PROCESS", ""):
        undo_directory(cluster, place, Control())
        return
    job = Merge(cluster, MergeRequest(losing="node2", master="node1", window=Window(BASE, BASE + 3600)))
    job.archive(place, Control())
    job.apply(place, Control())


if __name__ == "__main__":
    assert batches is not None
    main()

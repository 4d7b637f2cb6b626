"""A worker whose wall clock is off: ``jumping_worker.py FILE ARGS``; FILE holds by how many seconds, now.

Everything else is ``pfms-ha-tui ARGS`` as it is. The clock is turned before the program is loaded, so that
nothing of it keeps the true one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_TRUE = time.time


def turn(file: Path) -> None:
    """From now on ``time.time`` is off by what the file holds at that moment."""
    time.time = lambda: _TRUE() + float(file.read_text() or 0)


if __name__ == "__main__":
    turn(Path(sys.argv[1]))
    from pfms_ha_tui.cli import main

    sys.argv = ["pfms-ha-tui", *sys.argv[2:]]
    sys.exit(main())

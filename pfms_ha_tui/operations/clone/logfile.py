"""``ha_resync_log``: what each resync did, where users of Pandora look for it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from pfms_ha_tui.masking import mask

_MODE = 0o640


def append(path: Path, text: str, *, at: float) -> None:
    """Add a line with its local time; the file is made if need be.

    Raises:
        OSError: it cannot be written.
    """
    stamp = datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
    lines = "".join(f"{stamp} pfms-ha-tui: {line}\n" for line in mask(text).splitlines() if line.strip())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(lines)

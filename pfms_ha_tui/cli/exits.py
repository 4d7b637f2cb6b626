"""Exit statuses. The first four are those of monitoring plug-ins, so that ``status`` fits anywhere."""

from __future__ import annotations

from enum import IntEnum

from pfms_ha_tui.cluster.diagnosis import Severity


class Exit(IntEnum):
    """What the exit status of a command means."""

    OK = 0
    """Done and verified; for ``status``: healthy."""
    WARNING = 1
    """``status``: something needs a look."""
    CRITICAL = 2
    """``status``: the cluster is broken or cannot fail over."""
    UNKNOWN = 3
    """``status``: nobody knows (no worker, no data yet)."""
    FAILED = 4
    """A command was refused or failed; the reason is on stderr."""
    USAGE = 64
    """The command line was not understood."""
    NO_WORKER = 69
    """No worker could be reached."""
    CONFIG = 78
    """The settings are wrong; every fault is on stderr."""
    INTERRUPTED = 130
    """Ended by ctrl+c."""


OF_SEVERITY = {
    Severity.OK: Exit.OK,
    Severity.INFO: Exit.OK,
    Severity.WARNING: Exit.WARNING,
    Severity.CRITICAL: Exit.CRITICAL,
    Severity.UNKNOWN: Exit.UNKNOWN,
}

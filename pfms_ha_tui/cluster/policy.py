"""The settings that judging needs, as plain numbers. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How much the worker may do by itself."""

    OBSERVE = "observe"
    MANUAL = "manual"
    AUTOMATIC = "automatic"


class OnIsolation(StrEnum):
    """What to do about a master that is unreachable, without a quorum."""

    PROMOTE = "promote"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every threshold of DESIGN section 3."""

    mode: Mode = Mode.MANUAL
    interval: float = 1.0
    connect_retries: int = 2
    """Refusals in a row before "the process is gone" (``ha_connect_retries``)."""
    retry_gap: float = 0.1
    """At least this long between two of those refusals."""
    unresponsive_after: float = 5.0
    isolation_hold: float = 60.0
    on_isolation: OnIsolation = OnIsolation.PROMOTE
    require_fencing: bool = True
    """Whether a failover needs proof that the old master is fenced (an unreachable host cannot give it:
    ``on_isolation`` rules that case)."""
    max_lag: float = 30.0
    """A slave further behind is not promoted."""
    warn_lag: float = 10.0
    recovery_block: float = 600.0
    clock_tolerance: float = 1.0
    stale_after: float = 5.0
    """An observation older than this no longer says how the node is."""
    stall_after: float = 10.0
    """Threads say yes, coordinates do not move while the master's do, for this long."""
    splitbrain_autofix: bool = False
    resync_retries: int = 2
    """A slave is resynced by itself at most so many times within a day (``ha_max_splitbrain_retries``)."""
    resync_hold: float = 30.0
    """A slave must have been broken for this long before (``ha_max_resync_wait_retries`` times
    ``ha_resync_sleep``): a person may be at it."""
    server_threshold: float = 30.0
    """A Pandora server that was silent for twice as long is down, whatever its row says."""
    witnesses: int = 0
    """How many addresses are configured that tell whether we are cut off ourselves; with any, an
    unreachable master is never replaced unless one of them answers."""

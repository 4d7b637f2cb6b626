"""What happened, and how far a slave was behind: the lines of the timeline and of the lag graph."""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.cluster.diagnosis import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the timeline."""

    id: int
    at: float
    """Wall time, seconds since 1970."""
    cluster: str
    node: str | None
    severity: Severity
    kind: str
    """Stable word: a DiagnosisKind value, or ``worker_started``, ``operation_finished``, …"""
    text: str
    actor: str
    """``worker`` or the name of the person."""
    operation: int | None = None
    details: str | None = None
    """More lines (evidence), plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSample:
    """Lag of one slave at one moment."""

    at: float
    seconds: int | None
    bytes: int | None

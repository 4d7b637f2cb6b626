"""Every state has a glyph, a word and an ink, so that no one needs to tell colours apart.

The glyphs keep to characters one cell wide in every terminal; :func:`pfms_ha_tui.console.ink.to_ascii`
has a spelling for each.
"""

from __future__ import annotations

from typing import NamedTuple

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Reach, Says, SshState
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.snapshot import SyncState
from pfms_ha_tui.console.ink import Ink, Span
from pfms_ha_tui.operations.view import StepState

MASTER = "★"
SELECTED = "›"
PAUSED = "‖"
RUNS = "⟳"
BARS = "▁▂▃▄▅▆▇█"


class Sign(NamedTuple):
    """How a state is shown."""

    glyph: str
    word: str
    ink: Ink

    @property
    def both(self) -> Span:
        """Glyph and word."""
        return Span(f"{self.glyph} {self.word}", self.ink)

    @property
    def dot(self) -> Span:
        """The glyph alone."""
        return Span(self.glyph, self.ink)


SEVERITY = {
    Severity.OK: Sign("●", "ok", Ink.OK),
    Severity.INFO: Sign("●", "info", Ink.INFO),
    Severity.WARNING: Sign("▲", "warning", Ink.WARN),
    Severity.CRITICAL: Sign("✖", "critical", Ink.BAD),
    Severity.UNKNOWN: Sign("?", "unknown", Ink.UNKNOWN),
}

SHOUT = {
    Severity.OK: Ink.SHOUT_OK,
    Severity.INFO: Ink.SHOUT_OK,
    Severity.WARNING: Ink.SHOUT_WARN,
    Severity.CRITICAL: Ink.SHOUT_BAD,
    Severity.UNKNOWN: Ink.SHOUT_UNKNOWN,
}

SYNC = {
    SyncState.OK: Sign("●", "ok", Ink.OK),
    SyncState.QUEUED: Sign("◷", "queued", Ink.INFO),
    SyncState.RUNNING: Sign("⟳", "running", Ink.BUSY),
    SyncState.FAILED: Sign("✖", "failed", Ink.BAD),
}

REACH = {
    Reach.UNKNOWN: Sign("?", "unknown", Ink.UNKNOWN),
    Reach.ALIVE: Sign("●", "up", Ink.OK),
    Reach.IMPAIRED: Sign("▲", "impaired", Ink.WARN),
    Reach.REFUSED: Sign("✖", "refused", Ink.BAD),
    Reach.HUNG: Sign("✖", "hung", Ink.BAD),
    Reach.UNREACHABLE: Sign("✖", "no reply", Ink.BAD),
    Reach.FAULT: Sign("?", "our fault", Ink.UNKNOWN),
}

SSH = {
    SshState.UNKNOWN: Sign("?", "?", Ink.UNKNOWN),
    SshState.UP: Sign("●", "up", Ink.OK),
    SshState.DOWN: Sign("✖", "down", Ink.BAD),
    SshState.OFF: Sign("○", "off", Ink.DIM),
}

PROCESS = {
    ProcessState.UNKNOWN: Sign("?", "unknown", Ink.UNKNOWN),
    ProcessState.RUNNING: Sign("●", "running", Ink.OK),
    ProcessState.FROZEN: Sign("✖", "frozen by a signal", Ink.BAD),
    ProcessState.NONE: Sign("✖", "no server process", Ink.BAD),
}

IO = {
    IoState.YES: Sign("●", "receives", Ink.OK),
    IoState.CONNECTING: Sign("▲", "connecting", Ink.WARN),
    IoState.NO: Sign("✖", "stopped", Ink.BAD),
}

SQL_THREAD = {
    True: Sign("●", "applies", Ink.OK),
    False: Sign("✖", "stopped", Ink.BAD),
}

GUARD = {
    True: Sign("✔", "holds", Ink.OK),
    False: Sign("✖", "fails", Ink.BAD),
    None: Sign("?", "not known", Ink.UNKNOWN),
}

SAYS = {
    Says.SEES: Sign("●", "sees it", Ink.OK),
    Says.LOST: Sign("✖", "lost it", Ink.BAD),
    Says.SILENT: Sign("○", "says nothing", Ink.DIM),
}

STEP = {
    StepState.WAITING: Sign("○", "waiting", Ink.DIM),
    StepState.RUNNING: Sign("⟳", "running", Ink.BUSY),
    StepState.DONE: Sign("✔", "done", Ink.OK),
    StepState.FAILED: Sign("✖", "failed", Ink.BAD),
    StepState.SKIPPED: Sign("○", "skipped", Ink.DIM),
    StepState.UNDONE: Sign("‹", "undone", Ink.WARN),
}

MODE = {
    Mode.OBSERVE: "observes only",
    Mode.MANUAL: "manual failover",
    Mode.AUTOMATIC: "automatic failover",
}


def kind_words(kind: DiagnosisKind) -> str:
    """A diagnosis as it stands in the banner: ``MASTER DEAD``, ``SPLIT BRAIN``."""
    words: list[str] = []
    for char in kind.value:
        if char.isupper():
            words.append("")
        words[-1] += char
    return " ".join(words).upper()

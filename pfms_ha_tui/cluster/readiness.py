"""Whether a failover would work now: the seven guards of DESIGN section 3, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One condition of an automatic failover."""

    key: str
    """``armed`` ``verdict`` ``slave`` ``isolation`` ``operation`` ``fencing`` ``preflight``."""
    title: str
    """Short, for the panel: "slave replicating, SQL healthy"."""
    ok: bool | None
    """``None`` = not known, which blocks like False."""
    reason: str
    """Why it holds or does not, one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All guards, the candidate, and the sentence what would happen now."""

    guards: tuple[Guard, ...]
    candidate: str | None
    sentence: str
    """"If node1 died now, node2 would take over (7 of 7 checks pass)." """

    @property
    def passed(self) -> int:
        """How many guards hold."""
        return sum(1 for guard in self.guards if guard.ok)

    @property
    def ready(self) -> bool:
        """Whether every guard holds."""
        return bool(self.guards) and self.passed == len(self.guards)

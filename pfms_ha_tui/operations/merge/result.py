"""What a merge did, table by table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.operations.merge.inventory import Owner, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """What a merge did with one table, or with the children of one."""

    table: str
    rows: int
    """In the window on the losing side."""
    there: int
    """Were on the master already."""
    added: int
    skipped: int
    """Of modules and agents that the master does not know; children: of events it does not have."""
    quarantined: int
    """Refused by the master."""
    before: int | None = None
    """The master's rows in the window before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """What a merge did."""

    directory: Path
    tables: tuple[TableResult, ...]
    skipped: tuple[tuple[Unknown, int], ...]
    """Modules and agents whose rows were left out, with their number."""
    renamed: tuple[tuple[Owner, int], ...]
    seconds: float

    @property
    def added(self) -> int:
        """Rows added, children included."""
        return sum(one.added for one in self.tables)

    @property
    def quarantined(self) -> int:
        """Rows refused by the master, children included."""
        return sum(one.quarantined for one in self.tables)

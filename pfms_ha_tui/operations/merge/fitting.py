"""An archive and the master it is merged into, laid side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pfms_ha_tui.operations.merge.archive import Archive
from pfms_ha_tui.operations.merge.inventory import (
    Inventory,
    Known,
    Owner,
    Unknown,
    established,
    explain,
    load,
    match,
)
from pfms_ha_tui.operations.merge.prepare import Preparation, Prepared, prepare, refit
from pfms_ha_tui.operations.merge.side import Side


class Fitted:
    """An archive's tables laid beside the master's.

    Raises:
        SchemaError: they do not fit.
        SqlError: the master cannot be asked.
    """

    def __init__(self, archive: Archive, master: Side) -> None:
        self.archive = archive
        specs = [table.spec for table in archive.tables.values()]
        stored = archive.schemas()
        self.preparation: Preparation = prepare(specs, stored, master.schema_of(stored), archive.mappings())
        self.preparation.require()
        self.tables = tuple(self._refitted(prepared) for prepared in self.preparation.tables)
        self.losing, old = archive.inventory()
        self.master: Inventory = load(master)
        self.known: Known = _known(self.losing, self.master, old, master, archive.head.start)

    def _refitted(self, prepared: Prepared) -> Prepared:
        stored = self.archive.tables[prepared.table]
        columns = {child.table: own for child, own in stored.children}
        return Prepared(
            layout=refit(prepared.layout, stored.columns),
            children=tuple(
                replace(child, layout=refit(child.layout, columns[child.spec.table]))
                for child in prepared.children
            ),
        )

    def unknown(self, skipped: Mapping[str, int]) -> list[tuple[Unknown, int]]:
        """Explain counts by ``module:17``."""
        found = []
        for key, rows in skipped.items():
            owner, _, number = key.partition(":")
            found.append((explain(Owner(owner), int(number), self.losing, self.master), rows))
        return found


def _known(losing: Inventory, master: Inventory, old: frozenset[int], side: Side, before: int) -> Known:
    return match(losing, master, old, established(side, old, before) if old else frozenset())

"""Both sides' tables laid side by side: what can be merged, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pfms_ha_tui.operations.merge.errors import SchemaError
from pfms_ha_tui.operations.merge.families import Child
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.tables import (
    Layout,
    SchemaDifference,
    TableMapping,
    TableSchema,
    TableSpec,
    fit,
    with_owners,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A table that can be merged, with its children."""

    layout: Layout
    children: tuple[Child, ...] = ()

    @property
    def table(self) -> str:
        """The table's name."""
        return self.layout.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What can be merged and what differs."""

    tables: tuple[Prepared, ...]
    differences: tuple[SchemaDifference, ...] = ()
    mappings: Mapping[str, TableMapping] = field(default_factory=dict)

    @property
    def blocking(self) -> tuple[SchemaDifference, ...]:
        """Differences that have to be repaired or mapped first."""
        return tuple(difference for difference in self.differences if difference.blocking)

    def require(self) -> None:
        """Refuse while a difference blocks.

        Raises:
            SchemaError: it names every one.
        """
        if self.blocking:
            told = "; ".join(
                f"{one.table}{'.' + one.column if one.column else ''}: {one.text}" for one in self.blocking
            )
            raise SchemaError(
                f"the two nodes' tables differ: {told}", hint=self.blocking[0].remedy or "make them equal"
            )


def prepare(
    specs: Sequence[TableSpec],
    here: Mapping[str, TableSchema],
    there: Mapping[str, TableSchema],
    mappings: Mapping[str, TableMapping] | None = None,
) -> Preparation:
    """Fit each table of the losing side into the master's."""
    mappings = mappings or {}
    tables: list[Prepared] = []
    differences: list[SchemaDifference] = []
    for spec in specs:
        own = here.get(spec.table)
        spec = _existing_children(with_owners(spec, own), here)
        layout, found = fit(spec, own, there.get(spec.table), mappings.get(spec.table))
        differences += found
        children: list[Child] = []
        for child in spec.children:
            child_layout, found = fit(
                child.spec, here.get(child.table), there.get(child.table), mappings.get(child.table)
            )
            # Children are found by their parent; no index on their time is needed.
            differences += [one for one in found if one.blocking or one.column != child.time_column]
            if child_layout is not None:
                children.append(Child(spec=child, layout=child_layout))
        if layout is not None:
            tables.append(Prepared(layout=layout, children=tuple(children)))
    return Preparation(tables=tuple(tables), differences=tuple(differences), mappings=mappings)


def _existing_children(spec: TableSpec, here: Mapping[str, TableSchema]) -> TableSpec:
    """Older releases of Pandora keep comments in the event itself and have no table for them."""
    return replace(spec, children=tuple(child for child in spec.children if child.table in here))


def refit(layout: Layout, stored: Sequence[Column]) -> Layout:
    """A layout whose rows come with ``stored`` columns, in that order."""
    names = [column.name for column in stored]
    places = tuple(names.index(column.name) for column in layout.here[: len(layout.there)])
    plain = places == tuple(range(len(names)))
    return replace(layout, source=None if plain else places)

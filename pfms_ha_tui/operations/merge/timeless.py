"""Rows without a time: NULL, negative, or zero, which is what Pandora's tables put where nobody gave one.

No window holds them, so no merge adds them. Those that only the losing side has are counted, told, and saved
with its configuration; as long as there are any, that side is not to be rebuilt.
"""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers)

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.literals import Column, digest, fields, joined, tuple_sql
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import Layout
from pfms_ha_tui.operations.merge.window import Window

MOST_ROWS = 20_000
"""More of one table are neither compared nor saved, and said to be so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeless:
    """Rows without a time of one table that only the losing side has."""

    table: str
    rows: int
    saved: bool
    """Whether they can be compared and archived: not too many, none too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where one table's rows without a time are found, on either side."""

    table: str
    columns: tuple[Column, ...]
    """Of the losing side, all that are archived."""
    places: tuple[int, ...]
    """Of those, the ones that tell rows apart."""
    there: tuple[Column, ...]
    """The same on the master."""
    here_where: str
    there_where: str
    above: str | None = None
    """Table that its rows hang on."""


class TimelessRows:
    """Compares them; see the module.

    Args:
        losing: The losing side.
        master: The master.
        tables: Those of the merge.
        window: Of the merge; one that begins at zero holds the rows of zero.
    """

    def __init__(self, losing: Side, master: Side, tables: Sequence[Prepared], window: Window) -> None:
        self._losing = losing
        self._master = master
        self._sources = {source.table: source for source in _sources(tables, int(window.start > 0))}

    def compare(self, control: Control) -> tuple[Timeless, ...]:
        """Tables with such rows.

        Raises:
            SqlError: a side cannot be asked.
            MergeCancelled: somebody asked to stop.
        """
        found: list[Timeless] = []
        none: set[str | None] = set()
        for source in self._sources.values():
            control.check()
            if source.above in none:
                continue
            count = self._count(self._losing, source.table, source.here_where)
            if not count:
                none.add(source.table)
                continue
            if count > MOST_ROWS:
                found.append(Timeless(table=source.table, rows=count, saved=False))
                continue
            rows = [row is not None for row in self._only_here(source)]
            if rows:
                found.append(Timeless(table=source.table, rows=len(rows), saved=all(rows)))
        return tuple(found)

    def rows(self, table: str) -> Iterator[list[bytes]]:
        """Those of a table, as literals of :meth:`columns`; read to the end.

        Raises:
            SqlError: a side cannot be asked.
        """
        yield [row for row in self._only_here(self._sources[table]) if row is not None]

    def columns(self, table: str) -> tuple[Column, ...]:
        """The archived columns of a table."""
        return self._sources[table].columns

    def _count(self, side: Side, table: str, where: str) -> int:
        sql = f"SELECT COUNT(*) AS n FROM {quote_name(table)} WHERE {where}"
        return int(str(side.session.query(sql, timeout=READ_TIMEOUT)[0]["n"]))

    def _only_here(self, source: _Source) -> list[bytes | None]:
        """The losing side's rows that the master has fewer of; ``None`` for one too long to be read."""
        there: Counter[bytes] = Counter()
        if self._count(self._master, source.table, source.there_where) <= MOST_ROWS:
            for row in self._read(self._master, source.table, source.there, source.there_where):
                if row is not None:
                    there[digest(row)] += 1
        found: list[bytes | None] = []
        for row in self._read(self._losing, source.table, source.columns, source.here_where):
            if row is None:
                found.append(None)
                continue
            parts = fields(row)
            key = digest(joined(parts[place] for place in source.places))
            if there[key] > 0:
                there[key] -= 1
            else:
                found.append(row)
        return found

    def _read(self, side: Side, table: str, columns: Sequence[Column], where: str) -> Iterator[bytes | None]:
        sql = f"SELECT {tuple_sql(columns)} FROM {quote_name(table)} WHERE {where}"
        for chunk in side.session.texts(sql, READ_TIMEOUT):
            yield from chunk


def _sources(tables: Sequence[Prepared], below: int) -> Iterator[_Source]:
    for prepared in tables:
        layout = prepared.layout
        if layout.spec.key:
            continue  # overwritten in place: it holds nothing of the past
        time = layout.place(layout.spec.time_column)
        if time is None:
            continue
        here, there = (_without(quote_name(side[time].name), below) for side in (layout.here, layout.there))
        yield _source(layout, here, there)
        for child in prepared.children:
            number, parent = layout.place(layout.spec.new_id), child.layout.place(child.spec.parent)
            if number is None or parent is None:
                continue
            yield _source(
                child.layout,
                _of(child.layout.here[parent], layout, layout.here[number], here),
                _of(child.layout.there[parent], layout, layout.there[number], there),
                above=layout.table,
            )


def _source(layout: Layout, here: str, there: str, above: str | None = None) -> _Source:
    """All columns but the new id tell rows apart; those that only the losing side has cannot."""
    places = tuple(
        place for place in range(len(layout.there)) if layout.here[place].name != layout.spec.new_id
    )
    return _Source(
        table=layout.table,
        columns=layout.here,
        places=places,
        there=tuple(layout.there[place] for place in places),
        here_where=here,
        there_where=there,
        above=above,
    )


def _without(time: str, below: int) -> str:
    return f"({time} IS NULL OR {time} < {below:d})"


def _of(column: Column, above: Layout, number: Column, where: str) -> str:
    """What hangs on such a row."""
    listed = f"SELECT {quote_name(number.name)} FROM {quote_name(above.table)} WHERE {where}"
    return f"{quote_name(column.name)} IN ({listed})"

"""Reading one table of one side, slice by slice along its time column."""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers, literals were made by a server)

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from zlib import crc32

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.literals import (
    Column,
    digest,
    fields,
    joined,
    long_sql,
    part_literal,
    part_sql,
    tuple_sql,
)
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.sums import Sums, checksum_sql, told
from pfms_ha_tui.operations.merge.tables import Layout

SLICE_ROWS = 50_000
SLICE_BYTES = 4 << 20
_UNINDEXED_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One of several passes over a slice that is too large to be compared at once."""

    number: int = 0
    of: int = 1


WHOLE = Part()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the rows of a table are asked for on one side."""

    table: str
    columns: tuple[Column, ...]
    time: str
    """Name of the time column on this side."""
    index: str | None
    new_id: bool
    """Whether the first field is an id that does not count in a comparison."""
    owner: str | None = None
    """Column by which a slice can be narrowed: module, else agent."""

    @property
    def compared(self) -> tuple[Column, ...]:
        """The columns that tell rows apart."""
        return self.columns[1:] if self.new_id else self.columns

    @property
    def row(self) -> str:
        """Expression for a row's literal."""
        return tuple_sql(self.columns)

    @property
    def key(self) -> str:
        """Expression for a row as :func:`key_of` cuts it, long ones as their digest; an id comes first."""
        rest = tuple_sql(self.compared, opened=not self.new_id)
        long = long_sql(self.compared)
        short = rest if long is None else f"IF({long},SHA2({rest},256),{rest})"
        return f"CONCAT({quote_name(self.columns[0].name)},',',{short})" if self.new_id else short


def here(layout: Layout) -> Shape:
    """The losing side's rows, with every column that is archived."""
    spec = layout.spec
    return Shape(
        table=spec.table,
        columns=layout.here,
        time=spec.time_column,
        index=layout.index_here,
        new_id=spec.new_id is not None,
        owner=spec.module or spec.agent,
    )


def there(layout: Layout) -> Shape:
    """The master's rows, with the columns that are merged."""
    spec = layout.spec

    def name(of: str | None) -> str | None:
        place = layout.place(of)
        return layout.there[place].name if place is not None and place < len(layout.there) else None

    return Shape(
        table=spec.table,
        columns=layout.there,
        time=name(spec.time_column) or spec.time_column,
        index=layout.index_there,
        new_id=spec.new_id is not None,
        owner=name(spec.module or spec.agent),
    )


class Reader:
    """Rows of one table of one side. One statement at a time; blocking.

    All methods raise ``SqlError`` when the server says no or is lost.
    """

    def __init__(self, side: Side, shape: Shape) -> None:
        self.side = side
        self.shape = shape
        force = f" FORCE INDEX ({quote_name(shape.index)})" if shape.index else ""
        self._from = f"FROM {quote_name(shape.table)}{force}"
        self._average = 0.0

    def slices(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[start, end) cut so that one slice is about as much as is held in memory at a time.

        The size adapts to the rows read so far (:meth:`rows` weighs them), so take them one by one.
        """
        place = start
        while place < end:
            after = self._boundary(place, end)
            yield place, after
            place = after

    def _boundary(self, start: int, end: int) -> int:
        size = SLICE_ROWS if self.shape.index else SLICE_ROWS * _UNINDEXED_FACTOR
        if self._average:
            size = max(1, min(size, int(SLICE_BYTES / self._average)))
        elif any(column.textual or column.binary for column in self.shape.columns):
            size //= 10
        time = quote_name(self.shape.time)
        rows = self.side.session.query(
            f"SELECT {time} AS moment {self._from} WHERE {self._range(start, end)}"
            f" ORDER BY {time} LIMIT 1 OFFSET {size}",
            timeout=READ_TIMEOUT,
        )
        if not rows:
            return end
        return max(start + 1, int(str(rows[0]["moment"])))

    def count(self, start: int, end: int, owners: Set[bytes] | None = None) -> int:
        """How many rows there are."""
        rows = self.side.session.query(
            f"SELECT COUNT(*) AS n FROM {quote_name(self.shape.table)}"
            f" WHERE {self._range(start, end)}{self._narrowed(owners)}",
            timeout=READ_TIMEOUT,
        )
        return int(str(rows[0]["n"]))

    def sums(self, start: int, end: int, *, forced: bool = True) -> Sums | None:
        """Rows and their checksum, made by the server; ``None`` when it cannot render one of them.

        Args:
            start: Seconds, inclusive.
            end: Seconds, exclusive.
            forced: Along the time's index. For much of a table the server's own way is twice as fast.
        """
        certain = long_sql(self.shape.columns) is None
        source = self._from if forced else f"FROM {quote_name(self.shape.table)}"
        rows = self.side.session.query(
            f"SELECT COUNT(*) AS n, {checksum_sql(self.shape.row, certain=certain)} AS checksum {source}"
            f" WHERE {self._range(start, end)}",
            timeout=READ_TIMEOUT,
        )
        checksum = rows[0]["checksum"]
        return told(int(str(rows[0]["n"])), None if checksum is None else int(str(checksum)))

    def rows(self, start: int, end: int) -> Iterator[list[bytes]]:
        """Rows' literals, in the order of time, in chunks."""
        seen = size = 0
        order = f" ORDER BY {quote_name(self.shape.time)}"
        for chunk in self._texts(self.shape.row, self._range(start, end) + order, self._range(start, end)):
            seen += len(chunk)
            size += sum(map(len, chunk))
            yield chunk
        if seen:
            self._average = size / seen

    def keys(
        self,
        start: int,
        end: int,
        *,
        part: Part = WHOLE,
        owners: Set[bytes] | None = None,
        limit: int | None = None,
    ) -> Iterator[list[bytes]]:
        """Rows as they are compared (:attr:`Shape.key`), in any order, in chunks.

        Args:
            start: Seconds, inclusive.
            end: Seconds, exclusive.
            part: Only the rows whose checksum falls into this part.
            owners: Only rows of these modules (or agents), as literals.
            limit: At most so many, whichever.
        """
        where = self._range(start, end) + self._narrowed(owners)
        if part.of > 1:
            rest = tuple_sql(self.shape.compared, opened=not self.shape.new_id)
            # A row that the server cannot render comes in each part, to be sorted out here.
            where += f" AND IFNULL(CRC32({rest}) % {part.of},{part.number}) = {part.number}"
        capped = where if limit is None else f"{where} LIMIT {limit:d}"
        forced = owners is None
        yield from self._texts(self.shape.key, capped, where, forced=forced, compared=part)

    def existing(self, columns: Sequence[str], keys: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Of these keys (``(a,b)`` literals) those that rows exist for, once for each such row."""
        by_name = {column.name: column for column in self.shape.columns}
        chosen = [by_name[name] for name in columns]
        names = ",".join(quote_name(name) for name in columns)
        for at in range(0, len(keys), 1000):
            listed = b",".join(keys[at : at + 1000]).decode("utf-8", "surrogateescape")
            yield from self._texts(tuple_sql(chosen), f"({names}) IN ({listed})", None, forced=False)

    def _range(self, start: int, end: int) -> str:
        time = quote_name(self.shape.time)
        return f"{time} >= {start:d} AND {time} < {end:d}"

    def _narrowed(self, owners: Set[bytes] | None) -> str:
        if owners is None or self.shape.owner is None:
            return ""
        return f" AND {quote_name(self.shape.owner)} IN ({b','.join(sorted(owners)).decode()})"

    def _texts(
        self,
        expression: str,
        where: str,
        again: str | None,
        *,
        forced: bool = True,
        compared: Part | None = None,
    ) -> Iterator[list[bytes]]:
        """Non-NULL texts; rows too long for the server to render are fetched in pieces with ``again``."""
        source = self._from if forced else f"FROM {quote_name(self.shape.table)}"
        sql = f"SELECT {expression} {source} WHERE {where}"
        too_long = 0
        for chunk in self.side.session.texts(sql, READ_TIMEOUT):
            if None in chunk:
                whole = [text for text in chunk if text is not None]
                too_long += len(chunk) - len(whole)
                yield whole
            else:
                yield chunk  # type: ignore[misc]
        if too_long and again is not None:
            yield from self._pieces(f"{again} AND {expression} IS NULL", compared=compared)

    def _pieces(self, where: str, *, compared: Part | None) -> Iterator[list[bytes]]:
        """One by one, the rows whose literal the server could not make."""
        columns = self.shape.columns
        parts = ", ".join(f"{part_sql(column)} AS f{at}" for at, column in enumerate(columns))
        rows = self.side.session.query(f"SELECT {parts} {self._from} WHERE {where}", timeout=READ_TIMEOUT)
        for row in rows:
            literals = [part_literal(column, row[f"f{at}"]) for at, column in enumerate(columns)]
            if compared is None:
                yield [joined(literals)]
                continue
            rest = joined(literals[1:])[1:] if self.shape.new_id else joined(literals)
            if crc32(rest) % compared.of == compared.number:
                yield [literals[0] + b"," + digest(rest) if self.shape.new_id else digest(rest)]


def project(rows: Sequence[bytes], layout: Layout) -> list[bytes]:
    """Rows with the columns that are merged, in the layout's order."""
    places = layout.source
    if places is None:
        return list(rows)
    projected = []
    for row in rows:
        parts = fields(row)
        projected.append(joined(parts[place] for place in places))
    return projected

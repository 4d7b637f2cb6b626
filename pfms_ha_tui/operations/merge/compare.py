"""What the master lacks of a slice: the difference of two multisets, slice by slice.

A slice's rows are the same set of seconds on both sides. For every distinct row the master is to have
as many as the side that has more of it; what is missing is added. Computed again after the addition,
the difference is empty: this, not a note of what was done, is why nothing is ever doubled.

Memory is bounded by passes: a slice in which the master has very many rows is narrowed to the modules at
hand, and if that is not enough, compared in parts by the rows' checksum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from pfms_ha_tui.operations.merge.inventory import Known, Owner
from pfms_ha_tui.operations.merge.literals import LONG, digest, fields, joined
from pfms_ha_tui.operations.merge.reading import WHOLE, Part, Reader, project
from pfms_ha_tui.operations.merge.tables import Layout

MOST_KEYS = 200_000
"""Rows of the master that are held in memory at a time."""
_MOST_OWNERS = 5_000


class Slice(Protocol):
    """The losing side's rows of one table between two seconds, from the server or from an archive."""

    @property
    def start(self) -> int:
        """Seconds, inclusive."""

    @property
    def end(self) -> int:
        """Seconds, exclusive."""

    @property
    def rows(self) -> int:
        """How many there are, or an upper bound."""

    def chunks(self) -> Iterator[list[bytes]]:
        """Rows' literals with every archived column; may be asked for again."""

    def children(self, table: str) -> list[bytes]:
        """Literals of the rows of a child table that belong to these rows."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the losing side's rows of one table."""

    rows: int = 0
    """All of them."""
    there: int = 0
    """Already on the master."""
    missing: int = 0
    """To be added."""
    skipped: Counter[tuple[Owner, int]] = field(default_factory=Counter)
    """Of modules and agents that the master does not know."""
    child_rows: Counter[str] = field(default_factory=Counter)
    child_missing: Counter[str] = field(default_factory=Counter)
    child_skipped: Counter[str] = field(default_factory=Counter)

    @property
    def set_aside(self) -> int:
        """Rows of unknown modules and agents."""
        return sum(self.skipped.values())


class Sieve:
    """Lets through rows of known modules and agents."""

    def __init__(self, layout: Layout, known: Known) -> None:
        self._known = known
        self._module = layout.place(layout.spec.module)
        self._agent = layout.place(layout.spec.agent)
        self._last = max(self._module or 0, self._agent or 0)
        self._nobody = {b"0"} if layout.spec.nobody else set()
        self.owner_place = self._module if self._module is not None else self._agent

    def sift(self, rows: list[bytes], skipped: Counter[tuple[Owner, int]]) -> list[bytes]:
        """The rows to be merged; the others are counted by what they are of."""
        if self._module == 0 and self._agent is None:
            good: Set[bytes] = self._known.modules | self._nobody
            kept = [row for row in rows if row[1 : row.index(b",")] in good]
            if len(kept) < len(rows):
                for row in rows:
                    number = row[1 : row.index(b",")]
                    if number not in good:
                        skipped[Owner.MODULE, int(number)] += 1
            return kept
        if self._module is None and self._agent is None:
            return rows
        kept = []
        for row in rows:
            first = row[1:].split(b",", self._last + 1)
            bad = self._bad(first)
            if bad is None:
                kept.append(row)
            else:
                skipped[bad] += 1
        return kept

    def own(self, rows: list[bytes], skipped: Counter[tuple[Owner, int]]) -> list[bytes]:
        """The rows that may be compared with the master's; the others are counted by what they are of.

        A number that names something else on the master makes equal rows different: the master has not got
        such a row, though it looks so.
        """
        if self._known.distinct or (self._module is None and self._agent is None):
            return rows
        kept = []
        for row in rows:
            first = row[1:].split(b",", self._last + 1)
            if self._agent is not None and first[self._agent] in self._known.taken_agents:
                skipped[Owner.AGENT, _number(first[self._agent])] += 1
            elif self._module is not None and first[self._module] in self._known.taken_modules:
                skipped[Owner.MODULE, _number(first[self._module])] += 1
            else:
                kept.append(row)
        return kept

    def _bad(self, first: Sequence[bytes]) -> tuple[Owner, int] | None:
        if self._agent is not None:
            agent = first[self._agent]
            if agent not in self._known.agents and agent not in self._nobody:
                return Owner.AGENT, _number(agent)
        if self._module is not None:
            module = first[self._module]
            if module not in self._known.modules and module not in self._nobody:
                return Owner.MODULE, _number(module)
        return None


def _number(literal: bytes) -> int:
    return int(literal) if literal.lstrip(b"-").isdigit() else 0


@dataclass(frozen=True, slots=True)
class Present:
    """The master's rows of one pass over a slice."""

    part: Part
    counts: Counter[bytes]
    """Row → how many (tables without an id)."""
    ids: dict[bytes, list[bytes]]
    """Row without its id → ids (tables with one)."""

    def take(self, chunk: list[bytes], new_id: bool) -> None:
        """Add rows as :meth:`Reader.keys` gives them."""
        if not new_id:
            self.counts.update(chunk)
            return
        for text in chunk:
            cut = text.index(b",")
            self.ids.setdefault(text[cut + 1 :], []).append(text[:cut])


def present(
    reader: Reader,
    start: int,
    end: int,
    owners: Callable[[], Set[bytes]] | None,
    *,
    most: int | None = None,
    at_least: int = 0,
) -> Iterator[Present]:
    """What the master has in a slice, in as many passes as memory asks for.

    Args:
        reader: Of the master.
        start: Seconds, inclusive.
        end: Seconds, exclusive.
        owners: Tells the modules (or agents) of the slice at hand, if they are needed.
        most: Rows in one pass; ``None`` = :data:`MOST_KEYS`.
        at_least: Rows that the passes must have room for, whatever the master has.

    Raises:
        SqlError: the master cannot be asked.
    """
    most = most or MOST_KEYS
    if at_least <= most:
        whole = at_once(reader, start, end, most)
        if whole is not None:
            yield whole
            return
    chosen = owners() if owners is not None else None
    if chosen is not None and not 0 < len(chosen) <= _MOST_OWNERS:
        chosen = None
    rows = reader.count(start, end, chosen)
    passes = max(1, -(-max(rows, at_least) // most))
    for number in range(passes):
        part = Part(number, passes) if passes > 1 else WHOLE
        found = Present(part, Counter(), {})
        for chunk in reader.keys(start, end, part=part, owners=chosen):
            found.take(chunk, reader.shape.new_id)
        yield found


def at_once(reader: Reader, start: int, end: int, most: int | None = None) -> Present | None:
    """All the master has in a slice, ``None`` if it is more than ``most``: cheaper than to count first.

    Raises:
        SqlError: the master cannot be asked.
    """
    most = most or MOST_KEYS
    found = Present(WHOLE, Counter(), {})
    rows = 0
    for chunk in reader.keys(start, end, limit=most + 1):
        rows += len(chunk)
        found.take(chunk, reader.shape.new_id)
    return found if rows <= most else None


class Comparison:
    """Compares slices of one table; the rows that are missing come out, the counts go to ``tally``."""

    def __init__(self, layout: Layout, master: Reader, known: Known, tally: Tally) -> None:
        self.layout = layout
        self.master = master
        self.tally = tally
        self._sieve = Sieve(layout, known)

    def taken(self, unit: Slice, part: Part = WHOLE) -> Iterator[list[bytes]]:
        """Rows with the columns that are merged; counted in the first part."""
        for chunk in unit.chunks():
            if part.number == 0:
                self.tally.rows += len(chunk)
            rows = chunk if self.layout.source is None else project(chunk, self.layout)
            if part.of > 1:
                key = self.key
                rows = [row for row in rows if crc32(key(row)) % part.of == part.number]
            yield rows

    def prepared(self, unit: Slice, part: Part = WHOLE) -> Iterator[list[bytes]]:
        """Of :meth:`taken`, those that may be merged."""
        for rows in self.taken(unit, part):
            yield self._sieve.sift(rows, self.tally.skipped)

    def same(self, rows: int) -> None:
        """Count a slice that is equal on both sides."""
        self.tally.rows += rows
        self.tally.there += rows

    def key(self, row: bytes) -> bytes:
        """The part of a row that is compared."""
        return row[row.index(b",") + 1 :] if self.layout.spec.new_id else row

    def missing(self, unit: Slice, found: Present | None = None) -> Iterator[list[bytes]]:
        """Rows of a table without an id that the master lacks, in chunks.

        Args:
            unit: The slice.
            found: All that the master has, if it was asked already.

        Raises:
            SqlError: a side cannot be asked.
        """
        if self.layout.spec.key:
            yield from self._missing_keys(unit)
            return
        passes: Iterable[Present] = [found] if found is not None else self._present(unit)
        for there in passes:
            for rows in self.taken(unit, there.part):
                own = self._sieve.own(rows, self.tally.skipped)
                lacking = subtract(own, there.counts)
                self.tally.there += len(own) - len(lacking)
                # What the master has already, it has, even if it does not know the module any more.
                lacking = self._sieve.sift(lacking, self.tally.skipped)
                self.tally.missing += len(lacking)
                yield lacking

    def _present(self, unit: Slice) -> Iterator[Present]:
        return present(self.master, unit.start, unit.end, lambda: self.owners(unit))

    def owners(self, unit: Slice) -> Set[bytes]:
        """The modules (or agents) of a slice."""
        place = self._sieve.owner_place
        if place is None:
            return set()
        return {
            row[1:].split(b",", place + 1)[place]
            for chunk in unit.chunks()
            for row in (chunk if self.layout.source is None else project(chunk, self.layout))
        }

    def _missing_keys(self, unit: Slice) -> Iterator[list[bytes]]:
        """Rows whose key the master lacks, wherever in time its own row is."""
        spec = self.layout.spec
        places = [place for name in spec.key if (place := self.layout.place(name)) is not None]
        names = [self.layout.there[place].name for place in places]
        for rows in self.prepared(unit):
            keys = [_key(row, places) for row in rows]
            counts: Counter[bytes] = Counter()
            for chunk in self.master.existing(names, list(dict.fromkeys(keys))):
                counts.update(chunk)
            lacking = []
            for row, key in zip(rows, keys, strict=True):
                if counts[key] > 0:
                    counts[key] -= 1
                else:
                    lacking.append(row)
            self.tally.there += len(rows) - len(lacking)
            self.tally.missing += len(lacking)
            yield lacking


def _key(row: bytes, places: Sequence[int]) -> bytes:
    parts = fields(row)
    return joined(parts[place] for place in places)


def subtract(rows: list[bytes], there: Counter[bytes]) -> list[bytes]:
    """The rows of which ``there`` has too few; ``there`` is used up by it."""
    if not there:
        return rows
    lacking = []
    for row in rows:
        key = row
        count = there.get(key, 0)
        if not count and len(row) > LONG:
            key = digest(row)
            count = there.get(key, 0)
        if count:
            there[key] = count - 1
        else:
            lacking.append(row)
    return lacking


def lookup(ids: Mapping[bytes, list[bytes]], key: bytes) -> tuple[bytes, list[bytes]]:
    """The ids of a row without its id, and the spelling under which they stand there."""
    found = ids.get(key)
    if found is None and len(key) > LONG:
        short = digest(key)
        return short, ids.get(short, [])
    return key, found or []

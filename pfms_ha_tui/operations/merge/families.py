"""Events and what hangs on them: which are missing, and to which event of the master a comment goes.

Events are equal when all columns but the id are. Among equal events nobody can say which is which, so
their comments are compared together: what the losing side's equal events have more of is added.
"""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers, literals were made by a server)

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.compare import Comparison, Slice, Tally, lookup, present
from pfms_ha_tui.operations.merge.inventory import Known
from pfms_ha_tui.operations.merge.literals import LONG, digest, fields, joined, tuple_sql
from pfms_ha_tui.operations.merge.reading import Reader, Shape, project
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import ChildSpec, Layout

_MOST_EVENTS = 20_000
"""Events held in memory at a time."""
_MOST_IDS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A child table with its layout."""

    spec: ChildSpec
    layout: Layout

    @property
    def shape(self) -> Shape:
        """The master's rows with the parent in the place of the id."""
        return Shape(
            table=self.layout.table,
            columns=self.layout.there[1:],
            time=self.spec.time_column,
            index=None,
            new_id=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An event that is to be added, or one that the master has, with what is to be added to it."""

    row: bytes | None
    """The event without its id (``b,…)``); ``None`` when the master has it."""
    master_id: bytes | None = None
    """Its id on the master, when it is there."""
    children: tuple[tuple[int, bytes], ...] = ()
    """(number of the child table, row without id and parent)."""

    @property
    def rows(self) -> int:
        """How many rows are added."""
        return (self.row is not None) + len(self.children)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the losing side's rows of a table, or of the children of one."""

    table: str
    rows: int
    """All of them."""
    there: int
    """Already on the master."""
    missing: int
    """To be added."""
    skipped: int
    """Of owners that the master does not know; children: of events that it does not have."""


def counts(table: str, children: Iterable[Child], tally: Tally) -> Iterator[Counts]:
    """The table's own, then those of its children."""
    yield Counts(
        table=table, rows=tally.rows, there=tally.there, missing=tally.missing, skipped=tally.set_aside
    )
    for child in children:
        name = child.spec.table
        rows, missing, out = tally.child_rows[name], tally.child_missing[name], tally.child_skipped[name]
        yield Counts(table=name, rows=rows, there=rows - missing - out, missing=missing, skipped=out)


Offspring = Mapping[bytes, list[tuple[int, bytes]]]
"""Id of an event on the losing side → its children, as in :attr:`Family.children`, in the order of ids."""


class FamilyComparison(Comparison):
    """Compares slices of a table whose rows have ids, together with its children."""

    def __init__(
        self, layout: Layout, children: Sequence[Child], master: Reader, known: Known, tally: Tally
    ) -> None:
        super().__init__(layout, master, known, tally)
        self._children = tuple(children)

    def families(self, unit: Slice) -> Iterator[list[Family]]:
        """What is missing, in the order of the events; counts go to the tally.

        Raises:
            SqlError: a side cannot be asked.
        """
        offspring = self._offspring(unit)
        seen: set[bytes] = set()
        there = present(
            self.master,
            unit.start,
            unit.end,
            lambda: self.owners(unit),
            most=_MOST_EVENTS,
            at_least=unit.rows,
        )
        for found in there:
            classes: dict[bytes, list[bytes]] = {}
            for rows in self.prepared(unit, found.part):
                for row in rows:
                    cut = row.index(b",")
                    classes.setdefault(row[cut + 1 :], []).append(row[1:cut])
            seen.update(number for numbers in classes.values() for number in numbers)
            yield self._compared(classes, found.ids, offspring)
        for number, children in offspring.items():
            if number not in seen:
                for child, _ in children:
                    self.tally.child_rows[self._children[child].spec.table] += 1
                    self.tally.child_skipped[self._children[child].spec.table] += 1

    def late(self, parents: Iterable[bytes], offspring: Offspring) -> list[Family]:
        """Children written in the window on events from before it.

        Such an event is the master's one of the same id, if it is the same by what never changes in its life.

        Args:
            parents: The events' literals with every archived column.
            offspring: Their children from the window.
        """
        rows = project(list(parents), self.layout)
        there = self._identities([row[1 : row.index(b",")] for row in rows])
        same = {number for row in rows if (number := self._same_event(row, there)) is not None}
        have = self._children_of(sorted(same))
        families = []
        for number, children in offspring.items():
            for child, _ in children:
                self.tally.child_rows[self._children[child].spec.table] += 1
            if number not in same:
                for child, _ in children:
                    self.tally.child_skipped[self._children[child].spec.table] += 1
                continue
            needed = self._needed(children, have.get(number, Counter()))
            if needed:
                families.append(Family(row=None, master_id=number, children=tuple(needed)))
        return families

    def offspring(self, rows: Sequence[Sequence[bytes]]) -> Offspring:
        """Children by their parent.

        Args:
            rows: For each child table its literals with every archived column.
        """
        found: dict[bytes, list[tuple[int, bytes]]] = {}
        for number, (child, literals) in enumerate(zip(self._children, rows, strict=True)):
            for literal in project(literals, child.layout):
                _, parent, rest = literal.split(b",", 2)
                found.setdefault(parent, []).append((number, rest))
        return found

    def _offspring(self, unit: Slice) -> Offspring:
        return self.offspring([unit.children(child.spec.table) for child in self._children])

    def _compared(
        self, classes: Mapping[bytes, list[bytes]], ids: Mapping[bytes, list[bytes]], offspring: Offspring
    ) -> list[Family]:
        masters = {key: lookup(ids, key)[1] for key in classes}
        asked = [
            number
            for key, numbers in classes.items()
            if any(one in offspring for one in numbers)
            for number in masters[key]
        ]
        matches = {key: pair(numbers, masters[key]) for key, numbers in classes.items()}
        changed = self._changed_since(classes, matches)
        have = self._children_of([*asked, *(number for number in changed if number in offspring)])
        families: list[Family] = []
        for key, numbers in classes.items():
            matched = matches[key]
            matched.update({number: number for number in numbers if number in changed})
            self.tally.there += len(matched)
            self.tally.missing += len(numbers) - len(matched)
            known: Counter[tuple[int, bytes]] = Counter()
            for number in (*masters[key], *(one for one in numbers if one in changed)):
                known.update(have.get(number, ()))
            for number in numbers:
                children = offspring.get(number, [])
                for child, _ in children:
                    self.tally.child_rows[self._children[child].spec.table] += 1
                needed = self._needed(children, known) if children else []
                master = matched.get(number)
                if master is None:
                    families.append(Family(row=key, children=tuple(needed)))
                elif needed:
                    families.append(Family(row=None, master_id=master, children=tuple(needed)))
        return families

    def _changed_since(
        self, classes: Mapping[bytes, list[bytes]], matches: Mapping[bytes, Mapping[bytes, bytes]]
    ) -> set[bytes]:
        """Ids of events that the master has too, in the state that they have come to since (validated, …).

        Such an event is older than the split: it has the same id on both sides, and all that never changes
        in its life is the same. What the master made of it counts.
        """
        if not self.layout.spec.identity:
            return set()
        taken = {master for matched in matches.values() for master in matched.values()}
        rows = [
            b"(" + number + b"," + key
            for key, numbers in classes.items()
            for number in numbers
            if number not in matches[key] and number not in taken
        ]
        there = self._identities([row[1 : row.index(b",")] for row in rows])
        return {number for row in rows if (number := self._same_event(row, there)) is not None}

    def _same_event(self, row: bytes, there: Mapping[bytes, bytes]) -> bytes | None:
        """The id of an event that the master has under this id too."""
        number = row[1 : row.index(b",")]
        if number not in there:
            return None
        parts = fields(row)
        return number if there[number] == joined(parts[place] for place in self._identity_places) else None

    def _needed(
        self, children: Iterable[tuple[int, bytes]], there: Counter[tuple[int, bytes]]
    ) -> list[tuple[int, bytes]]:
        """The children of which ``there`` has too few; ``there`` is used up."""
        needed = []
        for child, rest in children:
            spelling = (child, rest)
            if not there[spelling] and len(rest) > LONG:
                spelling = (child, digest(rest))
            if there[spelling] > 0:
                there[spelling] -= 1
            else:
                needed.append((child, rest))
                self.tally.child_missing[self._children[child].spec.table] += 1
        return needed

    def _children_of(self, ids: Sequence[bytes]) -> dict[bytes, Counter[tuple[int, bytes]]]:
        """The master's children of these events of its own."""
        found: dict[bytes, Counter[tuple[int, bytes]]] = {}
        for number, child in enumerate(self._children):
            shape = child.shape
            parent = quote_name(shape.columns[0].name)
            for listed in _listed(ids):
                sql = f"SELECT {shape.key} FROM {quote_name(shape.table)} WHERE {parent} IN ({listed})"
                for chunk in self.master.side.session.texts(sql, READ_TIMEOUT):
                    for text in chunk:
                        if text is not None:
                            cut = text.index(b",")
                            found.setdefault(text[:cut], Counter())[number, text[cut + 1 :]] += 1
        return found

    @property
    def _identity_places(self) -> list[int]:
        names = self.layout.spec.identity or (self.layout.spec.time_column,)
        return [place for name in names if (place := self.layout.place(name)) is not None]

    def _identities(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """id → what never changes, of these events of the master."""
        columns = [self.layout.there[0], *(self.layout.there[place] for place in self._identity_places)]
        name = quote_name(columns[0].name)
        found: dict[bytes, bytes] = {}
        source = quote_name(self.layout.table)
        for listed in _listed(ids):
            sql = f"SELECT {tuple_sql(columns)} FROM {source} WHERE {name} IN ({listed})"
            for chunk in self.master.side.session.texts(sql, READ_TIMEOUT):
                for text in chunk:
                    if text is not None:
                        cut = text.index(b",")
                        found[text[1:cut]] = b"(" + text[cut + 1 :]
        return found


def pair(losing: Sequence[bytes], master: Sequence[bytes]) -> dict[bytes, bytes]:
    """Which of several equal events is which: the same id first, the others in the order of their ids."""
    same = set(losing) & set(master)
    matched = {number: number for number in same}
    rest_here = sorted((one for one in losing if one not in same), key=int)
    rest_there = sorted((one for one in master if one not in same), key=int)
    matched.update(zip(rest_here, rest_there, strict=False))
    return matched


def read_children(side: Side, parent: Layout, child: Child, start: int, end: int) -> list[bytes]:
    """A slice's children on the losing side, with every archived column, in the order of their ids.

    Raises:
        SqlError: it cannot be asked.
    """
    own, above = child.layout, parent
    row = tuple_sql(own.here, prefix="c.")
    time = quote_name(above.spec.time_column)
    sql = (
        f"SELECT {row} FROM {quote_name(own.table)} c JOIN {quote_name(above.table)} p"
        f" ON p.{quote_name(above.spec.new_id or '')} = c.{quote_name(child.spec.parent)}"
        f" WHERE p.{time} >= {start:d} AND p.{time} < {end:d} ORDER BY c.{quote_name(child.spec.new_id)}"
    )
    return _all(side, sql)


def read_late(
    side: Side, parent: Layout, child: Child, start: int, end: int
) -> tuple[list[bytes], list[bytes]]:
    """Children written in the window on events outside of it, and those events.

    Raises:
        SqlError: it cannot be asked.
    """
    own, above = child.layout, parent
    time, child_time = quote_name(above.spec.time_column), quote_name(child.spec.time_column)
    source = (
        f"FROM {quote_name(own.table)} c JOIN {quote_name(above.table)} p"
        f" ON p.{quote_name(above.spec.new_id or '')} = c.{quote_name(child.spec.parent)}"
        f" WHERE c.{child_time} >= {start:d} AND c.{child_time} < {end:d}"
        f" AND NOT (p.{time} >= {start:d} AND p.{time} < {end:d})"
    )
    order = f"ORDER BY c.{quote_name(child.spec.new_id)}"
    children = _all(side, f"SELECT {tuple_sql(own.here, prefix='c.')} {source} {order}")
    parents = _all(side, f"SELECT DISTINCT {tuple_sql(above.here, prefix='p.')} {source}") if children else []
    return children, parents


def _all(side: Side, sql: str) -> list[bytes]:
    return [row for chunk in side.session.texts(sql, READ_TIMEOUT) for row in chunk if row is not None]


def _listed(ids: Sequence[bytes]) -> Iterator[str]:
    for at in range(0, len(ids), _MOST_IDS):
        yield b",".join(ids[at : at + _MOST_IDS]).decode()

"""Proof after the fact: every row of the archive is on the master as often as it has to be.

Compares the archive with the master again, independently of what was noted while adding: by checksums where
the two are equal, row by row where they are not. What the master lacks must be what was set aside; its
number of rows in the window must have grown by what was added.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue

from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.operations.merge.archive import Archive, ArchivedSlice
from pfms_ha_tui.operations.merge.compare import Comparison, Tally
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.families import FamilyComparison, counts
from pfms_ha_tui.operations.merge.fitting import Fitted
from pfms_ha_tui.operations.merge.lookahead import Lookahead, summable
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.reading import Reader, there
from pfms_ha_tui.operations.merge.result import MergeResult, TableResult
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.sums import Sums, total

_STRETCH = 100
"""Slices that are compared with one question: some seconds of a server's time."""
_SESSIONS = 2
_MUCH = 4
"""A stretch of a quarter of the table's rows is read faster without the time's index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCheck:
    """What the check of one table, or of the children of one, found."""

    table: str
    archived: Sums
    """The archive's rows and their checksum, read again where the master has not just the same rows."""
    expected: Sums
    """What the archive noted of itself when it was written."""
    there: int
    """Of the rows to be merged, how many the master has."""
    missing: int
    set_aside: int
    """Quarantined; these may be missing."""
    skipped: int
    before: int | None = None
    """The master's rows in the window before the merge, and after it."""
    after: int | None = None
    added: int = 0

    @property
    def surplus(self) -> int | None:
        """Rows in the master's window that neither were there nor were added: Pandora went on writing."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before - self.added

    @property
    def good(self) -> bool:
        """Whether nothing is missing and the archive is what it was."""
        return self.missing <= self.set_aside and self.archived == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The whole check."""

    tables: tuple[TableCheck, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every table is."""
        return all(one.good for one in self.tables)

    @property
    def text(self) -> str:
        """One sentence."""
        bad = [one for one in self.tables if not one.good]
        if bad:
            told = ", ".join(f"{one.table} lacks {plural(one.missing - one.set_aside, 'row')}" for one in bad)
            return f"the master does not have everything: {told}"
        rows = sum(one.there for one in self.tables)
        if rows == 1:
            return "the 1 row is on the master, as often as it should be"
        return f"all {rows} rows are on the master, each as often as it should be"


def verify(
    archive: Archive, master: Side, scout: Side, result: MergeResult, control: Control
) -> Verification:
    """Compare archive and master once more.

    Args:
        archive: What was merged.
        master: The master, for reading.
        scout: A second session on the master, to read ahead.
        result: What the merge says it did.
        control: Progress and cancelling.

    Raises:
        SqlError: the master cannot be asked.
        ArchiveError: the archive cannot be read.
        MergeCancelled: somebody asked to stop.
    """
    started = time.monotonic()
    archive.check()
    fitted = Fitted(archive, master)
    results = {one.table: one for one in result.tables}
    checks: list[TableCheck] = []
    archived = sum(archive.summary.tables[name].rows for name in archive.tables)
    looked_at = 0
    for prepared in fitted.tables:
        check = _Check(prepared, fitted, master, scout, archive)
        with closing(check.run()) as steps:
            for rows in steps:
                control.check()
                done = looked_at + rows
                control.tell(
                    MergeProgress(phase=Phase.VERIFY, table=prepared.table, done=done, total=archived)
                )
        looked_at += check.tally.rows
        checks += check.results(results)
    return Verification(tables=tuple(checks), seconds=time.monotonic() - started)


class _Check:
    """The check of one table."""

    def __init__(
        self, prepared: Prepared, fitted: Fitted, master: Side, scout: Side, archive: Archive
    ) -> None:
        self._prepared = prepared
        self._fitted = fitted
        self._master = Reader(master, there(prepared.layout))
        self._scout = Reader(scout, there(prepared.layout))
        self._archive = archive
        self._sums: dict[str, Sums] = {}
        self.tally = Tally()

    def run(self) -> Generator[int]:
        """Compare; each step tells the rows so far."""
        layout, known = self._prepared.layout, self._fitted.known
        slices = [_Summed(one, self._sums) for one in self._archive.slices[self._prepared.table]]
        if layout.spec.new_id:
            families = FamilyComparison(layout, self._prepared.children, self._master, known, self.tally)
            for one in slices:
                for _ in families.families(one):
                    yield self.tally.rows
            children = [
                self._archive.late(layout.table, child.spec.table) for child in self._prepared.children
            ]
            for child, rows in zip(self._prepared.children, children, strict=True):
                self._sums[child.spec.table] = self._sums.get(child.spec.table, Sums()).plus(rows)
            families.late(self._archive.late(layout.table, layout.table), families.offspring(children))
            return
        comparison = Comparison(layout, self._master, known, self.tally)
        if not layout.spec.counted:
            for one in slices:
                for _ in comparison.missing(one):
                    yield self.tally.rows
            return
        size = max(1, min(_STRETCH, -(-len(slices) // _SESSIONS)))
        stretches = [slices[at : at + size] for at in range(0, len(slices), size)]
        equal = [False] * len(stretches)
        if summable(layout, known):
            for at, same in enumerate(self._equal(stretches)):
                equal[at] = same
                yield self.tally.rows
        for stretch, same in zip(stretches, equal, strict=True):
            if same:
                for one in stretch:
                    self._same(one, one.rows, comparison)
                yield self.tally.rows
                continue
            with Lookahead(self._scout, stretch, layout, known) as looks:
                for one, look in looks:
                    if look.same is not None:
                        self._same(one, look.same, comparison)
                        yield self.tally.rows
                        continue
                    for _ in comparison.missing(one, look.found):
                        yield self.tally.rows

    def _same(self, one: _Summed, rows: int, comparison: Comparison) -> None:
        comparison.same(rows)
        one.taken_as_noted()

    def _equal(self, stretches: Sequence[Sequence[_Summed]]) -> Iterator[bool]:
        """Whether the master has just the rows of each stretch; its two sessions share the work."""
        free: SimpleQueue[Reader] = SimpleQueue()
        for reader in (self._master, self._scout):
            free.put(reader)

        def has_just(slices: Sequence[_Summed]) -> bool:
            reader = free.get()
            try:
                return self._has_just(reader, slices)
            finally:
                free.put(reader)

        with ThreadPoolExecutor(max_workers=_SESSIONS, thread_name_prefix="prove") as pool:
            yield from pool.map(has_just, stretches)

    def _has_just(self, reader: Reader, slices: Sequence[_Summed]) -> bool:
        start, end, noted = slices[0].start, slices[-1].end, total(one.sums() for one in slices)
        if reader.count(start, end) != noted.rows:
            return False
        table = reader.side.schema_of([reader.shape.table]).get(reader.shape.table)
        most = table is not None and noted.rows * _MUCH >= (table.rows or 0)
        return reader.sums(start, end, forced=not most) == noted

    def results(self, results: dict[str, TableResult]) -> Iterator[TableCheck]:
        """The table's, then its children's."""
        table, told = self._prepared.table, self._archive.summary.tables
        window = self._archive.head.window
        for one in counts(table, self._prepared.children, self.tally):
            own = results.get(one.table)
            parent = one.table == table
            yield TableCheck(
                table=one.table,
                archived=self._sums.get(one.table, Sums()),
                expected=told.get(one.table, Sums()),
                there=one.there,
                missing=one.missing,
                set_aside=own.quarantined if own is not None else 0,
                skipped=one.skipped,
                before=own.before if own is not None and parent else None,
                after=self._master.count(window.start, window.end) if parent else None,
                added=own.added if own is not None else 0,
            )


class _Summed:
    """An archived slice whose rows are summed up the first time they are read."""

    def __init__(self, one: ArchivedSlice, sums: dict[str, Sums]) -> None:
        self._one = one
        self._sums = sums
        self._summed: set[str] = set()
        self.start = one.start
        self.end = one.end
        self.rows = one.rows

    def sums(self) -> Sums:
        """What the archive noted of it."""
        return self._one.sums()

    def taken_as_noted(self) -> None:
        """Its rows need not be read: the master has the same, and the file is whole."""
        self._sums[self._one.table] = self._sums.get(self._one.table, Sums()) + self._one.sums()

    def chunks(self) -> Iterator[list[bytes]]:
        """Rows' literals."""
        first = self._one.table not in self._summed
        self._summed.add(self._one.table)
        for rows in self._one.chunks():
            if first:
                self._add(self._one.table, rows)
            yield rows

    def children(self, table: str) -> list[bytes]:
        """Literals of a child table's rows."""
        rows = self._one.children(table)
        if table not in self._summed:
            self._summed.add(table)
            self._add(table, rows)
        return rows

    def _add(self, table: str, rows: list[bytes]) -> None:
        self._sums[table] = self._sums.get(table, Sums()).plus(rows)

"""The dry run: what a merge would do, row by row, and what it would not bring over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from pfms_ha_tui.operations.merge.compare import Comparison, Tally
from pfms_ha_tui.operations.merge.configuration import ConfigComparison, LeftBehind
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.families import FamilyComparison, counts, read_children, read_late
from pfms_ha_tui.operations.merge.inventory import Inventory, Known, Owner, Unknown, doubtful, explain, load
from pfms_ha_tui.operations.merge.inventory import established as with_history
from pfms_ha_tui.operations.merge.inventory import match as match_owners
from pfms_ha_tui.operations.merge.lookahead import Lookahead
from pfms_ha_tui.operations.merge.prepare import Preparation, Prepared, prepare
from pfms_ha_tui.operations.merge.reading import Reader, here, there
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.sums import Sums
from pfms_ha_tui.operations.merge.tables import SchemaDifference, TableMapping, TableSpec
from pfms_ha_tui.operations.merge.timeless import TimelessRows
from pfms_ha_tui.operations.merge.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What would happen with one table, or with the children of one."""

    table: str
    rows: int
    """In the window on the losing side."""
    there: int
    """Already on the master."""
    to_add: int
    skipped: int
    """Of modules and agents that the master does not know; children: of events it does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A dry run."""

    losing: str
    master: str
    window: Window
    tables: tuple[TablePlan, ...]
    skipped: tuple[tuple[Unknown, int], ...]
    """Modules and agents whose rows would be left out, with their number, most first."""
    renamed: tuple[tuple[Owner, int], ...]
    """Merged although the name differs: both sides know them from before the window."""
    differences: tuple[SchemaDifference, ...]
    """Between the two sides' tables; a blocking one stops the merge."""
    left_behind: LeftBehind
    seconds: float

    @property
    def to_add(self) -> int:
        """Rows that would be added."""
        return sum(one.to_add for one in self.tables)

    @property
    def blocked(self) -> bool:
        """Whether the tables must be repaired or mapped first."""
        return any(one.blocking for one in self.differences)


class LiveSlice:
    """One slice of the losing side, read from its server.

    Args:
        prepared: The table.
        reader: For its rows.
        ahead: For its number of rows and its checksum; on another session they may be asked for meanwhile.
        start: Seconds, inclusive.
        end: Seconds, exclusive.
    """

    def __init__(self, prepared: Prepared, reader: Reader, ahead: Reader, start: int, end: int) -> None:
        self._prepared = prepared
        self._reader = reader
        self._ahead = ahead
        self._rows: int | None = None
        self.start = start
        self.end = end

    @property
    def rows(self) -> int:
        """How many there are."""
        if self._rows is None:
            self._rows = self._ahead.count(self.start, self.end)
        return self._rows

    def sums(self) -> Sums | None:
        """Rows and checksum; ``None`` when the server cannot make it."""
        return self._ahead.sums(self.start, self.end)

    def chunks(self) -> Iterator[list[bytes]]:
        """Rows' literals."""
        return self._reader.rows(self.start, self.end)

    def children(self, table: str) -> list[bytes]:
        """Literals of a child table's rows."""
        child = next(one for one in self._prepared.children if one.spec.table == table)
        return read_children(self._reader.side, self._prepared.layout, child, self.start, self.end)


class Survey:
    """Both sides laid side by side, for the dry run and for the archive.

    Args:
        losing: The losing side, for reading.
        master: The master, for reading.
        window: Which rows.
        specs: Which tables.
        mappings: What was decided about differing columns.

    Raises:
        SqlError: a side cannot be asked.
    """

    def __init__(
        self,
        losing: Side,
        master: Side,
        window: Window,
        specs: Sequence[TableSpec],
        mappings: Mapping[str, TableMapping] | None = None,
    ) -> None:
        self.losing = losing
        self.master = master
        self.window = window
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="survey") as pool:
            here_too, there_too = pool.map(Side.schema, (losing, master))
            self.inventory: Inventory
            self.master_inventory: Inventory
            self.inventory, self.master_inventory = pool.map(load, (losing, master))
        self.preparation: Preparation = prepare(specs, here_too, there_too, mappings)
        asked = doubtful(self.inventory, self.master_inventory)
        self.established = with_history(losing, asked, window.start)
        """Modules with an older history on the losing side, of those whose identity is in doubt."""
        old_there = with_history(master, self.established, window.start)
        self.known: Known = match_owners(self.inventory, self.master_inventory, self.established, old_there)
        merged = [spec.table for spec in specs]
        merged += [child.table for spec in specs for child in spec.children]
        timeless = TimelessRows(losing, master, self.preparation.tables, window)
        self.configuration = ConfigComparison(losing, master, merged, timeless)

    def plan(self, scouts: tuple[Side, Side], control: Control) -> MergePlan:
        """The dry run.

        Args:
            scouts: Second sessions on both, to look ahead with.
            control: Progress and cancelling.

        Raises:
            SqlError: a side cannot be asked.
            MergeCancelled: somebody asked to stop.
        """
        started = time.monotonic()
        left_behind = self.configuration.compare(control)
        tables, skipped = self.compare(scouts, control)
        unknown = [
            (explain(owner, number, self.inventory, self.master_inventory), rows)
            for (owner, number), rows in skipped.items()
        ]
        return MergePlan(
            losing=self.losing.label,
            master=self.master.label,
            window=self.window,
            tables=tuple(tables),
            skipped=tuple(sorted(unknown, key=lambda one: (-one[1], one[0].owner, one[0].id))),
            renamed=self.known.renamed,
            differences=self.preparation.differences,
            left_behind=left_behind,
            seconds=time.monotonic() - started,
        )

    def compare(
        self, scouts: tuple[Side, Side], control: Control
    ) -> tuple[list[TablePlan], Counter[tuple[Owner, int]]]:
        """What would happen with each table, and whose rows would be left out; arguments as :meth:`plan`."""
        tables: list[TablePlan] = []
        skipped: Counter[tuple[Owner, int]] = Counter()
        looked_at = 0
        for prepared in self.preparation.tables:
            tally = Tally()
            with closing(self._compared(prepared, tally, scouts)) as steps:
                for _ in steps:
                    control.check()
                    done = looked_at + tally.rows
                    control.tell(MergeProgress(phase=Phase.PLAN, table=prepared.table, done=done, total=None))
            looked_at += tally.rows
            skipped.update(tally.skipped)
            tables += [
                TablePlan(
                    table=one.table, rows=one.rows, there=one.there, to_add=one.missing, skipped=one.skipped
                )
                for one in counts(prepared.table, prepared.children, tally)
            ]
        return tables, skipped

    def _compared(self, prepared: Prepared, tally: Tally, scouts: tuple[Side, Side]) -> Generator[None]:
        """Compare slice after slice; each step is a moment to look up."""
        layout, window = prepared.layout, self.window
        source = Reader(self.losing, here(layout))
        master = Reader(self.master, there(layout))
        ahead = Reader(scouts[0], here(layout)) if layout.spec.counted else source
        slices = (
            LiveSlice(prepared, source, ahead, start, end)
            for start, end in source.slices(window.start, window.end)
        )
        if layout.spec.new_id:
            families = FamilyComparison(layout, prepared.children, master, self.known, tally)
            for one in slices:
                for _ in families.families(one):
                    yield
            self._late(prepared, families)
            return
        comparison = Comparison(layout, master, self.known, tally)
        if not layout.spec.counted:
            for one in slices:
                for _ in comparison.missing(one):
                    yield
            return
        scout = Reader(scouts[1], there(layout))
        with Lookahead(scout, slices, layout, self.known) as looks:
            for one, look in looks:
                if look.same is not None:
                    comparison.same(look.same)
                    yield
                    continue
                for _ in comparison.missing(one, look.found):
                    yield

    def _late(self, prepared: Prepared, comparison: FamilyComparison) -> None:
        if not prepared.children:
            return
        rows: list[list[bytes]] = []
        parents: dict[bytes, None] = {}
        for child in prepared.children:
            children, above = read_late(
                self.losing, prepared.layout, child, self.window.start, self.window.end
            )
            rows.append(children)
            parents.update(dict.fromkeys(above))
        if parents:
            comparison.late(list(parents), comparison.offspring(rows))

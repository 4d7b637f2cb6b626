"""Adding what is missing: from the archive into the master, each row exactly once.

May be killed at any moment and started again with the same directory. Slices that were finished are not
looked at again; the slice that was under way is compared anew, which finds exactly what it still lacks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.operations.merge.archive import Archive, ArchivedSlice
from pfms_ha_tui.operations.merge.batches import Batches
from pfms_ha_tui.operations.merge.compare import Comparison, Tally
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.families import FamilyComparison
from pfms_ha_tui.operations.merge.fitting import Fitted
from pfms_ha_tui.operations.merge.inventory import Known, Unknown
from pfms_ha_tui.operations.merge.ledger import (
    QUARANTINE,
    UNDO,
    Added,
    MarkRow,
    MergeState,
    Quarantine,
    Settled,
    TableState,
    UndoFile,
    load_state,
    save_state,
    settle,
)
from pfms_ha_tui.operations.merge.lookahead import Look, Lookahead
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.reading import Reader, there
from pfms_ha_tui.operations.merge.result import MergeResult, TableResult
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.throttle import Lag, Pace, Throttle, no_slaves

_UNHURRIED = Pace()
_SAVE_EVERY = 1.0
"""Seconds between notes of slices that both sides have."""


def apply(
    directory: Path,
    archive: Archive,
    node: NodeSettings,
    cluster: ClusterSettings,
    *,
    control: Control,
    pace: Pace = _UNHURRIED,
    lag: Lag = no_slaves,
) -> MergeResult:
    """Add to the master what it lacks of the archive; go on where a killed predecessor was.

    Args:
        directory: Of this merge; its state is kept here.
        archive: What to merge.
        node: The master.
        cluster: Its cluster.
        control: Progress and cancelling.
        pace: Limits.
        lag: Tells how far the master's slaves are behind.

    Raises:
        MergeError: it was refused or stopped; what was committed stays, and it can be started again.
        SqlError: the master is lost, or refuses for a reason that is no row's; the same.
        ArchiveError: a file of the merge cannot be written or read; the same.
    """
    with ExitStack() as stack:
        master = stack.enter_context(Side.writer(node, cluster))
        master.hold()
        scout = stack.enter_context(Side.reader(node, cluster))
        merger = _Merger(directory, archive, master, scout, control=control, pace=pace, lag=lag)
        stack.callback(merger.close)
        return merger.run()


class _Merger:
    """One run of a merge."""

    def __init__(
        self,
        directory: Path,
        archive: Archive,
        master: Side,
        scout: Side,
        *,
        control: Control,
        pace: Pace,
        lag: Lag,
    ) -> None:
        self._directory = directory
        self._archive = archive
        self._master = master
        self._scout = scout
        self._control = control
        self._window = archive.head.window
        self._started = time.monotonic()
        self._state = _begun(directory)
        self._mark = MarkRow(master, self._state.merge)
        settled = self._settle()
        self._last = settled.last
        self._added = Counter(settled.added)
        self._undo = UndoFile(directory / UNDO, settled.length)
        self._quarantine = Quarantine(directory / QUARANTINE, self._state.quarantine_length)
        self._looked_at = 0
        self._table = ""
        self._waiting: str | None = None
        self._throttle = Throttle(pace, lag, control, self._wait_for)
        self._total = sum(archive.summary.tables[name].rows for name in archive.tables)

    def run(self) -> MergeResult:
        fitted = Fitted(self._archive, self._master)
        if self._state.finished_at is None:
            self._mark.place()
            for prepared in fitted.tables:
                self._merge_table(prepared, fitted.known)
            self._save(replace(self._state, finished_at=time.time()))
        return self._result(fitted)

    def close(self) -> None:
        self._undo.close()
        self._quarantine.close()

    def _settle(self) -> Settled:
        """Where it stands, found out and saved."""
        state, identity = self._state, self._master.server().identity
        moved = state.identity not in ("", identity)
        settled = settle(self._directory, state, self._mark.read(), moved=moved)
        state = replace(
            state,
            identity=identity,
            master=self._master.label,
            started_at=state.started_at or time.time(),
            undo_length=settled.length,
        )
        if moved:
            # Another server became master: what it has is not known, so everything is compared again.
            state = replace(state, finished_at=None, tables={})
        self._save(state)
        return settled

    def _save(self, state: MergeState) -> None:
        save_state(self._directory, state)
        self._state, self._saved_at = state, time.monotonic()

    # One table

    def _merge_table(self, prepared: Prepared, known_owners: Known) -> None:
        table = self._table = prepared.table
        own = self._state.table(table)
        if own.before is None:
            window = Reader(self._scout, there(prepared.layout)).count(self._window.start, self._window.end)
            own = replace(own, before=window - self._added[table])
        self._looked_at += own.rows
        batches = Batches(
            self._master,
            prepared,
            mark=self._mark,
            undo=self._undo,
            quarantine=self._quarantine,
            throttle=self._throttle,
            control=self._control,
            done=self._note,
            last_batch=self._last,
        )
        layout = prepared.layout
        todo = self._archive.slices[table][own.slices :]
        with ExitStack() as stack:
            looked: Iterable[tuple[ArchivedSlice, Look]] = ((one, Look()) for one in todo)
            if layout.spec.counted:
                scout = Reader(self._scout, there(layout))
                looked = stack.enter_context(Lookahead(scout, todo, layout, known_owners))
            for at, (one, look) in enumerate(looked, start=own.slices + 1):
                self._control.check()
                tally = Tally()
                self._merge_slice(prepared, one, look, known_owners, tally, batches)
                own = _advanced(own, tally, batches, slices=at)
                self._finish(table, own, changed=bool(tally.missing or tally.child_missing))
                self._looked_at += tally.rows
                self._tell()
        if prepared.children and not own.late_done:
            tally = Tally()
            self._merge_late(prepared, known_owners, tally, batches)
            own = replace(_advanced(own, tally, batches, slices=own.slices), late_done=True)
            self._finish(table, own, changed=True)
        self._last = batches.last_batch

    def _finish(self, table: str, own: TableState, *, changed: bool) -> None:
        """Note a slice; at once if it changed the master, else soon: to look at it again does no harm."""
        state = replace(
            self._state.with_table(table, own),
            undo_length=self._undo.length,
            quarantine_length=self._quarantine.length,
        )
        if changed or time.monotonic() - self._saved_at > _SAVE_EVERY:
            self._save(state)
        else:
            self._state = state

    def _merge_slice(
        self,
        prepared: Prepared,
        one: ArchivedSlice,
        look: Look,
        known_owners: Known,
        tally: Tally,
        batches: Batches,
    ) -> None:
        reader = Reader(self._master, there(prepared.layout))
        if prepared.layout.spec.new_id:
            families = FamilyComparison(prepared.layout, prepared.children, reader, known_owners, tally)
            for missing in families.families(one):
                batches.add_families(missing, one.number)
            return
        comparison = Comparison(prepared.layout, reader, known_owners, tally)
        if look.same is not None:
            comparison.same(look.same)
            return
        for rows in comparison.missing(one, look.found):
            batches.add_rows(rows, one.number)

    def _merge_late(self, prepared: Prepared, known_owners: Known, tally: Tally, batches: Batches) -> None:
        reader = Reader(self._master, there(prepared.layout))
        comparison = FamilyComparison(prepared.layout, prepared.children, reader, known_owners, tally)
        parents = self._archive.late(prepared.table, prepared.table)
        if parents:
            children = [self._archive.late(prepared.table, child.spec.table) for child in prepared.children]
            batches.add_families(comparison.late(parents, comparison.offspring(children)), -1)

    # What is seen from outside

    def _note(self, added: Added) -> None:
        self._added[added.table] += len(added.rows) + len(added.ids)
        self._added.update({table: len(ids) for table, ids in added.children.items()})
        self._tell()

    def _wait_for(self, why: str | None) -> None:
        self._waiting = why
        self._tell(now=True)

    def _tell(self, *, now: bool = False) -> None:
        self._control.tell(
            MergeProgress(
                phase=Phase.APPLY,
                table=self._table,
                done=self._looked_at,
                total=self._total,
                added=self._added.total(),
                waiting=self._waiting,
            ),
            now=now,
        )

    def _result(self, fitted: Fitted) -> MergeResult:
        results: list[TableResult] = []
        skipped: list[tuple[Unknown, int]] = []
        counts: Counter[str] = Counter()
        for prepared in fitted.tables:
            own = self._state.table(prepared.table)
            counts.update(own.skipped)
            out = sum(own.skipped.values())
            added = self._added[prepared.table]
            results.append(
                TableResult(
                    table=prepared.table,
                    rows=own.rows,
                    there=own.rows - out - own.quarantined - added,
                    added=added,
                    skipped=out,
                    quarantined=own.quarantined,
                    before=own.before,
                )
            )
            for child in prepared.children:
                name = child.spec.table
                rows, added = own.child_rows.get(name, 0), self._added[name]
                out, bad = own.child_skipped.get(name, 0), own.child_quarantined.get(name, 0)
                results.append(
                    TableResult(
                        table=name,
                        rows=rows,
                        there=rows - out - bad - added,
                        added=added,
                        skipped=out,
                        quarantined=bad,
                    )
                )
        skipped = sorted(fitted.unknown(counts), key=lambda one: (-one[1], one[0].owner, one[0].id))
        return MergeResult(
            directory=self._directory,
            tables=tuple(results),
            skipped=tuple(skipped),
            renamed=fitted.known.renamed,
            seconds=time.monotonic() - self._started,
        )


def _begun(directory: Path) -> MergeState:
    """The state of a merge that may go on."""
    state = load_state(directory)
    if state is None:
        raise MergeError(f"{directory} has no merge", hint="start a merge first")
    if state.undoing:
        raise MergeError("this merge was taken back", hint="start a new merge instead")
    return state


def _advanced(own: TableState, tally: Tally, batches: Batches, *, slices: int) -> TableState:
    """A table's state with one more slice; the batches' outcome is taken over and reset."""
    outcome = batches.take_outcome()
    return replace(
        own,
        slices=slices,
        rows=own.rows + tally.rows,
        skipped=_sum(own.skipped, {f"{owner}:{number}": n for (owner, number), n in tally.skipped.items()}),
        quarantined=own.quarantined + outcome.quarantined,
        child_rows=_sum(own.child_rows, tally.child_rows),
        child_skipped=_sum(own.child_skipped, tally.child_skipped),
        child_quarantined=_sum(own.child_quarantined, outcome.child_quarantined),
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(one) + Counter(other))

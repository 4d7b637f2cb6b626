"""Taking a merge back: exactly the rows it added, newest batch first.

Rows without an id are not told apart by anything but their content: of a row that was added n times, n are
removed, whichever. Each batch is one transaction with the mark in ``tconfig``, so that an undo that was
killed goes on where it was and never removes more than was added.
"""
# ruff: noqa: S608 (identifiers are quoted, literals were made by a server)

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.ledger import (
    UNDO,
    Added,
    Mark,
    MarkRow,
    UndoReader,
    load_state,
    save_state,
    settle,
)
from pfms_ha_tui.operations.merge.literals import Column, fields, joined, tuple_sql
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, WRITE_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import EVENTS, TableSpec
from pfms_ha_tui.operations.merge.throttle import Lag, Pace, Throttle, no_slaves

_KEYS = 500
_UNHURRIED = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """What an undo did."""

    removed: int
    gone: int
    """Rows that were not there any more: Pandora purged or changed them since."""
    seconds: float


def undo(
    directory: Path,
    node: NodeSettings,
    cluster: ClusterSettings,
    *,
    specs: Sequence[TableSpec],
    control: Control,
    pace: Pace = _UNHURRIED,
    lag: Lag = no_slaves,
) -> UndoResult:
    """Remove from the master what the merge in ``directory`` added.

    Args:
        directory: Of the merge.
        node: The master.
        cluster: Its cluster.
        specs: The merged tables, for the names of their columns.
        control: Progress and cancelling.
        pace: Limits.
        lag: Tells how far the master's slaves are behind.

    Raises:
        MergeError: there is nothing to undo, or it was stopped; it can be started again.
        SqlError: the master is lost or refuses; the same.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        master = stack.enter_context(Side.writer(node, cluster))
        master.hold()
        state = load_state(directory)
        if state is None or not (directory / UNDO).exists():
            raise MergeError(f"{directory} has nothing to undo")
        if state.undone_at is not None:
            raise MergeError("this merge was taken back already")
        mark = MarkRow(master, state.merge)
        seen = mark.read()
        moved = state.identity != master.server().identity
        if moved and seen is None:
            raise MergeError(
                f"the rows were added to another server ({state.master}); what this one received of them"
                " cannot be told",
                node=master.label,
            )
        if not state.undoing:
            settled = settle(directory, state, seen, moved=moved)
            mark.place()
            if seen is None or seen.batch != settled.last:
                mark.write(Mark(merge=state.merge, batch=settled.last))
            state = replace(state, undoing=True, undo_length=settled.length)
            save_state(directory, state)
            left = settled.last
        elif seen is None:
            raise MergeError(
                "how far the undo came cannot be told: its mark in tconfig is gone", node=master.label
            )
        else:
            left = seen.batch
        reader = UndoReader(directory / UNDO)
        stack.callback(reader.close)
        members = [
            member
            for member in reader.batches()
            if member.offset + member.length <= state.undo_length and member.number("b") <= left
        ]
        total = sum(member.number("n") for member in members)
        undoer = _Undoer(master, mark, {spec.table: spec for spec in specs}, control, total, pace, lag)
        for member in reversed(members):
            control.check()
            undoer.take_back(reader.read(member))
        save_state(directory, replace(state, undone_at=time.time()))
        return UndoResult(removed=undoer.removed, gone=undoer.gone, seconds=time.monotonic() - started)


class _Undoer:
    """Takes batches back."""

    def __init__(
        self,
        master: Side,
        mark: MarkRow,
        specs: dict[str, TableSpec],
        control: Control,
        total: int,
        pace: Pace,
        lag: Lag,
    ) -> None:
        self._master = master
        self._mark = mark
        self._specs = specs
        self._control = control
        self._total = total
        self._table = ""
        self._throttle = Throttle(pace, lag, control, self._tell)
        self.removed = 0
        self.gone = 0

    def take_back(self, added: Added) -> None:
        """One batch, in one transaction."""
        session = self._master.session
        self._table = added.table
        started = time.monotonic()
        session.execute("START TRANSACTION")
        try:
            removed = self._ids(added) if added.ids or added.children else self._rows(added)
            self._mark.write(Mark(merge=self._mark.merge, batch=added.batch - 1))
        except BaseException:
            with contextlib.suppress(SqlError):
                session.rollback()
            raise
        session.commit(WRITE_TIMEOUT)
        self.removed += removed
        self.gone += added.count - removed
        self._tell(None)
        self._throttle.took(added.count, time.monotonic() - started)

    def _ids(self, added: Added) -> int:
        """Children that were added to events of the master, then events with all that hangs on them."""
        spec = self._specs.get(added.table, EVENTS)
        removed = 0
        for child in spec.children:
            removed += self._delete(child.table, child.new_id, added.children.get(child.table, ()))
            removed += self._delete(child.table, child.parent, added.ids, count=False)
        return removed + self._delete(added.table, spec.new_id or "", added.ids)

    def _delete(self, table: str, column: str, ids: Sequence[int], *, count: bool = True) -> int:
        removed = 0
        if table not in self._master.schema_of([table]):
            return 0
        for at in range(0, len(ids), _KEYS):
            listed = ",".join(str(number) for number in ids[at : at + _KEYS])
            removed += self._master.session.execute(
                f"DELETE FROM {quote_name(table)} WHERE {quote_name(column)} IN ({listed})",
                timeout=WRITE_TIMEOUT,
            )
        return removed if count else 0

    def _rows(self, added: Added) -> int:
        """Rows without an id: all of a module and second at once where all of them are ours."""
        schema = self._master.schema_of([added.table]).get(added.table)
        columns = [schema.column(name) for name in added.columns] if schema is not None else []
        known = [column for column in columns if column is not None]
        if not known or len(known) != len(added.columns):
            raise MergeError(f"{added.table} is not the table it was", node=self._master.label)
        places = self._places(added, known)
        groups: dict[bytes, Counter[bytes]] = {}
        for row in added.rows:
            parts = fields(row)
            groups.setdefault(joined(parts[place] for place in places), Counter())[row] += 1
        removed = 0
        keys = list(groups)
        for at in range(0, len(keys), _KEYS):
            part = keys[at : at + _KEYS]
            present = self._present(added.table, known, places, part)
            whole = [key for key in part if present.get(key) == groups[key]]
            removed += self._delete_whole(added.table, known, places, whole, present)
            for key in part:
                if key in present and present[key] != groups[key]:
                    removed += self._delete_single(added.table, known, places, key, groups[key], present[key])
        return removed

    def _places(self, added: Added, columns: Sequence[Column]) -> list[int]:
        """The columns by which rows are found: module (or agent) and time."""
        spec = self._specs.get(added.table)
        names = [column.name for column in columns]
        wanted = [spec.module or spec.agent, spec.time_column] if spec is not None else []
        places = [names.index(name) for name in wanted if name is not None and name in names]
        return places or [0]

    def _present(
        self, table: str, columns: Sequence[Column], places: Sequence[int], keys: Sequence[bytes]
    ) -> dict[bytes, Counter[bytes]]:
        found: dict[bytes, Counter[bytes]] = {}
        where = _any(columns, places, keys)
        sql = f"SELECT {tuple_sql(columns)} FROM {quote_name(table)} WHERE {where} FOR UPDATE"
        for chunk in self._master.session.texts(sql, READ_TIMEOUT):
            for row in chunk:
                if row is not None:
                    parts = fields(row)
                    key = joined(parts[place] for place in places)
                    found.setdefault(key, Counter())[row] += 1
        return found

    def _delete_whole(
        self,
        table: str,
        columns: Sequence[Column],
        places: Sequence[int],
        keys: Sequence[bytes],
        present: dict[bytes, Counter[bytes]],
    ) -> int:
        if not keys:
            return 0
        removed = self._master.session.execute(
            f"DELETE FROM {quote_name(table)} WHERE {_any(columns, places, keys)}", timeout=WRITE_TIMEOUT
        )
        if removed != sum(present[key].total() for key in keys):
            raise MergeError(
                "rows changed while they were removed", node=self._master.label, hint="start it again"
            )
        return removed

    def _delete_single(
        self,
        table: str,
        columns: Sequence[Column],
        places: Sequence[int],
        key: bytes,
        ours: Counter[bytes],
        present: Counter[bytes],
    ) -> int:
        """Of each row as many as we added; the comparison is of bytes, whatever the collation says."""
        removed = 0
        for row, count in ours.items():
            count = min(count, present[row])
            if count:
                literal = row.hex()
                removed += self._master.session.execute(
                    f"DELETE FROM {quote_name(table)} WHERE {_any(columns, places, [key])}"
                    f" AND CAST({tuple_sql(columns)} AS BINARY) = X'{literal}' LIMIT {count:d}",
                    timeout=WRITE_TIMEOUT,
                )
        return removed

    def _tell(self, waiting: str | None) -> None:
        done = self.removed + self.gone
        self._control.tell(
            MergeProgress(
                phase=Phase.UNDO,
                table=self._table,
                done=done,
                total=self._total,
                added=self.removed,
                waiting=waiting,
            )
        )


def _any(columns: Sequence[Column], places: Sequence[int], keys: Sequence[bytes]) -> str:
    """Condition for rows with one of these keys, in a form that uses the index on (module, time)."""
    names = [quote_name(columns[place].name) for place in places]
    if len(names) == 1:
        listed = b",".join(key[1:-1] for key in keys).decode()
        return f"{names[0]} IN ({listed})"
    if len(names) != 2:
        raise MergeError("rows are found by one or two columns")
    by_first: dict[bytes, list[bytes]] = {}
    for key in keys:
        first, _, second = key[1:-1].partition(b",")
        by_first.setdefault(first, []).append(second)
    conditions = [
        f"({names[0]} = {first.decode()} AND {names[1]} IN ({b','.join(seconds).decode()}))"
        for first, seconds in by_first.items()
    ]
    return "(" + " OR ".join(conditions) + ")"

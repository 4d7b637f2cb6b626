"""Batches of rows into the master: whole or not at all, each with its mark and its line in the undo file."""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers, literals were made by a server)

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.operations.merge.compare import lookup
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.families import Family
from pfms_ha_tui.operations.merge.ledger import Added, Mark, MarkRow, Quarantine, UndoFile
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.reading import Shape, there
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, WRITE_TIMEOUT, Side
from pfms_ha_tui.operations.merge.statements import insert_head, script, statements
from pfms_ha_tui.operations.merge.throttle import Throttle

Item = TypeVar("Item")

ROW_ERRORS = frozenset(
    {
        1022,  # duplicate key on write
        1048,  # NULL where none may be
        1062,  # duplicate entry
        1118,  # row too large
        1216,  # foreign key, child
        1264,  # out of range
        1265,  # truncated
        1292,  # wrong value
        1300,  # invalid character string
        1364,  # no default
        1366,  # wrong value for the column
        1367,  # illegal value found while parsing
        1406,  # too long
        1452,  # foreign key, child, with names
        1526,  # no partition for the value
        1644,  # a trigger said no
        1690,  # out of range in an expression
        1761,  # foreign key would make a duplicate
        1762,
        3140,  # invalid JSON
        3819,  # CHECK constraint, MySQL
        4025,  # CHECK constraint, MariaDB
    }
)
"""The row is at fault; as a warning, the same numbers mean that the server changed the row."""
_AGAIN = frozenset({1020, 1205, 1213})
"""Somebody was in the way: record changed, lock wait time-out, deadlock."""
_ATTEMPTS = 6
_LONGEST_STATEMENT = 4 << 20


class RowChanged(MergeError):  # noqa: N818 - told to nobody: it ends in the quarantine
    """The server would have stored something else than it was given."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was set aside while adding."""

    quarantined: int
    child_quarantined: Counter[str]


class Batches:
    """Adds rows of one table, batch by batch.

    Args:
        master: The session that writes; the caller holds its lock.
        prepared: The table.
        mark: The row in ``tconfig`` that numbers the batches.
        undo: Where each batch is noted before it is committed.
        quarantine: Where refused rows go.
        throttle: Sizes and paces.
        control: Cancelling.
        done: Told the rows of each batch once it is committed.
    """

    def __init__(
        self,
        master: Side,
        prepared: Prepared,
        *,
        mark: MarkRow,
        undo: UndoFile,
        quarantine: Quarantine,
        throttle: Throttle,
        control: Control,
        done: Callable[[Added], None],
        last_batch: int,
    ) -> None:
        self._master = master
        self._prepared = prepared
        self._mark = mark
        self._undo = undo
        self._quarantine = quarantine
        self._throttle = throttle
        self._control = control
        self._done = done
        self.last_batch = last_batch
        layout = prepared.layout
        skip = 1 if layout.spec.new_id else 0
        self._columns = tuple(column.name for column in layout.there[skip:])
        self._head = insert_head(layout.table, self._columns)
        self._child_heads = [
            insert_head(child.spec.table, [column.name for column in child.layout.there[1:]])
            for child in prepared.children
        ]
        self._packet = master.longest_statement()
        self._longest = min(_LONGEST_STATEMENT, self._packet)
        self._outcome = Outcome(quarantined=0, child_quarantined=Counter())

    def take_outcome(self) -> Outcome:
        """What was set aside since the last call."""
        outcome, self._outcome = self._outcome, Outcome(quarantined=0, child_quarantined=Counter())
        return outcome

    def add_rows(self, rows: Sequence[bytes], slice_number: int) -> None:
        """Add rows of a table without an id.

        Raises:
            MergeError: it was stopped, or a slave is too far behind.
            SqlError: the master is lost or refuses for a reason that is no row's; what was committed stays.
        """
        fitting: list[bytes] = []
        for row in rows:
            if len(row) + len(self._head) > self._packet:
                self._refuse(row, self._too_long)
            else:
                fitting.append(row)
        at = 0
        while at < len(fitting):
            self._control.check()
            part = fitting[at : at + self._throttle.size]
            at += len(part)
            self._attempt(part, slice_number, self._insert_rows, self._refuse)

    def add_families(self, families: Sequence[Family], slice_number: int) -> None:
        """Add events with their children; errors as :meth:`add_rows`."""
        at = 0
        while at < len(families):
            self._control.check()
            room = self._throttle.size
            part: list[Family] = []
            while at < len(families) and (not part or families[at].rows <= room):
                part.append(families[at])
                room -= families[at].rows
                at += 1
            refuse = partial(self._apart, slice_number)
            self._attempt(part, slice_number, self._insert_families, refuse)

    def _attempt(
        self,
        items: Sequence[Item],
        slice_number: int,
        insert: Callable[[Sequence[Item]], Added],
        refuse: Callable[[Item, str], None],
    ) -> Added | None:
        """One transaction; halved until the rows that are at fault are found."""
        started = time.monotonic()
        try:
            added = self._patiently(items, slice_number, insert)
        except SqlError as error:
            if error.errno not in ROW_ERRORS:
                raise
            reason = error.reason
        except RowChanged as error:
            reason = error.reason
        else:
            self._done(added)
            self._throttle.took(added.count, time.monotonic() - started)
            return added
        if len(items) > 1:
            half = len(items) // 2
            self._attempt(items[:half], slice_number, insert, refuse)
            self._attempt(items[half:], slice_number, insert, refuse)
        else:
            refuse(items[0], reason)
        return None

    def _patiently(
        self, items: Sequence[Item], slice_number: int, insert: Callable[[Sequence[Item]], Added]
    ) -> Added:
        """One transaction, again when somebody else's was in the way."""
        attempt = 0
        while True:
            try:
                return self._transaction(items, slice_number, insert)
            except SqlError as error:
                attempt += 1
                if error.errno not in _AGAIN or attempt == _ATTEMPTS:
                    raise
            self._control.pause(0.05 * 2**attempt)

    def _apart(self, slice_number: int, family: Family, reason: str) -> None:
        """An event without its children, then each child by itself: only what is at fault stays out."""
        if family.rows == 1:
            self._refuse_family(family, reason)
            return
        master_id = family.master_id
        if family.row is not None:
            alone = Family(row=family.row)
            added = self._attempt([alone], slice_number, self._insert_families, lambda *_: None)
            if added is None:
                self._refuse_family(family, reason)
                return
            master_id = str(added.ids[0]).encode()
        for child in family.children:
            single = Family(row=None, master_id=master_id, children=(child,))
            self._attempt([single], slice_number, self._insert_families, self._refuse_family)

    def _transaction(
        self, items: Sequence[Item], slice_number: int, insert: Callable[[Sequence[Item]], Added]
    ) -> Added:
        session = self._master.session
        length = self._undo.length
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            added = insert(items)
            self._mark.write(Mark(merge=self._mark.merge, batch=self.last_batch + 1))
            self._undo.add(added, slice_number)
        except BaseException:
            # What has no COMMIT yet cannot come true: the note of it is taken back as well.
            with contextlib.suppress(SqlError):
                session.rollback()
            if self._undo.length > length:
                self._undo.cut(length)
            raise
        # From here on only the mark in the master's own data can tell; see ledger.py.
        session.commit(WRITE_TIMEOUT)
        self.last_batch += 1
        return added

    def _insert_rows(self, rows: Sequence[bytes]) -> Added:
        self._insert(self._head, rows)
        return Added(
            batch=self.last_batch + 1, table=self._prepared.table, rows=tuple(rows), columns=self._columns
        )

    def _insert_families(self, families: Sequence[Family]) -> Added:
        layout = self._prepared.layout
        fresh = [family.row for family in families if family.row is not None]
        for row in fresh:
            if len(row) + len(self._head) > self._packet:
                raise RowChanged(self._too_long)
        ids = self._new_ids(fresh)
        waiting: dict[bytes, list[bytes]] = {key: list(numbers) for key, numbers in ids.items()}
        children: list[list[bytes]] = [[] for _ in self._prepared.children]
        for family in families:
            parent = family.master_id
            if family.row is not None:
                parent = lookup(waiting, family.row)[1].pop(0)
            for child, rest in family.children:
                children[child].append(b"(" + (parent or b"NULL") + b"," + rest)
        child_ids: dict[str, tuple[int, ...]] = {}
        for number, rows in enumerate(children):
            if rows:
                table = self._prepared.children[number].spec.table
                child_ids[table] = self._insert_children(number, rows)
        return Added(
            batch=self.last_batch + 1,
            table=layout.table,
            ids=tuple(sorted(int(number) for numbers in ids.values() for number in numbers)),
            children=child_ids,
        )

    def _new_ids(self, rows: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """Insert events; what the master made of them, by content: (row without id, as compared) → ids.

        Within this snapshot nobody else's new rows are visible, so all from the first new id on are ours.
        """
        if not rows:
            return {}
        first = self._insert(self._head, [b"(" + row for row in rows])
        shape = there(self._prepared.layout)
        found: dict[bytes, list[bytes]] = {}
        for text in self._from(shape, shape.key, first):
            cut = text.index(b",")
            found.setdefault(text[cut + 1 :], []).append(text[:cut])
        for row in rows:
            if not lookup(found, row)[1]:
                raise RowChanged("the master stored the row differently")
        if sum(map(len, found.values())) != len(rows):
            raise MergeError("the master's new rows cannot be told from others", node=self._master.label)
        return found

    def _insert_children(self, number: int, rows: Sequence[bytes]) -> tuple[int, ...]:
        head = self._child_heads[number]
        for row in rows:
            if len(row) + len(head) > self._packet:
                raise RowChanged(self._too_long)
        first = self._insert(head, rows)
        child = self._prepared.children[number]
        shape = Shape(
            table=child.spec.table,
            columns=child.layout.there,
            time=child.spec.time_column,
            index=None,
            new_id=True,
        )
        ids = tuple(int(text) for text in self._from(shape, quote_name(child.layout.there[0].name), first))
        if len(ids) != len(rows):
            raise MergeError("the master's new rows cannot be told from others", node=self._master.label)
        return ids

    def _from(self, shape: Shape, expression: str, first: int) -> list[bytes]:
        name = quote_name(shape.columns[0].name)
        sql = f"SELECT {expression} FROM {quote_name(shape.table)} WHERE {name} >= {first:d} ORDER BY {name}"
        texts = self._master.session.texts(sql, READ_TIMEOUT)
        return [text for chunk in texts for text in chunk if text is not None]

    def _insert(self, head: bytes, rows: Sequence[bytes]) -> int:
        """Insert all rows, unchanged, or raise; the first new id."""
        session = self._master.session
        first = inserted = 0
        for statement in statements(head, rows, self._longest):
            written = session.write(statement, WRITE_TIMEOUT)
            inserted += written.rows
            first = first or written.first_id
            if written.warnings:
                self._look_at_warnings()
        if inserted != len(rows):
            raise RowChanged("the master did not take the row")
        return first

    def _look_at_warnings(self) -> None:
        # The same time-out as the statement's: to set another one would clear the warnings.
        warnings = self._master.session.query("SHOW WARNINGS", timeout=WRITE_TIMEOUT)
        for row in warnings:
            if int(str(row["Code"])) in ROW_ERRORS:
                raise RowChanged(f"the master would change the row: {clean(row['Message'])}")
        if not warnings:
            raise RowChanged("the master warned about the row and does not tell why")

    @property
    def _too_long(self) -> str:
        return (
            f"the row is longer than the master takes in one statement ({self._packet} bytes);"
            " raise max_allowed_packet there and merge again"
        )

    def _refuse(self, row: bytes, reason: str) -> None:
        self._quarantine.add(self._prepared.table, reason, list(script(self._head, [row])))
        self._outcome.quarantined += 1

    def _refuse_family(self, family: Family, reason: str) -> None:
        text: list[bytes] = []
        table = self._prepared.table
        if family.row is not None:
            text += script(self._head, [b"(" + family.row])
            self._outcome.quarantined += 1
        for number, rest in family.children:
            child = self._prepared.children[number]
            parent = family.master_id or b"LAST_INSERT_ID()"
            text += script(self._child_heads[number], [b"(" + parent + b"," + rest])
            self._outcome.child_quarantined[child.spec.table] += 1
            if family.row is None:
                table = child.spec.table
        self._quarantine.add(table, reason, text)

"""What a merge has added, written before it is committed; and where it stands.

Three files beside the archive: ``undo.gz`` has, batch by batch, exactly the rows that were added (each batch
is on the disk before its COMMIT); ``quarantine.sql.gz`` the rows the master refused, with its reasons;
``state.json`` how far each table is. The number of the last batch is also in the master's own data
(``tconfig``, token ``pfms_ha_merge``), written in the batch's own transaction: it tells of the last batch
in ``undo.gz`` whether it came true, on the master, and on a slave that became master since. It stays there
until the next merge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.operations.merge.container import File, Member, Writer, replace_file
from pfms_ha_tui.operations.merge.errors import ArchiveError, MergeError
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.statements import comment, commented, uncommented

TOKEN = "pfms_ha_merge"  # noqa: S105 - the name of a row, not a secret
STATE = "state.json"
UNDO = "undo.gz"
QUARANTINE = "quarantine.sql.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The row in the master's ``tconfig``."""

    merge: str
    batch: int
    """Number of the last batch that is in force; undoing counts it down."""


class MarkRow:
    """Reads and writes the mark; writing is one statement inside the caller's transaction."""

    def __init__(self, side: Side, merge: str) -> None:
        self._side = side
        self.merge = merge
        self._id: int | None = None

    def read(self) -> Mark | None:
        """This merge's mark; ``None`` when there is none, or it is another merge's.

        Raises:
            SqlError: the master cannot be asked.
        """
        rows = self._side.session.query(
            "SELECT id_config AS id, value FROM tconfig WHERE token = %s ORDER BY id_config", (TOKEN,)
        )
        if not rows:
            return None
        self._id = int(str(rows[0]["id"]))
        value = rows[0]["value"]
        text = value if isinstance(value, bytes | str) else str(value)
        try:
            mark = msgspec.json.decode(text, type=Mark)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return mark if mark.merge == self.merge else None

    def place(self) -> None:
        """Make sure that there is a row to update, of this merge.

        Raises:
            SqlError: the master refused.
        """
        if self.read() is not None:
            return
        value = msgspec.json.encode(Mark(merge=self.merge, batch=0)).decode()
        if self._id is None:
            self._side.session.execute("INSERT INTO tconfig (token, value) VALUES (%s, %s)", (TOKEN, value))
            self.read()
        else:
            self.write(Mark(merge=self.merge, batch=0))

    def write(self, mark: Mark) -> None:
        """Set it, as part of the transaction that is open.

        Raises:
            SqlError: the master refused.
            MergeError: the row is gone.
        """
        value = msgspec.json.encode(mark).decode()
        changed = self._side.session.execute(
            "UPDATE tconfig SET value = %s WHERE id_config = %s AND token = %s", (value, self._id, TOKEN)
        )
        if changed != 1:
            raise MergeError(
                "the merge's own mark in tconfig was changed by somebody else",
                node=self._side.label,
                hint="start the merge again: it looks at the data itself",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """How far a table is; counts are of whole slices of the losing side's rows."""

    slices: int = 0
    """Slices that are done."""
    late_done: bool = False
    """Whether late children are done too."""
    rows: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    """``module:17`` → rows."""
    quarantined: int = 0
    child_rows: Mapping[str, int] = field(default_factory=dict)
    child_skipped: Mapping[str, int] = field(default_factory=dict)
    child_quarantined: Mapping[str, int] = field(default_factory=dict)
    before: int | None = None
    """The master's rows in the window before the merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeState:
    """Where a merge stands: all it takes to go on after a crash."""

    merge: str
    """Its name, unique in the cluster."""
    archive: str
    """Path of the archive; relative to the directory, or absolute for another merge's that is restored."""
    master: str = ""
    """Label."""
    identity: str = ""
    """Which server that was (see :class:`~pfms_ha_tui.operations.merge.side.Server`)."""
    started_at: float = 0.0
    finished_at: float | None = None
    tables: Mapping[str, TableState] = field(default_factory=dict)
    undo_length: int = 0
    """Bytes of ``undo.gz`` that are known to have come true."""
    quarantine_length: int = 0
    undoing: bool = False
    undone_at: float | None = None

    def table(self, name: str) -> TableState:
        """A table's state."""
        return self.tables.get(name, TableState())

    def with_table(self, name: str, state: TableState) -> MergeState:
        """With a table's state replaced."""
        return replace(self, tables={**self.tables, name: state})


def load_state(directory: Path) -> MergeState | None:
    """The state of the merge in a directory; ``None`` when it has none.

    Raises:
        ArchiveError: it cannot be read.
    """
    path = directory / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=MergeState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ArchiveError(f"{path} cannot be read: {clean(error)}") from error


def save_state(directory: Path, state: MergeState) -> None:
    """Put the state on the disk.

    Raises:
        ArchiveError: the disk is full, or broken.
    """
    replace_file(directory / STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """One batch as ``undo.gz`` has it."""

    batch: int
    table: str
    rows: tuple[bytes, ...] = ()
    """Rows of a table without an id, with the columns that were written."""
    columns: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    """New ids, of a table with one."""
    children: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Child table → new ids."""

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.rows) + len(self.ids) + sum(map(len, self.children.values()))


_UNDO_HEAD = """\
pfms-ha-tui undo file, format 1: the rows that a merge added, batch by batch

To take them back: pfms-ha-tui merge --undo THIS_DIRECTORY
Every line is a comment: loading this file with the mysql client changes nothing."""


class UndoFile:
    """Writes ``undo.gz``; opened with what is known to have come true."""

    def __init__(self, path: Path, length: int) -> None:
        self._writer = Writer(path, append_at=length)
        if length == 0:
            self._writer.add([comment(_UNDO_HEAD)], k="head", format=1)

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._writer.length

    def add(self, added: Added, slice_number: int) -> None:
        """Append a batch; on the disk when this returns.

        Raises:
            ArchiveError: the disk is full, or broken.
        """
        ids = msgspec.json.encode({"ids": added.ids, "children": added.children})
        self._writer.add(
            [b"-- ", ids, b"\n", commented(added.rows)],
            k="batch",
            b=added.batch,
            t=added.table,
            u=slice_number,
            n=added.count,
            own=len(added.rows) + len(added.ids),
            children={table: len(numbers) for table, numbers in added.children.items()},
            columns=added.columns,
        )
        self._writer.sync()

    def cut(self, length: int) -> None:
        """Forget a batch that did not come true.

        Raises:
            ArchiveError: it cannot be done.
        """
        self._writer.cut(length)

    def close(self) -> None:
        """Close it."""
        self._writer.close()


class _Ids(msgspec.Struct):
    ids: tuple[int, ...] = ()
    children: dict[str, tuple[int, ...]] = {}


class UndoReader:
    """Reads ``undo.gz``."""

    def __init__(self, path: Path) -> None:
        self._file = File(path)

    def batches(self) -> list[Member]:
        """The batches, oldest first."""
        return [member for member in self._file.members() if member.text("k") == "batch"]

    def read(self, member: Member) -> Added:
        """One batch.

        Raises:
            ArchiveError: it is damaged.
        """
        text = self._file.read(member)
        first, _, rest = text.partition(b"\n")
        numbers = msgspec.json.decode(first[3:], type=_Ids)
        columns = member.meta.get("columns")
        return Added(
            batch=member.number("b"),
            table=member.text("t"),
            rows=tuple(uncommented(rest)),
            columns=tuple(str(name) for name in columns) if isinstance(columns, list) else (),
            ids=numbers.ids,
            children=numbers.children,
        )

    def close(self) -> None:
        """Close it."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Rows that the master refused."""

    table: str
    reason: str
    rows: tuple[bytes, ...]
    """Statements' rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Which batches came true."""

    length: int = 0
    """Bytes of ``undo.gz`` that hold exactly those."""
    last: int = 0
    """Number of the last one."""
    added: Mapping[str, int] = field(default_factory=dict)
    """Table → rows added."""


def settle(directory: Path, state: MergeState, seen: Mark | None, *, moved: bool) -> Settled:
    """Find out which batches came true, also after a kill between a batch's COMMIT and its note.

    Args:
        directory: Of the merge.
        state: As it was saved.
        seen: The mark in the master's data.
        moved: Whether another server is the master now, which may lack the last batches.

    Raises:
        ArchiveError: the undo file cannot be read.
    """
    path = directory / UNDO
    if not path.exists():
        return Settled()
    length = last = 0
    added: Counter[str] = Counter()
    reader = UndoReader(path)
    try:
        for member in reader.batches():
            end = member.offset + member.length
            noted = end <= state.undo_length and not (moved and seen is not None)
            if not noted and (seen is None or member.number("b") > seen.batch):
                break
            length, last = end, member.number("b")
            added[member.text("t")] += member.number("own")
            children = member.meta.get("children")
            if isinstance(children, dict):
                added.update({str(table): int(rows) for table, rows in children.items()})
    finally:
        reader.close()
    return Settled(length=length, last=last, added=added)


class Quarantine:
    """Writes ``quarantine.sql.gz``: rows that the master refused, each with the reason.

    The file is made with the first such row.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._writer: Writer | None = None
        self.length = length
        if length and path.exists():
            self._writer = Writer(path, append_at=length)

    def add(self, table: str, reason: str, text: Sequence[bytes]) -> None:
        """Append one row as SQL text; on the disk when this returns.

        Raises:
            ArchiveError: the disk is full, or broken.
        """
        if self._writer is None:
            self._writer = Writer(self._path)
            head = "pfms-ha-tui: rows that the master refused, each with its reason"
            self._writer.add([comment(head)], k="head", format=1)
        self._writer.add([comment(reason), *text], k="refused", t=table, why=reason[:400])
        self._writer.sync()
        self.length = self._writer.length

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()


def refused(path: Path) -> Iterator[Refused]:
    """What a quarantine file holds.

    Raises:
        ArchiveError: it cannot be read.
    """
    with File(path) as file:
        for member in file.members():
            if member.text("k") == "refused":
                text = file.read(member)
                rows = tuple(line for line in text.split(b"\n") if line and not line.startswith(b"-- "))
                yield Refused(table=member.text("t"), reason=member.text("why"), rows=rows)

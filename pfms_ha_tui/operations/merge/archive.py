"""The archive: everything the losing side has in the window, saved before anything is written.

One compressed SQL text: ``zcat FILE | mysql DATABASE`` puts it into an empty database, where it can be
looked at with any tool. It begins with a description of itself and ends with its checksum. It appears
under its name only when it is whole and on the disk.

It is also what a merge reads: from here on the losing node is needed no more, and a resumed merge works
on exactly what was saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pfms_ha_tui.operations.merge.container import (
    File,
    Member,
)
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.inventory import Inventory
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.side import Server
from pfms_ha_tui.operations.merge.statements import rows_of
from pfms_ha_tui.operations.merge.sums import Sums
from pfms_ha_tui.operations.merge.tables import ChildSpec, TableMapping, TableSchema, TableSpec
from pfms_ha_tui.operations.merge.window import Window

FORMAT = 1
MODULE, AGENT, OLD = b"-- M ", b"-- A ", b"-- H "
"""Beginnings of the lines that tell of a module, an agent, a module with an older history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveHead:
    """What an archive is of."""

    format: int
    cluster: str
    losing: Server
    master: Server
    start: int
    end: int
    made: float
    """Wall time."""

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.start, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedTable:
    """A table of an archive and how its rows are written."""

    spec: TableSpec
    columns: tuple[Column, ...]
    children: tuple[tuple[ChildSpec, tuple[Column, ...]], ...] = ()
    mapping: TableMapping = field(default_factory=TableMapping)
    child_mappings: Mapping[str, TableMapping] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSummary:
    """An archive for the list and the screen."""

    path: Path
    size: int
    """Bytes."""
    head: ArchiveHead
    tables: Mapping[str, Sums]
    configuration: Mapping[str, int]
    """table → differing rows saved."""
    sha256: str
    """Of the whole file."""


class ArchivedSlice:
    """One slice of an archived table (see :class:`~pfms_ha_tui.operations.merge.compare.Slice`)."""

    def __init__(self, file: File, table: str, number: int) -> None:
        self._file = file
        self.table = table
        self.number = number
        self.start = 0
        self.end = 0
        self.rows = 0
        self._sums = Sums()
        self._members: list[Member] = []
        self._children: dict[str, list[Member]] = {}

    def take(self, member: Member) -> None:
        """Add one member that belongs to it."""
        table = member.text("t")
        if table == self.table:
            self.start, self.end = member.number("s"), member.number("e")
            self.rows += member.number("n")
            self._sums += Sums(rows=member.number("n"), checksum=member.number("sum"))
            self._members.append(member)
        else:
            self._children.setdefault(table, []).append(member)

    def sums(self) -> Sums:
        """What the archive noted of its rows, without the children's."""
        return self._sums

    def chunks(self) -> Iterator[list[bytes]]:
        """Rows' literals."""
        for member in self._members:
            yield rows_of(self._file.read(member))

    def children(self, table: str) -> list[bytes]:
        """Literals of a child table's rows."""
        return [row for member in self._children.get(table, ()) for row in rows_of(self._file.read(member))]


class Archive:
    """A whole archive, open for reading.

    Raises:
        ArchiveError: it cannot be read, is not whole, or was not written by this program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = File(path)
        try:
            self._load()
        except (msgspec.ValidationError, LookupError, ValueError) as error:
            self._file.close()
            raise ArchiveError(f"{path.name} is damaged: {error}", hint="use another copy") from error
        except BaseException:
            self._file.close()
            raise

    def _load(self) -> None:
        head: ArchiveHead | None = None
        self.tables: dict[str, ArchivedTable] = {}
        self.slices: dict[str, list[ArchivedSlice]] = {}
        self._late: dict[tuple[str, str], list[Member]] = {}
        self._config: dict[str, list[Member]] = {}
        self._inventory: list[Member] = []
        sums: dict[str, Sums] = {}
        config: dict[str, int] = {}
        end: Member | None = None
        for member in self._file.members():
            if end is not None:
                break
            match member.text("k"):
                case "head":
                    head = msgspec.convert(member.meta["head"], ArchiveHead)
                    if head.format != FORMAT:
                        raise ArchiveError(
                            f"{self.path.name} has format {head.format}, this program reads {FORMAT}",
                            hint="use the version of pfms-ha-tui that wrote it",
                        )
                case "inventory":
                    self._inventory.append(member)
                case "table":
                    table = msgspec.convert(member.meta["table"], ArchivedTable)
                    self.tables[table.spec.table] = table
                    self.slices[table.spec.table] = []
                    sums.setdefault(table.spec.table, Sums())
                case "rows":
                    self._take(member)
                    _count(sums, member)
                case "late":
                    self._late.setdefault((member.text("p"), member.text("t")), []).append(member)
                    if member.text("p") != member.text("t"):
                        _count(sums, member)
                case "config":
                    self._config.setdefault(member.text("t"), []).append(member)
                    config[member.text("t")] = config.get(member.text("t"), 0) + member.number("n")
                case "end":
                    end = member
        if head is None or end is None:
            raise ArchiveError(
                f"{self.path.name} is not a whole archive", hint="it was cut off; use another copy"
            )
        self.head = head
        self._body = end.offset
        self._told = end.text("sha256")
        self.summary = ArchiveSummary(
            path=self.path,
            size=self._file.size,
            head=head,
            tables=sums,
            configuration=config,
            sha256=self._told,
        )

    def _take(self, member: Member) -> None:
        parent = member.text("p") or member.text("t")
        slices = self.slices.get(parent)
        if slices is None:
            raise ArchiveError(f"{self.path.name} has rows of {parent} before its definition")
        number = member.number("u")
        if not slices or slices[-1].number != number:
            slices.append(ArchivedSlice(self._file, parent, number))
        slices[-1].take(member)

    def check(self) -> None:
        """Read it all and compare its checksum.

        Raises:
            ArchiveError: it is damaged.
        """
        if self._file.sha256(self._body) != self._told:
            raise ArchiveError(f"{self.path.name} is damaged: its checksum is wrong", hint="use another copy")

    def inventory(self) -> tuple[Inventory, frozenset[int]]:
        """Modules and agents of the losing side, and the modules known to have an older history there."""
        rows: dict[bytes, list[bytes]] = {MODULE: [], AGENT: [], OLD: []}
        for member in self._inventory:
            for line in self._file.read(member).split(b"\n"):
                if line[:5] in rows:
                    rows[line[:5]].append(line[5:])
        return Inventory.of_rows(rows[MODULE], rows[AGENT]), frozenset(map(int, rows[OLD]))

    def late(self, parent: str, table: str) -> list[bytes]:
        """Late children (``table`` a child table), or the events they are of (``table`` = ``parent``)."""
        members = self._late.get((parent, table), ())
        return [row for member in members for row in rows_of(self._file.read(member))]

    def configuration(self) -> Iterator[bytes]:
        """The saved configuration as SQL text."""
        for members in self._config.values():
            for member in members:
                yield self._file.read(member)

    def schemas(self) -> dict[str, TableSchema]:
        """The archived tables and their children as the losing side had them."""
        found: dict[str, TableSchema] = {}
        for table in self.tables.values():
            for name, columns in (
                (table.spec.table, table.columns),
                *((child.table, columns) for child, columns in table.children),
            ):
                found[name] = TableSchema(name=name, columns=columns)
        return found

    def mappings(self) -> dict[str, TableMapping]:
        """What was decided about differing columns."""
        found: dict[str, TableMapping] = {}
        for table in self.tables.values():
            found[table.spec.table] = table.mapping
            found.update(table.child_mappings)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _count(sums: dict[str, Sums], member: Member) -> None:
    own = Sums(rows=member.number("n"), checksum=member.number("sum"))
    sums[member.text("t")] = sums.get(member.text("t"), Sums()) + own

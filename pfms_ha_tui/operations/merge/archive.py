"""The archive: everything the losing side has in the window, saved before anything is written.

One compressed SQL text: ``zcat FILE | mysql DATABASE`` puts it into an empty database, where it can be
looked at with any tool. It begins with a description of itself and ends with its checksum. It appears
under its name only when it is whole and on the disk.

It is also what a merge reads: from here on the losing node is needed no more, and a resumed merge works
on exactly what was saved.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import msgspec

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.compare import Slice
from pfms_ha_tui.operations.merge.configuration import ConfigComparison
from pfms_ha_tui.operations.merge.container import (
    File,
    Member,
    Writer,
    failure,
    replace_file,
)
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.families import Child, read_children, read_late
from pfms_ha_tui.operations.merge.inventory import Inventory
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.reading import SLICE_BYTES, Reader, here
from pfms_ha_tui.operations.merge.side import Server, Side
from pfms_ha_tui.operations.merge.statements import comment, insert_head, rows_of, script
from pfms_ha_tui.operations.merge.tables import ChildSpec, TableMapping, TableSchema, TableSpec
from pfms_ha_tui.operations.merge.window import Window

FORMAT = 1
PARTIAL = ".partial"
_MODULE, _AGENT, _OLD = b"-- M ", b"-- A ", b"-- H "

_DESCRIPTION = """\
pfms-ha-tui archive of a merge, format {format}

Rows of {losing} ({losing_host}, {losing_version}) from {start} until before {end} (UTC),
saved on {made} (UTC) before they were merged into {master} ({master_host}).

To look at it:     zcat THIS_FILE | less
To check it:       gzip -t THIS_FILE; sha256sum -c THIS_FILE.sha256; pfms-ha-tui archive show THIS_FILE
To restore it:     create an empty database and run   zcat THIS_FILE | mysql THAT_DATABASE
To merge it again: pfms-ha-tui merge --restore THIS_FILE   (adds only what the master lacks)
Do not load it into the Pandora database itself: that would double what is there already.

Sections: the modules and agents of {losing} (comments); for each table its definition and its rows in the
order of time, each slice followed by the rows that hang on it; comments written in the window on events
from before it, with those events; configuration of {losing} that differs from {master} and is not merged.
Times are UTC. Every row is one line."""

_PREAMBLE = b"""\
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', sql_mode = '', foreign_key_checks = 0, unique_checks = 0;
"""


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
class Sums:
    """Rows and the sum of their checksums (CRC-32 of each row's literal)."""

    rows: int = 0
    checksum: int = 0

    def plus(self, rows: Sequence[bytes]) -> Sums:
        """With these rows too."""
        return Sums(rows=self.rows + len(rows), checksum=self.checksum + sum(map(crc32, rows)))


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
        self._members: list[Member] = []
        self._children: dict[str, list[Member]] = {}

    def take(self, member: Member) -> None:
        """Add one member that belongs to it."""
        table = member.text("t")
        if table == self.table:
            self.start, self.end = member.number("s"), member.number("e")
            self.rows += member.number("n")
            self._members.append(member)
        else:
            self._children.setdefault(table, []).append(member)

    def chunks(self) -> Iterator[list[bytes]]:
        """Rows' literals."""
        for member in self._members:
            yield rows_of(self._file.read(member))

    def children(self, table: str) -> list[bytes]:
        """Literals of a child table's rows."""
        return [row for member in self._children.get(table, ()) for row in rows_of(self._file.read(member))]


def _conforms(one: ArchivedSlice) -> Slice:
    return one


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
        rows: dict[bytes, list[bytes]] = {_MODULE: [], _AGENT: [], _OLD: []}
        for member in self._inventory:
            for line in self._file.read(member).split(b"\n"):
                if line[:5] in rows:
                    rows[line[:5]].append(line[5:])
        return Inventory.of_rows(rows[_MODULE], rows[_AGENT]), frozenset(map(int, rows[_OLD]))

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
    table, before = member.text("t"), sums.get(member.text("t"), Sums())
    sums[table] = Sums(rows=before.rows + member.number("n"), checksum=before.checksum + member.number("crc"))


def write_archive(
    path: Path,
    *,
    cluster: str,
    losing: Side,
    master: Server,
    window: Window,
    tables: Sequence[Prepared],
    mappings: Mapping[str, TableMapping],
    inventory: Inventory,
    established: frozenset[int],
    configuration: ConfigComparison | None,
    control: Control,
) -> ArchiveSummary:
    """Save the losing side's window; the file is there, whole and on the disk, when this returns.

    Reads in one consistent snapshot.

    Args:
        path: The file to make; one that is there is replaced.
        cluster: Name of the cluster, for the description.
        losing: The losing side, for reading.
        master: Where the rows will go.
        window: Which rows.
        tables: Which tables.
        mappings: What was decided about differing columns.
        inventory: Modules and agents of the losing side.
        established: Modules that are known to have an older history on the losing side.
        configuration: The comparison of the configuration, made before; ``None`` = save none.
        control: Progress and cancelling.

    Raises:
        ArchiveError: the disk is full or broken; nothing is left behind.
        SqlError: the losing side cannot be read.
        MergeCancelled: somebody asked to stop; nothing is left behind.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with Writer(partial) as writer:
            maker = _Maker(writer, losing, window, control)
            losing.session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            maker.head(cluster, master)
            maker.inventory(inventory, established)
            for prepared in tables:
                maker.table(prepared, mappings)
            if configuration is not None:
                maker.configuration(configuration)
            losing.session.execute("COMMIT")
            maker.end()
            writer.sync()
            whole = writer.sha256
        partial.replace(path)
        replace_file(path.with_name(path.name + ".sha256"), f"{whole}  {path.name}\n".encode())
    except OSError as error:
        _remove(partial)
        raise failure(path, error) from error
    except BaseException:
        _remove(partial)
        raise
    with Archive(path) as archive:
        return archive.summary


class _Maker:
    """The sections of one archive."""

    def __init__(self, writer: Writer, losing: Side, window: Window, control: Control) -> None:
        self._writer = writer
        self._losing = losing
        self._window = window
        self._control = control
        self._done = 0
        self._total: int | None = None

    def head(self, cluster: str, master: Server) -> None:
        losing = self._losing.server()
        made = time.time()
        head = ArchiveHead(
            format=FORMAT,
            cluster=cluster,
            losing=losing,
            master=master,
            start=self._window.start,
            end=self._window.end,
            made=made,
        )
        text = _DESCRIPTION.format(
            format=FORMAT,
            losing=losing.label,
            losing_host=losing.host,
            losing_version=losing.version,
            master=master.label,
            master_host=master.host,
            start=_utc(self._window.start),
            end=_utc(self._window.end),
            made=_utc(int(made)),
        )
        self._writer.add([comment(text), _PREAMBLE], k="head", head=msgspec.to_builtins(head))

    def inventory(self, inventory: Inventory, established: frozenset[int]) -> None:
        lines = [b"-- Modules (id, agent, type, name), agents (id, name), modules with an older history\n"]
        lines += [_MODULE + row + b"\n" for row in inventory.modules.values()]
        lines += [_AGENT + row + b"\n" for row in inventory.agents.values()]
        lines += [_OLD + b"%d\n" % number for number in sorted(established)]
        self._writer.add(lines, k="inventory", n=len(lines) - 1)

    def table(self, prepared: Prepared, mappings: Mapping[str, TableMapping]) -> None:
        spec, window = prepared.layout.spec, self._window
        described = ArchivedTable(
            spec=spec,
            columns=prepared.layout.here,
            children=tuple((child.spec, child.layout.here) for child in prepared.children),
            mapping=mappings.get(spec.table, TableMapping()),
            child_mappings={
                child.spec.table: mappings[child.spec.table]
                for child in prepared.children
                if child.spec.table in mappings
            },
        )
        definitions = [self._definition(spec.table)]
        definitions += [self._definition(child.spec.table) for child in prepared.children]
        self._writer.add(definitions, k="table", table=msgspec.to_builtins(described))
        reader = Reader(self._losing, here(prepared.layout))
        for number, (start, end) in enumerate(reader.slices(window.start, window.end)):
            self._rows(prepared, reader, number, start, end)
            for child in prepared.children:
                literals = read_children(self._losing, prepared.layout, child, start, end)
                self._whole(child, literals, k="rows", p=spec.table, u=number)
            self._control.check()
        for child in prepared.children:
            literals, parents = read_late(self._losing, prepared.layout, child, window.start, window.end)
            if literals:
                head = insert_head(spec.table, [column.name for column in prepared.layout.here])
                self._writer.add(script(head, parents), k="late", p=spec.table, t=spec.table, n=len(parents))
                self._whole(child, literals, k="late", p=spec.table)

    def _rows(self, prepared: Prepared, reader: Reader, number: int, start: int, end: int) -> None:
        """One slice, in members of a bounded size."""
        head = insert_head(prepared.table, [column.name for column in prepared.layout.here])
        held: list[bytes] = []
        size = 0

        def flush() -> None:
            nonlocal size
            if held:
                sums = Sums().plus(held)
                self._writer.add(
                    script(head, held),
                    k="rows",
                    t=prepared.table,
                    u=number,
                    s=start,
                    e=end,
                    n=sums.rows,
                    crc=sums.checksum,
                )
                held.clear()
                size = 0

        for rows in reader.rows(start, end):
            held += rows
            size += sum(map(len, rows))
            self._done += len(rows)
            if size >= SLICE_BYTES:
                flush()
            self._control.tell(
                MergeProgress(phase=Phase.ARCHIVE, table=prepared.table, done=self._done, total=self._total)
            )
        flush()

    def _whole(self, child: Child, literals: Sequence[bytes], **meta: object) -> None:
        """All of a child's rows that belong together, in members of a bounded size."""
        head = insert_head(child.spec.table, [column.name for column in child.layout.here])
        at = 0
        while at < len(literals):
            after, size = at, 0
            while after < len(literals) and (size < SLICE_BYTES or after == at):
                size += len(literals[after])
                after += 1
            part = literals[at:after]
            sums = Sums().plus(part)
            self._writer.add(script(head, part), t=child.spec.table, n=sums.rows, crc=sums.checksum, **meta)
            at = after

    def configuration(self, comparison: ConfigComparison) -> None:
        for table in comparison.tables:
            head = insert_head(table, [column.name for column in comparison.columns(table)])
            rows = [row for chunk in comparison.rows(table) for row in chunk]
            text = [self._definition(table), *script(head, rows)]
            self._writer.add(text, k="config", t=table, n=len(rows))
            self._control.check()

    def end(self) -> None:
        text = comment("End of the archive.") + b"SET SESSION foreign_key_checks = 1, unique_checks = 1;\n"
        self._writer.add([text], k="end", sha256=self._writer.sha256)

    def _definition(self, table: str) -> bytes:
        row = self._losing.session.query(f"SHOW CREATE TABLE {quote_name(table)}")[0]
        text = str(row["Create Table"])
        return text.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1).encode() + b";\n"


def _remove(partial: Path) -> None:
    with contextlib.suppress(OSError):
        partial.unlink()


def _utc(moment: int) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):
        return f"@{moment}"

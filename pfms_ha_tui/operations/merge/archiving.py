"""Writing an archive: it is there whole and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.archive import (
    AGENT,
    FORMAT,
    MODULE,
    OLD,
    Archive,
    ArchivedTable,
    ArchiveHead,
    ArchiveSummary,
)
from pfms_ha_tui.operations.merge.configuration import ConfigComparison
from pfms_ha_tui.operations.merge.container import Writer, failure, replace_file
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.families import Child, read_children, read_late
from pfms_ha_tui.operations.merge.inventory import Inventory
from pfms_ha_tui.operations.merge.prepare import Prepared
from pfms_ha_tui.operations.merge.reading import SLICE_BYTES, Reader, here
from pfms_ha_tui.operations.merge.side import Server, Side
from pfms_ha_tui.operations.merge.statements import comment, insert_head, script
from pfms_ha_tui.operations.merge.sums import Sums
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.merge.window import Window

PARTIAL = ".partial"

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
        with Writer(partial) as writer, _Maker(writer, losing, window, control) as maker:
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
    """The sections of one archive; a slice is compressed while the next rows are read."""

    def __init__(self, writer: Writer, losing: Side, window: Window, control: Control) -> None:
        self._writer = writer
        self._losing = losing
        self._window = window
        self._control = control
        self._done = 0
        self._total: int | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="archive")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def _add(self, parts: Iterable[bytes], **meta: object) -> None:
        """Append one member, after all that were given before."""
        self._settle()
        self._writer.add(parts, **meta)

    def _settle(self) -> None:
        """Have written what was given to be written.

        Raises:
            ArchiveError: it could not be.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _add_rows(self, head: bytes, rows: list[bytes], meta: dict[str, object]) -> None:
        sums = Sums().plus(rows)
        self._writer.add(script(head, rows), **meta, n=sums.rows, sum=sums.checksum)

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
        self._add([comment(text), _PREAMBLE], k="head", head=msgspec.to_builtins(head))

    def inventory(self, inventory: Inventory, established: frozenset[int]) -> None:
        lines = [b"-- Modules (id, agent, type, name), agents (id, name), modules with an older history\n"]
        lines += [MODULE + row + b"\n" for row in inventory.modules.values()]
        lines += [AGENT + row + b"\n" for row in inventory.agents.values()]
        lines += [OLD + b"%d\n" % number for number in sorted(established)]
        self._add(lines, k="inventory", n=len(lines) - 1)

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
        self._add(definitions, k="table", table=msgspec.to_builtins(described))
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
                self._add(script(head, parents), k="late", p=spec.table, t=spec.table, n=len(parents))
                self._whole(child, literals, k="late", p=spec.table)

    def _rows(self, prepared: Prepared, reader: Reader, number: int, start: int, end: int) -> None:
        """One slice, in members of a bounded size."""
        head = insert_head(prepared.table, [column.name for column in prepared.layout.here])
        meta: dict[str, object] = {"k": "rows", "t": prepared.table, "u": number, "s": start, "e": end}
        held: list[bytes] = []
        size = 0

        def flush() -> None:
            nonlocal held, size
            if held:
                self._settle()
                self._writing = self._pool.submit(self._add_rows, head, held, meta)
                held, size = [], 0

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
            self._add(script(head, part), t=child.spec.table, n=sums.rows, sum=sums.checksum, **meta)
            at = after

    def configuration(self, comparison: ConfigComparison) -> None:
        for table in comparison.tables:
            head = insert_head(table, [column.name for column in comparison.columns(table)])
            rows = [row for chunk in comparison.rows(table) for row in chunk]
            text = [self._definition(table), *script(head, rows)]
            self._add(text, k="config", t=table, n=len(rows))
            self._control.check()

    def end(self) -> None:
        text = comment("End of the archive.") + b"SET SESSION foreign_key_checks = 1, unique_checks = 1;\n"
        self._settle()
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

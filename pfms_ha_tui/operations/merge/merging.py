"""The merge as a whole, from the choice of the window to the proof; and archives afterwards.

Each merge has a directory of its own below the archive directory::

    20261025T021500Z-node2-into-node1/
        rows.sql.gz          the archive (with rows.sql.gz.sha256)
        undo.gz              what was added
        quarantine.sql.gz    what the master refused, if anything
        state.json           where it stands

All calls block; run them on a thread. They raise ``PfmsError`` only.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pfms_ha_tui.config.settings import ClusterSettings, MergeSettings, NodeSettings
from pfms_ha_tui.operations.merge.apply import apply
from pfms_ha_tui.operations.merge.archive import Archive, ArchiveSummary
from pfms_ha_tui.operations.merge.archiving import write_archive
from pfms_ha_tui.operations.merge.container import failure, sync_directory
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.coverage import left_out, newest_row, optional_tables
from pfms_ha_tui.operations.merge.errors import ArchiveError, MergeError
from pfms_ha_tui.operations.merge.ledger import (
    QUARANTINE,
    MergeState,
    Refused,
    load_state,
    refused,
    save_state,
)
from pfms_ha_tui.operations.merge.plan import MergePlan, Survey
from pfms_ha_tui.operations.merge.result import MergeResult
from pfms_ha_tui.operations.merge.scan import first_difference, histogram
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.tables import TableMapping, TableSpec, choose
from pfms_ha_tui.operations.merge.throttle import Lag, Pace, no_slaves
from pfms_ha_tui.operations.merge.undo import UndoResult, undo
from pfms_ha_tui.operations.merge.verify import Verification, verify
from pfms_ha_tui.operations.merge.window import Bucket, Window

ROWS = "rows.sql.gz"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """What a person decided."""

    losing: str
    """Label of the node whose rows are recovered."""
    master: str
    """Label of the node they go into."""
    window: Window
    tables: tuple[str, ...] | None = None
    """``None`` = the three of the manual and the config's."""
    mappings: Mapping[str, TableMapping] | None = None


class Merge:
    """A merge between two nodes of a cluster.

    Args:
        cluster: The cluster.
        request: What a person decided.

    Raises:
        MergeError: unknown nodes or tables.
    """

    def __init__(self, cluster: ClusterSettings, request: MergeRequest) -> None:
        self.cluster = cluster
        self.request = request
        self.losing = node_of(cluster, request.losing)
        self.master = node_of(cluster, request.master)
        if request.losing == request.master:
            raise MergeError("a node cannot be merged into itself")
        self.specs: tuple[TableSpec, ...] = choose(request.tables, cluster.merge.tables)

    def plan(self, control: Control) -> MergePlan:
        """The dry run; nothing is changed."""
        with self._survey() as survey, self._sides() as scouts:
            return survey.plan(scouts, control)

    def histogram(self, control: Control | None = None) -> tuple[Bucket, ...]:
        """Rows per minute, or longer span, on both nodes."""
        with self._sides() as (losing, master):
            return histogram(losing, master, self.specs, self.request.window, control=control)

    def everything(self) -> tuple[tuple[str, ...], int | None]:
        """The tables of this merge and the optional ones with rows on the losing side, and its newest row."""
        with Side.reader(self.losing, self.cluster) as losing:
            tables = dict.fromkeys([*(spec.table for spec in self.specs), *optional_tables(losing)])
            return tuple(tables), newest_row(losing, choose(tuple(tables), self.cluster.merge.tables))

    def left_out(
        self, tables: Sequence[str], began: float | None, control: Control | None = None
    ) -> str | None:
        """What of the losing side a merge of this window and these tables does not cover."""
        window, mappings = self.request.window, self.request.mappings
        with self._sides() as sides, self._sides() as scouts:
            return left_out(sides, scouts, self.cluster, tables, window, began, mappings, control)

    def first_difference(self, control: Control, now: int | None = None) -> Window | None:
        """Where the two nodes' data differ, looking back from now."""
        with self._sides() as (losing, master):
            return first_difference(losing, master, self.specs, now or int(time.time()), control)

    def archive(self, directory: Path, control: Control) -> ArchiveSummary:
        """Save everything into ``directory`` (see :func:`new_directory`); nothing is changed on any node.

        If the archive is there already (after a crash), it is kept as it is.
        """
        path = directory / ROWS
        if path.exists():
            with Archive(path) as archive:
                archive.check()
                summary = archive.summary
            if summary.head.window != self.request.window or summary.head.losing.label != self.request.losing:
                raise ArchiveError(f"{path} is the archive of another merge")
        else:
            with self._survey() as survey:
                survey.preparation.require()
                survey.configuration.compare(control)
                summary = write_archive(
                    path,
                    cluster=self.cluster.name,
                    losing=survey.losing,
                    master=survey.master.server(),
                    window=self.request.window,
                    tables=survey.preparation.tables,
                    mappings=survey.preparation.mappings,
                    inventory=survey.inventory,
                    established=survey.established,
                    configuration=survey.configuration,
                    control=control,
                )
        if load_state(directory) is None:
            save_state(directory, MergeState(merge=directory.name, archive=ROWS))
        return summary

    def apply(self, directory: Path, control: Control, lag: Lag = no_slaves) -> MergeResult:
        """Add what the master lacks; goes on where it was after a crash."""
        return apply_directory(self.cluster, self.master, directory, control, lag)

    def verify(self, directory: Path, result: MergeResult, control: Control) -> Verification:
        """Prove it."""
        return verify_directory(self.cluster, self.master, directory, result, control)

    @contextlib.contextmanager
    def _sides(self) -> Iterator[tuple[Side, Side]]:
        with (
            Side.reader(self.losing, self.cluster) as losing,
            Side.reader(self.master, self.cluster) as master,
        ):
            yield losing, master

    @contextlib.contextmanager
    def _survey(self) -> Iterator[Survey]:
        with self._sides() as (losing, master):
            yield Survey(losing, master, self.request.window, self.specs, self.request.mappings)


def node_of(cluster: ClusterSettings, label: str) -> NodeSettings:
    """The node of that label.

    Raises:
        MergeError: there is none.
    """
    node = cluster.node(label)
    if node is None:
        raise MergeError(
            f"there is no node {label}", hint=f"one of {', '.join(one.label for one in cluster.nodes)}"
        )
    return node


def directory_name(losing: str, master: str, now: float) -> str:
    """The name of a merge that begins now."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{_UNSAFE.sub('_', losing)}-into-{_UNSAFE.sub('_', master)}"


def make_directory(archives: Path, name: str, *, again: bool = False) -> Path:
    """Make a merge's directory below ``archives``; a name that is taken gets a number.

    Args:
        archives: Made too if it is not there.
        name: Of the merge.
        again: Take the directory of that name as it is, if there is one.

    Raises:
        ArchiveError: it cannot be made.
    """
    try:
        archives.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1, 100):
            directory = archives / (name if number == 1 else f"{name}-{number}")
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                if again and directory.is_dir():
                    return directory
                continue
            sync_directory(archives)
            return directory
    except OSError as error:
        raise failure(archives, error) from error
    raise ArchiveError(f"there are too many merges named {name} in {archives}")


def new_directory(archives: Path, losing: str, master: str, now: float) -> Path:
    """The directory of a merge that begins now.

    Raises:
        ArchiveError: it cannot be made.
    """
    return make_directory(archives, directory_name(losing, master, now))


def pace_of(settings: MergeSettings) -> Pace:
    """The limits of the config."""
    return Pace(
        batch_time=settings.batch_time,
        max_rows_per_second=settings.max_rows_per_second,
        max_slave_lag=settings.max_slave_lag,
    )


def start_restore(archive: Path, directory: Path) -> ArchiveSummary:
    """Make ``directory`` a merge that adds what the master lacks of another merge's archive.

    Continue with :func:`apply_directory`.

    Raises:
        ArchiveError: the archive is not whole or damaged.
    """
    path = archive_path(archive).absolute()
    with Archive(path) as opened:
        opened.check()
        save_state(directory, MergeState(merge=directory.name, archive=str(path)))
        return opened.summary


def apply_directory(
    cluster: ClusterSettings, master: NodeSettings, directory: Path, control: Control, lag: Lag = no_slaves
) -> MergeResult:
    """Add to ``master`` what it lacks of the archive that belongs to ``directory``.

    Raises:
        ArchiveError: it is damaged, or of another cluster, whose nodes and ids are named alike.
    """
    with _archive_of(directory) as archive:
        if archive.head.cluster != cluster.name:
            raise ArchiveError(f"this archive is of cluster {archive.head.cluster}, not of {cluster.name}")
        return apply(
            directory, archive, master, cluster, control=control, pace=pace_of(cluster.merge), lag=lag
        )


def verify_directory(
    cluster: ClusterSettings, master: NodeSettings, directory: Path, result: MergeResult, control: Control
) -> Verification:
    """Prove that ``master`` has all of the archive that belongs to ``directory``."""
    with ExitStack() as stack:
        archive = stack.enter_context(_archive_of(directory))
        side = stack.enter_context(Side.reader(master, cluster))
        scout = stack.enter_context(Side.reader(master, cluster))
        return verify(archive, side, scout, result, control)


def undo_directory(
    cluster: ClusterSettings, directory: Path, control: Control, lag: Lag = no_slaves
) -> UndoResult:
    """Take back what the merge in ``directory`` added."""
    state = load_state(directory)
    if state is None or not state.master:
        raise MergeError(f"{directory} has nothing to undo")
    with _archive_of(directory) as archive:
        specs = [table.spec for table in archive.tables.values()]
    return undo(
        directory,
        node_of(cluster, state.master),
        cluster,
        specs=specs,
        control=control,
        pace=pace_of(cluster.merge),
        lag=lag,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """A merge's directory, for the list."""

    directory: Path
    state: MergeState | None
    summary: ArchiveSummary | None
    """``None`` when the archive is not whole."""
    problem: str | None = None


def list_archives(archives: Path) -> tuple[ArchiveEntry, ...]:
    """Every merge below the archive directory, newest first.

    Raises:
        ArchiveError: the directory cannot be read.
    """
    try:
        directories = sorted((path for path in archives.iterdir() if path.is_dir()), reverse=True)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise failure(archives, error) from error
    entries: list[ArchiveEntry] = []
    for directory in directories:
        state: MergeState | None = None
        summary: ArchiveSummary | None = None
        problem: str | None = None
        try:
            state = load_state(directory)
            with _archive_of(directory) as archive:
                summary = archive.summary
        except ArchiveError as error:
            problem = error.reason
        if state is not None or summary is not None or (directory / (ROWS + ".partial")).exists():
            entries.append(ArchiveEntry(directory=directory, state=state, summary=summary, problem=problem))
    return tuple(entries)


def archive_path(path: Path) -> Path:
    """The archive meant by a path: the file itself, or a merge's directory."""
    return path / ROWS if path.is_dir() else path


def quarantined(directory: Path) -> Sequence[Refused]:
    """The rows that the master refused.

    Raises:
        ArchiveError: the file cannot be read.
    """
    path = directory / QUARANTINE
    return tuple(refused(path)) if path.exists() else ()


def _archive_of(directory: Path) -> Archive:
    state = load_state(directory)
    return Archive(directory / state.archive if state is not None else directory / ROWS)

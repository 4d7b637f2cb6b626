"""The archives of merges, read from the disk; needs no worker that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pfms_ha_tui.cluster import words
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.operations.merge.archive import Archive, ArchiveSummary
from pfms_ha_tui.operations.merge.ledger import MergeState, load_state
from pfms_ha_tui.operations.merge.merging import archive_path, list_archives, quarantined
from pfms_ha_tui.operations.merge.names import find, is_path

__all__ = [
    "ArchiveFacts",
    "archive_facts",
    "archives_in",
    "configuration_sql",
    "directories",
    "find",
    "is_path",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """One archive, and what became of its merge; ``None`` = not known."""

    directory: str
    cluster: str | None = None
    losing: str | None = None
    master: str | None = None
    start: int | None = None
    """Seconds since 1970, inclusive."""
    end: int | None = None
    """Exclusive."""
    made: float | None = None
    """Wall time."""
    size: int | None = None
    """Bytes."""
    tables: Mapping[str, int] | None = None
    """table → rows."""
    configuration: Mapping[str, int] | None = None
    """table → rows of configuration that were saved, and not merged."""
    sha256: str | None = None
    merge: str = ""
    """How the merge stands, in a few words."""
    problem: str | None = None
    """Why the archive cannot be used."""
    refused: tuple[str, ...] = ()
    """Rows that the master refused, and why."""


def directories(settings: Settings, cluster: str | None) -> tuple[Path, ...]:
    """Where the archives of that cluster, or of all, lie."""
    default = settings.worker.state_dir / "archive"
    found = [
        one.merge.archive_dir or default
        for one in settings.clusters
        if cluster is None or one.name == cluster
    ]
    return tuple(dict.fromkeys(found))


def archives_in(directory: Path) -> Iterator[ArchiveFacts]:
    """Every merge below a directory, newest first.

    Raises:
        ArchiveError: it cannot be read.
    """
    for entry in list_archives(directory):
        yield _facts(entry.directory, entry.state, entry.summary, entry.problem)


def archive_facts(path: Path, *, check: bool) -> ArchiveFacts:
    """One archive: the file, or its merge's directory.

    Args:
        path: Which.
        check: Read it all and compare its checksum.

    Raises:
        ArchiveError: it cannot be read, or is damaged.
    """
    path = archive_path(path)
    with Archive(path) as archive:
        if check:
            archive.check()
        summary = archive.summary
    facts = _facts(path.parent, load_state(path.parent), summary, None)
    refused = tuple(
        f"{one.table}: {words.plural(len(one.rows), 'row')}: {one.reason}" for one in quarantined(path.parent)
    )
    return replace(facts, refused=refused)


def configuration_sql(path: Path) -> Iterator[bytes]:
    """The saved configuration as SQL text.

    Raises:
        ArchiveError: it cannot be read, or is damaged.
    """
    with Archive(archive_path(path)) as archive:
        archive.check()
        yield from archive.configuration()


def _facts(
    directory: Path, state: MergeState | None, summary: ArchiveSummary | None, problem: str | None
) -> ArchiveFacts:
    told = _merge_words(state)
    if summary is None:
        return ArchiveFacts(directory=str(directory), merge=told, problem=problem)
    head = summary.head
    return ArchiveFacts(
        directory=str(directory),
        cluster=head.cluster,
        losing=head.losing.label,
        master=(state.master if state is not None else "") or head.master.label,
        start=head.start,
        end=head.end,
        made=head.made,
        size=summary.size,
        tables={table: sums.rows for table, sums in summary.tables.items()},
        configuration=dict(summary.configuration),
        sha256=summary.sha256,
        merge=told,
        problem=problem,
    )


def _merge_words(state: MergeState | None) -> str:
    if state is None:
        return "not begun"
    if state.undone_at is not None:
        return "undone"
    if state.undoing:
        return "undo not finished"
    if state.finished_at is not None:
        return "merged"
    return "not finished" if state.started_at else "archived only"

"""The journal's tables in SQLite: schema, migrations, statements. Synchronous; one thread per :class:`Store`.

The file is shared with the ledger of operations, which has its own tables and connection. So the
schema's version stands in a table of its own and not in ``user_version``; WAL lets both read while
one writes, and ``busy_timeout`` makes the writers wait for each other.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.worker.protocol import EventsQuery, LagQuery

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0
RAW_LAG_SECONDS = 2 * 3600.0
"""Single lag samples are kept this long; after that only the worst of each minute."""
LAG_POINTS = 1200
"""More samples than this are thinned out in an answer: no screen is wider."""
_CHECK_SECONDS = 3.0
_CHUNK = 5000
_EVENT = "id, at, cluster, node, severity, kind, text, actor, operation, details"

_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        cluster TEXT NOT NULL,
        node TEXT,
        severity TEXT NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        actor TEXT NOT NULL,
        operation INTEGER,
        details TEXT
    );
    CREATE INDEX event_at ON event (at);
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, cluster TEXT NOT NULL, node TEXT NOT NULL, UNIQUE (cluster, node)
    );
    CREATE TABLE lag (
        series INTEGER NOT NULL, at INTEGER NOT NULL, seconds INTEGER, bytes INTEGER, PRIMARY KEY (series, at)
    ) WITHOUT ROWID;
    CREATE TABLE lag_minute (
        series INTEGER NOT NULL, at INTEGER NOT NULL, seconds INTEGER, bytes INTEGER, PRIMARY KEY (series, at)
    ) WITHOUT ROWID;
    CREATE TABLE epoch (
        cluster TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        master TEXT NOT NULL,
        previous TEXT,
        worker TEXT NOT NULL,
        at REAL NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (cluster, epoch)
    );
    CREATE TABLE fact (
        cluster TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (cluster, key)
    );
    """,
)
"""Step n leads from version n to n + 1. ``lag.at`` is in milliseconds, ``lag_minute.at`` in seconds."""

SCHEMA_VERSION = len(_MIGRATIONS)


class NewerJournalError(Exception):
    """The file was written by a newer version of this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One promotion: from here on ``master`` is the node that takes the writes."""

    epoch: int
    master: str
    previous: str | None
    worker: str
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class LagEntry:
    """One lag sample on its way to the disk."""

    cluster: str
    node: str
    sample: LagSample


@dataclass(frozen=True, slots=True)
class FactEntry:
    """A fact (JSON text) to keep, or to forget when ``value`` is ``None``."""

    cluster: str
    key: str
    value: str | None
    at: float


@dataclass(frozen=True, slots=True)
class EpochEntry:
    """An epoch on its way to the disk."""

    cluster: str
    epoch: Epoch


Entry = Event | LagEntry | FactEntry | EpochEntry


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether the error says that the file's content is broken (not that the disk is full or away)."""
    name = getattr(exc, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def set_aside(path: Path, *, now: float) -> Path:
    """Rename a damaged journal and its log so that SQLite's recovery tools can still read it.

    Raises:
        OSError: the directory may not be written to.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.localtime(now))
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{target}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        Path(f"{path}-shm").unlink()
    return target


class Store:
    """One connection to the journal's file."""

    def __init__(self, path: Path, *, readonly: bool = False):
        """Open it; without ``readonly`` also check it and bring it to the present schema.

        Raises:
            sqlite3.Error: see :func:`is_damage` for what to do about it.
            NewerJournalError: from a newer version of this program.
        """
        self._series: dict[tuple[str, str], int] = {}
        self._path = path
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            if readonly:
                self._db.execute("PRAGMA query_only = 1")
                return
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA journal_size_limit = 16000000")
            self._db.execute("PRAGMA synchronous = FULL")
            self._check()
            self._migrate()
            self.file = path.stat().st_ino
            """The inode that is written to; only of one that was opened to be written."""
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def moved(self) -> bool:
        """Whether the path names another file by now, or none: what is written would be found by nobody."""
        try:
            return self._path.stat().st_ino != self.file
        except FileNotFoundError:
            return True

    def write(self, entries: Sequence[Entry]) -> None:
        """All or nothing, on the disk when it returns (lag alone: on the disk a little later).

        A lost second of lag is no loss; a sync for each would wear the disk for nothing.
        """
        only_lag = all(isinstance(entry, LagEntry) for entry in entries)
        self._db.execute(f"PRAGMA synchronous = {'NORMAL' if only_lag else 'FULL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for entry in entries:
                try:
                    self._put(entry)
                except (
                    OverflowError,
                    UnicodeError,
                ) as exc:  # from a server's nonsense; must not block the rest
                    log.error("an entry of the journal cannot be stored: %s", exc)
            self._db.execute("COMMIT")
        except BaseException:
            self._series.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def last_event_id(self) -> int:
        """The highest id in use, 0 for none."""
        (highest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        return int(highest)

    def events(self, query: EventsQuery) -> list[Event]:
        """What :meth:`EventsQuery.matches`, newest first."""
        where, values = ["1"], list[object]()
        for condition, value in (
            ("cluster IN (?, '')", query.cluster),
            ("id < ?", query.before_id),
            ("at >= ?", query.since),
            ("at < ?", query.until),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        rows = self._db.execute(
            f"SELECT {_EVENT} FROM event WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, query.limit),
        )
        return [
            Event(
                id=row[0],
                at=row[1],
                cluster=row[2],
                node=row[3],
                severity=Severity(row[4]),
                kind=row[5],
                text=row[6],
                actor=row[7],
                operation=row[8],
                details=row[9],
            )
            for row in rows
        ]

    def lag(self, query: LagQuery, *, now: float) -> list[LagSample]:
        """Samples since a moment, oldest first; the worst of each stretch when there are many."""
        found = self._db.execute(
            "SELECT id FROM series WHERE cluster = ? AND node = ?", (query.cluster, query.node)
        ).fetchone()
        if found is None:
            return []
        if query.since >= now - RAW_LAG_SECONDS:
            table, unit, count = "lag", 1000, self._count("lag", found[0], query.since * 1000)
            width = max(1, -(-count // LAG_POINTS)) * unit if count > LAG_POINTS else 1
        else:
            table, unit = "lag_minute", 1
            width = 60 * max(1, int((now - query.since) / 60 / LAG_POINTS))
        rows = self._db.execute(
            f"SELECT min(at), max(seconds), max(bytes) FROM {table}"  # noqa: S608
            " WHERE series = ? AND at >= ? GROUP BY at / ? ORDER BY 1",
            (found[0], int(query.since * unit), width),
        )
        return [LagSample(at=row[0] / unit, seconds=row[1], bytes=row[2]) for row in rows]

    def facts(self) -> dict[tuple[str, str], str]:
        """(cluster, key) → JSON text."""
        rows = self._db.execute("SELECT cluster, key, value FROM fact")
        return {(row[0], row[1]): row[2] for row in rows}

    def epochs(self) -> dict[str, list[Epoch]]:
        """cluster → its epochs, oldest first."""
        found: dict[str, list[Epoch]] = {}
        for cluster, *rest in self._db.execute(
            "SELECT cluster, epoch, master, previous, worker, at, reason FROM epoch ORDER BY cluster, epoch"
        ):
            epoch, master, previous, worker, at, reason = rest
            found.setdefault(cluster, []).append(
                Epoch(epoch=epoch, master=master, previous=previous, worker=worker, at=at, reason=reason)
            )
        return found

    def forget(self, *, events_before: float, lag_before: float, raw_lag_before: float) -> int:
        """Delete what is older than kept, in small transactions; how many rows went."""
        gone = 0
        for table, key, bound in (
            ("event", "id", events_before),
            ("lag", "series, at", raw_lag_before * 1000),
            ("lag_minute", "series, at", lag_before),
        ):
            while True:
                cursor = self._db.execute(
                    f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608
                    f" (SELECT {key} FROM {table} WHERE at < ? LIMIT {_CHUNK})",
                    (bound,),
                )
                gone += cursor.rowcount
                if cursor.rowcount < _CHUNK:
                    break
        self._db.execute("PRAGMA incremental_vacuum(2000)").fetchall()
        return gone

    def _count(self, table: str, series: int, since: float) -> int:
        (count,) = self._db.execute(
            f"SELECT count(*) FROM {table} WHERE series = ? AND at >= ?",  # noqa: S608
            (series, since),
        ).fetchone()
        return int(count)

    def _put(self, entry: Entry) -> None:
        match entry:
            case Event():
                self._db.execute(
                    f"INSERT INTO event ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    (
                        entry.id,
                        entry.at,
                        entry.cluster,
                        entry.node,
                        entry.severity.value,
                        entry.kind,
                        entry.text,
                        entry.actor,
                        entry.operation,
                        entry.details,
                    ),
                )
            case LagEntry(cluster, node, sample):
                series = self._series_id(cluster, node)
                self._db.execute(
                    "INSERT OR REPLACE INTO lag VALUES (?, ?, ?, ?)",
                    (series, int(sample.at * 1000), sample.seconds, sample.bytes),
                )
                self._db.execute(
                    "INSERT INTO lag_minute VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " seconds = coalesce(max(seconds, excluded.seconds), seconds, excluded.seconds),"
                    " bytes = coalesce(max(bytes, excluded.bytes), bytes, excluded.bytes)",
                    (series, int(sample.at // 60) * 60, sample.seconds, sample.bytes),
                )
            case FactEntry(cluster, key, None):
                self._db.execute("DELETE FROM fact WHERE cluster = ? AND key = ?", (cluster, key))
            case FactEntry(cluster, key, value, at):
                self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?)", (cluster, key, value, at))
            case EpochEntry(cluster, epoch):
                self._db.execute(
                    "INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        cluster,
                        epoch.epoch,
                        epoch.master,
                        epoch.previous,
                        epoch.worker,
                        epoch.at,
                        epoch.reason,
                    ),
                )

    def _series_id(self, cluster: str, node: str) -> int:
        known = self._series.get((cluster, node))
        if known is not None:
            return known
        self._db.execute("INSERT OR IGNORE INTO series (cluster, node) VALUES (?, ?)", (cluster, node))
        (found,) = self._db.execute(
            "SELECT id FROM series WHERE cluster = ? AND node = ?", (cluster, node)
        ).fetchone()
        self._series[(cluster, node)] = int(found)
        return int(found)

    def _check(self) -> None:
        """Raise DatabaseError for a broken file; a very large one is only checked for a few seconds."""
        deadline = time.monotonic() + _CHECK_SECONDS
        self._db.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        try:
            faults = [row[0] for row in self._db.execute("PRAGMA quick_check(3)")]
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorname != "SQLITE_INTERRUPT":
                raise
            faults = ["ok"]
        finally:
            self._db.set_progress_handler(None, 0)
        if faults != ["ok"]:
            damaged = sqlite3.DatabaseError("; ".join(faults))
            damaged.sqlite_errorname = "SQLITE_CORRUPT"
            raise damaged

    def _migrate(self) -> None:
        self._db.execute("CREATE TABLE IF NOT EXISTS journal_schema (version INTEGER NOT NULL)")
        row = self._db.execute("SELECT max(version) FROM journal_schema").fetchone()
        version = int(row[0] or 0)
        if version > SCHEMA_VERSION:
            raise NewerJournalError(version)
        for number in range(version, SCHEMA_VERSION):
            script = _MIGRATIONS[number]
            self._db.executescript(
                f"BEGIN IMMEDIATE; {script}; DELETE FROM journal_schema;"  # noqa: S608
                f" INSERT INTO journal_schema VALUES ({number + 1}); COMMIT;"
            )

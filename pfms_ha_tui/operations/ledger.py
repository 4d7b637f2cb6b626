"""The ledger: what every operation did, written before it is done.

SQLite, one file in the state directory. The engine writes each transition in a transaction of its own
that is on the disk (``synchronous=FULL``) before the step acts, so that a worker that was killed at any
instant knows afterwards where it was. Nothing here expires: an operation that was interrupted holds
its cluster until it is resumed, rolled back, or given up by a person.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.ledger_file import SCHEMA, error_code, way_out
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState, StepView

_BUSY_TIMEOUT = 5.0
_SHOWN_LINES = 200


class LedgerError(OperationError):
    """The ledger cannot be read or written: nothing may be done that it could not remember."""

    code = "ledger"


class Phase(StrEnum):
    """Which way an operation moves."""

    FORWARD = "forward"
    UNDO = "undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One step as the ledger keeps it."""

    name: str
    title: str
    node: str | None
    preview: tuple[str, ...]
    state: StepState = StepState.WAITING
    started_at: float | None = None
    finished_at: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation as the ledger keeps it."""

    id: int
    cluster: str
    kind: str
    title: str
    params: Mapping[str, object]
    actor: str
    dry_run: bool
    started_at: float
    steps: tuple[StepEntry, ...]
    state: OperationState = OperationState.RUNNING
    phase: Phase = Phase.FORWARD
    finished_at: float | None = None
    text: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    """key → JSON."""
    log: tuple[str, ...] = ()

    @property
    def view(self) -> OperationView:
        """As it is shown."""
        return OperationView(
            id=self.id,
            kind=self.kind,
            title=self.title,
            state=self.state,
            actor=self.actor,
            dry_run=self.dry_run,
            steps=tuple(
                StepView(
                    name=step.name,
                    title=step.title,
                    state=step.state,
                    preview=step.preview,
                    node=step.node,
                    started_at=step.started_at,
                    finished_at=step.finished_at,
                    text=step.text,
                )
                for step in self.steps
            ),
            started_at=self.started_at,
            finished_at=self.finished_at,
            text=self.text,
            log=self.log,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one transaction writes about one operation; what is ``None`` stays as it is."""

    state: OperationState | None = None
    phase: Phase | None = None
    text: str | None = None
    finished_at: float | None = None
    step: int | None = None
    """Place of the step that ``entry`` replaces."""
    entry: StepEntry | None = None
    facts: Mapping[str, object] | None = None
    lines: Sequence[tuple[float, str]] = ()


class Ledger:
    """The file. Its methods block for a moment (a disk's fsync) and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            LedgerError: it cannot be opened, or is no ledger.
        """
        self._lock = threading.Lock()
        self._path = path
        try:
            self._db = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(SCHEMA)
            self._file = path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"the ledger {path} cannot be opened: {error}", hint=way_out(error_code(error), path)
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def fault(self) -> str | None:
        """Why nothing could be remembered here now, as a clause; ``None`` when it is in order."""
        try:
            if self._path.stat().st_ino != self._file:
                return f"the ledger {self._path} was replaced under the running worker: restart it"
            with self.transaction() as db:
                found = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
                db.execute("PRAGMA user_version = 0")  # a write, or a full disk would not be noticed
        except FileNotFoundError:
            return f"the ledger {self._path} was moved away under the running worker: restart it"
        except LedgerError as error:
            return f"{error.reason} ({error.hint})"
        except OSError as error:
            return f"the ledger {self._path} cannot be looked at: {error.strerror}"
        if found == ["ok"]:
            return None
        return f"the ledger is damaged: {found[0]} ({way_out(sqlite3.SQLITE_CORRUPT, self._path)})"

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when the block has ended well.

        Raises:
            LedgerError: it could not be written.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                hint = way_out(error_code(error), self._path)
                raise LedgerError(f"the ledger cannot be used: {error}", hint=hint) from error
            except BaseException:
                self._roll_back()
                raise

    def begin(
        self,
        *,
        cluster: str,
        kind: str,
        title: str,
        params: Mapping[str, object],
        actor: str,
        dry_run: bool,
        steps: Sequence[StepEntry],
        at: float,
    ) -> int:
        """Enter a new operation, running; its id.

        Raises:
            OperationError: another operation holds the cluster (``busy``); dry runs hold nothing.
            LedgerError: it could not be written.
        """
        with self.transaction() as db:
            if not dry_run and (holder := self._holder(db, cluster)) is not None:
                raise OperationError(
                    f"operation {holder['id']} ({holder['title']}) is not finished yet",
                    code="busy",
                    hint="one operation per cluster at a time",
                )
            cursor = db.execute(
                "INSERT INTO operation"
                " (cluster, kind, title, params, actor, dry_run, state, phase, started_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    cluster,
                    kind,
                    title,
                    msgspec.json.encode(params).decode(),
                    actor,
                    int(dry_run),
                    OperationState.RUNNING,
                    Phase.FORWARD,
                    at,
                ),
            )
            operation = cursor.lastrowid
            if operation is None:
                raise LedgerError("the ledger gave no number to the operation")
            for place, step in enumerate(steps):
                self._put_step(db, operation, place, step)
        return operation

    def write(self, operation: int, change: Change) -> None:
        """Write one transition.

        Raises:
            LedgerError: it could not be written.
        """
        with self.transaction() as db:
            for column, value in (
                ("state", change.state),
                ("phase", change.phase),
                ("text", change.text),
                ("finished_at", change.finished_at),
            ):
                if value is not None:
                    db.execute(f"UPDATE operation SET {column} = ? WHERE id = ?", (value, operation))  # noqa: S608
            if change.step is not None and change.entry is not None:
                self._put_step(db, operation, change.step, change.entry)
            for key, fact in (change.facts or {}).items():
                db.execute(
                    "INSERT OR REPLACE INTO operation_fact (operation, key, value) VALUES (?, ?, ?)",
                    (operation, key, msgspec.json.encode(fact).decode()),
                )
            db.executemany(
                "INSERT INTO operation_line (operation, at, text) VALUES (?, ?, ?)",
                [(operation, at, text) for at, text in change.lines],
            )

    def entry(self, operation: int) -> Entry | None:
        """The operation of that id."""
        with self.transaction() as db:
            row = db.execute("SELECT * FROM operation WHERE id = ?", (operation,)).fetchone()
            return self._entry(db, row) if row else None

    def unfinished(self, cluster: str) -> Entry | None:
        """The operation that holds the cluster, running or interrupted."""
        with self.transaction() as db:
            row = self._holder(db, cluster)
            return self._entry(db, row) if row else None

    def recent(self, cluster: str, limit: int = 50) -> tuple[Entry, ...]:
        """The newest operations, newest first."""
        with self.transaction() as db:
            rows = db.execute(
                "SELECT * FROM operation WHERE cluster = ? ORDER BY id DESC LIMIT ?", (cluster, limit)
            ).fetchall()
            return tuple(self._entry(db, row) for row in rows)

    def forget_before(self, at: float) -> int:
        """Delete finished operations older than ``at`` (wall time); how many. Promotions and marks stay."""
        with self.transaction() as db:
            return db.execute("DELETE FROM operation WHERE finished_at < ?", (at,)).rowcount

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @staticmethod
    def _holder(db: sqlite3.Connection, cluster: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM operation WHERE cluster = ? AND dry_run = 0 AND finished_at IS NULL", (cluster,)
        ).fetchone()
        return row

    @staticmethod
    def _put_step(db: sqlite3.Connection, operation: int, place: int, step: StepEntry) -> None:
        db.execute(
            "INSERT OR REPLACE INTO operation_step"
            " (operation, place, name, title, node, preview, state, started_at, finished_at, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                operation,
                place,
                step.name,
                step.title,
                step.node,
                msgspec.json.encode(step.preview).decode(),
                step.state,
                step.started_at,
                step.finished_at,
                step.text,
            ),
        )

    @staticmethod
    def _entry(db: sqlite3.Connection, row: sqlite3.Row) -> Entry:
        operation = row["id"]
        steps = db.execute(
            "SELECT * FROM operation_step WHERE operation = ? ORDER BY place", (operation,)
        ).fetchall()
        facts = db.execute(
            "SELECT key, value FROM operation_fact WHERE operation = ?", (operation,)
        ).fetchall()
        lines = db.execute(
            "SELECT text FROM operation_line WHERE operation = ? ORDER BY id DESC LIMIT ?",
            (operation, _SHOWN_LINES),
        ).fetchall()
        return Entry(
            id=operation,
            cluster=row["cluster"],
            kind=row["kind"],
            title=row["title"],
            params=msgspec.json.decode(row["params"], type=dict[str, object]),
            actor=row["actor"],
            dry_run=bool(row["dry_run"]),
            state=OperationState(row["state"]),
            phase=Phase(row["phase"]),
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            text=row["text"],
            steps=tuple(
                StepEntry(
                    name=step["name"],
                    title=step["title"],
                    node=step["node"],
                    preview=msgspec.json.decode(step["preview"], type=tuple[str, ...]),
                    state=StepState(step["state"]),
                    started_at=step["started_at"],
                    finished_at=step["finished_at"],
                    text=step["text"],
                )
                for step in steps
            ),
            facts={fact["key"]: fact["value"] for fact in facts},
            log=tuple(line["text"] for line in reversed(lines)),
        )

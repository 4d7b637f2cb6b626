"""The ledger's file: its tables, and what to do when it cannot be used."""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS operation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    params TEXT NOT NULL,
    actor TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    state TEXT NOT NULL,
    phase TEXT NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL,
    text TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS one_operation_per_cluster ON operation (cluster)
    WHERE dry_run = 0 AND finished_at IS NULL;
CREATE INDEX IF NOT EXISTS operation_started ON operation (cluster, started_at);
CREATE TABLE IF NOT EXISTS operation_step (
    operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    node TEXT,
    preview TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at REAL,
    finished_at REAL,
    text TEXT,
    PRIMARY KEY (operation, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operation_fact (
    operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (operation, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operation_line (
    id INTEGER PRIMARY KEY,
    operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS line_operation ON operation_line (operation, id);
CREATE TABLE IF NOT EXISTS promotion (
    cluster TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    at REAL NOT NULL,
    operation INTEGER,
    automatic INTEGER NOT NULL,
    acknowledged_by TEXT,
    record TEXT NOT NULL,
    PRIMARY KEY (cluster, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    cluster TEXT NOT NULL,
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    operation INTEGER,
    PRIMARY KEY (cluster, node, kind)
) WITHOUT ROWID;
"""


def error_code(error: Exception) -> int | None:
    """SQLite's code of an error; ``None`` for any other."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code


def way_out(code: int | None, path: Path) -> str:
    """What to do about a ledger that cannot be used; it is never set aside by itself.

    It alone knows of an interrupted operation, and with an empty one a half-done failover would be forgotten.
    """
    if code == sqlite3.SQLITE_FULL:
        return f"make room on the file system of {path.parent}"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return (
            "it is damaged. If no failover, switchover or resync was interrupted, start without it: "
            f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}"
        )
    return f"check {path} and the rights on it"

"""Opening the journal's file, whatever state it is in, and a person's words for what the disk says."""

from __future__ import annotations

import errno
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.worker.store import Epoch, Store, is_damage, set_aside

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open journal and what it remembers."""

    store: Store
    aside: Path | None
    """Where a damaged one was moved, if there was one."""
    last_event_id: int
    facts: dict[tuple[str, str], str]
    epochs: dict[str, list[Epoch]]


def open_journal(path: Path, now: float, *, suspect: bool) -> Opened:
    """Open the journal; a damaged file is set aside first, also when only ``suspect`` says so.

    Raises:
        sqlite3.Error: the disk is full, away or read-only.
        NewerJournalError: it was written by a newer version of this program.
        OSError: a damaged file cannot be set aside.
    """
    aside = set_aside(path, now=now) if suspect else None
    try:
        store = Store(path)
    except sqlite3.DatabaseError as exc:
        if not is_damage(exc):
            raise
        log.error("the journal %s is damaged: %s", path, exc)
        aside = set_aside(path, now=now)
        store = Store(path)
    try:
        return Opened(store, aside, store.last_event_id(), store.facts(), store.epochs())
    except BaseException:
        store.close()
        raise


def error_name(exc: Exception) -> str:
    """SQLite's name of an error, such as ``SQLITE_FULL``; empty for any other."""
    return getattr(exc, "sqlite_errorname", None) or ""


def in_words(exc: Exception) -> str:
    """Why the journal cannot be written, as a clause."""
    name = error_name(exc)
    if name == "SQLITE_FULL" or getattr(exc, "errno", None) == errno.ENOSPC:
        return "the disk is full"
    if name.startswith("SQLITE_READONLY"):
        return "it is read-only"
    if name.startswith("SQLITE_BUSY"):
        return "another process holds it"
    if name.startswith("SQLITE_IOERR"):
        return "the disk is full or gives errors"
    return str(exc)

"""What the worker remembers: events, lag, epochs and facts, in memory at once and on the disk soon after.

Memory leads and the disk follows: nothing here waits for the disk but :meth:`Journal.add_epoch`, which
must. While the disk is full, away or read-only, everything is kept in memory (bounded) and written
later, in order; :attr:`Journal.trouble` says so. A damaged file is set aside, never deleted.

All methods belong to one event loop; the disk belongs to two threads, one that writes and one that reads.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.masking import mask
from pfms_ha_tui.worker.backlog import Backlog
from pfms_ha_tui.worker.opening import error_name, in_words, open_journal
from pfms_ha_tui.worker.protocol import EventsQuery, LagQuery, encode
from pfms_ha_tui.worker.store import (
    RAW_LAG_SECONDS,
    Entry,
    Epoch,
    EpochEntry,
    FactEntry,
    LagEntry,
    NewerJournalError,
    Store,
    is_damage,
)
from pfms_ha_tui.worker.threads import SerialThread, in_thread

log = logging.getLogger(__name__)

T = TypeVar("T")

LAG_DELAY = 5.0
"""Lag samples are written together after this many seconds."""
RETRY_DELAY = 2.0
RETENTION_EVERY = 3600.0
READ_TIMEOUT = 10.0
EVENTS_AT_ONCE = 10_000
"""No answer holds more events; the rest is asked for by ``before_id``."""


class Journal:
    """See the module. :meth:`open` first, :meth:`close` last."""

    def __init__(
        self,
        path: Path,
        *,
        event_days: int = 400,
        lag_days: int = 14,
        on_event: Callable[[Event], None] | None = None,
        now: Callable[[], float] = time.time,
    ):
        self.path = path
        self.notes: tuple[str, ...] = ()
        """Standing facts for the screen that do not pass by themselves."""
        self._event_days = event_days
        self._lag_days = lag_days
        self._on_event = on_event
        self._now = now
        self._writer = SerialThread("journal-writer")
        self._reader = SerialThread("journal-reader")
        self._store: Store | None = None
        self._read_store: Store | None = None
        self._backlog = Backlog()
        self._next_id = 1
        self._facts: dict[tuple[str, str], str] = {}
        self._epochs: dict[str, list[Epoch]] = {}
        self._loaded = False
        self._file: int | None = None
        """The inode of the file that was open last."""
        self._kept = False
        """Whether that file held events."""
        self._suspect = False
        """A write found damage: the next opening sets the file aside, whatever its check says."""
        self._unreadable = False
        """Whether a read found damage, which was told."""
        self._trouble: str | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retention: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def trouble(self) -> str | None:
        """Why nothing reaches the disk now, one sentence with what is kept in memory; ``None`` = it does."""
        if self._trouble is None:
            return None
        dropped = self._backlog.dropped
        lost = f", {words.plural(dropped, 'older one')} had to be dropped" if dropped else ""
        return (
            f"the journal cannot be written ({self._trouble}):"
            f" {words.plural(self._backlog.event_count, 'event is', 'events are')} kept in memory{lost}"
        )

    @property
    def loaded(self) -> bool:
        """Whether the facts and epochs on the disk were read; until then they are not known."""
        return self._loaded

    async def open(self) -> None:
        """Read what is remembered. A damaged file is set aside; a disk that is full is tried again later.

        Raises:
            WorkerError: the file is from a newer version of this program.
        """
        try:
            await self._connect()
        except NewerJournalError as exc:
            raise WorkerError(
                f"the journal {self.path} was written by a newer version of this program (schema {exc})",
                hint="install that version again, or move the file away to start without its history",
                code="journal",
            ) from exc
        except (sqlite3.Error, OSError) as exc:
            self._failed(exc)
        self._retention = asyncio.get_running_loop().call_later(60.0, self._retain)

    async def close(self, *, timeout: float = 1.5) -> None:
        """Write what is pending, as far as the disk takes it within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.flush()
        except TimeoutError:
            pass
        self._closed = True
        for timer in (self._timer, self._retention):
            if timer is not None:
                timer.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
        if len(self._backlog):
            log.error("%d entries of the journal were not written: %s", len(self._backlog), self._trouble)
        self._reader.submit(self._close_reader)
        if self._store is not None:
            self._writer.submit(self._store.close)
        stops = [partial(thread.stop, 0.5) for thread in (self._reader, self._writer)]
        if not all([await in_thread(stop, name="journal-end") for stop in stops]):
            log.error("the disk of the journal does not answer; its last entries may be lost")

    async def flush(self) -> None:
        """Wait until everything pending is on the disk, or the disk refuses it."""
        while len(self._backlog):
            await asyncio.shield(self._start_flush())
            if self._trouble is not None:
                return

    def add_event(
        self,
        *,
        cluster: str,
        severity: Severity,
        kind: str,
        text: str,
        node: str | None = None,
        actor: str = "worker",
        operation: int | None = None,
        details: str | None = None,
        at: float | None = None,
    ) -> Event:
        """A new line of the timeline; ``cluster`` is empty for what concerns the worker as a whole."""
        event = Event(
            id=self._next_id,
            at=self._now() if at is None else at,
            cluster=cluster,
            node=node,
            severity=severity,
            kind=kind,
            text=_plain(text),
            actor=actor,
            operation=operation,
            details=None if details is None else _plain(details),
        )
        self._next_id += 1
        self._put(event)
        if self._on_event is not None:
            self._on_event(event)
        return event

    def add_lag(self, cluster: str, node: str, sample: LagSample) -> None:
        """How far a slave is behind."""
        self._put(LagEntry(cluster, node, sample), delay=LAG_DELAY)

    async def events(self, query: EventsQuery) -> list[Event]:
        """The events asked for, newest first, written or not."""
        query = replace(query, limit=min(max(0, query.limit), EVENTS_AT_ONCE))
        unwritten = self._backlog.events(query)
        written = await self._read(lambda store: store.events(query))
        found = {event.id: event for event in (*written, *unwritten)}
        return sorted(found.values(), key=lambda event: event.id, reverse=True)[: query.limit]

    async def lag(self, query: LagQuery) -> list[LagSample]:
        """Lag since a moment, oldest first; the worst of each stretch when there are many samples."""
        unwritten = self._backlog.lag(query)
        now = self._now()
        written = await self._read(lambda store: store.lag(query, now=now))
        newest = written[-1].at if written else float("-inf")
        return [*written, *(sample for sample in unwritten if sample.at > newest)]

    def fact(self, cluster: str, key: str, kind: type[T]) -> T | None:
        """What is remembered under ``key``; ``None`` when nothing is, or it cannot be understood."""
        raw = self._facts.get((cluster, key))
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError as exc:
            log.warning("the fact %s of %s in the journal is not understood: %s", key, cluster, exc)
            return None

    def put_fact(self, cluster: str, key: str, value: object) -> None:
        """Remember ``value`` (anything msgspec encodes); ``None`` forgets it."""
        text = None if value is None else encode(value).decode()
        if text is None:
            self._facts.pop((cluster, key), None)
        else:
            self._facts[(cluster, key)] = text
        self._put(FactEntry(cluster, key, text, self._now()))

    def epochs(self, cluster: str) -> tuple[Epoch, ...]:
        """The promotions of a cluster, oldest first."""
        return tuple(self._epochs.get(cluster, ()))

    async def add_epoch(self, cluster: str, epoch: Epoch) -> None:
        """Record a promotion. On the disk when this returns: a promotion nobody remembers is not made.

        Raises:
            WorkerError: it could not be written, or the number is not above all known ones.
        """
        known = self._epochs.setdefault(cluster, [])
        if known and epoch.epoch <= known[-1].epoch:
            raise WorkerError(
                f"epoch {epoch.epoch} is not above {known[-1].epoch}, the newest one", code="journal"
            )
        entry = EpochEntry(cluster, epoch)
        self._put(entry)
        await self.flush()
        if self._backlog.remove(entry):
            raise WorkerError(
                f"the journal does not take the new epoch: {self._trouble}",
                code="journal",
                hint=f"make room on the file system of {self.path.parent}",
            )
        known.append(epoch)

    def _put(self, entry: Entry, *, delay: float = 0.0) -> None:
        self._backlog.add(entry)
        if self._closed or self._flushing is not None or self._trouble is not None:
            return  # written by the running flush, or by the next attempt
        if delay == 0.0:
            self._start_flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._start_flush)

    def _start_flush(self) -> asyncio.Task[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return self._flushing

    async def _flush(self) -> None:
        try:
            while len(self._backlog):
                if self._store is None:
                    await self._connect()
                store = self._store
                assert store is not None, "connected above"  # noqa: S101
                if await self._writer.run(lambda: store.moved):  # noqa: B023
                    await self._disconnect()
                    await self._connect()
                    continue
                batch = self._backlog.take()
                await self._writer.run(lambda: store.write(batch))  # noqa: B023 - awaited in the same turn
                self._backlog.done()
                self._kept = self._kept or any(isinstance(entry, Event) for entry in batch)
        except (sqlite3.Error, OSError, NewerJournalError) as exc:
            self._backlog.failed()
            self._suspect = isinstance(exc, sqlite3.Error) and is_damage(exc)
            if error_name(exc) not in ("SQLITE_FULL", "SQLITE_BUSY"):
                await self._disconnect()
            self._failed(exc)
        else:
            self._recovered()
        finally:
            self._flushing = None

    async def _connect(self) -> None:
        suspect, self._suspect = self._suspect, False
        opened = await self._writer.run(lambda: open_journal(self.path, self._now(), suspect=suspect))
        # The next file may get a deleted one's inode: what lost its events is another file too.
        other = self._loaded and (
            opened.store.file != self._file or (self._kept and not opened.last_event_id)
        )
        self._store, self._file, self._kept = opened.store, opened.store.file, opened.last_event_id > 0
        if opened.last_event_id >= self._next_id - self._backlog.event_count:
            self._backlog.renumber(opened.last_event_id)
            self._next_id += opened.last_event_id
        if not self._loaded:
            self._facts = opened.facts
            self._epochs = opened.epochs
            for entry in self._backlog.facts():
                if entry.value is None:
                    self._facts.pop((entry.cluster, entry.key), None)
                else:
                    self._facts[(entry.cluster, entry.key)] = entry.value
            self._loaded = True
        if opened.aside is not None:
            self._start_anew(f"the journal was damaged and set aside as {opened.aside}")
        elif other:
            self._start_anew(f"the journal {self.path} was moved away under the running worker")
        await self._reader.run(self._close_reader)

    def _start_anew(self, why: str) -> None:
        """The file is another one now: write again what is still known, and say so."""
        for (cluster, key), value in self._facts.items():
            self._backlog.add(FactEntry(cluster, key, value, self._now()))
        for cluster, epochs in self._epochs.items():
            for epoch in epochs:
                self._backlog.add(EpochEntry(cluster, epoch))
        self._note(f"{why}; a new one was started")

    def _note(self, note: str) -> None:
        self.notes = (*self.notes, note)
        log.error(note)
        self.add_event(cluster="", severity=Severity.WARNING, kind="journal_damaged", text=note)

    async def _disconnect(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await self._writer.run(store.close)

    def _failed(self, exc: Exception) -> None:
        first = self._trouble is None
        self._trouble = in_words(exc)
        if first:
            log.error("the journal cannot be written: %s", exc)
            self.add_event(
                cluster="",
                severity=Severity.WARNING,
                kind="journal_failing",
                text=f"the journal {self.path} cannot be written: {self._trouble}",
            )
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(RETRY_DELAY, self._start_flush)

    def _recovered(self) -> None:
        if self._trouble is None:
            return
        self._trouble = None
        dropped = self._backlog.dropped
        lost = words.plural(dropped, "event was lost", "events were lost") if dropped else "nothing was lost"
        self._backlog.dropped = 0
        log.warning("the journal is written again, %s", lost)
        self.add_event(
            cluster="",
            severity=Severity.INFO,
            kind="journal_recovered",
            text=f"the journal is written again; {lost}",
        )

    async def _read(self, read: Callable[[Store], list[T]]) -> list[T]:
        """What the disk knows; nothing while it cannot be read."""

        def job() -> list[T]:
            if self._read_store is None:
                self._read_store = Store(self.path, readonly=True)
            return read(self._read_store)

        if not self._loaded:
            return []
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await self._reader.run(job)
        except (sqlite3.Error, TimeoutError) as exc:
            log.warning("the journal cannot be read: %s", exc)
            if isinstance(exc, sqlite3.Error) and is_damage(exc) and not self._unreadable:
                self._unreadable = True
                self._note(f"a part of the journal {self.path} is damaged and cannot be shown: {exc}")
            return []

    def _close_reader(self) -> None:
        store, self._read_store = self._read_store, None
        if store is not None:
            store.close()

    def _retain(self) -> None:
        store, now = self._store, self._now()
        self._retention = asyncio.get_running_loop().call_later(RETENTION_EVERY, self._retain)
        if store is None:
            return

        def job() -> None:
            try:
                store.forget(
                    events_before=now - self._event_days * 86400.0,
                    lag_before=now - self._lag_days * 86400.0,
                    raw_lag_before=now - RAW_LAG_SECONDS,
                )
            except sqlite3.Error as exc:
                log.warning("old entries of the journal cannot be deleted: %s", exc)

        self._writer.submit(job)


def _plain(text: str) -> str:
    """Without secrets and without what UTF-8 cannot carry."""
    return mask(text).encode("utf-8", "replace").decode("utf-8")

"""What the journal still has to write: in order, bounded, and searchable as if it were written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.worker.protocol import EventsQuery, LagQuery
from pfms_ha_tui.worker.store import Entry, EpochEntry, FactEntry, LagEntry

KEEP_EVENTS = 20_000
KEEP_LAG = 100_000
"""Bounds of what is kept while the disk takes nothing; beyond them the oldest are dropped and counted."""


class Backlog:
    """Entries that wait, and the batch that is being written. Facts and epochs are few and never dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        """How many events were dropped for lack of memory."""
        self._facts: deque[FactEntry | EpochEntry] = deque()
        self._events: deque[Event] = deque()
        self._lag: deque[LagEntry] = deque(maxlen=KEEP_LAG)
        self._batch: tuple[Entry, ...] = ()

    def __len__(self) -> int:
        return len(self._batch) + len(self._facts) + len(self._events) + len(self._lag)

    def add(self, entry: Entry) -> None:
        """One more to write."""
        match entry:
            case Event():
                self._events.append(entry)
                if len(self._events) > KEEP_EVENTS:
                    self._events.popleft()
                    self.dropped += 1
            case LagEntry():
                self._lag.append(entry)
            case _:
                self._facts.append(entry)

    def take(self) -> tuple[Entry, ...]:
        """Everything that waits, as the batch that is written now; settle it by ``done`` or ``failed``."""
        self._batch = (*self._batch, *self._facts, *self._events, *self._lag)
        self._facts.clear()
        self._events.clear()
        self._lag.clear()
        return self._batch

    def done(self) -> None:
        """The batch is on the disk."""
        self._batch = ()

    def failed(self) -> None:
        """The batch is not on the disk: it waits again, before what came since."""
        newer = (*self._facts, *self._events, *self._lag)
        batch, self._batch = self._batch, ()
        self._facts.clear()
        self._events.clear()
        self._lag.clear()
        for entry in (*batch, *newer):
            self.add(entry)

    def remove(self, entry: Entry) -> bool:
        """Take back one waiting fact or epoch; whether it was still waiting."""
        for waiting in self._facts:
            if waiting is entry:
                self._facts.remove(waiting)
                return True
        return False

    def renumber(self, shift: int) -> None:
        """Add ``shift`` to the ids of all waiting events."""
        self._events = deque(replace(event, id=event.id + shift) for event in self._events)

    def facts(self) -> Iterator[FactEntry]:
        """The facts that are not written yet, oldest first."""
        return (entry for entry in chain(self._batch, self._facts) if isinstance(entry, FactEntry))

    def events(self, query: EventsQuery) -> list[Event]:
        """The unwritten events that are asked for, oldest first."""
        unwritten: Sequence[Event] = [entry for entry in self._batch if isinstance(entry, Event)]
        return [event for event in chain(unwritten, self._events) if query.matches(event)]

    def lag(self, query: LagQuery) -> list[LagSample]:
        """The unwritten samples that are asked for, oldest first."""
        return [
            entry.sample
            for entry in chain(self._batch, self._lag)
            if isinstance(entry, LagEntry)
            and (entry.cluster, entry.node) == (query.cluster, query.node)
            and entry.sample.at >= query.since
        ]

    @property
    def event_count(self) -> int:
        """How many events are not written yet."""
        return len(self._events) + sum(isinstance(entry, Event) for entry in self._batch)

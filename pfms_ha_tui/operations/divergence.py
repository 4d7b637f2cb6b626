"""What a node has that the master never got, and whether its binary log can be believed about that."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.operations.binlog_events import (
    HEADER_SIZE,
    HOUSEKEEPING,
    Event,
    Kind,
    Transaction,
    TransactionReader,
    summary,
)
from pfms_ha_tui.operations.binlog_reader import BinlogSession

_KEPT = 200
"""Transactions that are kept one by one; beyond it only the totals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What follows a position in a node's binary log."""

    start: BinlogPosition
    end: BinlogPosition
    size: int = 0
    """Bytes of events."""
    transactions: tuple[Transaction, ...] = ()
    """The first ones."""
    count: int = 0
    """All of them."""
    tables: dict[str, int | None] = field(default_factory=dict)
    """Rows per table; ``None`` = they could not be counted."""
    first_at: int | None = None
    """Seconds since 1970, by the node's clock."""
    last_at: int | None = None
    crashed: bool = False
    """Whether a file ends without a clean stop or rotation: the server died there."""
    restarted: bool = False
    """Whether the server was stopped or died since."""

    @property
    def diverged(self) -> bool:
        """Whether there is anything that others may not have."""
        return self.count > 0

    def sentence(self) -> str:
        """For a person: how many, when, which tables."""
        if not self.count:
            return f"nothing follows {self.start}"
        what = words.plural(self.count, "transaction")
        rows = ", ".join(
            f"{table} {'? rows' if number is None else words.plural(number, 'row')}"
            for table, number in self.tables.items()
        )
        return f"{what} after {self.start} ({self.window()}): {rows}"

    def window(self) -> str:
        """The times, UTC."""
        if self.first_at is None or self.last_at is None:
            return "times not known"
        first, last = (datetime.fromtimestamp(at, UTC) for at in (self.first_at, self.last_at))
        end = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
        return (
            f"{first:%Y-%m-%d %H:%M:%S} to {end} UTC" if first != last else f"{first:%Y-%m-%d %H:%M:%S} UTC"
        )


class Surveyor:
    """Goes through events and keeps what matters."""

    def __init__(self, start: BinlogPosition) -> None:
        self._start = start
        self._end = start
        self._reader = TransactionReader()
        self._kept: list[Transaction] = []
        self._count = 0
        self._size = 0
        self._tables: dict[str, int | None] = {}
        self._first_at: int | None = None
        self._last_at: int | None = None
        self._file = start.file
        self._clean_end = False
        self._crashed = False
        self._restarted = False

    def see(self, file: str, event: Event) -> None:
        """The next event."""
        if file != self._file:
            self._crashed |= not self._clean_end
            self._restarted |= not self._clean_end
            self._file, self._clean_end = file, False
        if event.end and event.kind not in HOUSEKEEPING:
            self._size += len(event.body) + HEADER_SIZE
        if event.end:
            self._end = BinlogPosition(
                file, max(event.end, self._start.pos if file == self._start.file else 0)
            )
        if event.kind == Kind.STOP:
            self._clean_end = self._restarted = True
        elif event.kind == Kind.ROTATE and event.end:
            self._clean_end = True
        elif event.end and event.kind != Kind.FORMAT_DESC:
            self._clean_end = False
        transaction = self._reader.feed(file, event)
        if transaction is not None:
            self._add(transaction)

    def done(self, *, whole_only: bool = False) -> Survey:
        """Everything seen; with ``whole_only`` without a transaction whose end is missing."""
        rest = self._reader.unfinished(self._end.file, self._end.pos)
        if rest is not None and not whole_only:
            self._add(rest)
        return Survey(
            start=self._start,
            end=self._end,
            size=self._size,
            transactions=tuple(self._kept),
            count=self._count,
            tables=self._tables,
            first_at=self._first_at,
            last_at=self._last_at,
            crashed=self._crashed,
            restarted=self._restarted,
        )

    def _add(self, transaction: Transaction) -> None:
        self._count += 1
        if len(self._kept) < _KEPT:
            self._kept.append(transaction)
        for table, rows in summary([transaction]).items():
            known = self._tables.get(table, 0)
            self._tables[table] = None if known is None or rows is None else known + rows
        if transaction.at:
            self._first_at = min(self._first_at or transaction.at, transaction.at)
            self._last_at = max(self._last_at or transaction.at, transaction.at)


async def survey(node: NodeSettings, cluster: ClusterSettings, start: BinlogPosition) -> Survey:
    """Read everything that follows ``start`` in a node's binary log.

    Raises:
        SqlError: that part of the log is gone (1236), or the node cannot be asked.
    """

    def read() -> Survey:
        with BinlogSession.open(node, cluster) as session:
            surveyor = Surveyor(start)
            for file, event in session.events(start):
                surveyor.see(file, event)
            return surveyor.done()

    return await asyncio.to_thread(read)

"""Binary log events, as far as it takes to tell transactions: when, which tables, how many rows.

Formats: MySQL internals documentation, "Binary Log Event" (header v4, TABLE_MAP_EVENT, ROWS_EVENT v1 and v2)
and MariaDB's "Replication Protocol" pages for its own event types. Rows are counted, not decoded: only the
length of each field matters. What cannot be counted (compressed events, an unknown type) is ``None``, not 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

_HEADER = struct.Struct("<IBIIIH")
HEADER_SIZE = 19


class Kind(IntEnum):
    """Event types that matter here; others are passed over."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    FORMAT_DESC = 15
    XID = 16
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    GTID_TAGGED = 42
    XA_PREPARE = 38
    MARIADB_GTID = 162
    QUERY_COMPRESSED = 165
    WRITE_COMPRESSED_V1 = 166
    UPDATE_COMPRESSED_V1 = 167
    DELETE_COMPRESSED_V1 = 168
    WRITE_COMPRESSED = 169
    UPDATE_COMPRESSED = 170
    DELETE_COMPRESSED = 171


HOUSEKEEPING = frozenset({3, 4, 15, 27, 28, 35, 160, 161, 163, 164})
"""No data: Stop, Rotate, Format_desc, Heartbeat, Ignorable, Previous_gtids; MariaDB's Annotate_rows,
Binlog_checkpoint, Gtid_list, Start_encryption."""
_ROWS = {
    Kind.WRITE_ROWS_V1: ("insert", False),
    Kind.UPDATE_ROWS_V1: ("update", False),
    Kind.DELETE_ROWS_V1: ("delete", False),
    Kind.WRITE_ROWS: ("insert", True),
    Kind.UPDATE_ROWS: ("update", True),
    Kind.DELETE_ROWS: ("delete", True),
}
_UNCOUNTABLE_ROWS = {
    Kind.PARTIAL_UPDATE_ROWS: "update",
    Kind.WRITE_COMPRESSED_V1: "insert",
    Kind.UPDATE_COMPRESSED_V1: "update",
    Kind.DELETE_COMPRESSED_V1: "delete",
    Kind.WRITE_COMPRESSED: "insert",
    Kind.UPDATE_COMPRESSED: "update",
    Kind.DELETE_COMPRESSED: "delete",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its header and body (without a checksum)."""

    at: int
    """Seconds since 1970, by the server's clock; 0 for events made up while sending."""
    kind: int
    end: int
    """Position after it in its file; 0 for events made up while sending."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """What one transaction did to one table."""

    table: str
    """``database.table``."""
    act: str
    """``insert`` ``update`` ``delete`` ``statement``."""
    rows: int | None
    """``None`` = they could not be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction of a binary log."""

    file: str
    end: int
    """Position after it."""
    at: int
    """Seconds since 1970, by the server's clock."""
    gtid: str | None
    changes: tuple[TableChange, ...]


def parse_event(raw: bytes, *, checksum: bool) -> Event:
    """An event out of its bytes.

    Raises:
        ValueError: too short, or not as long as it says.
    """
    if len(raw) < HEADER_SIZE:
        raise ValueError(f"an event of {len(raw)} bytes")
    at, kind, _, size, end, _ = _HEADER.unpack_from(raw)
    if size != len(raw):
        raise ValueError(f"an event of {len(raw)} bytes says it has {size}")
    # Format_desc carries its own algorithm at its end: it is left whole
    body = raw[HEADER_SIZE : len(raw) - 4 if checksum and kind != Kind.FORMAT_DESC else len(raw)]
    return Event(at, kind, end, body)


def rotate_target(event: Event) -> str:
    """The file that a Rotate event names."""
    return event.body[8:].rstrip(b"\0").decode("utf-8", "replace")


def has_checksums(event: Event) -> bool:
    """Whether a Format_desc event announces checksums on all events.

    Its last five bytes are the algorithm (1 = CRC32) and its own checksum, on every server since 5.6.1.
    """
    return len(event.body) >= 5 and event.body[-5] == 1


@dataclass(slots=True)
class _Open:
    gtid: str | None
    at: int = 0
    counts: dict[tuple[str, str], int | None] = field(default_factory=dict)

    def add(self, table: str, act: str, rows: int | None) -> None:
        known = self.counts.get((table, act), 0)
        self.counts[table, act] = None if known is None or rows is None else known + rows


class TransactionReader:
    """Puts events together into transactions."""

    def __init__(self) -> None:
        self._tables: dict[int, _Table] = {}
        self._open: _Open | None = None
        self._explicit = False

    def feed(self, file: str, event: Event) -> Transaction | None:
        """The next event of a file; the transaction that it completes, if any."""
        kind = event.kind
        if kind in HOUSEKEEPING:
            return None
        if kind in (Kind.GTID, Kind.ANONYMOUS_GTID, Kind.GTID_TAGGED, Kind.MARIADB_GTID):
            self._open = _Open(_gtid(event))
            # MariaDB's event opens the transaction unless flag 1 (standalone) is set
            self._explicit = kind == Kind.MARIADB_GTID and not event.body[12] & 1
            return None
        current = self._open = self._open or _Open(None)
        current.at = event.at or current.at
        if kind == Kind.QUERY:
            return self._query(file, event, current)
        if kind == Kind.QUERY_COMPRESSED:
            current.add("?", "statement", None)
            return None if self._explicit else self._close(file, event)
        if kind in (Kind.XID, Kind.XA_PREPARE):
            return self._close(file, event)
        if kind == Kind.TRANSACTION_PAYLOAD:
            current.add("?", "compressed", None)
            return self._close(file, event)
        if kind == Kind.TABLE_MAP:
            number = int.from_bytes(event.body[:6], "little")
            self._tables[number] = _Table.parse(event.body)
        elif kind in _ROWS or kind in _UNCOUNTABLE_ROWS:
            self._rows(event, current)
        return None

    def unfinished(self, file: str, end: int) -> Transaction | None:
        """What was begun and not ended, at the end of the log."""
        if self._open is None or not self._open.counts:
            return None
        return self._transaction(file, end, self._open)

    def _query(self, file: str, event: Event, current: _Open) -> Transaction | None:
        database, statement = _query_parts(event.body)
        word = statement.lstrip().upper()
        if word.startswith(("BEGIN", "XA START")):
            self._explicit = True
            return None
        if word.startswith(("COMMIT", "ROLLBACK", "XA COMMIT", "XA ROLLBACK")):
            return self._close(file, event)
        if word.startswith("SAVEPOINT"):
            return None
        current.add(f"{database}.?", "statement", None)
        return None if self._explicit else self._close(file, event)

    def _rows(self, event: Event, current: _Open) -> None:
        number = int.from_bytes(event.body[:6], "little")
        table = self._tables.get(number)
        name = table.name if table is not None else "?"
        if event.kind in _UNCOUNTABLE_ROWS:
            current.add(name, _UNCOUNTABLE_ROWS[Kind(event.kind)], None)
            return
        act, second = _ROWS[Kind(event.kind)]
        rows = table.count(event.body, update=act == "update", second=second) if table is not None else None
        current.add(name, act, rows)

    def _close(self, file: str, event: Event) -> Transaction | None:
        current, self._open = self._open, None
        self._explicit = False
        self._tables.clear()
        return self._transaction(file, event.end, current) if current is not None else None

    @staticmethod
    def _transaction(file: str, end: int, current: _Open) -> Transaction:
        changes = tuple(
            TableChange(table=table, act=act, rows=rows) for (table, act), rows in current.counts.items()
        )
        return Transaction(file=file, end=end, at=current.at, gtid=current.gtid, changes=changes)


def summary(transactions: Iterable[Transaction]) -> dict[str, int | None]:
    """Rows per table over many transactions, biggest first; ``None`` where not all could be counted."""
    totals: dict[str, int | None] = {}
    for transaction in transactions:
        for change in transaction.changes:
            known = totals.get(change.table, 0)
            totals[change.table] = None if known is None or change.rows is None else known + change.rows
    return dict(sorted(totals.items(), key=lambda item: (item[1] is not None, -(item[1] or 0), item[0])))


def _gtid(event: Event) -> str | None:
    body = event.body
    if event.kind == Kind.GTID and len(body) >= 25:
        uuid = body[1:17].hex()
        number = int.from_bytes(body[17:25], "little")
        return f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}:{number}"
    if event.kind == Kind.MARIADB_GTID and len(body) >= 13:
        sequence, domain = struct.unpack_from("<QI", body)
        return f"{domain}-?-{sequence}"
    return None


def _query_parts(body: bytes) -> tuple[str, str]:
    length, status = body[8], int.from_bytes(body[11:13], "little")
    start = 13 + status
    database = body[start : start + length].decode("utf-8", "replace")
    return database, body[start + length + 1 :][:64].decode("utf-8", "replace")


# Counting rows

_FIXED = {
    0x01: 1,  # TINY
    0x02: 2,  # SHORT
    0x03: 4,  # LONG
    0x04: 4,  # FLOAT
    0x05: 8,  # DOUBLE
    0x06: 0,  # NULL
    0x07: 4,  # TIMESTAMP
    0x08: 8,  # LONGLONG
    0x09: 3,  # INT24
    0x0A: 3,  # DATE
    0x0B: 3,  # TIME
    0x0C: 8,  # DATETIME
    0x0D: 1,  # YEAR
}
_BLOBS = frozenset({0xF9, 0xFA, 0xFB, 0xFC, 0xFF, 0xF5, 0xF2})
"""All BLOBs, GEOMETRY, JSON, VECTOR: a length of as many bytes as the metadata says comes first."""
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_META_SIZE = {
    **dict.fromkeys(_BLOBS, 1),
    0x04: 1,
    0x05: 1,
    0x0F: 2,  # VARCHAR
    0x10: 2,  # BIT
    0x11: 1,  # TIMESTAMP2
    0x12: 1,  # DATETIME2
    0x13: 1,  # TIME2
    0xF6: 2,  # NEWDECIMAL
    0xF7: 2,  # ENUM
    0xF8: 2,  # SET
    0xFD: 2,  # VAR_STRING
    0xFE: 2,  # STRING
}


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[tuple[int, bytes], ...]
    """(type, metadata)."""

    @classmethod
    def parse(cls, body: bytes) -> _Table:
        """A Table_map event."""
        at = 8
        database = body[at + 1 : at + 1 + body[at]]
        at += body[at] + 2
        table = body[at + 1 : at + 1 + body[at]]
        at += body[at] + 2
        count, at = _packed(body, at)
        kinds = body[at : at + count]
        at += count
        _, at = _packed(body, at)
        columns: list[tuple[int, bytes]] = []
        for kind in kinds:
            size = _META_SIZE.get(kind, 0)
            columns.append((kind, body[at : at + size]))
            at += size
        return cls(
            f"{database.decode('utf-8', 'replace')}.{table.decode('utf-8', 'replace')}", tuple(columns)
        )

    def count(self, body: bytes, *, update: bool, second: bool) -> int | None:
        """Rows of a rows event; ``None`` when a field's length is not known."""
        at = 8
        if second:
            at += int.from_bytes(body[8:10], "little")
        width, at = _packed(body, at)
        bitmap = (width + 7) // 8
        images = [_present(body[at : at + bitmap], width)]
        at += bitmap
        if update:
            images.append(_present(body[at : at + bitmap], width))
            at += bitmap
        if width != len(self.columns):
            return None
        rows = 0
        try:
            while at < len(body):
                for image in images:
                    at = self._skip(body, at, image)
                rows += 1
        except (ValueError, IndexError):
            return None
        return rows if at == len(body) else None

    def _skip(self, body: bytes, at: int, image: list[int]) -> int:
        nulls = body[at : at + (len(image) + 7) // 8]
        at += len(nulls)
        for place, column in enumerate(image):
            if not nulls[place // 8] >> (place % 8) & 1:
                at += _length(*self.columns[column], body, at)
        return at


def _present(bitmap: bytes, width: int) -> list[int]:
    return [column for column in range(width) if bitmap[column // 8] >> (column % 8) & 1]


def _packed(body: bytes, at: int) -> tuple[int, int]:
    first = body[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(body[at + 1 : at + 1 + size], "little"), at + 1 + size


def _length(kind: int, meta: bytes, body: bytes, at: int) -> int:
    """Bytes of one field that is not NULL."""
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _BLOBS:
        return meta[0] + int.from_bytes(body[at : at + meta[0]], "little")
    if kind in (0x0F, 0xFD):
        longest = int.from_bytes(meta, "little")
        return 1 + body[at] if longest < 256 else 2 + int.from_bytes(body[at : at + 2], "little")
    if kind == 0xFE:
        return _string(meta, body, at)
    if kind in (0xF7, 0xF8):
        return meta[1]
    if kind == 0xF6:
        return _decimal(meta[0], meta[1])
    if kind == 0x10:
        return meta[1] + (1 if meta[0] else 0)
    fraction = (meta[0] + 1) // 2 if meta else 0
    base = {0x11: 4, 0x12: 5, 0x13: 3}.get(kind)
    if base is None:
        raise ValueError(f"a field of type {kind}")
    return base + fraction


def _string(meta: bytes, body: bytes, at: int) -> int:
    real, size = meta[0], meta[1]
    if real in (0xF7, 0xF8):
        return size
    # the two missing bits of the length hide, inverted, in the type
    longest = size | ((real & 0x30) ^ 0x30) << 4
    return 1 + body[at] if longest < 256 else 2 + int.from_bytes(body[at : at + 2], "little")


def _decimal(precision: int, scale: int) -> int:
    whole = precision - scale
    return whole // 9 * 4 + _DIGITS[whole % 9] + scale // 9 * 4 + _DIGITS[scale % 9]


def events_of(data: bytes, *, checksum: bool) -> Iterator[Event]:
    """Events out of the bytes of a binary log file, from a position where an event begins.

    Ends quietly at an incomplete event: a crash leaves one.

    Args:
        data: without the four magic bytes of a file's beginning.
        checksum: whether events carry checksums, unless a Format_desc event comes first and says so.
    """
    at = 0
    while at + HEADER_SIZE <= len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        if size < HEADER_SIZE or at + size > len(data):
            return
        event = parse_event(data[at : at + size], checksum=checksum)
        if event.kind == Kind.FORMAT_DESC:
            checksum = has_checksums(event)
        yield event
        at += size

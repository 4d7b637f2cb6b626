"""SQL texts of rows: written for archives and for the master, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pfms_ha_tui.nodes.dialect import quote_name

STATEMENT_BYTES = 512 << 10
"""About how long a statement in an archive is; any client and server takes it."""


def insert_head(table: str, columns: Sequence[str]) -> bytes:
    """The beginning of an INSERT, up to its rows."""
    names = ",".join(map(quote_name, columns))
    return f"INSERT INTO {quote_name(table)} ({names}) VALUES\n".encode()


def statements(head: bytes, rows: Sequence[bytes], longest: int | None = None) -> Iterator[bytes]:
    """Rows' literals as INSERT statements without a semicolon, each at most ``longest`` bytes if it can be.

    A single longer row makes a statement of its own. ``None`` = :data:`STATEMENT_BYTES`.
    """
    longest = longest or STATEMENT_BYTES
    start = size = 0
    total = sum(map(len, rows)) + 2 * len(rows)
    if total <= longest:
        if rows:
            yield head + b",\n".join(rows)
        return
    for at, row in enumerate(rows):
        if size and size + len(row) + 2 > longest:
            yield head + b",\n".join(rows[start:at])
            start, size = at, 0
        size += len(row) + 2
    if start < len(rows):
        yield head + b",\n".join(rows[start:])


def script(head: bytes, rows: Sequence[bytes]) -> Iterator[bytes]:
    """Rows as a text for the mysql client."""
    for statement in statements(head, rows):
        yield statement
        yield b";\n"


def rows_of(text: bytes) -> list[bytes]:
    """The rows' literals of a text made by :func:`script`: no literal holds a newline."""
    rows: list[bytes] = []
    for statement in text.split(b";\n"):
        if statement:
            rows += statement[statement.index(b"\n") + 1 :].split(b",\n")
    return rows


def comment(text: str) -> bytes:
    """Text from anywhere as SQL comment lines."""
    lines = text.replace("\r", " ").replace("\0", " ").split("\n")
    return "".join(f"-- {line}\n" if line else "--\n" for line in lines).encode("utf-8", "surrogateescape")


def commented(rows: Sequence[bytes]) -> bytes:
    """Rows' literals as comment lines: seen by people, run by nobody."""
    return b"-- " + b"\n-- ".join(rows) + b"\n" if rows else b""


def uncommented(text: bytes) -> list[bytes]:
    """The rows' literals of :func:`commented`."""
    if not text:
        return []
    return text[3:-1].split(b"\n-- ")

"""Rows and a checksum that does not depend on their order: what sides can compare without reading rows.

A row's checksum is the first 64 bits of the SHA-256 of its literal (:func:`checksum_sql` makes the same in
the server). Those of many rows are added up modulo 2^64: added, not XORed, so that two equal rows do not
cancel each other out. Different rows, equally many of them, have equal sums by chance once in 2^64 (5e-20)
comparisons, whatever the rows look like. CRC-32 would not do: it is linear, and two modules that swapped
their values within a second - 0 and 1, every day's case - would look equal once in some 16,000 times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

_MODULUS = 1 << 64
_UNREADABLE = 10**30
"""More than the sum of any rows a server can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Rows, and the sum of their checksums modulo 2^64."""

    rows: int = 0
    checksum: int = 0

    def plus(self, rows: Sequence[bytes]) -> Sums:
        """With these rows' literals too."""
        number = int.from_bytes
        added = sum([number(sha256(row).digest()[:8]) for row in rows])
        return self + Sums(rows=len(rows), checksum=added)

    def __add__(self, other: Sums) -> Sums:
        return Sums(rows=self.rows + other.rows, checksum=(self.checksum + other.checksum) % _MODULUS)


def total(parts: Iterable[Sums]) -> Sums:
    """All together."""
    whole = Sums()
    for part in parts:
        whole += part
    return whole


def checksum_sql(literal: str, *, certain: bool) -> str:
    """Expression for the sum of all rows' checksums; read it with :func:`told`.

    Args:
        literal: Expression for a row's literal.
        certain: Whether the literal is never NULL. A row too long for the server to render counts as a
            number that no sum reaches; were it left out, two different rows would look equal.
    """
    one = f"CAST(CONV(LEFT(SHA2({literal},256),16),16,10) AS UNSIGNED)"
    return f"SUM({one})" if certain else f"SUM(IFNULL({one},{_UNREADABLE}))"


def told(rows: int, checksum: int | None) -> Sums | None:
    """What a server says of its rows; ``None`` = it could not make the checksum of each of them."""
    if rows == 0:
        return Sums()
    if checksum is None or checksum >= _UNREADABLE:
        return None
    return Sums(rows=rows, checksum=checksum % _MODULUS)

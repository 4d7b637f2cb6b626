"""Sets of global transaction identifiers, of both families of servers.

MySQL keeps a *set*: per server uuid (and tag, since 8.3) intervals of numbers, written
``3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:tag:1-3`` (MySQL manual, "GTID Sets"). MariaDB keeps a
*position*: per replication domain the last number, with the server that wrote it, written
``0-1-100,1-2-5`` (MariaDB knowledge base, "Global Transaction ID"); everything below the number is
taken as included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL = re.compile(r"([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?")
_TRIPLE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})")
_LAST = 2**63 - 2
"""The greatest transaction number MySQL hands out."""

Interval = tuple[int, int]
"""First and last number, both included."""
Key = tuple[str, str]
"""Server uuid (lower case) and tag (``""`` without one)."""


@dataclass(frozen=True, slots=True)
class GtidSet:
    """A MySQL GTID set. Intervals are sorted, disjoint and never adjacent; no key is empty."""

    intervals: Mapping[Key, tuple[Interval, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Reads what a server prints; line breaks and blanks do not count.

        Raises:
            ValueError: The text is not a GTID set; the message quotes it.
        """
        found: dict[Key, list[Interval]] = {}
        for part in text.split(","):
            if not part.strip():
                continue
            uuid, *rest = (piece.strip().lower() for piece in part.split(":"))
            if _UUID.fullmatch(uuid) is None or not rest:
                raise _not_a_set(text)
            tag = ""
            seen = 0
            for piece in rest:
                if match := _INTERVAL.fullmatch(piece):
                    first, last = int(match[1]), int(match[2] or match[1])
                    if not 1 <= first <= last <= _LAST:
                        raise _not_a_set(text)
                    found.setdefault((uuid, tag), []).append((first, last))
                    seen += 1
                elif _TAG.fullmatch(piece) and (seen or not tag):
                    tag, seen = piece, 0
                else:
                    raise _not_a_set(text)
            if not seen:
                raise _not_a_set(text)
        return cls({key: _normal(found[key]) for key in sorted(found)})

    def union(self, other: GtidSet) -> GtidSet:
        """Everything in either."""
        keys = sorted({*self.intervals, *other.intervals})
        return GtidSet(
            {key: _normal([*self.intervals.get(key, ()), *other.intervals.get(key, ())]) for key in keys}
        )

    def subtract(self, other: GtidSet) -> GtidSet:
        """Everything in this one that is not in the other."""
        left = {key: _minus(own, other.intervals.get(key, ())) for key, own in self.intervals.items()}
        return GtidSet({key: intervals for key, intervals in left.items() if intervals})

    def contains(self, other: GtidSet) -> bool:
        """Whether the other is a subset of this one."""
        return not other.subtract(self)

    def without(self, uuid: str) -> GtidSet:
        """This one without the transactions that the server of that uuid wrote."""
        return GtidSet({key: own for key, own in self.intervals.items() if key[0] != uuid.lower()})

    @property
    def count(self) -> int:
        """How many transactions it names."""
        return sum(last - first + 1 for own in self.intervals.values() for first, last in own)

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __str__(self) -> str:
        parts: list[str] = []
        by_uuid: dict[str, list[str]] = {}
        for (uuid, tag), own in self.intervals.items():
            pieces = by_uuid.setdefault(uuid, [])
            pieces += [tag] if tag else []
            pieces += [str(first) if first == last else f"{first}-{last}" for first, last in own]
        for uuid, pieces in by_uuid.items():
            parts.append(":".join([uuid, *pieces]))
        return ",".join(parts)


@dataclass(frozen=True, slots=True)
class Last:
    """The last transaction of one MariaDB domain."""

    server_id: int
    number: int


@dataclass(frozen=True, slots=True)
class MariadbPosition:
    """A MariaDB GTID position: domain → last transaction."""

    domains: Mapping[int, Last] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> MariadbPosition:
        """Reads ``gtid_current_pos`` and its like.

        Raises:
            ValueError: The text is not a position, or names a domain twice; the message quotes it.
        """
        domains: dict[int, Last] = {}
        for part in text.split(","):
            if not part.strip():
                continue
            match = _TRIPLE.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"{text!r} is not a MariaDB GTID position")
            domain, server_id, number = (int(piece) for piece in match.groups())
            if domain >= 2**32 or server_id >= 2**32 or number >= 2**64:
                raise ValueError(f"{text!r} is not a MariaDB GTID position")
            if domain in domains:
                raise ValueError(f"{text!r} names the domain {domain} twice")
            domains[domain] = Last(server_id, number)
        return cls(dict(sorted(domains.items())))

    def contains(self, other: MariadbPosition) -> bool:
        """Whether this one has got at least as far in every domain of the other."""
        return not other.subtract(self)

    def union(self, other: MariadbPosition) -> MariadbPosition:
        """The further of the two in every domain; on a tie this one's."""
        domains = dict(self.domains)
        for domain, last in other.domains.items():
            if domain not in domains or domains[domain].number < last.number:
                domains[domain] = last
        return MariadbPosition(dict(sorted(domains.items())))

    def subtract(self, other: MariadbPosition) -> MariadbPosition:
        """The domains in which this one has got further than the other.

        The same number written by two servers is two transactions: that counts as further too.
        """
        return MariadbPosition(
            {
                domain: last
                for domain, last in self.domains.items()
                if (theirs := other.domains.get(domain)) is None
                or last.number > theirs.number
                or (last.number == theirs.number and last.server_id != theirs.server_id)
            }
        )

    def without(self, server_id: int) -> MariadbPosition:
        """This one without the domains in which that server wrote last."""
        return MariadbPosition(
            {key: last for key, last in self.domains.items() if last.server_id != server_id}
        )

    def __bool__(self) -> bool:
        return bool(self.domains)

    def __str__(self) -> str:
        return ",".join(f"{key}-{last.server_id}-{last.number}" for key, last in self.domains.items())


def _not_a_set(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a GTID set")


def _normal(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _minus(own: Iterable[Interval], other: Iterable[Interval]) -> tuple[Interval, ...]:
    left: list[Interval] = []
    taken = list(other)
    for first, last in own:
        for start, end in taken:
            if end < first or start > last:
                continue
            if start > first:
                left.append((first, start - 1))
            first = end + 1
            if first > last:
                break
        if first <= last:
            left.append((first, last))
    return tuple(left)

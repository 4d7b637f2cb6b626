"""Where a server is in the stream of changes: binary log positions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import total_ordering

_NUMBERED = re.compile(r"^(?P<base>.*)\.(?P<number>\d+)$")


@total_ordering
@dataclass(frozen=True, slots=True)
class BinlogPosition:
    """A byte offset in one binary log file, e.g. ``binlog.000018:1135140``.

    Ordered by the *number* of the file, not by its text: ``binlog.999999`` is followed by
    ``binlog.1000000``. Positions of different bases (``binlog`` and ``mysql-bin``) are not
    comparable; asking raises :class:`ValueError`, as an answer would be a guess.
    """

    file: str
    pos: int

    @property
    def base(self) -> str:
        """The part of the file name before the number."""
        return self._split()[0]

    @property
    def number(self) -> int:
        """The sequence number of the file."""
        return self._split()[1]

    def comparable(self, other: BinlogPosition) -> bool:
        """Whether both stand in the same series of files."""
        try:
            return self.base == other.base
        except ValueError:
            return False

    def __lt__(self, other: BinlogPosition) -> bool:
        if not self.comparable(other):
            raise ValueError(f"{self} and {other} are not in the same series of binary logs")
        return (self.number, self.pos) < (other.number, other.pos)

    def __str__(self) -> str:
        return f"{self.file}:{self.pos}"

    def _split(self) -> tuple[str, int]:
        match = _NUMBERED.match(self.file)
        if match is None:
            raise ValueError(f"{self.file!r} is not the name of a binary log file")
        return match["base"], int(match["number"])


def bytes_between(executed: BinlogPosition, master: BinlogPosition, sizes: Mapping[str, int]) -> int | None:
    """Bytes of the master's binary log from ``executed`` up to ``master``.

    Args:
        executed: How far a slave has applied, in the master's coordinates.
        master: How far the master has written.
        sizes: The master's files → bytes (``SHOW BINARY LOGS``). The last file named there was still
            growing when it was read, so its size counts for nothing.

    Returns:
        ``None`` when not computable: another series of files, a file that was purged or whose final
        size is not known yet, or a slave that is ahead of its master.
    """
    if not executed.comparable(master) or executed > master:
        return None
    if executed.number == master.number:
        return master.pos - executed.pos
    final = _final_sizes(master.base, sizes)
    total = master.pos
    for number in range(executed.number, master.number):
        length = final.get(number)
        if length is None:
            return None
        total += length
    return total - executed.pos if executed.pos <= final[executed.number] else None


def _final_sizes(base: str, sizes: Mapping[str, int]) -> dict[int, int]:
    numbered: dict[int, int] = {}
    for file, length in sizes.items():
        position = BinlogPosition(file, 0)
        try:
            if position.base == base:
                numbered[position.number] = length
        except ValueError:
            continue
    numbered.pop(max(numbered, default=0), None)
    return numbered

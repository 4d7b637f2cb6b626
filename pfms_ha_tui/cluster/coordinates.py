"""Where a server is in the stream of changes: binary log positions."""

from __future__ import annotations

import re
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

"""What the master has, slice by slice, looked at while the slice before is being worked on.

A slice of which both sides have equally many rows is first compared by checksums that the servers make: if
they are equal, its rows need not be read. That is most of a window that was chosen generously, and all of one
that was merged already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from pfms_ha_tui.operations.merge.compare import Present, Slice, at_once
from pfms_ha_tui.operations.merge.inventory import Known
from pfms_ha_tui.operations.merge.reading import Reader
from pfms_ha_tui.operations.merge.sums import Sums
from pfms_ha_tui.operations.merge.tables import Layout

_MOST_WARY = 15


class Summed(Slice, Protocol):
    """A slice of the losing side that can tell of its rows without reading them."""

    def sums(self) -> Sums | None:
        """Rows and checksum; ``None`` when they are not known."""


S = TypeVar("S", bound=Summed)


def summable(layout: Layout, known: Known) -> bool:
    """Whether sums of both sides tell anything: equal literals have to be equal rows, of the same thing."""
    return layout.source is None and known.distinct


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one slice."""

    same: int | None = None
    """Both sides are equal: so many rows."""
    found: Present | None = None
    """The master's rows; ``None`` when they take several passes, or need not be read."""


class Lookahead(Generic[S]):
    """Looks at slices in turn, one ahead of the caller; a context, at whose end nothing runs any more.

    Args:
        reader: Of the master, on a session that nobody else uses meanwhile.
        slices: In turn. Their :meth:`Summed.sums` and :attr:`Slice.rows` are asked for on other threads,
            their iterator and their rows on the caller's.
        layout: Of the table.
        known: Which modules and agents are the same on both sides.
    """

    def __init__(self, reader: Reader, slices: Iterable[S], layout: Layout, known: Known) -> None:
        self._reader = reader
        self._slices = slices
        self._summed = summable(layout, known)
        # Two threads: the sums of both sides are made at the same time.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="look ahead")
        self._wary = self._unasked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[S, Look]]:
        last: tuple[S, Future[Look]] | None = None
        for one in self._slices:
            if last is None:
                last = one, self._pool.submit(self._look, one)
                continue
            before, look = last[0], last[1].result()
            last = one, self._pool.submit(self._look, one)
            yield before, look
        if last is not None:
            yield last[0], last[1].result()

    def _look(self, one: S) -> Look:
        if self._summed and self._hopeful():
            rows = self._reader.count(one.start, one.end)
            if rows and rows == one.rows:
                if self._same(one, rows):
                    self._wary = 0
                    return Look(same=rows)
                # Where one slice differs with equally many rows, as both sides measured the same modules,
                # the next ones will: to sum them up would be in vain.
                self._wary = min(2 * self._wary + 1, _MOST_WARY)
                self._unasked = self._wary
        return Look(found=at_once(self._reader, one.start, one.end))

    def _hopeful(self) -> bool:
        if self._unasked:
            self._unasked -= 1
            return False
        return True

    def _same(self, one: S, rows: int) -> bool:
        coming = self._pool.submit(one.sums)
        there = self._reader.sums(one.start, one.end)
        here = coming.result()
        # The sums carry numbers of their own: rows may have come or gone since they were counted.
        return here is not None and here == there and here.rows == rows

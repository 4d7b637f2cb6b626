"""The window of a merge: which seconds, how a person writes them, and what is proposed. Pure.

A window is [start, end) in seconds since 1970, the unit of ``utimestamp``. People write local
date-times; a local time that a change of the clocks leaves out is refused, one that comes twice is
asked about. A window that is too wide costs time only: what the master already has is not added again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum

from pfms_ha_tui.operations.merge.errors import MergeError

_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_OFFSET = re.compile(r"(?P<local>.+?) ?(?P<offset>Z|[+-]\d\d:?\d\d)")
_LATEST = 1 << 40
"""Far beyond any date; a window stays within what every server can compare."""
MARGIN = 120
"""Seconds a proposal is widened on both ends: data reaches the database later than it was measured."""


class WindowError(MergeError):
    """A window, or one of its ends, is not usable as it was written."""

    code = "window"


class GapError(WindowError):
    """A local time that does not exist: the clocks were put forward over it."""

    code = "window_gap"


class Twice(StrEnum):
    """Which of two moments is meant when the clocks were put back and a local time came twice."""

    FIRST = "first"
    SECOND = "second"


class TwiceError(WindowError):
    """A local time that exists twice; ask which one, with :attr:`first` and :attr:`second`."""

    code = "window_twice"

    def __init__(self, reason: str, *, first: int, second: int, hint: str | None = None):
        super().__init__(reason, hint=hint)
        self.first = first
        self.second = second


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in seconds since 1970.

    Raises:
        WindowError: it ends before it starts, or begins before 1970.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= _LATEST:
            raise WindowError(
                "the window ends before it starts" if self.end < self.start else "the window is out of range",
                hint="give a start that is earlier than the end",
            )

    @property
    def seconds(self) -> int:
        """Its length."""
        return self.end - self.start

    @property
    def empty(self) -> bool:
        """Whether no second lies in it."""
        return self.start == self.end

    def holds(self, moment: int) -> bool:
        """Whether a ``utimestamp`` lies in it."""
        return self.start <= moment < self.end

    def widened(self, seconds: int) -> Window:
        """The window with that much more on both ends, not before 1970."""
        return Window(max(0, self.start - seconds), min(_LATEST, self.end + seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMoment:
    """A moment as a person edits it."""

    text: str
    """``2026-10-25 02:30:00``."""
    zone: str
    """Name of the zone at that moment: ``CEST``."""
    offset: str
    """``+02:00``."""
    twice: Twice | None = None
    """Set when this local time comes twice."""

    def __str__(self) -> str:
        return f"{self.text} {self.zone} ({self.offset})"


def show(moment: int, zone: tzinfo) -> LocalMoment:
    """A moment in local time; read back by :func:`read` it gives the same moment.

    Raises:
        WindowError: beyond the calendar.
    """
    try:
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)).astimezone(zone)
    except (OverflowError, ValueError):
        raise WindowError("the moment is beyond the calendar") from None
    twice = None
    if _instant(local, fold=0) != _instant(local, fold=1):
        twice = Twice.SECOND if local.fold else Twice.FIRST
    shift = local.utcoffset() or timedelta()
    sign, minutes = ("-", -shift) if shift < timedelta() else ("+", shift)
    hours, rest = divmod(int(minutes.total_seconds()) // 60, 60)
    return LocalMoment(
        text=local.strftime("%Y-%m-%d %H:%M:%S"),
        zone=local.tzname() or "",
        offset=f"{sign}{hours:02d}:{rest:02d}",
        twice=twice,
    )


def read(text: str, zone: tzinfo, twice: Twice | None = None) -> int:
    """The moment that a person wrote as local date-time, or as seconds since 1970 with a leading ``@``.

    Args:
        text: ``2026-10-25 02:30[:00]``, with ``T`` instead of the blank, or the date alone (midnight). With
            an offset behind it (``+02:00``, ``Z``) it is that moment, whatever the zone.
        zone: Whose local time.
        twice: Which one, if that local time comes twice.

    Raises:
        WindowError: not a date-time.
        GapError: the clocks were put forward over it.
        TwiceError: it comes twice, and ``twice`` does not tell which is meant.
    """
    plain = " ".join(text.split())
    if plain.startswith("@") and plain[1:].isascii() and plain[1:].isdigit():
        return min(int(plain[1:]), _LATEST)
    told = _OFFSET.fullmatch(plain)
    if told is not None and ":" in told["local"]:
        return _instant(_parse(told["local"]).replace(tzinfo=_zone_of(told["offset"])), fold=0)
    local = _parse(plain).replace(tzinfo=zone)
    first, second = _instant(local, fold=0), _instant(local, fold=1)
    if first == second:
        return first
    if _back(first, zone) != local.replace(tzinfo=None):
        # Around a gap the two readings lie on either side of it, and neither comes back as written.
        valid = show(max(first, second), zone)
        raise GapError(
            f"{plain} does not exist in this zone: the clocks were put forward",
            hint=f"the same moment by the new time is {valid.text}",
        )
    if twice is None:
        raise TwiceError(
            f"{plain} comes twice in this zone: the clocks were put back",
            first=first,
            second=second,
            hint=f"write {spelled(first, zone)!r} for the first or {spelled(second, zone)!r} for the second",
        )
    return first if twice is Twice.FIRST else second


def spelled(moment: int, zone: tzinfo) -> str:
    """A moment as text that :func:`read` can take for no other: ``2026-10-25 02:30:00 +02:00``.

    Raises:
        WindowError: beyond the calendar.
    """
    local = show(moment, zone)
    return f"{local.text} {local.offset}"


def _zone_of(offset: str) -> tzinfo:
    if offset == "Z":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if hours > 23 or minutes > 59:
        raise WindowError(f"{offset} is not an offset from UTC", hint="write it as +02:00")
    return timezone(timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1))


def _parse(plain: str) -> datetime:
    for pattern in _FORMATS:
        try:
            return datetime.strptime(plain, pattern)
        except ValueError:
            continue
    raise WindowError(f"{plain[:40]!r} is not a date and time", hint="write it as 2026-03-29 14:05:00")


def _instant(local: datetime, *, fold: int) -> int:
    try:
        return math.floor(local.replace(fold=fold).timestamp())
    except (OverflowError, ValueError):
        raise WindowError("the date is beyond the calendar") from None


def _back(moment: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).replace(tzinfo=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTimes:
    """What the journal knows of the split, wall time; ``None`` = not known."""

    began: float | None = None
    """Last moment at which one node was master and the other followed."""
    ended: float | None = None
    """When the losing side was made read-only; ``None`` while it still takes writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A window with the reasons for its ends."""

    window: Window
    reasons: tuple[str, ...]
    certain: bool
    """Whether journal or data told both ends; else a person should look twice."""


def propose(
    now: float,
    journal: SplitTimes,
    *,
    skew: float = 0.0,
    differing: Window | None = None,
    margin: int = MARGIN,
) -> Proposal | None:
    """The window to start from; ``None`` when neither the journal nor the data say anything.

    Args:
        now: Wall time.
        journal: What was noted.
        skew: Difference between the nodes' clocks, seconds; both ends give way by as much.
        differing: From the first to the last minute in which the two sides' data differ.
        margin: Further seconds on both ends.
    """
    starts: list[float] = []
    ends: list[float] = []
    reasons: list[str] = []
    if journal.began is not None:
        starts.append(journal.began)
        reasons.append("the journal knows when the nodes were last in step")
    if differing is not None:
        starts.append(differing.start)
        ends.append(differing.end)
        reasons.append("the data of the two nodes differ from then on")
    if journal.ended is not None:
        ends.append(journal.ended)
        reasons.append("the losing node took no writes any more after the end")
    if not starts:
        return None
    if journal.ended is None:
        # Nobody says that it has stopped: then everything up to now.
        ends.append(now)
        reasons.append("the losing node may have written up to now")
    wide = margin + math.ceil(abs(skew))
    if abs(skew) >= 1:
        reasons.append(f"widened by {math.ceil(abs(skew))} s because the nodes' clocks differ")
    start = max(0, math.floor(min(starts)))
    window = Window(start, max(start, math.ceil(max(ends)))).widened(wide)
    return Proposal(window=window, reasons=tuple(reasons), certain=journal.began is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A window a person can pick."""

    name: str
    title: str
    window: Window


def presets(now: float, zone: tzinfo, proposal: Proposal | None) -> tuple[Preset, ...]:
    """The windows to pick from, the proposed one first."""
    end = math.ceil(now)
    found: list[Preset] = []
    if proposal is not None:
        found.append(Preset(name="split", title="since the split", window=proposal.window))
    for name, title, seconds in (
        ("hour", "last hour", 3600),
        ("6h", "last 6 hours", 6 * 3600),
        ("day", "last 24 hours", 86_400),
        ("week", "last 7 days", 7 * 86_400),
    ):
        found.append(Preset(name=name, title=title, window=Window(max(0, end - seconds), end)))
    midnight = _midnight(now, zone, 0)
    found.append(Preset(name="today", title="today", window=Window(midnight, max(midnight, end))))
    found.append(
        Preset(name="yesterday", title="yesterday", window=Window(_midnight(now, zone, -1), midnight))
    )
    return tuple(found)


def _midnight(now: float, zone: tzinfo, days: int) -> int:
    """First second of the local day; where the clocks skip midnight, the first that exists."""
    local = datetime.fromtimestamp(now, UTC).astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(12):
        try:
            return read(start.strftime("%Y-%m-%d %H:%M:%S"), zone, Twice.FIRST)
        except GapError:
            start += timedelta(minutes=30)
    raise WindowError("this zone has no such day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Rows per span of time on both nodes."""

    start: int
    seconds: int
    losing: int
    master: int

    @property
    def differs(self) -> bool:
        """Whether the counts differ."""
        return self.losing != self.master


def differing(buckets: Sequence[Bucket]) -> Window | None:
    """From the first to the last bucket whose counts differ; ``None`` if none does."""
    odd = [bucket for bucket in buckets if bucket.differs]
    if not odd:
        return None
    return Window(odd[0].start, odd[-1].start + odd[-1].seconds)


def bucket_seconds(window: Window, most: int = 240) -> int:
    """A round bucket size (a minute at least) that gives at most ``most`` buckets, if a week is enough."""
    for seconds in (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400):
        if window.seconds <= seconds * most:
            return seconds
    return 7 * 86_400


def merge_buckets(
    start: int, seconds: int, end: int, losing: dict[int, int], master: dict[int, int]
) -> tuple[Bucket, ...]:
    """Every bucket from ``start`` to ``end``, those without rows too."""
    empty = Bucket(start=0, seconds=seconds, losing=0, master=0)
    return tuple(
        replace(empty, start=moment, losing=losing.get(moment, 0), master=master.get(moment, 0))
        for moment in range(start - start % seconds, end, seconds)
    )

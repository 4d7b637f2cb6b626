"""Numbers and moments for people. Pure; ``None`` is shown as :data:`NOTHING`, never as zero."""

from __future__ import annotations

import re
from datetime import datetime

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.words import plural as plural

NOTHING = "—"
"""Does not apply, or is not known."""
UNKNOWN = "?"
"""Should be known and is not."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w|)")
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def span(seconds: float | None) -> str:
    """A duration with two units at most: ``0.6 s``, ``41 s``, ``4 min 12 s``, ``12 d``."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{span(-seconds)}"
    if 0 < seconds < 9.95 and seconds != int(seconds):
        return f"{max(seconds, 0.1):.1f} s"
    whole = round(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size or size == 1:
            rest = whole % size
            if size == 1 or (size == 86400 and whole >= 10 * size):
                return f"{whole // size} {unit}"
            below, below_unit = _UNITS[index + 1]
            tail = f" {rest // below} {below_unit}" if rest // below else ""
            return f"{whole // size} {unit}{tail}"
    return NOTHING


def parse_span(text: str) -> float:
    """``90``, ``90s``, ``30m``, ``2h``, ``7d``, ``1w`` in seconds.

    Raises:
        ValueError: it is anything else.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 2h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_bandwidth(text: str) -> int:
    """``20 MB/s``, ``1.5MiB`` in bytes per second; ``0`` or ``none`` = 0, as fast as it goes.

    Raises:
        ValueError: it is anything else, or so little that a copy would never end.
    """
    from pfms_ha_tui.config.kinds import Size  # here because the first paint does not need it
    from pfms_ha_tui.config.settings import LEAST_BANDWIDTH

    if text.strip().casefold() in ("0", "none", "unlimited"):
        return 0
    try:
        return Size(LEAST_BANDWIDTH, 10**12).read(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a bandwidth such as '20 MB/s' ({LEAST_BANDWIDTH // 1024} KiB/s is the least),"
            " nor 0 for no limit"
        ) from error


def age(seconds: float | None) -> str:
    """How old something is, in one unit: ``now``, ``4 s``, ``2 min``, ``3 h``, ``12 d``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 2:
        return "now"
    whole = int(seconds)
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return "now"


def latency(seconds: float | None) -> str:
    """The time of a round trip: ``0.8 ms``, ``12 ms``, ``1.2 s``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.00995:
        return f"{max(seconds * 1000, 0.1):.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s"


def size(count: float | None) -> str:
    """Bytes, decimal: ``18.3 GB``."""
    if count is None:
        return NOTHING
    import humanize  # here because the first paint does not need it

    if abs(count) < 1000:
        return f"{count:.0f} B"
    return str(humanize.naturalsize(count, format="%.0f" if _leading_digits(count) == 3 else "%.1f"))


def rate(count: float | None, unit: str = "bytes") -> str:
    """Something per second: ``74 MB/s``, ``12 rows/s``."""
    if count is None:
        return NOTHING
    return f"{size(count)}/s" if unit == "bytes" else f"{number(count)} {unit}/s"


def number(count: float | None) -> str:
    """A count with thousands set apart; below ten with one decimal if it has any."""
    if count is None:
        return NOTHING
    if abs(count) < 10 and count != int(count):
        return f"{count:.1f}"
    import humanize  # here because the first paint does not need it

    return str(humanize.intcomma(round(count)))


def behind(seconds: int | None, count: int | None = None) -> str:
    """How far a slave is behind: the server's seconds, and bytes when there are any."""
    words = UNKNOWN if seconds is None else f"{seconds} s" if seconds < 100 else span(seconds)
    return f"{words} · {size(count)}" if count else words


def position(value: BinlogPosition | None, *, short: bool = False) -> str:
    """Coordinates; ``short`` leaves out the zeros of the file's number: ``binlog.18:1135140``."""
    if value is None:
        return NOTHING
    if short:
        try:
            return f"{value.base}.{value.number}:{value.pos}"
        except ValueError:
            return str(value)
    return str(value)


def share(done: float | None, total: float | None = 100.0) -> str:
    """A percentage: ``43 %``; never 100 % before it is done."""
    if done is None or not total:
        return UNKNOWN
    percent = 100.0 * done / total
    return f"{min(99, int(percent)) if percent < 100 else 100} %"


def zone(at: float) -> str:
    """The name of the local time zone at that moment: ``CET``, ``UTC+03``."""
    name = datetime.fromtimestamp(at).astimezone().tzname() or "local"
    return f"UTC{name}" if name[:1] in "+-" else name


def clock(at: float, *, seconds: bool = True, name: bool = True) -> str:
    """The local time of day: ``10:32:59 CET``."""
    moment = datetime.fromtimestamp(at)
    text = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    return f"{text} {zone(at)}" if name else text


def moment(at: float, now: float) -> str:
    """When something happened: ``10:32:41`` today, ``27 Nov 02:11`` this year, ``27 Nov 2024`` before."""
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    day = f"{then.day} {_MONTHS[then.month - 1]}"
    return f"{day} {then:%H:%M}" if then.year == today.year else f"{day} {then.year}"


def full_moment(at: float) -> str:
    """When something happened, in full: ``2025-11-27 02:11:46 CET``."""
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S} {zone(at)}"


def _leading_digits(count: float) -> int:
    whole = int(abs(count))
    while whole >= 1000:
        whole //= 1000
    return len(str(whole))

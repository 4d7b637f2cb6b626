"""What the merge wizard shows, as lines: the two sides, rows per minute, the dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import BARS
from pfms_ha_tui.console.ink import (
    EMPTY,
    Ink,
    Line,
    Span,
    apart,
    clean,
    crop,
    line,
    merge,
    pad,
    width_of,
    wrap,
)
from pfms_ha_tui.console.widgets.details import heading
from pfms_ha_tui.worker.protocol_merge import (
    NO_TIME,
    DryRun,
    LeftBehind,
    Moment,
    RowsPerSpan,
    Split,
    SplitSide,
)

_FACTS = 30
"""Columns for the names of the facts."""
_MOST_SAMPLES = 4


def moment_words(moment: Moment, *, whole: bool) -> str:
    """A moment as a person reads it; with its offset where the zone's name is not enough, or if asked for."""
    if whole:
        return f"{moment.text} {moment.zone} ({moment.offset})"
    return f"{moment.text} {moment.offset if moment.comes_twice else moment.zone}"


def sides_lines(split: Split, losing: str, now: float, width: int) -> list[Line]:
    """Why that side is taken for the one that lost, and both next to each other, the losing one first."""
    lost, stays = sorted(split.sides, key=lambda side: side.label != losing)
    column = max(16, min(34, (width - _FACTS) // 2))
    lines: list[Line] = []
    wrong = split.warnings.get(losing)
    if follows(split, losing):
        words = (
            f"{clean(lost.label)} is a slave of {clean(stays.label)} now, and takes no writes: there is"
            " nothing to merge, unless it was a master before and rows of that time are missed."
        )
        lines += wrap(line(("▲ ", Ink.WARN), (words, Ink.STRONG)), width, indent=2)
    if wrong is not None:
        lines += wrap(line(("✖ wrong direction? ", Ink.BAD), (clean(wrong), Ink.STRONG)), width, indent=2)
    elif losing == split.losing:
        for reason in split.reasons:
            lines += wrap(line(("✔ ", Ink.OK), clean(reason)), width, indent=2)
    if not split.certain:
        words = "Nobody knows for sure which side lost. Look at where Pandora wrote last."
        lines += wrap(line(("▲ ", Ink.WARN), (words, Ink.STRONG)), width, indent=2)
    lines += [
        EMPTY,
        line(" " * _FACTS)
        + pad(line((f"{clean(lost.label)} lost", Ink.BAD)), column)
        + crop(line((f"{clean(stays.label)} stays master", Ink.MASTER)), column),
    ]
    for name, (first, second) in _facts(split, (lost, stays), now):
        ink = Ink.DIM if first == second else Ink.PLAIN
        lines.append(
            line((name.ljust(_FACTS), Ink.DIM))
            + pad(line((first, ink)), column)
            + crop(line((second, ink)), column)
        )
    return lines


def follows(split: Split, losing: str) -> bool:
    """Whether the side that is taken for the losing one is a slave of the other, as it should be."""
    other = next((side.label for side in split.sides if side.label != losing), None)
    return any(
        side.label == losing and side.follows == other and side.writable is False for side in split.sides
    )


def _facts(split: Split, sides: Sequence[SplitSide], now: float) -> Iterator[tuple[str, tuple[str, str]]]:
    def both(name: str, values: Iterable[str]) -> tuple[str, tuple[str, str]]:
        first, second = values
        return name, (first, second)

    yield both("takes writes", (_yes(side.writable) for side in sides))
    yield both("promoted in epoch", (_number(side.epoch) for side in sides))
    yield both("a Pandora server reported", (_ago(side.keepalive, now) for side in sides))
    yield both("Pandora is sent there", (_yes(side.named_by_hosts_file) for side in sides))
    yield both("the journal’s master", (_yes(side.named_by_journal) for side in sides))
    yield both("replicates from", (clean(side.follows) if side.follows else "nobody" for side in sides))
    yield both("own binary log", (clean(side.position) if side.position else fmt.UNKNOWN for side in sides))
    if split.window is not None:
        yield both("rows since the split", (_number(side.rows) for side in sides))
    if abs(split.skew) >= 1.0:
        ahead = split.sides[1].label if split.skew > 0 else split.sides[0].label
        words = f"{abs(split.skew):.0f} s ahead"
        yield both("clock", (words if side.label == ahead else fmt.NOTHING for side in sides))


def _yes(value: bool | None) -> str:
    return fmt.UNKNOWN if value is None else "yes" if value else "no"


def _number(value: int | None) -> str:
    return fmt.NOTHING if value is None else fmt.number(value)


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return fmt.UNKNOWN
    past = round(now - at)
    return f"{fmt.span(past)} ago" if past >= 0 else f"{fmt.span(-past)} ahead of this clock"


def histogram_lines(
    buckets: Sequence[RowsPerSpan],
    window: tuple[int, int],
    labels: tuple[str, str],
    width: int,
    height: int,
    offset: str = "",
) -> list[Line]:
    """Rows per span of time on both nodes, one graph above the other, on the same scale.

    Args:
        buckets: Neighbours in time; they may reach beyond the window.
        window: [start, end).
        labels: Losing side, master.
        width: Columns.
        height: Lines.
        offset: Of the worker's clock, ``+02:00``: its window and this axis are to tell the same time.
    """
    if not buckets or width < 12 or height < 6:
        return [line(("no rows in sight", Ink.DIM))]
    columns = _columns(buckets, width)
    each = _each(columns[0].seconds)
    wide = max(1, width // len(columns))
    columns = [one for one in columns for _ in range(wide)]
    scale = max((max(one.losing, one.master) for one in columns), default=0)
    inside = [one.start + one.seconds > window[0] and one.start < window[1] for one in columns]
    tall = max(1, min(8, (height - 6) // 2))
    cut = any(
        within and (one.start < window[0] or one.start + one.seconds > window[1])
        for one, within in zip(columns, inside, strict=True)
    )
    about = "about " if cut else ""
    lines: list[Line] = []
    for label, ink, values in (
        (labels[0], Ink.BAD, [one.losing for one in columns]),
        (labels[1], Ink.OK, [one.master for one in columns]),
    ):
        total = sum(value for value, within in zip(values, inside, strict=True) if within) // wide
        left = line((clean(label), Ink.STRONG), f" {about}{fmt.number(total)} rows in the window")
        right = line((f"most {fmt.number(max(values))} in {each}", Ink.DIM))
        fits = width_of(left) + width_of(right) + 2 <= width
        lines.append(apart(left, right, width) if fits else crop(left, width))
        lines += _graph(values, scale, tall, [ink if within else Ink.DIM for within in inside])
    lines.append(_differences(columns, inside))
    lines.append(_axis(columns, inside))
    lines.append(_times(columns, width, offset))
    if any(one.losing != one.master for one in columns):
        lines.append(line(("▲", Ink.WARN), (" not the same number of rows", Ink.DIM)))
    return lines[:height]


def _columns(buckets: Sequence[RowsPerSpan], width: int) -> list[RowsPerSpan]:
    """Neighbours summed up, so that there are at most ``width``."""
    group = -(-len(buckets) // width)
    return [
        RowsPerSpan(
            start=buckets[at].start,
            seconds=sum(one.seconds for one in buckets[at : at + group]),
            losing=sum(one.losing for one in buckets[at : at + group]),
            master=sum(one.master for one in buckets[at : at + group]),
        )
        for at in range(0, len(buckets), group)
    ]


def _each(seconds: int) -> str:
    return {60: "a minute", 3600: "an hour", 86_400: "a day"}.get(seconds, fmt.span(seconds))


def _graph(values: Sequence[int], scale: int, tall: int, inks: Sequence[Ink]) -> list[Line]:
    steps = len(BARS)
    heights = [0 if not scale else -(-value * tall * steps // scale) for value in values]
    lines: list[Line] = []
    for row in range(tall - 1, -1, -1):
        spans: list[Span] = []
        for full, ink in zip(heights, inks, strict=True):
            level = max(0, min(steps, full - row * steps))
            spans.append(Span(BARS[level - 1] if level else " ", ink))
        lines.append(merge(spans))
    return lines


def _differences(columns: Sequence[RowsPerSpan], inside: Sequence[bool]) -> Line:
    """Where the two sides do not have the same number of rows."""
    return merge(
        Span("▲" if one.losing != one.master else " ", Ink.WARN if within else Ink.BAD)
        for one, within in zip(columns, inside, strict=True)
    )


def _axis(columns: Sequence[RowsPerSpan], inside: Sequence[bool]) -> Line:
    return merge(
        Span("─" if within else "╌", Ink.KEY if within else Ink.DIM)
        for _, within in zip(columns, inside, strict=True)
    )


def _times(columns: Sequence[RowsPerSpan], width: int, offset: str) -> Line:
    first, last = columns[0].start, columns[-1].start + columns[-1].seconds
    pattern = "%d %b %H:%M" if last - first >= 20 * 3600 else "%H:%M"
    if last - first > 4 * 86_400:
        pattern = "%d %b"
    if last - first > 300 * 86_400:
        pattern = "%b %Y"
    names = [_clock(at, pattern, offset) for at in (first, (first + last) // 2, last)]
    middle = len(columns) // 2 - len(names[1]) // 2
    text = names[0].ljust(max(middle, len(names[0]) + 1)) + names[1]
    end = max(len(columns), len(text) + 1 + len(names[2]))
    return crop(line((text.ljust(end - len(names[2])) + names[2], Ink.DIM)), width)


def _clock(at: int, pattern: str, offset: str) -> str:
    try:
        zone = datetime.strptime(offset, "%z").tzinfo if offset else None
        return datetime.fromtimestamp(at, zone).strftime(pattern)
    except (OverflowError, ValueError, OSError):
        return fmt.UNKNOWN


def dry_run_lines(found: DryRun, width: int, command: str | None = None) -> list[Line]:
    """What would be added, what stays out, and what a merge does not bring over.

    Args:
        found: The dry run.
        width: Columns.
        command: What maps the columns that stop it, on the command line.
    """
    losing, master = clean(found.losing), clean(found.master)
    lines: list[Line] = []
    blocking = [one for one in found.problems if one.blocking]
    for one in blocking:
        words = f"{clean(one.where)}: {clean(one.text)}"
        lines += wrap(line(("✖ stops the merge: ", Ink.BAD), (words, Ink.STRONG)), width, indent=2)
        if one.remedy:
            lines += wrap(line("  ", ("→ ", Ink.KEY), clean(one.remedy)), width, indent=4)
    if command is not None:
        lines += wrap(line("or, in a shell: ", (clean(command), Ink.KEY)), width, indent=2)
    if blocking:
        lines.append(EMPTY)
    if found.to_add:
        many = fmt.plural(found.to_add, "row") if found.to_add < 1000 else f"{fmt.number(found.to_add)} rows"
        words = f"{many} of {losing} would be added to {master}."
        lines += wrap(line(("● ", Ink.OK), (words, Ink.STRONG)), width, indent=2)
    else:
        words = f"Nothing would be added: {master} has every row of {losing} in this window that it can have."
        lines += wrap(line(("▲ ", Ink.WARN), (words, Ink.STRONG)), width, indent=2)
    lines += [EMPTY, *_table(found)]
    lines += _stays_out(found, width)
    lines += _not_merged(found, width)
    harmless = [one for one in found.problems if not one.blocking]
    if harmless:
        lines += heading("Differences between the tables that do no harm")
        for one in harmless:
            lines += wrap(line("  ", clean(f"{one.where}: {one.text}")), width, indent=4)
    lines += [EMPTY, line((f"looked at in {fmt.latency(found.seconds)}; nothing was changed", Ink.DIM))]
    return lines


def _table(found: DryRun) -> Iterator[Line]:
    heads = (f"on {clean(found.losing)}", f"on {clean(found.master)}", "to add", "skipped")
    rows = [(one.table, one.rows, one.there, one.to_add, one.skipped) for one in found.tables]
    total = ("together", found.rows, found.there, found.to_add, found.skipped_rows)
    first = max(len(table) for table, *_ in [total, *rows]) + 2
    cells = [[fmt.number(value) for value in values] for _, *values in [*rows, total]]
    widths = [max(len(head), *(len(row[at]) for row in cells)) + 2 for at, head in enumerate(heads)]
    yield line(
        (" " * first, Ink.HEAD),
        *((head.rjust(wide), Ink.HEAD) for head, wide in zip(heads, widths, strict=True)),
    )
    for (table, *values), row in zip([*rows, total], cells, strict=True):
        strong = table == total[0]
        inks = (Ink.PLAIN, Ink.PLAIN, Ink.OK if values[2] else Ink.DIM, Ink.WARN if values[3] else Ink.DIM)
        yield line(
            (clean(table).ljust(first), Ink.STRONG if strong else Ink.PLAIN),
            *((cell.rjust(wide), ink) for cell, wide, ink in zip(row, widths, inks, strict=True)),
        )


def _stays_out(found: DryRun, width: int) -> list[Line]:
    if not found.skipped and not found.renamed:
        return []
    lines = heading(f"Skipped: {clean(found.master)} does not have the module or agent")
    for one in found.skipped:
        rows = fmt.number(one.rows) + (" row " if one.rows == 1 else " rows")
        lines += wrap(line((f"  {rows.rjust(12)}  ", Ink.WARN), clean(one.text)), width, indent=16)
    for text in found.renamed:
        lines += wrap(line("  ", (clean(text), Ink.DIM)), width, indent=4)
    return lines


def _not_merged(found: DryRun, width: int) -> list[Line]:
    """Configuration by area; a person must know that it stays behind."""
    lines = heading(f"NOT merged, only archived: configuration that differs on {clean(found.losing)}")
    areas: dict[str, list[LeftBehind]] = {}
    for one in found.left_behind:
        areas.setdefault(one.area, []).append(one)
    for one in areas.pop(NO_TIME, []):
        rows = f"{fmt.plural(one.created, 'row')} of {clean(one.table)} have no time: no window holds them"
        stays = f"; {clean(found.losing)} stays marked as long as it has them"
        lines += wrap(line(("  ✖ ", Ink.BAD), (rows, Ink.STRONG), stays), width, indent=4)
    if not areas:
        lines.append(line("  ", ("none: agents, modules, alerts, policies and users are the same", Ink.OK)))
    for area, differences in areas.items():
        count = Counter[str]()
        for one in differences:
            count["only there"] += one.created
            count["different"] += one.changed
        counts = ", ".join(f"{fmt.number(rows)} {word}" for word, rows in count.items() if rows)
        names = list(dict.fromkeys(clean(name) for one in differences for name in one.samples))
        more = " …" if len(names) > _MOST_SAMPLES else ""
        told = f": {', '.join(names[:_MOST_SAMPLES])}{more}" if names else ""
        lines += wrap(
            line(("  ▲ ", Ink.WARN), (clean(area), Ink.STRONG), f"  {counts}{told}"), width, indent=4
        )
    for text in found.not_compared:
        lines += wrap(line("  ", (clean(f"not compared: {text}"), Ink.DIM)), width, indent=4)
    return lines

"""The lag pane: seconds behind the master over the last ten minutes, one graph a slave."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pfms_ha_tui.cluster.event import LagSample
from pfms_ha_tui.cluster.snapshot import NodeState, Role
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import BARS
from pfms_ha_tui.console.ink import Ink, Line, Span, apart, clean, crop, line, width_of
from pfms_ha_tui.console.scene import LAG_WINDOW, Scene
from pfms_ha_tui.console.widgets.cells import faded, lag_ink

LEAST_SCALE = 5.0
"""Seconds at the top of a graph at least, so that one second of lag does not look like a mountain."""

Bucket = float | None
"""Worst seconds in a stretch of time; ``None`` = the server said NULL; NaN = nothing was observed."""


def lag_title(width: int) -> str:
    """The pane's title, for a pane of that width."""
    window = f" · {LAG_WINDOW / 60:.0f} min"
    return f"Seconds behind master{window if width >= 38 else ''}"


def slaves_of(scene: Scene) -> list[NodeState]:
    """The nodes that have a lag: those that follow, or did in the window shown; never the present master."""
    if scene.state is None:
        return []
    return [
        node
        for node in scene.state.snapshot.nodes
        if not (node.answers and node.role is Role.MASTER)
        and (node.replication is not None or any(s.seconds is not None for s in scene.lag(node.label)))
    ]


def lag_lines(scene: Scene, width: int, height: int) -> list[Line]:
    """For each slave a line of figures and, with room, a graph."""
    slaves = slaves_of(scene)
    if not slaves:
        return [line(("no slave", Ink.DIM))] if scene.state is not None else []
    each = max(1, height // len(slaves))
    lines: list[Line] = []
    for index, node in enumerate(slaves):
        if len(lines) >= height:
            break
        if index == height - 1 and len(slaves) > height:
            lines.append(line((f"… and {fmt.plural(len(slaves) - index, 'more slave')}", Ink.DIM)))
            break
        lines += lag_graph(scene, node, width, each)
    return lines


def lag_graph(scene: Scene, node: NodeState, width: int, height: int) -> list[Line]:
    """One slave: figures in the first line, the graph under it."""
    samples = [sample for sample in scene.lag(node.label) if sample.at >= scene.wall - LAG_WINDOW]
    lines = [_figures(scene, node, samples, width)]
    rows = height - 1
    if rows <= 0:
        return lines
    axis = rows >= 4
    rows = min(rows - 1 if axis else rows, 8)
    buckets = in_buckets(samples, scene.wall, width, scene.state.interval if scene.state else 1.0)
    known = [value for value in buckets if value is not None and not math.isnan(value)]
    scale = max([LEAST_SCALE, *known])
    lines += draw(buckets, rows, scale, _limits(scene))
    if axis:
        left = line((f"{LAG_WINDOW / 60:.0f} min ago", Ink.DIM))
        lines.append(apart(left, line((f"top {fmt.span(scale)} · now", Ink.DIM)), width))
    return lines


def _figures(scene: Scene, node: NodeState, samples: Sequence[LagSample], width: int) -> Line:
    replication = node.replication
    now = replication.seconds_behind if replication is not None else None
    words = fmt.behind(now) if now is not None else "not known"
    left = line((clean(node.label), Ink.STRONG), "  ")
    if not node.answers:
        left += line(("no answer", Ink.DIM))
    else:
        left += faded(scene, node, line((words, lag_ink(scene, node))))
    known = sorted(sample.seconds for sample in samples if sample.seconds is not None)
    if not known:
        return crop(left, width)
    p95 = known[min(len(known) - 1, math.ceil(0.95 * len(known)) - 1)]
    right = line((f"max {fmt.behind(known[-1])}   p95 {fmt.behind(p95)}", Ink.DIM))
    if width_of(left) + width_of(right) + 1 > width:
        right = line((f"max {fmt.behind(known[-1])}", Ink.DIM))
    return apart(left, right, width)


def in_buckets(samples: Sequence[LagSample], now: float, columns: int, interval: float) -> list[Bucket]:
    """The worst value of each stretch of time, oldest first, at most ``columns`` of them.

    Stretches begin at whole multiples of their length since 1970, so that the picture only moves when a
    new one begins, not with every sample.
    """
    if columns <= 0:
        return []
    length = max(LAG_WINDOW / columns, 2 * interval)
    count = min(columns, math.ceil(LAG_WINDOW / length))
    newest = math.floor(now / length)
    latest = max((sample.at for sample in samples), default=-math.inf)
    if latest < newest * length and now - newest * length < 2 * interval:
        newest -= 1  # just begun: that nobody has looked yet is no gap
    buckets: list[Bucket] = [math.nan] * count
    for sample in samples:
        index = count - 1 - (newest - math.floor(sample.at / length))
        if not 0 <= index < count:
            continue
        seen = buckets[index]
        if seen is None or sample.seconds is None:
            buckets[index] = None
        else:
            buckets[index] = float(sample.seconds) if math.isnan(seen) else max(seen, float(sample.seconds))
    return buckets


def draw(buckets: Sequence[Bucket], rows: int, scale: float, limits: tuple[float, float]) -> list[Line]:
    """Bars of eighths, ``rows`` high, the highest row first.

    Nothing observed is a dot, NULL from the server a cross: neither is drawn as zero.
    """
    warn, most = limits
    lines: list[Line] = []
    for row in reversed(range(rows)):
        spans: list[Span] = []
        for value in buckets:
            if value is None:
                glyph, ink = ("✖", Ink.BAD) if row == 0 else (" ", Ink.PLAIN)
            elif math.isnan(value):
                glyph, ink = ("·", Ink.DIM) if row == 0 else (" ", Ink.PLAIN)
            else:
                eighths = max(1, round(value / scale * rows * 8)) if value > 0 else 1
                full = min(8, max(0, eighths - row * 8))
                glyph = BARS[full - 1] if full else " "
                ink = Ink.BAD if value > most else Ink.WARN if value > warn else Ink.OK
            if spans and spans[-1].ink is ink:
                spans[-1] = Span(spans[-1].text + glyph, ink)
            else:
                spans.append(Span(glyph, ink))
        lines.append(tuple(spans))
    return lines


def _limits(scene: Scene) -> tuple[float, float]:
    policy = scene.state.policy if scene.state else None
    return (policy.warn_lag, policy.max_lag) if policy is not None else (math.inf, math.inf)

"""The timeline: what happened, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import SEVERITY
from pfms_ha_tui.console.ink import Ink, Line, apart, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.nodes import matches
from pfms_ha_tui.console.widgets.pane import Page

LEVELS = (None, Severity.WARNING, Severity.CRITICAL)
"""What the severity key goes through; ``None`` shows everything."""
_RANK = {
    Severity.OK: 1, Severity.INFO: 1, Severity.UNKNOWN: 2, Severity.WARNING: 2, Severity.CRITICAL: 3,
}  # fmt: skip


def chosen(events: Iterable[Event], words: str = "", level: Severity | None = None) -> list[Event]:
    """The events at least as bad as ``level`` that contain all ``words``."""
    return [
        event
        for event in events
        if (level is None or _RANK[event.severity] >= _RANK[level])
        and (not words or matches(_searchable(event), words))
    ]


def _searchable(event: Event) -> str:
    return " ".join(
        (event.text, event.node or "", event.kind, event.actor, event.severity, event.details or "")
    )


def timeline_page(
    scene: Scene, events: Sequence[Event], width: int, height: int, *, everything: bool = False
) -> Page:
    """The lines of ``events``; only as many as fit unless ``everything`` is wanted for scrolling."""
    shown = events if everything else events[: max(0, height)]
    if not shown:
        return Page((line(("nothing has happened yet", Ink.DIM)),) if scene.state else ())
    today = datetime.fromtimestamp(scene.wall).toordinal()
    when = max(len(fmt.moment(event.at, scene.wall)) for event in (shown[0], shown[-1]))
    return Page(
        [event_line(event, width, today, when) for event in shown],
        keys=[str(event.id) for event in shown],
    )


@lru_cache(maxsize=8192)
def event_line(event: Event, width: int, today: int, when: int) -> Line:
    """One line: when, how bad, what, who.

    Args:
        event: the event.
        width: cells of the line.
        today: ordinal of the present day, which decides whether the date is shown.
        when: cells for the moment.
    """
    now = datetime.fromordinal(today).timestamp()
    sign = SEVERITY[event.severity]
    ink = Ink.PLAIN if event.severity in (Severity.OK, Severity.INFO) else Ink.STRONG
    left = line(
        (fmt.moment(event.at, now).rjust(when), Ink.DIM), " ", sign.dot, " ", (clean(event.text), ink)
    )
    return apart(left, line((clean(event.actor), Ink.DIM)), width)


def event_lines(event: Event, width: int) -> list[Line]:
    """Everything about one event, to read."""
    sign = SEVERITY[event.severity]
    lines = wrap(line(sign.both, "  ", (clean(event.text), Ink.STRONG)), width, indent=2)
    words = [fmt.full_moment(event.at), f"kind {clean(event.kind)}", f"by {clean(event.actor)}"]
    if event.node is not None:
        words.insert(1, f"node {clean(event.node)}")
    if event.operation is not None:
        words.append(f"operation {event.operation}")
    lines += wrap(line((" · ".join(words), Ink.DIM)), width, indent=2)
    for detail in (event.details or "").splitlines():
        lines += wrap(line(clean(detail)), width, indent=2)
    return lines

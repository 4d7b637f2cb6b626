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


class Choice:
    """The last choice, kept: with thousands of events it is not made anew every second."""

    def __init__(self) -> None:
        self._asked: tuple[Sequence[Event], str, Severity | None] | None = None
        self._events: list[Event] = []

    def of(self, events: Sequence[Event], words: str = "", level: Severity | None = None) -> list[Event]:
        """As :func:`chosen`; the very same list while nothing changes."""
        asked = (events, words, level)
        if self._asked is None or self._asked[0] is not events or self._asked[1:] != asked[1:]:
            self._asked, self._events = asked, chosen(events, words, level)
        return self._events


def _searchable(event: Event) -> str:
    return " ".join(
        (event.text, event.node or "", event.kind, event.actor, event.severity, event.details or "")
    )


def timeline_page(scene: Scene, events: Sequence[Event], width: int) -> Page:
    """One line for each of ``events``."""
    if not events:
        why = "no event fits the filter" if scene.events else "nothing has happened yet"
        return Page((line((why, Ink.DIM)),) if scene.state else ())
    when = max(len(fmt.moment(event.at, scene.wall)) for event in events)
    return Page(
        [event_line(event, width, scene.day, when) for event in events],
        keys=[str(event.id) for event in events],
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

"""The readiness pane: the guards of an automatic failover, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster.readiness import Guard
from pfms_ha_tui.console.glyphs import GUARD
from pfms_ha_tui.console.ink import Ink, Line, clean, crop, line, width_of, wrap
from pfms_ha_tui.console.scene import Scene


def readiness_title(scene: Scene) -> str:
    """``Failover readiness 7/7``, or ``was 7/7`` when that is a memory."""
    if scene.state is None:
        return "Failover readiness"
    readiness = scene.state.readiness
    was = "was " if scene.stale else ""
    return f"Failover readiness {was}{readiness.passed}/{len(readiness.guards)}"


def readiness_lines(scene: Scene, width: int, height: int) -> list[Line]:
    """One line a guard: its title while it holds, its reason when it does not.

    With room to spare the reasons of those that fail are written in full, and of the others beside the title.
    """
    if scene.state is None:
        return []
    guards = scene.state.readiness.guards
    if len(guards) > height:
        return _some(guards, width, height)
    lines = [_guard_lines(guard, width) for guard in guards]
    spare = height - len(lines)
    out: list[Line] = []
    for wrapped in lines:
        allowed = 1 + max(0, min(spare, len(wrapped) - 1))
        spare -= allowed - 1
        out += (
            wrapped
            if allowed >= len(wrapped)
            else [*wrapped[: allowed - 1], _cut(wrapped[allowed - 1], width)]
        )
    return out


def _some(guards: Sequence[Guard], width: int, height: int) -> list[Line]:
    """Too little height for all: those that fail before those that hold, and how many are left out."""
    chosen = sorted(guards, key=lambda guard: guard.ok is True)[: max(0, height - 1)]
    lines: list[Line] = []
    for guard in guards:
        if guard in chosen:
            first, *more = _guard_lines(guard, width)
            lines.append(_cut(first, width) if more else first)
    left = [guard for guard in guards if guard not in chosen]
    words = "hold" if all(guard.ok for guard in left) else "checks"
    return [*lines, line((f"… {len(left)} more {words}: e", Ink.DIM))]


def _guard_lines(guard: Guard, width: int) -> list[Line]:
    sign = GUARD[guard.ok]
    text = guard.title if guard.ok else guard.reason or guard.title
    value = line(sign.dot, " ", (clean(text), Ink.PLAIN if guard.ok else Ink.STRONG))
    because = line(("  " + clean(guard.reason), Ink.DIM)) if guard.ok and guard.reason else ()
    if because and width_of(value) + width_of(because) <= width:
        value += because
    return wrap(value, width, indent=2)


def _cut(value: Line, width: int) -> Line:
    """The line with a mark at its end that more follows."""
    return crop((*value, *line(" " * width)), width)

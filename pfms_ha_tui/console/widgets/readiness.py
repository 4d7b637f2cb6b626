"""The readiness pane: the guards of an automatic failover, each with its reason."""

from __future__ import annotations

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
    lines: list[list[Line]] = []
    for guard in guards:
        sign = GUARD[guard.ok]
        text = guard.title if guard.ok else guard.reason or guard.title
        value = line(sign.dot, " ", (clean(text), Ink.PLAIN if guard.ok else Ink.STRONG))
        because = line(("  " + clean(guard.reason), Ink.DIM)) if guard.ok and guard.reason else ()
        if because and width_of(value) + width_of(because) <= width:
            value += because
        lines.append(wrap(value, width, indent=2))
    spare = height - len(lines)
    out: list[Line] = []
    for wrapped in lines:
        allowed = 1 + max(0, min(spare, len(wrapped) - 1))
        spare -= allowed - 1
        if allowed >= len(wrapped):
            out += wrapped
        else:
            out += wrapped[: allowed - 1]
            out.append(crop((*wrapped[allowed - 1], *line(" " * width)), width))
    return out[:height]

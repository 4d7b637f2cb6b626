"""The evidence matrix: who sees whom, and how old that is."""

from __future__ import annotations

from pfms_ha_tui.cluster.evidence import EvidenceRow, matrix
from pfms_ha_tui.cluster.observation import Says
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import SAYS
from pfms_ha_tui.console.ink import Ink, Line, clean, crop, line, pad, width_of
from pfms_ha_tui.console.scene import Scene

_AGE = 6


def sights(scene: Scene, about: str | None = None) -> list[EvidenceRow]:
    """The rows of the matrix, grouped by whom they are about; only those about or by one node if asked."""
    if scene.state is None:
        return []
    rows = matrix(scene.state.snapshot, scene.mono, scene.state.policy or Policy())
    return [row for row in rows if about is None or about in (row.about, row.observer, f"via {row.observer}")]


def evidence_lines(scene: Scene, width: int, height: int | None, about: str | None = None) -> list[Line]:
    """The matrix as lines; cut to ``height`` if there is one."""
    rows = sights(scene, about)
    if not rows:
        return []
    observer = max(width_of(line(clean(row.observer))) for row in rows)
    whom = max(width_of(line(clean(row.about))) for row in rows)
    lines = [_row(row, observer, whom, width) for row in rows]
    if height is not None and len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], line((f"… {hidden} more: e", Ink.DIM))]
    return lines


def _row(row: EvidenceRow, observer: int, whom: int, width: int) -> Line:
    sign = SAYS[row.says]
    left = (
        pad(line(clean(row.observer)), observer)
        + line((" → ", Ink.DIM))
        + pad(line((clean(row.about), Ink.STRONG)), whom)
        + line("  ", sign.dot, " ")
    )
    room = width - width_of(left) - _AGE - 1
    text = line((clean(row.text), Ink.PLAIN if row.fresh else Ink.DIM))
    # An old look is grey with its age marked, except that "not configured" has no age to speak of.
    marked = row.says is not Says.SILENT and not row.fresh
    old = "never" if row.age is None else fmt.age(row.age)
    return (
        left
        + pad(crop(text, room), room + 1)
        + pad(line((old, Ink.WARN if marked else Ink.DIM)), _AGE, right=True)
    )

"""The first line: which cluster, how it is run, by which worker, and what time it is."""

from __future__ import annotations

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import MODE, SEVERITY
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, Span, apart, glue, line, width_of
from pfms_ha_tui.console.ink import clean as plain
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.worker.protocol import ClusterState, Rights


def title_line(scene: Scene, width: int, place: str = "") -> Line:
    """The title, with as much detail as fits; ``place`` names the screen when it is not the dashboard."""
    for detail in (3, 2, 1, 0):
        left, right = _left(scene, detail, place), _right(scene, detail)
        if width_of(left) + width_of(right) + 2 <= width:
            return apart(left, right, width)
    return apart(_left(scene, 0, place), _right(scene, 0), width)


def _left(scene: Scene, detail: int, place: str) -> Line:
    head = line(" ", ("pfms-ha-tui", Ink.DIM))
    state = scene.state
    if state is not None:
        head += line("  ", (plain(state.name), Ink.STRONG))
    if place:
        head += line((" › ", Ink.DIM), (plain(place), Ink.STRONG))
    words: list[Line] = []
    if state is not None:
        if detail >= 1 and not place:
            words.append(line((fmt.plural(len(state.snapshot.nodes), "node"), Ink.DIM)))
        mode = MODE[state.mode] if detail >= 2 else state.mode.value
        words.append(line((mode, Ink.DIM)))
        if detail >= 3 and not place:
            words.append(line((f"every {state.interval:g} s", Ink.DIM)))
    if scene.read_only or (scene.board.welcome and scene.board.welcome.rights is Rights.READ):
        words.append(line(("read-only", Ink.WARN)))
    return head + (line("   ") + glue(words, line((" · ", Ink.DIM))) if words else EMPTY)


def _right(scene: Scene, detail: int) -> Line:
    words: list[str] = []
    welcome = scene.board.welcome
    if welcome is not None and scene.live:
        if detail >= 1:
            words.append(f"worker {welcome.pid}")
        if detail >= 3:
            words.append(f"up {fmt.age(max(0.0, scene.wall - welcome.started_at)).replace('now', '0 s')}")
    words.append(fmt.clock(scene.wall))
    return line((" · ".join(words) + " ", Ink.DIM))


def tab_line(
    scene: Scene, clusters: list[ClusterState], width: int
) -> tuple[Line, list[tuple[int, int, str]]]:
    """One tab per cluster, worst first, and for each its (first column, end, name) for the mouse."""
    spans: list[Span] = [Span(" ")]
    places: list[tuple[int, int, str]] = []
    x = 1
    for number, state in enumerate(clusters, 1):
        sign = SEVERITY[state.diagnosis.severity]
        chosen = scene.state is not None and state.name == scene.state.name
        text = f"{number} {plain(state.name)}"
        tab = line(
            ("[" if chosen else " ", Ink.KEY),
            (f"{text} ", Ink.STRONG if chosen else Ink.DIM),
            sign.dot,
            ("]" if chosen else " ", Ink.KEY),
            " ",
        )
        places.append((x, x + width_of(tab) - 1, state.name))
        x += width_of(tab)
        spans.extend(tab)
    return apart(tuple(spans), line(("[ ] switch ", Ink.DIM)), width), places

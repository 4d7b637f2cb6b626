"""The last line: the keys that do something here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pfms_ha_tui.console.actions import ACTIONS, Action, shown_keys
from pfms_ha_tui.console.ink import Ink, Line, Span, crop, line, width_of
from pfms_ha_tui.console.scene import Scene


def key_line(
    scene: Scene, node: str | None, ids: Sequence[str], keymap: Mapping[str, str], width: int
) -> tuple[Line, list[tuple[int, int, str]]]:
    """The line of keys, and for each its (first column, end, action id) for the mouse.

    Too many for the width: those with the highest ``drop`` are left out. What is not possible is grey.
    """
    actions = [ACTIONS[name] for name in ids if keymap.get(name, ACTIONS[name].keys)]
    while len(actions) > 1 and _length(actions, keymap) > width:
        actions.remove(max(actions, key=lambda action: action.drop))
    spans: list[Span] = [Span(" ")]
    places: list[tuple[int, int, str]] = []
    x = 1
    for action in actions:
        possible = action.why_not(scene, node) is None
        item = _item(action, keymap, possible)
        cells = width_of(item)
        places.append((x, x + cells, action.id))
        spans += [*item, Span("  ")]
        x += cells + 2
    return tuple(spans[:-1]), places


def typing_line(width: int) -> Line:
    """Instead of the keys, while the words of a filter are typed."""
    text = line(" ", ("⏎", Ink.KEY), " Keep the filter  ", ("esc", Ink.KEY), " Show everything again")
    return crop(text, width)


def _item(action: Action, keymap: Mapping[str, str], possible: bool) -> Line:
    key = shown_keys(keymap.get(action.id, action.keys))[0]
    if not possible:
        return line((f"{key} {action.title}", Ink.DIM))
    return line((key, Ink.KEY), f" {action.title}")


def _length(actions: Sequence[Action], keymap: Mapping[str, str]) -> int:
    return 1 + sum(width_of(_item(action, keymap, True)) + 2 for action in actions) - 2

"""Help: keys, signs and words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.console import glyphs
from pfms_ha_tui.console.actions import ACTIONS, bindings, shown_keys
from pfms_ha_tui.console.glyphs import Sign
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, text_of, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.widgets.details import heading
from pfms_ha_tui.console.widgets.nodes import matches
from pfms_ha_tui.console.widgets.pane import Document

_MOVES = (
    ("↑ ↓  or  k j", "One line up or down."),
    ("pgup pgdn  or  b space", "One page up or down."),
    ("home end  or  g G", "First and last line."),
    ("tab  shift+tab", "The next and the previous pane."),
    ("1 … 9", "The cluster of that tab."),
    ("^z", "Suspend the console; fg brings it back."),
)

_WORDS = (
    ("Sync", "Whether the node needs a resync (a fresh copy of the data): ok, queued, running, failed. "
             "“broken” = what it received cannot be applied; see its errors."),
    ("Role", "MASTER takes writes and follows no one. SLAVE follows. “was” = the node does not answer, this "
             "is the last role seen. “rw” = a slave that would take writes. “off” = never to be chosen as "
             "master."),
    ("SQL", "What the last probe saw and how long it took. refused = its host answers but no server listens; "
            "hung = it connects but does not answer; no reply = nothing at all comes back."),
    ("SSH", "Whether commands can be run on the node’s host. Without it a dead master cannot be fenced."),
    ("Behind", "Seconds behind the master as the server says it, and the bytes if they are many."),
    ("Position", "A master’s own binary log; of a slave, how far of its master’s log it has applied."),
    ("DB", "The release of Pandora’s schema."),
    ("Seen", "How long ago the node last answered a probe in full."),
    ("Readiness", "The checks that must all hold before the worker fails over by itself; each says why not."),
    ("Lag graph", "“·” = nothing was observed, “✖” = the server could not say (NULL); neither is zero."),
    ("Grey", "A memory: the node, or the worker, has not answered since. The age stands beside it."),
    ("?  and  —", "“?” should be known and is not. “—” does not apply."),
)  # fmt: skip


class HelpScreen(ConsoleScreen):
    """One document; the filter finds a key or a word in it."""

    PLACE = "Help"
    HAS_BANNER = False
    KEYS = ("back", "filter", "commands", "quit")
    BINDINGS: ClassVar[list[BindingType]] = bindings(("filter", "copy"))

    def body(self) -> ComposeResult:
        yield Document(id="help", classes="panel", title="Help")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#help", Document).focus()

    def show(self, scene: Scene) -> None:
        super().show(scene)

        def draw(width: int, _height: int) -> list[Line]:
            lines = self._document(scene, width)
            return [one for one in lines if matches(text_of(one), self.words)] if self.words else lines

        self.query_one("#help", Document).paint(draw)

    def _document(self, scene: Scene, width: int) -> list[Line]:
        keymap = self.console.keymap
        lines = heading("Keys")
        for action in ACTIONS.values():
            keys = shown_keys(keymap.get(action.id, action.keys))
            if keys:
                lines += _entry("  ".join(keys), f"{action.title}. {action.about}", width, Ink.KEY)
        lines += [line(("Moving", Ink.HEAD))]
        for keys_text, about in _MOVES:
            lines += _entry(keys_text, about, width, Ink.KEY)
        lines += heading("Signs")
        lines += _signs("Resync", glyphs.SYNC.values())
        lines += _signs("Severity", glyphs.SEVERITY.values())
        lines += _signs("Checks", glyphs.GUARD.values())
        lines += _signs("SQL", glyphs.REACH.values())
        lines += heading("Words")
        for word, about in _WORDS:
            lines += _entry(word, about, width, Ink.STRONG)
        lines += heading("This console")
        for name, value in self._facts(scene):
            lines += _entry(name, value, width, Ink.DIM)
        return lines[1:]

    def _facts(self, scene: Scene) -> Iterable[tuple[str, str]]:
        welcome = scene.board.welcome
        yield "Worker’s socket", str(self.console.link.socket)
        if welcome is not None:
            yield "Worker", f"version {welcome.version}, pid {welcome.pid}"
            yield "Worker’s log", welcome.log_file
            yield "Settings", welcome.config
            yield "You are", f"{welcome.actor}, rights: {welcome.rights.value}"
        yield "Theme", f"{self.app.theme}; others by the commands, or [console] theme in the settings"
        yield "Remap a key", '[console.keys] in the settings, for example  evidence = "i";  the ids are below'
        yield "Ids", ", ".join(action.id for action in ACTIONS.values() if action.keys)
        yield "Copy", "by OSC 52: over SSH too, if the terminal allows it (tmux: set -g set-clipboard on)"

    def to_copy(self) -> tuple[str, str] | None:
        return "the help", self.pane_text(self.query_one("#help", Document))


def _entry(name: str, about: str, width: int, ink: Ink) -> list[Line]:
    gap = 24 if width >= 100 else 18
    parts = wrap(line(clean(about)), max(20, width - gap - 2))
    if len(name) > gap - 1:
        return [line("  ", (name, ink)), *(line(" " * (gap + 2)) + part for part in parts)]
    first, *rest = parts
    return [line("  ", (name.ljust(gap), ink)) + first, *(line(" " * (gap + 2)) + part for part in rest)]


def _signs(title: str, signs: Iterable[Sign]) -> list[Line]:
    out: list[Line] = []
    row = line("  ", (title.ljust(10), Ink.DIM))
    for sign in signs:
        row += line(sign.both, "   ")
    out.append(row)
    return out or [EMPTY]

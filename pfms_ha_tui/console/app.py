"""The console: which screen is up, which cluster it shows, and the thread that ties it to the worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.config.settings import ConsoleSettings
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import ACTIONS, BY_NAME, EVERYWHERE, bindings, shown_keys
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.console.link import Link, Start
from pfms_ha_tui.console.scene import Board, Clock, Scene
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.screens.dashboard import Dashboard
from pfms_ha_tui.console.terminal import hung_up
from pfms_ha_tui.console.themes import CHOICES, THEMES, theme_for
from pfms_ha_tui.errors import PfmsError, WorkerError
from pfms_ha_tui.worker.protocol import Nothing, Rights

TICK = 1.1
"""Seconds without a word from the worker after which ages and clock are drawn again all the same."""
HUNG_UP = 129
CRASHED = 70


class Console(App[int], inherit_bindings=False):
    """The Textual app.

    Args:
        socket: the worker's socket.
        settings: theme and keys.
        read_only: offer nothing that changes anything.
        ascii_only: draw with nothing but ASCII.
        few_colours: the terminal has sixteen colours at most.
        start: how to start a worker when none runs; ``None`` = do not.
        started_worker: whether a worker was started for this console already.
        clock: this host's clocks.
    """

    TITLE = "pfms-ha-tui"
    CSS_PATH = "styles/console.tcss"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(EVERYWHERE),
        *(Binding(str(number), f"show_tab({number})", show=False) for number in range(1, 10)),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("tab", "app.focus_next", show=False),
        Binding("shift+tab", "app.focus_previous", show=False),
    ]

    class Changed(Message):
        """The board has something new; several that wait count as one."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Console.Changed)

    def __init__(
        self,
        socket: Path,
        settings: ConsoleSettings | None = None,
        *,
        read_only: bool = False,
        ascii_only: bool = False,
        few_colours: bool = False,
        start: Start | None = None,
        started_worker: bool = False,
        clock: Clock | None = None,
        config: Path | None = None,
        demo: bool = False,
    ):
        # With ANSI colours NO_COLOR leaves none; without them Textual would only make them grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        settings = settings or ConsoleSettings()
        self.animation_level = "none"
        self.clock = clock or Clock()
        self.board = Board()
        self.link = Link(
            socket, self.board, self._board_changed, start=start, clock=self.clock, config=config
        )
        self.read_only = read_only
        self.keymap = dict(settings.keys)
        self.cluster: str | None = None
        """The cluster that is shown."""
        self.parting_words: str | None = None
        """Printed after the terminal is the user's again."""
        self.crash: BaseException | None = None
        self._started_worker = started_worker
        self._demo = demo
        self._few_colours = few_colours or self.no_color
        if ascii_only:
            self.add_class("-ascii")
        for theme in THEMES.values():
            self.register_theme(theme)
        self._choose_theme(settings.theme)

    def _choose_theme(self, choice: str) -> None:
        name = theme_for(choice, few_colours=self._few_colours)
        if name not in self.available_themes:
            self.call_later(self.say, f"there is no theme {choice!r}; using dark", "warning")
            name = theme_for("dark", few_colours=self._few_colours)
        self.theme = name

    @property
    def scene(self) -> Scene:
        """What is known at this instant."""
        state = self.board.clusters.get(self.cluster) if self.cluster is not None else None
        if state is None and self.board.clusters:
            state = self.board.worst_first()[0]
            self.cluster = state.name
        return Scene(self.board, state, self.clock.mono(), self.clock.wall(), self.read_only)

    @property
    def base_depth(self) -> int:
        """How many screens are on the stack when the dashboard is on top."""
        return 1

    def get_default_screen(self) -> Screen[object]:
        return Dashboard()  # type: ignore[return-value]

    def on_mount(self) -> None:
        self.set_keymap(self.keymap)
        self._check_keys()
        self.run_worker(self.link.run(), group="link", exit_on_error=True)
        self._ticker = self.set_interval(TICK, self._tick)

    def _check_keys(self) -> None:
        """Say which of the settings' keys mean nothing, or two things."""
        from pfms_ha_tui.console.widgets.pane import MOVES

        keys = {action.id: action.keys for action in ACTIONS.values() if action.keys}
        keys |= {move.id: move.key for move in MOVES if move.id}
        for name in sorted(set(self.keymap) - set(keys)):
            self.say(f"[console.keys] {name!r} is no action; the ids are in the help", "warning")
        meant: dict[str, str] = {}
        for name, wanted in (keys | self.keymap).items():
            for key in shown_keys(wanted):
                other = meant.get(key)
                # The defaults share a key only where they never meet on one screen.
                if other is not None and name in keys and {name, other} & set(self.keymap):
                    self.say(f"[console.keys] {key} is wanted for {meant[key]} and for {name}", "warning")
                meant.setdefault(key, name)

    # Drawing.

    def _board_changed(self) -> None:
        if self.is_running:
            self.post_message(self.Changed())

    def on_console_changed(self) -> None:
        self._ticker.reset()
        self._draw()

    def _tick(self) -> None:
        if not self.is_headless and hung_up(sys.__stdin__.fileno() if sys.__stdin__ else 0):
            self.exit(HUNG_UP, return_code=HUNG_UP)
            return
        self._draw()

    def _draw(self) -> None:
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                screen.refresh_scene()
                return

    def on_resize(self, event: events.Resize) -> None:
        from pfms_ha_tui.console.screens.dialogs import TooSmall, too_small

        small = too_small(event.size.width, event.size.height)
        if small and not isinstance(self.screen, TooSmall):
            self.push_screen(TooSmall())
        elif not small and isinstance(self.screen, TooSmall):
            self.pop_screen()

    # Asked by keys and commands.

    def action_perform(self, name: str) -> None:
        """Do the action of that id, or say why it cannot be done now."""
        screen = self.screen
        if not isinstance(screen, ConsoleScreen):
            return
        action = ACTIONS[name]
        reason = action.why_not(self.scene, screen.node)
        if reason is not None:
            self.say(f"{action.title}: {reason}", "warning")
        else:
            action.run(screen)

    def action_leave(self) -> None:
        """As ``q``."""
        self.leave()

    def action_show_tab(self, number: int) -> None:
        """Show the cluster of that tab."""
        clusters = self.board.worst_first()
        if len(clusters) > 1 and number <= len(clusters):
            self.show_cluster(clusters[number - 1].name)

    def next_cluster(self, by: int) -> None:
        """Show the cluster of the next or previous tab."""
        names = [state.name for state in self.board.worst_first()]
        here = names.index(self.cluster) if self.cluster in names else 0
        self.show_cluster(names[(here + by) % len(names)])

    def show_cluster(self, name: str) -> None:
        """Show that cluster on the dashboard."""
        while len(self.screen_stack) > self.base_depth:
            self.pop_screen()
        self.cluster = name
        self._draw()

    def open_palette(self) -> None:
        """Everything by its name."""
        from pfms_ha_tui.console.commands import Command
        from pfms_ha_tui.console.screens.dialogs import Palette

        screen = self.screen
        if not isinstance(screen, ConsoleScreen):
            return
        ids = dict.fromkeys((*screen.key_ids, *BY_NAME, *EVERYWHERE))
        commands = [
            Command(
                id=action.id,
                title=action.title,
                about=action.about,
                keys="  ".join(shown_keys(self.keymap.get(action.id, action.keys))),
                why_not=action.why_not(self.scene, screen.node),
            )
            for action in (ACTIONS[name] for name in ids if name != "commands")
        ]
        commands += [
            Command(
                id=f"theme:{name}", title=f"Theme {name}", about="Change the colours, until the console ends."
            )
            for name in CHOICES
        ]
        commands += [
            Command(id=f"cluster:{name}", title=f"Cluster {name}", about="Show this cluster.")
            for name in (self.board.clusters if len(self.board.clusters) > 1 else ())
        ]
        self.push_screen(Palette(commands), self._chosen)

    def _chosen(self, command: str | None) -> None:
        if command is None:
            return
        kind, _, name = command.partition(":")
        if kind == "theme":
            self._choose_theme(name)
        elif kind == "cluster":
            self.show_cluster(name)
        else:
            self.action_perform(command)

    def leave(self) -> None:
        """Quit; whether a worker that this console started is stopped with it, a person is asked."""
        from pfms_ha_tui.console.screens.dialogs import Question

        if not self._would_stop_worker():
            self._part(self._worker_goes_on())
            return
        self.push_screen(
            Question(
                "Quit",
                [
                    "This console started the worker, and no cluster is in automatic mode.",
                    "Stopped, it watches nothing and writes no history until it is started again.",
                ],
                [
                    ("keep", "Quit, the worker keeps running"),
                    ("stop", "Quit and stop the worker"),
                    ("stay", "Stay here"),
                ],
            ),
            self._leave_as_answered,
        )

    def _would_stop_worker(self) -> bool:
        if not (self._started_worker or self.link.started) or self.read_only:
            return False
        states = self.board.clusters.values()
        welcome = self.board.welcome
        return (
            self.scene.live
            and welcome is not None
            and welcome.rights is Rights.FULL
            and not any(state.mode is Mode.AUTOMATIC or state.operation is not None for state in states)
        )

    def _leave_as_answered(self, answer: str | None) -> None:
        if answer == "keep":
            self._part(self._worker_goes_on())
        elif answer == "stop":
            self.run_worker(self._stop_worker(and_leave=True), group="stop", exit_on_error=False)

    def ask_to_stop_worker(self) -> None:
        """Stop the worker after a person said so twice."""
        from pfms_ha_tui.console.screens.dialogs import Question

        automatic = [state.name for state in self.board.clusters.values() if state.mode is Mode.AUTOMATIC]
        warning = f"{', '.join(automatic)} will not fail over by itself any more." if automatic else ""

        def answered(answer: str | None) -> None:
            if answer == "stop":
                self.run_worker(self._stop_worker(and_leave=False), group="stop", exit_on_error=False)

        self.push_screen(
            Question(
                "Stop the worker",
                [text for text in ("Nothing watches the cluster until it runs again.", warning) if text],
                [("stay", "Leave it running"), ("stop", "Stop the worker")],
            ),
            answered,
        )

    def send(self, method: str, params: object, done: str) -> None:
        """Tell the worker something, and say how it went."""
        self.run_worker(self.tell(method, params, done), group="orders", exit_on_error=False)

    async def tell(self, method: str, params: object, done: str = "") -> None:
        """Tell the worker something that it answers with nothing but yes or no."""
        try:
            await self.link.ask(method, params, Nothing)
        except WorkerError as exc:
            self.say(str(exc), "error")
        else:
            if done:
                self.say(done)

    async def _stop_worker(self, *, and_leave: bool) -> None:
        try:
            await self.link.ask("stop", Nothing(), Nothing, timeout=10.0)
        except WorkerError as exc:
            if exc.code != "lost":
                self.say(f"the worker was not stopped: {exc}", "error")
                return
        if and_leave:
            self._part("the worker was stopped: nothing watches the cluster now")

    def _worker_goes_on(self) -> str:
        if self._demo:
            return "the demo ends: its cluster is removed, and its worker ends with it"
        welcome = self.board.welcome
        if welcome is None or not self.scene.live:
            return "the worker was not connected when the console ended"
        armed = sorted(state.name for state in self.board.clusters.values() if state.mode is Mode.AUTOMATIC)
        then = (
            f"automatic failover stays armed for {', '.join(armed)}" if armed else "it watches and proposes"
        )
        return f"the worker (pid {welcome.pid}) keeps running: {then}"

    def _part(self, words: str) -> None:
        self.parting_words = words
        self.exit(0)

    def export(self, chosen: Sequence[Event]) -> None:
        """Ask for a file name and write the incident report to it."""
        from pfms_ha_tui.console.incident import default_name, incident, write_new
        from pfms_ha_tui.console.screens.dialogs import LineOfText

        scene = self.scene
        if scene.state is None:
            return
        total = len(scene.events)
        what = fmt.plural(len(chosen), "event")
        filtered = f" (of {total}: the filter holds)" if len(chosen) != total else ""

        def written(answer: str | None) -> None:
            if not answer:
                return
            path = Path(answer).expanduser()
            try:
                write_new(path, incident(self.scene, chosen))
            except PfmsError as exc:
                self.say(str(exc), "error")
            else:
                self.say(f"wrote {path}")

        default = Path.cwd() / default_name(scene.state.name, scene.wall)
        self.push_screen(
            LineOfText(
                "Export the incident",
                f"Writes {what}{filtered} and how the cluster stands, to:",
                str(default),
            ),
            written,
        )

    def node_text(self, label: str) -> tuple[str, str] | None:
        """(what, text) of one node, for the clipboard."""
        from pfms_ha_tui.console.ink import text_of
        from pfms_ha_tui.console.widgets.nodes import COLUMNS

        scene = self.scene
        node = scene.state.snapshot.node(label) if scene.state else None
        if node is None:
            return None
        facts = "\n".join(f"{column.title}: {text_of(column.cell(scene, node))}" for column in COLUMNS)
        return f"node {label}", facts

    def event_text(self, key: str) -> tuple[str, str] | None:
        """(what, text) of one event, for the clipboard."""
        event = next((event for event in self.scene.events if str(event.id) == key), None)
        if event is None:
            return None
        head = (
            f"{fmt.full_moment(event.at)} {event.severity.value}: {clean(event.text)} ({clean(event.actor)})"
        )
        return "the event", "\n".join([head, *map(clean, (event.details or "").splitlines())])

    def say(self, text: str, severity: str = "information") -> None:
        """A notice in the corner; ``text`` is never markup."""
        level = "warning" if severity == "warning" else "error" if severity == "error" else "information"
        self.notify(clean(text), severity=level, markup=False, timeout=6)  # type: ignore[arg-type]

    def _handle_exception(self, error: Exception) -> None:
        """End without a traceback on the screen; the caller writes it to a file. Tests want it raised."""
        if self.is_headless:
            super()._handle_exception(error)
            return
        self.crash = error
        self.exit(CRASHED, return_code=CRASHED)

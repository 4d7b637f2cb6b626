"""The table of everything a key or a command can do, and for each why it cannot be done now.

An action that is not possible is shown in grey; asked for all the same, it says the reason instead of
doing anything. What changes the cluster joins this table with the operation that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.binding import Binding, BindingType

from pfms_ha_tui.console import orders
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.worker.protocol import OrderKind

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.base import ConsoleScreen

WhyNot = Callable[[Scene, str | None], str | None]
"""(scene, label of the node under the cursor) → the reason, or ``None`` when it can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing a person can ask for."""

    id: str
    """Stable: also the name that ``[console.keys]`` remaps."""
    keys: str
    """Default keys, as Textual writes them, separated by commas; empty = by the commands only."""
    title: str
    """One or two words, for the line of keys."""
    about: str
    """One sentence, for the help and the commands."""
    run: Callable[[ConsoleScreen], None]
    why_not: WhyNot
    drop: int = 5
    """The line of keys leaves out the highest first when it is too long."""


def always(_scene: Scene, _node: str | None) -> None:
    """Nothing stands against it."""
    return


def why_not_without_state(scene: Scene, _node: str | None) -> str | None:
    """Needs a cluster that the worker has reported."""
    return None if scene.state is not None else "nothing is known of the cluster yet"


def why_not_without_node(scene: Scene, node: str | None) -> str | None:
    """Needs a node under the cursor."""
    return why_not_without_state(scene, node) or (None if node else "no node is chosen")


def why_not_without_events(scene: Scene, node: str | None) -> str | None:
    """Needs something that happened."""
    return why_not_without_state(scene, node) or (None if scene.events else "nothing has happened yet")


def why_not_several(scene: Scene, _node: str | None) -> str | None:
    """Needs more than one cluster."""
    return None if len(scene.board.clusters) > 1 else "there is one cluster only"


def why_not_name_master(scene: Scene, node: str | None) -> str | None:
    """Needs a worker that takes orders, and a node."""
    return orders.why_not_orders(scene, node) or why_not_without_node(scene, node)


ACTIONS: Mapping[str, Action] = {
    action.id: action
    for action in (
        Action(
            id="details", keys="enter", title="Details", drop=1,
            about="Everything about the node under the cursor; in the timeline, about the event.",
            run=lambda screen: screen.open_details(), why_not=always,
        ),
        Action(
            id="evidence", keys="e", title="Evidence", drop=2,
            about="What the judgement rests on: findings, guards with their reasons, who sees whom.",
            run=lambda screen: screen.open_evidence(), why_not=why_not_without_state,
        ),
        Action(
            id="timeline", keys="t", title="Timeline", drop=3,
            about="All events, with filter, details and export.",
            run=lambda screen: screen.open_timeline(), why_not=why_not_without_state,
        ),
        Action(
            id="filter", keys="slash", title="Filter", drop=4,
            about="Show only lines that contain all the words typed. It never limits what is acted on.",
            run=lambda screen: screen.open_filter(), why_not=always,
        ),
        Action(
            id="severity", keys="v", title="Severity", drop=5,
            about="Show all events, or from warning up, or critical ones only.",
            run=lambda screen: screen.next_severity(), why_not=why_not_without_events,
        ),
        Action(
            id="export", keys="x", title="Export", drop=6,
            about="Write the events shown, and how the cluster stands, to a Markdown file.",
            run=lambda screen: screen.open_export(), why_not=why_not_without_events,
        ),
        Action(
            id="copy", keys="y", title="Copy", drop=7,
            about="Copy what the cursor is on to the clipboard of your terminal (OSC 52).",
            run=lambda screen: screen.copy(), why_not=always,
        ),
        Action(
            id="reload", keys="f5", title="Ask again", drop=8,
            about="Ask the server again.",
            run=lambda screen: screen.reload(), why_not=why_not_without_node,
        ),
        Action(
            id="cluster.next", keys="right_square_bracket", title="Next cluster", drop=9,
            about="Show the next cluster.",
            run=lambda screen: screen.console.next_cluster(1), why_not=why_not_several,
        ),
        Action(
            id="cluster.previous", keys="left_square_bracket", title="Previous cluster", drop=10,
            about="Show the cluster before.",
            run=lambda screen: screen.console.next_cluster(-1), why_not=why_not_several,
        ),
        Action(
            id="help", keys="question_mark", title="Help", drop=0,
            about="Keys, signs and words.",
            run=lambda screen: screen.open_help(), why_not=always,
        ),
        Action(
            id="commands", keys="colon,ctrl+p", title="Commands", drop=2,
            about="Find a command by its name.",
            run=lambda screen: screen.console.open_palette(), why_not=always,
        ),
        Action(
            id="back", keys="escape", title="Back", drop=0,
            about="Clear the filter, or go back to the screen before. It never quits.",
            run=lambda screen: screen.back(), why_not=always,
        ),
        Action(
            id="switchover", keys="s", title="Switchover", drop=3,
            about="Make the node under the cursor the master, as planned. Loses nothing.",
            run=lambda screen: orders.open_order(OrderKind.SWITCHOVER, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.SWITCHOVER, scene, node),
        ),
        Action(
            id="failover", keys="f", title="Failover", drop=3,
            about="Promote the best slave because the master is dead. Shows what would be lost.",
            run=lambda screen: orders.open_order(OrderKind.FAILOVER, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.FAILOVER, scene, node),
        ),
        Action(
            id="resync", keys="r", title="Resync", drop=3,
            about="Rebuild the slave under the cursor from another node; its old data is kept meanwhile.",
            run=lambda screen: orders.open_order(OrderKind.CLONE, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.CLONE, scene, node),
        ),
        Action(
            id="clone", keys="c", title="Clone", drop=3,
            about="Wizard: rebuild a slave, choosing source, method and speed; every check first.",
            run=orders.open_clone, why_not=orders.why_not_clone,
        ),
        Action(
            id="merge", keys="m", title="Merge", drop=2,
            about="Wizard: two masters wrote; add what only one side has to the other, row by row.",
            run=orders.open_merge, why_not=orders.why_not_merge,
        ),
        Action(
            id="merge.drop", keys="w", title="Columns that do not fit", drop=2,
            about="Merge: columns that the master cannot take are left out, archived; or mapped to its own.",
            run=lambda screen: screen.settle_columns(), why_not=orders.why_not_orders,
        ),
        Action(
            id="merge.clone", keys="c", title="Go on with the clone", drop=0,
            about="After a merge: rebuild the side that lost from the master. Asks for its label again.",
            run=lambda screen: screen.go_on(), why_not=orders.why_not_orders,
        ),
        Action(
            id="clone.give-up", keys="w", title="Without room for both", drop=2,
            about="Clone: confirm that the old data goes before the copy, as there is no room for both.",
            run=lambda screen: screen.give_up_old(), why_not=orders.why_not_orders,
        ),
        Action(
            id="rejoin", keys="", title="Rejoin",
            about="Let the returned old master under the cursor follow the present one.",
            run=lambda screen: orders.open_order(OrderKind.REJOIN, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.REJOIN, scene, node),
        ),
        Action(
            id="lock", keys="", title="Lock",
            about="Two masters: make the node under the cursor read-only and end its clients.",
            run=lambda screen: orders.open_order(OrderKind.LOCK, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.LOCK, scene, node),
        ),
        Action(
            id="reopen", keys="", title="Reopen",
            about="Make the unchanged master writable again after it restarted read-only.",
            run=lambda screen: orders.open_order(OrderKind.REOPEN, screen),
            why_not=lambda scene, node: orders.why_not_order(OrderKind.REOPEN, scene, node),
        ),
        Action(
            id="pause", keys="p", title="Pause", drop=6,
            about="Maintenance: the worker does nothing by itself for a while; again to end it.",
            run=orders.pause_or_resume, why_not=orders.why_not_orders,
        ),
        Action(
            id="operation", keys="o", title="Operation", drop=6,
            about="The operation that runs, step by step, or the last one.",
            run=orders.open_operation, why_not=why_not_without_state,
        ),
        Action(
            id="operation.cancel", keys="x", title="Cancel it", drop=3,
            about="End the running operation at its next safe point and undo what it did.",
            run=lambda screen: screen.cancel(), why_not=orders.why_not_cancel,
        ),
        Action(
            id="resync.cancel", keys="", title="Cancel queued resync",
            about="The resync of the node under the cursor, which waits for its turn, is not begun.",
            run=orders.cancel_waiting, why_not=orders.why_not_cancel_waiting,
        ),
        Action(
            id="wizard.next", keys="enter", title="Next", drop=1,
            about="On to the next page of the wizard; esc goes back a page.",
            run=lambda screen: screen.advance(), why_not=always,
        ),
        Action(
            id="order.confirm", keys="enter", title="Confirm", drop=1,
            about="Ask for the node's label, then start.",
            run=lambda screen: screen.confirm(), why_not=orders.why_not_orders,
        ),
        Action(
            id="order.rehearse", keys="f5", title="Rehearse", drop=2,
            about="Every check against the live cluster; nothing is changed.",
            run=lambda screen: screen.rehearse(), why_not=orders.why_not_orders,
        ),
        Action(
            id="acknowledge", keys="", title="Acknowledge the failover",
            about="It was looked at: another one may follow before the block ends.",
            run=orders.acknowledge, why_not=orders.why_not_acknowledge,
        ),
        Action(
            id="mode", keys="", title="Mode",
            about="How much the worker does by itself: observe, manual, automatic.",
            run=orders.choose_mode, why_not=orders.why_not_orders,
        ),
        Action(
            id="name-master", keys="", title="Name the master",
            about="Say that the node under the cursor is the master when the worker cannot know.",
            run=orders.name_master, why_not=why_not_name_master,
        ),
        Action(
            id="stop-worker", keys="", title="Stop the worker",
            about="End the worker: nothing watches the cluster and nothing fails over until it runs again.",
            run=lambda screen: screen.console.ask_to_stop_worker(), why_not=orders.why_not_tell,
        ),
        Action(
            id="quit", keys="q,ctrl+c", title="Quit", drop=0,
            about="Leave the console. The worker goes on, or you are asked.",
            run=lambda screen: screen.console.leave(), why_not=always,
        ),
    )
}  # fmt: skip

BY_NAME = ("rejoin", "lock", "reopen", "resync.cancel", "acknowledge", "mode", "name-master", "stop-worker")
"""What is seldom needed has no key of its own: it is found in the commands of the dashboard."""

EVERYWHERE = ("help", "commands", "back", "cluster.next", "cluster.previous", "quit")
"""Bound on the app itself, so that they work on every screen."""


def bindings(ids: Iterable[str]) -> list[BindingType]:
    """The key bindings of those actions; their ids are what a keymap names."""
    return [
        Binding(
            action.keys,
            f"app.perform('{action.id}')",
            action.title,
            id=action.id,
            tooltip=action.about,
            show=False,
        )
        for action in (ACTIONS[name] for name in ids)
        if action.keys
    ]


_SHOWN = {
    "enter": "⏎", "escape": "esc", "slash": "/", "question_mark": "?", "colon": ":", "space": "space",
    "left_square_bracket": "[", "right_square_bracket": "]", "comma": ",", "full_stop": ".", "minus": "-",
    "plus": "+", "underscore": "_", "semicolon": ";", "up": "↑", "down": "↓",
    "pageup": "pgup", "pagedown": "pgdn",
}  # fmt: skip


def shown_keys(keys: str) -> list[str]:
    """Keys as people write them: ``question_mark,ctrl+p`` → ``?`` and ``^p``."""
    out: list[str] = []
    for key in filter(None, (part.strip() for part in keys.split(","))):
        name = key.removeprefix("ctrl+")
        out.append(f"^{name}" if name != key else _SHOWN.get(key, key))
    return out

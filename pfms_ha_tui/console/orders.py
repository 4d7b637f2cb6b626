"""What changes the cluster, as actions: each shows a plan or asks first, and says why it cannot be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.refusals import ANYBODY
from pfms_ha_tui.cluster.snapshot import SyncState
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.worker.protocol import (
    Cancel,
    ClusterRef,
    NodeQuery,
    Order,
    OrderKind,
    Pause,
    Rights,
    SetMode,
)

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.base import ConsoleScreen


def why_not_tell(scene: Scene, _node: str | None) -> str | None:
    """Needs a worker that listens to this console."""
    if not scene.live:
        return "the worker is not connected"
    if scene.read_only:
        return "this console was started with --read-only"
    if scene.board.welcome is not None and scene.board.welcome.rights is Rights.READ:
        return f"the worker lets {scene.board.welcome.actor} only look"
    return None


def why_not_orders(scene: Scene, node: str | None) -> str | None:
    """Needs a cluster, and a worker that takes orders about it from this console."""
    why = why_not_tell(scene, node)
    return why or (None if scene.state is not None else "nothing is known of the cluster yet")


def why_not_order(kind: OrderKind, scene: Scene, node: str | None) -> str | None:
    """Why this order cannot be given about the node under the cursor."""
    why = why_not_orders(scene, node)
    if why is not None or scene.state is None:
        return why
    if kind is OrderKind.FAILOVER:
        return scene.state.refusals.get(kind, {}).get(ANYBODY)
    if node is None:
        return "no node is chosen"
    return scene.state.refusals.get(kind, {}).get(node)


def why_not_cancel(scene: Scene, node: str | None) -> str | None:
    """Needs an operation that can still be cancelled."""
    why = why_not_orders(scene, node)
    if why is not None or scene.state is None:
        return why
    view = scene.state.operation
    if view is None or view.state is not OperationState.RUNNING:
        return "no operation is running"
    return None if view.cancellable else "it is past its last safe point"


def why_not_cancel_waiting(scene: Scene, node: str | None) -> str | None:
    """Needs a node under the cursor whose resync waits for its turn."""
    why = why_not_orders(scene, node)
    if why is not None or scene.state is None:
        return why
    waiting = [one.label for one in scene.state.snapshot.nodes if one.sync.state is SyncState.QUEUED]
    return None if node in waiting else "no resync of the node under the cursor waits for its turn"


def cancel_waiting(screen: ConsoleScreen) -> None:
    """Nothing was begun, so nothing is asked."""
    state, node = screen.scene.state, screen.node
    if state is not None and node is not None:
        done = f"the resync of {node} is not begun"
        screen.console.send("cancel", Cancel(cluster=state.name, queued=node), done)


def why_not_acknowledge(scene: Scene, node: str | None) -> str | None:
    """Needs a worker; whether there is a failover to acknowledge, it says itself."""
    return why_not_orders(scene, node)


def open_order(kind: OrderKind, screen: ConsoleScreen) -> None:
    """Show the plan of an order. A failover leaves the choice of the node to the worker."""
    from pfms_ha_tui.console.screens.operation import OrderScreen

    state = screen.scene.state
    if state is None:
        return
    target = None if kind is OrderKind.FAILOVER else screen.node
    screen.app.push_screen(OrderScreen(Order(cluster=state.name, kind=kind, target=target)))


def why_not_merge(scene: Scene, node: str | None) -> str | None:
    """Needs two nodes, and a worker that may change something."""
    why = why_not_orders(scene, node)
    if why is not None or scene.state is None:
        return why
    if len(scene.state.snapshot.nodes) < 2:
        return "there is one node only"
    return scene.state.refusals.get(OrderKind.MERGE, {}).get(ANYBODY)


def open_merge(screen: ConsoleScreen) -> None:
    """The wizard; who lost is proposed there."""
    from pfms_ha_tui.console.screens.merge import MergeWizard

    state = screen.scene.state
    if state is not None and not isinstance(screen, MergeWizard):
        screen.app.push_screen(MergeWizard(state.name))


def why_not_clone(scene: Scene, node: str | None) -> str | None:
    """Needs two nodes; which of them can be rebuilt, the wizard says."""
    why = why_not_orders(scene, node)
    if why is not None or scene.state is None:
        return why
    return None if len(scene.state.snapshot.nodes) > 1 else "there is one node only"


def open_clone(screen: ConsoleScreen) -> None:
    """The wizard, with the cursor on the node that is meant."""
    from pfms_ha_tui.console.screens.clone import CloneWizard

    state = screen.scene.state
    if state is not None and not isinstance(screen, CloneWizard):
        screen.app.push_screen(CloneWizard(state.name, screen.node))


def open_operation(screen: ConsoleScreen) -> None:
    """The operation that runs, or the last one."""
    from pfms_ha_tui.console.screens.operation import OperationScreen

    if not isinstance(screen, OperationScreen):
        screen.app.push_screen(OperationScreen())


def pause_or_resume(screen: ConsoleScreen) -> None:
    """Maintenance: ask for how long and why; or end the one that is on."""
    from pfms_ha_tui.console.screens.dialogs import LineOfText, Question

    console, state = screen.console, screen.scene.state
    if state is None:
        return
    name = state.name
    if state.maintenance is not None:

        def resumed(answer: str | None) -> None:
            if answer == "resume":
                console.send("resume", ClusterRef(cluster=name), "automatic actions are possible again")

        reason = f": {state.maintenance.reason}" if state.maintenance.reason else ""
        console.push_screen(
            Question(
                "End the maintenance",
                [f"Automatic actions are suspended by {state.maintenance.by}{reason}."],
                [("stay", "Leave it on"), ("resume", "End it: the worker may act by itself again")],
            ),
            resumed,
        )
        return

    def paused(text: str | None) -> None:
        if not text:
            return
        length, _, reason = text.strip().partition(" ")
        try:
            seconds = fmt.parse_span(length)
        except ValueError as exc:
            console.say(f"{exc}; nothing was changed", "error")
            return
        pause = Pause(cluster=name, seconds=seconds, reason=reason.strip())
        console.send("pause", pause, f"automatic actions are suspended for {fmt.span(seconds)}")

    console.push_screen(
        LineOfText(
            "Maintenance",
            "For how long may the worker do nothing by itself, and why? It ends by itself.",
            "30m ",
        ),
        paused,
    )


def acknowledge(screen: ConsoleScreen) -> None:
    """The last failover was looked at; another one may follow."""
    state = screen.scene.state
    if state is not None:
        done = "the last failover is acknowledged; another one may follow"
        screen.console.send("acknowledge", ClusterRef(cluster=state.name), done)


def choose_mode(screen: ConsoleScreen) -> None:
    """How much the worker does by itself."""
    from pfms_ha_tui.console.screens.dialogs import Question

    console, state = screen.console, screen.scene.state
    if state is None:
        return
    name, present = state.name, state.mode
    about = {
        Mode.OBSERVE: "observe: look, never change anything",
        Mode.MANUAL: "manual: propose, a person confirms",
        Mode.AUTOMATIC: "automatic: fail over when every check passes",
    }

    def chosen(answer: str | None) -> None:
        if answer is not None and answer != "stay":
            console.send("set_mode", SetMode(cluster=name, mode=Mode(answer)), f"the mode is {answer}")

    console.push_screen(
        Question(
            "Mode",
            [f"The mode is {present.value} now."],
            [
                ("stay", "Leave it"),
                *((mode.value, text) for mode, text in about.items() if mode is not present),
            ],
        ),
        chosen,
    )


def name_master(screen: ConsoleScreen) -> None:
    """A person says that the node under the cursor is the master."""
    from pfms_ha_tui.console.screens.dialogs import Question

    console, state, node = screen.console, screen.scene.state, screen.node
    if state is None or node is None:
        return
    which = NodeQuery(cluster=state.name, node=node)

    def answered(answer: str | None) -> None:
        if answer == "name":
            console.send("name_master", which, f"{node} counts as the master")

    console.push_screen(
        Question(
            f"Name {node} the master",
            ["Only for when the worker cannot know. Decisions rest on it; nothing on the node is changed."],
            [("stay", "Leave it"), ("name", f"{node} is the master")],
        ),
        answered,
    )

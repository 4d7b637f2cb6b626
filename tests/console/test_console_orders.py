"""Orders from the console: shown in full, confirmed by label only, followed to their end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support import console_states as states
from support.console_app import Stage, console

from pfms_ha_tui.cluster.refusals import ANYBODY
from pfms_ha_tui.console.screens.dashboard import Dashboard
from pfms_ha_tui.console.screens.operation import OperationScreen, OrderScreen
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import (
    Cancel,
    ClusterState,
    Nothing,
    Order,
    OrderKind,
    Pause,
    Plan,
    Rights,
    Start,
)

SECRET_LOOKING = "CHANGE MASTER TO MASTER_PASSWORD = '••••'"


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def view(state: OperationState, *, progress: Progress | None = None, dry_run: bool = False) -> OperationView:
    running = StepState.RUNNING if state is OperationState.RUNNING else StepState.DONE
    return OperationView(
        id=7,
        kind="switchover",
        title="switchover from node1 to node2",
        state=state,
        actor="carol",
        dry_run=dry_run,
        steps=(
            StepView(
                name="lock", title="lock node1", state=running, preview=(SECRET_LOOKING,), progress=progress
            ),
        ),
        cancellable=state is OperationState.RUNNING,
        text="node2 is MASTER, writes paused for 38 ms" if state is OperationState.DONE else None,
    )


class Orders:
    """What a scripted worker was ordered, and what it answers."""

    def __init__(self, stage: Stage, *, why_not: str | None = None, refuse: str | None = None):
        self.started: list[Start] = []
        self.cancelled: list[Cancel] = []
        self.paused: list[Pause] = []
        self.why_not = why_not
        self.refuse = refuse
        methods = stage.worker.methods
        methods.add("plan", Order, self._plan, rights=Rights.READ)
        methods.add("start", Start, self._start, rights=Rights.FULL)
        methods.add("cancel", Cancel, self._cancel, rights=Rights.FULL)
        methods.add("pause", Pause, self._pause, rights=Rights.FULL)

    async def _plan(self, _peer: Peer, order: Order) -> Plan:
        planned = view(OperationState.PLANNED)
        return Plan(
            operation=planned,
            confirm=order.target or "node1",
            why_not=self.why_not,
            impact=("node1 has 12 connections now.",),
        )

    async def _start(self, _peer: Peer, start: Start) -> OperationView:
        self.started.append(start)
        if self.refuse is not None:
            raise OperationError(self.refuse)
        return view(OperationState.DONE if start.dry_run else OperationState.RUNNING, dry_run=start.dry_run)

    async def _cancel(self, _peer: Peer, which: Cancel) -> Nothing:
        self.cancelled.append(which)
        return Nothing()

    async def _pause(self, _peer: Peer, pause: Pause) -> Nothing:
        self.paused.append(pause)
        return Nothing()


def refusing(kind: OrderKind, label: str, reason: str) -> ClusterState:
    return replace(states.healthy(), refusals={kind.value: {label: reason}})


async def plan_of_node2(stage: Stage) -> None:
    await stage.press("j", "s")
    await stage.until_text("What will run")


async def test_a_plan_shows_cost_and_every_command_before_anything_is_asked(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await plan_of_node2(stage)
        assert "node1 has 12 connections now." in stage.text()
        assert SECRET_LOOKING in stage.text()
        assert "Nothing has been done yet" in stage.text()
        assert orders.started == []


async def test_only_the_very_label_starts_it(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await plan_of_node2(stage)
        await stage.press("enter", *"node1", "enter")
        await stage.until_text("“node1” is not it.")
        assert orders.started == []
        await stage.press(*"node2", "enter")
        await stage.until(lambda: isinstance(stage.app.screen, OperationScreen), "the operation's screen")
        (start,) = orders.started
        assert start.confirm == "node2"
        assert start.order == Order(cluster=states.healthy().name, kind=OrderKind.SWITCHOVER, target="node2")


async def test_escape_leaves_the_field_then_the_plan_and_starts_nothing(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await plan_of_node2(stage)
        await stage.press("enter", *"node2", "escape")
        await stage.until_text("Nothing has been done yet")
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)
        assert orders.started == []


async def test_a_rehearsal_is_marked_as_one_and_needs_no_label(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await plan_of_node2(stage)
        await stage.press("f5")
        await stage.until_text("Rehearsal, nothing was changed")
        (start,) = orders.started
        assert start.dry_run
        assert start.confirm is None


async def test_a_plan_that_is_refused_says_why_and_offers_no_field(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage, why_not="node2 is 40 s behind")
        await stage.press("j", "s")
        await stage.until_text("✖ refused: node2 is 40 s behind")
        await stage.press("enter", *"node2", "enter")
        assert orders.started == []


async def test_a_refusal_after_the_label_is_told_and_the_plan_is_made_anew(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage, refuse="[/red] node2 stopped replicating")
        await plan_of_node2(stage)
        await stage.press("enter", *"node2", "enter")
        await stage.until_text("node2 stopped replicating")
        assert len(orders.started) == 1
        assert isinstance(stage.app.screen, OrderScreen)


async def test_an_order_that_cannot_be_given_says_why_and_opens_nothing(folder: Path) -> None:
    state = refusing(OrderKind.FAILOVER, ANYBODY, "node1 answers: use a switchover")
    async with console(folder, state) as stage:
        await stage.press("f")
        await stage.until_text("node1 answers: use a switchover")
        assert isinstance(stage.app.screen, Dashboard)


async def test_a_read_only_console_gives_no_orders(folder: Path) -> None:
    async with console(folder, states.healthy(), read_only=True) as stage:
        await stage.press("j", "s")
        await stage.until_text("--read-only")
        assert isinstance(stage.app.screen, Dashboard)


async def test_an_account_that_may_only_look_gives_no_orders(folder: Path) -> None:
    async with console(folder, states.healthy(), rights=Rights.READ) as stage:
        await stage.press("j", "s")
        await stage.until_text("only look")
        assert isinstance(stage.app.screen, Dashboard)


async def test_a_running_operation_is_followed_with_progress_to_its_end(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        Orders(stage)
        await stage.press("o")
        half = Progress(done=5e9, total=1e10, unit="bytes", rate=74e6, eta=68)
        running = replace(states.healthy(), operation=view(OperationState.RUNNING, progress=half))
        stage.worker.publish(running)
        await stage.until_text("50 %")
        assert "74.0 MB/s" in stage.text()
        assert "1 min 8 s left" in stage.text()
        assert "x Cancel it" in stage.text().splitlines()[-1]
        stage.worker.publish(replace(states.healthy(), operation=view(OperationState.DONE)))
        await stage.until_text("writes paused for 38 ms")
        assert "Cancel it" not in stage.text().splitlines()[-1]


async def test_cancelling_is_asked_twice(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        stage.worker.publish(replace(states.healthy(), operation=view(OperationState.RUNNING)))
        await stage.press("o")
        await stage.until_text("lock node1")
        await stage.press("x")
        await stage.until_text("Let it go on")
        await stage.press("enter")
        assert orders.cancelled == []
        await stage.press("x")
        await stage.until_text("Let it go on")
        await stage.press("j", "enter")
        await stage.until(lambda: orders.cancelled, "the cancel")
        assert orders.cancelled == [Cancel(cluster=states.healthy().name, id=view(OperationState.RUNNING).id)]


async def test_a_resync_that_waits_is_taken_back_by_its_command(folder: Path) -> None:
    state = states.resync_failed()
    async with console(folder, state) as stage:
        orders = Orders(stage)
        await stage.press("down", "down", "colon", *"queued", "enter")
        await stage.until(lambda: orders.cancelled, "the order to cancel")
        assert orders.cancelled == [Cancel(cluster=state.name, queued="node3")]
        await stage.until_text("the resync of node3 is not begun")


async def test_a_pause_takes_a_duration_and_a_reason(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await stage.press("p")
        await stage.until_text("Maintenance")
        await stage.press(*"kernel", "enter")
        await stage.until(lambda: orders.paused, "the pause")
        (pause,) = orders.paused
        assert (pause.seconds, pause.reason) == (1800.0, "kernel")


async def test_a_pause_without_a_duration_changes_nothing(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = Orders(stage)
        await stage.press("p")
        await stage.until_text("Maintenance")
        await stage.press(*["backspace"] * 4, *"soon", "enter")
        await stage.until_text("is not a duration")
        assert orders.paused == []

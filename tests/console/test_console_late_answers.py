"""Answers that come late: never over a person's choice, never taken for those of what is shown now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support import console_states as states
from support.clone_orders import COMMAND, CRAMPED, GOOD, CloneOrders
from support.console_app import Stage, console
from support.console_merge import NOW, MergeScript, moment
from support.scripted import ScriptedWorker

from pfms_ha_tui.console.screens.merge import MergeWizard
from pfms_ha_tui.console.screens.operation import OrderScreen
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import CloneCheck, OperationView, Progress
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import Order, OrderKind, Start
from pfms_ha_tui.worker.protocol_merge import Looked, MergeQuery, MomentQuery, MomentRead, SplitQuery


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def gate() -> asyncio.Event:
    """Open."""
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class SlowMerge(MergeScript):
    """Its answers wait at gates that a test closes."""

    splits: asyncio.Event = field(default_factory=gate)
    reading: asyncio.Event = field(default_factory=gate)
    comparing: asyncio.Event = field(default_factory=gate)
    counting: bool = False
    """Whether the rows per minute only say how far they are."""
    asked_splits: list[SplitQuery] = field(default_factory=list)
    counted: int = 0

    async def _split(self, peer: Peer, query: SplitQuery) -> Looked:
        self.asked_splits.append(query)
        await self.splits.wait()
        return await super()._split(peer, query)

    async def _moments(self, peer: Peer, query: MomentQuery) -> list[MomentRead]:
        await self.reading.wait()
        return await super()._moments(peer, query)

    async def _histogram(self, peer: Peer, query: MergeQuery) -> Looked:
        if not self.counting:
            return await super()._histogram(peer, query)
        self.counted += 1
        await asyncio.sleep(0.02)
        return Looked(progress=Progress(done=7, total=None, unit="rows"), doing="rows per minute")

    async def _dry_run(self, peer: Peer, query: MergeQuery) -> Looked:
        await self.comparing.wait()
        return await super()._dry_run(peer, query)


@asynccontextmanager
async def merging(folder: Path) -> AsyncIterator[tuple[Stage, SlowMerge, MergeWizard]]:
    """The merge wizard, its evidence there."""
    script = SlowMerge()
    async with console(folder, states.split_brain()) as stage:
        script.offer(stage.worker.methods)
        await stage.press("m")
        await stage.until_text("✔ proposed")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        yield stage, script, screen


async def choose_the_last_hour(stage: Stage) -> None:
    """On the second page, and back to the first."""
    await stage.press("enter")
    await stage.until_text("rows in the window")
    await stage.press("j", "j", "j", "j", "j", "enter")
    await stage.until_text("Chosen by you")


async def test_while_the_evidence_is_asked_for_again_nobody_goes_on_with_the_old(folder: Path) -> None:
    async with merging(folder) as (stage, script, _):
        script.splits.clear()
        await stage.press("f5")
        await stage.until_text("asking both nodes")
        assert "✔ proposed" not in stage.text()
        await stage.press("enter")
        await stage.until_text("the evidence is not here yet")
        assert "step 1 of 4" in stage.text()
        script.splits.set()
        await stage.until_text("✔ proposed")
        await stage.press("enter")
        await stage.until_text("step 2 of 4")


async def test_a_window_of_ones_own_outlives_new_evidence_of_the_same_nodes(folder: Path) -> None:
    async with merging(folder) as (stage, script, wizard):
        await choose_the_last_hour(stage)
        chosen = wizard.wanted.query
        await stage.press("escape", "f5")
        await stage.until(lambda: len(script.asked_splits) == 2 and not wizard.looks, "the evidence again")
        assert wizard.wanted.query == chosen


async def test_a_window_of_ones_own_is_not_taken_to_other_nodes(folder: Path) -> None:
    async with merging(folder) as (stage, script, wizard):
        await choose_the_last_hour(stage)
        sides = tuple(replace(one, label=one.label.replace("node2", "node3")) for one in script.split.sides)
        script.split = replace(script.split, sides=(sides[0], sides[1]), losing="node3")
        wizard.choose_losing("node3", "node1")
        await stage.until(lambda: not wizard.looks, "the evidence of the others")
        assert wizard.wanted.losing == "node3"
        assert (wizard.wanted.start, wizard.wanted.own_window) == (moment(NOW - 97 * 60 - NOW % 60), False)


async def test_after_a_failure_the_same_evidence_is_asked_for_again_by_enter(folder: Path) -> None:
    async with merging(folder) as (stage, script, _):
        script.fault = "connection refused"
        await stage.press("f5")
        await stage.until_text("connection refused")
        script.fault = None
        await stage.press("enter")
        await stage.until_text("✔ proposed")
        assert "step 1 of 4" in stage.text()
        assert len(script.asked_splits) == 3


async def test_a_moment_that_is_read_late_does_not_move_the_window_of_the_dry_run(folder: Path) -> None:
    async with merging(folder) as (stage, script, wizard):
        await stage.press("enter")
        await stage.until_text("rows in the window")
        script.reading.clear()
        await stage.press("j", "enter")
        await stage.until_text("The first moment")
        await stage.press("end", "ctrl+u", *"2025-11-28", "space", *"09:30", "enter")
        await stage.press("g", "enter")
        await stage.until_text("would be added")
        looked_at = wizard.wanted.query
        script.reading.set()
        await stage.until_text("the page was left before")
        assert wizard.wanted.query == looked_at
        assert "would be added" in stage.text()


async def test_the_dry_run_names_its_window_and_is_made_anew_when_that_changes(folder: Path) -> None:
    async with merging(folder) as (stage, script, wizard):
        await stage.press("enter")
        await stage.until_text("rows in the window")
        await stage.press("enter")
        await stage.until_text("would be added")
        start, end = wizard.wanted.start, wizard.wanted.end
        assert start is not None
        assert end is not None
        assert f"{start.text} CET – {end.text} CET" in stage.text()
        wizard.choose(replace(wizard.wanted, start=moment(NOW - 3600)))
        await stage.until(lambda: len(script.asked) == 2, "another dry run")
        await stage.until_text("would be added")
        assert f"{moment(NOW - 3600).text} CET – {end.text} CET" in stage.text()


async def test_how_far_another_look_is_does_not_stand_on_the_page_of_the_dry_run(folder: Path) -> None:
    async with merging(folder) as (stage, script, _):
        script.counting = True
        script.comparing.clear()
        await stage.press("enter")
        await stage.until_text("step 2 of 4")
        await stage.press("enter")
        await stage.until_text("step 3 of 4")
        counted = script.counted
        await stage.until(lambda: script.counted > counted + 3, "more counting")
        assert "comparing the configuration of both nodes" in stage.text()
        assert "comparing rows per minute" not in stage.text()


class SlowClone(CloneOrders):
    """Its answers wait at gates that a test closes, and may be refusals."""

    def __init__(self, worker: ScriptedWorker):
        super().__init__(worker)
        self.checking, self.starting = gate(), gate()
        self.fault: str | None = None
        self.refuse: str | None = None

    async def _check(self, peer: Peer, order: Order) -> CloneCheck:
        await self.checking.wait()
        if self.fault is not None:
            raise OperationError(self.fault)
        return await super()._check(peer, order)

    async def _start(self, peer: Peer, start: Start) -> OperationView:
        await self.starting.wait()
        begun = await super()._start(peer, start)
        if self.refuse is not None:
            raise OperationError(self.refuse, code="changed")
        return begun


async def test_a_clone_is_not_confirmed_before_its_exact_commands_are_shown(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = SlowClone(stage.worker)
        orders.checking.clear()
        await stage.press("j", "r")
        await stage.until_text("what exactly would run")
        await stage.press("enter")
        await stage.until_text("it cannot be started: the exact commands")
        await stage.press(*"node2", "enter")
        assert orders.started == []
        orders.checking.set()
        await stage.until_text(COMMAND)
        await stage.until_text("Nothing has been done yet")
        await stage.press("enter", *"node2", "enter")
        await stage.until(lambda: orders.started, "the start")


async def test_a_clone_whose_hosts_cannot_be_asked_is_not_confirmed(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = SlowClone(stage.worker)
        orders.fault = "[/red] node2: no SSH"
        await stage.press("j", "r")
        await stage.until_text("[/red] node2: no SSH")
        await stage.until_text("It cannot be started now")
        await stage.press("enter", *"node2", "enter")
        assert orders.started == []
        assert isinstance(stage.app.screen, OrderScreen)


@asynccontextmanager
async def confirming(folder: Path) -> AsyncIterator[tuple[Stage, SlowClone]]:
    """The last page of the clone wizard."""
    refused = {OrderKind.CLONE.value: {"node1": "node1 is the master"}}
    async with console(folder, replace(states.healthy(), refusals=refused)) as stage:
        orders = SlowClone(stage.worker)
        await stage.press("j", "c")
        await stage.until_text("Which node is rebuilt?")
        await to_confirm(stage, "Source", "Method", "Options", "Checks", "Confirm")
        yield stage, orders


async def to_confirm(stage: Stage, *titles: str) -> None:
    for title in titles:
        if title == "Confirm":
            await stage.until_text("can be rebuilt from")
        await stage.press("enter")
        await stage.until_text(f"▶ {title}")
    await stage.until_text("Nothing has been done yet")


async def test_after_a_changed_plan_the_head_says_what_the_new_one_does(folder: Path) -> None:
    async with confirming(folder) as (stage, orders):
        await stage.until_text("Resync of node2 from node1 (stream).")
        orders.refuse = "it would be another one by now"
        orders.answer = replace(GOOD, title="resync of node2 from node3 (stream)", source="node3")
        await stage.press("enter", *"node2", "enter")
        await stage.until_text("Resync of node2 from node3 (stream).")
        assert "from node1 (stream)" not in stage.text()
        # and the page before shows no check of what has changed
        checks = len(orders.checked)
        orders.answer = replace(orders.answer, passed=("node3 is another server than node2",))
        await stage.press("escape")
        await stage.until_text("node3 is another server than node2")
        assert len(orders.checked) == checks + 1


@pytest.mark.parametrize("keys", ["f5", "enter n o d e 2 enter escape"], ids=["rehearsal", "failed start"])
async def test_an_answer_about_an_earlier_order_does_not_take_the_place_of_the_plan(
    folder: Path, keys: str
) -> None:
    async with confirming(folder) as (stage, orders):
        orders.starting.clear()
        await stage.press(*keys.split())
        await stage.press("escape", "escape")
        await stage.until_text("▶ Options")
        await stage.press("j", "enter", "g")
        await stage.until_text("node to node if")
        await to_confirm_again(stage)
        if keys != "f5":
            orders.refuse = "it would be another one by now"
        orders.answer = CRAMPED
        checks = len(orders.checked)
        orders.starting.set()
        waiting = ("rehearsal", "start")
        await stage.until(lambda: all(one.group not in waiting for one in stage.app.workers), "the answer")
        assert len(orders.started) == 1
        await stage.until_text("Nothing has been done yet")
        assert "▶ Confirm" in stage.text()
        assert "Rehearsal, nothing was changed" not in stage.text()
        assert COMMAND in stage.text()
        assert len(orders.checked) == checks


async def to_confirm_again(stage: Stage) -> None:
    await stage.press("enter")
    await stage.until_text("▶ Checks")
    await stage.until_text("can be rebuilt from")
    await stage.press("enter")
    await stage.until_text("▶ Confirm")
    await stage.until_text(COMMAND)

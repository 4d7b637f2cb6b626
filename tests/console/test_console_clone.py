"""The clone wizard: every page by the keyboard, every obstacle named, nothing started without the label."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support import console_states as states
from support.clone_orders import COMMAND, CRAMPED, GOOD, NO_PLUGIN, CloneOrders
from support.console_app import Stage, console

from pfms_ha_tui.config.settings import CloneMethod, ConsoleSettings, Transfer
from pfms_ha_tui.console.screens.clone import CloneWizard
from pfms_ha_tui.console.screens.dashboard import Dashboard
from pfms_ha_tui.console.screens.operation import OperationScreen
from pfms_ha_tui.operations.view import CloneCheck, OperationState
from pfms_ha_tui.worker.protocol import OrderKind


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@asynccontextmanager
async def wizard(
    folder: Path, answer: CloneCheck = GOOD, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Stage, CloneOrders]]:
    refused = {OrderKind.CLONE.value: {"node1": "node1 is the master"}}
    async with console(folder, replace(states.healthy(), refusals=refused), size=size) as stage:
        orders = CloneOrders(stage.worker, answer)
        await stage.press("j", "c")
        await stage.until_text("Which node is rebuilt?")
        yield stage, orders


async def pages(stage: Stage, *titles: str) -> None:
    """Enter on each page, until each of these is up."""
    for title in titles:
        await stage.press("enter")
        await stage.until_text(f"▶ {title}")


async def test_enter_alone_leads_through_every_page_to_the_label(folder: Path) -> None:
    async with wizard(folder) as (stage, orders):
        await pages(stage, "Source", "Method", "Options", "Checks")
        await stage.until_text("stream with mariadb-backup in 4 threads")
        await pages(stage, "Confirm")
        await stage.until_text(COMMAND)
        await stage.press("enter")
        await stage.until_text("Type node2 and press enter")
        await stage.press(*"node1", "enter")
        assert orders.started == []
        await stage.press(*"node2", "enter")
        await stage.until(lambda: isinstance(stage.app.screen, OperationScreen), "the operation")
        assert [(one.confirm, one.order.target, one.dry_run) for one in orders.started] == [
            ("node2", "node2", False)
        ]
        assert orders.started[0].planned == GOOD.title, "what was shown, whatever the worker chooses by then"
        assert orders.started[0].order.method is GOOD.method, "no other method may begin instead"
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)


async def test_what_is_chosen_is_what_is_ordered(folder: Path) -> None:
    async with wizard(folder) as (stage, orders):
        orders.begins = OperationState.PLANNED
        await pages(stage, "Source")
        await stage.press("j")
        await pages(stage, "Method")
        await stage.until_text("✔ one pass")
        await stage.press("j", "j")
        await pages(stage, "Options")
        await stage.press("j", "enter", "enter")
        await stage.until_text("node to node")
        await stage.press("j", "enter")
        await stage.press(*"20 MB/s", "enter")
        await stage.until_text("20.0 MB/s")
        await stage.press("j", "enter")
        await stage.press("8", "enter")
        await stage.press("g")
        await pages(stage, "Checks", "Confirm")
        await stage.until_text(COMMAND)
        await stage.press("enter", *"node2", "enter")
        await stage.until(lambda: orders.started, "the start")
        await stage.until(
            lambda: any("queued: it begins when" in one.message for one in stage.app._notifications),
            "the news",
        )
        order = orders.started[0].order
        assert (order.source, order.method, order.transfer) == ("node1", CloneMethod.STAGED, Transfer.DIRECT)
        assert (order.bandwidth, order.threads, order.give_up_old) == (20_000_000, 8, False)


async def test_the_master_cannot_be_chosen_and_the_page_says_why(folder: Path) -> None:
    async with wizard(folder) as (stage, orders):
        await stage.press("g")
        await stage.until_text("node1 cannot be rebuilt: node1 is the master")
        await stage.press("enter")
        assert "▶ Target" in stage.text()
        assert orders.checked == []


async def click_next(stage: Stage) -> None:
    """On the line of keys."""
    await stage.pilot.click("#keys", offset=(stage.text().splitlines()[-1].index("Next"), 0))
    await stage.pilot.pause()


async def test_next_by_the_mouse_takes_the_line_under_the_cursor_or_says_why_not(folder: Path) -> None:
    async with wizard(folder) as (stage, _):
        await stage.press("g")
        await stage.until_text("✖ node1 cannot be rebuilt")
        await click_next(stage)
        assert "▶ Target" in stage.text()
        await stage.press("j")
        await click_next(stage)
        await stage.until_text("▶ Source")
        await stage.press("j")
        await click_next(stage)
        await stage.until_text("▶ Method")
        await stage.until_text("✔ one pass")
        await stage.press("j", "j")
        await click_next(stage)
        await stage.until_text("▶ Options")
        screen = stage.app.screen
        assert isinstance(screen, CloneWizard)
        assert (screen.wanted.target, screen.wanted.source) == ("node2", "node1")
        assert screen.wanted.method is CloneMethod.STAGED
        await stage.press("j", "j")
        await click_next(stage)
        await stage.until_text("▶ Checks")


async def test_the_key_that_asks_again_is_named_as_it_is_bound(folder: Path) -> None:
    refused = {OrderKind.CLONE.value: {"node1": "node1 is the master"}}
    settings = ConsoleSettings(keys={"order.rehearse": "f6"})
    async with console(folder, replace(states.healthy(), refusals=refused), settings=settings) as stage:
        orders = CloneOrders(stage.worker, CRAMPED)
        await stage.press("j", "c")
        await stage.until_text("Which node is rebuilt?")
        await pages(stage, "Source", "Method")
        await stage.until_text("✔ one pass")
        assert "f6" in stage.text().splitlines()[-1]
        await pages(stage, "Options", "Checks")
        await stage.until_text("then f6 checks again")
        assert "f6" in stage.text().splitlines()[-1]
        orders.answer = GOOD
        await stage.press("f6")
        await stage.until_text("Nothing stands against it")


async def test_a_method_that_is_not_possible_says_why_and_stays_unchosen(folder: Path) -> None:
    async with wizard(folder) as (stage, orders):
        await pages(stage, "Source", "Method")
        await stage.until_text("✔ one pass")
        await stage.press("j", "j", "j")
        await stage.until_text(f"✖ {NO_PLUGIN}")
        await stage.press("enter")
        assert "▶ Method" in stage.text()
        assert {order.method for order in orders.checked} == {None}


async def test_every_obstacle_stands_there_at_once_and_bars_the_way(folder: Path) -> None:
    async with wizard(folder, CRAMPED) as (stage, orders):
        await pages(stage, "Source", "Method", "Options", "Checks")
        await stage.until_text("2 things in the way")
        assert "cannot log in to node1" in stage.text()
        assert "make room" in stage.text()
        await stage.press("enter")
        assert "▶ Checks" in stage.text()
        assert orders.started == []


async def test_the_old_data_goes_first_only_after_a_yes_of_its_own(folder: Path) -> None:
    async with wizard(folder, CRAMPED) as (stage, orders):
        await pages(stage, "Source", "Method", "Options", "Checks")
        await stage.until_text("Without room for both")
        await stage.press("w")
        await stage.until_text("Remove the old data of node2 first?")
        await stage.press("enter")
        await stage.until_text("▶ Checks")
        assert not any(order.give_up_old for order in orders.checked)
        orders.answer = replace(GOOD, cramped=CRAMPED.cramped)
        await stage.press("w", "j", "enter")
        await stage.until_text("is removed BEFORE the copy, as you confirmed")
        assert orders.checked[-1].give_up_old
        await pages(stage, "Confirm")
        # another target is another question
        await stage.press("escape", "escape", "escape", "escape", "escape")
        await stage.until_text("▶ Target")
        screen = stage.app.screen
        assert isinstance(screen, CloneWizard)
        screen.choose(replace(screen.wanted, target="node3"))
        assert not screen.wanted.give_up_old


async def test_escape_goes_back_page_by_page_and_what_was_chosen_stays(folder: Path) -> None:
    async with wizard(folder) as (stage, orders):
        await pages(stage, "Source", "Method")
        await stage.until_text("✔ one pass")
        await stage.press("j")
        await pages(stage, "Options")
        await stage.press("escape")
        await stage.until_text("▶ Method")
        await stage.press("enter")
        await stage.until_text("▶ Options")
        screen = stage.app.screen
        assert isinstance(screen, CloneWizard)
        assert screen.wanted.method is CloneMethod.STREAM
        await stage.press("escape", "escape", "escape", "escape")
        await stage.until(lambda: isinstance(stage.app.screen, Dashboard), "the dashboard")
        assert orders.started == []


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_page_fits(folder: Path, size: tuple[int, int]) -> None:
    async with wizard(folder, size=size) as (stage, _):
        words_of = {
            "Source": "The worker chooses",
            "Method": "✔ one pass",
            "Options": "Go on to the checks",
            "Checks": "18.3 GB to copy",
            "Confirm": "Nothing has been done yet",
        }
        titles = list(words_of)
        for title, words in words_of.items():
            await pages(stage, title)
            await stage.until_text(words)
            lines = stage.text().splitlines()
            assert len(lines) <= size[1]
            assert f"{titles.index(title) + 2} of 6" in stage.text()
            assert "esc Back" in lines[-1]


async def test_the_quick_resync_shows_the_exact_commands_too(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = CloneOrders(stage.worker)
        await stage.press("j", "r")
        await stage.until_text(COMMAND)
        await stage.press("enter", *"node2", "enter")
        await stage.until(lambda: orders.started, "the start")
        assert orders.started[0].order == replace(orders.checked[0], method=GOOD.method)


async def test_what_the_checks_warn_of_is_part_of_what_it_costs(folder: Path) -> None:
    warned = replace(GOOD, warnings=("node1 is 40 s behind, more than 30 s",))
    async with console(folder, states.healthy()) as stage:
        CloneOrders(stage.worker, warned)
        await stage.press("j", "r")
        await stage.until_text("▲ node1 is 40 s behind")


async def test_the_quick_resync_cannot_be_started_past_an_obstacle_of_the_hosts(folder: Path) -> None:
    async with console(folder, states.healthy()) as stage:
        orders = CloneOrders(stage.worker, CRAMPED)
        await stage.press("j", "r")
        await stage.until_text("✖ refused: node2 has 2.1 GB free")
        await stage.press("enter", *"node2", "enter")
        assert orders.started == []

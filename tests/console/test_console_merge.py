"""The merge wizard: proposes, looks, warns, and starts nothing but by the label."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import console_states as states
from support.clone_orders import CloneOrders
from support.console_app import Stage, console
from support.console_merge import BEGAN, NOW, MergeScript, merged, moment

from pfms_ha_tui.console.screens.dashboard import Dashboard
from pfms_ha_tui.console.screens.merge import MergeWizard
from pfms_ha_tui.console.screens.operation import OperationScreen, OrderScreen
from pfms_ha_tui.console.widgets.merge import histogram_lines
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.worker.protocol import OrderKind
from pfms_ha_tui.worker.protocol_merge import ColumnProblem, MergeQuery, RowsPerSpan

SMALL = (80, 24)


@asynccontextmanager
async def wizard(
    folder: Path, script: MergeScript | None = None, *, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Stage, MergeScript]]:
    """The wizard's first page, on two writable nodes."""
    script = script or MergeScript()
    async with console(folder, states.split_brain(), size=size) as stage:
        script.offer(stage.worker.methods)
        await stage.press("m")
        await stage.until_text("Whose rows are recovered?")
        yield stage, script


async def to_window(stage: Stage) -> None:
    await stage.until_text("✔ proposed")
    await stage.press("enter")
    await stage.until_text("rows in the window")


async def to_dry_run(stage: Stage) -> None:
    await to_window(stage)
    await stage.press("enter")
    await stage.until_text("step 3 of 4")


async def typed(stage: Stage, text: str) -> None:
    """Replace what stands in the field of a dialog."""
    await stage.press("end", "ctrl+u", *("space" if char == " " else char for char in text), "enter")


async def test_who_lost_is_proposed_with_its_evidence_and_nothing_is_started(folder: Path) -> None:
    async with wizard(folder, size=SMALL) as (stage, script):
        await stage.until_text("✔ proposed")
        text = stage.text()
        assert "node1 was promoted later (epoch 4, node2 has 3)" in text
        assert "looks like the wrong direction" in text
        assert "Nothing is changed before you confirm" in text
        assert (script.started, script.asked) == ([], [])


async def test_a_slave_as_it_should_be_is_not_proposed_as_one_that_lost(folder: Path) -> None:
    script = MergeScript()
    first, second = script.split.sides
    slave = replace(second, follows="node1", writable=False)
    script.split = replace(script.split, sides=(first, slave))
    async with wizard(folder, script, size=SMALL) as (stage, _):
        await stage.until_text("it is a slave of node1 now")
        assert "and takes no writes: there is nothing" in " ".join(stage.text().split())
        assert "✔ proposed" not in stage.text()


async def test_the_whole_way_starts_exactly_what_was_shown_and_only_by_the_label(folder: Path) -> None:
    async with wizard(folder, size=SMALL) as (stage, script):
        await to_window(stage)
        assert "since the split" in stage.text()
        await stage.press("enter")
        await stage.until_text("2,023 rows of node2 would be added to node1")
        await stage.press("enter")
        await stage.until_text("Nothing has been done yet")
        await stage.press("enter", *"node1", "enter")
        await stage.until_text("“node1” is not it.")
        assert script.started == []
        await stage.press(*"node2", "enter")
        await stage.until(lambda: isinstance(stage.app.screen, OperationScreen), "the operation's screen")
        (start,) = script.started
        assert start.confirm == "node2"
        order = start.order
        assert (order.kind, order.target, order.into) == (OrderKind.MERGE, "node2", "node1")
        assert (order.start, order.end) == (f"@{BEGAN - 120}", f"@{NOW + 121}")
        assert order.anyway is False
        assert script.asked == [
            MergeQuery(cluster=order.cluster, losing="node2", into="node1", start=BEGAN - 120, end=NOW + 121)
        ]


async def test_the_wrong_direction_needs_the_name_of_the_node_that_would_lose(folder: Path) -> None:
    async with wizard(folder) as (stage, script):
        await stage.until_text("✔ proposed")
        await stage.press("j", "enter")
        await stage.until_text("name of the node that would lose: node1")
        await stage.press(*"node2", "enter")
        await stage.until_text("“node2” is not node1: nothing was chosen")
        assert "step 1 of 4" in stage.text()
        await stage.press("enter")
        await stage.until_text("name of the node that would lose: node1")
        await stage.press(*"node1", "enter")
        await stage.until_text("step 2 of 4")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert (screen.wanted.losing, screen.wanted.into, screen.wanted.anyway) == ("node1", "node2", True)
        assert screen.wanted.order.anyway is True
        assert script.started == []


async def test_going_back_to_the_proposed_side_takes_the_override_away(folder: Path) -> None:
    async with wizard(folder) as (stage, _):
        await stage.until_text("✔ proposed")
        await stage.press("j", "enter")
        await stage.until_text("name of the node that would lose: node1")
        await stage.press(*"node1", "enter")
        await stage.until_text("step 2 of 4")
        await stage.press("escape", "k", "enter")
        await stage.until_text("step 2 of 4")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert (screen.wanted.losing, screen.wanted.anyway) == ("node2", False)


async def test_a_local_time_that_does_not_exist_is_refused_and_asked_again(folder: Path) -> None:
    async with wizard(folder, size=SMALL) as (stage, _):
        await to_window(stage)
        await stage.press("j", "enter")
        await stage.until_text("The first moment")
        await typed(stage, "2025-03-30 02:30")
        await stage.until_text("does not exist in this zone")
        await typed(stage, "2025-11-28 09:30")
        await stage.until_text("2025-11-28 09:30:00 CET")
        await stage.until_text("It leaves out a part of that one")


async def test_a_local_time_that_comes_twice_is_asked_about(folder: Path) -> None:
    async with wizard(folder) as (stage, _):
        await to_window(stage)
        await stage.press("j", "enter")
        await stage.until_text("The first moment")
        await typed(stage, "2025-10-26 02:30")
        await stage.until_text("Which one?")
        assert "2025-10-26 02:30:00 CEST (+02:00) — the first" in stage.text()
        await stage.press("j", "enter")
        await stage.until_text("2025-10-26 02:30:00 CET (+01:00)")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert screen.wanted.start is not None
        assert screen.wanted.start.at == 1_761_442_200


async def test_a_window_that_ends_before_it_begins_goes_nowhere(folder: Path) -> None:
    async with wizard(folder) as (stage, script):
        await to_window(stage)
        await stage.press("j", "j", "enter")
        await stage.until_text("The moment after the last")
        await typed(stage, "2025-11-28 06:00")
        await stage.until_text("the window ends before it begins")
        await stage.press("g", "enter")
        assert "step 2 of 4" in stage.text()
        assert script.asked == []


async def test_a_preset_fills_in_both_ends(folder: Path) -> None:
    async with wizard(folder) as (stage, _):
        await to_window(stage)
        await stage.press("j", "j", "j", "j", "j", "enter")
        await stage.until_text("Chosen by you")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert screen.wanted.start is not None
        assert screen.wanted.end is not None
        assert (screen.wanted.start.at, screen.wanted.end.at) == (NOW - 3600, NOW)


async def test_rows_that_differ_before_the_window_are_pointed_at(folder: Path) -> None:
    script = MergeScript()
    script.split = replace(script.split, older=moment(NOW - 5 * 86_400))
    async with wizard(folder, script, size=SMALL) as (stage, _):
        await to_window(stage)
        await stage.until_text("▲ Rows differ before it too, since 2025-11-23 10:32:59 CET")


async def test_other_tables_are_merged_when_they_are_named(folder: Path) -> None:
    async with wizard(folder) as (stage, script):
        await to_window(stage)
        await stage.press("j", "j", "j", "enter")
        await stage.until_text("Only these tables")
        await typed(stage, "tevento, tagente_datos_log4x tevento")
        await stage.until_text("tables tevento, tagente_datos_log4x")
        await stage.press("g", "enter")
        await stage.until_text("would be added")
        assert script.asked[-1].tables == ("tevento", "tagente_datos_log4x")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert screen.wanted.order.tables == ("tevento", "tagente_datos_log4x")


async def test_a_long_dry_run_says_how_far_it_is_and_cannot_be_skipped(folder: Path) -> None:
    script = MergeScript(slow=10_000)
    async with wizard(folder, script) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("400,000 rows")
        assert "comparing tagente_datos" in stage.text()
        await stage.press("enter")
        await stage.until_text("the dry run is not done")
        script.slow = 0
        await stage.until_text("would be added")


async def test_skipped_rows_and_what_is_not_merged_are_named(folder: Path) -> None:
    async with wizard(folder, size=(120, 60)) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("would be added")
        text = stage.text()
        assert "module 812 “Disk /data” of web-19 does not exist on the master" in text
        assert "NOT merged, only archived" in text
        assert "modules  2 only there, 1 different: Disk /data, CPU load, Ping" in text
        assert "not compared: tlayout_data" in text


async def test_tables_that_differ_stop_the_wizard_and_say_the_remedy(folder: Path) -> None:
    problem = ColumnProblem(
        where="tevento.custom", text="the master has no such column", blocking=True, remedy="add it [/b]"
    )
    async with wizard(folder, MergeScript(problems=(problem,))) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("stops the merge: tevento.custom: the master has no such column")
        assert "add it [/b]" in stage.text()
        await stage.press("enter")
        assert "step 3 of 4" in stage.text()


async def test_columns_that_do_not_fit_are_left_out_only_after_a_person_said_so(folder: Path) -> None:
    problem = ColumnProblem(where="tevento.custom", text="the master has no such column", blocking=True)
    script = MergeScript(problems=(problem,))
    async with wizard(folder, script) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("w leaves the columns out")
        await stage.press("w")
        await stage.until_text("Merge without them")
        await stage.press("enter")
        assert [query.drop_columns for query in script.asked] == [()]
        script.problems = ()
        await stage.press("w")
        await stage.until_text("Merge without them")
        await stage.press("j", "enter")
        await stage.until_text("would be added")
        assert script.asked[-1].drop_columns == ("tevento.custom",)
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        assert screen.wanted.order.drop_columns == ("tevento.custom",)


async def test_a_column_with_another_name_on_the_master_is_mapped_here_or_by_the_command_that_is_shown(
    folder: Path,
) -> None:
    lacks = "the master has no such column"
    script = MergeScript(
        problems=(
            ColumnProblem(where="tevento.old", text=lacks, blocking=True, names=("new",)),
            ColumnProblem(where="tevento.odd", text="int here, text on the master", blocking=True),
            ColumnProblem(where="tevento.new", text="only the master has it", blocking=False),
        )
    )
    async with wizard(folder, script) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("w leaves the columns out or maps them")
        screen = stage.app.screen
        assert isinstance(screen, MergeWizard)
        command = screen.map_command
        assert command is not None
        assert command.endswith(" --drop-column tevento.odd --rename-column tevento.old=new")
        assert command.startswith("pfms-ha-tui merge --from node2 --into node1 --start @")
        assert "or, in a shell: pfms-ha-tui merge --from node2" in stage.text()
        assert screen.page.to_copy() == ("the command", command)

        await stage.press("w")
        await stage.until_text("They have other names on the master")
        await stage.press("j", "j", "enter")
        await stage.until_text("tevento.old=new")
        await typed(stage, "tevento.other=new")
        await stage.until_text("is not one of these columns")
        assert [query.rename_columns for query in script.asked] == [()]
        script.problems = ()
        await stage.press("w", "j", "j", "enter")
        await stage.until_text("Only there: new.")
        await stage.press("enter")
        await stage.until_text("would be added")
        assert script.asked[-1].rename_columns == ("tevento.old=new",)
        assert screen.wanted.order.rename_columns == ("tevento.old=new",)
        assert screen.map_command is None


async def test_a_node_that_cannot_be_asked_is_told_and_asked_again(folder: Path) -> None:
    script = MergeScript(fault="[/red] connection refused")
    async with wizard(folder, script) as (stage, _):
        await stage.until_text("[/red] connection refused")
        await stage.press("enter")
        assert "step 1 of 4" in stage.text()
        script.fault = None
        await stage.press("f5")
        await stage.until_text("✔ proposed")


async def test_the_dry_run_is_exported_to_a_file_of_its_owner(folder: Path, tmp_path: Path) -> None:
    async with wizard(folder) as (stage, _):
        await to_dry_run(stage)
        await stage.until_text("would be added")
        path = tmp_path / "dry-run.txt"
        await stage.press("x")
        await stage.until_text("Export the dry run")
        await typed(stage, str(path))
        await stage.until(path.exists, "the file")
        assert "tagente_modulo: 2 only on node2, 1 different: Disk /data, CPU load, Ping" in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


async def test_after_a_merge_the_clone_is_one_key_and_its_own_label_away(folder: Path) -> None:
    done = replace(states.split_brain(), operation=merged())
    async with console(folder, done) as stage:
        orders = CloneOrders(stage.worker)
        await stage.press("o")
        await stage.until_text("goes on with the clone")
        await stage.press("c")
        await stage.until(lambda: isinstance(stage.app.screen, OrderScreen), "the plan of the clone")
        await stage.until_text("Nothing has been done yet")
        screen = stage.app.screen
        assert isinstance(screen, OrderScreen)
        assert (screen.order.kind, screen.order.target) == (OrderKind.CLONE, "node2")
        assert orders.started == []


async def test_after_a_merge_its_own_outcome_is_told_and_the_clone_offered_only_if_it_may_be(
    folder: Path,
) -> None:
    outcome = "3 rows of node2 were added to node1; node2 is not to be rebuilt yet: 2 rows of tevento"
    done = replace(states.split_brain(), operation=replace(merged(), text=outcome))
    refused = replace(done, refusals={OrderKind.CLONE: {"node2": "it holds rows that nobody else has"}})
    async with console(folder, refused) as stage:
        await stage.press("o")
        await stage.until_text("Next: 3 rows of node2")
        assert outcome in " ".join(stage.text().replace("│", " ").split())
        assert "goes on with the clone" not in stage.text()
        stage.worker.publish(done)
        await stage.until_text("goes on with the clone")


@pytest.mark.parametrize("state", [OperationState.FAILED, OperationState.RUNNING])
async def test_a_merge_that_did_not_come_to_its_end_offers_no_clone(
    folder: Path, state: OperationState
) -> None:
    async with console(folder, replace(states.split_brain(), operation=merged(state))) as stage:
        await stage.press("o")
        await stage.until_text("merge node2 into node1")
        assert "goes on with the clone" not in stage.text()
        await stage.press("c")
        assert isinstance(stage.app.screen, OperationScreen)


async def test_a_console_that_may_only_look_does_not_open_it(folder: Path) -> None:
    async with console(folder, states.split_brain(), read_only=True) as stage:
        await stage.press("m")
        await stage.until_text("--read-only")
        assert isinstance(stage.app.screen, Dashboard)


async def test_escape_goes_back_page_by_page_and_leaves_everything_as_it_is(folder: Path) -> None:
    async with wizard(folder) as (stage, script):
        await to_dry_run(stage)
        await stage.until_text("would be added")
        await stage.press("escape")
        await stage.until_text("step 2 of 4")
        await stage.press("escape")
        await stage.until_text("step 1 of 4")
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)
        assert script.started == []


def test_the_histogram_tells_the_workers_time_and_counts_that_are_not_exact_as_such() -> None:
    buckets = [RowsPerSpan(start=at, seconds=60, losing=1, master=1) for at in (0, 60, 120)]

    def shown(start: int) -> str:
        lines = histogram_lines(buckets, (start, 180), ("node2", "node1"), 60, 20, "+05:30")
        return "\n".join("".join(span.text for span in one) for one in lines)

    assert "about 3 rows in the window" in shown(30)
    assert "about" not in shown(60)
    assert "2 rows in the window" in shown(60)
    assert "05:30" in shown(60)
    assert "▲" not in shown(60)

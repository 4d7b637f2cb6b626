"""The merge as an operation of the engine: steps, rehearsal, wrong direction, resume, cancel."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.divergence import BASE, Divergence, event, insert, rows_of, union
from support.operating import Surgery, surgery

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.merge import throttle
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.facts import Known, SplitFacts, gather, warning
from pfms_ha_tui.operations.merge.ledger import load_state
from pfms_ha_tui.operations.merge.merging import Merge
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams, MergeUndo, MergeUndoParams
from pfms_ha_tui.operations.merge.plan import MergePlan
from pfms_ha_tui.operations.merge.repair import RepairParams, SplitRepair
from pfms_ha_tui.operations.merge.window import SplitTimes, Window
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState
from pfms_ha_tui.pandora.epoch import OldMaster, Promotion, to_json

WINDOW = Window(BASE, BASE + 600)


@pytest.fixture
async def kit(divergence: Divergence, tmp_path: Path) -> AsyncIterator[Surgery]:
    divergence.split()
    async with surgery(divergence.sandbox, tmp_path / "ledger.sqlite") as one:
        yield one
    divergence.split()


def fill(divergence: Divergence, rows: int = 40) -> None:
    for node, offset in ((divergence.losing, 0), (divergence.master, rows // 2)):
        insert(
            node,
            "tagente_datos",
            [
                {"id_agente_modulo": 1, "datos": n + offset, "utimestamp": BASE + n + offset}
                for n in range(rows)
            ],
        )
    insert(divergence.losing, "tevento", [event(BASE + 1, evento="lost")])


def params(tmp_path: Path, **more: Any) -> MergeParams:
    return MergeParams(
        losing="node2",
        master="node1",
        start=WINDOW.start,
        end=WINDOW.end,
        archives=str(tmp_path / "archives"),
        **more,
    )


async def ordered(kit: Surgery, asked: MergeParams, *, dry_run: bool = False) -> OperationView:
    return await kit.engine.run(MergeBack(kit.context, asked), actor="carol", dry_run=dry_run)


def steps(view: OperationView) -> dict[str, StepState]:
    return {step.name: step.state for step in view.steps}


async def test_after_a_merge_of_a_part_the_node_still_holds_rows_that_nobody_else_has(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    view = await ordered(kit, params(tmp_path, tables=("tevento",)))
    assert view.state is OperationState.DONE, view.text
    left = "of tagente_datos, which was not among the tables, not on node1: merge again with that table too"
    assert "not to be rebuilt yet: " in (view.text or "")
    assert left in (view.text or "")
    (mark,) = kit.context.records.marks()
    assert mark.kind is MarkKind.DIVERGED
    assert "but not all" in mark.reason

    view = await ordered(kit, params(tmp_path))
    assert view.state is OperationState.DONE, view.text
    assert [one.kind for one in kit.context.records.marks()] == [MarkKind.NEEDS_RESYNC]


async def test_a_merge_locks_archives_adds_proves_and_leaves_the_node_to_the_clone(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    wanted = union(rows_of(divergence.master, "tagente_datos"), rows_of(divergence.losing, "tagente_datos"))

    view = await ordered(kit, params(tmp_path))

    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == wanted
    assert (await divergence.losing.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"] == 1
    marks = kit.context.records.marks()
    assert [(mark.node, mark.kind) for mark in marks] == [("node2", MarkKind.NEEDS_RESYNC)]
    assert "21 rows of node2 were added to node1" in str(view.text)
    assert any("tagente_datos: 40 in the window" in line for line in view.log)
    assert any("checksum" in line for line in view.log)
    events = await divergence.master.sql("SELECT evento FROM tevento", database="pandora")
    assert any("21&#x20;rows" in row["evento"] for row in events)


async def test_a_rehearsal_tells_every_count_and_changes_nothing(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    before = rows_of(divergence.master, "tagente_datos")
    view = await ordered(kit, params(tmp_path), dry_run=True)
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == before
    assert (await divergence.losing.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"] == 0
    assert not (tmp_path / "archives").exists()
    assert "tagente_datos: 40 in the window, 20 on the master, 20 to add" in view.log


async def test_the_wrong_direction_is_refused_until_the_losing_label_was_typed(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    promotion = Promotion(
        epoch=7,
        master="node2",
        worker="w",
        at=1.0,
        old_state=OldMaster.UNPROVEN,
        own=BinlogPosition("binlog.000001", 4),
    )
    insert(divergence.losing, "tconfig", [{"token": "pfms_ha_epoch", "value": to_json(promotion)}])
    insert(
        divergence.master,
        "tconfig",
        [{"token": "pfms_ha_epoch", "value": to_json(replace(promotion, epoch=6, master="node1"))}],
    )
    view = await ordered(kit, params(tmp_path))
    assert view.state is OperationState.FAILED
    assert "node2 looks like the master" in str(view.text)
    assert (await divergence.losing.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"] == 0

    view = await ordered(kit, params(tmp_path, anyway=True))
    assert view.state is OperationState.DONE, view.text


async def test_a_master_that_is_read_only_is_refused(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    await divergence.master.sql("SET GLOBAL read_only = 1")
    view = await ordered(kit, params(tmp_path))
    assert view.state is OperationState.FAILED
    assert "read-only" in str(view.text)


async def test_a_cancelled_merge_keeps_what_it_added_and_goes_on_by_its_directory(
    divergence: Divergence, kit: Surgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 5)
    monkeypatch.setattr(throttle, "_LARGEST", 5)
    fill(divergence, 400)
    wanted = union(rows_of(divergence.master, "tagente_datos"), rows_of(divergence.losing, "tagente_datos"))
    limited = replace(kit.cluster, merge=replace(kit.cluster.merge, max_rows_per_second=40))
    operation = MergeBack(replace(kit.context, cluster=limited), params(tmp_path))
    running = asyncio.create_task(kit.engine.run(operation, actor="carol"))

    def added() -> int:
        return sum((rows_of(divergence.master, "tagente_datos")).values()) - 400

    await until(lambda: added() > 0)
    execution = kit.engine.running(kit.cluster.name)
    assert execution is not None
    execution.cancel("carol")
    view = await running
    assert view.state is OperationState.CANCELLED, view.text
    assert "what was added stays and node2 stays read-only" in (view.text or "")
    assert 0 < added() < 200
    directory = next((tmp_path / "archives").iterdir())
    assert any(str(directory) in line for line in view.log)
    marks = kit.context.records.marks()
    assert [(mark.node, mark.kind) for mark in marks] == [("node2", MarkKind.DIVERGED)]

    view = await ordered(kit, params(tmp_path, directory=str(directory)))
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == wanted
    assert [mark.kind for mark in kit.context.records.marks()] == [MarkKind.NEEDS_RESYNC]


async def test_a_merge_that_could_not_archive_offers_nothing_to_go_on_with(
    divergence: Divergence, kit: Surgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(divergence)

    def full(*_: object) -> None:
        raise OperationError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Merge, "archive", full)
        view = await ordered(kit, params(tmp_path))
    assert view.state is OperationState.FAILED
    assert not any("--resume" in line for line in view.log)
    marks = kit.context.records.marks()
    assert [(mark.node, mark.kind) for mark in marks] == [("node2", MarkKind.DIVERGED)]


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 30
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_a_merge_whose_worker_stopped_is_resumed(
    divergence: Divergence, kit: Surgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 5)
    monkeypatch.setattr(throttle, "_LARGEST", 5)
    fill(divergence, 400)
    wanted = union(rows_of(divergence.master, "tagente_datos"), rows_of(divergence.losing, "tagente_datos"))
    limited = replace(kit.cluster, merge=replace(kit.cluster.merge, max_rows_per_second=40))
    operation = MergeBack(replace(kit.context, cluster=limited), params(tmp_path))
    running = asyncio.create_task(kit.engine.run(operation, actor="carol"))
    await until(lambda: sum(rows_of(divergence.master, "tagente_datos").values()) > 400)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    entry = kit.ledger.unfinished(kit.cluster.name)
    assert entry is not None
    view = await kit.engine.recover(MergeBack.of(kit.context, entry.params), entry)
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == wanted


async def test_a_merge_is_taken_back_and_its_archive_merged_again(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    before = rows_of(divergence.master, "tagente_datos")
    await ordered(kit, params(tmp_path))
    after = rows_of(divergence.master, "tagente_datos")
    directory = str(next((tmp_path / "archives").iterdir()))

    undo = MergeUndo(kit.context, MergeUndoParams(directory=directory, master="node1"))
    view = await kit.engine.run(undo, actor="carol")
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == before
    assert "node2" in kit.context.records.marked(MarkKind.DIVERGED), "it is the only one that has them again"

    asked = MergeParams(master="node1", archives=str(tmp_path / "archives"), restore=directory)
    view = await ordered(kit, asked)
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == after


def test_an_order_without_node_or_archive_is_refused(kit: Surgery, tmp_path: Path) -> None:
    with pytest.raises(OperationError):
        MergeBack(kit.context, MergeParams(master="node1", archives=str(tmp_path)))
    with pytest.raises(OperationError):
        MergeBack(kit.context, params(tmp_path, restore="x"))


def test_what_the_wizard_shows_can_cross_the_socket(divergence: Divergence) -> None:
    fill(divergence)
    plan = divergence.job(WINDOW).plan(Control())
    assert msgspec.json.decode(msgspec.json.encode(plan), type=MergePlan) == plan
    known = Known(journal_master="node1", split=SplitTimes(began=float(BASE), ended=BASE + 60.0))
    facts = gather(divergence.cluster, "node1", "node2", known, Control(), now=BASE + 300.0)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=SplitFacts) == facts
    assert facts.proposal.losing == "node2"
    assert abs(facts.skew) < 1.0
    assert facts.window is not None
    assert facts.window.window.start <= BASE < facts.window.window.end
    assert all(side.writable for side in facts.sides)
    assert warning(facts, "node1", "node2") is not None


def fill_now(divergence: Divergence, rows: int) -> None:
    """Rows of the last minutes, half of them on both sides."""
    now = int(time.time())
    for node, offset in ((divergence.losing, 0), (divergence.master, rows // 2)):
        insert(
            node,
            "tagente_datos",
            [
                {"id_agente_modulo": 1, "datos": n + offset, "utimestamp": now - 2 * rows + n + offset}
                for n in range(rows)
            ],
        )


async def test_a_repair_by_itself_whose_worker_stopped_goes_on_with_the_window_it_found(
    divergence: Divergence, kit: Surgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 5)
    monkeypatch.setattr(throttle, "_LARGEST", 5)
    fill_now(divergence, 200)
    wanted = union(rows_of(divergence.master, "tagente_datos"), rows_of(divergence.losing, "tagente_datos"))
    limited = replace(kit.cluster, merge=replace(kit.cluster.merge, max_rows_per_second=40))
    asked = RepairParams(master="node1", losing="node2", archives=str(tmp_path / "archives"))
    operation = SplitRepair(replace(kit.context, cluster=limited), asked)
    running = asyncio.create_task(kit.engine.run(operation, actor="worker"))
    await until(lambda: sum(rows_of(divergence.master, "tagente_datos").values()) > 200)
    assert [mark.kind for mark in kit.context.records.marks()] == [MarkKind.DIVERGED]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    entry = kit.ledger.unfinished(kit.cluster.name)
    assert entry is not None
    view = await kit.engine.recover(SplitRepair.of(kit.context, entry.params), entry)
    assert view.state is OperationState.DONE, view.text
    assert rows_of(divergence.master, "tagente_datos") == wanted
    assert len(list((tmp_path / "archives").iterdir())) == 1
    assert [mark.kind for mark in kit.context.records.marks()] == [MarkKind.NEEDS_RESYNC]
    assert (await divergence.losing.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"] == 1


async def test_restoring_into_the_same_directory_again_keeps_what_was_noted(
    divergence: Divergence, kit: Surgery, tmp_path: Path
) -> None:
    fill(divergence)
    await ordered(kit, params(tmp_path))
    archive = str(next((tmp_path / "archives").iterdir()))
    undo = MergeUndo(kit.context, MergeUndoParams(directory=archive, master="node1"))
    assert (await kit.engine.run(undo, actor="carol")).state is OperationState.DONE
    directory = tmp_path / "again"
    asked = MergeParams(master="node1", archives=str(tmp_path), restore=archive, directory=str(directory))
    assert (await ordered(kit, asked)).state is OperationState.DONE
    noted = load_state(directory)
    assert noted is not None
    assert (await ordered(kit, asked)).state is OperationState.DONE
    assert load_state(directory) == noted

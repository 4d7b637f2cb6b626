"""Which node is marked as holding rows that nobody else has, without a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.archives import empty_archive
from support.fake_senses import settings

from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.merge.takeback import MarkAgain, MergeUndo, MergeUndoParams
from pfms_ha_tui.operations.records import Mark, MarkKind, Records
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.waiting import SystemClock


async def taken_back(
    tmp_path: Path, *marks: MarkKind, losing: str = "node2", known: str = "node1"
) -> Records:
    """The records after the first step of an undo; ``marks`` are those of node2 before."""
    empty_archive(tmp_path / "merge", losing=losing)
    records = Records(Ledger(tmp_path / "operations.db"), "pandora")
    for kind in marks:
        records.put_mark(Mark(node="node2", kind=kind, reason="its rows were merged into node1", at=1.0))
    context = Context(cluster=settings(), records=records, worker="w", known_master=lambda: known)
    undo = MergeUndo(context, MergeUndoParams(directory=str(tmp_path / "merge"), master="node1"))
    assert [step.name for step in undo.steps][:2] == ["mark", "undo"], "before the first row is removed"
    run = SimpleNamespace(actor="carol", clock=SystemClock(), say=lambda _: None)
    await MarkAgain(undo).run(cast(StepRun, run))
    return records


@pytest.mark.parametrize("before", [MarkKind.NEEDS_RESYNC, MarkKind.DIVERGED])
async def test_when_a_merge_is_taken_back_its_losing_side_is_the_only_one_with_those_rows_again(
    tmp_path: Path, before: MarkKind
) -> None:
    records = await taken_back(tmp_path, before)
    told = records.marked(MarkKind.DIVERGED)
    assert told == {"node2": "its rows were merged into node1 and taken back by carol"}
    assert "node2" in records.marked(MarkKind.NEEDS_RESYNC), "the worker does not merge them again by itself"


async def test_a_node_that_was_rebuilt_since_holds_no_rows_of_its_own(tmp_path: Path) -> None:
    assert (await taken_back(tmp_path)).marks() == ()


async def test_the_present_master_or_a_stranger_is_not_marked(tmp_path: Path) -> None:
    assert (await taken_back(tmp_path / "a", MarkKind.DIVERGED, known="node2")).marks()[0].at == 1.0
    assert (await taken_back(tmp_path / "b", losing="node7")).marks() == ()

"""Operations that could not be brought to an end: tried again in this process, and what ends them counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fake_senses import DEADLINE, Watched, settings
from support.toy_operation import Toy, ToyStep, World

from pfms_ha_tui.cluster.snapshot import SyncState
from pfms_ha_tui.operations.clone import Clone
from pfms_ha_tui.operations.ledger import Change, Ledger
from pfms_ha_tui.operations.records import Mark, MarkKind
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.worker import conductor, recovery
from pfms_ha_tui.worker.conductor import ClusterHands
from pfms_ha_tui.worker.journal import Journal


class Sticky(Toy):
    """Fails, and cannot be undone while ``sticks``; looks like a resync of node2."""

    kind = Clone.kind
    title = "resync of node2 from node1"
    cluster = "pandora"
    commit = "late"

    def __init__(self, world: World, sticks: Callable[[], bool]) -> None:
        steps = [ToyStep(world, "early", undo_fails=sticks), ToyStep(world, "late", fail="early")]
        super().__init__(world, steps)

    @property
    def params(self) -> Mapping[str, object]:
        return {"target": "node2"}


@dataclass
class Ward:
    """Where an operation sticks until it is let."""

    watched: Watched
    hands: ClusterHands
    ledger: Ledger
    world: World
    sticks: bool = True
    attempts: int = 0

    def operation(self) -> Sticky:
        return Sticky(self.world, self.stuck)

    def stuck(self) -> bool:
        self.attempts += 1
        return self.sticks

    async def interrupt(self) -> int:
        """An operation of this process is interrupted, and was tried again once; its number."""
        await self.hands.ordered(self.operation(), actor="carol")  # type: ignore[arg-type]
        await self.until(lambda: self.attempts > 1 and "node2" in self.watched.memory.resyncs)
        entry = self.ledger.unfinished("pandora")
        assert entry is not None
        return entry.id

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():  # noqa: ASYNC110 - nobody tells it
                await asyncio.sleep(0.01)

    def freed(self) -> bool:
        """Whether nothing stands against the next decision any more."""
        memory = self.watched.memory
        return not self.hands.busy and memory.facts().operation is None and not memory.resyncs


@pytest.fixture
async def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ward]:
    for module in (conductor, recovery):
        monkeypatch.setattr(module, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(recovery, "LONGEST_RETRY", 0.1)
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched = Watched(settings(), journal)
    ledger = Ledger(tmp_path / "operations.db")
    hands = ClusterHands(watched.monitor, ledger, archives=tmp_path / "archive")
    ward = Ward(watched, hands, ledger, World(tmp_path / "world.json"))
    monkeypatch.setattr(hands.builder, "again", lambda entry: ward.operation())
    await watched.healthy()
    yield ward
    ward.sticks = False
    await hands.stop(DEADLINE)
    await watched.monitor.stop(1.0)
    await journal.close()
    ledger.close()


async def test_what_is_interrupted_in_this_process_is_tried_again_until_it_has_ended(ward: Ward) -> None:
    number = await ward.interrupt()
    assert ward.hands.busy
    ward.sticks = False
    await ward.until(ward.freed)
    entry = ward.ledger.entry(number)
    assert entry is not None
    assert entry.state is OperationState.FAILED
    assert ward.world.effects() == set()
    assert "operation_recovery" in await ward.watched.kinds()


async def test_a_resync_that_is_given_up_leaves_its_node_free_and_its_marks_known(ward: Ward) -> None:
    number = await ward.interrupt()
    ward.hands.records.put_mark(Mark(node="node2", kind=MarkKind.NEEDS_RESYNC, reason="half a copy", at=0.0))
    await ward.hands.give_up(number, "carol")
    assert ward.freed()
    assert ward.watched.memory.syncs["node2"].state is SyncState.FAILED


async def test_a_resync_that_another_process_ended_leaves_its_node_free(ward: Ward) -> None:
    number = await ward.interrupt()
    ward.ledger.write(number, Change(state=OperationState.FAILED, text="given up", finished_at=1.0))
    await ward.until(ward.freed)
    view = ward.watched.memory.operation
    assert view is not None
    assert (view.state, view.text) == (OperationState.FAILED, "given up")

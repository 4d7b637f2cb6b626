"""What outlives operations: promotions, acknowledgements, marks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.operations.ledger import Change, Ledger, StepEntry
from pfms_ha_tui.operations.records import Mark, MarkKind, Records
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.pandora.epoch import OldMaster, Promotion, from_json, to_json


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


def promotion(epoch: int, master: str = "node2", at: float = 1000.0) -> Promotion:
    return Promotion(
        epoch=epoch,
        master=master,
        worker="w",
        at=at,
        old_master="node1",
        old_state=OldMaster.KILLED,
        received=BinlogPosition("binlog.000003", 157),
        own=BinlogPosition("mysql-bin.000001", 4),
    )


def test_the_newest_promotion_counts_and_each_cluster_has_its_own(ledger: Ledger) -> None:
    records, other = Records(ledger, "a"), Records(ledger, "b")
    assert records.newest() is None
    records.put_promotion(promotion(2), operation=1, automatic=True)
    records.put_promotion(promotion(1, "node3"), operation=None, automatic=False)
    assert records.newest() == promotion(2)
    assert [entry.promotion.epoch for entry in records.promotions()] == [2, 1]
    assert other.newest() is None
    records.withdraw_promotion(2)
    assert records.newest() == promotion(1, "node3")


def test_an_acknowledged_failover_no_longer_blocks_the_next_one(ledger: Ledger) -> None:
    records = Records(ledger, "a")
    records.put_promotion(promotion(1, at=10), operation=1, automatic=True)
    records.put_promotion(promotion(2, at=20), operation=2, automatic=True)
    records.put_promotion(promotion(3, at=30), operation=3, automatic=False)
    assert records.last_failover_at() == 20
    assert records.acknowledge("carol") == 2
    assert records.last_failover_at() is None
    assert records.acknowledge("carol") == 0
    assert records.promotions()[-1].acknowledged_by == "carol"


def test_marks_are_kept_by_kind_until_they_are_cleared(ledger: Ledger) -> None:
    records = Records(ledger, "a")
    records.put_mark(Mark(node="node1", kind=MarkKind.DIVERGED, reason="first", at=1))
    records.put_mark(Mark(node="node1", kind=MarkKind.DIVERGED, reason="second", at=2))
    records.put_mark(Mark(node="node1", kind=MarkKind.NEEDS_RESYNC, reason="flush 0", at=3))
    assert records.marked(MarkKind.DIVERGED) == {"node1": "second"}
    records.clear_mark("node1", MarkKind.DIVERGED)
    assert [mark.kind for mark in records.marks()] == [MarkKind.NEEDS_RESYNC]
    assert Records(ledger, "b").marks() == ()


def test_any_new_reason_for_a_resync_ends_what_spoke_for_the_node(ledger: Ledger) -> None:
    records = Records(ledger, "a")
    failed = Mark(node="node2", kind=MarkKind.NEEDS_RESYNC, reason="its resync was cancelled", at=1)
    untouched = Mark(node="node2", kind=MarkKind.UNTOUCHED, reason="its old data is in its place", at=1)
    records.put_mark(failed)
    assert records.distrusted("node2")
    records.put_mark(untouched)
    assert not records.distrusted("node2")
    records.put_mark(failed)
    assert records.marked(MarkKind.UNTOUCHED) == {}
    records.settle_untouched("node2")
    assert "node2" in records.marked(MarkKind.NEEDS_RESYNC)
    records.put_mark(untouched)
    records.put_mark(Mark(node="node2", kind=MarkKind.DIVERGED, reason="x", at=2))
    assert records.distrusted("node2")
    records.settle_untouched("node2")
    assert [mark.kind for mark in records.marks()] == [MarkKind.DIVERGED]


@pytest.mark.parametrize("value", ["", "{}", "[]", "null", '{"epoch": "x"}', '{"epoch": 1}', "\x00", "{" * 9])
def test_a_record_that_is_none_is_not_believed(value: str) -> None:
    assert from_json(value) is None


def test_a_record_survives_the_way_into_the_data_and_back() -> None:
    assert from_json(to_json(promotion(7))) == promotion(7)


def test_what_ended_long_ago_is_forgotten_and_what_has_not_ended_stays(ledger: Ledger) -> None:
    step = StepEntry(name="one", title="one", node=None, preview=())

    def begin(cluster: str) -> int:
        return ledger.begin(
            cluster=cluster,
            kind="merge",
            title="t",
            params={},
            actor="carol",
            dry_run=False,
            steps=(step,),
            at=1.0,
        )

    old = begin("a")
    ledger.write(old, Change(state=OperationState.DONE, finished_at=10.0, facts={"k": 1}, lines=[(1.0, "x")]))
    new, open_one = begin("a"), begin("b")
    ledger.write(new, Change(state=OperationState.DONE, finished_at=30.0))
    Records(ledger, "a").put_mark(Mark(node="n", kind=MarkKind.DIVERGED, reason="r", at=1.0, operation=old))
    assert ledger.forget_before(20.0) == 1
    assert [one.id for one in ledger.recent("a")] == [new]
    assert [one.id for one in ledger.recent("b")] == [open_one]
    assert Records(ledger, "a").marked(MarkKind.DIVERGED) == {"n": "r"}

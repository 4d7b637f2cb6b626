"""How roles become known, unknown again, and adopted from others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.observation import EpochRecord, IoState
from pfms_ha_tui.cluster.snapshot import JournalFacts


def test_a_healthy_cluster_makes_the_roles_known() -> None:
    lab = Lab()
    assert not lab.facts.roles_known
    lab.tick()
    facts = lab.learn()
    assert (facts.roles_known, facts.master) == (True, "node1")


@pytest.mark.parametrize("fields", [{"io": IoState.CONNECTING}, {"sql": False}, {"follows": None}])
def test_a_slave_that_does_not_replicate_confirms_nothing(fields: dict[str, object]) -> None:
    lab = Lab()
    for name, value in fields.items():
        setattr(lab.servers["node2"], name, value)
    lab.tick()
    assert not lab.learn().roles_known


def test_a_lone_node_is_the_master() -> None:
    lab = Lab(1)
    lab.tick()
    assert lab.learn().master == "node1"


def test_its_own_promotion_record_confirms_a_master_without_slaves() -> None:
    lab = Lab()
    lab.promote("node2", 4)
    lab.kill("node1")
    lab.facts = JournalFacts(epoch=4, epoch_master="node2")
    lab.tick()
    facts = lab.learn()
    assert (facts.roles_known, facts.master, facts.epoch) == (True, "node2", 4)


def test_a_promotion_by_another_worker_is_adopted_with_its_epoch() -> None:
    lab = Lab().settle()
    lab.kill("node1")
    lab.promote("node2", 9)
    lab.facts = replace(lab.facts, epoch=0, epoch_master=None, master="node1")
    lab.tick()
    facts = lab.learn()
    assert (facts.epoch, facts.epoch_master, facts.master, facts.roles_known) == (9, "node2", "node2", True)


def test_a_switchover_by_hand_is_adopted_once_a_slave_follows() -> None:
    lab = Lab().settle()
    lab.servers["node1"].read_only, lab.servers["node1"].follows = True, "10.0.0.2"
    lab.servers["node2"].read_only, lab.servers["node2"].follows = False, None
    lab.servers["node1"].io = IoState.CONNECTING
    lab.tick()
    assert not lab.learn().roles_known
    lab.servers["node1"].io = IoState.YES
    lab.tick()
    facts = lab.learn()
    assert (facts.roles_known, facts.master) == (True, "node2")


def test_an_older_picture_teaches_nothing() -> None:
    """Right after a switchover of ours the newest observations may still show the old roles."""
    lab = Lab().settle()
    lab.facts = replace(lab.facts, epoch=1, epoch_master="node2", master="node2")
    assert lab.learn() == lab.facts
    assert lab.facts.master == "node2"


def test_nothing_is_learnt_while_an_operation_changes_the_roles() -> None:
    lab = Lab().settle()
    lab.facts = replace(lab.facts, operation="a switchover", roles_known=False, master=None)
    lab.tick()
    assert not lab.learn().roles_known


def test_a_split_brain_teaches_nothing() -> None:
    lab = Lab().settle()
    lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
    lab.tick()
    before = lab.facts
    assert lab.learn() == before


def test_a_returned_old_master_teaches_nothing() -> None:
    lab = Lab().settle()
    lab.kill("node1")
    lab.tick()
    lab.promote("node2", 3)
    lab.tick()
    lab.kill("node2")
    lab.come_back("node1", read_only=False)
    lab.ticks(2)
    assert lab.learn().master == "node2"


def test_a_record_that_names_another_node_confirms_nothing() -> None:
    lab = Lab()
    lab.servers["node2"].follows = None
    lab.servers["node1"].epoch = EpochRecord(epoch=3, master="node2", worker="w", at=0.0)
    lab.tick()
    assert not lab.learn().roles_known


def test_a_dead_master_stays_known() -> None:
    lab = Lab().settle()
    lab.kill("node1")
    lab.ticks(5)
    assert lab.learn().master == "node1"
    assert lab.facts.roles_known


def test_a_master_whose_slaves_are_gone_stays_known() -> None:
    lab = Lab().settle()
    lab.kill("node2")
    lab.ticks(2)
    assert lab.learn().roles_known


def test_the_journals_own_master_needs_no_record_to_be_seen_healthy() -> None:
    lab = Lab()
    lab.facts = JournalFacts(epoch=4, epoch_master="node1")
    lab.servers["node1"].pandora = False
    lab.tick()
    assert lab.learn().roles_known

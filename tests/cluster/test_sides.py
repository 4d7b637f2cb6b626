"""Who lost, and the warning when a person picks the other one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfms_ha_tui.cluster.sides import SideEvidence, known_master, propose_loser, wrong_direction
from pfms_ha_tui.cluster.snapshot import JournalFacts

ONE = SideEvidence(label="node1", order=0, writable=True)
TWO = SideEvidence(label="node2", order=1, writable=True)


@pytest.mark.parametrize(
    ("one", "two", "losing", "word"),
    [
        (replace(ONE, epoch=3), replace(TWO, epoch=4), "node1", "epoch 4"),
        (replace(ONE, epoch=4), replace(TWO, epoch=3), "node2", "epoch 4"),
        (replace(ONE, epoch=4, keepalive=10.0), replace(TWO, epoch=3, keepalive=9000.0), "node2", "epoch"),
        (replace(ONE, named_by_journal=True), replace(TWO, keepalive=5.0), "node2", "journal"),
        (replace(ONE, keepalive=1000.0), replace(TWO, keepalive=2000.0), "node1", "1000 s later"),
        (ONE, replace(TWO, named_by_hosts_file=True), "node1", "Pandora is sent"),
        (replace(ONE, follows="node2"), replace(TWO, epoch=1), "node1", "replicates"),
    ],
)
def test_the_strongest_evidence_names_the_losing_side(
    one: SideEvidence, two: SideEvidence, losing: str, word: str
) -> None:
    for pair in ((one, two), (two, one)):
        proposal = propose_loser(*pair)
        assert proposal.losing == losing
        assert proposal.certain
        assert word in proposal.reasons[0]


def test_without_evidence_the_order_of_the_hosts_decides_and_it_is_said_to_be_weak() -> None:
    for pair in ((ONE, TWO), (TWO, ONE)):
        proposal = propose_loser(*pair)
        assert (proposal.master, proposal.losing, proposal.certain) == ("node1", "node2", False)


def test_keepalives_a_few_seconds_apart_are_no_evidence() -> None:
    one, two = replace(ONE, keepalive=1000.0), replace(TWO, keepalive=1030.0)
    assert not propose_loser(one, two).certain


def test_the_clear_master_as_losing_side_is_warned_about() -> None:
    old, new = replace(ONE, epoch=3), replace(TWO, epoch=4)
    assert wrong_direction(old, new) is None
    why = wrong_direction(new, old)
    assert why is not None
    assert "node2 looks like the master" in why
    assert "rebuilt" in why


def test_merging_the_writable_node_into_one_that_is_not_is_warned_about() -> None:
    assert wrong_direction(ONE, replace(TWO, writable=False)) is not None
    assert wrong_direction(replace(ONE, writable=False), TWO) is None


def test_without_evidence_either_direction_is_a_persons_choice() -> None:
    assert wrong_direction(ONE, TWO) is None
    assert wrong_direction(TWO, ONE) is None


@pytest.mark.parametrize(
    ("facts", "master"),
    [
        (JournalFacts(), None),
        (JournalFacts(master="node1"), None),
        (JournalFacts(epoch=4, epoch_master="node2"), "node2"),
        (JournalFacts(epoch=4, epoch_master="node2", master="node1"), "node2"),
        (JournalFacts(epoch=4, epoch_master="node2", master="node1", roles_known=True), "node1"),
    ],
    ids=["nothing", "not confirmed", "promotion", "promotion, not confirmed", "named since"],
)
def test_the_remembered_master_is_the_one_the_roles_are_known_by(
    facts: JournalFacts, master: str | None
) -> None:
    assert known_master(facts) == master

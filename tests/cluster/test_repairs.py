"""With ``splitbrain_autofix`` the rows of the losing side are merged before anything replaces its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.cluster.policy import Mode

Fate = Callable[[Lab], None]


def locked_with_rows() -> Lab:
    """node2 was a master beside node1, is locked, and holds rows of its own."""
    lab = Lab(2).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.servers["node2"].follows = None
    lab.facts = replace(lab.facts, diverged={"node2": "its rows are not merged yet"})
    lab.ticks(2)
    return lab


def test_rows_of_a_locked_side_are_merged_by_itself_into_the_master_that_stays() -> None:
    decision = locked_with_rows().decision
    assert (decision.action, decision.target, decision.master) == (Action.MERGE_AND_CLONE, "node2", "node1")


def test_they_are_merged_before_a_broken_slave_is_rebuilt() -> None:
    lab = locked_with_rows()
    lab.facts = replace(lab.facts, to_resync={"node2": "said before"})
    assert lab.action() is Action.MERGE_AND_CLONE


def test_without_autofix_a_person_merges() -> None:
    lab = locked_with_rows()
    lab.policy = replace(lab.policy, splitbrain_autofix=False)
    assert lab.decision.proposal is not Action.MERGE_AND_CLONE


def manual(lab: Lab) -> None:
    lab.policy = replace(lab.policy, mode=Mode.MANUAL)


def unknown_roles(lab: Lab) -> None:
    lab.facts = replace(lab.facts, roles_known=False)


def another_master(lab: Lab) -> None:
    lab.facts = replace(lab.facts, master="node2")


def marked(lab: Lab) -> None:
    lab.facts = replace(lab.facts, failed_resync=("node2",))


def tried(lab: Lab) -> None:
    lab.facts = replace(lab.facts, auto_merges={"node2": lab.policy.resync_retries})


def busy(lab: Lab) -> None:
    lab.facts = replace(lab.facts, operation="a switchover is running")


@pytest.mark.parametrize("fate", [manual, unknown_roles, another_master, marked, tried, busy])
def test_any_doubt_leaves_the_merge_to_a_person(fate: Fate) -> None:
    lab = locked_with_rows()
    fate(lab)
    decision = lab.decision
    assert decision.action is Action.NONE
    assert decision.proposal is Action.MERGE_AND_CLONE
    assert decision.blocked_by


def test_two_masters_are_repaired_by_itself_only_so_many_times_a_day() -> None:
    lab = Lab(2).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.servers["node2"].follows = None
    lab.servers["node2"].read_only = False
    lab.ticks(3)
    assert lab.action() is Action.MERGE_AND_CLONE
    lab.facts = replace(lab.facts, auto_merges={"node2": lab.policy.resync_retries})
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.MERGE_AND_CLONE)
    assert "a person has to look" in decision.blocked_by[-1]


def three_with_rows_left(*, read_only: bool = True) -> Lab:
    """node1 died and came back clean after node2 took over; node3 holds rows of its own, and is away."""
    lab = Lab(3).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.kill("node1")
    lab.ticks(2, 0.1)
    lab.promote("node2", 1)
    lab.follow("node3", "node2")
    lab.ticks(2)
    lab.facts = replace(lab.facts, diverged={"node3": "its rows are not merged yet"})
    lab.learn()
    lab.servers["node3"].follows = None
    lab.kill("node3")
    lab.ticks(2)
    lab.come_back("node1", read_only=read_only)
    lab.ticks(2)
    return lab


def test_a_side_that_cannot_be_read_holds_no_other_node_back() -> None:
    lab = three_with_rows_left()
    decision = lab.decision
    assert (decision.action, decision.target, decision.master) == (Action.REJOIN, "node1", "node2")
    lab.facts = replace(lab.facts, diverged={**lab.facts.diverged, "node1": "so are these"})
    decision = lab.decision
    assert (decision.action, decision.target) == (Action.MERGE_AND_CLONE, "node1")


def test_two_sides_that_cannot_be_merged_are_told_by_the_first() -> None:
    lab = three_with_rows_left()
    lab.facts = replace(
        lab.facts,
        diverged={**lab.facts.diverged, "node1": "so are these"},
        auto_merges={"node1": lab.policy.resync_retries},
    )
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.MERGE_AND_CLONE)
    assert decision.target == "node1"


def test_rows_that_may_not_be_merged_are_not_replaced_by_a_copy_instead() -> None:
    lab = locked_with_rows()
    lab.facts = replace(
        lab.facts,
        to_resync={"node2": "said before"},
        auto_merges={"node2": lab.policy.resync_retries},
    )
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.MERGE_AND_CLONE)


def test_an_old_master_that_may_not_be_locked_holds_back_everything_else() -> None:
    lab = three_with_rows_left(read_only=False)
    assert (lab.action(), lab.decision.target) == (Action.LOCK, "node1")
    lab.facts = replace(lab.facts, master="node1")
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.LOCK)


def test_a_blocked_failover_holds_back_the_rest() -> None:
    lab = three_with_rows_left()
    lab.kill("node2")
    lab.ticks(3, 0.2)
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.FAILOVER)
    assert not decision.idle


def test_nothing_is_begun_by_itself_that_could_not_be_remembered() -> None:
    labs = [locked_with_rows(), three_with_rows_left(), three_with_rows_left(read_only=False)]
    labs[1].facts = replace(labs[1].facts, diverged={})
    wanted = [Action.MERGE_AND_CLONE, Action.REJOIN, Action.LOCK]
    assert [lab.action() for lab in labs] == wanted
    fault = "the ledger was moved away"
    for lab, action in zip(labs, wanted, strict=True):
        lab.facts = replace(lab.facts, ledger_fault=fault)
        decision = lab.decision
        assert (decision.action, decision.proposal) == (Action.NONE, action)
        assert fault in decision.blocked_by

"""Resyncs that the worker makes by itself: which slave, after how long, how often, and which one never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.cluster.observation import IoState, Reach, SshState
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.resyncing import DATA_ERRORS, LOG_ERRORS
from pfms_ha_tui.cluster.snapshot import Maintenance, Sync, SyncState

Fate = Callable[[Lab], None]


def broken(errno: int = 1062, *, seconds: int = 31, io_errno: int = 0) -> Lab:
    """node2 cannot go on since so many seconds."""
    lab = Lab().settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    node2 = lab.servers["node2"]
    if io_errno:
        node2.io, node2.io_errno = IoState.NO, io_errno
    else:
        node2.sql, node2.sql_errno = False, errno
    lab.ticks(seconds)
    return lab


@pytest.mark.parametrize("errno", sorted(DATA_ERRORS))
def test_a_slave_whose_data_does_not_fit_is_rebuilt_from_its_master(errno: int) -> None:
    decision = broken(errno).decision
    assert (decision.action, decision.target, decision.master) == (Action.RESYNC, "node2", "node1")
    assert f"error {errno}" in decision.reason


@pytest.mark.parametrize("errno", sorted(LOG_ERRORS))
def test_a_slave_that_the_master_can_no_longer_serve_is_rebuilt(errno: int) -> None:
    assert broken(io_errno=errno).action() is Action.RESYNC


@pytest.mark.parametrize("errno", [0, 1205, 1114, 1021, 1927, 3])
def test_what_a_fresh_copy_would_not_cure_is_no_reason(errno: int) -> None:
    assert broken(errno).decision.proposal is Action.NONE


@pytest.mark.parametrize("errno", [2003, 1045, 1040])
def test_a_lost_connection_is_no_reason(errno: int) -> None:
    assert broken(io_errno=errno).decision.proposal is Action.NONE


def test_a_person_is_given_time_to_repair_it() -> None:
    assert broken(seconds=25).action() is Action.NONE
    lab = broken(seconds=25)
    lab.servers["node2"].sql, lab.servers["node2"].sql_errno = True, 0
    lab.tick()
    lab.servers["node2"].sql, lab.servers["node2"].sql_errno = False, 1062
    lab.ticks(20)
    assert lab.action() is Action.NONE


def test_without_autofix_nothing_is_proposed() -> None:
    lab = broken()
    lab.policy = replace(lab.policy, splitbrain_autofix=False)
    assert lab.decision.proposal is Action.NONE


def test_after_so_many_times_a_day_a_person_has_to_look() -> None:
    lab = broken()
    lab.facts = replace(lab.facts, auto_resyncs={"node2": 1}, failed_resync=("node2",))
    assert lab.action() is Action.RESYNC, "an attempt that failed may be repeated"
    lab.facts = replace(lab.facts, auto_resyncs={"node2": 2})
    decision = lab.decision
    assert (decision.action, decision.proposal) == (Action.NONE, Action.RESYNC)
    assert decision.blocked_by == ("node2 was resynced by itself 2 times within a day: a person has to look",)


def manual(lab: Lab) -> None:
    lab.policy = replace(lab.policy, mode=Mode.MANUAL)


def maintained(lab: Lab) -> None:
    lab.facts = replace(lab.facts, maintenance=Maintenance(until=lab.at + 60, reason="", by="carol"))


def unknown_roles(lab: Lab) -> None:
    lab.facts = replace(lab.facts, roles_known=False)


def marked(lab: Lab) -> None:
    lab.facts = replace(lab.facts, failed_resync=("node2",))


def without_ssh(lab: Lab) -> None:
    lab.servers["node2"].ssh = SshState.DOWN
    lab.tick()


def writable_before(lab: Lab) -> None:
    lab.servers["node2"].read_only = False
    lab.tick()
    lab.servers["node2"].read_only = True
    lab.tick()


def resynced_now(lab: Lab) -> None:
    lab.servers["node2"].sync = Sync(state=SyncState.RUNNING)
    lab.tick()


def busy(lab: Lab) -> None:
    lab.facts = replace(lab.facts, operation="a switchover is running")


@pytest.mark.parametrize(
    "fate",
    [manual, maintained, unknown_roles, marked, without_ssh, writable_before, resynced_now, busy],
)
def test_any_doubt_leaves_it_to_a_person(fate: Fate) -> None:
    lab = broken()
    fate(lab)
    decision = lab.decision
    assert decision.action is Action.NONE
    assert decision.proposal is Action.RESYNC
    assert decision.blocked_by


def two_broken(errno: int = 1062) -> Lab:
    lab = Lab(3).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    for label in ("node2", "node3"):
        lab.servers[label].sql, lab.servers[label].sql_errno = False, errno
    lab.ticks(31)
    return lab


def test_a_slave_that_must_wait_for_a_person_does_not_hold_back_another_one() -> None:
    lab = two_broken()
    assert lab.decision.target == "node2", "in the configured order"
    lab.facts = replace(lab.facts, auto_resyncs={"node2": 2})
    decision = lab.decision
    assert (decision.action, decision.target) == (Action.RESYNC, "node3")
    why = "No resync by itself: node2 was resynced by itself 2 times within a day: a person has to look."
    assert decision.left == {"node2": why}


def test_of_several_slaves_that_must_wait_each_is_told() -> None:
    lab = two_broken()
    lab.facts = replace(lab.facts, auto_resyncs={"node2": 2, "node3": 2})
    decision = lab.decision
    assert (decision.action, decision.proposal, decision.target) == (Action.NONE, Action.RESYNC, "node2")
    assert list(decision.left) == ["node2", "node3"]


def test_nothing_is_rebuilt_while_the_master_may_be_dying() -> None:
    lab = broken()
    lab.servers["node1"].reach = Reach.HUNG
    lab.tick()
    decision = lab.decision
    assert (decision.action, decision.idle) == (Action.NONE, False)


def test_a_dead_master_comes_first() -> None:
    lab = broken()
    lab.kill("node1")
    lab.ticks(3)
    assert lab.decision.proposal is Action.FAILOVER


def test_a_node_whose_rows_are_all_saved_is_rebuilt_although_it_follows_nobody() -> None:
    lab = Lab(3).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.servers["node3"].follows = None
    lab.facts = replace(
        lab.facts, failed_resync=("node3",), to_resync={"node3": "its rows were merged into node1"}
    )
    lab.ticks(2)
    decision = lab.decision
    assert (decision.action, decision.target) == (Action.RESYNC, "node3")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lab: setattr(lab.servers["node3"], "reach", Reach.REFUSED), id="silent"),
        pytest.param(lambda lab: setattr(lab.servers["node3"], "read_only", False), id="writable"),
        pytest.param(
            lambda lab: setattr(lab, "facts", replace(lab.facts, failed_resync=())), id="marked no more"
        ),
    ],
)
def test_a_permission_to_rebuild_holds_only_for_what_it_was_given_for(change: Callable[[Lab], None]) -> None:
    lab = Lab(3).settle()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.servers["node3"].follows = None
    lab.facts = replace(
        lab.facts, failed_resync=("node3",), to_resync={"node3": "its rows were merged into node1"}
    )
    lab.tick()
    change(lab)
    lab.ticks(2)
    assert lab.decision.action is not Action.RESYNC

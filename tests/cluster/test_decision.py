"""What the worker does by itself: one table of situations, one action each, or none with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.decision import Action, decide
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.observation import EpochRecord, Flavor, IoState, Reach, Says
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.snapshot import JournalFacts, Maintenance, Sync, SyncState

Fate = Callable[[Lab], None]


def settled(count: int = 2) -> Lab:
    return Lab(count).settle()


def dead(count: int = 2) -> Lab:
    lab = settled(count)
    lab.kill("node1")
    lab.ticks(2, 0.1)
    return lab


def returned(*, read_only: bool = False) -> Lab:
    """After a failover to node2, node1 is back."""
    lab = dead()
    lab.promote("node2", 1)
    lab.ticks(2)
    lab.come_back("node1", read_only=read_only)
    lab.tick()
    return lab


def split() -> Lab:
    lab = settled()
    lab.policy = replace(lab.policy, splitbrain_autofix=True)
    lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
    lab.ticks(2)
    return lab


def restarted_read_only() -> Lab:
    lab = settled()
    lab.kill("node1")
    lab.tick(0.05)
    lab.come_back("node1", read_only=True)
    lab.follow("node2", "node1")
    lab.tick()
    return lab


def promoted_and_dead(*, seen_for: float = 0.0) -> Lab:
    """node2 was promoted and died: at once, or after it was seen read-only for so many seconds."""
    lab = dead()
    lab.promote("node2", 1)
    if seen_for:
        lab.servers["node2"].read_only = True
        lab.tick(seen_for)
    lab.kill("node2")
    lab.ticks(3)
    lab.come_back("node1", read_only=True)
    lab.ticks(2)
    return lab


def test_nothing_is_done_before_anything_is_seen() -> None:
    lab = Lab()
    assert decide([], lab.diagnosis, lab.readiness, lab.policy, lab.facts).action is Action.NONE


def test_nothing_is_done_about_a_healthy_cluster() -> None:
    decision = settled().decision
    assert decision.action is Action.NONE
    assert decision.proposal is Action.NONE
    assert decision.blocked_by == ()


class TestFailover:
    def test_a_dead_master_is_replaced(self) -> None:
        decision = dead().decision
        assert decision.action is Action.FAILOVER
        assert (decision.master, decision.target) == ("node1", "node2")
        assert decision.reason == (
            "node1 is dead: it refuses connections, node2 lost node1 too (error 2003) and its host runs no "
            "database process. node2 takes over."
        )
        assert decision.blocked_by == ()

    @pytest.mark.parametrize(
        ("fate", "because"),
        [
            (lambda lab: setattr(lab, "policy", replace(lab.policy, mode=Mode.MANUAL)), "the mode is manual"),
            (
                lambda lab: setattr(lab, "policy", replace(lab.policy, mode=Mode.OBSERVE)),
                "the mode is observe",
            ),
            (
                lambda lab: setattr(
                    lab,
                    "facts",
                    replace(lab.facts, maintenance=Maintenance(until=lab.at + 9, reason="disk", by="carol")),
                ),
                "maintenance by carol: disk",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, operation="a clone of node2")),
                "an operation is running: a clone of node2",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, last_failover_at=lab.at - 30)),
                "a failover was less than 10 min ago; acknowledge it to allow another one",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, rival_manager="pandora_ha runs here")),
                "pandora_ha runs here",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, roles_known=False)),
                "the roles are not confirmed since the worker started",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, preflight_at=None)),
                "no preflight has run yet",
            ),
            (
                lambda lab: setattr(lab, "facts", replace(lab.facts, preflight=("no RELOAD on node2",))),
                "preflight: no RELOAD on node2",
            ),
        ],
    )
    def test_whatever_stands_against_it_is_named(self, fate: Fate, because: str) -> None:
        lab = dead()
        fate(lab)
        decision = lab.decision
        assert decision.action is Action.NONE
        assert decision.proposal is Action.FAILOVER
        assert decision.target == "node2"
        assert because in decision.blocked_by
        assert decision.reason.startswith("No failover by itself: ")

    @pytest.mark.parametrize(
        "fate",
        [
            lambda lab: setattr(lab.servers["node2"], "disabled", True),
            lambda lab: setattr(lab.servers["node2"], "sql", False),
            lambda lab: setattr(lab.servers["node2"], "lag", None),
            lambda lab: setattr(lab.servers["node2"], "lag", 10_000),
            lambda lab: setattr(lab.servers["node2"], "log_bin", None),
            lambda lab: setattr(lab.servers["node2"], "sync", Sync(state=SyncState.RUNNING)),
            lambda lab: setattr(lab.servers["node2"], "io", IoState.NO),
            lambda lab: setattr(lab, "facts", replace(lab.facts, failed_resync=("node2",))),
        ],
    )
    def test_a_slave_that_may_not_is_not_promoted(self, fate: Fate) -> None:
        lab = settled()
        fate(lab)
        lab.tick()
        lab.servers["node1"].reach = Reach.REFUSED
        lab.kill("node1")
        lab.ticks(10, 0.2)
        assert lab.kind() is DiagnosisKind.MASTER_DEAD_NO_CANDIDATE
        assert lab.action() is Action.NONE

    def test_a_master_that_answers_again_is_not_replaced_whatever_the_guards_said(self) -> None:
        lab = dead()
        stale_diagnosis, stale_readiness = lab.diagnosis, lab.readiness
        lab.come_back("node1", read_only=False)
        lab.tick(0.1)
        decision = decide(lab.history, stale_diagnosis, stale_readiness, lab.policy, lab.facts)
        assert decision.action is Action.NONE
        assert "node1 answers" in decision.blocked_by
        assert "node1 already takes writes" in decision.blocked_by

    def test_guards_that_were_not_judged_do_not_pass(self) -> None:
        lab = dead()
        empty = Readiness(guards=(), candidate="node2", sentence="")
        decision = decide(lab.history, lab.diagnosis, empty, lab.policy, lab.facts)
        assert decision.action is Action.NONE
        assert "the guards were not judged" in decision.blocked_by

    def test_without_a_candidate_nobody_is_promoted(self) -> None:
        lab = dead()
        none = replace(lab.readiness, candidate=None)
        assert decide(lab.history, lab.diagnosis, none, lab.policy, lab.facts).action is Action.NONE

    def test_a_later_promotion_by_another_worker_stands_against_it(self) -> None:
        lab = settled(3)
        record = EpochRecord(epoch=7, master="node3", worker="pandora2", at=lab.at)
        lab.servers["node2"].epoch = record
        lab.tick()
        lab.kill("node1")
        lab.ticks(2, 0.1)
        decision = lab.decision
        assert decision.action is Action.NONE
        assert "node3 was made master by another worker in epoch 7" in decision.blocked_by

    def test_the_dead_node_must_be_the_known_master(self) -> None:
        lab = dead()
        lab.facts = replace(lab.facts, master="node2")
        assert lab.action() is Action.NONE


class TestLock:
    def test_a_returned_writable_old_master_is_locked(self) -> None:
        decision = returned().decision
        assert decision.action is Action.LOCK
        assert (decision.target, decision.master) == ("node1", "node2")
        assert "node2 was made master in epoch 1" in decision.reason

    def test_a_recent_failover_does_not_stand_against_it(self) -> None:
        lab = returned()
        assert lab.facts.last_failover_at is not None
        assert lab.action() is Action.LOCK

    def test_it_needs_no_journal(self) -> None:
        lab = returned()
        lab.facts = JournalFacts()
        assert lab.action() is Action.LOCK

    def test_it_comes_before_the_dead_new_master(self) -> None:
        lab = returned()
        lab.kill("node2")
        lab.ticks(2)
        decision = lab.decision
        assert decision.action is Action.LOCK
        assert decision.target == "node1"

    @pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.OBSERVE])
    def test_by_hand_only_when_the_mode_is_not_automatic(self, mode: Mode) -> None:
        lab = returned()
        lab.policy = replace(lab.policy, mode=mode)
        assert lab.action() is Action.NONE
        assert lab.decision.proposal is Action.LOCK

    def test_the_present_master_is_never_locked_for_an_old_record(self) -> None:
        lab = returned()
        lab.servers["node2"].epoch = None
        lab.servers["node1"].epoch = None
        lab.ticks(2)
        assert lab.action() is Action.NONE
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_the_known_master_is_not_locked_before_the_new_roles_are_learnt(self) -> None:
        lab = returned()
        lab.facts = replace(lab.facts, master="node1")
        assert lab.action() is Action.NONE
        lab.learn()
        assert lab.action() is Action.LOCK


class TestRejoin:
    def test_a_locked_old_master_becomes_a_slave_again(self) -> None:
        decision = returned(read_only=True).decision
        assert decision.action is Action.REJOIN
        assert (decision.target, decision.master) == ("node1", "node2")

    @pytest.mark.parametrize(
        "fate",
        [
            lambda lab: setattr(lab, "facts", replace(lab.facts, diverged={"node1": "2 rows"})),
            lambda lab: setattr(lab, "facts", replace(lab.facts, failed_resync=("node1",))),
            lambda lab: setattr(lab, "facts", replace(lab.facts, roles_known=False)),
            lambda lab: setattr(lab, "facts", replace(lab.facts, master="node1")),
            lambda lab: setattr(lab, "facts", replace(lab.facts, operation="a merge")),
            lambda lab: setattr(lab.servers["node1"], "sync", Sync(state=SyncState.QUEUED)),
            lambda lab: setattr(lab.servers["node1"], "schema", None),
            lambda lab: setattr(lab.servers["node2"], "reach", Reach.HUNG),
            lambda lab: setattr(lab.servers["node2"], "readable", False),
        ],
    )
    def test_what_stands_against_it(self, fate: Fate) -> None:
        lab = returned(read_only=True)
        fate(lab)
        lab.tick()
        assert lab.action() is Action.NONE

    def test_transactions_of_its_own_stand_against_it(self) -> None:
        uuid = "3e11fa47-71ca-11e1-9e33-c80aa942956"
        lab = returned(read_only=True)
        for number, server in enumerate(lab.servers.values(), 1):
            server.flavor, server.version, server.gtid_mode = Flavor.MYSQL, "8.4.0", True
            server.uuid, server.gtid = f"{uuid}{number}", f"{uuid}1:1-100"
        lab.ticks(2)
        assert lab.action() is Action.REJOIN
        lab.servers["node1"].gtid = f"{uuid}1:1-102"
        lab.ticks(2)
        assert lab.action() is Action.NONE
        assert lab.kind() is DiagnosisKind.DIVERGED

    def test_an_empty_server_is_not_taken_for_an_old_master(self) -> None:
        lab = returned(read_only=True)
        lab.servers["node1"].schema = None
        lab.tick()
        assert any("may be an empty server" in why for why in lab.decision.blocked_by)

    def test_a_slave_that_somebody_reset_is_left_alone(self) -> None:
        lab = settled()
        lab.promote("node1", 1)
        lab.follow("node2", "node1")
        lab.servers["node2"].follows = None
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.REPLICATION_STOPPED
        assert lab.action() is Action.NONE


class TestReopen:
    def test_a_master_that_restarted_read_only_is_reopened(self) -> None:
        decision = restarted_read_only().decision
        assert decision.action is Action.REOPEN
        assert decision.target == decision.master == "node1"

    def test_a_master_that_somebody_locked_is_left_alone(self) -> None:
        lab = settled()
        lab.servers["node1"].read_only = True
        lab.ticks(2)
        decision = lab.decision
        assert decision.action is Action.NONE
        assert decision.proposal is Action.REOPEN
        assert any("on purpose" in why for why in decision.blocked_by)

    @pytest.mark.parametrize(
        "fate",
        [
            lambda lab: setattr(lab, "facts", replace(lab.facts, roles_known=False)),
            lambda lab: setattr(lab, "facts", replace(lab.facts, operation="a failover")),
            lambda lab: setattr(lab, "facts", replace(lab.facts, epoch=3, epoch_master="node2")),
            lambda lab: setattr(lab, "facts", replace(lab.facts, diverged={"node1": "x"})),
            lambda lab: setattr(lab.servers["node2"], "reach", Reach.UNREACHABLE),
            lambda lab: setattr(lab.servers["node2"], "read_only", None),
            lambda lab: setattr(
                lab.servers["node2"], "epoch", EpochRecord(epoch=1, master="node2", worker="w", at=0)
            ),
        ],
    )
    def test_what_stands_against_it(self, fate: Fate) -> None:
        lab = restarted_read_only()
        fate(lab)
        lab.tick()
        assert lab.action() is Action.NONE

    @pytest.mark.parametrize("seen_for", [0.0, 0.5])
    def test_a_master_that_died_the_moment_it_was_promoted_is_reopened(self, seen_for: float) -> None:
        lab = promoted_and_dead(seen_for=seen_for)  # a look may fall between its record and its opening
        lab.come_back("node2", read_only=True)
        lab.ticks(2)
        assert lab.node("node2").restarted_readonly is False  # nobody saw it writable
        assert lab.action() is Action.REOPEN, lab.decision
        assert "it restarted read-only" in lab.diagnosis.text

    def test_a_new_master_that_was_locked_before_it_restarted_is_left_alone(self) -> None:
        lab = promoted_and_dead(seen_for=8.0)
        lab.come_back("node2", read_only=True)
        lab.ticks(2)
        assert lab.action() is Action.NONE, lab.decision
        assert any("on purpose" in why for why in lab.decision.blocked_by)

    def test_a_new_master_that_did_not_restart_was_locked_by_somebody(self) -> None:
        lab = promoted_and_dead()
        lab.servers["node2"].reach = Reach.ALIVE
        lab.servers["node2"].read_only = True
        lab.ticks(2)
        assert lab.action() is Action.NONE, lab.decision

    def test_not_once_another_node_was_promoted(self) -> None:
        lab = restarted_read_only()
        lab.promote("node2", 1)
        lab.tick()
        assert lab.action() is not Action.REOPEN


class TestSplitBrain:
    def test_by_itself_nothing_is_done(self) -> None:
        lab = split()
        lab.policy = replace(lab.policy, splitbrain_autofix=False)
        decision = lab.decision
        assert decision.action is Action.NONE
        assert decision.proposal is Action.MERGE_AND_CLONE
        assert decision.blocked_by == (
            "splitbrain_autofix is off: a person chooses the side that stays master",
        )

    def test_with_autofix_the_known_master_stays(self) -> None:
        decision = split().decision
        assert decision.action is Action.MERGE_AND_CLONE
        assert (decision.target, decision.master) == ("node2", "node1")

    def test_without_known_roles_the_newest_contact_decides(self) -> None:
        lab = split()
        lab.facts = replace(lab.facts, roles_known=False, master=None)
        lab.servers["node1"].keepalive, lab.servers["node2"].keepalive = 100.0, 200.0
        lab.tick()
        decision = lab.decision
        assert (decision.action, decision.target, decision.master) == (
            Action.MERGE_AND_CLONE,
            "node1",
            "node2",
        )

    def test_on_a_tie_the_configured_order_decides(self) -> None:
        lab = split()
        lab.facts = replace(lab.facts, roles_known=False, master=None)
        lab.servers["node1"].keepalive = lab.servers["node2"].keepalive = 100.0
        lab.tick()
        assert lab.decision.master == "node1"

    def test_an_unknown_contact_decides_nothing(self) -> None:
        lab = split()
        lab.facts = replace(lab.facts, roles_known=False, master=None)
        lab.servers["node1"].keepalive = 100.0
        lab.tick()
        decision = lab.decision
        assert decision.action is Action.NONE
        assert decision.target is None

    def test_three_sides_are_for_a_person(self) -> None:
        lab = Lab(3).settle()
        lab.policy = replace(lab.policy, splitbrain_autofix=True)
        for label in ("node2", "node3"):
            lab.servers[label].follows, lab.servers[label].read_only = None, False
        lab.ticks(2)
        assert lab.action() is Action.NONE

    def test_a_side_whose_record_is_unread_is_not_cloned(self) -> None:
        lab = split()
        lab.servers["node2"].pandora = False
        lab.servers["node2"].read_only = True
        lab.tick()
        lab.servers["node2"].read_only = False
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN
        assert lab.action() is Action.NONE


def test_a_slave_that_still_receives_keeps_everything_as_it_is() -> None:
    lab = settled()
    lab.cut("node1")
    for _ in range(100):
        lab.servers["node2"].read = (lab.servers["node2"].read or 0) + 10
        lab.say("node2", "node1", Says.SEES)
        lab.tick()
        assert lab.action() is Action.NONE


def test_mysql_with_gtids_may_promote_a_writable_slave_that_has_nothing_extra() -> None:
    uuid = "3e11fa47-71ca-11e1-9e33-c80aa942956"
    lab = Lab()
    for number, server in enumerate(lab.servers.values(), 1):
        server.flavor, server.version, server.gtid_mode = Flavor.MYSQL, "8.4.0", True
        server.uuid, server.gtid = f"{uuid}{number}", f"{uuid}1:1-100"
    lab.servers["node2"].read_only = False
    lab.settle()
    lab.kill("node1")
    lab.ticks(2, 0.1)
    assert lab.kind() is not DiagnosisKind.SPLIT_BRAIN
    assert lab.readiness.candidate == "node2"


def test_what_can_wait_begins_only_while_neither_a_failover_nor_a_lock_is_due() -> None:
    assert settled().decision.idle
    manual = dead()
    manual.policy = replace(manual.policy, mode=Mode.MANUAL)
    assert (manual.decision.proposal, manual.decision.idle) == (Action.FAILOVER, False)
    manual = returned()
    manual.policy = replace(manual.policy, mode=Mode.MANUAL)
    assert (manual.decision.proposal, manual.decision.idle) == (Action.LOCK, False)
    suspect = settled()
    suspect.servers["node1"].reach = Reach.UNREACHABLE
    suspect.tick(0.1)
    assert suspect.kind() is DiagnosisKind.MASTER_SUSPECT
    assert (suspect.decision.action, suspect.decision.idle) == (Action.NONE, False)

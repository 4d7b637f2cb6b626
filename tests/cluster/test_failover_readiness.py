"""The seven guards, the sentence, and the reasons that people and the worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.candidates import choose, only_by_name, why_not_candidate
from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Reach, Says, SshState, Witness
from pfms_ha_tui.cluster.permits import (
    why_not_failover,
    why_not_rejoin,
    why_not_reopen,
    why_not_resync,
    why_not_switchover,
)
from pfms_ha_tui.cluster.policy import Mode, OnIsolation, Policy
from pfms_ha_tui.cluster.refusals import ANYBODY, refusals
from pfms_ha_tui.cluster.snapshot import Maintenance, Snapshot, Sync, SyncState

KEYS = ["armed", "verdict", "slave", "isolation", "operation", "fencing", "preflight"]
Change = Callable[[Lab], None]


def settled(count: int = 2) -> Lab:
    return Lab(count).settle()


def facts(**fields: object) -> Change:
    def apply(lab: Lab) -> None:
        lab.facts = replace(lab.facts, **fields)  # type: ignore[arg-type]

    return apply


def policy(**fields: object) -> Change:
    def apply(lab: Lab) -> None:
        lab.policy = replace(lab.policy, **fields)  # type: ignore[arg-type]

    return apply


def server(label: str, **fields: object) -> Change:
    def apply(lab: Lab) -> None:
        for name, value in fields.items():
            setattr(lab.servers[label], name, value)

    return apply


def test_a_healthy_pair_would_fail_over() -> None:
    lab = settled()
    ready = lab.readiness
    assert [guard.key for guard in ready.guards] == KEYS
    assert ready.ready
    assert ready.candidate == "node2"
    assert ready.sentence == "If node1 died now, node2 would take over (7 of 7 checks pass)."


def test_what_the_guards_say_when_all_is_well() -> None:
    assert [guard.reason for guard in settled().readiness.guards] == [
        "the mode is automatic and node1 is known as the master",
        "node2 can testify and SSH to node1's host works",
        "node2 may take over",
        "node2 answers",
        "no operation is running, and no failover was in the last 10 min",
        "SSH to node1's host works and may stop the database",
        "green 3 s ago",
    ]


@pytest.mark.parametrize(
    ("fate", "key", "ok", "reason"),
    [
        (policy(mode=Mode.MANUAL), "armed", False, "the mode is manual"),
        (policy(mode=Mode.OBSERVE), "armed", False, "the mode is observe"),
        (facts(roles_known=False), "armed", False, "the roles are not confirmed since the worker started"),
        (
            facts(rival_manager="pandora_ha runs here (pid 7)."),
            "armed",
            False,
            "pandora_ha runs here (pid 7)",
        ),
        (
            facts(operation="switchover to node2"),
            "operation",
            False,
            "an operation is running: switchover to node2",
        ),
        (server("node2", sql=False), "slave", False, "node2 does not apply what it receives"),
        (server("node2", lag=31), "slave", False, "node2 is 31 s behind, more than 30 s"),
        (server("node2", lag=None), "slave", False, "the lag of node2 is not known"),
        (server("node2", read=None, flows=False), "slave", False, "how far node2 is cannot be read"),
        (server("node2", log_bin=None), "slave", False, "whether node2 writes a binary log is not known"),
        (
            server("node2", read_only=None),
            "slave",
            False,
            "whether node2 is read-only is not known",
        ),
        (server("node2", reach=Reach.HUNG), "slave", False, "node2 does not answer"),
        (
            server("node2", reach=Reach.HUNG),
            "isolation",
            False,
            "no other node answers, so it may be this host that is cut off",
        ),
        (
            server("node1", ssh=SshState.DOWN),
            "fencing",
            False,
            "no SSH to node1's host, so it could not be fenced (no route to host)",
        ),
        (
            server("node1", ssh=SshState.OFF),
            "fencing",
            False,
            "SSH to node1's host is not configured, so it could not be fenced",
        ),
        (
            server("node1", ssh=SshState.UNKNOWN),
            "fencing",
            None,
            "whether SSH to node1's host works is not known",
        ),
        (
            server("node1", can_fence=False),
            "fencing",
            False,
            "the SSH account on node1's host may not stop the database",
        ),
        (facts(preflight_at=None), "preflight", None, "no preflight has run yet"),
        (
            facts(preflight=("the grants of node2 lack RELOAD.", "x")),
            "preflight",
            False,
            "preflight: the grants of node2 lack RELOAD (and 1 more)",
        ),
        (facts(preflight_at=-4000.0), "preflight", None, "the last preflight is 83 min old"),
        (server("node2", clock_ahead=5.0), "preflight", False, "the clock of node2 is off by 5 s"),
    ],
)
def test_one_guard_fails(fate: Change, key: str, ok: bool | None, reason: str) -> None:
    lab = settled()
    fate(lab)
    lab.ticks(3)
    guard = lab.guard(key)
    assert guard.reason == reason
    assert guard.ok is ok
    assert not lab.readiness.ready
    assert "nothing would happen by itself" in lab.readiness.sentence


def test_the_sentence_names_the_first_reason_and_who_could_by_hand() -> None:
    lab = settled()
    lab.policy = replace(lab.policy, mode=Mode.MANUAL)
    assert lab.readiness.sentence == (
        "If node1 died now, nothing would happen by itself: the mode is manual; "
        "node2 could take over by hand (6 of 7 checks pass)."
    )


def test_nobody_to_testify_and_no_ssh_means_no_verdict() -> None:
    lab = settled()
    lab.servers["node2"].io = IoState.NO
    lab.servers["node1"].ssh = SshState.DOWN
    lab.tick()
    assert lab.guard("verdict").ok is False


def test_a_slave_that_does_not_answer_cannot_testify() -> None:
    lab = settled()
    lab.freeze("node2")
    lab.servers["node1"].ssh = SshState.DOWN
    lab.tick()
    assert lab.guard("verdict").ok is False


def test_maintenance_expires_by_itself() -> None:
    lab = settled()
    lab.facts = replace(lab.facts, maintenance=Maintenance(until=lab.at + 60, reason="disk swap", by="carol"))
    assert lab.guard("armed").reason == "maintenance by carol: disk swap"
    lab.ticks(61)
    assert lab.guard("armed").ok


def test_a_recent_failover_blocks_until_it_is_acknowledged_or_old() -> None:
    lab = settled()
    lab.facts = replace(lab.facts, last_failover_at=lab.at - 60)
    assert lab.guard("operation").ok is False
    assert "acknowledge it" in lab.guard("operation").reason
    lab.facts = replace(lab.facts, last_failover_at=lab.at - 601)
    assert lab.guard("operation").ok


def test_a_failover_in_the_future_means_the_clock_was_set_back() -> None:
    lab = settled()
    lab.facts = replace(lab.facts, last_failover_at=lab.at)
    lab.wall_offset -= 3600
    lab.tick()
    assert lab.guard("operation").ok is False


def test_before_anything_is_seen_nothing_is_known() -> None:
    lab = Lab()
    ready = readiness([], lab.diagnosis, lab.policy, lab.facts)
    assert not ready.ready
    assert not any(guard.ok for guard in ready.guards if guard.key != "operation")
    assert ready.sentence == "No automatic failover: it is not known which node is the master."


def test_no_witness_that_answers_means_we_may_be_cut_off() -> None:
    lab = settled()
    lab.say("gateway", "", Says.LOST, Witness.WITNESS)
    lab.tick()
    assert lab.guard("isolation").ok is False
    lab.say("other", "", Says.SEES, Witness.WITNESS)
    lab.tick()
    assert lab.guard("isolation").ok


class TestFencing:
    def test_a_host_without_a_process_needs_no_fencing(self) -> None:
        lab = settled()
        lab.servers["node1"].can_fence = False
        lab.tick()
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert lab.guard("fencing").ok
        assert lab.readiness.sentence == "node2 takes over now (7 of 7 checks pass)."

    def test_a_dead_master_without_ssh_is_not_replaced(self) -> None:
        lab = settled()
        lab.kill("node1")
        lab.servers["node1"].ssh = SshState.DOWN
        lab.ticks(2, 0.1)
        assert lab.readiness.sentence.startswith("No automatic failover: no SSH to node1's host")

    def test_unless_the_policy_accepts_that(self) -> None:
        lab = settled()
        lab.policy = replace(lab.policy, require_fencing=False)
        lab.kill("node1")
        lab.servers["node1"].ssh = SshState.DOWN
        lab.ticks(2, 0.1)
        assert lab.readiness.ready

    @pytest.mark.parametrize(("rule", "ready"), [(OnIsolation.PROMOTE, True), (OnIsolation.HOLD, False)])
    def test_an_unreachable_host_is_ruled_by_the_policy(self, rule: OnIsolation, ready: bool) -> None:
        lab = settled()
        lab.policy = replace(lab.policy, on_isolation=rule)
        lab.cut("node1")
        lab.lose("node1")
        lab.ticks(62)
        assert lab.readiness.ready is ready

    def test_an_old_look_through_ssh_says_nothing(self) -> None:
        lab = settled()
        shell = lab.node("node1").shell
        lab.ticks(130)
        lab.history[-1] = replace(
            lab.snapshot,
            nodes=tuple(replace(n, shell=shell) if n.label == "node1" else n for n in lab.snapshot.nodes),
        )
        assert lab.guard("fencing").ok is None


class TestCandidate:
    def why(self, lab: Lab, label: str = "node2", *, by_person: bool = False) -> str | None:
        return why_not_candidate(
            lab.history, lab.node(label), lab.node("node1"), lab.policy, lab.facts, by_person=by_person
        )

    def test_the_one_that_received_most_takes_over(self) -> None:
        lab = settled(3)
        lab.servers["node2"].flows = False
        lab.ticks(2)
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert lab.readiness.candidate == "node3"

    def test_on_a_tie_the_configured_order_decides(self) -> None:
        lab = settled(3)
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert lab.readiness.candidate == "node2"

    def test_while_the_master_lives_a_lagging_slave_comes_last(self) -> None:
        lab = settled(3)
        lab.servers["node2"].lag = 20
        lab.tick()
        heir = choose(lab.history, lab.node("node1"), lab.policy, lab.facts)
        assert heir is not None
        assert heir.label == "node3"

    @pytest.mark.parametrize(
        ("fate", "reason"),
        [
            (server("node2", disabled=True), "node2 is disabled"),
            (facts(failed_resync=("node2",)), "node2 needs a resync"),
            (facts(diverged={"node2": "x"}), "node2 has diverged and needs a resync"),
            (server("node2", sync=Sync(state=SyncState.RUNNING)), "node2 is being resynced"),
            (server("node2", sync=Sync(state=SyncState.FAILED)), "node2 needs a resync"),
            (server("node2", reach=Reach.IMPAIRED), "node2 answers, but with an error"),
            (server("node2", follows=None), "node2 follows nobody"),
            (server("node2", follows="10.0.0.3"), "node2 follows node3, not node1"),
            (server("node2", follows="9.9.9.9"), "node2 follows 9.9.9.9, not node1"),
            (server("node2", replication_readable=False), "whether node2 replicates may not be read"),
            (server("node2", io=IoState.NO), "node2 does not receive"),
            (server("node2", log_bin=False), "node2 writes no binary log: nobody could follow it"),
            (
                server("node2", read_only=False),
                "node2 is writable: nobody can tell whether it has rows of its own",
            ),
        ],
    )
    def test_a_slave_that_may_not(self, fate: Change, reason: str) -> None:
        lab = settled(3)
        fate(lab)
        lab.tick()
        assert self.why(lab) == reason
        assert lab.readiness.candidate == "node3"

    def test_a_slave_whose_resync_only_waits_may_until_it_begins(self) -> None:
        lab = settled()
        server("node2", sync=Sync(state=SyncState.QUEUED))(lab)
        lab.tick()
        assert self.why(lab) is None
        assert lab.readiness.candidate == "node2"

    def test_a_stale_slave_may_not(self) -> None:
        lab = settled()
        lab.servers["node2"].probed = False
        lab.ticks(6)
        assert self.why(lab) == "there is no fresh word from node2"

    def test_a_slave_not_seen_since_the_fault_may_not(self) -> None:
        """It may have died in the same moment."""
        lab = settled()
        lab.kill("node1")
        lab.servers["node2"].probed = False
        lab.ticks(2, 0.1)
        assert self.why(lab) == "node2 has not been seen since node1 stopped answering"
        assert lab.guard("isolation").ok is False

    def test_the_lag_from_before_the_fault_counts_when_the_server_says_null(self) -> None:
        lab = settled()
        lab.servers["node2"].lag = 45
        lab.tick()
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert self.why(lab) == "node2 is 45 s behind, more than 30 s"
        assert self.why(lab, by_person=True) is None

    def test_a_lag_that_was_null_before_the_fault_stays_unknown(self) -> None:
        lab = settled()
        lab.servers["node2"].lag = None
        lab.tick()
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert self.why(lab) == "the lag of node2 is not known"

    def test_a_slave_that_was_not_receiving_may_not_but_a_person_may_choose_it(self) -> None:
        lab = settled()
        lab.lose("node1")
        lab.ticks(2)
        lab.kill("node1")
        lab.ticks(2, 0.1)
        assert self.why(lab) == "node2 was not receiving from node1 when the fault began"
        assert self.why(lab, by_person=True) is None

    def test_a_slave_stopped_in_the_fault_may_not(self) -> None:
        lab = settled()
        lab.kill("node1")
        lab.tick(0.1)
        lab.servers["node2"].io, lab.servers["node2"].io_errno = IoState.NO, 0
        lab.tick(0.1)
        assert self.why(lab, by_person=True) == "receiving was stopped on node2"


class TestPermits:
    def test_a_failover_by_hand_needs_a_silent_master(self) -> None:
        lab = settled()
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why_not_failover(*args) == "node1 answers: use a switchover"

    def test_a_failover_by_hand_needs_no_verdict(self) -> None:
        lab = settled()
        lab.freeze("node1")
        lab.tick()
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why_not_failover(*args) is None
        assert why_not_failover(*args, target="node2") is None
        assert why_not_failover(*args, target="node1") == "node1 is the master"
        assert why_not_failover(*args, target="node9") == "there is no node node9"

    def test_nothing_is_changed_in_mode_observe_or_beside_another_operation(self) -> None:
        lab = settled()
        observing = replace(lab.policy, mode=Mode.OBSERVE)
        busy = replace(lab.facts, operation="a switchover to node2.")
        for text, chosen, known in (
            ("the mode is observe: nothing is ever changed", observing, lab.facts),
            ("an operation is running: a switchover to node2", lab.policy, busy),
        ):
            args = (lab.history, lab.diagnosis, chosen, known)
            assert why_not_failover(*args) == text
            assert why_not_switchover("node2", *args) == text
            assert why_not_rejoin("node2", *args) == text
            assert why_not_reopen("node1", lab.history, chosen, known) == text

    def test_manual_mode_lets_a_person_act(self) -> None:
        lab = settled()
        chosen = replace(lab.policy, mode=Mode.MANUAL)
        assert why_not_switchover("node2", lab.history, lab.diagnosis, chosen, lab.facts) is None

    @pytest.mark.parametrize(
        ("fate", "target", "reason"),
        [
            (server("node2"), "node1", "node1 is the master already"),
            (server("node2"), "node9", "there is no node node9"),
            (server("node1", reach=Reach.HUNG), "node2", "node1 does not answer: that is for a failover"),
            (
                server("node1", reach=Reach.IMPAIRED, readable=False),
                "node2",
                "node1 answers, but cannot be read",
            ),
            (server("node1", read_only=True), "node2", "node1 is not writable"),
            (server("node2", lag=31), "node2", "node2 is 31 s behind, more than 30 s"),
            (
                server("node2", follows=None, read_only=False),
                "node2",
                "more than one node is writable: choose the side that stays master first",
            ),
        ],
    )
    def test_a_switchover_that_may_not(self, fate: Change, target: str, reason: str) -> None:
        lab = settled()
        fate(lab)
        lab.tick()
        assert why_not_switchover(target, lab.history, lab.diagnosis, lab.policy, lab.facts) == reason

    def test_a_resync_never_touches_the_master_nor_the_only_good_copy(self) -> None:
        lab = settled()
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why_not_resync("node2", *args) is None
        assert why_not_resync("node1", *args) == "node1 is the master"
        assert why_not_resync("node2", *args, source="node2") == "node2 is the target itself"
        lab.kill("node1")
        lab.ticks(2)
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why_not_resync("node2", *args) == "node1 does not answer or cannot be read"

    def test_a_resync_never_touches_a_node_that_writes(self) -> None:
        lab = settled()
        lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
        lab.tick()
        why = why_not_resync("node2", lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why == "node2 takes writes of its own: lock it first"

    def test_a_resync_needs_ssh_and_is_not_asked_twice(self) -> None:
        lab = settled()
        lab.servers["node2"].ssh = SshState.DOWN
        lab.tick()
        why = why_not_resync("node2", lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why == "there is no SSH to node2's host"
        lab.servers["node2"].sync = Sync(state=SyncState.QUEUED)
        lab.tick()
        why = why_not_resync("node2", lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why == "node2 is being resynced already"

    def test_a_running_operation_does_not_keep_a_resync_from_the_queue(self) -> None:
        lab = settled()
        busy = replace(lab.facts, operation="a resync of node3")
        assert why_not_resync("node2", lab.history, lab.diagnosis, lab.policy, busy) is None

    def test_a_broken_slave_is_no_source(self) -> None:
        lab = settled(3)
        lab.servers["node2"].sql = False
        lab.tick()
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        assert why_not_resync("node3", *args, source="node2") == "node2 does not replicate"
        assert why_not_resync("node3", *args, source="node1") is None

    def test_a_rejoin_needs_a_locked_node_that_follows_nobody(self) -> None:
        lab = settled()
        assert self.rejoin(lab) == "node2 follows a server already"
        lab.servers["node2"].follows = None
        lab.tick()
        assert self.rejoin(lab) is None
        lab.facts = replace(lab.facts, diverged={"node2": "3 rows more."})
        assert self.rejoin(lab) == "node2 has diverged: 3 rows more"

    def rejoin(self, lab: Lab) -> str | None:
        return why_not_rejoin("node2", lab.history, lab.diagnosis, lab.policy, lab.facts)

    def test_reopening_needs_every_other_node_to_answer(self) -> None:
        lab = settled()
        lab.servers["node1"].read_only = True
        lab.tick()
        assert why_not_reopen("node1", lab.history, lab.policy, lab.facts) is None
        lab.servers["node2"].reach = Reach.UNREACHABLE
        lab.tick()
        why = why_not_reopen("node1", lab.history, lab.policy, lab.facts)
        assert why == "whether node2 was promoted meanwhile is not known"

    def test_before_anything_is_seen_nothing_may_be_done(self) -> None:
        lab = Lab()
        args = (list[Snapshot](), lab.diagnosis, lab.policy, lab.facts)
        for why in (
            why_not_failover(*args),
            why_not_switchover("node2", *args),
            why_not_resync("node2", *args),
        ):
            assert why == "no node has been asked yet"

    def test_nothing_may_be_done_that_could_not_be_remembered(self) -> None:
        lab = settled()
        lab.facts = replace(lab.facts, ledger_fault="the ledger cannot be used: the disk is full.")
        args = (lab.history, lab.diagnosis, lab.policy, lab.facts)
        table = refusals(*args)
        for kind in ("switchover", "rejoin", "reopen", "lock", "clone", "failover"):
            assert table[kind]["node2"] == "the ledger cannot be used: the disk is full"
        assert table["merge"][ANYBODY] == table["failover"][ANYBODY] == table["clone"]["node2"]


def test_a_frozen_process_does_not_make_fencing_needless() -> None:
    lab = settled()
    lab.freeze("node1")
    lab.ticks(6)
    assert lab.servers["node1"].process is ProcessState.FROZEN
    assert lab.guard("fencing").reason == "SSH to node1's host works and may stop the database"


def test_a_policy_of_defaults_never_acts() -> None:
    assert Policy().mode is Mode.MANUAL


def test_while_a_failover_runs_nobody_reads_that_there_is_none() -> None:
    lab = settled()
    lab.kill("node1")
    lab.facts = replace(lab.facts, operation="failover from node1 to node2 is running, started by worker")
    lab.ticks(2, 0.1)
    assert lab.readiness.sentence == (
        "Failover from node1 to node2 is running, started by worker; "
        "until it ends, nothing else starts by itself."
    )


UNTOUCHED = Sync(state=SyncState.FAILED, reason="its resync was cancelled", untouched=True)


def dead_with(sync: Sync, *changes: Change) -> Lab:
    lab = settled()
    lab.servers["node2"].sync = sync
    lab.facts = replace(lab.facts, failed_resync=("node2",) if sync.state is SyncState.FAILED else ())
    lab.ticks(2)
    lab.servers["node1"].reach = Reach.REFUSED
    lab.servers["node1"].process = ProcessState.NONE
    lab.ticks(5)
    for change in changes:
        change(lab)
    lab.ticks(2)
    return lab


def refused(lab: Lab, target: str | None) -> str | None:
    return why_not_failover(lab.history, lab.diagnosis, lab.policy, lab.facts, target=target)


def test_a_person_may_name_a_node_whose_resync_left_its_old_data_in_place() -> None:
    lab = dead_with(UNTOUCHED)
    assert refused(lab, "node2") is None
    master = lab.node("node1")
    assert why_not_candidate(lab.history, lab.node("node2"), master, lab.policy, lab.facts, by_person=True)
    assert only_by_name(lab.history, master, lab.policy, lab.facts) == "node2"
    assert refused(lab, None) is None, "it is proposed, and its name has to be typed"
    assert lab.readiness.candidate is None
    assert lab.decision.action is not Action.FAILOVER, "never by itself"
    assert lab.kind() is DiagnosisKind.MASTER_DEAD_NO_CANDIDATE
    hint = "Bring node1 back, or fail over to node2 by name and accept the loss."
    assert lab.diagnosis.hint == hint


def test_a_node_that_needs_no_such_consent_comes_first() -> None:
    lab = Lab(3).settle()
    lab.servers["node2"].sync = UNTOUCHED
    lab.facts = replace(lab.facts, failed_resync=("node2",))
    lab.ticks(2)
    lab.servers["node1"].reach = Reach.REFUSED
    lab.servers["node1"].process = ProcessState.NONE
    lab.ticks(5)
    assert only_by_name(lab.history, lab.node("node1"), lab.policy, lab.facts) is None
    assert lab.readiness.candidate == "node3"
    assert refused(lab, "node2") is None


@pytest.mark.parametrize(
    ("sync", "fate", "why"),
    [
        (replace(UNTOUCHED, untouched=False), server("node2"), "node2 needs a resync"),
        (Sync(state=SyncState.RUNNING), server("node2"), "node2 is being resynced"),
        (replace(UNTOUCHED, state=SyncState.RUNNING), server("node2"), "node2 is being resynced"),
        (UNTOUCHED, facts(diverged={"node2": "3 rows"}), "node2 has diverged and needs a resync"),
        (UNTOUCHED, server("node2", sql=False), "node2 does not apply what it receives"),
        (UNTOUCHED, server("node2", follows=None), "node2 follows nobody"),
        (UNTOUCHED, server("node2", read=None), "how far node2 is cannot be read"),
        (UNTOUCHED, server("node2", read_only=False), None),
        (UNTOUCHED, facts(operation="resync of node2"), "an operation is running: resync of node2"),
    ],
)
def test_nothing_else_is_accepted_by_naming_the_node(sync: Sync, fate: Change, why: str | None) -> None:
    lab = dead_with(sync, fate)
    said = refused(lab, "node2")
    assert said is not None
    assert refused(lab, None) is not None
    assert why is None or said == why
    if lab.diagnosis.kind is DiagnosisKind.MASTER_DEAD_NO_CANDIDATE and lab.facts.operation is None:
        assert lab.diagnosis.hint == "Bring node1 back: nobody else may be promoted, not even by name."

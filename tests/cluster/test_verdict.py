"""The table of verdicts: what makes a master dead, hung or unreachable, and what never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Reach, Says, SshState, Witness
from pfms_ha_tui.cluster.policy import Mode, OnIsolation, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts

AUTOMATIC = Policy(mode=Mode.AUTOMATIC)


def lab(count: int = 2, **policy: object) -> Lab:
    """A settled cluster."""
    made = Lab(count, policy=replace(AUTOMATIC, **policy))  # type: ignore[arg-type]
    return made.settle()


def no_ssh(made: Lab, *labels: str) -> None:
    for label in labels:
        made.servers[label].ssh = SshState.DOWN


class TestGone:
    def test_refused_twice_and_the_slave_lost_it_too(self) -> None:
        made = lab()
        made.kill("node1")
        no_ssh(made, "node1")
        made.ticks(2, 0.1)
        diagnosis = made.diagnosis
        assert diagnosis.kind is DiagnosisKind.MASTER_DEAD
        assert diagnosis.severity is Severity.CRITICAL
        assert diagnosis.master == "node1"
        assert diagnosis.text == (
            "node1 is dead: it refuses connections and node2 lost node1 too (error 2003)."
        )
        assert diagnosis.hint == "node2 can take over."

    def test_refused_twice_and_its_host_runs_no_process(self) -> None:
        made = lab()
        made.kill("node1")
        made.servers["node2"].io, made.servers["node2"].io_errno = IoState.YES, 0
        made.ticks(2, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD
        assert "its host runs no database process" in made.diagnosis.text

    def test_one_refusal_is_a_suspicion_that_says_what_it_waits_for(self) -> None:
        made = lab()
        made.kill("node1")
        made.tick(0.1)
        diagnosis = made.diagnosis
        assert diagnosis.kind is DiagnosisKind.MASTER_SUSPECT
        assert diagnosis.text == (
            "node1 refused 1 of 2 connections; waiting for the next attempt. Nothing is decided yet."
        )
        assert made.action() is Action.NONE

    def test_refusals_closer_than_the_gap_count_once(self) -> None:
        made = lab()
        made.kill("node1")
        made.ticks(2, 0.04)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        made.tick(0.07)
        assert made.kind() is DiagnosisKind.MASTER_DEAD

    def test_more_retries_need_more_refusals(self) -> None:
        made = lab(connect_retries=4)
        made.kill("node1")
        made.ticks(3, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        made.tick(0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD

    def test_refusals_without_a_second_opinion_decide_nothing_however_many(self) -> None:
        made = lab()
        made.servers["node1"].reach = Reach.REFUSED
        no_ssh(made, "node1")
        made.ticks(30)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert "node2 to lose it too" in made.diagnosis.text
        assert made.action() is Action.NONE

    @pytest.mark.parametrize("errno", [2003, 2013, 1159])
    def test_connect_class_errors_testify(self, errno: int) -> None:
        made = lab()
        made.kill("node1")
        made.lose("node1", errno)
        no_ssh(made, "node1")
        made.ticks(2, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD

    @pytest.mark.parametrize("errno", [1236, 1595, 1045, 2005, 0])
    def test_other_errors_do_not(self, errno: int) -> None:
        made = lab()
        made.kill("node1")
        made.lose("node1", errno)
        no_ssh(made, "node1")
        made.ticks(5, 0.1)
        assert made.kind() in (DiagnosisKind.MASTER_SUSPECT, DiagnosisKind.MASTER_UNREACHABLE_BY_SELF)
        assert made.action() is Action.NONE

    def test_every_slave_that_was_receiving_must_have_lost_it(self) -> None:
        made = lab(3)
        made.kill("node1")
        no_ssh(made, "node1")
        made.servers["node3"].io, made.servers["node3"].io_errno = IoState.YES, 0
        made.ticks(3, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert "node3 to lose it too" in made.diagnosis.text

    def test_a_slave_that_was_stopped_before_has_no_voice(self) -> None:
        made = lab(3)
        made.servers["node3"].io = IoState.NO
        made.ticks(2)
        made.kill("node1")
        made.servers["node3"].io, made.servers["node3"].io_errno = IoState.NO, 0
        no_ssh(made, "node1")
        made.ticks(2, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD

    def test_the_word_of_a_slave_from_before_the_fault_does_not_count(self) -> None:
        made = lab()
        made.lose("node1")
        made.tick(0.1)
        made.servers["node2"].probed = False
        made.kill("node1")
        no_ssh(made, "node1")
        made.ticks(3, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_a_slave_whose_receiving_was_stopped_in_the_fault_holds_the_verdict(self) -> None:
        made = lab()
        made.kill("node1")
        no_ssh(made, "node1")
        made.servers["node2"].io, made.servers["node2"].io_errno = IoState.NO, 0
        made.ticks(3, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_a_look_through_ssh_from_before_the_fault_does_not_count(self) -> None:
        made = lab()
        made.servers["node1"].process = ProcessState.NONE
        made.tick()
        before = made.node("node1").shell
        assert before is not None
        made.servers["node1"].reach = Reach.REFUSED
        made.ticks(2, 0.1)
        made.history[-1] = replace(
            made.snapshot,
            nodes=tuple(
                replace(node, shell=before) if node.label == "node1" else node for node in made.snapshot.nodes
            ),
        )
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_a_node_that_still_reaches_it_stands_against_everything(self) -> None:
        made = lab()
        made.kill("node1")
        made.ticks(2, 0.1)
        made.say("node2", "node1", Says.SEES)
        made.tick(0.1)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE_BY_SELF
        assert made.action() is Action.NONE

    def test_a_greeting_seen_before_the_fault_does_not_stand_against_it(self) -> None:
        made = lab()
        made.say("node2", "node1", Says.SEES)
        made.tick(0.3)
        made.kill("node1")
        made.ticks(2, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD

    def test_without_a_candidate_it_says_why_nobody_can_take_over(self) -> None:
        made = lab()
        made.servers["node2"].sql, made.servers["node2"].sql_errno = False, 1062
        made.ticks(2)
        made.kill("node1")
        made.ticks(2, 0.1)
        diagnosis = made.diagnosis
        assert diagnosis.kind is DiagnosisKind.MASTER_DEAD_NO_CANDIDATE
        assert "Nobody can take over: node2 does not apply what it receives (error 1062" in diagnosis.text
        assert made.action() is Action.NONE
        assert made.decision.proposal is Action.FAILOVER

    def test_an_operation_that_stops_the_candidates_threads_does_not_disqualify_it(self) -> None:
        made = lab()
        made.kill("node1")
        made.ticks(2, 0.1)
        made.facts = replace(made.facts, operation="failover from node1 to node2")
        made.servers["node2"].sql = False
        made.tick(0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD
        assert "Nobody can take over" not in made.diagnosis.text
        assert made.action() is Action.NONE

    def test_a_dead_master_of_unknown_roles_is_named_but_not_replaced(self) -> None:
        made = Lab()
        made.facts = JournalFacts(preflight_at=made.mono)
        made.ticks(3)
        made.kill("node1")
        made.ticks(2, 0.1)
        assert made.kind() is DiagnosisKind.MASTER_DEAD
        assert made.action() is Action.NONE
        assert "the roles are not confirmed since the worker started" in made.decision.blocked_by


class TestHung:
    def test_frozen_process_seen_by_its_own_host(self) -> None:
        made = lab()
        made.freeze("node1")
        made.ticks(4)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert "node1 gives no answer: 4 s of 5 s" in made.diagnosis.text
        made.tick()
        assert made.kind() is DiagnosisKind.MASTER_HUNG
        assert "its process is frozen" in made.diagnosis.text
        assert made.action() is Action.FAILOVER
        assert made.decision.target == "node2"

    def test_no_greeting_through_a_slaves_host_either(self) -> None:
        made = lab()
        made.freeze("node1")
        made.servers["node1"].process = ProcessState.RUNNING
        made.ticks(4)
        made.say("node2", "node1", Says.LOST)
        made.ticks(2)
        assert made.kind() is DiagnosisKind.MASTER_HUNG

    @pytest.mark.parametrize("after_the_last_answer", [-0.5, 0.2])
    def test_a_cut_link_that_looks_like_a_hang_is_none_without_ssh_within_the_fault(
        self, after_the_last_answer: float
    ) -> None:
        """Open connections across a cut link just say nothing, and the look through SSH hangs as well."""
        made = lab()
        made.freeze("node1")
        made.servers["node1"].process = ProcessState.RUNNING
        made.servers["node1"].looked_at = made.mono + after_the_last_answer
        made.ticks(4)
        made.say("node2", "node1", Says.LOST)
        made.ticks(10)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert made.action() is Action.NONE

    def test_without_a_second_pair_of_eyes_it_counts_as_unreachable(self) -> None:
        made = lab()
        made.freeze("node1")
        made.servers["node1"].process = ProcessState.RUNNING
        made.ticks(30)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert made.action() is Action.NONE

    @pytest.mark.parametrize("process", [ProcessState.FROZEN, ProcessState.RUNNING])
    @pytest.mark.parametrize("looked", [True, False])
    def test_while_it_may_hang_the_time_is_said_that_decides(
        self, process: ProcessState, looked: bool
    ) -> None:
        made = lab()
        made.freeze("node1")
        made.servers["node1"].process = process
        if not looked:
            made.servers["node1"].looked_at = made.mono - 40
        for step in (0.2, 1.0, 1.0, 1.0, 1.0):
            made.tick(step)
            assert made.kind() is DiagnosisKind.MASTER_SUSPECT
            assert " s of 5 s" in made.diagnosis.text
            assert "60 s" not in made.diagnosis.text
            assert ("a look at its host" in made.diagnosis.text) is not looked

    def test_once_that_time_is_over_both_ways_to_a_verdict_are_said(self) -> None:
        made = lab()
        made.freeze("node1")
        made.servers["node1"].process = ProcessState.RUNNING
        made.ticks(6)
        assert made.diagnosis.text == (
            "node1 has given no answer for 6 s; waiting for another node's host that gets no answer either;"
            " or for 60 s without a sign of life (6 s so far), another node that cannot reach it either"
            " and node2, whose connection to it is still open. Nothing is decided yet."
        )

    def test_without_ssh_to_kill_it_it_counts_as_unreachable(self) -> None:
        made = lab()
        made.freeze("node1")
        no_ssh(made, "node1")
        for _ in range(59):
            made.say("node2", "node1", Says.LOST)
            made.tick()
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert "60 s without a sign of life (59 s so far)" in made.diagnosis.text
        made.tick()
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE

    def test_an_old_look_through_ssh_does_not_prove_that_it_could_be_killed(self) -> None:
        made = lab()
        shell = made.node("node1").shell
        made.ticks(40)
        made.freeze("node1")
        for _ in range(7):
            made.say("node2", "node1", Says.LOST)
            made.tick()
        nodes = tuple(
            replace(node, shell=shell) if node.label == "node1" else node for node in made.snapshot.nodes
        )
        assert made.kind() is DiagnosisKind.MASTER_HUNG
        made.history[-1] = replace(made.snapshot, nodes=nodes)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_a_full_accept_queue_looks_unreachable_but_the_host_knows_better(self) -> None:
        made = lab()
        made.freeze("node1")
        made.servers["node1"].reach = Reach.UNREACHABLE
        made.ticks(6)
        assert made.kind() is DiagnosisKind.MASTER_HUNG

    def test_an_opinion_from_before_the_last_sign_of_life_does_not_count(self) -> None:
        made = lab()
        made.say("node2", "node1", Says.LOST)
        made.tick(0.5)
        made.freeze("node1")
        made.servers["node1"].process = ProcessState.RUNNING
        made.ticks(8)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_a_short_freeze_is_forgotten(self) -> None:
        made = lab()
        made.freeze("node1")
        made.ticks(4)
        made.servers["node1"].reach = Reach.ALIVE
        made.servers["node1"].process = ProcessState.RUNNING
        made.tick()
        assert made.kind() is DiagnosisKind.HEALTHY
        made.freeze("node1")
        made.ticks(4)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_silence_while_this_process_slept_is_its_own(self) -> None:
        made = lab()
        made.freeze("node1")
        made.tick(30.0)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        made.ticks(4)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        made.tick()
        assert made.kind() is DiagnosisKind.MASTER_HUNG


class TestUnreachable:
    def cut(self, made: Lab, seconds: int, *, through: Says = Says.LOST) -> None:
        made.cut("node1")
        for _ in range(seconds):
            made.say("node2", "node1", through)
            made.tick()

    def test_nobody_sees_it_for_the_whole_hold(self) -> None:
        made = lab()
        self.cut(made, 59)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert made.action() is Action.NONE
        self.cut(made, 1)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE
        assert made.diagnosis.text.startswith(
            "node1 is unreachable: no sign of life for more than 60 s and none through node2's host"
        )
        assert made.action() is Action.FAILOVER

    def test_a_slaves_own_loss_is_enough_without_its_host(self) -> None:
        made = lab()
        made.cut("node1")
        made.lose("node1")
        no_ssh(made, "node2")
        made.ticks(60)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE

    def test_an_open_connection_of_a_slave_holds_it(self) -> None:
        made = lab()
        made.cut("node1")
        no_ssh(made, "node2")
        made.ticks(120)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert "node2, whose connection to it is still open" in made.diagnosis.text

    def test_a_sign_of_life_for_somebody_else_starts_the_hold_anew(self) -> None:
        made = lab()
        self.cut(made, 50)
        self.cut(made, 1, through=Says.SEES)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE_BY_SELF
        self.cut(made, 58)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        self.cut(made, 2)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE

    def test_a_slave_that_still_receives_shows_the_fault_is_ours(self) -> None:
        made = lab()
        made.cut("node1")
        for _ in range(70):
            made.servers["node1"].pos += 100
            made.servers["node2"].read = made.servers["node1"].pos
            made.tick()
        diagnosis = made.diagnosis
        assert diagnosis.kind is DiagnosisKind.MASTER_UNREACHABLE_BY_SELF
        assert diagnosis.severity is Severity.WARNING
        assert "node2 still receives from node1" in diagnosis.text
        assert made.action() is Action.NONE

    def test_a_sign_of_life_counts_for_a_while_after_its_witness_fell_silent(self) -> None:
        made = lab()
        self.cut(made, 20)
        made.say("node2", "node1", Says.SEES)
        made.tick()
        made.say("node2", "node1", Says.SILENT)
        made.ticks(5)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE_BY_SELF
        assert "showed a sign of life just now" in made.diagnosis.text
        made.ticks(6)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_the_policy_hold_names_it_and_does_nothing(self) -> None:
        made = lab(on_isolation=OnIsolation.HOLD)
        self.cut(made, 70)
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE
        assert made.action() is Action.NONE
        assert "node1 is unreachable, and the policy then is to hold" in made.decision.blocked_by

    @pytest.mark.parametrize("witness", [None, Says.LOST, Says.SILENT])
    def test_a_configured_witness_must_answer(self, witness: Says | None) -> None:
        made = lab(witnesses=1)
        made.cut("node1")
        for _ in range(70):
            made.say("node2", "node1", Says.LOST)
            if witness is not None:
                made.say("gateway", "", witness, Witness.WITNESS)
            made.tick()
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT
        assert made.action() is Action.NONE
        made.say("gateway", "", Says.SEES, Witness.WITNESS)
        made.tick()
        assert made.kind() is DiagnosisKind.MASTER_UNREACHABLE

    def test_an_old_word_of_a_witness_does_not_count(self) -> None:
        made = lab(witnesses=1)
        made.say("gateway", "", Says.SEES, Witness.WITNESS)
        self.cut(made, 70)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT

    def test_an_old_opinion_does_not_count(self) -> None:
        made = lab()
        self.cut(made, 2)
        made.ticks(70)
        assert made.kind() is DiagnosisKind.MASTER_SUSPECT


class TestOursOrAlive:
    @pytest.mark.parametrize(
        "code", ["too_many_connections", "access_denied", "host_blocked", "sql_error", "write_probe"]
    )
    @pytest.mark.parametrize("readable", [True, False])
    def test_an_sql_error_is_an_answer(self, code: str, readable: bool) -> None:
        made = lab()
        server = made.servers["node1"]
        server.reach, server.code, server.readable = Reach.IMPAIRED, code, readable
        made.ticks(120)
        assert made.kind() is DiagnosisKind.MASTER_IMPAIRED
        assert made.diagnosis.master == "node1"
        assert made.diagnosis.hint is not None
        assert made.action() is Action.NONE

    def test_writes_that_fail_propose_a_switchover_to_the_node_that_could_take_over(self) -> None:
        made = lab()
        made.servers["node1"].reach, made.servers["node1"].code = Reach.IMPAIRED, "write_probe"
        made.tick()
        assert made.diagnosis.hint == (
            "It may be a full disk or stalled storage: make room there, or switch over to node2."
        )

    def test_an_sql_error_and_slaves_that_lost_it_is_still_an_answer(self) -> None:
        made = lab()
        server = made.servers["node1"]
        server.reach, server.readable = Reach.IMPAIRED, False
        made.lose("node1")
        made.servers["node1"].process = ProcessState.NONE
        made.ticks(120)
        assert made.kind() is DiagnosisKind.MASTER_IMPAIRED
        assert made.action() is Action.NONE

    @pytest.mark.parametrize("code", ["name_not_resolved", "tls", "config", "protocol"])
    def test_a_fault_of_ours_is_never_a_reason(self, code: str) -> None:
        made = lab()
        server = made.servers["node1"]
        server.reach, server.code = Reach.FAULT, code
        made.lose("node1")
        server.process = ProcessState.NONE
        for _ in range(120):
            made.say("node2", "node1", Says.LOST)
            made.tick()
        assert made.kind() is DiagnosisKind.UNKNOWN
        assert made.diagnosis.text.startswith("node1 cannot be asked")
        assert made.action() is Action.NONE

    def test_a_stuck_prober_makes_nothing_known(self) -> None:
        made = lab()
        made.kill("node1")
        made.ticks(2, 0.1)
        assert made.action() is Action.FAILOVER
        made.servers["node1"].probed = False
        made.ticks(6)
        assert made.kind() is DiagnosisKind.UNKNOWN
        assert made.diagnosis.text.startswith("There is no news of node1")
        assert made.action() is Action.NONE


class TestIsolation:
    @pytest.mark.parametrize("reach", [Reach.UNREACHABLE, Reach.FAULT, Reach.HUNG])
    def test_all_nodes_gone_at_once_means_we_are_cut_off(self, reach: Reach) -> None:
        made = lab()
        for server in made.servers.values():
            server.reach, server.ssh = reach, SshState.DOWN
        made.ticks(120)
        assert made.kind() is DiagnosisKind.NO_CONNECTION
        assert made.diagnosis.text.startswith("No node answers: node1")
        assert made.diagnosis.hint == "This host may be cut off: check its network first."
        assert made.action() is Action.NONE

    def test_all_ports_refused_means_the_databases_are_down(self) -> None:
        made = lab()
        for server in made.servers.values():
            server.reach = Reach.REFUSED
        made.ticks(5)
        assert made.kind() is DiagnosisKind.NO_CONNECTION
        assert made.diagnosis.hint == "Their hosts answer: start the databases."

    def test_servers_that_offer_no_tls_are_no_cut_network(self) -> None:
        made = lab()
        for server in made.servers.values():
            server.reach, server.code = Reach.FAULT, "tls"
        made.ticks(5)
        assert made.kind() is DiagnosisKind.NO_CONNECTION
        assert made.diagnosis.hint == "The settings on this side are at fault, as each node's line says."

    def test_servers_that_refuse_the_account_are_not_said_to_be_silent(self) -> None:
        made = Lab()
        for server in made.servers.values():
            server.reach, server.readable = Reach.IMPAIRED, False
        made.ticks(3)
        assert made.kind() is DiagnosisKind.UNKNOWN
        assert made.diagnosis.text == (
            "It is not known which node is the master: node1 answers but cannot be read "
            "and node2 answers but cannot be read."
        )

    def test_both_dead_for_certain_says_nobody_can_take_over(self) -> None:
        made = lab()
        made.kill("node1")
        made.kill("node2")
        made.ticks(3)
        assert made.kind() is DiagnosisKind.MASTER_DEAD_NO_CANDIDATE
        assert "node2 does not answer" in made.diagnosis.text

    def test_a_witness_that_answers_changes_the_advice(self) -> None:
        made = lab(witnesses=1)
        for server in made.servers.values():
            server.reach = Reach.UNREACHABLE
        made.say("gateway", "", Says.SEES, Witness.WITNESS)
        made.tick()
        assert made.diagnosis.hint == "A witness answers us: look at the nodes' own network."


CUTS: list[Callable[[Lab], None]] = [
    lambda made: made.kill("node1"),
    lambda made: made.freeze("node1"),
    lambda made: made.cut("node1"),
]


@pytest.mark.parametrize("fate", CUTS)
def test_the_evidence_names_every_voice(fate: Callable[[Lab], None]) -> None:
    made = lab(3)
    fate(made)
    made.ticks(6)
    text = " ".join(made.diagnosis.evidence)
    assert "From here:" in text
    assert "node2" in text
    assert "node3" in text
    assert "node1's host" in text

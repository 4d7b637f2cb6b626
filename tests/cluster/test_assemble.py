"""What a snapshot remembers of the ones before it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.assemble import NodeSpec, assemble
from pfms_ha_tui.cluster.observation import IoState, Reach, Says, SshState
from pfms_ha_tui.cluster.snapshot import Role, Snapshot


def test_roles_follow_what_the_nodes_do() -> None:
    lab = Lab(4)
    lab.servers["node3"].follows = None
    lab.servers["node4"].follows = None
    lab.servers["node4"].read_only = None
    lab.tick()
    assert [node.role for node in lab.snapshot.nodes] == [Role.MASTER, Role.SLAVE, Role.NONE, Role.UNKNOWN]


def test_a_slave_whose_replication_may_not_be_read_has_no_known_role() -> None:
    lab = Lab()
    lab.servers["node2"].replication_readable = False
    lab.tick()
    assert lab.node("node2").role is Role.UNKNOWN


def test_a_silent_node_keeps_its_role_but_no_figure_that_would_look_fresh() -> None:
    lab = Lab()
    lab.ticks(2)
    assert lab.node("node1").write_rate == pytest.approx(10)
    assert lab.node("node2").bytes_behind == 0
    lab.freeze("node1")
    lab.tick()
    master = lab.node("node1")
    assert master.role is Role.MASTER
    assert master.last_good is not None
    assert master.last_good.mono == lab.mono - 1
    assert not master.answers
    assert master.age(lab.mono) == pytest.approx(1)
    assert master.write_rate is None
    assert lab.node("node2").bytes_behind is None


def test_bytes_behind_counts_what_is_not_applied() -> None:
    lab = Lab()
    lab.tick()
    slave = lab.servers["node2"]
    slave.sql = False
    lab.ticks(3)
    assert lab.node("node2").bytes_behind == 300


def test_a_slave_probed_after_its_master_is_not_behind_for_having_more() -> None:
    lab = Lab()
    lab.tick()
    lab.servers["node1"].probed = False
    lab.tick()
    assert lab.node("node2").bytes_behind == 0


def test_a_slave_ahead_of_a_master_probed_later_is_not_computable() -> None:
    lab = Lab()
    lab.tick()
    lab.servers["node1"].pos -= 500
    lab.servers["node2"].flows = False
    lab.tick()
    assert lab.node("node2").bytes_behind is None


def test_the_reach_has_one_beginning_however_often_it_is_seen() -> None:
    lab = Lab()
    lab.tick()
    began = lab.mono
    lab.tick()
    assert lab.node("node1").reach_since == began
    lab.freeze("node1")
    lab.tick()
    frozen = lab.mono
    lab.tick()
    lab.servers["node1"].reach = Reach.UNREACHABLE
    lab.tick()
    node = lab.node("node1")
    assert node.reach_since == lab.mono
    assert node.fault_since == frozen
    assert node.answered_at == frozen - 1
    lab.servers["node1"].reach = Reach.IMPAIRED
    lab.servers["node1"].readable = False
    lab.tick()
    node = lab.node("node1")
    assert node.fault_since is None
    assert node.answered_at == lab.mono


def test_an_older_observation_never_replaces_a_newer_one() -> None:
    lab = Lab()
    lab.ticks(2)
    newest = lab.servers["node1"].last
    first = lab.history[0].node("node1")
    assert newest is not None
    assert first is not None
    lab.servers["node1"].last = first.observation
    lab.servers["node1"].probed = False
    lab.tick()
    assert lab.node("node1").observation == newest


def test_a_node_with_another_address_starts_from_nothing() -> None:
    lab = Lab()
    lab.ticks(2)
    snapshot = assemble(
        lab.snapshot,
        cluster="pandora",
        at=lab.at,
        mono=lab.mono,
        nodes=[NodeSpec(label="node1", host="10.9.9.9")],
        observations={},
        shells={},
        opinions=(),
        syncs={},
    )
    assert snapshot.nodes[0].role is Role.UNKNOWN
    assert snapshot.nodes[0].last_good is None


class TestStreamingAtFault:
    """Whether a slave was receiving when the master's fault began: judged once, then kept."""

    def test_a_slave_that_lost_it_in_the_fault_was_streaming(self) -> None:
        lab = Lab()
        lab.ticks(3)
        lab.kill("node1")
        lab.tick()
        assert lab.node("node2").streaming_at_fault is True

    def test_it_is_so_also_when_the_slave_is_probed_just_before_the_fault_is_seen(self) -> None:
        lab = Lab()
        lab.ticks(3)
        lab.lose("node1")
        lab.mono += 0.005
        lab.probe(lab.servers["node2"])
        lab.snap()
        lab.mono += 0.005
        lab.kill("node1")
        lab.probe(lab.servers["node1"])
        lab.snap()
        assert lab.node("node2").streaming_at_fault is True

    def test_a_slave_that_had_lost_it_while_the_master_still_answered_was_not(self) -> None:
        lab = Lab()
        lab.ticks(3)
        lab.lose("node1")
        lab.ticks(2)
        lab.kill("node1")
        lab.tick()
        assert lab.node("node2").streaming_at_fault is False

    def test_a_stopped_slave_was_not(self) -> None:
        lab = Lab()
        lab.servers["node2"].io = IoState.NO
        lab.ticks(3)
        lab.kill("node1")
        lab.tick()
        assert lab.node("node2").streaming_at_fault is False

    def test_nobody_knows_of_a_slave_that_was_not_seen_for_long(self) -> None:
        lab = Lab()
        lab.ticks(3)
        lab.cut("node2")
        lab.ticks(20)
        lab.kill("node1")
        lab.tick()
        assert lab.node("node2").streaming_at_fault is None

    def test_nobody_knows_after_a_start_with_a_dead_master(self) -> None:
        lab = Lab()
        lab.kill("node1")
        lab.ticks(2)
        assert lab.node("node2").streaming_at_fault is None

    def test_it_is_latched_for_the_fault_and_reset_by_an_answer(self) -> None:
        lab = Lab()
        lab.ticks(3)
        lab.freeze("node1")
        lab.tick()
        slave = lab.servers["node2"]
        slave.io = IoState.NO
        lab.ticks(3)
        assert lab.node("node2").streaming_at_fault is True
        lab.come_back("node1", read_only=False)
        lab.tick()
        assert lab.node("node2").streaming_at_fault is None

    def test_a_slave_that_starts_receiving_within_the_fault_is_not_upgraded(self) -> None:
        lab = Lab()
        lab.servers["node2"].io = IoState.NO
        lab.ticks(3)
        lab.freeze("node1")
        lab.tick()
        lab.servers["node2"].io = IoState.YES
        lab.ticks(2)
        assert lab.node("node2").streaming_at_fault is False


def test_the_lag_told_while_receiving_is_kept_when_the_server_says_null() -> None:
    lab = Lab()
    lab.servers["node2"].lag = 4
    lab.ticks(3)
    lab.kill("node1")
    lab.tick()
    slave = lab.node("node2")
    assert slave.replication is not None
    assert slave.replication.seconds_behind is None
    assert slave.streamed_lag == 4


def test_a_slave_repointed_forgets_what_it_received_from_another() -> None:
    lab = Lab(3)
    lab.ticks(2)
    lab.servers["node3"].follows = "10.0.0.2"
    lab.servers["node3"].io = IoState.CONNECTING
    lab.tick()
    assert lab.node("node3").streamed_at is None


def test_signs_of_life_come_from_slaves_and_opinions_too() -> None:
    lab = Lab()
    lab.ticks(3)
    lab.cut("node1")
    lab.servers["node1"].pos += 500
    lab.tick()
    cut_at = lab.mono
    lab.servers["node2"].read = lab.servers["node1"].pos + 100
    lab.tick()
    assert lab.node("node1").seen_at == lab.mono
    lab.ticks(2)
    assert lab.node("node1").seen_at == cut_at + 1
    lab.mono += 0.5
    lab.say("node2", "node1", Says.SEES)
    lab.snap()
    assert lab.node("node1").seen_at == lab.mono
    lab.tick()
    lab.say("node2", "node1", Says.LOST)
    lab.tick()
    assert lab.node("node1").seen_at == lab.mono - 1.5 - 0.5


def test_a_restart_that_comes_back_read_only_is_told_from_a_person_who_locks() -> None:
    locked, restarted = Lab(), Lab()
    for lab in (locked, restarted):
        lab.ticks(3)
    locked.servers["node1"].read_only = True
    locked.ticks(2)
    assert not locked.node("node1").restarted_readonly
    restarted.kill("node1")
    restarted.tick(0.3)
    restarted.come_back("node1", read_only=True)
    restarted.ticks(2)
    assert restarted.node("node1").restarted_readonly
    restarted.servers["node1"].read_only = False
    restarted.tick()
    assert not restarted.node("node1").restarted_readonly


def test_write_rate_is_unknown_over_a_restart() -> None:
    lab = Lab()
    lab.ticks(3)
    lab.come_back("node1", read_only=False)
    lab.tick()
    assert lab.node("node1").write_rate is None


def test_pandoras_facts_outlive_the_probe_that_brought_them() -> None:
    lab = Lab()
    lab.tick()
    told = lab.mono
    lab.servers["node1"].pandora = False
    lab.tick()
    seen = lab.node("node1").pandora_seen
    assert seen is not None
    assert seen.mono == told


def test_tdatabase_disables_by_the_masters_copy_only() -> None:
    lab = Lab(3)
    lab.servers["node1"].disabled_hosts = ("10.0.0.3",)
    lab.servers["node2"].disabled_hosts = ("10.0.0.1",)
    lab.tick()
    assert [node.disabled for node in lab.snapshot.nodes] == [False, False, True]
    lab.servers["node1"].disabled_hosts = ()
    lab.tick()
    assert not any(node.disabled for node in lab.snapshot.nodes)


def test_the_configuration_disables_too() -> None:
    lab = Lab()
    lab.servers["node2"].disabled = True
    lab.tick()
    assert lab.node("node2").disabled
    lab.servers["node2"].disabled = False
    lab.tick()
    assert not lab.node("node2").disabled


def test_only_the_newest_opinion_of_each_kind_is_kept() -> None:
    lab = Lab()
    lab.say("node2", "node1", Says.SEES)
    old = next(iter(lab.opinions.values()))
    new = replace(old, says=Says.LOST, mono=old.mono + 1)
    lab.tick()
    snapshot = assemble(
        lab.snapshot,
        cluster="pandora",
        at=lab.at,
        mono=lab.mono,
        nodes=[NodeSpec(label="node1", host="10.0.0.1")],
        observations={},
        shells={},
        opinions=(new, old),
        syncs={},
    )
    assert snapshot.opinions == (new,)


def test_the_right_to_fence_is_remembered_while_ssh_works() -> None:
    lab = Lab()
    lab.tick()
    lab.servers["node1"].can_fence = None
    lab.tick()
    assert can_fence(lab.snapshot) is True
    lab.servers["node1"].ssh = SshState.DOWN
    lab.tick()
    assert can_fence(lab.snapshot) is None
    lab.servers["node1"].ssh = SshState.UP
    lab.tick()
    assert can_fence(lab.snapshot) is None


def can_fence(snapshot: Snapshot) -> bool | None:
    node = snapshot.node("node1")
    assert node is not None
    assert node.shell is not None
    return node.shell.can_fence


def test_a_slave_that_becomes_writable_stands_differently_since_then() -> None:
    """Its copy of the promotion record must be read anew before it proves anything."""
    lab = Lab()
    lab.ticks(3)
    lab.servers["node2"].read_only = False
    lab.tick()
    assert lab.node("node2").role is Role.SLAVE
    assert lab.node("node2").standing_since == lab.mono
    assert lab.node("node1").standing_since == lab.mono - 3

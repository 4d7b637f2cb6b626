"""One watched cluster, with senses a test moves: when it judges, whom it asks, what it tells, how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_senses import DEADLINE, Watched, settings

from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    IoState,
    ProcessState,
    Reach,
    Says,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot
from pfms_ha_tui.config.settings import (
    PandoraSettings,
    WitnessSettings,
)
from pfms_ha_tui.errors import NodeError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker import second_opinions
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.judging import Judgement, judge
from pfms_ha_tui.worker.protocol import LagQuery


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def watched(journal: Journal) -> AsyncIterator[Watched]:
    one = Watched(settings(), journal)
    yield one
    await one.monitor.stop(1.0)


async def test_observations_from_threads_become_a_healthy_state_and_known_roles(watched: Watched) -> None:
    state = await watched.healthy()
    assert state.diagnosis.master == "node1"
    assert [node.label for node in state.snapshot.nodes] == ["node1", "node2"]
    assert state.policy is not None
    assert state.mode is Mode.AUTOMATIC
    assert (await watched.kinds())[0] == "Healthy"


async def test_a_refusal_is_judged_at_once_and_not_at_the_next_tick(journal: Journal) -> None:
    watched = Watched(settings(interval=300.0), journal)
    await watched.healthy()
    watched.tell(watched.down())
    await watched.until(lambda state: state.diagnosis.kind is not DiagnosisKind.HEALTHY)
    assert watched.monitor.ticks <= 1
    await watched.monitor.stop(1.0)


async def test_a_dead_master_is_told_by_everybody_asked_and_decided_on(watched: Watched) -> None:
    await watched.healthy()
    for _ in range(2):
        await watched.monitor._preflight.round(watched.monitor.history)
    watched.senses.shells["node1"].process = ProcessState.NONE
    watched.senses.shells["node2"].sees = (Says.LOST, "refused")
    watched.tell(watched.down(attempts=1))
    await watched.until(lambda state: state.diagnosis.kind is DiagnosisKind.MASTER_SUSPECT)
    watched.tell(watched.down(attempts=2), watched.slave(io=IoState.CONNECTING, errno=2003))
    state = await watched.until(lambda state: state.diagnosis.kind is DiagnosisKind.MASTER_DEAD)
    assert state.readiness.ready, state.readiness
    assert watched.decisions[-1].action is Action.FAILOVER
    assert watched.decisions[-1].target == "node2"
    assert "10.0.0.1" in watched.senses.shells["node2"].probed
    assert watched.senses.probers["node2"].kicks > 0
    kinds = await watched.kinds()
    for kind in ("node_refused", "MasterSuspect", "replication_stopped", "MasterDead"):
        assert kinds.count(kind) == 1, kinds


async def test_second_opinions_are_asked_on_suspicion_only_and_end_with_it(watched: Watched) -> None:
    await watched.healthy()
    assert watched.senses.shells["node2"].probed == []
    watched.tell(watched.down(reach=Reach.HUNG))
    await watched.until(lambda state: any(one.kind is Witness.VIA_SSH for one in state.snapshot.opinions))
    watched.tell(watched.master())
    await watched.until(lambda state: state.diagnosis.kind is DiagnosisKind.HEALTHY)
    assert watched.monitor._pursuit is None


async def test_a_fault_of_our_own_is_no_suspicion(watched: Watched) -> None:
    await watched.healthy()
    watched.tell(watched.down(reach=Reach.FAULT))
    await watched.until(lambda state: state.diagnosis.kind is not DiagnosisKind.HEALTHY)
    assert watched.senses.shells["node2"].probed == []


async def test_a_witness_that_hangs_holds_up_no_other_and_is_not_asked_twice(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_opinions, "AGAIN_AFTER", 0.02)
    watched = Watched(settings(nodes=3), journal)
    watched.senses.shells["node3"].hang = True
    watched.monitor.start()
    watched.tell(watched.master(), watched.slave(), watched.slave("node3"))
    await watched.until(lambda state: state.roles_known)
    watched.tell(watched.down(reach=Reach.HUNG))
    state = await watched.until(
        lambda state: any(one.by == "node2" and one.about == "node1" for one in state.snapshot.opinions)
    )
    assert state.snapshot.opinions
    async with asyncio.timeout(DEADLINE):
        while len(watched.senses.shells["node2"].probed) < 3:  # noqa: ASYNC110 - asked by a task
            await asyncio.sleep(0.01)
    assert len(watched.senses.shells["node3"].probed) == 1
    await watched.monitor.stop(1.0)


async def test_a_host_that_hangs_leaves_the_beat_of_the_others_alone(journal: Journal) -> None:
    watched = Watched(settings(), journal)
    watched.senses.shells["node1"].hang = True
    await watched.healthy()
    state = await watched.until(lambda state: state.snapshot.nodes[1].shell is not None)
    assert state.snapshot.nodes[0].shell is None
    await watched.monitor.stop(0.5)


async def test_configured_witnesses_are_asked_in_good_times_too(journal: Journal) -> None:
    watched = Watched(settings(witnesses=(WitnessSettings(host="10.9.9.9", port=53),)), journal)
    watched.senses.witness_says = (Says.LOST, "no route")
    await watched.healthy()
    state = await watched.until(lambda state: bool(state.snapshot.opinions))
    (opinion,) = state.snapshot.opinions
    assert (opinion.kind, opinion.by, opinion.says) == (Witness.WITNESS, "10.9.9.9:53", Says.LOST)
    assert state.policy is not None
    assert state.policy.witnesses == 1
    await watched.monitor.stop(0.5)


async def test_configured_witnesses_are_asked_again_on_suspicion(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_opinions, "AGAIN_AFTER", 0.02)
    watched = Watched(settings(witnesses=(WitnessSettings(host="10.9.9.9", port=53),)), journal)
    await watched.healthy()
    assert watched.senses.witness_asked == 1
    watched.tell(watched.down(reach=Reach.UNREACHABLE))
    async with asyncio.timeout(DEADLINE):
        while watched.senses.witness_asked < 4:  # noqa: ASYNC110 - asked by a task
            await asyncio.sleep(0.01)
    await watched.monitor.stop(0.5)


async def test_an_ssh_witness_tells_of_the_master_and_of_us(journal: Journal) -> None:
    watched = Watched(settings(witnesses=(WitnessSettings(host="10.9.9.9", port=22, ssh=True),)), journal)
    await watched.healthy()
    watched.tell(watched.down(reach=Reach.UNREACHABLE))
    state = await watched.until(lambda state: len(state.snapshot.opinions) == 3)
    told = {(one.kind, one.by, one.about): one.says for one in state.snapshot.opinions}
    assert told[(Witness.VIA_SSH, "10.9.9.9:22", "node1")] is Says.SEES
    assert told[(Witness.WITNESS, "10.9.9.9:22", "")] is Says.SEES
    await watched.monitor.stop(0.5)


async def test_ticks_bring_no_events_and_lag_is_written_once_per_observation(watched: Watched) -> None:
    await watched.healthy()
    events = await watched.kinds()
    ticks = watched.monitor.ticks
    async with asyncio.timeout(DEADLINE):
        while watched.monitor.ticks < ticks + 5:  # noqa: ASYNC110 - ticks have no event
            await asyncio.sleep(0.01)
    assert await watched.kinds() == events
    samples = await watched.memory.journal.lag(LagQuery(cluster="pandora", node="node2", since=0))
    assert [(sample.seconds, sample.bytes) for sample in samples] == [(0, 0)]
    master = await watched.memory.journal.lag(LagQuery(cluster="pandora", node="node1", since=0))
    assert master == []


async def test_the_lag_of_a_slave_that_is_down_is_unknown_not_zero(watched: Watched) -> None:
    await watched.healthy()
    watched.tell(watched.down("node2"))
    await watched.until(lambda state: state.diagnosis.kind is DiagnosisKind.SLAVE_DOWN)
    async with asyncio.timeout(DEADLINE):
        while True:
            samples = await watched.memory.journal.lag(LagQuery(cluster="pandora", node="node2", since=0))
            if samples and samples[-1].seconds is None:
                break
            await asyncio.sleep(0.01)
    assert samples[-1].bytes is None


async def test_only_the_known_master_is_asked_to_write_and_never_in_observe_mode(watched: Watched) -> None:
    await watched.healthy()
    await watched.until(lambda state: watched.senses.probers["node1"].write_probe)
    assert not watched.senses.probers["node2"].write_probe
    watched.memory.set_mode(Mode.OBSERVE, "carol")
    await watched.until(lambda state: state.mode is Mode.OBSERVE)
    assert not watched.senses.probers["node1"].write_probe


async def test_a_fault_in_judging_is_told_once_decides_nothing_and_heals(journal: Journal) -> None:
    broken = False

    def faulty(history: Sequence[Snapshot], policy: Policy, facts: JournalFacts) -> Judgement:
        if broken:
            raise ZeroDivisionError("a fault of ours")
        return judge(history, policy, facts)

    watched = Watched(settings(), journal, judge=faulty)
    await watched.healthy()
    broken = True
    await asyncio.sleep(0.1)
    decisions, states = len(watched.decisions), len(watched.states)
    await asyncio.sleep(0.3)
    assert (len(watched.decisions), len(watched.states)) == (decisions, states)
    broken = False
    async with asyncio.timeout(DEADLINE):
        while len(watched.states) == states:  # noqa: ASYNC110 - states come by callback
            await asyncio.sleep(0.01)
    assert (await watched.kinds()).count("judging_failed") == 1
    await watched.monitor.stop(0.5)


async def test_a_promotion_by_another_worker_is_remembered(watched: Watched) -> None:
    await watched.healthy()
    seen = watched.master()
    assert seen.pandora is not None
    record = EpochRecord(epoch=7, master="node1", worker="other", at=time.time())
    watched.tell(replace(seen, mono=time.monotonic(), pandora=replace(seen.pandora, epoch=record)))
    await watched.until(lambda state: state.epoch == 7)
    async with asyncio.timeout(DEADLINE):
        while not watched.memory.journal.epochs("pandora"):  # noqa: ASYNC110 - written in the background
            await asyncio.sleep(0.01)
    assert watched.memory.journal.epochs("pandora")[-1].master == "node1"


async def test_roles_count_as_moved_until_every_node_was_asked_after_it(watched: Watched) -> None:
    await watched.healthy()
    assert watched.monitor.facts.roles_moved_at is None
    view = OperationView(
        id=1,
        kind="failover",
        title="failover to node2",
        state=OperationState.RUNNING,
        actor="worker",
        dry_run=False,
        steps=(),
    )
    watched.memory.operation = view
    began = time.monotonic()
    await watched.until(lambda _: (watched.monitor.facts.roles_moved_at or 0.0) > began)
    watched.memory.operation = replace(view, kind="clone")
    watched.tell(watched.master())
    watched.tell(watched.slave())
    await watched.until(lambda _: watched.monitor.facts.roles_moved_at is None)
    await watched.monitor.stop(0.5)


async def test_stopping_does_not_wait_for_what_hangs(journal: Journal) -> None:
    watched = Watched(settings(), journal)
    watched.senses.shells["node1"].hang = True
    await watched.healthy()
    release = threading.Event()
    watched.senses.probers["node1"].hang = release
    begun = time.monotonic()
    await watched.monitor.stop(0.3)
    assert time.monotonic() - begun < DEADLINE / 2
    assert watched.senses.probers["node2"].stopped
    release.set()
    watched.tell(watched.down("node2"))
    states = len(watched.states)
    await asyncio.sleep(0.05)
    assert len(watched.states) == states


async def test_the_preflight_names_every_complaint_and_turns_green(journal: Journal, tmp_path: Path) -> None:
    hosts = tmp_path / "missing" / "pandora_ha_hosts.conf"
    watched = Watched(settings(pandora=PandoraSettings(hosts_file=hosts)), journal)
    watched.senses.grants["node2"] = ("the account root on node2 lacks SUPER",)
    watched.senses.shells["node1"].state = SshState.DOWN
    await watched.healthy()
    await watched.until(lambda state: state.snapshot.nodes[0].shell is not None)
    await watched.monitor._preflight.round(watched.monitor.history)
    complaints = watched.memory.preflight.complaints
    assert complaints[0] == "SSH to node1 does not work"
    assert complaints[1] == "the account root on node2 lacks SUPER"
    assert "does not exist" in complaints[2]
    watched.senses.grants.clear()
    hosts.parent.mkdir()
    watched.senses.shells["node1"].state = SshState.UP
    await watched.monitor.hosts.look_at("node1")
    await watched.until(
        lambda state: (shell := state.snapshot.nodes[0].shell) is not None and shell.state is SshState.UP
    )
    await watched.monitor._preflight.round(watched.monitor.history)
    assert watched.memory.preflight.complaints == ()
    await watched.monitor.stop(0.5)


async def test_a_dead_node_keeps_its_last_preflight(watched: Watched) -> None:
    await watched.healthy()
    await watched.monitor._preflight.round(watched.monitor.history)
    assert watched.memory.preflight.complaints == ()
    watched.senses.grants["node1"] = NodeError("connection refused")
    watched.tell(watched.down())
    await watched.until(lambda state: not state.snapshot.nodes[0].answers)
    await watched.monitor._preflight.round(watched.monitor.history)
    assert watched.memory.preflight.complaints == ()


async def test_a_clock_that_differs_is_a_complaint(watched: Watched) -> None:
    await watched.healthy()
    for _ in range(2):
        watched.tell(replace(watched.slave(), at=time.time() - 30.0, mono=time.monotonic()))
        await asyncio.sleep(0.1)
    await watched.until(
        lambda state: any(finding.kind is DiagnosisKind.CLOCK_SKEW for finding in state.diagnosis.findings)
    )
    await watched.monitor._preflight.round(watched.monitor.history)
    (complaint,) = watched.memory.preflight.complaints
    assert "the clock of node2 is 30" in complaint


async def test_a_promotion_record_is_not_hidden_by_the_next_probe_that_comes_before_it_is_judged(
    watched: Watched,
) -> None:
    """Only some probes bring Pandora's facts; under load two probes arrive between two judgements."""
    await watched.healthy()
    seen = watched.master()
    assert seen.pandora is not None
    record = EpochRecord(epoch=7, master="node1", worker="other", at=time.time())
    for pandora in (replace(seen.pandora, epoch=record), None):
        watched.tell(replace(seen, mono=time.monotonic(), pandora=pandora))
    await watched.until(lambda state: state.epoch == 7)

"""One watched cluster, with senses a test moves: when it judges, whom it asks, what it tells, how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    Failure,
    Flavor,
    IoState,
    NodeObservation,
    PandoraFacts,
    ProcessState,
    Reach,
    Replication,
    Says,
    ServerFacts,
    ShellObservation,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot
from pfms_ha_tui.config.settings import (
    Account,
    ClusterSettings,
    NodeSettings,
    PandoraSettings,
    SshSettings,
    Timeouts,
    WitnessSettings,
)
from pfms_ha_tui.errors import NodeError
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.judging import Judgement, judge
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.protocol import ClusterState, EventsQuery, LagQuery, NodeDetails

DEADLINE = 20.0


def settings(*, interval: float = 0.05, nodes: int = 2, ssh: bool = True, **more: object) -> ClusterSettings:
    made = tuple(
        NodeSettings(
            label=f"node{number}",
            host=f"10.0.0.{number}",
            order=number,
            ssh=SshSettings(host=f"10.0.0.{number}", enabled=ssh),
        )
        for number in range(1, nodes + 1)
    )
    cluster = ClusterSettings(
        name="pandora",
        nodes=made,
        admin=Account(user="root", password=Secret("")),
        replication=Account(user="slaveuser", password=Secret("")),
        policy=Policy(mode=Mode.AUTOMATIC, interval=interval, retry_gap=0.0),
        timeouts=Timeouts(connect=1.0),
    )
    return replace(cluster, **more)  # type: ignore[arg-type]


@dataclass
class FakeProber:
    node: NodeSettings
    tell: Callable[[NodeObservation], None]
    write_probe: bool = False
    started: bool = False
    kicks: int = 0
    hang: threading.Event | None = None
    stopped: bool = False

    def start(self) -> None:
        self.started = True

    def kick(self) -> None:
        self.kicks += 1

    def stop(self, timeout: float) -> bool:
        if self.hang is not None:
            self.hang.wait(60)
        self.stopped = True
        return True


@dataclass
class FakeShell:
    node: NodeSettings
    state: SshState = SshState.UP
    process: ProcessState = ProcessState.RUNNING
    sees: tuple[Says, str] = (Says.SEES, "greets")
    looks: int = 0
    probed: list[str] = field(default_factory=list)
    hang: bool = False
    closed: bool = False

    async def observe(self, pid_file: str | None, datadir: str | None) -> ShellObservation:
        self.looks += 1
        if self.hang:
            await asyncio.Event().wait()
        return ShellObservation(
            label=self.node.label,
            at=time.time(),
            mono=time.monotonic(),
            state=self.state,
            process=self.process,
            can_fence=True,
        )

    async def probe_through(self, host: str, port: int, timeout: float) -> tuple[Says, str]:
        self.probed.append(host)
        if self.hang:
            await asyncio.Event().wait()
        return self.sees

    async def close(self) -> None:
        self.closed = True


class FakeSenses:
    def __init__(self) -> None:
        self.probers: dict[str, FakeProber] = {}
        self.shells: dict[str, FakeShell] = {}
        self.witness_says: tuple[Says, str] = (Says.SEES, "connected")
        self.witness_asked = 0
        self.grants: dict[str, tuple[str, ...] | NodeError] = {}

    def prober(
        self, node: NodeSettings, cluster: ClusterSettings, on_observation: Callable[[NodeObservation], None]
    ) -> FakeProber:
        return self.probers.setdefault(node.label, FakeProber(node, on_observation))

    def shell(self, node: NodeSettings, cluster: ClusterSettings) -> FakeShell:
        return self.shells.setdefault(node.label, FakeShell(node))

    def witness_shell(self, witness: WitnessSettings, cluster: ClusterSettings) -> FakeShell:
        node = NodeSettings(label=witness.host, host=witness.host, ssh=SshSettings(host=witness.host))
        return self.shells.setdefault(witness.host, FakeShell(node))

    async def greets(self, witness: WitnessSettings, timeout: float) -> tuple[Says, str]:
        self.witness_asked += 1
        return self.witness_says

    async def details(self, node: NodeSettings, cluster: ClusterSettings) -> NodeDetails:
        return NodeDetails(node=node.label, at=0.0)

    async def missing_grants(self, node: NodeSettings, cluster: ClusterSettings) -> tuple[str, ...]:
        found = self.grants.get(node.label, ())
        if isinstance(found, NodeError):
            raise found
        return found


class Watched:
    """A monitor over fake senses, with a clock-driven pair of servers to observe."""

    def __init__(self, cluster: ClusterSettings, journal: Journal, **more: object):
        self.cluster = cluster
        self.senses = FakeSenses()
        self.states: list[ClusterState] = []
        self.decisions: list[Decision] = []
        self.memory = ClusterMemory(cluster, journal, now=time.time)
        self.monitor = ClusterMonitor(
            cluster,
            self.memory,
            self.senses,
            publish=self.states.append,
            on_decision=lambda _, decision: self.decisions.append(decision),
            **more,  # type: ignore[arg-type]
        )

    def master(self, label: str = "node1", **more: object) -> NodeObservation:
        facts = ServerFacts(
            flavor=Flavor.MARIADB,
            version="10.11",
            server_id=1,
            read_only=False,
            log_bin=True,
            binlog=BinlogPosition("binlog.000001", 1000),
            replication=(),
            uptime=1000,
            clock=time.time(),
        )
        pandora = PandoraFacts(schema_release="MR 60")
        return self._alive(label, replace(facts, **more), pandora)  # type: ignore[arg-type]

    def slave(self, label: str = "node2", *, io: IoState = IoState.YES, errno: int = 0) -> NodeObservation:
        position = BinlogPosition("binlog.000001", 1000)
        replication = Replication(
            source_host="10.0.0.1",
            source_port=3306,
            io=io,
            sql=True,
            io_errno=errno,
            seconds_behind=0 if io is IoState.YES else None,
            read=position,
            executed=position,
        )
        facts = ServerFacts(
            flavor=Flavor.MARIADB,
            version="10.11",
            server_id=2,
            read_only=True,
            log_bin=True,
            binlog=BinlogPosition("binlog.000001", 500),
            replication=(replication,),
            uptime=1000,
            clock=time.time(),
        )
        return self._alive(label, facts, PandoraFacts(schema_release="MR 60"))

    def _alive(self, label: str, facts: ServerFacts, pandora: PandoraFacts) -> NodeObservation:
        return NodeObservation(
            label=label,
            at=time.time(),
            mono=time.monotonic(),
            reach=Reach.ALIVE,
            facts=facts,
            pandora=pandora,
            latency=0.001,
        )

    def down(self, label: str = "node1", reach: Reach = Reach.REFUSED, attempts: int = 1) -> NodeObservation:
        return NodeObservation(
            label=label,
            at=time.time(),
            mono=time.monotonic(),
            reach=reach,
            failure=Failure(kind=reach, code="refused", text=f"{reach} by 10.0.0.1:3306"),
            attempts=attempts,
        )

    def tell(self, *seen: NodeObservation) -> None:
        """As the probers' threads do."""
        for one in seen:
            threading.Thread(target=self.senses.probers[one.label].tell, args=(one,)).start()

    async def until(self, holds: Callable[[ClusterState], bool]) -> ClusterState:
        async with asyncio.timeout(DEADLINE):
            while not (self.states and holds(self.states[-1])):  # noqa: ASYNC110 - states come by callback
                await asyncio.sleep(0.005)
        return self.states[-1]

    async def healthy(self) -> ClusterState:
        self.monitor.start()
        self.tell(self.master(), self.slave())
        return await self.until(
            lambda state: state.diagnosis.kind is DiagnosisKind.HEALTHY and state.roles_known
        )

    async def kinds(self) -> list[str]:
        return [event.kind for event in reversed(await self.memory.journal.events(EventsQuery()))]


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
    state = await watched.until(lambda state: state.diagnosis.kind is not DiagnosisKind.HEALTHY)
    assert watched.monitor.ticks <= 1
    assert state.diagnosis.kind is DiagnosisKind.MASTER_SUSPECT
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


async def test_a_witness_that_hangs_holds_up_no_other_and_is_not_asked_twice(journal: Journal) -> None:
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
    await asyncio.sleep(0.3)
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

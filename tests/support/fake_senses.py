"""Senses a test moves: fake probers, shells and witnesses, and a monitor over them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.observation import (
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
)
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.config.settings import (
    Account,
    ClusterSettings,
    NodeSettings,
    SshSettings,
    Timeouts,
    WitnessSettings,
)
from pfms_ha_tui.errors import NodeError
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.protocol import ClusterState, EventsQuery, NodeDetails

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

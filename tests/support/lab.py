"""A small world of servers that the pure part is shown: no network, a clock that moves when told.

A :class:`Lab` holds what the servers *are*; :meth:`Lab.tick` lets time pass, data flow and everybody be
probed, and appends a snapshot to the history. Everything a test asserts goes through the real
``assemble``, ``diagnose``, ``readiness``, ``decide`` and ``learn``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pfms_ha_tui.cluster.assemble import NodeSpec, assemble
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.decision import Action, Decision, decide
from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Finding
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.judge import diagnose
from pfms_ha_tui.cluster.learning import learn
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    Failure,
    Flavor,
    IoState,
    NodeObservation,
    Opinion,
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
from pfms_ha_tui.cluster.readiness import Guard, Readiness
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot, Sync

WALL = 1_700_000_000.0
FAILURES = {
    Reach.REFUSED: ("refused", "connection refused"),
    Reach.HUNG: ("timeout", "connected, but no answer"),
    Reach.UNREACHABLE: ("no_route", "no route to host"),
    Reach.FAULT: ("name_not_resolved", "the name cannot be resolved"),
    Reach.IMPAIRED: ("too_many_connections", "too many connections (error 1040)"),
}


@dataclass
class Server:
    """One server as it really is; change its fields as fate would."""

    label: str
    order: int
    host: str
    server_id: int
    read_only: bool | None = True
    follows: str | None = None
    """A host; ``None`` = nobody."""
    reach: Reach = Reach.ALIVE
    code: str | None = None
    """Of the failure, instead of the usual one for that reach."""
    readable: bool = True
    """Whether an answering probe brings facts (an IMPAIRED one by error 1040 does not)."""
    probed: bool = True
    """False: the prober is stuck, no new observation comes."""
    io: IoState = IoState.YES
    io_errno: int = 0
    sql: bool = True
    sql_errno: int = 0
    lag: int | None = 0
    pos: int = 1000
    """Own binary log."""
    read: int | None = 1000
    executed: int | None = 1000
    flows: bool = True
    """False: replication claims to run, but nothing moves."""
    sql_delay: int = 0
    log_bin: bool | None = True
    replication_readable: bool = True
    epoch: EpochRecord | None = None
    pandora: bool = True
    """Whether probes bring Pandora's facts."""
    schema: str | None = "MR 60"
    keepalive: float | None = None
    disabled_hosts: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    writes: int = 0
    clock_ahead: float = 0.0
    flavor: Flavor = Flavor.MARIADB
    version: str = "10.11.6-MariaDB"
    gtid_mode: bool | None = None
    gtid: str | None = None
    uuid: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ssh: SshState = SshState.UP
    process: ProcessState = ProcessState.RUNNING
    can_fence: bool | None = True
    looked_at: float | None = None
    """When its host was looked at last, if not now: a look that hangs leaves the older one standing."""
    sync: Sync = field(default_factory=Sync)
    disabled: bool = False
    attempts: int = 0
    last: NodeObservation | None = None


class Lab:
    """A cluster of servers; ``node1`` is master, the others follow it."""

    def __init__(self, count: int = 2, *, policy: Policy | None = None, facts: JournalFacts | None = None):
        self.mono = 1000.0
        self.policy = policy or Policy(mode=Mode.AUTOMATIC)
        self.facts = facts or JournalFacts(preflight_at=self.mono)
        self.servers: dict[str, Server] = {}
        for number in range(1, count + 1):
            label = f"node{number}"
            self.servers[label] = Server(
                label=label,
                order=number - 1,
                host=f"10.0.0.{number}",
                server_id=number,
                read_only=number > 1,
                follows=None if number == 1 else "10.0.0.1",
            )
        self.opinions: dict[tuple[Witness, str, str], Opinion] = {}
        self.history: list[Snapshot] = []
        self.wall_offset = 0.0

    # what the tests read

    @property
    def at(self) -> float:
        return WALL + self.wall_offset + self.mono

    @property
    def snapshot(self) -> Snapshot:
        return self.history[-1]

    def node(self, label: str) -> NodeState:
        found = self.snapshot.node(label)
        assert found is not None
        return found

    @property
    def diagnosis(self) -> Diagnosis:
        return diagnose(self.history, self.policy, self.facts)

    @property
    def readiness(self) -> Readiness:
        return readiness(self.history, self.diagnosis, self.policy, self.facts)

    @property
    def decision(self) -> Decision:
        return decide(self.history, self.diagnosis, self.readiness, self.policy, self.facts)

    def kind(self) -> DiagnosisKind:
        return self.diagnosis.kind

    def action(self) -> Action:
        return self.decision.action

    def guard(self, key: str) -> Guard:
        return next(guard for guard in self.readiness.guards if guard.key == key)

    def findings(self, kind: DiagnosisKind) -> list[Finding]:
        return [one for one in self.diagnosis.findings if one.kind is kind]

    def learn(self) -> JournalFacts:
        self.facts = learn(self.snapshot, self.diagnosis, self.facts, self.policy)
        return self.facts

    # time and probes

    def settle(self) -> Lab:
        """A few healthy seconds, after which the roles are known."""
        self.ticks(3)
        self.learn()
        return self

    def ticks(self, count: int, step: float = 1.0) -> None:
        for _ in range(count):
            self.tick(step)

    def tick(self, step: float = 1.0) -> Snapshot:
        """Let time pass and data flow, probe everybody, append the snapshot."""
        self.mono += step
        self.flow()
        for server in self.servers.values():
            self.probe(server)
        return self.snap()

    def flow(self) -> None:
        """Writes arrive at every live writer, and replication carries them on."""
        for server in self.servers.values():
            if server.reach.answers and server.read_only is False:
                server.pos += 100
                server.writes += 10
        for server in self.servers.values():
            source = next((one for one in self.servers.values() if one.host == server.follows), None)
            if source is None or not server.flows or not server.reach.answers:
                continue
            if server.io is IoState.YES and source.reach.answers:
                server.read = source.pos
            if server.sql and not server.sql_delay:
                server.executed = server.read

    def probe(self, server: Server) -> None:
        if not server.probed:
            return
        same = server.last is not None and server.last.reach is server.reach
        server.attempts = server.attempts + 1 if same else 1
        server.last = self.observation(server)

    def observation(self, server: Server) -> NodeObservation:
        failure = None
        if server.reach in FAILURES:
            code, text = FAILURES[server.reach]
            failure = Failure(kind=server.reach, code=server.code or code, text=text)
        readable = server.reach.answers and server.readable
        return NodeObservation(
            label=server.label,
            at=self.at,
            mono=self.mono,
            reach=server.reach,
            latency=0.001,
            failure=failure,
            facts=self.server_facts(server) if readable else None,
            pandora=self.pandora_facts(server) if readable and server.pandora else None,
            missing=server.missing,
            attempts=server.attempts,
        )

    def server_facts(self, server: Server) -> ServerFacts:
        return ServerFacts(
            flavor=server.flavor,
            version=server.version,
            server_id=server.server_id,
            server_uuid=server.uuid,
            read_only=server.read_only,
            binlog=BinlogPosition("binlog.000001", server.pos),
            log_bin=server.log_bin,
            gtid_mode=server.gtid_mode,
            gtid_executed=server.gtid,
            replication=self.replication(server) if server.replication_readable else None,
            uptime=int(self.mono - server.started),
            clock=self.at + server.clock_ahead,
            writes=server.writes,
            variables=server.variables,
        )

    def replication(self, server: Server) -> tuple[Replication, ...]:
        if server.follows is None:
            return ()
        return (
            Replication(
                source_host=server.follows,
                source_port=3306,
                io=server.io,
                sql=server.sql,
                seconds_behind=server.lag if server.io is IoState.YES and server.sql else None,
                read=BinlogPosition("binlog.000001", server.read) if server.read is not None else None,
                executed=BinlogPosition("binlog.000001", server.executed)
                if server.executed is not None
                else None,
                io_errno=server.io_errno,
                io_error="error connecting to master" if server.io_errno else "",
                sql_errno=server.sql_errno,
                sql_error="Duplicate entry '1' for key 'PRIMARY'" if server.sql_errno else "",
                gtid=server.gtid is not None,
                sql_delay=server.sql_delay,
            ),
        )

    def pandora_facts(self, server: Server) -> PandoraFacts:
        return PandoraFacts(
            schema_release=server.schema,
            newest_keepalive=server.keepalive,
            epoch=server.epoch,
            disabled_hosts=server.disabled_hosts,
        )

    def snap(self) -> Snapshot:
        """Assemble and append a snapshot of what was probed."""
        snapshot = assemble(
            self.history[-1] if self.history else None,
            cluster="pandora",
            at=self.at,
            mono=self.mono,
            nodes=[
                NodeSpec(label=one.label, host=one.host, order=one.order, disabled=one.disabled)
                for one in self.servers.values()
            ],
            observations={one.label: one.last for one in self.servers.values() if one.last is not None},
            shells={one.label: self.shell(one) for one in self.servers.values()},
            opinions=tuple(self.opinions.values()),
            syncs={one.label: one.sync for one in self.servers.values()},
        )
        self.history.append(snapshot)
        return snapshot

    def shell(self, server: Server) -> ShellObservation:
        up = server.ssh is SshState.UP
        return ShellObservation(
            label=server.label,
            at=self.at,
            mono=self.mono if server.looked_at is None else server.looked_at,
            state=server.ssh,
            process=server.process if up else ProcessState.UNKNOWN,
            can_fence=server.can_fence if up else None,
            failure=None if up else "no route to host",
        )

    # fates

    def followers(self, label: str) -> Iterable[Server]:
        host = self.servers[label].host
        return [server for server in self.servers.values() if server.follows == host]

    def kill(self, label: str) -> None:
        """kill -9: the port refuses, the slaves lose it, its host runs no server process."""
        server = self.servers[label]
        server.reach, server.process = Reach.REFUSED, ProcessState.NONE
        self.lose(label)

    def lose(self, label: str, errno: int = 2003) -> None:
        """Its slaves cannot connect to it any more."""
        for slave in self.followers(label):
            slave.io, slave.io_errno = IoState.CONNECTING, errno

    def freeze(self, label: str) -> None:
        """SIGSTOP: connections are accepted, nothing answers, the slaves notice nothing."""
        server = self.servers[label]
        server.reach, server.process = Reach.HUNG, ProcessState.FROZEN

    def cut(self, label: str) -> None:
        """Its packets are dropped, also those of its host's SSH."""
        server = self.servers[label]
        server.reach, server.ssh = Reach.UNREACHABLE, SshState.DOWN

    def come_back(self, label: str, *, read_only: bool) -> None:
        """The server process is started anew."""
        server = self.servers[label]
        server.reach, server.process, server.ssh = Reach.ALIVE, ProcessState.RUNNING, SshState.UP
        server.read_only, server.started, server.writes = read_only, self.mono, 0

    def say(self, by: str, about: str, says: Says, kind: Witness = Witness.VIA_SSH) -> None:
        """A second opinion, now."""
        self.opinions[(kind, by, about)] = Opinion(
            kind=kind,
            by=by,
            about=about,
            says=says,
            text="a greeting" if says is Says.SEES else "no greeting",
            at=self.at,
            mono=self.mono,
        )

    def promote(self, label: str, epoch: int) -> None:
        """What a failover of ours leaves behind in the data and in the journal."""
        server = self.servers[label]
        server.follows, server.read_only = None, False
        server.epoch = EpochRecord(epoch=epoch, master=label, worker="pandora1", at=self.at)
        self.facts = replace(
            self.facts,
            epoch=epoch,
            epoch_master=label,
            master=label,
            roles_known=True,
            last_failover_at=self.at,
        )

    def follow(self, label: str, master: str) -> None:
        """A slave of ``master`` from now on, in step with it and with its data."""
        server, source = self.servers[label], self.servers[master]
        server.follows, server.read_only = source.host, True
        server.io, server.io_errno, server.sql, server.sql_errno = IoState.YES, 0, True, 0
        server.read = server.executed = source.pos
        server.epoch = source.epoch

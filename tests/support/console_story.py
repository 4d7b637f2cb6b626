"""How a test tells what a cluster went through: looks at its nodes, judged by the very code of the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pfms_ha_tui.cluster.assemble import NodeSpec, assemble
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.judge import diagnose
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    Failure,
    Flavor,
    IoState,
    NodeObservation,
    Opinion,
    PandoraFacts,
    PandoraServer,
    ProcessState,
    Reach,
    Replication,
    ServerFacts,
    ShellObservation,
    SlaveSeen,
    SshState,
)
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot, Sync
from pfms_ha_tui.console.scene import Clock
from pfms_ha_tui.worker.protocol import ClusterState

MONO = 1_000_000.0
WALL = 1_764_322_379.0
"""2025-11-28 10:32:59 CET (09:32:59 UTC)."""
CLUSTER = "pandora-prod"
HOSTS = ("192.168.80.170", "192.168.80.172", "192.168.80.174")


class StillClock(Clock):
    """Time stands where a test puts it."""

    def __init__(self, mono: float = MONO + 0.4, wall: float = WALL):
        self.now_mono, self.now_wall = mono, wall

    def mono(self) -> float:
        return self.now_mono

    def wall(self) -> float:
        return self.now_wall

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now_mono += seconds
        self.now_wall += seconds


@dataclass
class Story:
    """What a cluster went through, told in looks at its nodes."""

    count: int = 2
    name: str = CLUSTER
    policy: Policy = field(default_factory=lambda: Policy(mode=Mode.AUTOMATIC))
    labels: Sequence[str] = ("node1", "node2", "node3")
    facts: JournalFacts = field(
        default_factory=lambda: JournalFacts(
            epoch=3, epoch_master="node1", roles_known=True, master="node1", preflight_at=MONO - 300
        )
    )
    history: list[Snapshot] = field(default_factory=list)

    def look(
        self,
        ago: float,
        observations: Mapping[str, NodeObservation],
        *,
        shells: Mapping[str, ShellObservation] | None = None,
        opinions: Sequence[Opinion] = (),
        syncs: Mapping[str, Sync] | None = None,
    ) -> None:
        """One snapshot, ``ago`` seconds before now."""
        specs = [
            NodeSpec(label=label, host=host, order=order)
            for order, (label, host) in enumerate(zip(self.labels, HOSTS, strict=True))
        ][: self.count]
        self.history.append(
            assemble(
                self.history[-1] if self.history else None,
                cluster=self.name,
                at=WALL - ago,
                mono=MONO - ago,
                nodes=specs,
                observations=observations,
                shells=shells
                if shells is not None
                else {spec.label: shell(spec.label, ago) for spec in specs},
                opinions=opinions,
                syncs=syncs or {},
            )
        )

    def state(self) -> ClusterState:
        """What the worker publishes at the end."""
        diagnosis = diagnose(self.history, self.policy, self.facts)
        return ClusterState(
            name=self.name,
            mode=self.policy.mode,
            interval=self.policy.interval,
            snapshot=self.history[-1],
            diagnosis=diagnosis,
            readiness=readiness(self.history, diagnosis, self.policy, self.facts),
            roles_known=self.facts.roles_known,
            epoch=self.facts.epoch,
            maintenance=self.facts.maintenance,
            rival_manager=self.facts.rival_manager,
            policy=self.policy,
        )


def server(number: int, **changes: object) -> ServerFacts:
    """Facts of an answering server: number 1 is a writable master unless told otherwise."""
    facts = ServerFacts(
        flavor=Flavor.MYSQL,
        version="8.0.30-22",
        version_comment="Percona Server (GPL), Release 22",
        server_id=number,
        server_uuid=f"3e11fa47-71ca-11e1-9e33-c80aa942956{number}",
        hostname=f"db{number}",
        read_only=number != 1,
        super_read_only=number != 1,
        binlog=BinlogPosition("binlog.000018", 1135140 if number == 1 else 4242),
        binlog_sizes={"binlog.000017": 104_857_600, "binlog.000018": 1_135_140},
        log_bin=True,
        gtid_mode=False,
        replication=(),
        slaves=(SlaveSeen(server_id=2, host=HOSTS[1], port=3306),) if number == 1 else (),
        uptime=86400 * 41,
        writes=123_456,
        threads_connected=31 if number == 1 else 4,
        max_connections=512,
        datadir="/var/lib/mysql/",
        pid_file="/var/run/mysqld/mysqld.pid",
        variables={
            "server_id": str(number),
            "sync_binlog": "1",
            "innodb_flush_log_at_trx_commit": "1",
            "binlog_format": "ROW",
            "log_slave_updates": "ON",
            "max_allowed_packet": "67108864",
        },
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def following(**changes: object) -> Replication:
    """A healthy slave of node1."""
    position = BinlogPosition("binlog.000018", 1135140)
    replication = Replication(
        source_host=HOSTS[0],
        source_port=3306,
        io=IoState.YES,
        sql=True,
        source_server_id=1,
        source_uuid="3e11fa47-71ca-11e1-9e33-c80aa9429561",
        seconds_behind=0,
        read=position,
        executed=position,
        relay_log_space=1_245_184,
        io_state="Waiting for source to send event",
        sql_state="Replica has read all relay log; waiting for more updates",
        replicate_do_db="pandora",
    )
    return replace(replication, **changes)  # type: ignore[arg-type]


PANDORA = PandoraFacts(
    schema_release="MR 60",
    newest_keepalive=WALL - 4,
    epoch=EpochRecord(epoch=3, master="node1", worker="pandora1", at=WALL - 86400 * 12),
    servers=(
        PandoraServer(
            name="pandora1", address="192.168.80.10", server_type=1, status=1, master=1,
            version="7.0NG.777", keepalive_age=4.0, interval=5,
        ),
    ),
)  # fmt: skip


def good(label: str, ago: float, facts: ServerFacts, latency: float = 0.0008) -> NodeObservation:
    """A probe that answered."""
    return NodeObservation(
        label=label,
        at=WALL - ago,
        mono=MONO - ago,
        reach=Reach.ALIVE,
        latency=latency,
        facts=replace(facts, clock=WALL - ago),
        pandora=PANDORA,
        round_trips=2,
    )


def bad(
    label: str,
    ago: float,
    kind: Reach,
    code: str,
    text: str,
    *,
    errno: int | None = None,
    hint: str | None = None,
    attempts: int = 3,
) -> NodeObservation:
    """A probe that did not."""
    failure = Failure(kind=kind, code=code, text=text, errno=errno, hint=hint)
    return NodeObservation(
        label=label, at=WALL - ago, mono=MONO - ago, reach=kind, failure=failure, attempts=attempts
    )


def shell(label: str, ago: float, **changes: object) -> ShellObservation:
    """A look through SSH that went well."""
    seen = ShellObservation(
        label=label,
        at=WALL - ago,
        mono=MONO - ago,
        state=SshState.UP,
        process=ProcessState.RUNNING,
        pid=4121,
        latency=0.012,
        clock=WALL - ago,
        disk_free=312_000_000_000,
        disk_total=500_000_000_000,
        can_fence=True,
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def healthy_looks(story: Story, until: float = 0.0) -> None:
    for ago in (until + 3.0, until + 2.0, until + 1.0, until):
        looks = {"node1": good("node1", ago, server(1, writes=123_456 + int((10 - ago) * 212)))}
        for number in range(2, story.count + 1):
            label = story.labels[number - 1]
            looks[label] = good(label, ago, server(number, replication=(following(),)), 0.0012)
        story.look(ago, looks)

"""States of clusters as a worker would publish them, and the past that goes with them.

Observations are written by hand; the snapshot, the diagnosis and the readiness come from the very code
that the worker runs, so that the sentences on the screens are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pfms_ha_tui.cluster.assemble import NodeSpec, assemble
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.event import Event, LagSample
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
    Says,
    ServerFacts,
    ShellObservation,
    SlaveSeen,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Maintenance, Snapshot, Sync, SyncState
from pfms_ha_tui.console.scene import Clock
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.protocol import ClusterState, NodeDetails

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


def _healthy_looks(story: Story, until: float = 0.0) -> None:
    for ago in (until + 3.0, until + 2.0, until + 1.0, until):
        looks = {"node1": good("node1", ago, server(1, writes=123_456 + int((10 - ago) * 212)))}
        for number in range(2, story.count + 1):
            label = story.labels[number - 1]
            looks[label] = good(label, ago, server(number, replication=(following(),)), 0.0012)
        story.look(ago, looks)


def healthy() -> ClusterState:
    """node1 is master, node2 follows."""
    story = Story()
    _healthy_looks(story)
    return story.state()


def three_nodes() -> ClusterState:
    """Two slaves, one of them a little behind."""
    story = Story(count=3)
    _healthy_looks(story)
    behind = following(seconds_behind=4, executed=BinlogPosition("binlog.000018", 1_100_000))
    story.look(
        0.0,
        {
            "node1": good("node1", -0.01, server(1)),
            "node2": good("node2", -0.01, server(2, replication=(following(),))),
            "node3": good("node3", -0.01, server(3, replication=(behind,))),
        },
    )
    return story.state()


def dead_master() -> ClusterState:
    """The server process of node1 is gone."""
    story = Story()
    _healthy_looks(story, until=6.0)
    lost = following(
        io=IoState.CONNECTING,
        io_errno=2003,
        io_error="error reconnecting to source 'repl@192.168.80.170:3306' - retry-time: 60 retries: 1 message: "
        "Can't connect to MySQL server on '192.168.80.170:3306' (111)",
        seconds_behind=None,
    )
    for ago, attempts in ((5.0, 1), (4.0, 2), (0.0, 6)):
        story.look(
            ago,
            {
                "node1": bad(
                    "node1", ago, Reach.REFUSED, "refused",
                    "192.168.80.170:3306 refuses the connection", attempts=attempts,
                    hint="the host answers, the server process does not: look at its error log",
                ),
                "node2": good("node2", ago, server(2, replication=(lost,))),
            },
            shells={
                "node1": shell("node1", ago, process=ProcessState.NONE, pid=None),
                "node2": shell("node2", ago),
            },
            opinions=[
                Opinion(
                    kind=Witness.VIA_SSH, by="node2", about="node1", says=Says.LOST,
                    text="connection refused", at=WALL - ago, mono=MONO - ago,
                )
            ],
        )  # fmt: skip
    return story.state()


def dead_master_by_hand() -> ClusterState:
    """The same in manual mode."""
    return replace(dead_master(), mode=Mode.MANUAL)


def split_brain() -> ClusterState:
    """Two writable nodes."""
    story = Story()
    _healthy_looks(story, until=3.0)
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1, writes=130_000 - int(ago * 180))),
                "node2": good(
                    "node2", ago,
                    server(2, read_only=False, super_read_only=False, writes=900 - int(ago * 12)),
                ),
            },
        )  # fmt: skip
    return story.state()


def lagging() -> ClusterState:
    """node2 is 47 seconds behind."""
    story = Story()
    _healthy_looks(story, until=3.0)
    behind = following(
        seconds_behind=47,
        read=BinlogPosition("binlog.000018", 1_135_140),
        executed=BinlogPosition("binlog.000017", 61_000_000),
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1)),
                "node2": good("node2", ago, server(2, replication=(behind,))),
            },
        )
    return story.state()


def sql_stopped() -> ClusterState:
    """node2's SQL thread hit an error."""
    story = Story()
    _healthy_looks(story, until=3.0)
    broken = following(
        sql=False,
        seconds_behind=None,
        sql_errno=1062,
        sql_error="Could not execute Write_rows event on table pandora.tagente_datos; Duplicate entry '77' for key "
        "'PRIMARY', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY",
        sql_state="",
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1)),
                "node2": good("node2", ago, server(2, replication=(broken,))),
            },
        )
    return story.state()


def resync_running() -> ClusterState:
    """node2 is being cloned."""
    story = Story(facts=replace(Story().facts, operation="clone of node2 from node1"))
    _healthy_looks(story, until=300.0)
    story.look(
        0.0,
        {
            "node1": good("node1", 0.0, server(1)),
            "node2": bad(
                "node2", 0.0, Reach.REFUSED, "refused", "192.168.80.172:3306 refuses the connection"
            ),
        },
        syncs={"node2": Sync(state=SyncState.RUNNING, percent=43.2)},
    )
    operation = OperationView(
        id=12, kind="clone", title="resync of node2 from node1", state=OperationState.RUNNING, actor="carol",
        dry_run=False, cancellable=True, started_at=WALL - 95,
        steps=(
            StepView(name="preflight", title="preflight", state=StepState.DONE),
            StepView(
                name="copy", title="copy the data to node2", state=StepState.RUNNING, node="node2",
                progress=Progress(done=7.9e9, total=18.3e9, unit="bytes", rate=74e6, eta=140),
            ),
            StepView(name="start", title="start node2", state=StepState.WAITING),
        ),
    )  # fmt: skip
    return replace(story.state(), operation=operation)


def resync_failed() -> ClusterState:
    """The clone of node2 failed; node3 waits for its turn."""
    story = Story(count=3, facts=replace(Story().facts, failed_resync=("node2",)))
    _healthy_looks(story, until=300.0)
    stopped = following(io=IoState.NO, sql=False, seconds_behind=None, io_state="", sql_state="")
    story.look(
        0.0,
        {
            "node1": good("node1", 0.0, server(1)),
            "node2": good("node2", 0.0, server(2, replication=(stopped,))),
            "node3": good("node3", 0.0, server(3, replication=(following(),))),
        },
        syncs={
            "node2": Sync(state=SyncState.FAILED, reason="rsync ended with status 12 after 3.2 GB"),
            "node3": Sync(state=SyncState.QUEUED),
        },
    )
    return story.state()


def unknown_values() -> ClusterState:
    """The worker has just started: one node not asked yet, the other tells next to nothing."""
    story = Story(facts=JournalFacts())
    bare = ServerFacts(flavor=Flavor.MARIADB, version="10.11.19-MariaDB", replication=None)
    seen = replace(
        good("node1", 0.0, bare),
        pandora=None,
        facts=bare,
        missing={
            "replication": "the account lacks REPLICATION CLIENT",
            "binlog": "the account lacks BINLOG MONITOR",
        },
    )
    story.look(0.0, {"node1": seen}, shells={})
    return story.state()


def nobody_answers() -> ClusterState:
    """Neither node can be reached."""
    story = Story()
    _healthy_looks(story, until=90.0)
    story.look(
        0.0,
        {
            "node1": bad(
                "node1", 0.0, Reach.UNREACHABLE, "timeout", "192.168.80.170:3306 did not answer within 2 s"
            ),
            "node2": bad("node2", 0.0, Reach.UNREACHABLE, "no_route", "no route to 192.168.80.172"),
        },
        shells={
            "node1": shell(
                "node1", 0.0, state=SshState.DOWN, process=ProcessState.UNKNOWN, pid=None, failure="time-out"
            ),
            "node2": shell(
                "node2", 0.0, state=SshState.DOWN, process=ProcessState.UNKNOWN, pid=None, failure="no route"
            ),
        },
    )
    return story.state()


def master_full() -> ClusterState:
    """The master's connection table is full: alive, never a reason to fail over."""
    story = Story()
    _healthy_looks(story, until=8.0)
    for ago in (2.0, 0.0):
        story.look(
            ago,
            {
                "node1": bad(
                    "node1", ago, Reach.IMPAIRED, "too_many_connections", "Too many connections", errno=1040,
                    hint="raise max_connections or find out who holds them",
                ),
                "node2": good("node2", ago, server(2, replication=(following(),))),
            },
        )  # fmt: skip
    return story.state()


def maintenance() -> ClusterState:
    """A person suspended automatic actions."""
    pause = Maintenance(until=WALL + 29 * 60, reason="kernel update", by="carol")
    story = Story(facts=replace(Story().facts, maintenance=pause))
    _healthy_looks(story)
    return story.state()


NASTY = (
    "[bold red]x[/bold red] [/foo] \x1b[31mred\x1b[0m \x07 \u202eevil\u202c 中文字 e\u0301 👩‍👩‍👧 \ud800 end"
)


def nasty() -> ClusterState:
    """Text from servers that would be markup, escapes or worse if it were not plain."""
    story = Story(labels=("[/x]", "nö 中", "node3"))
    story.facts = replace(story.facts, master="[/x]", epoch_master="[/x]")
    broken = following(
        sql=False,
        seconds_behind=None,
        sql_errno=1064,
        sql_error=_encodable(NASTY),
        sql_state=_encodable(NASTY),
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "[/x]": good("[/x]", ago, server(1, version="8.0[/]", version_comment=_encodable(NASTY))),
                "nö 中": good("nö 中", ago, server(2, replication=(broken,))),
            },
        )
    return story.state()


def _encodable(text: str) -> str:
    """Without the lone surrogate, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


STATES: dict[str, Callable[[], ClusterState]] = {
    "healthy": healthy,
    "three-nodes": three_nodes,
    "dead-master": dead_master,
    "split-brain": split_brain,
    "lagging": lagging,
    "sql-stopped": sql_stopped,
    "resync-running": resync_running,
    "resync-failed": resync_failed,
    "unknown": unknown_values,
    "nobody-answers": nobody_answers,
    "master-full": master_full,
    "maintenance": maintenance,
    "nasty": nasty,
}


def past_events(cluster: str = CLUSTER) -> list[Event]:
    """A timeline, oldest first."""

    def event(number: int, ago: float, severity: Severity, kind: str, text: str, **more: object) -> Event:
        happened = Event(
            id=number, at=WALL - ago, cluster=cluster, node=None, severity=severity, kind=kind, text=text,
            actor="worker",
        )  # fmt: skip
        return replace(happened, **more)  # type: ignore[arg-type]

    dead = DiagnosisKind.MASTER_DEAD.value
    return [
        event(1, 86400 * 400, Severity.INFO, "worker_started", "worker started: version 0.1.0, pid 812"),
        event(2, 86400 * 9, Severity.INFO, "operation_finished", "switchover finished: node2 is MASTER, writes "
              "paused 0.2 s", actor="carol", operation=7),
        event(3, 86400 * 2 + 30000, Severity.WARNING, "SlaveLagging", "node1 is 31 s behind node2, limit 30 s",
              node="node1"),
        event(4, 30074, Severity.CRITICAL, dead, "node2 is dead: connection closed, port refused 3 times, node1 lost "
              "it too, no mysqld process", node="node2",
              details="connection closed by the server\nrefused 3 times, 0.1 s apart\nnode1 lost it: error 2003\n"
                      "node2’s host runs no mysqld"),
        event(5, 30073, Severity.INFO, "operation_finished", "failover finished: node1 is MASTER, writable again "
              "after 0.6 s", operation=8),
        event(6, 18, Severity.INFO, "operation_finished", "resync of node2 finished in 4 min 12 s, 18.3 GB at 74 MB/s",
              actor="carol", node="node2", operation=9),
    ]  # fmt: skip


def lag_history(node: str = "node2") -> list[LagSample]:
    """Ten minutes of lag: mostly none, one hill, one stretch without an answer, one of NULL."""
    samples: list[LagSample] = []
    for ago in range(600, 0, -1):
        if 200 < ago <= 230:
            continue
        seconds: int | None = 0
        if 380 < ago <= 440:
            seconds = int(14 * (1 - abs(410 - ago) / 30))
        elif 90 < ago <= 105:
            seconds = None
        elif ago % 97 == 0:
            seconds = 1
        samples.append(LagSample(at=WALL - ago, seconds=seconds, bytes=0))
    return samples


def details(node: str = "node2") -> NodeDetails:
    """What a server answers when it is asked for everything."""
    return NodeDetails(
        node=node,
        at=WALL,
        replica_status=(
            {
                "Replica_IO_State": "Waiting for source to send event",
                "Source_Host": HOSTS[0],
                "Source_User": "repl",
                "Source_Port": "3306",
                "Connect_Retry": "60",
                "Source_Log_File": "binlog.000018",
                "Read_Source_Log_Pos": "1135140",
                "Relay_Log_File": "db2-relay-bin.000002",
                "Replica_IO_Running": "Yes",
                "Replica_SQL_Running": "Yes",
                "Replicate_Do_DB": "pandora",
                "Last_Errno": "0",
                "Last_Error": "",
                "Seconds_Behind_Source": "0",
                "Source_UUID": "3e11fa47-71ca-11e1-9e33-c80aa9429561",
                "Auto_Position": "0",
                "Source_Bind": None,
            },
        ),
        variables={"read_only": "ON", "super_read_only": "ON", "log_bin": "ON", "sync_binlog": "1"},
        status={"Uptime": "3542400", "Threads_connected": "4", "Com_insert": "1234"},
        processlist=(
            {"Id": "5", "User": "system user", "Host": "", "db": None, "Command": "Connect", "Time": "812",
             "State": "Waiting for source to send event", "Info": None},
            {"Id": "19", "User": "pandora", "Host": "192.168.80.10:51234", "db": "pandora", "Command": "Query",
             "Time": "2", "State": "executing", "Info": "SELECT * FROM tagente_datos WHERE utimestamp > 1764300000"},
        ),
        missing={"binlog sizes": "the account lacks REPLICATION CLIENT"},
    )  # fmt: skip

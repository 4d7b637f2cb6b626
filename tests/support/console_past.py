"""The past of a cluster: events, lag, and what a server answers when it is asked for everything."""

from __future__ import annotations

from dataclasses import replace

from support.console_story import CLUSTER, HOSTS, WALL

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.worker.protocol import NodeDetails


def past_events(cluster: str = CLUSTER) -> list[Event]:
    """A timeline, oldest first."""

    def event(number: int, ago: float, severity: Severity, kind: str, text: str, **more: object) -> Event:
        happened = Event(
            id=number, at=WALL - ago, cluster=cluster, node=None, severity=severity, kind=kind, text=text,
            actor="worker",
        )  # fmt: skip
        return replace(happened, **more)  # type: ignore[arg-type]

    switched = "switchover finished: node2 is MASTER, writes paused 0.2 s"
    dead = "node2 is dead: connection closed, port refused 3 times, node1 lost it too, no mysqld process"
    evidence = "connection closed by the server", "refused 3 times, 0.1 s apart", "node1 lost it: error 2003"
    over = "failover finished: node1 is MASTER, writable again after 0.6 s"
    resynced = "resync of node2 finished in 4 min 12 s, 18.3 GB at 74 MB/s"
    info, warning, critical = Severity.INFO, Severity.WARNING, Severity.CRITICAL
    done, lagging = "operation_finished", DiagnosisKind.SLAVE_LAGGING.value
    gone = DiagnosisKind.MASTER_DEAD.value
    return [
        event(1, 86400 * 400, info, "worker_started", "worker started: version 0.1.0, pid 812"),
        event(2, 86400 * 9, info, done, switched, actor="carol", operation=7),
        event(3, 86400 * 2 + 30000, warning, lagging, "node1 is 31 s behind node2, limit 30 s", node="node1"),
        event(4, 30074, critical, gone, dead, node="node2", details="\n".join(evidence)),
        event(5, 30073, info, done, over, operation=8),
        event(6, 18, info, done, resynced, actor="carol", node="node2", operation=9),
    ]


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


QUERY = "SELECT * FROM tagente_datos WHERE utimestamp > 1764300000"


def process(*values: str | None) -> dict[str, str | None]:
    """One line of SHOW PROCESSLIST."""
    names = ("Id", "User", "Host", "db", "Command", "Time", "State", "Info")
    return dict(zip(names, values, strict=True))


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
            process("5", "system user", "", None, "Connect", "812", "Waiting for source to send event", None),
            process("19", "pandora", "192.168.80.10:51234", "pandora", "Query", "2", "executing", QUERY),
        ),
        missing={"binlog sizes": "the account lacks REPLICATION CLIENT"},
    )

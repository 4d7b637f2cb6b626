"""What one look at one node saw. Facts only; ``None`` always means "not known", never zero.

Two clocks stand in every observation: ``at`` is wall time (seconds since 1970, for people and for
the journal), ``mono`` is the monotonic clock of this host (seconds, shared by worker and console,
the only one ages are computed from).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pfms_ha_tui.cluster.coordinates import BinlogPosition


class Flavor(StrEnum):
    """Which family of servers. Percona Server counts as MySQL; its name stands in the version comment."""

    MARIADB = "mariadb"
    MYSQL = "mysql"


class Reach(StrEnum):
    """What a probe's outcome says about the node (DESIGN section 3)."""

    UNKNOWN = "unknown"
    ALIVE = "alive"
    IMPAIRED = "impaired"
    """Alive, but says no: an SQL error (1040, 1045, 1129, 1203, 1226, …) or a failing write probe."""
    REFUSED = "refused"
    """The host answered that nobody listens: the server process is gone."""
    HUNG = "hung"
    """The connection is accepted (or open) but nothing answers."""
    UNREACHABLE = "unreachable"
    """Time-out or no route: the host itself gives no sign."""
    FAULT = "fault"
    """Ours: name not resolved, TLS, configuration. Never a reason to fail over."""

    @property
    def answers(self) -> bool:
        """Whether the server process itself answered."""
        return self in (Reach.ALIVE, Reach.IMPAIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a probe did not end well, in words for a person and codes for a judge."""

    kind: Reach
    code: str
    """Stable: ``refused`` ``closed`` ``timeout`` ``no_route`` ``no_greeting`` ``too_many_connections``
    ``access_denied`` ``host_blocked`` ``sql_error`` ``write_probe`` ``name_not_resolved`` ``tls``
    ``config`` ``protocol``."""
    text: str
    """One plain sentence; secrets masked."""
    errno: int | None = None
    hint: str | None = None


class IoState(StrEnum):
    """The IO (receiver) thread of a slave."""

    YES = "Yes"
    NO = "No"
    CONNECTING = "Connecting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """``SHOW REPLICA STATUS`` in one spelling, for one channel."""

    source_host: str
    source_port: int
    io: IoState
    sql: bool
    source_server_id: int | None = None
    source_uuid: str | None = None
    seconds_behind: int | None = None
    """Seconds_Behind_Source/Master as the server says it; ``None`` for its NULL."""
    read: BinlogPosition | None = None
    """Received: Source_Log_File, Read_Source_Log_Pos (coordinates of the master)."""
    executed: BinlogPosition | None = None
    """Applied: Relay_Source_Log_File, Exec_Source_Log_Pos (coordinates of the master)."""
    relay_log_space: int | None = None
    """Bytes of relay log on disk."""
    io_state: str = ""
    sql_state: str = ""
    io_errno: int = 0
    io_error: str = ""
    sql_errno: int = 0
    sql_error: str = ""
    gtid: bool = False
    """Whether it follows by GTID (auto position, Using_Gtid)."""
    retrieved_gtid: str | None = None
    executed_gtid: str | None = None
    channel: str = ""
    sql_delay: int = 0
    """Configured delay in seconds."""
    replicate_do_db: str = ""

    @property
    def drained(self) -> bool | None:
        """Whether everything received was applied; ``None`` when a coordinate is unknown."""
        if self.read is None or self.executed is None:
            return None
        return self.read == self.executed


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaveSeen:
    """One line of ``SHOW REPLICAS``: a slave that the master itself knows."""

    server_id: int
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """The promotion record inside the cluster's own data (``tconfig`` token ``pfms_ha_epoch``)."""

    epoch: int
    master: str
    """Label of the node that was promoted."""
    worker: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PandoraServer:
    """One row of ``tserver``."""

    name: str
    address: str
    server_type: int
    status: int
    """1 up, 0 down, -1 crashed."""
    master: int
    version: str
    keepalive_age: float | None
    """Seconds since the last contact, by the database's own clock."""
    interval: int
    """``server_keepalive``, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PandoraFacts:
    """What Pandora's own tables say, read through one node."""

    schema_release: str | None = None
    """``MR 60``."""
    newest_keepalive: float | None = None
    """``UNIX_TIMESTAMP(MAX(tserver.keepalive))``, seconds."""
    epoch: EpochRecord | None = None
    disabled_hosts: tuple[str, ...] = ()
    """Hosts that ``tdatabase`` marks disabled: never chosen as master."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """host → label of ``tdatabase``."""
    resync_requests: tuple[str, ...] = ()
    """Hosts whose ``tdatabase.action`` is 8 (resync)."""
    servers: tuple[PandoraServer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What an answering server says of itself. Any field may be unknown for lack of a privilege."""

    flavor: Flavor
    version: str
    """As the server says it, shortened to what Pandora shows: ``8.0.30-22``, ``10.11.19-MariaDB``."""
    version_comment: str = ""
    server_id: int | None = None
    server_uuid: str | None = None
    hostname: str | None = None
    report_host: str | None = None
    connection_id: int | None = None
    read_only: bool | None = None
    """True when ordinary accounts cannot write (``read_only`` or ``super_read_only``)."""
    super_read_only: bool | None = None
    """MySQL only."""
    binlog: BinlogPosition | None = None
    """Own coordinates; ``None`` when the binary log is off or may not be read."""
    binlog_sizes: Mapping[str, int] = field(default_factory=dict)
    """Own binary log files → bytes (``SHOW BINARY LOGS``), read on a slower beat."""
    log_bin: bool | None = None
    gtid_mode: bool | None = None
    gtid_executed: str | None = None
    """MySQL ``gtid_executed``, MariaDB ``gtid_current_pos``."""
    replication: tuple[Replication, ...] | None = None
    """One per channel; ``()`` = configured as nobody's slave; ``None`` = may not be read."""
    slaves: tuple[SlaveSeen, ...] = ()
    uptime: int | None = None
    """Seconds; a fall means the server was restarted."""
    clock: float | None = None
    """The server's own wall clock, seconds since 1970, read at ``at``."""
    writes: int | None = None
    """Rows-changing statements since start (Com_insert + Com_update + Com_delete + …)."""
    threads_connected: int | None = None
    max_connections: int | None = None
    datadir: str | None = None
    pid_file: str | None = None
    semi_sync: str | None = None
    """``None`` when off; else a short word such as ``master, 1 slave`` or ``slave``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The variables that matter for HA, by their own name (server_id, sync_binlog, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeObservation:
    """One probe of one node."""

    label: str
    at: float
    mono: float
    reach: Reach
    latency: float | None = None
    """Seconds for the whole probe."""
    failure: Failure | None = None
    facts: ServerFacts | None = None
    """Present only when this very probe got them."""
    pandora: PandoraFacts | None = None
    """Read on a slower beat; ``None`` when this probe did not ask or got no answer."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """fact → why it could not be had (a missing privilege degrades one fact, not the node)."""
    attempts: int = 1
    """Consecutive probes with this same failure kind, this one included."""
    round_trips: int | None = None


class SshState(StrEnum):
    """Whether commands can be run on the node's host."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    OFF = "off"
    """Not configured."""


class ProcessState(StrEnum):
    """The server process as its own host sees it."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    FROZEN = "frozen"
    """Stopped by a signal (state T)."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellObservation:
    """One look at a node's host through SSH."""

    label: str
    at: float
    mono: float
    state: SshState
    process: ProcessState = ProcessState.UNKNOWN
    pid: int | None = None
    latency: float | None = None
    clock: float | None = None
    disk_free: int | None = None
    """Bytes free on the file system of the datadir."""
    disk_total: int | None = None
    failure: str | None = None
    """One plain sentence."""
    hint: str | None = None
    can_fence: bool | None = None
    """Whether the account may stop the server (proved by a harmless check), if known."""


class Witness(StrEnum):
    """Who gives a second opinion."""

    SLAVE_IO = "slave"
    """A slave's own IO thread."""
    VIA_SSH = "via ssh"
    """A TCP connection to the node forwarded through another node's SSH."""
    PROCESS = "process"
    """The node's host looked for the server process."""
    WITNESS = "witness"
    """A configured address that tells whether we are cut off ourselves."""


class Says(StrEnum):
    """What a second opinion says."""

    SEES = "sees it"
    LOST = "lost it"
    SILENT = "says nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """A second opinion about one node (``about`` is empty for a witness of our own connectivity)."""

    kind: Witness
    by: str
    about: str
    says: Says
    text: str
    at: float
    mono: float

"""The settings as the program uses them: complete, checked, immutable. Durations are seconds.

Read from ``config.toml`` and ``pandora_server.conf`` by :func:`pfms_ha_tui.config.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.masking import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A database account."""

    user: str
    password: Secret


class TlsMode(StrEnum):
    """How much TLS to the servers is asked for."""

    OFF = "off"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_CA = "verify-ca"
    VERIFY_IDENTITY = "verify-identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS to the database servers."""

    mode: TlsMode = TlsMode.PREFERRED
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class HostKeys(StrEnum):
    """What to do about an SSH host key that is not in known_hosts."""

    STRICT = "strict"
    """Refuse (default)."""
    FIRST_USE = "first-use"
    """Accept and remember the first one, refuse a changed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """SSH to one node's host."""

    enabled: bool = True
    host: str
    port: int = 22
    user: str = "pandora"
    key: Path | None = None
    """``None`` = the agent and the account's default keys."""
    known_hosts: Path | None = None
    """``None`` = ``~/.ssh/known_hosts``."""
    host_keys: HostKeys = HostKeys.STRICT
    connect_timeout: float = 5.0
    sudo: bool = False
    """Whether commands that change the host run under ``sudo -n``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One MySQL server."""

    label: str
    host: str
    port: int = 3306
    order: int = 0
    ssh: SshSettings
    service: str | None = None
    """Name for ``systemctl``/``service``; ``None`` = asked of the host (mariadb, mysqld, mysql)."""
    disabled: bool = False
    """Never chosen as master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """An address that tells whether we are cut off ourselves."""

    host: str
    port: int
    ssh: bool = False
    """An SSH server whose host also probes the master for us; else a plain TCP connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits of every network call."""

    connect: float = 2.0
    read: float = 3.0
    """For a probe's answer."""
    statement: float = 10.0
    """For one statement of an operation that is expected to be quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PandoraSettings:
    """Pandora's side of things."""

    hosts_file: Path | None = None
    """``pandora_ha_hosts.conf``; ``None`` = not written."""
    service_cmd: str | None = None
    """Called as ``<cmd> restart-server <new db host>`` after a change of master; ``None`` = not called."""
    resync_script: str | None = None
    """The site's own ``ha_resync``."""
    resync_log: Path | None = None
    conf: Path | None = None
    """``pandora_server.conf`` itself, the first argument of the resync script; ``None`` = none was read."""
    max_splitbrain_retries: int = 2
    max_resync_wait_retries: int = 3
    resync_sleep: float = 10.0
    honour_web_resync: bool = False
    """Whether ``tdatabase.action`` 8 set by the web console starts a resync."""
    server_threshold: float = 30.0


class CloneMethod(StrEnum):
    """How a slave is rebuilt (DESIGN section 7)."""

    AUTO = "auto"
    """The best that both hosts can do."""
    STREAM = "stream"
    STAGED = "staged"
    PLUGIN = "plugin"
    """The CLONE plugin of MySQL."""
    SCRIPT = "script"
    """The site's own ``ha_resync``."""


class Transfer(StrEnum):
    """The path of the bytes of a clone."""

    AUTO = "auto"
    """Node to node where they have keys for each other, else through this host."""
    DIRECT = "direct"
    RELAY = "relay"


class Compression(StrEnum):
    """Whether a clone is compressed on its way."""

    AUTO = "auto"
    """``zstd`` when both hosts have it and the link, as measured, is slower than that."""
    ZSTD = "zstd"
    OFF = "off"


LEAST_BANDWIDTH = 64 * 1024
"""Bytes per second: a clone that is limited to less would never end."""
MOST_THREADS = 64
"""Of the backup tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSettings:
    """Defaults of a clone, and of the quick resync that asks nothing."""

    method: CloneMethod = CloneMethod.AUTO
    transfer: Transfer = Transfer.AUTO
    compression: Compression = Compression.AUTO
    bandwidth: int | None = None
    """Bytes per second; ``None`` = unlimited."""
    threads: int = 4
    """Of the backup tool."""
    staging_dir: Path | None = None
    """On the source's host, for the staged method; ``None`` = beside its datadir."""
    catch_up_timeout: float = 3600.0
    """A new slave must have caught up within this."""
    stall_timeout: float = 120.0
    """A transfer without a single byte for this long has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraTable:
    """One more table that a merge brings over."""

    table: str
    time_column: str = "utimestamp"
    """Seconds since 1970."""
    key: tuple[str, ...] = ()
    """Columns that tell rows apart; ``()`` = all columns, compared as a multiset."""
    new_id: str | None = None
    """An AUTO_INCREMENT column whose values are made anew on the master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """Defaults of a merge (DESIGN section 8)."""

    archive_dir: Path | None = None
    """``None`` = ``archive`` in the state directory."""
    batch_time: float = 0.5
    """A batch is sized to take about this long."""
    max_rows_per_second: int | None = None
    """``None`` = limited by the slaves' lag alone."""
    max_slave_lag: float = 10.0
    """Adding pauses while a slave is further behind."""
    tables: tuple[ExtraTable, ...] = ()


class HookEvent(StrEnum):
    """What a hook may be run for."""

    ANY = "any"
    """Each of the others."""
    DIAGNOSIS_CHANGED = "diagnosis_changed"
    FAILOVER_STARTED = "failover_started"
    FAILOVER_FINISHED = "failover_finished"
    FAILOVER_FAILED = "failover_failed"
    SWITCHOVER_STARTED = "switchover_started"
    SWITCHOVER_FINISHED = "switchover_finished"
    SWITCHOVER_FAILED = "switchover_failed"
    REJOIN_STARTED = "rejoin_started"
    REJOIN_FINISHED = "rejoin_finished"
    REJOIN_FAILED = "rejoin_failed"
    CLONE_STARTED = "clone_started"
    CLONE_FINISHED = "clone_finished"
    CLONE_FAILED = "clone_failed"
    MERGE_STARTED = "merge_started"
    MERGE_FINISHED = "merge_finished"
    MERGE_FAILED = "merge_failed"
    MASTER_RETURNED = "master_returned"
    """An old master came back and was locked."""
    SPLIT_BRAIN = "split_brain"
    MAINTENANCE_STARTED = "maintenance_started"
    MAINTENANCE_ENDED = "maintenance_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """One Pandora database and its nodes."""

    name: str
    nodes: tuple[NodeSettings, ...]
    database: str = "pandora"
    admin: Account
    """``ha_dbuser``: the MySQL administrator this program uses."""
    replication: Account
    """``repl_dbuser``."""
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    policy: Policy = field(default_factory=Policy)
    pandora: PandoraSettings = PandoraSettings()
    witnesses: tuple[WitnessSettings, ...] = ()
    hooks: Mapping[str, str] = field(default_factory=dict)
    """:class:`HookEvent` → command, run with ``PFMS_*`` in its environment."""
    clone: CloneSettings = CloneSettings()
    merge: MergeSettings = MergeSettings()

    def node(self, label: str) -> NodeSettings | None:
        """The node of that label."""
        return next((node for node in self.nodes if node.label == label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The worker process."""

    state_dir: Path
    """Lock, socket, journal, log."""
    socket: Path
    log_file: Path
    log_bytes: int = 10_000_000
    """The log rotates at this size; five old ones are kept."""
    admin_group: str | None = None
    """Unix group with full rights on the socket besides the worker's own user and root."""
    read_group: str | None = None
    """Unix group that may only look."""
    event_days: int = 400
    """Events are kept this long."""
    lag_days: int = 14
    """Lag history is kept this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """The console."""

    theme: str = "dark"
    """``dark`` ``light`` ``colour-blind``, or a theme of Textual."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """binding id → key(s), to remap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything."""

    clusters: tuple[ClusterSettings, ...]
    worker: WorkerSettings
    console: ConsoleSettings = ConsoleSettings()
    source: Path
    """The file it was read from."""
    warnings: tuple[str, ...] = ()
    """Not wrong, but worth a sentence: a file readable by others, an ignored entry."""
    files: tuple[Path, ...] = ()
    """Every file that was read, passwords' files included."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """dotted key of ``config.toml`` → where its value came from (``config.toml:12``); a key that is
    not here has its default."""

    def cluster(self, name: str) -> ClusterSettings | None:
        """The cluster of that name."""
        return next((cluster for cluster in self.clusters if cluster.name == name), None)

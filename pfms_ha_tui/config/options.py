"""The one table of every key of ``config.toml``: kind, range, meaning, and Pandora's word for it.

The table drives reading, the words of faults, the nearest valid key, ``config check``, and the test
that ``config.example.toml`` documents everything. Defaults are not repeated here: they are those of
the dataclasses in :mod:`pfms_ha_tui.config.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pfms_ha_tui.cluster.policy import Mode, OnIsolation
from pfms_ha_tui.config.kinds import (
    LABEL,
    Duration,
    File,
    Flag,
    Host,
    Kind,
    Maybe,
    OneOf,
    Pattern,
    SecretText,
    Size,
    Text,
    Whole,
    Words,
)
from pfms_ha_tui.config.settings import (
    LEAST_BANDWIDTH,
    MOST_THREADS,
    CloneMethod,
    Compression,
    HookEvent,
    HostKeys,
    TlsMode,
    Transfer,
)

_PORT = Whole(1, 65535)
_DAY = 86400.0
_IDENTIFIER = Pattern(r"[A-Za-z0-9_$]{1,64}", "a plain name of a table or column")
_GROUP = Pattern(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", "the name of a Unix group")
_LABEL = Pattern(LABEL, "1 to 32 letters, digits, dots, underscores or hyphens")
_VARIABLE = Pattern(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "the name of an environment variable")


@dataclass(frozen=True, slots=True)
class Option:
    """One key.

    ``into`` is the field it fills, dotted below the section's own dataclass (``policy.max_lag``).
    """

    key: str
    into: str
    kind: Kind
    doc: str
    pandora: str | None = None
    """The key of ``pandora_server.conf`` that is used when this one is absent."""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table of ``config.toml``: its keys, the tables in it, and the arrays of tables in it."""

    name: str
    options: tuple[Option, ...]
    arrays: Mapping[str, Section] = field(default_factory=dict)
    maps: Mapping[str, Kind] = field(default_factory=dict)
    """Tables whose keys are free or an enumeration: name → kind of their values."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every valid name in this table."""
        return (*(option.key for option in self.options), *self.arrays, *self.maps)

    def option(self, key: str) -> Option | None:
        """The option of that key."""
        return next((option for option in self.options if option.key == key), None)


WORKER = Section(
    "worker",
    (
        Option("state_dir", "state_dir", File(), "Folder of the lock, socket, journal and log."),
        Option("socket", "socket", File(), "Unix socket that consoles connect to."),
        Option("log_file", "log_file", File(), "Log of the worker."),
        Option(
            "log_bytes",
            "log_bytes",
            Size(10_000, 10**12),
            "The log rotates at this size; five old ones stay.",
        ),
        Option("admin_group", "admin_group", Maybe(_GROUP), "Unix group that may do everything."),
        Option("read_group", "read_group", Maybe(_GROUP), "Unix group that may only look."),
        Option(
            "event_days", "event_days", Whole(1, 36_500), "Days that events and past operations are kept."
        ),
        Option("lag_days", "lag_days", Whole(1, 3_650), "Days that the lag history is kept."),
    ),
)

CONSOLE = Section(
    "console",
    (
        Option(
            "theme",
            "theme",
            Text("the name of a theme"),
            "Colours: dark, light, colour-blind, or a theme of Textual.",
        ),
    ),
    maps={"keys": Text("keys separated by commas")},
)

_SSH = (
    Option("ssh_enabled", "ssh.enabled", Flag(), "Whether SSH is used at all."),
    Option("ssh_port", "ssh.port", _PORT, "Port of the SSH server.", "ha_sshport"),
    Option(
        "ssh_user", "ssh.user", Text("the name of an account"), "Account on the node's host.", "ha_sshuser"
    ),
    Option(
        "ssh_key", "ssh.key", File(empty=True), "Private key; none = the agent and the account's own keys."
    ),
    Option(
        "ssh_known_hosts", "ssh.known_hosts", File(empty=True), "Known host keys; none = ~/.ssh/known_hosts."
    ),
    Option(
        "ssh_host_keys", "ssh.host_keys", OneOf(HostKeys), "What to do about a host key that is not known."
    ),
    Option(
        "ssh_connect_timeout", "ssh.connect_timeout", Duration(0.1, 120), "Time-out of connection and login."
    ),
    Option("ssh_sudo", "ssh.sudo", Flag(), "Whether commands that change the host run under sudo -n."),
)

NODE = Section(
    "nodes",
    (
        Option("label", "label", _LABEL, "Name on every screen, typed to confirm."),
        Option("host", "host", Host(), "Name or IP address of the MySQL server."),
        Option("port", "port", _PORT, "Port of the MySQL server.", "dbport"),
        Option(
            "service", "service", Maybe(Text("the name of a service")), "Service; none = found on the host."
        ),
        Option("disabled", "disabled", Flag(), "Never chosen as master."),
        Option("ssh_host", "ssh.host", Host(), "Host for SSH, if it is not the node's own."),
        *_SSH,
    ),
)

WITNESS = Section(
    "witnesses",
    (
        Option("host", "host", Host(), "Name or IP address."),
        Option("port", "port", _PORT, "TCP port that always answers there."),
        Option("ssh", "ssh", Flag(), "An SSH server whose host also probes the master for us."),
    ),
)

MERGE_TABLE = Section(
    "merge_tables",
    (
        Option("table", "table", _IDENTIFIER, "Name of the table."),
        Option("time_column", "time_column", _IDENTIFIER, "Column with seconds since 1970."),
        Option("key", "key", Words(_IDENTIFIER, "a list of column names"), "Columns that tell rows apart."),
        Option("new_id", "new_id", Maybe(_IDENTIFIER), "AUTO_INCREMENT column to be numbered anew."),
    ),
)


def _account(name: str, account: str, who: str, user: str, password: str) -> tuple[Option, ...]:
    text = Text("the name of an account")
    return (
        Option(f"{name}_user", f"{account}.user", text, f"{who}.", user),
        Option(
            f"{name}_password", f"{account}.password", SecretText(), "Its password.", password, secret=True
        ),
        Option(
            f"{name}_password_file",
            f"{account}.password_file",
            File(),
            "File whose first line is the password.",
        ),
        Option(
            f"{name}_password_env",
            f"{account}.password_env",
            _VARIABLE,
            "Environment variable with the password.",
        ),
    )


CLUSTER = Section(
    "clusters.NAME",
    (
        Option("pandora_conf", "pandora_conf", File(), "Pandora's own file: gives whatever is not set here."),
        Option("database", "database", _IDENTIFIER, "Pandora's database.", "dbname"),
        Option("mode", "policy.mode", OneOf(Mode), "How much the worker may do by itself."),
        *_account("admin", "admin", "MySQL administrator", "ha_dbuser", "ha_dbpass"),
        *_account("replication", "replication", "Replication account", "repl_dbuser", "repl_dbpass"),
        *_SSH,
        Option("tls_mode", "tls.mode", OneOf(TlsMode), "How much TLS to the servers is asked for."),
        Option("tls_ca", "tls.ca", File(empty=True), "Certificate authorities, PEM."),
        Option("tls_cert", "tls.cert", File(empty=True), "Client certificate, PEM."),
        Option("tls_key", "tls.key", File(empty=True), "Its private key, PEM."),
        Option("interval", "policy.interval", Duration(0.2, 300), "Between two probes of a node."),
        Option(
            "connect_retries",
            "policy.connect_retries",
            Whole(1, 100),
            "Refusals in a row before the server process counts as gone.",
            "ha_connect_retries",
        ),
        Option("retry_gap", "policy.retry_gap", Duration(0.1, 30), "At least this long between two of them."),
        Option(
            "unresponsive_after",
            "policy.unresponsive_after",
            Duration(1, 600),
            "No answer for this long: hung.",
        ),
        Option(
            "isolation_hold",
            "policy.isolation_hold",
            Duration(5, _DAY),
            "Unreachable for this long before anything is done.",
        ),
        Option(
            "on_isolation",
            "policy.on_isolation",
            OneOf(OnIsolation),
            "Then promote without a quorum, or hold.",
        ),
        Option(
            "require_fencing",
            "policy.require_fencing",
            Flag(),
            "No failover without proof that the old master is fenced.",
        ),
        Option("max_lag", "policy.max_lag", Duration(0, 7 * _DAY), "A slave further behind is not promoted."),
        Option(
            "warn_lag",
            "policy.warn_lag",
            Duration(0, 7 * _DAY),
            "A slave further behind is shown as lagging.",
        ),
        Option(
            "recovery_block",
            "policy.recovery_block",
            Duration(0, 30 * _DAY),
            "No second automatic failover within this time.",
        ),
        Option(
            "clock_tolerance",
            "policy.clock_tolerance",
            Duration(0.05, 3600),
            "Clocks may differ by this much.",
        ),
        Option(
            "stale_after",
            "policy.stale_after",
            Duration(1, 3600),
            "An older observation says nothing any more.",
        ),
        Option(
            "stall_after",
            "policy.stall_after",
            Duration(2, _DAY),
            "Replication that says yes but does not move for this long is stalled.",
        ),
        Option(
            "splitbrain_autofix",
            "policy.splitbrain_autofix",
            Flag(),
            "Resync a broken or divergent slave by itself.",
            "splitbrain_autofix",
        ),
        Option("connect_timeout", "timeouts.connect", Duration(0.1, 60), "Of a connection to a server."),
        Option("read_timeout", "timeouts.read", Duration(0.1, 600), "Of a probe's answer."),
        Option(
            "statement_timeout",
            "timeouts.statement",
            Duration(0.5, _DAY),
            "Of one quick statement of an operation.",
        ),
        Option(
            "hosts_file",
            "pandora.hosts_file",
            File(empty=True),
            "pandora_ha_hosts.conf; none = not written.",
            "ha_hosts_file",
        ),
        Option(
            "service_cmd",
            "pandora.service_cmd",
            Text("a command", empty=True),
            "Called with restart-server HOST after a change of master; none = not called.",
            "pandora_service_cmd",
        ),
        Option(
            "resync_script",
            "pandora.resync_script",
            Text("a command", empty=True),
            "The site's own resync script.",
            "ha_resync",
        ),
        Option("resync_log", "pandora.resync_log", File(empty=True), "Log of every resync.", "ha_resync_log"),
        Option(
            "max_splitbrain_retries",
            "pandora.max_splitbrain_retries",
            Whole(0, 1000),
            "Resyncs of a slave by itself within a day, before it is left to a person.",
            "ha_max_splitbrain_retries",
        ),
        Option(
            "max_resync_wait_retries",
            "pandora.max_resync_wait_retries",
            Whole(0, 1000),
            "How many waits a slave must be broken before it is resynced by itself.",
            "ha_max_resync_wait_retries",
        ),
        Option(
            "resync_sleep",
            "pandora.resync_sleep",
            Duration(0, 3600),
            "How long such a wait is.",
            "ha_resync_sleep",
        ),
        Option(
            "honour_web_resync",
            "pandora.honour_web_resync",
            Flag(),
            "Start a resync that the web console asks for.",
        ),
        Option(
            "server_threshold",
            "pandora.server_threshold",
            Duration(1, _DAY),
            "Pandora servers: down when silent for twice this long.",
            "server_threshold",
        ),
        Option("clone_method", "clone.method", OneOf(CloneMethod), "How a slave is rebuilt."),
        Option("clone_transfer", "clone.transfer", OneOf(Transfer), "Node to node, or through this host."),
        Option("clone_compression", "clone.compression", OneOf(Compression), "Compression on the way."),
        Option(
            "clone_bandwidth",
            "clone.bandwidth",
            Maybe(Size(LEAST_BANDWIDTH, 10**12)),
            "Bytes per second; none = unlimited.",
        ),
        Option("clone_threads", "clone.threads", Whole(1, MOST_THREADS), "Threads of the backup tool."),
        Option(
            "clone_staging_dir",
            "clone.staging_dir",
            File(empty=True),
            "Folder on the source for the staged method; none = beside its datadir.",
        ),
        Option(
            "clone_catch_up_timeout",
            "clone.catch_up_timeout",
            Duration(10, 30 * _DAY),
            "A new slave must have caught up within this.",
        ),
        Option(
            "clone_stall_timeout",
            "clone.stall_timeout",
            Duration(5, _DAY),
            "A transfer without a byte for this long has failed.",
        ),
        Option(
            "merge_archive_dir",
            "merge.archive_dir",
            File(empty=True),
            "Archives; none = archive in the state folder.",
        ),
        Option(
            "merge_batch_time",
            "merge.batch_time",
            Duration(0.05, 30),
            "A batch is sized to take about this long.",
        ),
        Option(
            "merge_max_rows_per_second",
            "merge.max_rows_per_second",
            Maybe(Whole(1, 10**9)),
            "Upper limit; none = the slaves' lag alone limits.",
        ),
        Option(
            "merge_max_slave_lag",
            "merge.max_slave_lag",
            Duration(0, _DAY),
            "Adding pauses while a slave is further behind.",
        ),
    ),
    arrays={"nodes": NODE, "witnesses": WITNESS, "merge_tables": MERGE_TABLE},
    maps={"hooks": Text("a command")},
)

HOOK_EVENTS = tuple(event.value for event in HookEvent)

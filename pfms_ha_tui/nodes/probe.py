"""One probe: everything worth knowing of a node, in as few round trips as possible.

The questions of a probe travel as one request of several statements. A statement that fails ends the request;
then its fact is noted as missing, left out for a while, and the rest is asked once more: a missing privilege
costs one fact, not the node.

Three beats: ``fast`` each probe, ``slow`` about every ten seconds, ``rare`` about once a minute and whenever
a connection is new.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pfms_ha_tui.cluster.observation import PandoraFacts, Replication, ServerFacts
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.nodes import parsing
from pfms_ha_tui.nodes.connection import Row, SqlSession
from pfms_ha_tui.nodes.dialect import Dialect, quote_name
from pfms_ha_tui.nodes.failures import SqlError, clean

SLOW_BEAT = 10.0
RARE_BEAT = 60.0

EPOCH_TOKEN = "pfms_ha_epoch"  # noqa: S105 - the name of a row of tconfig, not a secret

STATE = "state"
"""The first question of each probe: needs no privilege and no lock, so that any living server answers it."""
_SILENCE = 1.0
"""Seconds without an answer after which a node is looked at as if it had been away."""
_MAY_NOT = frozenset({1044, 1045, 1142, 1143, 1227})
"""Denied for lack of a privilege: that does not change from one slow beat to the next."""

_WRITE_COUNTERS = (
    "com_insert",
    "com_insert_select",
    "com_update",
    "com_update_multi",
    "com_delete",
    "com_delete_multi",
    "com_replace",
    "com_replace_select",
    "com_load",
)
_STATUS = ("uptime", "threads_connected", *_WRITE_COUNTERS)
_VARIABLES = (
    "version",
    "version_comment",
    "server_id",
    "server_uuid",
    "hostname",
    "report_host",
    "report_port",
    "port",
    "datadir",
    "pid_file",
    "log_bin",
    "log_bin_basename",
    "gtid_mode",
    "enforce_gtid_consistency",
    "gtid_strict_mode",
    "gtid_domain_id",
    "max_connections",
    "read_only",
    "super_read_only",
    "binlog_format",
    "binlog_row_image",
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "max_binlog_size",
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_log_at_timeout",
    "log_slave_updates",
    "log_replica_updates",
    "slave_net_timeout",
    "replica_net_timeout",
    "slave_parallel_threads",
    "slave_parallel_workers",
    "replica_parallel_workers",
    "sync_relay_log",
    "relay_log_recovery",
    "skip_slave_start",
    "skip_replica_start",
    "replicate_do_db",
    "max_connect_errors",
    "require_secure_transport",
    "rpl_semi_sync_master_enabled",
    "rpl_semi_sync_slave_enabled",
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_replica_enabled",
    "system_time_zone",
    "time_zone",
)
_CONFIG_QUERY = f"SELECT token, value FROM {{tconfig}} WHERE token IN ('MR', '{EPOCH_TOKEN}')"  # noqa: S608
_SERVER_QUERY = (
    "SELECT name, ip_address, server_type, status, master, version, server_keepalive,"
    " UNIX_TIMESTAMP(keepalive) AS keepalive_at,"
    " UNIX_TIMESTAMP() - UNIX_TIMESTAMP(keepalive) AS keepalive_age"
    " FROM {tserver} LIMIT 500"
)
_DATABASE_QUERY = "SELECT host, label, disabled, action FROM {tdatabase} LIMIT 500"
_GRANTS = {
    "replication": "REPLICATION CLIENT (MySQL) or REPLICA MONITOR (MariaDB)",
    "binlog": "REPLICATION CLIENT (MySQL) or BINLOG MONITOR (MariaDB)",
    "binlog_sizes": "REPLICATION CLIENT (MySQL) or BINLOG MONITOR (MariaDB)",
    "slaves": "REPLICATION SLAVE (MySQL) or REPLICATION MASTER ADMIN (MariaDB)",
    "pandora": "SELECT on Pandora's database",
    "pandora_servers": "SELECT on Pandora's database",
    "pandora_databases": "SELECT on Pandora's database",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One fact and the statement that tells it."""

    fact: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one probe was told."""

    server: ServerFacts
    pandora: PandoraFacts | None
    missing: Mapping[str, str]
    at: float
    """Wall time in the middle of the round trip that read the server's clock."""
    latency: float
    """Seconds for everything."""
    round_trips: int


@dataclass(slots=True)
class _Suspended:
    reason: str
    until: float


@dataclass(slots=True)
class _Told:
    """Rows by fact, kept over the life of a connection: a slow beat's fact stands until the next one."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def named(self, fact: str) -> dict[str, str]:
        return parsing.named_values(self.rows.get(fact, ()))


class Probe:
    """Probes one node over one connection."""

    def __init__(self, session: SqlSession, cluster: ClusterSettings):
        self.session = session
        self._database = quote_name(cluster.database)
        self._dialect = session.dialect
        self._told = _Told()
        self._suspended: dict[str, _Suspended] = {}
        self._slow_at = 0.0
        self._rare_at = 0.0
        self._read_only: object = None
        self._asked: tuple[Question, ...] = ()
        self._answered = 0
        self._variables: Mapping[str, str] = {}
        self._shown_variables: Mapping[str, str] = {}

    @property
    def open_question(self) -> str | None:
        """The fact that the server is being asked for and has not told yet."""
        return self._asked[self._answered].fact if self._answered < len(self._asked) else None

    def suspend(self, fact: str, reason: str, seconds: float = RARE_BEAT) -> None:
        """Do not ask for a fact for a while."""
        self._suspended[fact] = _Suspended(reason, time.monotonic() + seconds)

    def ask(self, until_answer: Callable[[SqlSession], None]) -> Answers:
        """One probe.

        Args:
            until_answer: Called after each request was sent; returns once the first byte of the answer
                has arrived, or raises to call the probe off.

        Raises:
            SqlError: the connection is lost, or the server refuses even the plainest question.
        """
        started = time.monotonic()
        questions, slow = self._due(started)
        sent_at = time.time()
        clock_at: float | None = None
        trips = 0
        while questions:
            self._asked, self._answered = tuple(questions), 0
            self.session.send(";\n".join(question.sql for question in questions))
            trips += 1
            until_answer(self.session)
            if clock_at is None:
                clock_at = (sent_at + time.time()) / 2
            questions = self._read()
            if not questions and self._must_look_closer(time.monotonic() - started) and not slow:
                slow = True
                questions = [one for one in self._slow_questions() if one.fact not in self._suspended]
        self._asked, self._answered = (), 0
        ended = time.monotonic()
        if slow:
            self._slow_at = ended + SLOW_BEAT
        return Answers(
            server=self._server_facts(),
            pandora=self._pandora_facts() if slow else None,
            missing={fact: item.reason for fact, item in self._suspended.items()},
            at=clock_at if clock_at is not None else sent_at,
            latency=ended - started,
            round_trips=trips,
        )

    def _must_look_closer(self, took: float) -> bool:
        """Whether the slow facts cannot wait for their beat.

        After a silence, or a change of writability, the promotion record tells whether this is an old
        master that must take no write more.
        """
        writable = self._told.rows[STATE][0]["read_only"]
        changed = self._read_only is not None and writable != self._read_only
        self._read_only = writable
        return changed or took > _SILENCE

    def _read(self) -> list[Question]:
        """Read the results of a request; returns the questions that have to be asked again."""
        for index, question in enumerate(self._asked):
            self._answered = index
            try:
                rows, _ = self.session.receive()
            except SqlError as error:
                if error.ends_session or question.fact == STATE:
                    raise
                self._note_missing(question.fact, error)
                return list(self._asked[index + 1 :])
            self._told.rows[question.fact] = rows
            self._suspended.pop(question.fact, None)
            if question.fact == "variables":
                self._rare_at = time.monotonic() + RARE_BEAT
                self._take_variables()
        return []

    def _note_missing(self, fact: str, error: SqlError) -> None:
        denied = error.errno in _MAY_NOT
        grant = _GRANTS.get(fact)
        reason = error.reason.partition(": ")[2] or error.reason
        if denied and grant:
            reason = f"not allowed to read it; the account needs {grant}"
        self._told.rows.pop(fact, None)
        self.suspend(fact, reason, RARE_BEAT if denied or error.errno != 1146 else SLOW_BEAT)

    def _take_variables(self) -> None:
        """Cleaned here and not at each probe; and the dialect chosen by what the server says of itself.

        A proxy's greeting may have said something else.
        """
        said = self._variables = self._told.named("variables")
        self._shown_variables = {name: clean(said[name]) for name in _VARIABLES if name in said}
        if said.get("version"):
            self._dialect = Dialect.of(said["version"], said.get("version_comment", ""))
            self.session.dialect = self._dialect

    def _due(self, now: float) -> tuple[list[Question], bool]:
        dialect = self._dialect
        slow = now >= self._slow_at
        questions = [Question(STATE, _state_query(dialect))]
        if now >= self._rare_at:
            questions.append(Question("variables", _show("VARIABLES", _VARIABLES)))
        questions += [
            Question("status", _show("STATUS", (*_STATUS, *map(str.lower, dialect.semi_sync_names)))),
            Question("replication", dialect.show_replica_status),
            Question("binlog", dialect.show_binlog_status),
        ]
        if slow:
            questions += self._slow_questions()
        for fact in [fact for fact, item in self._suspended.items() if item.until <= now]:
            del self._suspended[fact]
        return [question for question in questions if question.fact not in self._suspended], slow

    def _slow_questions(self) -> list[Question]:
        tables = {name: f"{self._database}.{name}" for name in ("tconfig", "tserver", "tdatabase")}
        return [
            Question("binlog_sizes", self._dialect.show_binary_logs),
            Question("slaves", self._dialect.show_replicas),
            Question("pandora", _CONFIG_QUERY.format_map(tables)),
            Question("pandora_servers", _SERVER_QUERY.format_map(tables)),
            Question("pandora_databases", _DATABASE_QUERY.format_map(tables)),
        ]

    def _server_facts(self) -> ServerFacts:
        told, dialect = self._told, self._dialect
        state = told.rows[STATE][0]
        variables, shown, status = self._variables, self._shown_variables, told.named("status")
        replication = told.rows.get("replication")
        channels = None if replication is None else parsing.replication_channels(replication)
        read_only = parsing.is_on(state["read_only"])
        super_read_only = parsing.is_on(state["super_read_only"]) if dialect.has_super_read_only else None
        return ServerFacts(
            flavor=dialect.flavor,
            version=clean(dialect.text),
            version_comment=shown.get("version_comment", ""),
            server_id=parsing.integer(state, "server_id"),
            server_uuid=shown.get("server_uuid", "") or None,
            hostname=shown.get("hostname", "") or None,
            report_host=shown.get("report_host", "") or None,
            connection_id=parsing.integer(state, "connection_id"),
            read_only=read_only or bool(super_read_only),
            super_read_only=super_read_only,
            binlog=parsing.binlog_position(told.rows.get("binlog", ())),
            binlog_sizes=parsing.binlog_sizes(told.rows.get("binlog_sizes", ())),
            log_bin=parsing.is_on(variables["log_bin"]) if "log_bin" in variables else None,
            gtid_mode=_gtid_mode(dialect, variables, channels),
            gtid_executed=parsing.gtid_set(parsing.text(state, "gtid_executed")),
            replication=channels,
            slaves=parsing.slaves_seen(told.rows.get("slaves", ())),
            uptime=_number(status, "uptime"),
            clock=parsing.number(state, "clock"),
            writes=_sum(status, _WRITE_COUNTERS),
            threads_connected=_number(status, "threads_connected"),
            max_connections=_number(variables, "max_connections"),
            datadir=variables.get("datadir") or None,
            pid_file=variables.get("pid_file") or None,
            semi_sync=parsing.semi_sync(variables, status),
            variables=shown,
        )

    def _pandora_facts(self) -> PandoraFacts | None:
        rows = self._told.rows
        if not any(fact in rows for fact in ("pandora", "pandora_servers", "pandora_databases")):
            return None
        config = parsing.tokens(rows.get("pandora", ()))
        releases = config.get("MR", ())
        epochs = [parsing.epoch_record(value) for value in config.get(EPOCH_TOKEN, ())]
        databases = [
            (html.unescape(parsing.text(row, "host")), row) for row in rows.get("pandora_databases", ())
        ]
        newest = [parsing.number(row, "keepalive_at") for row in rows.get("pandora_servers", ())]
        return PandoraFacts(
            schema_release=f"MR {clean(releases[0])}" if releases else None,
            newest_keepalive=max((at for at in newest if at), default=None),
            epoch=max((one for one in epochs if one), key=lambda one: one.epoch, default=None),
            disabled_hosts=tuple(
                host for host, row in databases if (parsing.integer(row, "disabled") or 0) != 0
            ),
            labels={
                host: clean(html.unescape(parsing.text(row, "label")))
                for host, row in databases
                if parsing.text(row, "label")
            },
            resync_requests=tuple(host for host, row in databases if parsing.integer(row, "action") == 8),
            servers=parsing.pandora_servers(rows.get("pandora_servers", ())),
        )


def _show(what: str, names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"SHOW GLOBAL {what} WHERE Variable_name IN ({listed})"


def _state_query(dialect: Dialect) -> str:
    """What changes from probe to probe and can be had without any privilege.

    The clock comes from UTC_TIMESTAMP: UNIX_TIMESTAMP(NOW()) is an hour wrong while clocks are set back.
    """
    variables = (
        "NULL AS super_read_only, @@GLOBAL.gtid_current_pos AS gtid_executed"
        if dialect.mariadb
        else "@@GLOBAL.super_read_only AS super_read_only, @@GLOBAL.gtid_executed AS gtid_executed"
    )
    return (
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000 AS clock,"
        " @@GLOBAL.server_id AS server_id, @@GLOBAL.read_only AS read_only, CONNECTION_ID() AS connection_id,"
        f" {variables}"
    )


def _gtid_mode(
    dialect: Dialect, variables: Mapping[str, str], channels: tuple[Replication, ...] | None
) -> bool | None:
    """MySQL has a mode; MariaDB always writes GTIDs, there it depends on how the slave follows."""
    if not dialect.mariadb:
        return variables["gtid_mode"].upper().startswith("ON") if "gtid_mode" in variables else None
    return any(channel.gtid for channel in channels) if channels else None


def _number(values: Mapping[str, str], name: str) -> int | None:
    return parsing.integer(values, name)


def _sum(values: Mapping[str, str], names: Sequence[str]) -> int | None:
    found = [_number(values, name) for name in names if name in values]
    return sum(value for value in found if value is not None) if found else None

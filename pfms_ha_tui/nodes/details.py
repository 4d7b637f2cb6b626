"""Everything a person wants to read about one node, as the server itself says it. Slow; asked on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes import parsing
from pfms_ha_tui.nodes.connection import Row, SqlSession
from pfms_ha_tui.nodes.dialect import ClientSession, client_session
from pfms_ha_tui.nodes.failures import SqlError, clean

_SQL_SHOWN = 300
_SESSIONS_SHOWN = 200
_VARIABLE_PATTERN = (
    "^(server_|report_|port$|version|hostname$|datadir$|socket$|pid_file$|log_bin|binlog_|sync_|gtid_"
    "|read_only$|super_read_only$|innodb_(buffer_pool_size|flush|log|redo|lock_wait|file_per|doublewrite)"
    "|max_(connections|binlog|connect_errors|allowed_packet|statement)|slave_|replica_|relay_|replicate_"
    "|log_(slave|replica)_updates|skip_|rpl_|source_|master_|expire_logs|lock_wait_timeout$|wait_timeout$"
    "|require_secure|have_ssl$|ssl_ca$|time_zone$|system_time_zone$|sql_mode$|character_set_server$)"
)
_STATUS_NAMES = (
    "Uptime",
    "Threads_connected",
    "Threads_running",
    "Max_used_connections",
    "Aborted_clients",
    "Aborted_connects",
    "Connections",
    "Questions",
    "Slow_queries",
    "Bytes_received",
    "Bytes_sent",
    "Com_select",
    "Com_insert",
    "Com_update",
    "Com_delete",
    "Com_replace",
    "Com_commit",
    "Com_rollback",
    "Innodb_buffer_pool_reads",
    "Innodb_buffer_pool_read_requests",
    "Innodb_row_lock_current_waits",
    "Innodb_row_lock_time_avg",
    "Innodb_os_log_pending_fsyncs",
    "Innodb_data_pending_fsyncs",
    "Binlog_cache_disk_use",
    "Open_files",
    "Opened_tables",
    "Ssl_cipher",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetails:
    """What the node screen shows. Texts are cleaned and masked; what may not be read is in ``missing``."""

    replication: tuple[Mapping[str, str], ...] | None = None
    """SHOW REPLICA STATUS, one mapping per channel, in the server's own spelling and order."""
    binlog: Mapping[str, str] = field(default_factory=dict)
    """SHOW BINARY LOG STATUS."""
    binlog_sizes: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    sessions: tuple[ClientSession, ...] = ()
    """The process list without our own session, busy ones first, at most 200; SQL cut short and masked."""
    sessions_total: int | None = None
    grants: tuple[str, ...] = ()
    """SHOW GRANTS of this program's account, masked."""
    missing: Mapping[str, str] = field(default_factory=dict)


def fetch_details(node: NodeSettings, cluster: ClusterSettings) -> NodeDetails:
    """Ask a node for everything, on a connection of its own. Blocks; call it on a thread.

    Raises:
        SqlError: the node cannot be asked at all.
    """
    with SqlSession.open(node, cluster) as session:
        return _Asking(session).details()


class _Asking:
    def __init__(self, session: SqlSession):
        self._session = session
        self._missing: dict[str, str] = {}

    def details(self) -> NodeDetails:
        dialect = self._session.dialect
        replication = self._rows("replication", dialect.show_replica_status)
        binlog = self._rows("binlog", dialect.show_binlog_status)
        sizes = self._rows("binlog_sizes", dialect.show_binary_logs)
        variables = self._rows("variables", _named("VARIABLES", f"REGEXP '{_VARIABLE_PATTERN}'"))
        listed = ", ".join(f"'{name}'" for name in (*_STATUS_NAMES, *dialect.semi_sync_names))
        status = self._rows("status", _named("STATUS", f"IN ({listed})"))
        sessions = self._sessions()
        grants = self._rows("grants", "SHOW GRANTS")
        return NodeDetails(
            replication=None if replication is None else tuple(map(_texts, replication)),
            binlog=_texts(binlog[0]) if binlog else {},
            binlog_sizes=parsing.binlog_sizes(sizes or ()),
            variables=_pairs(variables),
            status=_pairs(status),
            sessions=tuple(sessions[:_SESSIONS_SHOWN]) if sessions is not None else (),
            sessions_total=len(sessions) if sessions is not None else None,
            grants=tuple(clean(value) for row in grants or () for value in row.values()),
            missing=self._missing,
        )

    def _sessions(self) -> list[ClientSession] | None:
        rows = self._rows("sessions", self._session.dialect.show_processlist)
        if rows is None:
            return None
        own = self._session.connection_id
        sessions = [_shown(client_session(row)) for row in rows]
        return sorted(
            (session for session in sessions if session.id != own),
            key=lambda session: (session.command in ("Sleep", "Daemon"), -session.seconds),
        )

    def _rows(self, fact: str, sql: str) -> list[Row] | None:
        try:
            return self._session.query(sql)
        except SqlError as error:
            if error.ends_session:
                raise
            self._missing[fact] = error.reason
            return None


def _named(what: str, condition: str) -> str:
    return f"SHOW GLOBAL {what} WHERE Variable_name {condition}"


def _pairs(rows: list[Row] | None) -> dict[str, str]:
    return {
        clean(parsing.text(row, "Variable_name")): clean(parsing.text(row, "Value")) for row in rows or ()
    }


def _texts(row: Row) -> dict[str, str]:
    return {clean(name): clean(parsing.text(row, name), 4000) for name in row}


def _shown(session: ClientSession) -> ClientSession:
    return ClientSession(
        id=session.id,
        user=clean(session.user),
        host=clean(session.host),
        database=clean(session.database) if session.database is not None else None,
        command=clean(session.command),
        seconds=session.seconds,
        state=clean(session.state),
        info=clean(session.info, _SQL_SHOWN),
    )

"""Everything a person wants to read about one node, as the server itself says it. Slow; asked on demand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes import parsing
from pfms_ha_tui.nodes.connection import Row, SqlSession
from pfms_ha_tui.nodes.failures import SqlError, clean

_SQL_SHOWN = 300
_TEXT_SHOWN = 4000
_SESSIONS_SHOWN = 200
_VARIABLES = (
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
    """What the node screen shows. Texts are cleaned and masked; ``None`` is the server's NULL."""

    node: str
    at: float
    """Wall time of the look, seconds."""
    replica_status: tuple[Mapping[str, str | None], ...] = ()
    """One mapping per channel, in the server's own spelling and order."""
    binlog: Mapping[str, str | None] = field(default_factory=dict)
    """SHOW BINARY LOG STATUS."""
    binlog_sizes: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    processlist: tuple[Mapping[str, str | None], ...] = ()
    """Without our own session, busy ones first, at most 200; SQL cut short."""
    sessions: int | None = None
    """How many sessions there are."""
    grants: tuple[str, ...] = ()
    """SHOW GRANTS of this program's account."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """part → why it could not be read."""


def fetch_details(node: NodeSettings, cluster: ClusterSettings) -> NodeDetails:
    """Ask a node for everything, on a connection of its own. Blocks; call it on a thread.

    Raises:
        SqlError: the node cannot be asked at all.
    """
    at = time.time()
    with SqlSession.open(node, cluster) as session:
        return _Asking(session).details(at)


class _Asking:
    def __init__(self, session: SqlSession):
        self._session = session
        self._missing: dict[str, str] = {}

    def details(self, at: float) -> NodeDetails:
        dialect = self._session.dialect
        binlog = self._rows("binlog", dialect.show_binlog_status)
        listed = ", ".join(f"'{name}'" for name in (*_STATUS_NAMES, *dialect.semi_sync_names))
        matching = f"SHOW GLOBAL VARIABLES WHERE Variable_name REGEXP '{_VARIABLES}'"
        processlist = self._rows("processlist", dialect.show_processlist)
        return NodeDetails(
            node=self._session.node.label,
            at=at,
            replica_status=tuple(map(_texts, self._rows("replica_status", dialect.show_replica_status))),
            binlog=_texts(binlog[0]) if binlog else {},
            binlog_sizes=parsing.binlog_sizes(self._rows("binlog_sizes", dialect.show_binary_logs)),
            variables=self._pairs("variables", matching),
            status=self._pairs("status", f"SHOW GLOBAL STATUS WHERE Variable_name IN ({listed})"),
            processlist=self._sessions(processlist)[:_SESSIONS_SHOWN],
            sessions=len(processlist) if "processlist" not in self._missing else None,
            grants=tuple(
                clean(value) for row in self._rows("grants", "SHOW GRANTS") for value in row.values()
            ),
            missing=self._missing,
        )

    def _sessions(self, rows: list[Row]) -> tuple[Mapping[str, str | None], ...]:
        own = self._session.connection_id
        others = [row for row in rows if parsing.integer(row, "Id") != own]
        others.sort(
            key=lambda row: (
                parsing.text(row, "Command") in ("Sleep", "Daemon"),
                -(parsing.number(row, "Time") or 0),
            )
        )
        return tuple(_texts(row, _SQL_SHOWN) for row in others)

    def _pairs(self, part: str, sql: str) -> dict[str, str]:
        rows = self._rows(part, sql)
        return {clean(parsing.text(row, "Variable_name")): clean(parsing.text(row, "Value")) for row in rows}

    def _rows(self, part: str, sql: str) -> list[Row]:
        try:
            return self._session.query(sql)
        except SqlError as error:
            if error.ends_session:
                raise
            self._missing[part] = error.reason
            return []


def _texts(row: Row, longest: int = _TEXT_SHOWN) -> dict[str, str | None]:
    return {
        clean(name): None if value is None else clean(parsing.text(row, name), longest)
        for name, value in row.items()
    }

"""From the rows of a server, old spelling or new, to what an observation holds."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    IoState,
    PandoraServer,
    Replication,
    SlaveSeen,
)
from pfms_ha_tui.nodes.failures import clean

Row = Mapping[str, object]

_OFF = frozenset({"", "0", "OFF", "NO", "FALSE", "NONE", "DISABLED"})


def text(row: Row, name: str) -> str:
    """A column as text; empty for NULL and for a column that is not there."""
    value = row.get(name)
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def integer(row: Row, name: str) -> int | None:
    """A column as a whole number; ``None`` for NULL, nothing, and no number."""
    value = row.get(name)
    if isinstance(value, int):
        return int(value)
    try:
        return int(text(row, name))
    except ValueError:
        return None


def number(row: Row, name: str) -> float | None:
    """A column as a number; ``None`` for NULL, nothing, and no number."""
    try:
        return float(text(row, name))
    except ValueError:
        return None


def is_on(value: object) -> bool:
    """Whether a server variable is switched on, in any of its spellings.

    Anything that is not a known "off" counts as on: MariaDB 12's ``read_only`` also knows ``NO_LOCK`` and
    ``NO_LOCK_NO_ADMIN``, which are stricter than ``ON``.
    """
    return value is not None and str(value).upper() not in _OFF


def position(row: Row, file: str, offset: str) -> BinlogPosition | None:
    """A binary log position; ``None`` when there is no file name yet."""
    name, pos = text(row, file), integer(row, offset)
    return BinlogPosition(name, pos) if name and pos is not None else None


def binlog_position(rows: Sequence[Row]) -> BinlogPosition | None:
    """Own coordinates out of SHOW BINARY LOG STATUS; ``None`` when the binary log is off."""
    return position(rows[0], "File", "Position") if rows else None


def binlog_sizes(rows: Iterable[Row]) -> dict[str, int]:
    """SHOW BINARY LOGS: file → bytes."""
    sizes = ((text(row, "Log_name"), integer(row, "File_size")) for row in rows)
    return {name: size for name, size in sizes if name and size is not None}


def gtid_set(value: str) -> str | None:
    """A GTID set without the line breaks that MySQL puts into it; ``None`` for an empty one."""
    return "".join(value.split()) or None


def replication_channels(rows: Iterable[Row]) -> tuple[Replication, ...]:
    """SHOW REPLICA STATUS, SHOW SLAVE STATUS or SHOW ALL SLAVES STATUS; ``()`` = nobody's slave.

    A channel without a host is one that was reset but not forgotten: it follows nobody.
    """
    channels = (replication(row) for row in rows)
    return tuple(channel for channel in channels if channel.source_host)


def replication(row: Row) -> Replication:
    """One channel."""
    old = {_old_word(name): value for name, value in row.items()}
    using_gtid = text(old, "Using_Gtid")
    mariadb = "Using_Gtid" in old
    return Replication(
        source_host=text(old, "Master_Host"),
        source_port=integer(old, "Master_Port") or 0,
        io=_io_state(text(old, "Slave_IO_Running")),
        sql=text(old, "Slave_SQL_Running") == "Yes",
        source_server_id=integer(old, "Master_Server_Id") or None,
        source_uuid=text(old, "Master_UUID") or None,
        seconds_behind=integer(old, "Seconds_Behind_Master"),
        read=position(old, "Master_Log_File", "Read_Master_Log_Pos"),
        executed=position(old, "Relay_Master_Log_File", "Exec_Master_Log_Pos"),
        relay_log_space=integer(old, "Relay_Log_Space"),
        io_state=clean(text(old, "Slave_IO_State")),
        sql_state=clean(text(old, "Slave_SQL_Running_State")),
        io_errno=integer(old, "Last_IO_Errno") or 0,
        io_error=clean(text(old, "Last_IO_Error")),
        sql_errno=integer(old, "Last_SQL_Errno") or 0,
        sql_error=clean(text(old, "Last_SQL_Error")),
        gtid=using_gtid not in ("", "No") if mariadb else integer(old, "Auto_Position") == 1,
        retrieved_gtid=gtid_set(text(old, "Gtid_IO_Pos" if mariadb else "Retrieved_Gtid_Set")),
        executed_gtid=gtid_set(text(old, "Gtid_Slave_Pos" if mariadb else "Executed_Gtid_Set")),
        channel=text(old, "Connection_name" if mariadb else "Channel_Name"),
        sql_delay=integer(old, "SQL_Delay") or 0,
        replicate_do_db=text(old, "Replicate_Do_DB"),
    )


def slaves_seen(rows: Iterable[Row]) -> tuple[SlaveSeen, ...]:
    """SHOW REPLICAS or SHOW SLAVE HOSTS."""
    return tuple(
        SlaveSeen(
            server_id=integer(row, "Server_Id") or integer(row, "Server_id") or 0,
            host=clean(text(row, "Host")),
            port=integer(row, "Port") or 0,
        )
        for row in rows
    )


def named_values(rows: Iterable[Row]) -> dict[str, str]:
    """SHOW VARIABLES or SHOW STATUS: name in lower case → value."""
    return {text(row, "Variable_name").lower(): text(row, "Value") for row in rows}


def semi_sync(variables: Mapping[str, str], status: Mapping[str, str]) -> str | None:
    """What semi-synchronous replication does here, in a few words; ``None`` when it is off."""

    def on(values: Mapping[str, str], *names: str) -> bool:
        return any(is_on(values.get(name)) for name in names)

    if on(status, "rpl_semi_sync_slave_status", "rpl_semi_sync_replica_status"):
        return "slave"
    if not on(variables, "rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled"):
        return None
    clients = status.get("rpl_semi_sync_master_clients") or status.get("rpl_semi_sync_source_clients") or "0"
    who = "1 slave" if clients == "1" else f"{clients} slaves"
    waits = on(status, "rpl_semi_sync_master_status", "rpl_semi_sync_source_status")
    return f"master, {who}" if waits else f"master, asynchronous for now, {who}"


def epoch_record(value: str) -> EpochRecord | None:
    """The promotion record of ``tconfig``; ``None`` when it is not one of ours."""
    try:
        record = json.loads(html.unescape(value))
        return EpochRecord(
            epoch=int(record["epoch"]),
            master=str(record["master"]),
            worker=str(record["worker"]),
            at=float(record["at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def tokens(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Rows of ``tconfig``: token → its values (``token`` is no unique key in Pandora's schema)."""
    values: dict[str, list[str]] = {}
    for row in rows:
        if value := text(row, "value"):
            values.setdefault(text(row, "token"), []).append(value)
    return values


def pandora_servers(rows: Iterable[Row]) -> tuple[PandoraServer, ...]:
    """Rows of ``tserver``, with the age computed by the database."""
    return tuple(
        PandoraServer(
            name=clean(html.unescape(text(row, "name"))),
            address=clean(html.unescape(text(row, "ip_address"))),
            server_type=integer(row, "server_type") or 0,
            status=integer(row, "status") or 0,
            master=integer(row, "master") or 0,
            version=clean(html.unescape(text(row, "version"))),
            keepalive_age=number(row, "keepalive_age"),
            interval=integer(row, "server_keepalive") or 0,
        )
        for row in rows
    )


def _old_word(name: str) -> str:
    """``Source_Host`` → ``Master_Host``, ``Replica_IO_State`` → ``Slave_IO_State``."""
    if name == "Slave_SQL_State":  # MariaDB's SHOW ALL SLAVES STATUS has it besides the longer one
        return name
    return name.replace("Source", "Master").replace("Replica_", "Slave_")


def _io_state(value: str) -> IoState:
    if value == "Yes":
        return IoState.YES
    return IoState.CONNECTING if value in ("Connecting", "Preparing") else IoState.NO

"""Setting up replication between sandbox nodes, in each server's own words."""

from __future__ import annotations

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox.node import SandboxNode
from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.sqlclient import Account, Rows

_TIMEOUT = 60.0


def follow(slave: SandboxNode, *, master: SandboxNode, account: Account, gtid: bool) -> None:
    """Make a node a read-only slave of ``master`` from the master's present position on, and start it.

    Raises:
        SandboxError: a server refused it.
    """
    if slave.flavor is Flavor.MARIADB:
        _follow_mariadb(slave, master=master, account=account, gtid=gtid)
    else:
        _follow_mysql(slave, master=master, account=account, gtid=gtid)


def _follow_mariadb(slave: SandboxNode, *, master: SandboxNode, account: Account, gtid: bool) -> None:
    parts = ["MASTER_HOST = %s", "MASTER_PORT = %s", "MASTER_USER = %s", "MASTER_PASSWORD = %s"]
    values: list[object] = [master.host, master.port, account.user, account.password]
    if gtid:
        parts.append("MASTER_USE_GTID = slave_pos")
    else:
        position = master.client.query(_status_statement(master))[0]
        parts += ["MASTER_LOG_FILE = %s", "MASTER_LOG_POS = %s", "MASTER_USE_GTID = no"]
        values += [position["File"], position["Position"]]
    slave.client.script(
        [
            ("SET GLOBAL read_only = 1", None),
            (f"CHANGE MASTER TO {', '.join(parts)}", values),
            ("START SLAVE", None),
        ]
    )


def _follow_mysql(slave: SandboxNode, *, master: SandboxNode, account: Account, gtid: bool) -> None:
    parts = ["SOURCE_HOST = %s", "SOURCE_PORT = %s", "SOURCE_USER = %s", "SOURCE_PASSWORD = %s"]
    values: list[object] = [master.host, master.port, account.user, account.password]
    if gtid:
        parts.append("SOURCE_AUTO_POSITION = 1")
    else:
        position = master.client.query(_status_statement(master))[0]
        parts += ["SOURCE_LOG_FILE = %s", "SOURCE_LOG_POS = %s"]
        values += [position["File"], position["Position"]]
    parts.append("GET_SOURCE_PUBLIC_KEY = 1")
    slave.client.script(
        [
            ("SET GLOBAL super_read_only = 1", None),
            (f"CHANGE REPLICATION SOURCE TO {', '.join(parts)}", values),
            ("START REPLICA", None),
        ]
    )


def open_master(node: SandboxNode) -> None:
    """Make a node writable."""
    node.client.query("SET GLOBAL read_only = 0")


def wait_until_caught_up(slave: SandboxNode, master: SandboxNode, *, timeout: float) -> None:
    """Return when the slave has applied all that the master has in its binary log now.

    Raises:
        SandboxError: it has not within ``timeout`` seconds, or it does not replicate.
    """
    position = master.client.query(_status_statement(master))[0]
    function = "MASTER_POS_WAIT" if slave.flavor is Flavor.MARIADB else "SOURCE_POS_WAIT"
    rows = slave.client.query(
        f"SELECT {function}(%s, %s, %s) AS events",
        (position["File"], position["Position"], timeout),
        timeout=timeout + 10,
    )
    if rows[0]["events"] is None or rows[0]["events"] < 0:
        raise SandboxError(f"the slave did not catch up within {timeout:g} s", node=slave.label)


def _status_statement(master: SandboxNode) -> str:
    """How this server is asked for its position in its own binary log."""
    if master.flavor is Flavor.MYSQL and master.client.version() >= (8, 2):
        return "SHOW BINARY LOG STATUS"
    return "SHOW MASTER STATUS"


def wait_until_replicating(slave: SandboxNode) -> None:
    """Return when both threads of a slave run.

    Raises:
        SandboxError: they do not within a minute; the reason holds the last status row.
    """
    mariadb = slave.flavor is Flavor.MARIADB

    def running(rows: Rows) -> bool:
        names = (
            ("Slave_IO_Running", "Slave_SQL_Running")
            if mariadb
            else ("Replica_IO_Running", "Replica_SQL_Running")
        )
        return bool(rows) and all(rows[0][name] == "Yes" for name in names)

    slave.client.wait_for(
        "SHOW SLAVE STATUS" if mariadb else "SHOW REPLICA STATUS",
        running,
        timeout=_TIMEOUT,
        what="the slave does not replicate",
    )

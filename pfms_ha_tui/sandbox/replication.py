"""Setting up replication between sandbox nodes, in each server's own words."""

from __future__ import annotations

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
        position = master.client.query("SHOW MASTER STATUS")[0]
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
    modern = master.client.query("SELECT VERSION() AS version")[0]["version"] >= "8.2"
    parts = ["SOURCE_HOST = %s", "SOURCE_PORT = %s", "SOURCE_USER = %s", "SOURCE_PASSWORD = %s"]
    values: list[object] = [master.host, master.port, account.user, account.password]
    if gtid:
        parts.append("SOURCE_AUTO_POSITION = 1")
    else:
        status = "SHOW BINARY LOG STATUS" if modern else "SHOW MASTER STATUS"
        position = master.client.query(status)[0]
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

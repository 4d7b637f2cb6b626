"""A node's ``my.cnf``: the manual's set-up with small buffers, and the accounts of the first start."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.sandbox.options import MYSQL_PORT, Flavor, SandboxOptions
from pfms_ha_tui.sandbox.programs import ServerProgram, server_options
from pfms_ha_tui.sandbox.schema import DATABASE
from pfms_ha_tui.sandbox.sqlclient import Account
from pfms_ha_tui.sandbox.template import REDO_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The three accounts of the manual, with passwords of this sandbox's own."""

    admin: Account
    pandora: Account
    replication: Account

    @classmethod
    def random(cls) -> Accounts:
        """New passwords; they hold no character that needs quoting in SQL or in a config file."""

        def account(user: str) -> Account:
            return Account(user=user, password=secrets.token_urlsafe(18))

        return cls(admin=account("root"), pandora=account("pandora"), replication=account("slaveuser"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFiles:
    """Where a node's server keeps its things."""

    directory: Path

    @property
    def config(self) -> Path:
        """The options file."""
        return self.directory / "my.cnf"

    @property
    def datadir(self) -> Path:
        """The data."""
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.directory / "mysqld.sock"

    @property
    def pid_file(self) -> Path:
        """Written by the server itself."""
        return self.directory / "mysqld.pid"

    @property
    def log(self) -> Path:
        """The error log."""
        return self.directory / "error.log"

    @property
    def init_file(self) -> Path:
        """Accounts, present during the first start only."""
        return self.directory / "accounts.sql"


def settings(
    program: ServerProgram,
    options: SandboxOptions,
    *,
    label: str,
    host: str,
    server_id: int,
    files: NodeFiles,
) -> dict[str, str]:
    """The ``[mysqld]`` entries of a node, without those of the first start and of read-only."""
    mariadb = program.flavor is Flavor.MARIADB
    entries = {
        "datadir": str(files.datadir),
        "socket": str(files.socket),
        "pid-file": str(files.pid_file),
        "log-error": str(files.log),
        "tmpdir": str(files.directory / "tmp"),
        "bind-address": host,
        "port": str(MYSQL_PORT),
        "report-host": host,
        "report-port": str(MYSQL_PORT),
        "skip-name-resolve": "ON",
        "server-id": str(server_id),
        "log-bin": "binlog",
        "relay-log": "relay-bin",
        "binlog-do-db": DATABASE,
        "replicate-do-db": DATABASE,
        "binlog-format": "ROW",
        "max-binlog-size": "100M",
        "sync-binlog": "1",
        "sync-relay-log": "0",
        "sql-mode": "",
        "max-connections": "200",
        "thread-cache-size": "8",
        "table-open-cache": "400",
        "table-definition-cache": "400",
        "innodb-file-per-table": "1",
        "innodb-flush-method": "O_DIRECT",
        "innodb-flush-log-at-trx-commit": "2",
        # The manual's 1800 makes MariaDB's RESET MASTER hang, and SHOW MASTER STATUS with it.
        "innodb-flush-log-at-timeout": "1",
        "innodb-lock-wait-timeout": "90",
        "innodb-buffer-pool-size": "64M",
        "innodb-log-buffer-size": "4M",
        "key-buffer-size": "4M",
        **program.settings,
    }
    if mariadb:
        entries |= {
            "innodb-log-file-size": REDO_SIZE,
            "expire-logs-days": "2",
            "slave-compressed-protocol": "1",
        }
    else:
        modern = program.version >= (8, 0, 30)
        replica = "replica" if modern else "slave"
        entries |= {
            "innodb-redo-log-capacity" if modern else "innodb-log-file-size": REDO_SIZE,
            "binlog-expire-logs-seconds": "172800",
            f"{replica}-compressed-protocol": "1",
            f"{replica}-parallel-workers": "1",
            "gtid-mode": "ON" if options.gtid else "OFF",
            "enforce-gtid-consistency": "ON" if options.gtid else "OFF",
        }
        entries["mysqlx"] = "OFF"
    if options.gtid:
        entries["log-slave-updates"] = "ON"
        if mariadb:
            entries |= {"gtid-strict-mode": "ON", "gtid-domain-id": "0"}
    if options.semi_sync:
        entries |= _semi_sync(program.flavor)
    entries |= {name.replace("_", "-"): value for name, value in options.variables.items()}
    own = options.node_variables.get(label, {})
    return entries | {name.replace("_", "-"): value for name, value in own.items()}


def _semi_sync(flavor: Flavor) -> Mapping[str, str]:
    """Both roles on every node; a node without slaves, a slave for one, does not wait for anybody."""
    if flavor is Flavor.MARIADB:
        return {
            "rpl-semi-sync-master-enabled": "ON",
            "rpl-semi-sync-slave-enabled": "ON",
            "rpl-semi-sync-master-wait-no-slave": "OFF",
        }
    return {
        "plugin-load-add": "semisync_source.so;semisync_replica.so",
        "loose-rpl-semi-sync-source-enabled": "ON",
        "loose-rpl-semi-sync-replica-enabled": "ON",
        "loose-rpl-semi-sync-source-wait-no-replica": "OFF",
    }


def write_config(
    files: NodeFiles, entries: Mapping[str, str], *, flavor: Flavor, first_start: bool, read_only: bool
) -> None:
    """Write ``my.cnf``: the first start has the accounts' init file, all later ones read-only."""
    entries = dict(entries)
    if first_start:
        entries["init-file"] = str(files.init_file)
    elif read_only:
        entries["read-only"] = "ON"
        if flavor is Flavor.MYSQL:
            entries["super-read-only"] = "ON"
    lines = ["[mysqld]", *(f"{name} = {value}" for name, value in entries.items())]
    lines += [option.removeprefix("--").replace("=", " = ", 1) for option in server_options()]
    lines += ["", "[client]", f"socket = {files.socket}", ""]
    files.config.write_text("\n".join(lines), encoding="utf-8")


def write_accounts(files: NodeFiles, accounts: Accounts) -> None:
    """Write the init file that creates the manual's accounts, outside the binary log."""
    admin, pandora, replication = accounts.admin, accounts.pandora, accounts.replication
    statements = [
        "SET SESSION sql_log_bin = 0;",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{admin.password}';",
        f"CREATE USER '{admin.user}'@'%' IDENTIFIED BY '{admin.password}';",
        f"GRANT ALL PRIVILEGES ON *.* TO '{admin.user}'@'%' WITH GRANT OPTION;",
        f"CREATE USER '{pandora.user}'@'%' IDENTIFIED BY '{pandora.password}';",
        f"GRANT ALL PRIVILEGES ON {DATABASE}.* TO '{pandora.user}'@'%';",
        f"CREATE USER '{replication.user}'@'%' IDENTIFIED BY '{replication.password}';",
        f"GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO '{replication.user}'@'%';",
    ]
    files.init_file.touch(mode=0o600)
    files.init_file.write_text("\n".join([*statements, ""]), encoding="utf-8")

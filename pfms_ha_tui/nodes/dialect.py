"""Every statement of high availability, in the spelling of the server at hand.

Sources: MySQL reference manual (SHOW REPLICA STATUS and friends since 8.0.22, CHANGE REPLICATION SOURCE TO
since 8.0.23, SHOW BINARY LOG STATUS and RESET BINARY LOGS AND GTIDS since 8.2.0, old words gone in 8.4);
MariaDB documentation (old words everywhere, MASTER_DEMOTE_TO_SLAVE since 10.10).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import Flavor, Replication
from pfms_ha_tui.masking import MASK, Secret

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_REPLICATION_HACK = re.compile(r"^5\.5\.5-(?=\d+\.\d+)")
"""MariaDB up to 10.x puts this before its version so that MySQL slaves accept it as a master."""

_IDLE_APPLIER = "has read all relay log"
_IDLE_MYSQL = (_IDLE_APPLIER, "Waiting for an event from Coordinator")
_IDLE_PARALLEL_MARIADB = "Waiting for work from SQL thread"
_WAIT_TIMEOUT = 28800
"""Seconds an idle session of ours is kept, also where the site's own wait_timeout is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: ``sql`` with ``%s`` for each of ``params``, and how it is shown to people."""

    sql: str
    params: tuple[object, ...] = ()
    preview: str = ""
    """As it will run, passwords masked."""

    def __repr__(self) -> str:
        return f"Statement({self.preview or self.sql})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSession:
    """One line of SHOW PROCESSLIST."""

    id: int
    user: str
    host: str
    database: str | None
    command: str
    seconds: int
    state: str
    info: str


_NEVER_KILLED_COMMANDS = frozenset(
    {
        "Binlog Dump",
        "Binlog Dump GTID",
        "Daemon",
        "Slave_IO",
        "Slave_SQL",
        "Slave_worker",
        "Killed",
        "Group Replication",
    }
)
_NEVER_KILLED_USERS = frozenset({"system user", "event_scheduler", "mysql.session", "mysql.sys"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The words of one server. Choose with :meth:`of`."""

    flavor: Flavor
    version: tuple[int, int, int]
    text: str = ""
    """The version as Pandora shows it: ``8.0.30-22``, ``10.11.19-MariaDB``."""
    comment: str = field(default="", compare=False)

    @classmethod
    def of(cls, version: str, comment: str = "") -> Self:
        """The dialect for ``@@version`` (or the greeting's version) and ``@@version_comment``.

        A text without a number counts as the newest MySQL: its words are the only ones that are still
        being made.
        """
        plain = _REPLICATION_HACK.sub("", version)
        mariadb = "mariadb" in version.lower() or "mariadb" in comment.lower()
        match = _VERSION.search(plain)
        numbers = (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (9, 0, 0)
        return cls(
            flavor=Flavor.MARIADB if mariadb else Flavor.MYSQL,
            version=numbers,
            text=_short(plain, mariadb),
            comment=comment,
        )

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB."""
        return self.flavor is Flavor.MARIADB

    @property
    def _replica(self) -> str:
        """REPLICA where the server has no other, or a newer, word."""
        return "REPLICA" if not self.mariadb and self.version >= (8, 0, 22) else "SLAVE"

    @property
    def _new_binlog_words(self) -> bool:
        return not self.mariadb and self.version >= (8, 2, 0)

    @property
    def has_super_read_only(self) -> bool:
        """Whether administrators can be kept from writing too."""
        return not self.mariadb

    @property
    def can_persist(self) -> bool:
        """Whether a variable can be made to survive a restart by SQL."""
        return not self.mariadb and self.version >= (8, 0, 0)

    @property
    def can_clone(self) -> bool:
        """Whether the CLONE plugin exists."""
        return not self.mariadb and self.version >= (8, 0, 17)

    # Looking.

    @property
    def show_replica_status(self) -> str:
        """One row per channel."""
        return "SHOW ALL SLAVES STATUS" if self.mariadb else f"SHOW {self._replica} STATUS"

    @property
    def show_binlog_status(self) -> str:
        """One row with the server's own coordinates; none when its binary log is off."""
        return "SHOW BINARY LOG STATUS" if self._new_binlog_words else "SHOW MASTER STATUS"

    @property
    def show_binary_logs(self) -> str:
        """The binary log files and their sizes."""
        return "SHOW BINARY LOGS"

    @property
    def show_replicas(self) -> str:
        """The slaves that this server knows."""
        return "SHOW REPLICAS" if self._replica == "REPLICA" else "SHOW SLAVE HOSTS"

    @property
    def show_processlist(self) -> str:
        """Every session, whole statements."""
        return "SHOW FULL PROCESSLIST"

    # Replication threads.

    @property
    def stop_replica(self) -> str:
        """Both threads."""
        return f"STOP {self._replica}"

    @property
    def stop_io(self) -> str:
        """The receiver alone. On a MariaDB GTID slave that deletes relay logs that are not applied yet."""
        return f"STOP {self._replica} IO_THREAD"

    @property
    def stop_sql(self) -> str:
        """The applier alone."""
        return f"STOP {self._replica} SQL_THREAD"

    @property
    def start_replica(self) -> str:
        """Both threads."""
        return f"START {self._replica}"

    @property
    def start_io(self) -> str:
        """The receiver alone."""
        return f"START {self._replica} IO_THREAD"

    @property
    def start_sql(self) -> str:
        """The applier alone."""
        return f"START {self._replica} SQL_THREAD"

    @property
    def reset_replica_all(self) -> str:
        """Forget the master; save the coordinates first."""
        return f"RESET {self._replica} ALL"

    @property
    def reset_binlogs(self) -> str:
        """Delete every binary log and the GTID history. For a freshly cloned node only."""
        return "RESET BINARY LOGS AND GTIDS" if self._new_binlog_words else "RESET MASTER"

    def promote(self) -> tuple[str, ...]:
        """From a drained slave to a server that follows nobody; still read-only after it."""
        return (self.stop_replica, self.reset_replica_all)

    def change_source(
        self,
        host: str,
        port: int,
        user: str,
        password: Secret,
        *,
        position: BinlogPosition | None = None,
        gtid: bool = False,
        tls: bool = False,
        mariadb_gtid: str = "slave_pos",
        connect_retry: int = 5,
        heartbeat: float | None = None,
    ) -> Statement:
        """Follow another server, from a position or by GTID.

        Args:
            position: In the master's coordinates; not together with ``gtid``.
            gtid: MySQL's auto position, or MariaDB's ``MASTER_USE_GTID``.
            tls: Whether the slave must use TLS to the master.
            mariadb_gtid: ``slave_pos`` or ``current_pos``.
            connect_retry: Seconds between the slave's own attempts to come back (server default 60).
            heartbeat: Seconds of silence after which the master sends a sign of life; ``None`` leaves
                the server's default (half of ``slave_net_timeout``).

        Raises:
            ValueError: neither or both of ``position`` and ``gtid``, or an unknown ``mariadb_gtid``.
        """
        if gtid == (position is not None):
            raise ValueError("a slave follows either from a position or by GTID")
        if mariadb_gtid not in ("slave_pos", "current_pos"):
            raise ValueError(f"unknown kind of GTID following: {mariadb_gtid}")
        new = not self.mariadb and self.version >= (8, 0, 23)
        word = "SOURCE" if new else "MASTER"
        options: list[tuple[str, object]] = [
            (f"{word}_HOST", host),
            (f"{word}_PORT", port),
            (f"{word}_USER", user),
            (f"{word}_PASSWORD", password),
            (f"{word}_CONNECT_RETRY", connect_retry),
        ]
        if heartbeat is not None:
            options.append((f"{word}_HEARTBEAT_PERIOD", round(heartbeat, 3)))
        if tls:
            options.append((f"{word}_SSL", 1))
        if position is not None:
            options += [(f"{word}_LOG_FILE", position.file), (f"{word}_LOG_POS", position.pos)]
        raw: list[str] = []
        if self.mariadb:
            raw.append(f"MASTER_USE_GTID = {mariadb_gtid if gtid else 'no'}")
        else:
            options.append((f"{word}_AUTO_POSITION", int(gtid)))
            if self.version >= (8, 0, 4):
                # Without TLS, caching_sha2_password gives no login without the master's public key.
                options.append((f"GET_{word}_PUBLIC_KEY", 1))
        lead = "CHANGE REPLICATION SOURCE TO" if new else "CHANGE MASTER TO"
        return Statement(
            sql=f"{lead} " + ", ".join([*(f"{name} = %s" for name, _ in options), *raw]),
            params=tuple(value.reveal() if isinstance(value, Secret) else value for _, value in options),
            preview=f"{lead} " + ", ".join([*(f"{name} = {_shown(value)}" for name, value in options), *raw]),
        )

    def applier_idle(self, replication: Replication, sessions: Iterable[ClientSession]) -> bool:
        """Whether nothing is being applied at this moment.

        MySQL's coordinator says "has read all relay log" while a worker still applies, so the workers'
        own states (system sessions of the process list) count too. Not a proof of drain by itself: the
        received and the executed coordinates must stand still, or be equal, as well.
        """
        if _IDLE_APPLIER not in replication.sql_state:
            return False
        applying = [session for session in sessions if session.user == "system user"]
        if self.mariadb:
            workers = [session for session in applying if session.command == "Slave_worker"]
            return all(_IDLE_PARALLEL_MARIADB in session.state for session in workers)
        return all(
            any(word in session.state for word in _IDLE_MYSQL)
            for session in applying
            if session.command not in ("Connect", "Daemon")
        )

    # Read-only, locks, sessions.

    def set_read_only(self, on: bool) -> tuple[str, ...]:
        """Close or open the server for writers; on MySQL for administrators too."""
        if not self.has_super_read_only:
            return (f"SET GLOBAL read_only = {int(on)}",)
        if on:
            return ("SET GLOBAL super_read_only = 1",)
        return ("SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0")

    def persist_read_only(self, on: bool) -> tuple[str, ...]:
        """The same for the next start of the server; empty where only my.cnf can do it."""
        if not self.can_persist:
            return ()
        if on:
            return ("SET PERSIST super_read_only = ON",)
        return ("SET PERSIST super_read_only = OFF", "SET PERSIST read_only = OFF")

    def session_limits(self, seconds: float) -> str:
        """Limit every later statement of the session (MySQL can only limit SELECT), and its lock waits."""
        locks = max(1, math.ceil(seconds))
        limit = (
            f"max_statement_time = {seconds:.3f}"
            if self.mariadb
            else f"max_execution_time = {max(1, round(seconds * 1000))}"
        )
        return f"SET SESSION {limit}, lock_wait_timeout = {locks}, wait_timeout = {_WAIT_TIMEOUT}"

    def kill(self, session_id: int) -> str:
        """End a session."""
        return f"KILL {session_id:d}"

    def sessions_to_kill(
        self,
        rows: Iterable[Mapping[str, object]],
        *,
        keep: Collection[int] = (),
        keep_users: Collection[str] = (),
    ) -> list[ClientSession]:
        """The client sessions of SHOW PROCESSLIST: not replication, not the server's own, not ``keep``."""
        return [
            session
            for session in map(client_session, rows)
            if session.id not in keep
            and session.user not in _NEVER_KILLED_USERS
            and session.user not in keep_users
            and session.command not in _NEVER_KILLED_COMMANDS
        ]

    # Semi-synchronous replication.

    @property
    def semi_sync_names(self) -> tuple[str, ...]:
        """Status variables that tell of semi-synchronous replication, old and new spelling."""
        return (
            "Rpl_semi_sync_master_status",
            "Rpl_semi_sync_master_clients",
            "Rpl_semi_sync_slave_status",
            "Rpl_semi_sync_source_status",
            "Rpl_semi_sync_source_clients",
            "Rpl_semi_sync_replica_status",
        )


def client_session(row: Mapping[str, object]) -> ClientSession:
    """A row of SHOW FULL PROCESSLIST."""
    return ClientSession(
        id=int(str(row["Id"])),
        user=str(row.get("User") or ""),
        host=str(row.get("Host") or ""),
        database=str(row["db"]) if row.get("db") is not None else None,
        command=str(row.get("Command") or ""),
        seconds=int(float(str(row.get("Time") or 0))),
        state=str(row.get("State") or ""),
        info=str(row.get("Info") or ""),
    )


def quote_name(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def _short(version: str, mariadb: bool) -> str:
    """``10.11.19-MariaDB`` out of ``10.11.19-MariaDB-0+deb12u1-log``; ``8.0.30-22`` stays as it is."""
    if not mariadb:
        return version.removesuffix("-log")
    head, found, _ = version.partition("-MariaDB")
    return head + found if found else version.split("-")[0] + "-MariaDB"


def _shown(value: object) -> str:
    if isinstance(value, Secret):
        return f"'{MASK}'"
    return f"'{value}'" if isinstance(value, str) else str(value)

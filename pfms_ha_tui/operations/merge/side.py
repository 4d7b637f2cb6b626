"""One of the two servers of a merge: its session, its tables, and who it is."""
# ruff: noqa: S608 (what is put together here are places for parameters)

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, Timeouts
from pfms_ha_tui.nodes.rowstream import RowSession
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.tables import TableSchema

READ_TIMEOUT = 900.0
"""Seconds for one slice; a slice takes a fraction of a second where the time column has an index."""
WRITE_TIMEOUT = 120.0
_LOCK_WAIT = 20
"""Seconds to wait for a killed predecessor's session to be rolled back by its server."""
_UTC_AND_PATIENT = "time_zone = '+00:00', net_write_timeout = 600, net_read_timeout = 600"
_SMALLEST_PACKET = 65_536
_PARSING_MODES = frozenset({"NO_BACKSLASH_ESCAPES", "EMPTY_STRING_IS_NULL", "PAD_CHAR_TO_FULL_LENGTH"})
"""Modes that change how a statement or a value reads, not what a table accepts."""
_DISPLAY_WIDTH = re.compile(r"^((?:tiny|small|medium|big)?int|year)\(\d+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who a server is, for archives and checkpoints."""

    label: str
    host: str
    port: int
    identity: str
    """MySQL's uuid, MariaDB's server id with its address."""
    version: str


class Side:
    """A server with a session whose default database is Pandora's (``binlog-do-db`` goes by it).

    Everything is read in UTC. Closing is the caller's: use it as a context.
    """

    def __init__(self, session: RowSession, database: str) -> None:
        self.session = session
        self.database = database
        self._schema: dict[str, TableSchema] = {}
        self._whole = False

    @classmethod
    def reader(cls, node: NodeSettings, cluster: ClusterSettings) -> Self:
        """A session for reading.

        Raises:
            SqlError: the login failed.
        """
        session = _open(node, cluster)
        # Nothing is written here, so the server's sql_mode has nothing to decide.
        session.execute(f"SET SESSION {_UTC_AND_PATIENT}, sql_mode = ''")
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return cls(session, cluster.database)

    @classmethod
    def writer(cls, node: NodeSettings, cluster: ClusterSettings) -> Self:
        """A session for adding rows: foreign keys and sql_mode as the server has them.

        Raises:
            SqlError: the login failed.
        """
        session = _open(node, cluster)
        row = session.query("SELECT @@GLOBAL.sql_mode AS mode")[0]
        modes = [mode for mode in str(row["mode"] or "").split(",") if mode and mode not in _PARSING_MODES]
        session.execute(f"SET SESSION {_UTC_AND_PATIENT}, sql_mode = %s", (",".join(modes),))
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return cls(session, cluster.database)

    @property
    def label(self) -> str:
        """The node's label."""
        return self.session.node.label

    def server(self) -> Server:
        """Who it is.

        Raises:
            SqlError: it cannot be asked.
        """
        if self.session.dialect.mariadb:
            row = self.session.query("SELECT @@server_id AS id, @@hostname AS host, @@port AS port")[0]
            identity = f"{row['id']}@{row['host']}:{row['port']}"
        else:
            identity = str(self.session.query("SELECT @@server_uuid AS uuid")[0]["uuid"])
        return Server(
            label=self.label,
            host=self.session.node.host,
            port=self.session.node.port,
            identity=identity,
            version=self.session.dialect.text,
        )

    def longest_statement(self) -> int:
        """Bytes that the server takes in one statement.

        Raises:
            SqlError: it cannot be asked.
        """
        row = self.session.query("SELECT @@max_allowed_packet AS bytes")[0]
        return max(_SMALLEST_PACKET, int(str(row["bytes"]))) - 1024

    def hold(self) -> None:
        """Be the only merge that writes here, for the life of the session.

        The lock also proves that the session of a killed predecessor is gone, and with it whatever it had
        not committed; without that proof its last batch could still come true and double its rows.

        Raises:
            MergeError: another merge holds it.
            SqlError: the server cannot be asked.
        """
        name = f"pfms_ha_merge {self.database}"[:64]
        row = self.session.query(
            f"SELECT GET_LOCK(%s, {_LOCK_WAIT}) AS got", (name,), timeout=_LOCK_WAIT + 10.0
        )[0]
        if str(row["got"]) != "1":
            raise MergeError(
                "another merge into this node is running",
                node=self.label,
                code="locked",
                hint="wait until it has ended",
            )

    def schema(self) -> dict[str, TableSchema]:
        """Every base table of the database, read once.

        Raises:
            SqlError: it cannot be asked.
        """
        if not self._whole:
            self._schema = _read_schema(self.session, self.database, None)
            self._whole = True
        return self._schema

    def schema_of(self, tables: Iterable[str]) -> dict[str, TableSchema]:
        """Those of ``tables`` that exist; cheaper than all of a Pandora database.

        Raises:
            SqlError: it cannot be asked.
        """
        wanted = set(tables)
        unread = sorted(wanted - self._schema.keys())
        if unread and not self._whole:
            self._schema.update(_read_schema(self.session, self.database, unread))
        return {name: table for name, table in self._schema.items() if name in wanted}

    def close(self) -> None:
        """End the session; never fails."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(node: NodeSettings, cluster: ClusterSettings) -> RowSession:
    own = cluster.timeouts
    patient = Timeouts(connect=own.connect, read=max(own.read, 10.0), statement=max(own.statement, 60.0))
    return RowSession.open(node, cluster, database=cluster.database, timeouts=patient)


def _read_schema(session: RowSession, database: str, tables: Sequence[str] | None) -> dict[str, TableSchema]:
    places = ", ".join(["%s"] * len(tables or ()))
    these = "" if tables is None else f" AND TABLE_NAME IN ({places})"
    params = (database, *(tables or ()))
    sizes = {
        str(row["name"]): None if row["estimate"] is None else int(str(row["estimate"]))
        for row in session.query(
            "SELECT TABLE_NAME AS name, TABLE_ROWS AS estimate FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'{these}",
            params,
        )
    }
    columns: dict[str, list[Column]] = {name: [] for name in sizes}
    generated: dict[str, list[str]] = {}
    for row in session.query(
        "SELECT TABLE_NAME AS tab, COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS full,"
        " IS_NULLABLE AS nullable, CHARACTER_SET_NAME AS charset, CHARACTER_MAXIMUM_LENGTH AS length,"
        " COLUMN_DEFAULT AS preset, EXTRA AS extra FROM information_schema.COLUMNS"
        f" WHERE TABLE_SCHEMA = %s{these} ORDER BY TABLE_NAME, ORDINAL_POSITION",
        params,
    ):
        table, name, extra = str(row["tab"]), str(row["name"]), str(row["extra"] or "").upper()
        if table not in columns:
            continue
        if "VIRTUAL" in extra or "STORED" in extra or "PERSISTENT" in extra:
            generated.setdefault(table, []).append(name)
            continue
        nullable = row["nullable"] == "YES"
        columns[table].append(
            Column(
                name=name,
                type=_text(row["type"]).lower(),
                full_type=_plain_type(_text(row["full"])),
                nullable=nullable,
                charset=None if row["charset"] is None else _text(row["charset"]),
                length=None if row["length"] is None else int(str(row["length"])),
                has_default=nullable or row["preset"] is not None or "AUTO_INCREMENT" in extra,
                auto_increment="AUTO_INCREMENT" in extra,
            )
        )
    primary: dict[str, list[str]] = {}
    leading: dict[str, dict[str, str]] = {}
    for row in session.query(
        "SELECT TABLE_NAME AS tab, INDEX_NAME AS name, COLUMN_NAME AS col, SEQ_IN_INDEX AS place"
        f" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s{these}"
        " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        params,
    ):
        table, index = str(row["tab"]), str(row["name"])
        if index == "PRIMARY":
            primary.setdefault(table, []).append(str(row["col"]))
        if row["place"] == 1:
            leading.setdefault(table, {}).setdefault(str(row["col"]), index)
    return {
        table: TableSchema(
            name=table,
            columns=tuple(columns[table]),
            generated=tuple(generated.get(table, ())),
            primary=tuple(primary.get(table, ())),
            leading=leading.get(table, {}),
            rows=sizes[table],
        )
        for table in sizes
    }


def _text(value: object) -> str:
    """MySQL's information_schema gives some columns as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain_type(full: str) -> str:
    """``int(10) unsigned`` as newer servers write it; the members of ENUM and SET keep their case."""
    if full.lower().startswith(("enum", "set")):
        return full
    return _DISPLAY_WIDTH.sub(r"\1", full.lower())

"""A session with one server: every time-out set, every error classified, no secret in any text."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CLIENT, COMMAND
from pymysql.cursors import DictCursor

from pfms_ha_tui.config.settings import Account, ClusterSettings, NodeSettings, Timeouts, Tls, TlsMode
from pfms_ha_tui.nodes import wire
from pfms_ha_tui.nodes.dialect import Dialect, Statement
from pfms_ha_tui.nodes.failures import NoGreetingError, SqlError, classify

if TYPE_CHECKING:
    _Connection = Connection[DictCursor]
else:
    _Connection = Connection  # generic only in its stubs

Row = dict[str, object]
"""A row by column name. A value is text, a number, a decimal, a date-time, bytes, or ``None``."""

_GRACE = 1.0
"""Seconds that the client waits longer than the server's own limit, so that the server says no first."""


class _Wire(_Connection):
    """PyMySQL's connection with the socket made by us and the TLS context shared."""

    _sock: socket.socket | None
    _closed: bool
    _read_timeout: float | None
    _write_timeout: float | None
    _result: MySQLResult | None
    _force_close: Callable[[], None]
    _execute_command: Callable[[int, str], None]
    _read_query_result: Callable[[], int]
    server_version: str
    server_thread_id: tuple[int]

    def __init__(self, tls: Tls, **options: Any) -> None:
        self._tls = tls
        if tls.mode is TlsMode.OFF:
            options["ssl_disabled"] = True
        elif tls.mode is not TlsMode.PREFERRED:
            options["ssl"] = wire.tls_context(tls)
        super().__init__(defer_connect=True, **options)

    def _create_ssl_ctx(self, given: object) -> ssl.SSLContext:
        """PyMySQL's own way loads the CA store for each connection; "preferred" has no other hook."""
        return given if isinstance(given, ssl.SSLContext) else wire.tls_context(self._tls)

    @property
    def socket(self) -> socket.socket | None:
        """The socket, plain or TLS; ``None`` when closed."""
        return self._sock

    def send(self, sql: str) -> None:
        """Send a request without waiting for its answer."""
        self._execute_command(COMMAND.COM_QUERY, sql)

    def receive(self) -> tuple[list[Row], bool]:
        """One result of what was sent, and whether another one follows."""
        self._read_query_result()
        result = self._result
        if result is None or result.description is None or result.rows is None:
            return [], bool(result and result.has_next)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.rows], bool(result.has_next)

    def limit(self, read: float, write: float) -> None:
        """Time-outs of each single read and write from now on, seconds."""
        self._read_timeout = read
        self._write_timeout = write


class SqlSession:
    """One login on one node, for one thread at a time (:meth:`kill_switch` is for the others).

    Autocommit is on, the character set is utf8mb4. Each statement has a time-out, on the server (MySQL's
    ``max_execution_time`` for SELECT, MariaDB's ``max_statement_time``, both flavours'
    ``lock_wait_timeout``) and, a little later, on the socket. All errors are :class:`SqlError`.
    """

    def __init__(
        self,
        node: NodeSettings,
        cluster: ClusterSettings,
        *,
        database: str | None = None,
        account: Account | None = None,
        timeouts: Timeouts | None = None,
        several: bool = False,
    ):
        """A session that is not logged in yet; most callers want :meth:`open`.

        Args:
            several: Whether one request may carry several statements. Only the prober, which sends
                fixed texts, has a use for that.
        """
        self.node = node
        self.timeouts = timeouts or cluster.timeouts
        self._limit = self.timeouts.statement
        self._dialed: socket.socket | None = None
        account = account or cluster.admin
        try:
            self._wire = _Wire(
                cluster.tls,
                host=node.host,
                port=node.port,
                user=account.user,
                # As bytes: PyMySQL encodes text as Latin-1 and fails on anything beyond it.
                password=account.password.reveal().encode(),
                database=database,
                charset="utf8mb4",
                autocommit=True,
                cursorclass=DictCursor,
                client_flag=CLIENT.MULTI_STATEMENTS if several else 0,
                read_timeout=self.timeouts.read,
                write_timeout=self.timeouts.read,
                program_name="pfms-ha-tui",
            )
        except Exception as error:
            raise self._error(error) from None
        self.dialect = Dialect.of("")

    @classmethod
    def open(
        cls,
        node: NodeSettings,
        cluster: ClusterSettings,
        *,
        database: str | None = None,
        account: Account | None = None,
        timeouts: Timeouts | None = None,
        several: bool = False,
    ) -> Self:
        """Connect and log in.

        Args:
            database: Default database; needed for every write that is to be replicated under a
                ``replicate-do-db`` filter.
            account: Instead of the cluster's administrator.
            timeouts: Instead of the cluster's.

        Raises:
            SqlError: with a :attr:`~SqlError.failure` as DESIGN section 3 classifies it.
        """
        session = cls(node, cluster, database=database, account=account, timeouts=timeouts, several=several)
        limits = session.timeouts
        try:
            sock = wire.dial(node.host, node.port, limits.connect)
        except OSError as error:
            raise session._error(error) from None
        if not wire.wait(limits.read, read=[sock.fileno()]):
            sock.close()
            raise session._error(NoGreetingError(node.host)) from None
        session.login(sock)
        return session

    def login(self, sock: socket.socket) -> None:
        """Log in on a connected socket whose greeting has arrived; the session owns the socket from now on.

        Raises:
            SqlError: the login failed; the socket is closed.
        """
        self._dialed = sock
        try:
            self._wire.connect(sock)
            self.dialect = Dialect.of(self._wire.server_version)
            self._set_limits(self._limit)
        except Exception as error:
            failure = self._error(error)
            self.abandon()
            raise failure from None
        self._dialed = None

    @property
    def connection_id(self) -> int:
        """The server's number for this session."""
        return self._wire.server_thread_id[0]

    @property
    def server_version(self) -> str:
        """As the greeting said it."""
        return self._wire.server_version

    @property
    def closed(self) -> bool:
        """Whether there is no connection (any more)."""
        return self._wire.socket is None

    @property
    def wire(self) -> _Wire:
        """The driver's connection, for a reader of its own."""
        return self._wire

    def fileno(self) -> int:
        """For poll: readable between statements means that the server ends the session.

        Raises:
            ValueError: the session is closed.
        """
        sock = self._wire.socket
        if sock is None:
            raise ValueError("the session is closed")
        return sock.fileno()

    def query(self, sql: str, params: Sequence[object] = (), timeout: float | None = None) -> list[Row]:
        """Rows of one statement.

        Args:
            sql: With ``%s`` for each of ``params``; without params a ``%`` stands for itself.
            timeout: Seconds for the whole statement; ``None`` = ``timeouts.statement``.

        Raises:
            SqlError: the server said no, or the connection is lost.
        """
        with self._statement(timeout) as cursor:
            cursor.execute(sql, tuple(params) or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, params: Sequence[object] = (), timeout: float | None = None) -> int:
        """Number of rows that one statement changed; arguments and errors as :meth:`query`."""
        with self._statement(timeout) as cursor:
            return int(cursor.execute(sql, tuple(params) or None))

    def run(self, statement: Statement, timeout: float | None = None) -> int:
        """:meth:`execute` for a statement of the dialect."""
        return self.execute(statement.sql, statement.params, timeout)

    def send(self, sql: str) -> None:
        """Send a request (of several statements, if the session was opened for that) and return at once.

        Raises:
            SqlError: the connection is lost.
        """
        try:
            self._wire.limit(self.timeouts.read, self.timeouts.read)
            self._wire.send(sql)
        except Exception as error:
            raise self.fail(error) from None

    def receive(self) -> tuple[list[Row], bool]:
        """The next result of :meth:`send`, and whether another one follows.

        Raises:
            SqlError: the server said no to this statement and runs none of those after it, or the
                connection is lost.
        """
        try:
            return self._wire.receive()
        except Exception as error:
            raise self.fail(error) from None

    def executemany(self, sql: str, rows: Sequence[Sequence[object]], timeout: float | None = None) -> int:
        """One statement for many parameter rows, joined into multi-row INSERTs; returns rows changed."""
        with self._statement(timeout) as cursor:
            return cursor.executemany(sql, [tuple(row) for row in rows]) or 0

    def begin(self) -> None:
        """Start a transaction; end it with :meth:`commit` or :meth:`rollback`."""
        self.execute("START TRANSACTION")

    def commit(self, timeout: float | None = None) -> None:
        """Commit."""
        self.execute("COMMIT", (), timeout)

    def rollback(self) -> None:
        """Roll back."""
        self.execute("ROLLBACK")

    def kill_switch(self) -> Callable[[], None]:
        """A function that makes a running or coming call fail at once; any thread may call it."""

        def shut() -> None:
            sock = self._wire.socket or self._dialed
            if sock is not None:
                # Not SSLSocket.shutdown: that pulls the TLS object from under the thread that reads.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

        return shut

    def close(self) -> None:
        """Say goodbye and close; never fails, never waits for the server."""
        sock = self._wire.socket
        if sock is None:
            self.abandon()
            return
        # A goodbye that does not fit into the kernel's buffer is not worth waiting for.
        self._wire.limit(0.1, 0.1)
        with contextlib.suppress(Exception):
            self._wire.close()
        self.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fail(self, error: BaseException) -> SqlError:
        """The classified error; the session is closed unless the server itself said no and goes on."""
        failure = self._error(error)
        if failure.ends_session:
            self.abandon()
        return failure

    @contextlib.contextmanager
    def _statement(self, timeout: float | None) -> Iterator[DictCursor]:
        limit = self.timeouts.statement if timeout is None else timeout
        try:
            if limit != self._limit:
                self._set_limits(limit)
            with self._wire.cursor() as cursor:
                yield cursor
        except Exception as error:
            raise self.fail(error) from None

    def _set_limits(self, limit: float) -> None:
        """Tell both ends how long a statement may take."""
        settings = self.dialect.session_limits(limit)
        self._wire.limit(self.timeouts.read + _GRACE, self.timeouts.read + _GRACE)
        try:
            with self._wire.cursor() as cursor:
                cursor.execute(settings)
        except Exception as error:
            # A server (or a proxy) without such a variable is still worth talking to.
            failure = self._error(error)
            if failure.ends_session:
                raise failure from None
        self._wire.limit(limit + _GRACE, limit + _GRACE)
        self._limit = limit

    def _error(self, error: BaseException) -> SqlError:
        if isinstance(error, SqlError):
            return error
        acks = not hasattr(self, "_wire") or self.host_acknowledges()
        where = f"{self.node.host}:{self.node.port}"
        return SqlError(classify(error, where=where, host_acks=acks), node=self.node.label)

    def host_acknowledges(self) -> bool:
        """Whether the host's kernel has acknowledged all we sent (true where that cannot be told)."""
        sock = self._wire.socket
        return sock is None or wire.host_acknowledges(sock)

    def abandon(self) -> None:
        """Close without a goodbye."""
        with contextlib.suppress(Exception):
            self._wire._force_close()
        if self._dialed is not None:
            with contextlib.suppress(OSError):
                self._dialed.close()
            self._dialed = None

"""The operation's hands: sessions on threads of their own, and the lock that keeps two workers apart."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import Replication
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, Timeouts
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.dialect import ClientSession, Dialect, Statement, client_session
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import binlog_position, integer, is_on, replication, replication_channels, text

T = TypeVar("T")
Row = dict[str, object]

_LOCK_WAIT = 2
"""Seconds: the lock of a worker that was just killed is given up by its server within moments."""
_LOCK_IDLE = 30
"""Seconds after which the server itself ends a lock session that its worker no longer pings: a worker whose
host died must not keep the others from acting, and one that is cut off cannot act on that node anyway."""
_LOCK_PING = 5.0
_LONGEST_LOCK_NAME = 64


class Link:
    """One session with one node. Every call runs on the link's own thread and has a time-out.

    A cancelled call shuts the connection, so that the thread does not outlive the interest in it.
    """

    def __init__(self, node: NodeSettings, cluster: ClusterSettings) -> None:
        self.node = node
        self.cluster = cluster
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"link {node.label}")
        self._session: SqlSession | None = None

    @classmethod
    async def open(
        cls, node: NodeSettings, cluster: ClusterSettings, *, timeouts: Timeouts | None = None
    ) -> Self:
        """Log in as administrator, with Pandora's database as default (filters drop writes without it).

        Raises:
            SqlError: the login failed.
        """
        link = cls(node, cluster)
        opening = asyncio.get_running_loop().run_in_executor(
            link._thread,
            lambda: SqlSession.open(node, cluster, database=cluster.database, timeouts=timeouts),
        )
        try:
            link._session = await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(_close_late)
            link._thread.shutdown(wait=False)
            raise
        return link

    @property
    def label(self) -> str:
        """The node's label."""
        return self.node.label

    @property
    def closed(self) -> bool:
        """Whether the session is of no more use."""
        return self._session is None or self._session.closed

    @property
    def dialect(self) -> Dialect:
        """The server's words."""
        return self._open_session().dialect

    @property
    def connection_id(self) -> int:
        """The server's number for this session."""
        return self._open_session().connection_id

    async def call(self, job: Callable[[SqlSession], T]) -> T:
        """Run ``job`` with the session on the link's thread.

        Raises:
            SqlError: as the job's statements do.
        """
        session = self._open_session()
        running = asyncio.get_running_loop().run_in_executor(self._thread, job, session)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            session.kill_switch()()
            running.add_done_callback(_look_away)
            raise

    async def query(
        self, sql: str | Statement, params: Sequence[object] = (), timeout: float | None = None
    ) -> list[Row]:
        """The rows of one statement."""
        statement, values = (sql.sql, sql.params) if isinstance(sql, Statement) else (sql, params)
        return await self.call(lambda session: session.query(statement, values, timeout))

    async def execute(
        self, sql: str | Statement, params: Sequence[object] = (), timeout: float | None = None
    ) -> int:
        """The number of rows one statement changed."""
        statement, values = (sql.sql, sql.params) if isinstance(sql, Statement) else (sql, params)
        return await self.call(lambda session: session.execute(statement, values, timeout))

    async def execute_all(self, statements: Iterable[str], timeout: float | None = None) -> None:
        """Several statements one after the other, without coming back to the event loop between them."""

        def job(session: SqlSession) -> None:
            for statement in statements:
                session.execute(statement, (), timeout)

        await self.call(job)

    async def close(self) -> None:
        """Say goodbye; never raises, never waits for a server that hangs."""
        session, self._session = self._session, None
        if session is not None:
            closing = asyncio.get_running_loop().run_in_executor(self._thread, session.close)
            with contextlib.suppress(Exception):
                await asyncio.shield(closing)
        self._thread.shutdown(wait=False)

    # What operations ask again and again

    async def replication_row(self) -> Row | None:
        """The raw row of SHOW REPLICA STATUS; ``None`` when it follows nobody.

        Raises:
            OperationError: it has several channels, which this program observes but does not handle.
        """
        rows = await self.query(self.dialect.show_replica_status)
        channels = [row for row in rows if replication_channels([row])]
        if len(channels) > 1:
            raise OperationError("it follows several masters at once", node=self.label)
        return channels[0] if channels else None

    async def replication(self) -> Replication | None:
        """SHOW REPLICA STATUS; ``None`` when it follows nobody."""
        row = await self.replication_row()
        return replication(row) if row is not None else None

    async def coordinates(self) -> BinlogPosition:
        """Its own coordinates.

        Raises:
            OperationError: its binary log is off.
        """
        own = binlog_position(await self.query(self.dialect.show_binlog_status))
        if own is None:
            raise OperationError("its binary log is off", node=self.label, hint="set log-bin and restart it")
        return own

    async def is_read_only(self) -> bool:
        """Whether ordinary accounts cannot write."""
        rows = await self.query("SELECT @@GLOBAL.read_only AS read_only")
        return is_on(rows[0]["read_only"])

    async def variable(self, name: str) -> str | None:
        """A global variable, ``None`` where the server has none of that name."""
        rows = await self.query("SHOW GLOBAL VARIABLES WHERE Variable_name = %s", (name,))
        return text(rows[0], "Value") if rows else None

    async def identity(self) -> str:
        """What tells this server from every other: MySQL's uuid, MariaDB's server id with its address."""
        if self.dialect.mariadb:
            row = (await self.query("SELECT @@server_id AS id, @@hostname AS host, @@port AS port"))[0]
            return f"{text(row, 'id')}@{text(row, 'host')}:{text(row, 'port')}"
        return text((await self.query("SELECT @@server_uuid AS uuid"))[0], "uuid")

    async def gtid_executed(self) -> str:
        """Its GTID set: ``gtid_executed``, or MariaDB's ``gtid_current_pos``; empty for none."""
        name = "gtid_current_pos" if self.dialect.mariadb else "gtid_executed"
        rows = await self.query(f"SELECT @@GLOBAL.{name} AS gtids")
        return "".join(text(rows[0], "gtids").split())

    async def sessions(self) -> list[ClientSession]:
        """SHOW FULL PROCESSLIST."""
        return [client_session(row) for row in await self.query(self.dialect.show_processlist)]

    async def kill_clients(self, keep: Iterable[int]) -> int:
        """End every client session but ``keep`` and this one; how many.

        Replication, the server's own threads and sessions that are ending already are left alone.
        """
        kept = {*keep, self.connection_id}
        dialect = self.dialect

        def job(session: SqlSession) -> int:
            rows = session.query(dialect.show_processlist)
            victims = dialect.sessions_to_kill(rows, keep=kept)
            killed = 0
            for victim in victims:
                try:
                    session.execute(dialect.kill(victim.id))
                    killed += 1
                except SqlError as error:
                    if error.errno != _NO_SUCH_THREAD:
                        raise
            return killed

        return await self.call(job)

    def _open_session(self) -> SqlSession:
        if self._session is None:
            raise OperationError("the session was closed", node=self.label)
        return self._session


_NO_SUCH_THREAD = 1094


class ClusterLock:
    """``GET_LOCK`` on nodes, each on a connection of its own, held until :meth:`release`."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self._cluster = cluster
        self._name = lock_name(cluster.name)
        self._links: dict[str, Link] = {}
        self._pinging: asyncio.Task[None] | None = None

    async def take(self, nodes: Iterable[NodeSettings]) -> None:
        """Take it on all of ``nodes``, or on none of them; those taken before are kept.

        Raises:
            OperationError: another worker holds it (code ``locked``).
            SqlError: a node cannot be asked.
        """
        before = set(self._links)
        try:
            # one after the other, in the same order everywhere: two workers never hold half each
            for node in sorted(nodes, key=lambda one: (one.order, one.label)):
                await self._take(node)
        except BaseException:
            await self._give_back(set(self._links) - before)
            raise
        if self._pinging is None:
            self._pinging = asyncio.create_task(self._ping())

    def connection_ids(self, label: str) -> tuple[int, ...]:
        """The lock's session on that node, not to be killed."""
        return (self._links[label].connection_id,) if label in self._links else ()

    async def check(self, label: str) -> None:
        """Make sure that it is still held on a node.

        Raises:
            OperationError: it was lost (the connection broke, or somebody killed it).
        """
        try:
            rows = await self._links[label].query(
                "SELECT IS_USED_LOCK(%s) = CONNECTION_ID() AS mine", (self._name,)
            )
        except (KeyError, SqlError) as error:
            raise OperationError("the operation's lock was lost", node=label, code="locked") from error
        if integer(rows[0], "mine") != 1:
            raise OperationError("the operation's lock was lost", node=label, code="locked")

    async def release(self) -> None:
        """Give it back; never raises."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
            self._pinging = None
        await self._give_back(set(self._links))

    async def _give_back(self, labels: set[str]) -> None:
        links = [self._links.pop(label) for label in labels]
        await asyncio.gather(*(link.close() for link in links))

    async def _take(self, node: NodeSettings) -> None:
        if node.label in self._links:
            return
        link = await Link.open(node, self._cluster)
        try:
            # two requests in one visit of the thread: this stands between a dead master and its successor
            rows = await link.call(self._ask)
            if integer(rows[0], "got") != 1:
                holder = await link.query("SELECT IS_USED_LOCK(%s) AS id", (self._name,))
                raise OperationError(
                    f"another worker is changing it (connection {holder[0]['id']})",
                    node=node.label,
                    code="locked",
                    hint="wait until that operation has ended",
                )
        except BaseException:
            await link.close()
            raise
        self._links[node.label] = link

    def _ask(self, session: SqlSession) -> list[Row]:
        rows = session.query(f"SELECT GET_LOCK(%s, {_LOCK_WAIT}) AS got", (self._name,))
        session.execute(f"SET SESSION wait_timeout = {_LOCK_IDLE}")
        return rows

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_LOCK_PING)
            links = list(self._links.values())
            await asyncio.gather(*(link.query("SELECT 1") for link in links), return_exceptions=True)


def lock_name(cluster: str) -> str:
    """The lock's name; servers take at most 64 characters and compare without case."""
    name = f"pfms_ha_{cluster}"
    if len(name) <= _LONGEST_LOCK_NAME:
        return name
    digest = hashlib.sha256(cluster.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST_LOCK_NAME - 17]}_{digest}"


def _look_away(done: asyncio.Future[T]) -> None:
    if not done.cancelled():
        done.exception()


def _close_late(opened: asyncio.Future[SqlSession]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().abandon()

"""The Unix socket: who connects, what they ask, and what every subscriber is told.

A client can neither stop nor slow the worker: requests of one connection are answered a few at a time,
a subscriber that does not read is owed the newest state only, and whatever it sends that is not
understood is answered with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.errors import PfmsError, WorkerError
from pfms_ha_tui.worker.connection import Connection, error_line
from pfms_ha_tui.worker.peer import Access, Peer, SocketOption, identify
from pfms_ha_tui.worker.protocol import (
    MAX_LINE,
    ClusterState,
    Fault,
    Notice,
    Response,
    Rights,
    Welcome,
    encode,
    encode_line,
)
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
PATH_LIMIT = 107
"""Bytes that fit into a Unix socket address (sun_path, less the ending NUL)."""

P = TypeVar("P")

Handler = Callable[[Peer, P], Awaitable[object]]
"""Answers one request with the result the protocol names, or raises a PfmsError."""


@dataclass(frozen=True, slots=True)
class _Method(Generic[P]):
    params: type[P]
    handler: Handler[P]
    rights: Rights

    async def call(self, name: str, peer: Peer, raw: msgspec.Raw) -> object:
        if self.rights is Rights.FULL and peer.rights is not Rights.FULL:
            raise WorkerError(
                f"{peer.actor} may only look: {name!r} needs full rights",
                code="denied",
                hint="use the worker's own account, root, or a member of admin_group",
            )
        try:
            params = msgspec.json.decode(raw, type=self.params)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise WorkerError(f"the parameters of {name!r} are wrong: {exc}", code="params") from exc
        return await self.handler(peer, params)


class _Callable(Protocol):
    async def call(self, name: str, peer: Peer, raw: msgspec.Raw) -> object: ...


class Methods:
    """The methods this worker knows. Anything that offers some adds them before the server starts."""

    def __init__(self) -> None:
        self._methods: dict[str, _Callable] = {}

    def add(self, name: str, params: type[P], handler: Handler[P], *, rights: Rights) -> None:
        """Offer a method; ``rights`` are the least the peer must have."""
        if name in self._methods:
            raise ValueError(f"method {name!r} is offered twice")
        self._methods[name] = _Method(params, handler, rights)

    async def call(self, peer: Peer, name: str, params: msgspec.Raw) -> object:
        """The result of one request.

        Raises:
            PfmsError: whatever is wrong with the request, or what the handler refuses.
        """
        method = self._methods.get(name)
        if method is None:
            raise WorkerError(
                f"the worker knows no method {name!r}", code="method", hint="is the worker older than this?"
            )
        return await method.call(name, peer, params)


class WorkerServer:
    """Listens, lets in, dispatches, publishes."""

    def __init__(
        self,
        path: Path,
        *,
        access: Access,
        welcome: Callable[[Peer], Welcome],
        methods: Methods,
        log_file: Path | None = None,
        identify: Callable[[SocketOption, Access], Peer | None] = identify,
    ):
        self.path = path
        self.methods = methods
        self._access = access
        self._welcome = welcome
        self._log_file = log_file
        self._identify = identify
        self._server: asyncio.Server | None = None
        self._inode: tuple[int, int] | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._states: dict[str, ClusterState] = {}
        self._encoded: dict[str, bytes] = {}

    @property
    def states(self) -> tuple[ClusterState, ...]:
        """The newest published state of each cluster."""
        return tuple(self._states.values())

    @property
    def subscribers(self) -> int:
        """How many connections are told the news."""
        return sum(connection.subscribed for connection in self._connections)

    async def start(self) -> None:
        """Take the socket path and listen.

        The caller holds the worker's lock, so a socket file nobody listens on is a leftover.

        Raises:
            WorkerError: the path is too long, not ours to use, or another worker answers there.
        """
        if len(os.fsencode(self.path)) > PATH_LIMIT:
            raise WorkerError(
                f"the socket path {self.path} is longer than {PATH_LIMIT} bytes",
                hint="set worker.socket to a shorter path",
            )
        await in_thread(lambda: _refuse_taken(self.path), name="socket")
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(self.path), limit=MAX_LINE)
            self.path.chmod(self._access.socket_mode)
            if self._access.socket_gid is not None:
                os.chown(self.path, -1, self._access.socket_gid)
            found = self.path.stat()
        except OSError as exc:
            raise WorkerError(
                f"cannot listen on the socket {self.path}: {exc.strerror or exc}",
                hint="worker.socket must lie in a directory the worker may write to",
            ) from exc
        self._inode = (found.st_dev, found.st_ino)

    async def close(self, *, timeout: float = 0.5) -> None:
        """Say goodbye to everybody and stop listening; a client that does not read is cut off."""
        if self._server is None:
            return
        self._server.close()
        goodbye = encode_line(Notice(notice="goodbye"))
        for connection in self._connections:
            connection.finish(goodbye)
        if tasks := list(self._connections.values()):
            await asyncio.wait(tasks, timeout=timeout)
            for connection in list(self._connections):
                connection.abort()
            await asyncio.wait(tasks, timeout=timeout)
        with contextlib.suppress(OSError):
            found = self.path.stat()
            if (found.st_dev, found.st_ino) == self._inode:
                self.path.unlink()
        self._server = None

    def publish(self, state: ClusterState) -> None:
        """The newest state of a cluster, to every subscriber."""
        self._states[state.name] = state
        self._encoded.pop(state.name, None)
        for connection in self._connections:
            connection.state_changed(state.name)

    def publish_events(self, events: Iterable[Event]) -> None:
        """New lines of the timeline, to every subscriber."""
        news = tuple(events)
        if news:
            for connection in self._connections:
                connection.events_happened(news)

    def state_line(self, cluster: str) -> bytes | None:
        """The newest state as a notice, encoded once for all subscribers."""
        state = self._states.get(cluster)
        if state is None:
            return None
        line = self._encoded.get(cluster)
        if line is None:
            line = encode_line(Notice(notice="state", data=msgspec.Raw(encode(state))))
            self._encoded[cluster] = line
        return line

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this as a task"  # noqa: S101
        connection = Connection(reader, writer, self)
        self._connections[connection] = task
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                await connection.refuse(
                    Fault(code="busy", reason=f"{MAX_CONNECTIONS} consoles are connected already")
                )
                return
            peer = await self._peer(writer)
            if peer is None:
                await connection.refuse(
                    Fault(
                        code="denied",
                        reason="this account has no rights at this worker",
                        hint="use the worker's own account, root, or a member of admin_group or read_group",
                    )
                )
                return
            await connection.serve(peer)
        except OSError as exc:
            log.debug("a console went away: %s", exc)
        except Exception:
            log.exception("a connection ended by a fault of the worker")
        finally:
            connection.abort()
            del self._connections[connection]

    async def _peer(self, writer: asyncio.StreamWriter) -> Peer | None:
        sock = writer.get_extra_info("socket")

        def option(name: int, size: int) -> bytes:
            raw: bytes = sock.getsockopt(socket.SOL_SOCKET, name, size)
            return raw

        return await in_thread(lambda: self._identify(option, self._access), name="peer")

    def welcome(self, peer: Peer) -> Welcome:
        """The answer to ``hello``."""
        return self._welcome(peer)

    async def answer(self, peer: Peer, number: int, method: str, params: msgspec.Raw) -> bytes:
        """The response to one request, as a line; never raises but for cancellation."""
        try:
            result = await self.methods.call(peer, method, params)
            return encode_line(Response(id=number, result=msgspec.Raw(encode(result))))
        except PfmsError as exc:
            fault = Fault(code=exc.code, reason=exc.reason, node=exc.node, hint=exc.hint)
        except Exception:
            log.exception("method %s failed", method)
            fault = Fault(
                code="internal",
                reason=f"the worker failed at {method!r}",
                hint=f"its log {self._log_file} says more" if self._log_file else None,
            )
        return error_line(number, fault)


def _refuse_taken(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as exc:
        raise WorkerError(f"cannot look at the socket {path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(mode):
        raise WorkerError(f"{path} exists and is not a socket", hint="set worker.socket to another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # asyncio replaces it
        except OSError:
            pass
    raise WorkerError(
        f"another worker listens on {path}", hint="each worker needs a worker.socket of its own", code="taken"
    )

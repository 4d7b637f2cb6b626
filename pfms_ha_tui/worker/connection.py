"""One console at the socket: its requests in, answers and news out, with a bound on everything kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import (
    EVENTS_KEPT,
    MAX_LINE,
    PROTOCOL_VERSION,
    ClusterState,
    Fault,
    Hello,
    Notice,
    Request,
    Response,
    Welcome,
    encode,
    encode_line,
)

HELLO_TIMEOUT = 10.0
"""Seconds a new connection has to say hello."""
IN_FLIGHT = 16
"""Requests of one connection that are answered at the same time; more wait in the socket."""
_WRITE_BUFFER = 64 * 1024


class Service(Protocol):
    """What a connection needs of the server behind it."""

    @property
    def states(self) -> tuple[ClusterState, ...]:
        """The newest state of each cluster."""

    def state_line(self, cluster: str) -> bytes | None:
        """The newest state of one cluster as a line."""

    def welcome(self, peer: Peer) -> Welcome:
        """The answer to hello."""

    async def answer(self, peer: Peer, number: int, method: str, params: msgspec.Raw) -> bytes:
        """The answer to any other request as a line."""


class Connection:
    """Reads requests and writes lines; owes a subscriber names of changed clusters, not copies of them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: Service):
        self._reader = reader
        self._writer = writer
        self._service = service
        self._answers: deque[tuple[bytes, bool]] = deque()
        """Lines, and whether each frees the slot of a request once it is written."""
        self._changed: dict[str, None] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.subscribed = False
        self._last: bytes | None = None
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._running: set[asyncio.Task[None]] = set()
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def state_changed(self, cluster: str) -> None:
        """A newer state of ``cluster`` exists."""
        if self.subscribed:
            self._changed[cluster] = None
            self._wake.set()

    def events_happened(self, events: Sequence[Event]) -> None:
        """The timeline has new lines."""
        if self.subscribed:
            self._events.extend(events)
            self._wake.set()

    def finish(self, last: bytes) -> None:
        """Send what is owed, then ``last``, then end."""
        self._last = last
        self._wake.set()

    def abort(self) -> None:
        """End at once; what was not sent is dropped."""
        for task in self._running:
            task.cancel()
        self._writer.transport.abort()

    async def refuse(self, fault: Fault) -> None:
        """Say why this connection is not served, and end it."""
        self._writer.write(error_line(0, fault))
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(1.0):
                await self._writer.drain()
                # A client that is still writing its hello when the socket closes never reads the reason.
                await self._reader.readline()
                self._writer.close()
                await self._writer.wait_closed()

    async def serve(self, peer: Peer) -> None:
        """Until either side ends it."""
        reading = asyncio.create_task(self._read(peer))
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not writing.done():
                self.finish(b"")
                await asyncio.wait({writing}, timeout=1.0)
        finally:
            for task in (reading, writing):
                task.cancel()
            outcome = await asyncio.gather(reading, writing, return_exceptions=True)
        for result in outcome:
            if isinstance(result, Exception) and not isinstance(result, OSError | TimeoutError):
                raise result

    async def _read(self, peer: Peer) -> None:
        async with asyncio.timeout(HELLO_TIMEOUT):
            if not await self._greet(peer):
                return
        while True:
            await self._slots.acquire()
            line = await self._line()
            if line is None:
                return
            task = asyncio.create_task(self._dispatch(peer, line))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _greet(self, peer: Peer) -> bool:
        line = await self._line()
        if line is None:
            return False
        try:
            request = _REQUEST.decode(line)
            if request.method != "hello":
                raise _MalformedError(request.id, "the first request must be 'hello'")
            hello = msgspec.json.decode(request.params, type=Hello)
        except _MalformedError as exc:
            self._send(error_line(exc.number, Fault(code="protocol", reason=exc.reason)))
            return False
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            fault = Fault(code="protocol", reason=f"the greeting is not understood: {exc}")
            self._send(error_line(_number_of(line), fault))
            return False
        if hello.protocol != PROTOCOL_VERSION:
            fault = Fault(
                code="version",
                reason=f"this worker speaks protocol {PROTOCOL_VERSION}, the client speaks {hello.protocol}",
                hint="restart whichever of the two is older",
            )
            self._send(error_line(request.id, fault))
            return False
        welcome = encode(self._service.welcome(peer))
        self._send(encode_line(Response(id=request.id, result=msgspec.Raw(welcome))))
        return True

    async def _dispatch(self, peer: Peer, line: bytes) -> None:
        try:
            request = _REQUEST.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            fault = Fault(code="protocol", reason=f"the request is not understood: {exc}")
            self._send(error_line(_number_of(line), fault), releases=True)
            return
        if request.method == "subscribe":
            self._send(encode_line(Response(id=request.id, result=msgspec.Raw(b"{}"))), releases=True)
            self.subscribed = True
            for state in self._service.states:
                self.state_changed(state.name)
            return
        answer = await self._service.answer(peer, request.id, request.method, request.params)
        self._send(answer, releases=True)

    async def _line(self) -> bytes | None:
        """The next line; ``None`` at the end, or after an oversized line was answered."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            fault = Fault(code="protocol", reason=f"a line is longer than {MAX_LINE} bytes")
            self._send(error_line(0, fault))
            return None
        return line

    def _send(self, line: bytes, *, releases: bool = False) -> None:
        self._answers.append((line, releases))
        self._wake.set()

    async def _write(self) -> None:
        while True:
            while (owed := self._next()) is not None:
                line, releases = owed
                self._writer.write(line)
                await self._writer.drain()
                if releases:
                    self._slots.release()
            if self._last is not None:
                self._writer.write(self._last)
                self._writer.close()
                await self._writer.wait_closed()
                return
            self._wake.clear()
            await self._wake.wait()

    def _next(self) -> tuple[bytes, bool] | None:
        """The next thing to write: answers first, then events, then the newest states."""
        if self._answers:
            return self._answers.popleft()
        if self._events:
            events = list(self._events)
            self._events.clear()
            return encode_line(Notice(notice="events", data=msgspec.Raw(encode(events)))), False
        while self._changed:
            cluster = next(iter(self._changed))
            del self._changed[cluster]
            line = self._service.state_line(cluster)
            if line is not None:
                return line, False
        return None


class _MalformedError(Exception):
    def __init__(self, number: int, reason: str):
        super().__init__(reason)
        self.number = number
        self.reason = reason


class _Numbered(msgspec.Struct, frozen=True):
    id: int = 0


def _number_of(line: bytes) -> int:
    """The id of a request that is wrong otherwise; 0 when it has none."""
    try:
        return _NUMBERED.decode(line).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0


def error_line(number: int, fault: Fault) -> bytes:
    """A response that is an error; ``number`` 0 when the request had no usable id."""
    return encode_line(Response(id=number, error=fault))


_REQUEST = msgspec.json.Decoder(Request)
_NUMBERED = msgspec.json.Decoder(_Numbered)

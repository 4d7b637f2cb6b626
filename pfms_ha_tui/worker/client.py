"""The worker as the console and the command line see it: connect, ask, be told, come back when lost.

Light on purpose (standard library, msgspec and the protocol only): the first paint of the console
waits for this import.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import msgspec

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.errors import START_HINT, WorkerError
from pfms_ha_tui.worker.protocol import (
    EVENTS_KEPT,
    MAX_LINE,
    PROTOCOL_VERSION,
    ClusterState,
    Fault,
    Hello,
    Nothing,
    Notice,
    Request,
    Response,
    Welcome,
    encode,
    encode_line,
)

R = TypeVar("R")


class _Incoming(msgspec.Struct, frozen=True):
    """Only what tells a response from a notice."""

    id: int | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """The newest state of one cluster; older ones that were not consumed in time are skipped."""

    state: ClusterState


@dataclass(frozen=True, slots=True)
class EventsUpdate:
    """New lines of the timeline, oldest first."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The worker stops on purpose; the connection ends next."""


Update = StateUpdate | EventsUpdate | Goodbye


@dataclass(frozen=True, slots=True)
class Connected:
    """The worker answers (again)."""

    client: WorkerClient


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker does not answer; the next attempt follows after ``retry_in`` seconds."""

    error: WorkerError
    retry_in: float


class WorkerClient:
    """One connection to a worker. Made by :meth:`connect`; usable by several tasks of one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer
        self._welcome: Welcome | None = None
        self._next_id = 1
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._states: dict[str, ClusterState] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._goodbye = False
        self._news = asyncio.Event()
        self._lost: WorkerError | None = None
        self._reading = asyncio.create_task(self._read())

    @property
    def welcome(self) -> Welcome:
        """What the worker said at the start: its version, who we are to it, and what we may do."""
        assert self._welcome is not None, "set by connect()"  # noqa: S101
        return self._welcome

    @property
    def lost(self) -> WorkerError | None:
        """Why the connection ended; ``None`` while it lives."""
        return self._lost

    @classmethod
    async def connect(cls, path: Path, *, client: str = "console", timeout: float = 5.0) -> WorkerClient:
        """Connect and say hello.

        Raises:
            WorkerError: with ``code`` ``no_worker`` (nobody listens), ``denied`` (no right to the
                socket), ``silent`` (no answer within ``timeout`` seconds), ``version`` or ``worker``.
        """
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_LINE)
        except (TimeoutError, OSError, ValueError) as exc:
            raise _no_connection(path, exc) from exc
        worker = cls(reader, writer)
        try:
            hello = Hello(protocol=PROTOCOL_VERSION, client=client)
            worker._welcome = await worker.call("hello", hello, Welcome, timeout=timeout)
        except BaseException:
            await worker.close()
            raise
        return worker

    @overload
    async def call(
        self, method: str, params: object = ..., result: type[Nothing] = ..., *, timeout: float = ...
    ) -> Nothing: ...

    @overload
    async def call(
        self, method: str, params: object = ..., *, result: type[R], timeout: float = ...
    ) -> R: ...

    @overload
    async def call(self, method: str, params: object, result: type[R], *, timeout: float = ...) -> R: ...

    async def call(
        self,
        method: str,
        params: object = Nothing(),
        result: type[object] = Nothing,
        *,
        timeout: float = 30.0,
    ) -> object:
        """Ask one thing; ``result`` is the type the protocol names for the method.

        Raises:
            WorkerError: the worker's own fault (its ``code``, ``node`` and ``hint`` as sent), or
                ``silent`` after ``timeout`` seconds, or ``lost`` when the connection ended.
        """
        if self._lost is not None:
            raise self._lost
        number, self._next_id = self._next_id, self._next_id + 1
        request = Request(id=number, method=method, params=msgspec.Raw(encode(params)))
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(encode_line(request))
                await self._writer.drain()
                response = await answer
        except TimeoutError as exc:
            raise WorkerError(
                f"the worker did not answer {method!r} within {timeout:g} s", code="silent"
            ) from exc
        except OSError as exc:
            raise _lost_worker() from exc
        finally:
            self._waiting.pop(number, None)
        if response.error is not None:
            raise _refusal(response.error)
        try:
            return msgspec.json.decode(response.result, type=result)
        except msgspec.MsgspecError as exc:
            raise WorkerError(f"the worker's answer to {method!r} is not understood: {exc}") from exc

    async def subscribe(self) -> AsyncGenerator[Update, None]:
        """Everything new, as it comes; the present state of each cluster comes first.

        One consumer at a time. A slow consumer finds the newest state only.

        Raises:
            WorkerError: ``lost`` when the connection ends without a goodbye.
        """
        await self.call("subscribe")
        while True:
            while self._events or self._states:
                if self._events:
                    events = tuple(self._events)
                    self._events.clear()
                    yield EventsUpdate(events)
                else:
                    yield StateUpdate(self._states.pop(next(iter(self._states))))
            if self._goodbye:
                yield Goodbye()
                return
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """End the connection; does nothing the second time."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._end(_lost_worker("the connection was closed"))
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    async def __aenter__(self) -> WorkerClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _read(self) -> None:
        error = _lost_worker()
        try:
            while line := await self._reader.readline():
                self._take(line)
        except OSError:
            pass
        except ValueError as exc:
            error = WorkerError(f"the worker sent something that is not understood: {exc}", code="protocol")
        self._end(error)

    def _take(self, line: bytes) -> None:
        incoming = _INCOMING.decode(line)
        if incoming.notice is None:
            response = _RESPONSE.decode(line)
            if response.id == 0 and response.error is not None:
                self._lost = _refusal(response.error)
            waiting = self._waiting.get(response.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(response)
            return
        data = _NOTICE.decode(line).data
        match incoming.notice:
            case "state":
                state = _STATE.decode(data)
                self._states[state.name] = state
            case "events":
                self._events.extend(_EVENTS.decode(data))
            case "goodbye":
                self._goodbye = True
            case _:
                return  # a newer worker may say more than this client knows
        self._news.set()

    def _end(self, error: WorkerError) -> None:
        if self._lost is None:
            self._lost = error
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._lost)
        self._news.set()


async def follow(
    path: Path,
    *,
    client: str = "console",
    first_delay: float = 0.2,
    longest_delay: float = 5.0,
) -> AsyncGenerator[Connected | Update | Lost, None]:
    """A connection that comes back: an endless stream for a console.

    Yields :class:`Connected` (also the client for calls), then every update, then :class:`Lost`, and
    starts again with growing pauses. A :class:`Goodbye` is followed by :class:`Lost` too. A refusal
    that waiting cannot cure (another protocol version) is yielded as Lost like the rest; it is the
    console's choice to stop.
    """
    delay = first_delay
    while True:
        worker: WorkerClient | None = None
        try:
            worker = await WorkerClient.connect(path, client=client)
            yield Connected(worker)
            async for update in worker.subscribe():
                delay = first_delay
                yield update
            error = WorkerError("the worker was stopped", code="stopped", hint=START_HINT)
        except WorkerError as exc:
            error = exc
        finally:
            if worker is not None:
                await worker.close()
        yield Lost(error, delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, longest_delay)


def _no_connection(path: Path, exc: Exception) -> WorkerError:
    match exc:
        case FileNotFoundError() | ConnectionRefusedError():
            return WorkerError(f"no worker is running at {path}", hint=START_HINT, code="no_worker")
        case PermissionError():
            return WorkerError(
                f"this account may not use the worker's socket {path}",
                hint="use the worker's own account, root, or a member of admin_group or read_group",
                code="denied",
            )
        case TimeoutError():
            return WorkerError(f"the worker at {path} does not take the connection", code="silent")
        case OSError(errno=errno.ENOTSOCK | errno.EPROTOTYPE):
            return WorkerError(f"{path} is not a worker's socket", code="no_worker", hint=START_HINT)
        case _:
            return WorkerError(f"the worker's socket {path} cannot be used: {exc}", code="no_worker")


def _refusal(fault: Fault) -> WorkerError:
    return WorkerError(fault.reason, node=fault.node, hint=fault.hint, code=fault.code)


def _lost_worker(reason: str = "the connection to the worker was lost") -> WorkerError:
    return WorkerError(reason, code="lost")


_INCOMING = msgspec.json.Decoder(_Incoming)
_RESPONSE = msgspec.json.Decoder(Response)
_NOTICE = msgspec.json.Decoder(Notice)
_STATE = msgspec.json.Decoder(ClusterState)
_EVENTS = msgspec.json.Decoder(list[Event])

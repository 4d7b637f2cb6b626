"""Whatever a client sends: the worker answers with an error or ends that connection, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted import ScriptedWorker

from pfms_ha_tui.worker import connection as connection_module
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import MAX_LINE, ClusterState, Notice, Response

HELLO = b'{"id":1,"method":"hello","params":{"protocol":1,"client":"fuzz"}}\n'
DEADLINE = 20.0

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "method": st.sampled_from(["hello", "state", "events", "lag", "node", "stop", "subscribe", "x"])
        | json_values,
        "params": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "cluster": json_values,
                "node": json_values,
                "since": json_values,
                "limit": json_values,
                "before_id": json_values,
            },
        ),
    },
)
lines = st.binary(max_size=200) | requests.map(lambda value: json.dumps(value).encode())


async def converse(first: bytes, sent: list[bytes]) -> list[Response | Notice]:
    """What a worker says to ``sent``; fails if it does not serve the next client as before."""
    with tempfile.TemporaryDirectory() as directory:
        async with ScriptedWorker(Path(directory) / "w") as worker:
            reader, writer = await asyncio.open_unix_connection(str(worker.path))
            heard: list[Response | Notice] = []
            with contextlib.suppress(ConnectionError):
                writer.write(first + b"".join(line.replace(b"\n", b" ") + b"\n" for line in sent))
                writer.write(b'{"id":424242,"method":"state"}\n')
                await writer.drain()
                async with asyncio.timeout(DEADLINE):
                    while line := await reader.readline():
                        decoded = decode(line)
                        heard.append(decoded)
                        if isinstance(decoded, Response) and decoded.id == 424242:
                            break
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            async with await WorkerClient.connect(worker.path) as client:
                assert await client.call("state", result=list[ClusterState]) == []
            return heard


def decode(line: bytes) -> Response | Notice:
    if b'"notice"' in line[:12]:
        return msgspec.json.decode(line, type=Notice)
    return msgspec.json.decode(line, type=Response)


@given(sent=st.lists(lines, max_size=5))
@settings(max_examples=150, deadline=None)
def test_after_hello_every_line_is_answered_and_the_connection_lives(sent: list[bytes]) -> None:
    heard = asyncio.run(converse(HELLO, sent))
    responses = [message for message in heard if isinstance(message, Response)]
    assert len(responses) == len(sent) + 2
    assert any(response.id == 424242 and response.error is None for response in responses)
    for response in responses:
        assert response.error is None or "Traceback" not in response.error.reason


@given(first=lines)
@settings(max_examples=100, deadline=None)
def test_a_greeting_that_is_none_is_answered_with_an_error_and_the_end(first: bytes) -> None:
    heard = asyncio.run(converse(first.replace(b"\n", b" ") + b"\n", []))
    assert isinstance(heard[0], Response)
    hello = json.loads(first) if is_json(first) else None
    welcome = isinstance(hello, dict) and hello.get("method") == "hello" and heard[0].error is None
    assert welcome or heard[0].error is not None


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def test_a_line_that_never_ends_costs_that_connection_only(tmp_path: Path) -> None:
    async with ScriptedWorker(tmp_path / "w") as worker, await WorkerClient.connect(worker.path) as other:
        reader, writer = await asyncio.open_unix_connection(str(worker.path))
        writer.write(HELLO)
        await reader.readline()
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * MAX_LINE // 1_000_000 + 4):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE):
                rest = await reader.read()
                assert rest == b"" or b"longer than" in rest
        writer.close()
        assert await other.call("state", result=list[ClusterState]) == []


async def test_requests_without_reading_the_answers_are_not_piled_up(tmp_path: Path) -> None:
    async with ScriptedWorker(tmp_path / "w") as worker, await WorkerClient.connect(worker.path) as other:
        reader, writer = await asyncio.open_unix_connection(str(worker.path))
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(HELLO)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(1.0):
                for _ in range(50_000):
                    writer.write(b'{"id":2,"method":"x","params":{"a":"' + b"y" * 500 + b'"}}\n')
                    await writer.drain()
        stuck = next(
            connection
            for connection in worker.server._connections
            if connection._answers or connection._running
        )
        assert len(stuck._answers) + len(stuck._running) <= connection_module.IN_FLIGHT + 1
        assert await other.call("state", result=list[ClusterState]) == []
        writer.transport.abort()

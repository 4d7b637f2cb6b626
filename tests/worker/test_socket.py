"""Consoles at the worker's socket: what they are told, what they may, and what they cannot break."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from support.scripted import ScriptedWorker

from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.cluster.observation import NodeObservation, Reach
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker import connection as connection_module
from pfms_ha_tui.worker import server as server_module
from pfms_ha_tui.worker.client import (
    Connected,
    EventsUpdate,
    Goodbye,
    Lost,
    StateUpdate,
    WorkerClient,
    follow,
)
from pfms_ha_tui.worker.peer import Access, Peer, SocketOption, identify
from pfms_ha_tui.worker.protocol import (
    ClusterState,
    EventsQuery,
    Hello,
    LagQuery,
    NodeQuery,
    Nothing,
    Response,
    Rights,
    Welcome,
    encode,
)

DEADLINE = 20.0


def state(
    name: str = "pandora", *, mono: float = 1.0, text: str = "all is well", nodes: int = 1
) -> ClusterState:
    seen = tuple(
        NodeState(
            label=f"node{number}",
            host=f"127.0.0.{number + 1}",
            port=3306,
            order=number,
            role=Role.UNKNOWN,
            observation=NodeObservation(label=f"node{number}", at=1.0, mono=mono, reach=Reach.ALIVE),
        )
        for number in range(nodes)
    )
    return ClusterState(
        name=name,
        mode=Mode.MANUAL,
        interval=1.0,
        snapshot=Snapshot(cluster=name, at=1.0, mono=mono, nodes=seen),
        diagnosis=Diagnosis(kind=DiagnosisKind.HEALTHY, severity=Severity.OK, text=text, master="node0"),
        readiness=Readiness(guards=(), candidate=None, sentence=""),
        roles_known=True,
        epoch=0,
    )


def event(number: int, *, cluster: str = "pandora") -> Event:
    return Event(
        id=number,
        at=float(number),
        cluster=cluster,
        node=None,
        severity=Severity.INFO,
        kind="test",
        text=f"event {number}",
        actor="worker",
    )


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[ScriptedWorker]:
    async with ScriptedWorker(tmp_path / "worker.sock") as scripted:
        yield scripted


async def subscribed(worker: ScriptedWorker) -> None:
    async with asyncio.timeout(DEADLINE):
        while not worker.server.subscribers:  # noqa: ASYNC110 - the worker has no event for it
            await asyncio.sleep(0.01)


async def until(updates: AsyncIterator[object], wanted: type) -> object:
    async with asyncio.timeout(DEADLINE):
        async for update in updates:
            if isinstance(update, wanted):
                return update
    raise AssertionError(f"no {wanted.__name__} came")


async def test_hello_names_the_actor_and_rights_from_the_kernel(worker: ScriptedWorker) -> None:
    async with await WorkerClient.connect(worker.path) as client:
        assert client.welcome.rights is Rights.FULL
        assert client.welcome.pid == os.getpid()
        assert client.welcome.actor


async def test_a_state_crosses_the_socket_unchanged(worker: ScriptedWorker) -> None:
    published = state(nodes=3)
    worker.publish(published)
    async with await WorkerClient.connect(worker.path) as client:
        assert await client.call("state", result=list[ClusterState]) == [published]
        update = await until(client.subscribe(), StateUpdate)
        assert update == StateUpdate(published)


async def test_a_subscriber_is_told_of_new_states_and_events_as_they_come(worker: ScriptedWorker) -> None:
    async with await WorkerClient.connect(worker.path) as client:
        updates = client.subscribe()
        waiting = asyncio.create_task(until(updates, StateUpdate))
        await subscribed(worker)
        worker.publish(state(text="first"))
        update = await waiting
        assert isinstance(update, StateUpdate)
        assert update.state.diagnosis.text == "first"
        worker.happen([event(1), event(2)])
        assert await until(updates, EventsUpdate) == EventsUpdate((event(1), event(2)))


async def test_every_subscriber_gets_each_cluster(worker: ScriptedWorker) -> None:
    worker.publish(state("one"))
    worker.publish(state("two"))
    async with (
        await WorkerClient.connect(worker.path) as first,
        await WorkerClient.connect(worker.path) as second,
    ):
        for client in (first, second):
            updates = client.subscribe()
            seen = [await until(updates, StateUpdate), await until(updates, StateUpdate)]
            assert {update.state.name for update in seen if isinstance(update, StateUpdate)} == {"one", "two"}


async def test_a_stuck_console_is_owed_the_newest_state_and_holds_up_nobody(worker: ScriptedWorker) -> None:
    reader, writer = await asyncio.open_unix_connection(str(worker.path))
    writer.write(b'{"id":1,"method":"hello","params":{"protocol":1,"client":"stuck"}}\n')
    writer.write(b'{"id":2,"method":"subscribe"}\n')
    await subscribed(worker)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    async with await WorkerClient.connect(worker.path) as healthy:
        updates = healthy.subscribe()
        size = len(encode(state(nodes=50)))
        for number in range(400):
            worker.publish(state(nodes=50, text=f"state {number}"))
            worker.happen([event(number)])
            if number % 50 == 0:
                await asyncio.sleep(0)
        update = await until(updates, StateUpdate)
        while isinstance(update, StateUpdate) and update.state.diagnosis.text != "state 399":
            update = await until(updates, StateUpdate)
    owed = max(
        connection._writer.transport.get_write_buffer_size() for connection in worker.server._connections
    )
    assert owed < 4 * size + 200_000, "unsent states pile up"
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    last = b""
    async with asyncio.timeout(DEADLINE):
        while b"state 399" not in last:
            last = await reader.readuntil(b"\n")
    writer.close()
    await writer.wait_closed()


async def test_events_and_lag_are_answered_as_asked(worker: ScriptedWorker) -> None:
    worker.events.extend([event(1), event(2, cluster="other"), event(3)])
    sample = LagSample(at=5.0, seconds=None, bytes=0)
    worker.lag[("pandora", "node1")] = [sample]
    async with await WorkerClient.connect(worker.path) as client:
        found = await client.call("events", EventsQuery(cluster="pandora"), list[Event])
        assert [item.id for item in found] == [3, 1]
        lag = await client.call("lag", LagQuery(cluster="pandora", node="node1", since=0.0), list[LagSample])
        assert lag == [sample]


async def test_a_reader_may_look_but_not_stop_the_worker(tmp_path: Path) -> None:
    async with ScriptedWorker(tmp_path / "w", rights=Rights.READ) as worker:
        async with await WorkerClient.connect(worker.path) as client:
            assert client.welcome.rights is Rights.READ
            await client.call("state", result=list[ClusterState])
            with pytest.raises(WorkerError, match="full rights") as refused:
                await client.call("stop")
            assert refused.value.code == "denied"
        assert worker.stop_asked_by == []


async def test_an_account_without_rights_is_told_so_and_cut_off(tmp_path: Path) -> None:
    worker = ScriptedWorker(tmp_path / "w")
    worker.server._identify = lambda option, access: None
    async with worker:
        with pytest.raises(WorkerError, match="no rights"):
            await WorkerClient.connect(worker.path)


@pytest.mark.parametrize(
    ("uid", "groups", "expected"),
    [
        (0, {5}, Rights.FULL),
        (1000, {5}, Rights.FULL),
        (1001, {5, 70}, Rights.FULL),
        (1001, {5, 80}, Rights.READ),
        (1001, {70, 80}, Rights.FULL),
        (1001, {5}, None),
    ],
)
def test_rights_follow_the_uid_and_the_groups(uid: int, groups: set[int], expected: Rights | None) -> None:
    assert Access(uid=1000, admin_gid=70, read_gid=80).rights(uid, frozenset(groups)) is expected


def test_without_configured_groups_no_group_has_rights() -> None:
    access = Access(uid=1000)
    assert access.rights(1001, frozenset({0, 5})) is None
    assert access.socket_mode == 0o660


def test_an_unknown_peer_is_identified_by_number() -> None:
    def option(name: int, size: int) -> bytes:
        if name == socket.SO_PEERCRED:
            return struct.pack("3i", 2**22 + 1, 54321, 54321)
        return struct.pack("2I", 54321, 80)

    peer = identify(option, Access(uid=1000, read_gid=80))
    assert peer is not None
    assert peer.actor == "uid 54321"
    assert peer.rights is Rights.READ


async def test_a_missing_node_is_an_error_with_its_name(worker: ScriptedWorker) -> None:
    async with await WorkerClient.connect(worker.path) as client:
        with pytest.raises(WorkerError, match="no node") as failed:
            await client.call("node", NodeQuery(cluster="pandora", node="nodeX"))
        assert failed.value.node == "nodeX"


async def test_a_handler_that_breaks_gives_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    async def breaks(peer: Peer, params: Nothing) -> Nothing:
        raise ZeroDivisionError("secret inner text")

    worker = ScriptedWorker(tmp_path / "w")
    worker.methods.add("break", Nothing, breaks, rights=Rights.READ)
    async with worker, await WorkerClient.connect(worker.path) as client:
        with pytest.raises(WorkerError) as failed:
            await client.call("break")
        assert failed.value.code == "internal"
        assert "secret inner text" not in str(failed.value)
        assert await client.call("state", result=list[ClusterState]) == []


async def test_no_worker_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="no worker is running") as failed:
        await WorkerClient.connect(tmp_path / "none.sock")
    assert failed.value.code == "no_worker"
    assert failed.value.hint == "start it with: pfms-ha-tui worker"


async def test_a_leftover_socket_means_no_worker_and_is_replaced_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(WorkerError, match="no worker is running"):
        await WorkerClient.connect(path)
    async with ScriptedWorker(path), await WorkerClient.connect(path) as client:
        assert client.welcome.pid == os.getpid()
    assert not path.exists()


async def test_a_socket_that_is_answered_is_not_taken_over(worker: ScriptedWorker) -> None:
    with pytest.raises(WorkerError, match="another worker listens"):
        await ScriptedWorker(worker.path).server.start()
    async with await WorkerClient.connect(worker.path):
        pass


async def test_a_file_in_the_place_of_the_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(WorkerError, match="not a socket"):
        await ScriptedWorker(path).server.start()
    assert path.read_text() == "data"


async def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="longer than 107 bytes"):
        await ScriptedWorker(tmp_path / ("x" * 120)).server.start()


async def test_the_socket_is_closed_to_everybody_else(worker: ScriptedWorker) -> None:
    assert worker.path.stat().st_mode & 0o777 == 0o660


async def test_another_protocol_version_is_refused_with_both_versions(
    worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "PROTOCOL_VERSION", 7)
    with pytest.raises(WorkerError, match="speaks protocol 7, the client speaks 1") as failed:
        await WorkerClient.connect(worker.path)
    assert failed.value.code == "version"


async def test_the_first_request_must_be_hello(worker: ScriptedWorker) -> None:
    reader, writer = await asyncio.open_unix_connection(str(worker.path))
    writer.write(b'{"id":9,"method":"state"}\n')
    response = msgspec.json.decode(await reader.readline(), type=Response)
    assert response.id == 9
    assert response.error is not None
    assert "hello" in response.error.reason
    assert await reader.readline() == b""
    writer.close()


async def test_a_silent_connection_is_ended(worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HELLO_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_unix_connection(str(worker.path))
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()


async def test_more_connections_than_the_bound_are_refused_politely(
    worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    async with await WorkerClient.connect(worker.path), await WorkerClient.connect(worker.path):
        with pytest.raises(WorkerError, match="connected already"):
            await WorkerClient.connect(worker.path)


async def test_goodbye_is_heard_before_the_worker_goes(tmp_path: Path) -> None:
    async with ScriptedWorker(tmp_path / "w") as worker:
        client = await WorkerClient.connect(worker.path)
        updates = client.subscribe()
        goodbye = asyncio.create_task(until(updates, Goodbye))
        await subscribed(worker)
    assert await goodbye == Goodbye()
    await client.close()


async def test_a_call_on_a_lost_worker_fails_at_once(tmp_path: Path) -> None:
    async def never(peer: Peer, params: Nothing) -> Nothing:
        await asyncio.Event().wait()
        return Nothing()

    worker = ScriptedWorker(tmp_path / "w")
    worker.methods.add("never", Nothing, never, rights=Rights.READ)
    async with worker:
        client = await WorkerClient.connect(worker.path)
        call = asyncio.create_task(client.call("never", timeout=60))
        await asyncio.sleep(0.05)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(WorkerError) as lost:
            await call
    assert lost.value.code == "lost"
    await client.close()


async def test_a_console_comes_back_by_itself_when_the_worker_does(tmp_path: Path) -> None:
    path = tmp_path / "w"
    stream = follow(path, first_delay=0.01, longest_delay=0.05)
    lost = await until(stream, Lost)
    assert isinstance(lost, Lost)
    assert lost.error.code == "no_worker"
    for round_ in ("first", "second"):
        async with ScriptedWorker(path) as worker:
            connected = await until(stream, Connected)
            assert isinstance(connected, Connected)
            worker.publish(state(text=round_))
            update = await until(stream, StateUpdate)
            assert isinstance(update, StateUpdate)
            assert update.state.diagnosis.text == round_
        lost = await until(stream, Lost)
        assert isinstance(lost, Lost)
        assert lost.error.code == "stopped"
    await stream.aclose()


async def test_text_that_is_no_utf8_does_not_silence_the_state(worker: ScriptedWorker) -> None:
    worker.publish(state(text="caf\udce9 [red]/x"))
    async with await WorkerClient.connect(worker.path) as client:
        (seen,) = await client.call("state", result=list[ClusterState])
        assert seen.diagnosis.text == "caf? [red]/x"


async def test_many_requests_at_once_are_all_answered(worker: ScriptedWorker) -> None:
    async with await WorkerClient.connect(worker.path) as client, asyncio.timeout(DEADLINE):
        answers = await asyncio.gather(*(client.call("state", result=list[ClusterState]) for _ in range(100)))
    assert answers == [[]] * 100


def test_welcome_and_hello_keep_their_fields() -> None:
    assert set(Welcome.__dataclass_fields__) >= {"protocol", "version", "pid", "actor", "rights", "clusters"}
    assert set(Hello.__dataclass_fields__) == {"protocol", "client"}


def test_identify_is_given_the_connections_own_options() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        option: SocketOption = lambda name, size: left.getsockopt(socket.SOL_SOCKET, name, size)  # noqa: E731
        peer = identify(option, Access(uid=os.geteuid()))
    assert peer is not None
    assert (peer.pid, peer.uid, peer.rights) == (os.getpid(), os.geteuid(), Rights.FULL)

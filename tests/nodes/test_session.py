"""A session against a server that misbehaves."""

from __future__ import annotations

import socket
import threading

import pytest
from support.fakeserver import Behaviour, FakeServer, Refusal
from support.nodekit import fake_cluster

from pfms_ha_tui.cluster.observation import Reach
from pfms_ha_tui.config.settings import ClusterSettings, Timeouts, TlsMode
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError

HASTY = Timeouts(connect=1.0, read=0.2, statement=0.2)


def opened(cluster: ClusterSettings) -> SqlSession:
    return SqlSession.open(cluster.nodes[0], cluster)


def failure_of(cluster: ClusterSettings) -> SqlError:
    with pytest.raises(SqlError) as caught:
        opened(cluster).close()
    return caught.value


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        (Behaviour(silent=True), Reach.HUNG, "no_greeting"),
        (Behaviour(hang_up=True), Reach.HUNG, "closed"),
        (Behaviour(garbage=b"SSH-2.0-OpenSSH_9.2\r\n"), Reach.FAULT, "protocol"),
        (Behaviour(garbage=b"\x05\x00\x00\x00\x0axyz\x00"), Reach.FAULT, "protocol"),
        (
            Behaviour(greeting_error=Refusal(1040, "Too many connections")),
            Reach.IMPAIRED,
            "too_many_connections",
        ),
        (Behaviour(greeting_error=Refusal(1129, "Host is blocked")), Reach.IMPAIRED, "host_blocked"),
        (Behaviour(login_error=Refusal(1045, "Access denied")), Reach.IMPAIRED, "access_denied"),
        (Behaviour(login_error=Refusal(1049, "Unknown database")), Reach.IMPAIRED, "sql_error"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_way_a_login_fails_is_told_apart(behaviour: Behaviour, kind: Reach, code: str) -> None:
    with FakeServer(behaviour) as server:
        error = failure_of(fake_cluster(server.port, timeouts=HASTY))
    assert (error.failure.kind, error.failure.code) == (kind, code)
    assert error.node == "node1"
    assert "s3cret" not in str(error)


def test_tls_that_is_required_and_not_offered_is_our_fault_not_the_nodes() -> None:
    with FakeServer() as server:
        error = failure_of(fake_cluster(server.port, tls=TlsMode.REQUIRED))
    assert (error.failure.kind, error.failure.code) == (Reach.FAULT, "tls")
    assert "offers no TLS" in error.reason


def test_preferred_tls_does_without_when_not_offered() -> None:
    with FakeServer() as server, opened(fake_cluster(server.port)) as session:
        assert session.query("SELECT 1") == [{"x": "1"}]


def test_a_name_that_does_not_exist_is_our_fault() -> None:
    error = failure_of(fake_cluster(3306, host="no-such-host.invalid"))
    assert (error.failure.kind, error.failure.code) == (Reach.FAULT, "name_not_resolved")


def test_no_answer_in_time_closes_the_session_and_says_hung() -> None:
    behaviour = Behaviour(stuck={"SLEEP"})
    timeouts = Timeouts(connect=1.0, read=2.0, statement=0.1)
    with FakeServer(behaviour) as server:
        cluster = fake_cluster(server.port, timeouts=timeouts)
        session = opened(cluster)
        with pytest.raises(SqlError) as caught:
            session.query("SELECT SLEEP(100)")
        assert (caught.value.failure.kind, caught.value.code) == (Reach.HUNG, "timeout")
        assert session.closed
        with pytest.raises(SqlError) as again:
            session.query("SELECT 1")
        assert again.value.code == "closed"
        session.close()


def test_a_refused_statement_leaves_the_session_usable() -> None:
    behaviour = Behaviour(refused={"SECRET_TABLE": Refusal(1142, "SELECT command denied")})
    with FakeServer(behaviour) as server, opened(fake_cluster(server.port)) as session:
        with pytest.raises(SqlError) as caught:
            session.query("SELECT * FROM SECRET_TABLE")
        assert caught.value.errno == 1142
        assert session.query("SELECT 1") == [{"x": "1"}]


def test_the_kill_switch_ends_a_running_statement_from_another_thread() -> None:
    behaviour = Behaviour(stuck={"SLEEP"})
    with FakeServer(behaviour) as server:
        cluster = fake_cluster(server.port, timeouts=Timeouts(connect=1.0, read=2.0, statement=60.0))
        session = opened(cluster)
        threading.Timer(0.1, session.kill_switch()).start()
        with pytest.raises(SqlError) as caught:
            session.query("SELECT SLEEP(100)")
        assert caught.value.code == "closed"


def test_the_limits_of_a_statement_follow_its_timeout() -> None:
    behaviour = Behaviour()
    with FakeServer(behaviour) as server, opened(fake_cluster(server.port)) as session:
        session.query("SELECT 1")
        session.query("SELECT 1", timeout=30.0)
        session.query("SELECT 1", timeout=30.0)
        session.query("SELECT 1")
    limits = [sql for sql in behaviour.statements if "max_statement_time" in sql]
    assert ["2.000" in limits[0], "30.000" in limits[1], "2.000" in limits[2], len(limits)] == [
        True,
        True,
        True,
        3,
    ]


def test_a_server_without_such_limits_is_still_talked_to() -> None:
    behaviour = Behaviour(refused={"max_statement_time": Refusal(1193, "Unknown system variable")})
    with FakeServer(behaviour) as server, opened(fake_cluster(server.port)) as session:
        assert session.query("SELECT 1") == [{"x": "1"}]


def test_several_statements_in_one_request_are_off_for_everybody_but_the_prober() -> None:
    with FakeServer() as server:
        cluster = fake_cluster(server.port)
        with opened(cluster) as session:
            assert not session.wire.client_flag & (1 << 16)
        with SqlSession.open(cluster.nodes[0], cluster, several=True) as session:
            assert session.wire.client_flag & (1 << 16)


def test_closing_a_session_does_not_wait_for_a_dead_server() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass
    with FakeServer() as server:
        session = opened(fake_cluster(server.port))
        server.close()
        session.close()
        assert session.closed

"""Sessions with real servers: logins, TLS, limits, and every statement of the dialect."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.nodekit import sandbox_cluster

from pfms_ha_tui.cluster.observation import Flavor, Reach
from pfms_ha_tui.config.settings import Account, ClusterSettings, Timeouts, Tls, TlsMode
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.nodes import parsing
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.details import fetch_details
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.sandbox import Sandbox


@pytest.fixture
def cluster(shared_sandbox: Sandbox) -> ClusterSettings:
    return sandbox_cluster(shared_sandbox)


def master(cluster: ClusterSettings) -> SqlSession:
    return SqlSession.open(cluster.nodes[0], cluster)


def slave(cluster: ClusterSettings) -> SqlSession:
    return SqlSession.open(cluster.nodes[1], cluster)


def test_values_cross_as_they_are_and_never_as_sql(cluster: ClusterSettings) -> None:
    nasty = "Robert'); DROP TABLE tagente; -- \\ ü 漢字 🙂 %s"
    with master(cluster) as session:
        assert session.query("SELECT %s AS v", (nasty,)) == [{"v": nasty}]
        assert session.query("SELECT '100 %%' LIKE %s AS v", ("100 \\%",)) == [{"v": 1}]
        assert session.query("SELECT '5%' AS v") == [{"v": "5%"}]


def test_a_write_changes_rows_and_a_transaction_can_be_taken_back(cluster: ClusterSettings) -> None:
    with SqlSession.open(cluster.nodes[0], cluster, database="pandora") as session:
        session.execute("CREATE TEMPORARY TABLE scratch (a INT) ENGINE=InnoDB")
        session.begin()
        assert session.executemany("INSERT INTO scratch VALUES (%s)", [(1,), (2,), (3,)]) == 3
        session.rollback()
        assert session.query("SELECT COUNT(*) AS n FROM scratch") == [{"n": 0}]
        session.execute("INSERT INTO scratch VALUES (%s)", (7,))
        assert session.execute("UPDATE scratch SET a = 8") == 1


def test_a_slow_select_is_ended_by_the_server_itself_and_the_session_lives_on(
    cluster: ClusterSettings,
) -> None:
    with master(cluster) as session:
        started = time.monotonic()
        columns = "information_schema.columns"
        slow = f"SELECT COUNT(*) FROM {columns} AS a, {columns} AS b, {columns} AS c"
        with pytest.raises(SqlError) as caught:
            session.query(slow, timeout=0.3)
        assert caught.value.errno in (1969, 3024, 1317, 1028)
        assert time.monotonic() - started < 15
        assert session.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_wrong_password_is_an_impairment_told_with_advice(cluster: ClusterSettings) -> None:
    wrong = Account(user="root", password=Secret("wr0ng-secret"))
    with pytest.raises(SqlError) as caught:
        SqlSession.open(cluster.nodes[0], cluster, account=wrong)
    error = caught.value
    assert (error.failure.kind, error.code, error.errno) == (Reach.IMPAIRED, "access_denied", 1045)
    assert error.hint is not None
    assert "wr0ng-secret" not in str(error)


def test_an_unknown_database_is_an_impairment(cluster: ClusterSettings) -> None:
    with pytest.raises(SqlError) as caught:
        SqlSession.open(cluster.nodes[0], cluster, database="no_such_db")
    assert (caught.value.failure.kind, caught.value.errno) == (Reach.IMPAIRED, 1049)


@pytest.mark.parametrize("mode", [TlsMode.OFF, TlsMode.PREFERRED])
def test_a_login_works_with_and_without_tls_also_when_nothing_is_cached(
    cluster: ClusterSettings, mode: TlsMode
) -> None:
    """MySQL: caching_sha2_password, whose first login needs TLS or the server's RSA key."""
    name = f"probe_{mode.name.lower()}"
    account = Account(user=name, password=Secret("pässwörd-€-long-enough"))
    with master(cluster) as session:
        session.execute(f"CREATE USER {name} IDENTIFIED BY %s", (account.password.reveal(),))
    try:
        other = replace(cluster, tls=Tls(mode=mode))
        with SqlSession.open(cluster.nodes[0], other, account=account) as session:
            cipher = session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"]
            mysql = session.dialect.flavor is Flavor.MYSQL
            assert bool(cipher) is (mode is TlsMode.PREFERRED and mysql)
    finally:
        with master(cluster) as session:
            session.execute(f"DROP USER {name}")


def test_a_tls_mismatch_is_our_fault(cluster: ClusterSettings, tmp_path: Path) -> None:
    with master(cluster) as session:
        mysql = session.dialect.flavor is Flavor.MYSQL
    # MySQL's certificate is its own, no public authority vouches for it; MariaDB here has none at all.
    wrong = Tls(mode=TlsMode.VERIFY_IDENTITY if mysql else TlsMode.REQUIRED)
    with pytest.raises(SqlError) as caught:
        SqlSession.open(cluster.nodes[0], replace(cluster, tls=wrong))
    assert (caught.value.failure.kind, caught.value.code) == (Reach.FAULT, "tls")


def test_the_servers_own_authority_is_trusted_when_configured(
    shared_sandbox: Sandbox, cluster: ClusterSettings
) -> None:
    ca = shared_sandbox.nodes[0].datadir / "ca.pem"
    if not ca.exists():
        pytest.skip("MariaDB makes no certificates by itself")
    with SqlSession.open(
        cluster.nodes[0], replace(cluster, tls=Tls(mode=TlsMode.VERIFY_CA, ca=ca))
    ) as session:
        assert session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"]


def test_every_look_of_the_dialect_is_understood(cluster: ClusterSettings) -> None:
    with slave(cluster) as session:
        dialect = session.dialect
        (channel,) = parsing.replication_channels(session.query(dialect.show_replica_status))
        assert channel.source_host == cluster.nodes[0].host
        assert channel.executed is not None
        own = parsing.binlog_position(session.query(dialect.show_binlog_status))
        assert own is not None
        assert own.file in parsing.binlog_sizes(session.query(dialect.show_binary_logs))
        assert (
            dialect.sessions_to_kill(session.query(dialect.show_processlist), keep={session.connection_id})
            == []
        )
    with master(cluster) as session:
        seen = parsing.slaves_seen(session.query(session.dialect.show_replicas))
        assert [one.port for one in seen] == [3306]
        killable = session.dialect.sessions_to_kill(
            session.query(session.dialect.show_processlist), keep={session.connection_id}
        )
        assert {one.user for one in killable} <= {"pandora"}, "neither replication nor the server's own"


def test_replication_threads_obey_and_a_slave_is_made_anew_by_position(cluster: ClusterSettings) -> None:
    with slave(cluster) as session:
        dialect = session.dialect
        for statement in (
            dialect.stop_sql,
            dialect.start_sql,
            dialect.stop_io,
            dialect.start_io,
            dialect.stop_replica,
        ):
            session.execute(statement)
        (channel,) = parsing.replication_channels(session.query(dialect.show_replica_status))
        assert channel.executed is not None
        session.execute(dialect.reset_replica_all)
        assert parsing.replication_channels(session.query(dialect.show_replica_status)) == ()
        account = cluster.replication
        host, port = cluster.nodes[0].host, cluster.nodes[0].port
        change = dialect.change_source(
            host, port, account.user, account.password, position=channel.executed, heartbeat=2.0
        )
        session.run(change)
        session.execute(dialect.start_replica)
        deadline = time.monotonic() + 25
        while True:
            (again,) = parsing.replication_channels(session.query(dialect.show_replica_status))
            if again.io == "Yes" and again.sql and again.seconds_behind == 0:
                return
            assert time.monotonic() < deadline, again
            time.sleep(0.05)


def test_read_only_is_closed_opened_and_kept_as_the_server_can(cluster: ClusterSettings) -> None:
    with slave(cluster) as session:
        dialect = session.dialect

        def closed() -> bool:
            return parsing.is_on(session.query("SELECT @@GLOBAL.read_only AS r")[0]["r"])

        try:
            for statement in dialect.set_read_only(False):
                session.execute(statement)
            assert not closed()
        finally:
            for statement in dialect.set_read_only(True):
                session.execute(statement)
        assert closed()
        for statement in dialect.persist_read_only(True):
            session.execute(statement)


def test_details_are_complete_and_hold_no_secret(cluster: ClusterSettings) -> None:
    with master(cluster) as other:
        other.query("SELECT 'IDENTIFIED BY ''topsecret''' AS x, SLEEP(0)")
        details = fetch_details(cluster.nodes[1], cluster)
        busy = fetch_details(cluster.nodes[0], cluster)
    assert details.missing == {}
    assert any("Running" in name for name in details.replica_status[0])
    assert details.variables["server_id"] == "2"
    assert int(details.status["Uptime"]) >= 0
    assert details.binlog["File"]
    assert details.sessions is not None
    assert busy.processlist
    everything = repr(details) + repr(busy)
    assert cluster.admin.password.reveal() not in everything
    assert cluster.replication.password.reveal() not in everything
    assert "topsecret" not in everything


def test_a_details_query_without_privileges_says_what_is_missing(cluster: ClusterSettings) -> None:
    poor = Account(user="poor", password=Secret("poor-secret-1"))
    with master(cluster) as session:
        session.execute("CREATE USER poor IDENTIFIED BY %s", (poor.password.reveal(),))
    try:
        details = fetch_details(cluster.nodes[0], replace(cluster, admin=poor))
        assert {"replica_status", "binlog", "binlog_sizes"} <= set(details.missing)
        assert details.variables["server_id"] == "1"
    finally:
        with master(cluster) as session:
            session.execute("DROP USER poor")


def test_an_address_without_a_server_refuses() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    from support.nodekit import fake_cluster

    cluster = fake_cluster(port, timeouts=Timeouts())
    with pytest.raises(SqlError) as caught:
        SqlSession.open(cluster.nodes[0], cluster)
    assert caught.value.failure.kind is Reach.REFUSED

"""The right words for each server."""

from __future__ import annotations

import pytest
from pymysql.converters import escape_string

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import Flavor, IoState, Replication
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.nodes.dialect import ClientSession, Dialect, quote_name

M57 = Dialect.of("5.7.44-log")
M8021 = Dialect.of("8.0.21")
M8022 = Dialect.of("8.0.22")
M8030 = Dialect.of("8.0.30-22", "Percona Server (GPL), Release 22")
M81 = Dialect.of("8.1.0")
M82 = Dialect.of("8.2.0")
M84 = Dialect.of("8.4.3")
M97 = Dialect.of("9.7.4")
A105 = Dialect.of("5.5.5-10.5.29-MariaDB-log")
A1011 = Dialect.of("10.11.19-MariaDB-0+deb12u1-log", "Debian 12")
A114 = Dialect.of("11.4.2-MariaDB")
A12 = Dialect.of("12.1.1-MariaDB")

ALL_MYSQL = (M57, M8021, M8022, M8030, M81, M82, M84, M97)
ALL_MARIADB = (A105, A1011, A114, A12)


@pytest.mark.parametrize(
    ("version", "comment", "flavor", "numbers", "text"),
    [
        ("5.7.44-log", "MySQL Community Server", Flavor.MYSQL, (5, 7, 44), "5.7.44"),
        ("8.0.30-22", "Percona Server (GPL)", Flavor.MYSQL, (8, 0, 30), "8.0.30-22"),
        ("9.7.4-2", "(Debian)", Flavor.MYSQL, (9, 7, 4), "9.7.4-2"),
        ("5.5.5-10.6.18-MariaDB", "", Flavor.MARIADB, (10, 6, 18), "10.6.18-MariaDB"),
        ("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", Flavor.MARIADB, (10, 11, 19), "10.11.19-MariaDB"),
        ("11.8.2", "mariadb.org binary distribution", Flavor.MARIADB, (11, 8, 2), "11.8.2-MariaDB"),
        ("11.4.2-MariaDB-ubu2404", "", Flavor.MARIADB, (11, 4, 2), "11.4.2-MariaDB"),
        ("8.4", "", Flavor.MYSQL, (8, 4, 0), "8.4"),
        ("", "", Flavor.MYSQL, (9, 0, 0), ""),
    ],
)
def test_a_server_is_recognised_by_what_it_says_of_itself(
    version: str, comment: str, flavor: Flavor, numbers: tuple[int, int, int], text: str
) -> None:
    dialect = Dialect.of(version, comment)
    assert (dialect.flavor, dialect.version, dialect.text) == (flavor, numbers, text)


@pytest.mark.parametrize(
    ("dialect", "replica_status", "binlog_status", "replicas", "stop", "reset"),
    [
        (M57, "SHOW SLAVE STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", "STOP SLAVE", "RESET MASTER"),
        (M8021, "SHOW SLAVE STATUS", "SHOW MASTER STATUS", "SHOW SLAVE HOSTS", "STOP SLAVE", "RESET MASTER"),
        (M8022, "SHOW REPLICA STATUS", "SHOW MASTER STATUS", "SHOW REPLICAS", "STOP REPLICA", "RESET MASTER"),
        (M81, "SHOW REPLICA STATUS", "SHOW MASTER STATUS", "SHOW REPLICAS", "STOP REPLICA", "RESET MASTER"),
        *(
            (
                newest,
                "SHOW REPLICA STATUS",
                "SHOW BINARY LOG STATUS",
                "SHOW REPLICAS",
                "STOP REPLICA",
                "RESET BINARY LOGS AND GTIDS",
            )
            for newest in (M82, M84, M97)
        ),
        *(
            (
                maria,
                "SHOW ALL SLAVES STATUS",
                "SHOW MASTER STATUS",
                "SHOW SLAVE HOSTS",
                "STOP SLAVE",
                "RESET MASTER",
            )
            for maria in ALL_MARIADB
        ),
    ],
    ids=str,
)
def test_statements_are_spelt_as_the_version_knows_them(
    dialect: Dialect, replica_status: str, binlog_status: str, replicas: str, stop: str, reset: str
) -> None:
    assert dialect.show_replica_status == replica_status
    assert dialect.show_binlog_status == binlog_status
    assert dialect.show_replicas == replicas
    assert dialect.stop_replica == stop
    assert dialect.start_io == stop.replace("STOP", "START") + " IO_THREAD"
    assert dialect.reset_replica_all == stop.replace("STOP", "RESET") + " ALL"
    assert dialect.reset_binlogs == reset
    assert dialect.promote() == (dialect.stop_replica, dialect.reset_replica_all)


POSITION = BinlogPosition("binlog.000018", 1135140)


def change(dialect: Dialect, **options: object) -> str:
    """The text as PyMySQL would send it."""
    values: dict[str, object] = {"position": POSITION, **options}
    statement = dialect.change_source("10.0.0.1", 3306, "slaveuser", Secret("p'ss"), **values)  # type: ignore[arg-type]
    literals = (f"'{escape_string(p)}'" if isinstance(p, str) else str(p) for p in statement.params)
    return statement.sql % tuple(literals)


def test_old_mysql_follows_with_the_old_words_and_no_public_key() -> None:
    sql = change(M57)
    assert sql.startswith("CHANGE MASTER TO MASTER_HOST = '10.0.0.1', MASTER_PORT = 3306,")
    assert "MASTER_LOG_FILE = 'binlog.000018', MASTER_LOG_POS = 1135140, MASTER_AUTO_POSITION = 0" in sql
    assert "PUBLIC_KEY" not in sql


def test_mysql_8_0_22_still_changes_master_but_asks_for_the_key() -> None:
    sql = change(M8022)
    assert sql.startswith("CHANGE MASTER TO MASTER_HOST")
    assert "GET_MASTER_PUBLIC_KEY = 1" in sql


@pytest.mark.parametrize("dialect", [M8030, M81, M84, M97], ids=str)
def test_new_mysql_changes_its_replication_source(dialect: Dialect) -> None:
    sql = change(dialect, tls=True, heartbeat=2.0)
    assert sql.startswith("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '10.0.0.1', SOURCE_PORT = 3306,")
    assert "SOURCE_PASSWORD = 'p\\'ss'" in sql
    assert "SOURCE_LOG_FILE = 'binlog.000018', SOURCE_LOG_POS = 1135140" in sql
    assert "GET_SOURCE_PUBLIC_KEY = 1" in sql
    assert "SOURCE_SSL = 1" in sql
    assert "SOURCE_HEARTBEAT_PERIOD = 2.0" in sql
    assert "MASTER" not in sql


@pytest.mark.parametrize("dialect", ALL_MARIADB, ids=str)
def test_mariadb_follows_by_position_or_gtid(dialect: Dialect) -> None:
    by_position = change(dialect)
    assert by_position.startswith("CHANGE MASTER TO MASTER_HOST = '10.0.0.1'")
    assert by_position.endswith("MASTER_USE_GTID = no")
    by_gtid = change(dialect, position=None, gtid=True)
    assert by_gtid.endswith("MASTER_USE_GTID = slave_pos")
    assert "LOG_FILE" not in by_gtid
    assert "AUTO_POSITION" not in by_gtid


def test_mysql_follows_by_gtid_with_auto_position() -> None:
    sql = change(M84, position=None, gtid=True)
    assert "SOURCE_AUTO_POSITION = 1" in sql
    assert "LOG_FILE" not in sql


@pytest.mark.parametrize("options", [{"position": None}, {"gtid": True}, {"mariadb_gtid": "x; DROP"}])
def test_a_change_of_master_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="GTID"):
        change(A1011, **options)


def test_the_password_is_a_parameter_and_never_shown() -> None:
    statement = M84.change_source("h", 3306, "u", Secret("open-sesame"), position=POSITION)
    assert "open-sesame" not in statement.sql
    assert "open-sesame" not in statement.preview
    assert "open-sesame" not in repr(statement)
    assert "open-sesame" in statement.params
    assert "SOURCE_HOST = 'h'" in statement.preview


@pytest.mark.parametrize("dialect", ALL_MYSQL, ids=str)
def test_mysql_is_closed_for_administrators_too_and_opened_in_the_right_order(dialect: Dialect) -> None:
    assert dialect.set_read_only(True) == ("SET GLOBAL super_read_only = 1",)
    assert dialect.set_read_only(False) == ("SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0")


def test_mariadb_has_one_kind_of_read_only_and_cannot_keep_it() -> None:
    assert A1011.set_read_only(True) == ("SET GLOBAL read_only = 1",)
    assert A1011.set_read_only(False) == ("SET GLOBAL read_only = 0",)
    assert A1011.persist_read_only(True) == ()
    assert M57.persist_read_only(True) == ()
    assert M84.persist_read_only(True) == ("SET PERSIST super_read_only = ON",)


def test_statement_limits_are_in_the_servers_own_units() -> None:
    assert "max_execution_time = 1500," in M84.session_limits(1.5)
    assert "max_statement_time = 1.500," in A1011.session_limits(1.5)
    assert "lock_wait_timeout = 2," in M84.session_limits(1.5)


def session(number: int, user: str, command: str = "Sleep", state: str = "") -> dict[str, object]:
    named = {"Id": number, "User": user, "Host": "h:1", "db": None, "Command": command}
    return {**named, "Time": 3, "State": state, "Info": None}


def test_client_sessions_are_killed_but_not_replication_the_servers_own_or_ours() -> None:
    rows = [
        session(1, "event_scheduler", "Daemon"),
        session(5, "system user", "Slave_IO"),
        session(6, "system user", "Connect"),
        session(7, "slaveuser", "Binlog Dump"),
        session(8, "slaveuser", "Binlog Dump GTID"),
        session(9, "pandora", "Sleep"),
        session(10, "root", "Query"),
        session(11, "root", "Query"),
        session(12, "keeper", "Query"),
    ]
    found = A1011.sessions_to_kill(rows, keep={10}, keep_users={"keeper"})
    assert [one.id for one in found] == [9, 11]
    assert A1011.kill(9) == "KILL 9"


def follower(sql_state: str) -> Replication:
    return Replication(source_host="m", source_port=3306, io=IoState.NO, sql=True, sql_state=sql_state)


def applier(state: str, command: str = "Query") -> ClientSession:
    return ClientSession(
        id=1, user="system user", host="", database=None, command=command, seconds=0, state=state, info=""
    )


COORDINATOR = "Replica has read all relay log; waiting for more updates"


@pytest.mark.parametrize(
    ("dialect", "state", "sessions", "idle"),
    [
        (M97, COORDINATOR, [applier(COORDINATOR), applier("Waiting for an event from Coordinator")], True),
        (M97, COORDINATOR, [applier(COORDINATOR), applier("Applying batch of row changes (update)")], False),
        (M97, COORDINATOR, [applier(COORDINATOR), applier("Waiting for source to send", "Connect")], True),
        (M97, "Reading event from the relay log", [], False),
        (A1011, "Slave has read all relay log; waiting for more updates", [], True),
        (
            A1011,
            "Slave has read all relay log; waiting for more updates",
            [applier("Update_rows_log_event::ha_update_row(1)", "Slave_worker")],
            False,
        ),
        (
            A1011,
            "Slave has read all relay log; waiting for more updates",
            [applier("Waiting for work from SQL thread", "Slave_worker")],
            True,
        ),
        (A1011, "", [], False),
    ],
)
def test_a_slave_is_idle_only_if_its_workers_are(
    dialect: Dialect, state: str, sessions: list[ClientSession], idle: bool
) -> None:
    assert dialect.applier_idle(follower(state), sessions) is idle


def test_names_are_quoted() -> None:
    assert quote_name("pan`dora") == "`pan``dora`"

"""Rows of any spelling become the same facts; what is not known stays unknown."""

from __future__ import annotations

import pytest

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import EpochRecord, IoState
from pfms_ha_tui.nodes import parsing

OLD: dict[str, object] = {
    "Slave_IO_State": "Waiting for master to send event",
    "Master_Host": "10.0.0.1",
    "Master_Port": 3306,
    "Master_Log_File": "binlog.000018",
    "Read_Master_Log_Pos": 1135140,
    "Relay_Master_Log_File": "binlog.000017",
    "Slave_IO_Running": "Yes",
    "Slave_SQL_Running": "Yes",
    "Replicate_Do_DB": "pandora",
    "Exec_Master_Log_Pos": 99,
    "Relay_Log_Space": 4711,
    "Seconds_Behind_Master": 7,
    "Last_IO_Errno": 0,
    "Last_IO_Error": "",
    "Last_SQL_Errno": 1062,
    "Last_SQL_Error": "Duplicate\nentry",
    "Master_Server_Id": 1,
    "Master_UUID": "30f459cf-eb4e-11f1-9a95-02fc00000001",
    "SQL_Delay": 5,
    "Slave_SQL_Running_State": "Slave has read all relay log; waiting for more updates",
    "Retrieved_Gtid_Set": "a:1-5,\nb:1-2",
    "Executed_Gtid_Set": "",
    "Auto_Position": 1,
    "Channel_Name": "",
}
NEW = {name.replace("Master", "Source").replace("Slave", "Replica"): value for name, value in OLD.items()}
MARIADB = {
    key: value
    for key, value in OLD.items()
    if key not in ("Auto_Position", "Channel_Name", "Retrieved_Gtid_Set", "Executed_Gtid_Set", "Master_UUID")
} | {
    "Connection_name": "",
    "Slave_SQL_State": "short",
    "Using_Gtid": "Slave_Pos",
    "Gtid_IO_Pos": "0-1-500",
    "Gtid_Slave_Pos": "0-1-499",
}


@pytest.mark.parametrize("row", [OLD, NEW, MARIADB], ids=["old", "new", "mariadb"])
def test_a_slaves_status_reads_the_same_in_every_spelling(row: dict[str, object]) -> None:
    (channel,) = parsing.replication_channels([row])
    assert (channel.source_host, channel.source_port, channel.source_server_id) == ("10.0.0.1", 3306, 1)
    assert channel.io is IoState.YES
    assert channel.sql
    assert channel.seconds_behind == 7
    assert channel.read == BinlogPosition("binlog.000018", 1135140)
    assert channel.executed == BinlogPosition("binlog.000017", 99)
    assert channel.drained is False
    assert channel.relay_log_space == 4711
    assert channel.io_state == "Waiting for master to send event"
    assert "has read all relay log" in channel.sql_state
    assert (channel.sql_errno, channel.sql_error) == (1062, "Duplicate entry")
    assert channel.gtid
    assert channel.sql_delay == 5
    assert channel.replicate_do_db == "pandora"


def test_gtids_of_both_flavours() -> None:
    mysql, mariadb = parsing.replication(NEW), parsing.replication(MARIADB)
    assert (mysql.retrieved_gtid, mysql.executed_gtid) == ("a:1-5,b:1-2", None)
    assert (mariadb.retrieved_gtid, mariadb.executed_gtid) == ("0-1-500", "0-1-499")
    assert parsing.replication({**MARIADB, "Using_Gtid": "No"}).gtid is False
    assert parsing.replication({**NEW, "Auto_Position": 0}).gtid is False


def test_null_lag_and_missing_positions_stay_unknown() -> None:
    channel = parsing.replication({**NEW, "Seconds_Behind_Source": None, "Source_Log_File": ""})
    assert channel.seconds_behind is None
    assert channel.read is None
    assert channel.drained is None


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("Yes", IoState.YES),
        ("Connecting", IoState.CONNECTING),
        ("Preparing", IoState.CONNECTING),
        ("No", IoState.NO),
    ],
)
def test_states_of_the_receiver(value: str, state: IoState) -> None:
    assert parsing.replication({**NEW, "Replica_IO_Running": value}).io is state


def test_nobodys_slave_has_no_channels_also_after_a_reset_that_left_a_row() -> None:
    assert parsing.replication_channels([]) == ()
    assert parsing.replication_channels([{**OLD, "Master_Host": ""}]) == ()


def test_own_coordinates() -> None:
    assert parsing.binlog_position([{"File": "binlog.000002", "Position": 157}]) == BinlogPosition(
        "binlog.000002", 157
    )
    assert parsing.binlog_position([]) is None
    files: list[dict[str, object]] = [
        {"Log_name": "b.1", "File_size": 9},
        {"Log_name": "b.2", "File_size": None},
    ]
    assert parsing.binlog_sizes(files) == {"b.1": 9}


@pytest.mark.parametrize(
    "row", [{"Server_Id": 2, "Host": "h", "Port": 3306}, {"Server_id": 2, "Host": "h", "Port": 3306}]
)
def test_slaves_that_the_master_knows(row: dict[str, object]) -> None:
    (slave,) = parsing.slaves_seen([row])
    assert (slave.server_id, slave.host, slave.port) == (2, "h", 3306)


@pytest.mark.parametrize(
    ("value", "on"),
    [
        (1, True),
        (0, False),
        ("ON", True),
        ("off", False),
        (None, False),
        ("NO_LOCK_NO_ADMIN", True),
        ("", False),
    ],
)
def test_switches_in_every_spelling(value: object, on: bool) -> None:
    assert parsing.is_on(value) is on


@pytest.mark.parametrize(
    ("variables", "status", "words"),
    [
        ({}, {}, None),
        ({"rpl_semi_sync_master_enabled": "OFF"}, {}, None),
        (
            {"rpl_semi_sync_master_enabled": "ON"},
            {"rpl_semi_sync_master_status": "ON", "rpl_semi_sync_master_clients": "1"},
            "master, 1 slave",
        ),
        (
            {"rpl_semi_sync_source_enabled": "ON"},
            {"rpl_semi_sync_source_status": "OFF", "rpl_semi_sync_source_clients": "0"},
            "master, asynchronous for now, 0 slaves",
        ),
        ({"rpl_semi_sync_source_enabled": "ON"}, {"rpl_semi_sync_replica_status": "ON"}, "slave"),
        ({}, {"rpl_semi_sync_slave_status": "ON"}, "slave"),
    ],
)
def test_semi_synchronous_replication_in_words(
    variables: dict[str, str], status: dict[str, str], words: str | None
) -> None:
    assert parsing.semi_sync(variables, status) == words


def test_an_epoch_record_is_read_also_from_encoded_text_and_nothing_else_is() -> None:
    record = EpochRecord(epoch=3, master="node2", worker="w", at=12.5)
    text = '{"epoch":3,"master":"node2","worker":"w","at":12.5,"own":null}'
    assert parsing.epoch_record(text) == record
    assert parsing.epoch_record(text.replace('"', "&quot;")) == record
    for broken in ("", "3", "[]", '{"epoch":3}', '{"epoch":"x","master":"","worker":"","at":0}', "null"):
        assert parsing.epoch_record(broken) is None


def test_unknown_numbers_are_none_not_zero() -> None:
    assert parsing.integer({"x": None}, "x") is None
    assert parsing.integer({}, "x") is None
    assert parsing.integer({"x": "many"}, "x") is None
    assert parsing.integer({"x": b"12"}, "x") == 12

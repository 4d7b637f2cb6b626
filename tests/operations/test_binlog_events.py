"""Reading binary logs: transactions, tables and rows, as real servers write them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.operating import surgery

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.binlog_events import (
    Event,
    Kind,
    Transaction,
    TransactionReader,
    events_of,
    parse_event,
    summary,
)
from pfms_ha_tui.operations.divergence import Surveyor, survey
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

EVERY_TYPE = """
CREATE TABLE every_type (
    id INT AUTO_INCREMENT PRIMARY KEY,
    a TINYINT, b SMALLINT, c MEDIUMINT, d BIGINT UNSIGNED, e FLOAT, f DOUBLE, g DECIMAL(30, 11),
    h DATE, i TIME(3), j DATETIME(6), k TIMESTAMP(2) NULL, l YEAR, m CHAR(10), n CHAR(100),
    o VARCHAR(20), p VARCHAR(5000), q TINYTEXT, r TEXT, s MEDIUMTEXT, t LONGBLOB, u ENUM('x', 'y'),
    v SET('p', 'q', 'r'), w BIT(11), x JSON, y BINARY(16), z VARBINARY(300), aa POINT
) CHARACTER SET utf8mb4
"""
ROW = (
    "(NULL, 1, 2, 3, 4, 1.5, 2.5, 12345678.123, '2026-01-02', '01:02:03.5', '2026-01-02 03:04:05.678901',"
    " '2026-01-02 03:04:05', 2026, 'ten', REPEAT('ñ', 90), 'v', REPEAT('w', 4000), 'q', REPEAT('r', 300),"
    " REPEAT('s', 70000), REPEAT('t', 100), 'y', 'p,r', b'10101', '{\"a\": [1, 2]}', 'bin', REPEAT('z', 290),"
    " ST_GeomFromText('POINT(1 2)'))"
)
NULLS = "(NULL" + ", NULL" * 27 + ")"


async def test_rows_of_every_type_are_counted(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=1, flavor=flavor, writer=False))
    node = sandbox.nodes[0]
    mysql = flavor is Flavor.MYSQL
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        at = (await node.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS"))[0]
        start = BinlogPosition(str(at["File"]), int(str(at["Position"])))
        nothing = await survey(kit.cluster.nodes[0], kit.cluster, start)
        assert (nothing.count, nothing.diverged, nothing.crashed) == (0, False, False)
        await node.sql(EVERY_TYPE, database="pandora")
        await node.sql(f"INSERT INTO every_type VALUES {ROW}, {NULLS}, {ROW}", database="pandora")
        await node.sql("FLUSH BINARY LOGS")
        await node.sql("UPDATE every_type SET p = REPEAT('u', 300), x = '[]'", database="pandora")
        await node.sql("DELETE FROM every_type WHERE id <= 2", database="pandora")
        found = await survey(kit.cluster.nodes[0], kit.cluster, start)
        assert [[(c.table, c.act, c.rows) for c in one.changes] for one in found.transactions] == [
            [("pandora.?", "statement", None)],
            [("pandora.every_type", "insert", 3)],
            [("pandora.every_type", "update", 3)],
            [("pandora.every_type", "delete", 2)],
        ]
        assert found.tables["pandora.every_type"] == 8
        assert not found.crashed
        assert not found.restarted
        assert found.end.number == start.number + 1
        assert found.first_at is not None
        # a clean restart is no crash, a kill is one
        await node.restart()
        await node.sql("SET GLOBAL read_only = 0")
        assert not (await survey(kit.cluster.nodes[0], kit.cluster, start)).crashed
        node.kill()
        await node.wait_gone()
        await node.start()
        after = await survey(kit.cluster.nodes[0], kit.cluster, start)
        assert after.crashed
        assert after.count == 4
        with pytest.raises(SqlError) as caught:
            await survey(kit.cluster.nodes[0], kit.cluster, BinlogPosition("binlog.900000", 4))
        assert caught.value.errno == 1236


async def test_the_file_itself_says_the_same_as_the_server(
    flavor: Flavor, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=1, flavor=flavor, writer_rate=200))
    node = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await sandbox.writer.wait_for_rows(50)
        await sandbox.writer.pause()
        told = await survey(kit.cluster.nodes[0], kit.cluster, BinlogPosition("binlog.000001", 4))
        data = await asyncio.to_thread((node.datadir / "binlog.000001").read_bytes)
        surveyor = Surveyor(BinlogPosition("binlog.000001", 4))
        for event in events_of(data[4:], checksum=False):
            surveyor.see("binlog.000001", event)
        read = surveyor.done()
        assert read.count == told.count
        assert read.tables == told.tables
        assert read.transactions[-1] == told.transactions[-1]


def event(kind: int, body: bytes, at: int = 100, end: int = 0) -> bytes:
    size = 19 + len(body)
    return struct.pack("<IBIIIH", at, kind, 1, size, end or 1000 + size, 0) + body


def test_an_incomplete_event_ends_the_log_quietly() -> None:
    whole = event(Kind.XID, b"\0" * 8)
    assert [one.kind for one in events_of(whole + whole[:-3], checksum=False)] == [Kind.XID]
    assert list(events_of(whole[:10], checksum=False)) == []


def test_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="says it has"):
        parse_event(event(Kind.XID, b"\0" * 8) + b"x", checksum=False)
    with pytest.raises(ValueError, match="3 bytes"):
        parse_event(b"abc", checksum=False)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_break_the_reading_of_a_file(data: bytes) -> None:
    for one in events_of(data, checksum=True):
        assert isinstance(one, Event)


def test_compressed_rows_are_counted_as_unknown_not_as_none() -> None:
    reader = TransactionReader()
    reader.feed("binlog.000001", Event(5, Kind.MARIADB_GTID, 50, struct.pack("<QIB", 7, 0, 0) + b"\0" * 6))
    reader.feed("binlog.000001", Event(5, Kind.WRITE_COMPRESSED_V1, 60, b"\1" + b"\0" * 20))
    done = reader.feed("binlog.000001", Event(5, Kind.XID, 70, b"\0" * 8))
    assert isinstance(done, Transaction)
    assert summary([done]) == {"?": None}
    assert done.gtid == "0-?-7"


def test_what_was_begun_and_not_ended_is_told_apart() -> None:
    surveyor = Surveyor(BinlogPosition("binlog.000001", 4))
    surveyor.see("binlog.000001", Event(5, Kind.ANONYMOUS_GTID, 50, b"\0" * 40))
    begin = b"\0" * 8 + b"\0" + b"\0\0" + b"\0\0" + b"\0" + b"BEGIN"
    surveyor.see("binlog.000001", Event(5, Kind.QUERY, 60, begin))
    surveyor.see("binlog.000001", Event(5, Kind.WRITE_ROWS, 70, b"\1" + b"\0" * 9 + b"\0"))
    assert surveyor.done(whole_only=True).count == 0
    assert surveyor.done().count == 1


@pytest.mark.parametrize(
    ("events", "crashed", "restarted"),
    [
        ([("binlog.000001", Kind.STOP), ("binlog.000002", Kind.FORMAT_DESC)], False, True),
        ([("binlog.000001", Kind.ROTATE), ("binlog.000002", Kind.FORMAT_DESC)], False, False),
        ([("binlog.000001", Kind.XID), ("binlog.000002", Kind.FORMAT_DESC)], True, True),
        ([("binlog.000001", Kind.FORMAT_DESC), ("binlog.000001", Kind.STOP)], False, True),
    ],
)
def test_how_a_file_ends_tells_how_the_server_ended(
    events: list[tuple[str, Kind]], crashed: bool, restarted: bool
) -> None:
    surveyor = Surveyor(BinlogPosition("binlog.000001", 4))
    for number, (file, kind) in enumerate(events):
        surveyor.see(file, Event(5, kind, 100 + number, b"\0" * 8 + b"binlog.000002"))
    found = surveyor.done()
    assert (found.crashed, found.restarted) == (crashed, restarted)

"""Pandora's tables on real servers: events, the promotion record, resync requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.config import load
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.parsing import epoch_record
from pfms_ha_tui.pandora.databases import clear_resync_request, read_databases
from pfms_ha_tui.pandora.entities import decode
from pfms_ha_tui.pandora.epoch import (
    TOKEN,
    OldMaster,
    Promotion,
    read_epoch,
    read_raw,
    restore_raw,
    to_json,
    write_epoch,
)
from pfms_ha_tui.pandora.events import Criticity, insert_event
from pfms_ha_tui.sandbox import Sandbox, SandboxNode


@pytest.fixture
async def session(shared_sandbox: Sandbox) -> AsyncIterator[SqlSession]:
    cluster = load(Path(shared_sandbox.config_path)).clusters[0]
    opened = await asyncio.to_thread(SqlSession.open, cluster.nodes[0], cluster, database=cluster.database)
    yield opened
    opened.close()


async def column(node: SandboxNode, sql: str) -> list[object]:
    return [next(iter(row.values())) for row in await node.sql(sql, database="pandora")]


async def test_an_event_is_stored_as_pandora_stores_its_own(
    session: SqlSession, shared_sandbox: Sandbox
) -> None:
    await asyncio.to_thread(session.execute, "SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
    text = 'failover: node1 → node2 (epoch 3), "it\'s" <done> password=geheim'
    await asyncio.to_thread(
        insert_event, session, text, at=1_700_000_000.7, criticity=Criticity.CRITICAL, key="pfms 1"
    )
    rows = await shared_sandbox.nodes[0].sql(
        "SELECT * FROM tevento ORDER BY id_evento DESC LIMIT 1", database="pandora"
    )
    (row,) = rows
    assert " " not in str(row["evento"])
    stored = decode(str(row["evento"]))
    assert stored.startswith('failover: node1 → node2 (epoch 3), "it\'s" <done> password=')
    assert "geheim" not in stored
    assert (row["event_type"], row["criticity"], row["estado"]) == ("system", 4, 0)
    assert (row["utimestamp"], row["id_extra"]) == (1_700_000_000, "pfms&#x20;1")


async def test_the_record_is_one_row_whoever_reads_it(session: SqlSession, shared_sandbox: Sandbox) -> None:
    node = shared_sandbox.nodes[0]
    await node.sql("DELETE FROM tconfig WHERE token = 'pfms_ha_epoch'", database="pandora")
    assert await asyncio.to_thread(read_epoch, session) is None
    first = Promotion(epoch=1, master="node1", worker="w", at=5.0)
    second = Promotion(
        epoch=2,
        master="node2",
        worker="w",
        at=6.5,
        old_master="node1",
        old_state=OldMaster.KILLED,
        received=BinlogPosition("binlog.000009", 4),
        own=BinlogPosition("binlog.000001", 325),
        received_gtid="0-1-9",
        by_gtid=True,
    )
    for promotion in (first, second):
        await asyncio.to_thread(write_epoch, session, promotion)
        assert await asyncio.to_thread(read_epoch, session) == promotion
    assert len(await column(node, f"SELECT value FROM tconfig WHERE token = '{TOKEN}'")) == 1
    # the prober reads the same row by rules of its own
    raw = await asyncio.to_thread(read_raw, session)
    assert raw is not None
    assert epoch_record(raw) == second.record
    await asyncio.to_thread(restore_raw, session, to_json(first))
    assert await asyncio.to_thread(read_epoch, session) == first
    await asyncio.to_thread(restore_raw, session, None)
    assert await asyncio.to_thread(read_raw, session) is None
    assert (await asyncio.to_thread(session.query, "SELECT @@sql_log_bin AS b"))[0]["b"] == 1


async def test_a_foreign_value_under_the_token_is_not_believed(
    session: SqlSession, shared_sandbox: Sandbox
) -> None:
    await shared_sandbox.nodes[0].sql(
        "INSERT INTO tconfig (token, value) VALUES ('pfms_ha_epoch', 'nonsense')", database="pandora"
    )
    assert await asyncio.to_thread(read_epoch, session) is None
    await asyncio.to_thread(restore_raw, session, None)


async def test_only_a_resync_request_of_that_host_is_taken_back(
    session: SqlSession, shared_sandbox: Sandbox
) -> None:
    node = shared_sandbox.nodes[0]
    await node.sql("DELETE FROM tdatabase", database="pandora")
    for host, label, action, disabled in (
        ("10.0.0.1", "first&#x20;node", 8, 0),
        ("10.0.0.2", "second", 3, 1),
        ("db&#x20;three", "third", 8, 0),
    ):
        await node.sql(
            "INSERT INTO tdatabase (host, label, action, disabled) VALUES (%s, %s, %s, %s)",
            (host, label, action, disabled),
            database="pandora",
        )
    rows = await asyncio.to_thread(read_databases, session)
    assert [(row.host, row.label, row.action, row.disabled) for row in rows] == [
        ("10.0.0.1", "first node", 8, False),
        ("10.0.0.2", "second", 3, True),
        ("db three", "third", 8, False),
    ]
    assert await asyncio.to_thread(clear_resync_request, session, "db three")
    assert not await asyncio.to_thread(clear_resync_request, session, "10.0.0.2")
    assert await column(node, "SELECT action FROM tdatabase ORDER BY id") == [8, 3, 0]

"""Resyncs that nobody at a console asked for, by a real worker: a broken slave, and the web console."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.cloning import nothing_left
from support.live_worker import LiveWorker, config_for, event_where, healthy
from support.operating import follows, until

from pfms_ha_tui.cluster.snapshot import SyncState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions
from pfms_ha_tui.worker.client import StateUpdate, WorkerClient

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)
SETTINGS = """mode = "automatic"
splitbrain_autofix = true
resync_sleep = "1s"
honour_web_resync = true
clone_bandwidth = "60 MB/s"
"""


async def test_a_broken_slave_and_a_request_of_the_web_console_are_resynced(
    sandbox_factory: Start, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))
    node1, node2 = sandbox.nodes
    config = config_for(sandbox, tmp_path, mode="automatic")
    config.write_text(config.read_text().replace('mode = "automatic"\n', SETTINGS))
    worker = LiveWorker(sandbox, config)
    try:
        async with await worker.connect() as client, await worker.connect() as watcher:
            seen: list[tuple[SyncState, float | None]] = []
            watching = asyncio.create_task(_watch(watcher, seen))
            await healthy(client)

            await node1.sql("INSERT INTO pandora.tconfig (token, value) VALUES ('ours', '1')")
            await until(lambda: _has_row(node2), "the row on node2")
            await node2.sql("DELETE FROM pandora.tconfig WHERE token = 'ours'")
            await node1.sql("DELETE FROM pandora.tconfig WHERE token = 'ours'")
            begun = await event_where(
                client, lambda event: event.kind == "operation_started" and "resync of node2" in event.text
            )
            assert begun.actor == "worker"
            assert "cannot apply what it receives (error 1032)" in begun.text
            await event_where(client, lambda event: event.kind == "operation_done")
            await until(lambda: follows(node2, node1), "node2 to follow")
            await healthy(client)
            states = [state for state, _ in seen]
            assert SyncState.RUNNING in states
            assert any(percent for state, percent in seen if state is SyncState.RUNNING)
            assert states[-1] is SyncState.OK
            # Nobody was asked, so the old data stays; a person looks at it and removes it.
            remove_kept_data(node2)

            await node1.sql(f"UPDATE pandora.tdatabase SET action = 8 WHERE host = '{node2.host}'")
            asked = await event_where(
                client, lambda event: event.kind == "operation_started" and event.actor == "web console"
            )
            assert "resync of node2" in asked.text
            await event_where(
                client, lambda event: event.kind == "operation_done" and event.actor == "web console"
            )
            rows = await node1.sql("SELECT COUNT(*) AS n FROM pandora.tdatabase WHERE action = 8")
            assert rows[0]["n"] == 0
            await healthy(client)
            remove_kept_data(node2)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        worker.stop()
    nothing_left(sandbox)


def remove_kept_data(node: SandboxNode) -> None:
    """What a clone that nobody confirmed leaves beside the new data."""
    (kept,) = node.datadir.parent.glob(f"{node.datadir.name}.pfms-ha-old-*")
    assert (kept / "ibdata1").is_file()
    shutil.rmtree(kept)


async def _has_row(node: SandboxNode) -> bool:
    return bool(await node.sql("SELECT 1 FROM pandora.tconfig WHERE token = 'ours'"))


async def _watch(client: WorkerClient, seen: list[tuple[SyncState, float | None]]) -> None:
    """Every state of node2's icon, as a console is told."""
    async for update in client.subscribe():
        if isinstance(update, StateUpdate):
            node = update.state.snapshot.node("node2")
            if node is not None:
                seen.append((node.sync.state, node.sync.percent))

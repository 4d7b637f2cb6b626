"""``splitbrain_autofix`` on a real cluster: two masters become one again by themselves, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.live_worker import LiveWorker, config_for, event_where, healthy, state_where

from pfms_ha_tui.operations.view import OperationState, OperationView, StepState
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.namespaces import WORKER
from pfms_ha_tui.sandbox.scenarios import split_brain
from pfms_ha_tui.sandbox.schema import DATABASE
from pfms_ha_tui.worker.archives import archives_in
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import OperationsQuery

DEADLINE = 120.0
LATE = "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (1, 0.125, %s)"
"""A measurement that an agent had kept for days, for one."""
LOG4X = (
    "INSERT INTO tagente_datos_log4x (id_agente_modulo, severity, message, stacktrace, utimestamp)"
    " VALUES (1, 'ERROR', 'kept by one side', '', %s)"
)
LOST_EVENTS = "SELECT COUNT(*) AS n FROM tevento WHERE evento LIKE 'Module&#x20;&#039;CPU&#x20;Load%%&#40;%%'"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox.start(SandboxOptions(rows=500)) as started:
        yield started


def config_with_autofix(sandbox: Sandbox, folder: Path, *more: str) -> Path:
    path = config_for(sandbox, folder, mode="automatic")
    lines = "\n".join(('mode = "automatic"', "splitbrain_autofix = true", *more))
    path.write_text(re.sub(r'(?m)^mode = ".*"$', lines, path.read_text()))
    return path


async def past(client: WorkerClient) -> list[OperationView]:
    return await client.call("operations", OperationsQuery(cluster="sandbox"), list[OperationView])


async def ended(client: WorkerClient, kind: str) -> OperationView:
    async with asyncio.timeout(DEADLINE):
        while True:
            for view in await past(client):
                if view.kind == kind and view.state not in (OperationState.RUNNING, OperationState.PLANNED):
                    return view
            await asyncio.sleep(0.1)


async def test_two_masters_are_locked_archived_merged_and_cloned_by_itself(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    node1, node2 = sandbox.nodes
    worker = LiveWorker(sandbox, config_with_autofix(sandbox, tmp_path))
    try:
        async with await worker.connect() as client:
            await healthy(client)
            before = (await node1.sql(LOST_EVENTS, database=DATABASE))[0]["n"]
            # Of a table that a person has to ask for; in no binary log, for the repair begins at once.
            apart = [("SET sql_log_bin = 0", None), (LOG4X, (int(time.time()),))]
            await asyncio.to_thread(node2.client.script, apart, database=DATABASE, timeout=30)
            await split_brain(sandbox, lambda _: None)

            repair = await ended(client, "split-repair")
            assert repair.state is OperationState.DONE, repair.text
            steps = {step.name: step.state for step in repair.steps}
            order = [step.name for step in repair.steps]
            assert order.index("lock") < order.index("archive") < order.index("apply") < order.index("verify")
            assert all(steps[name] is StepState.DONE for name in ("lock", "archive", "apply", "verify"))
            assert (await node1.sql(LOST_EVENTS, database=DATABASE))[0]["n"] == before + 24
            optional = "SELECT COUNT(*) AS n FROM tagente_datos_log4x WHERE message = 'kept by one side'"
            assert (await node1.sql(optional, database=DATABASE))[0]["n"] == 1

            (archive,) = archives_in(worker.settings.worker.state_dir / "archive")
            assert (archive.losing, archive.master, archive.merge) == ("node2", "node1", "merged")
            assert archive.configuration == {"tagente": 2, "tagente_modulo": 2}

            clone = await ended(client, "clone")
            assert (clone.state, clone.actor) == (OperationState.DONE, "worker"), clone.text
            assert [view.kind for view in await past(client)] == ["clone", "split-repair"]
            await event_where(client, lambda event: event.kind == "operation_done" and "repair" in event.text)
            await healthy(client)
            assert (await node2.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"] == 1
            assert (await node2.sql(LOST_EVENTS, database=DATABASE))[0]["n"] == before + 24
    finally:
        worker.stop()


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_rows_that_a_cut_off_master_took_are_merged_when_it_is_back_and_it_is_cloned(
    tmp_path: Path,
) -> None:
    async with Sandbox.start(SandboxOptions(rows=500, netns=True)) as sandbox:
        node1, node2 = sandbox.nodes
        policy = ('isolation_hold = "5s"', 'on_isolation = "promote"', "require_fencing = false")
        worker = LiveWorker(sandbox, config_with_autofix(sandbox, tmp_path, *policy))
        try:
            async with await worker.connect() as client:
                await healthy(client)
                await state_where(client, lambda state: state.readiness.ready)
                for one, other in ((WORKER, "node1"), ("node1", "node2")):
                    sandbox.partitions.cut(one, other)
                assert (await ended(client, "failover")).state is OperationState.DONE
                now = int(time.time())
                for number in range(5):
                    await node1.sql(LATE, (now - number * 86_400,), database=DATABASE)
                for one, other in ((WORKER, "node1"), ("node1", "node2")):
                    sandbox.partitions.heal(one, other)

                repair = await ended(client, "split-repair")
                assert repair.state is OperationState.DONE, repair.text
                clone = await ended(client, "clone")
                assert (clone.state, clone.actor) == (OperationState.DONE, "worker"), clone.text
                await healthy(client)
            for node in (node1, node2):
                kept = "SELECT COUNT(*) AS n FROM tagente_datos WHERE datos = 0.125"
                assert (await node.sql(kept, database=DATABASE))[0]["n"] == 5
        finally:
            worker.stop()

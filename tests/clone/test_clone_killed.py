"""The worker's process is killed in the middle of a clone; the next one finds out and brings it to an end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support import dying_clone
from support.cloning import nothing_left
from support.operating import all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.operations.catalog import PROCEDURES
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("step", "bandwidth", "ends"),
    [
        pytest.param("transfer", 4 * 2**20, OperationState.FAILED, id="transfer, relayed"),
        pytest.param("transfer", 0, OperationState.FAILED, id="transfer, node to node"),
        pytest.param("swap", 0, OperationState.DONE, id="swap"),
        pytest.param("start", 0, OperationState.DONE, id="start"),
        pytest.param("catch_up", 0, OperationState.DONE, id="catch_up"),
    ],
)
async def test_a_killed_worker_leaves_nothing_half_done(
    sandbox_factory: Start, tmp_path: Path, step: str, bandwidth: int, ends: OperationState
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))
    node1, node2 = sandbox.nodes
    order = {
        "config": str(sandbox.config_path),
        "ledger": str(tmp_path / "ledger.db"),
        "step": step,
        "bandwidth": str(bandwidth),
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        dying_clone.__file__,
        json.dumps(order),
        env={**sandbox.environment, "PYTHONPATH": str(Path(dying_clone.__file__).parents[2])},
    )
    assert await worker.wait() == -signal.SIGKILL

    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        entry = kit.ledger.unfinished("sandbox")
        assert entry is not None
        view = await kit.engine.recover(PROCEDURES[entry.kind](kit.context, entry.params), entry)

        assert view.state is ends, view.text
        await until(lambda: follows(node2, node1), "node2 to follow")
        assert not await is_writable(node2)
        nothing_left(sandbox)
        marked = "node2" in kit.context.records.marked(MarkKind.NEEDS_RESYNC)
        assert marked is (ends is OperationState.FAILED)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, node1, node2)

"""A merge from a node that is a healthy slave: needless, and harmless."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.operating import follows, surgery

from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions

pytestmark = pytest.mark.timeout(120)


async def test_a_slave_that_replicates_stays_a_candidate_after_a_merge_that_found_nothing(
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]], tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions())
    node1, node2 = sandbox.nodes
    now = int(time.time())
    params = MergeParams(
        losing="node2", master="node1", archives=str(tmp_path), start=now - 7200, end=now - 3600
    )
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        view = await kit.engine.run(MergeBack(kit.context, params), actor="carol")
        assert view.state is OperationState.DONE, view.text
        assert "node2 follows it and has nothing of its own" in (view.text or "")
        assert kit.context.records.marks() == ()
        assert await follows(node2, node1)

"""A merge from a node that is a healthy slave: needless, and harmless."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import pytest
from support.operating import follows, surgery

from pfms_ha_tui.operations.merge import operation
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions

pytestmark = pytest.mark.timeout(120)


def refuse(*_: object) -> NoReturn:
    raise MergeError("the master is lost")


async def test_a_slave_that_replicates_stays_a_candidate_after_a_merge_that_found_nothing(
    sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
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

        # Rows of its own, which replication does not notice: marked before the first of them is added.
        row = f"INSERT INTO tagente_datos VALUES (1, 4.5, {now - 5000})"
        node2.client.script([("SET SESSION sql_log_bin = 0", None), (row, None)], database="pandora")
        with monkeypatch.context() as broken:
            broken.setattr(operation, "apply_directory", refuse)
            view = await kit.engine.run(MergeBack(kit.context, params), actor="carol")
        assert view.state is OperationState.FAILED
        assert [mark.kind for mark in kit.context.records.marks()] == [MarkKind.DIVERGED]
        view = await kit.engine.run(MergeBack(kit.context, params), actor="carol")
        assert view.state is OperationState.DONE, view.text
        assert "1 row of node2 was added to node1; node2 is to be rebuilt" in (view.text or "")
        assert [mark.kind for mark in kit.context.records.marks()] == [MarkKind.NEEDS_RESYNC]

"""The site's own resync script: called as the manual says, judged by what it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.cloning import clone_of
from support.operating import Surgery, follows, surgery

from pfms_ha_tui.config.settings import CloneMethod, ClusterSettings
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Start = Callable[[SandboxOptions], Awaitable[Sandbox]]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def sandbox(sandbox_factory: Start) -> Sandbox:
    return await sandbox_factory(SandboxOptions(flavor=Flavor.MARIADB))


async def scripted(sandbox: Sandbox, folder: Path, body: str) -> tuple[OperationView, Surgery]:
    script, log = folder / "resync.sh", folder / "resync.log"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)

    def change(cluster: ClusterSettings) -> ClusterSettings:
        return replace(cluster, pandora=replace(cluster.pandora, resync_script=str(script), resync_log=log))

    async with surgery(sandbox, folder / "ledger.db", change=change) as kit:
        return await clone_of(kit, method=CloneMethod.SCRIPT), kit


async def test_a_script_gets_the_manuals_arguments_and_its_words_go_to_the_log(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    node1, node2 = sandbox.nodes
    view, _ = await scripted(sandbox, tmp_path, 'echo "given $1 $2 $3"')
    assert view.state is OperationState.DONE, view.text
    given = f"given {sandbox.pandora_conf} {node1.host} {node2.host}"
    assert given in (tmp_path / "resync.log").read_text()
    assert await follows(node2, node1)


async def test_a_script_that_fails_leaves_the_node_marked_with_its_last_words(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    body = "echo 'rsync: no route to host' >&2; exit 3"
    view, kit = await scripted(sandbox, tmp_path, body)
    assert view.state is OperationState.FAILED
    assert "ended with 3" in (view.text or "")
    assert "no route to host" in (view.text or "")
    with_ledger = kit.shown[-1]
    assert with_ledger.state is OperationState.FAILED
    assert MarkKind.NEEDS_RESYNC.value in " ".join(with_ledger.log)


async def test_a_script_that_leaves_no_slave_has_failed_whatever_it_says(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    node2 = sandbox.nodes[1]
    sock, admin = node2.files.socket, sandbox.accounts.admin
    body = f"mariadb --socket={sock} -u{admin.user} -p{admin.password} -e 'STOP SLAVE; RESET SLAVE ALL'"
    view, _ = await scripted(sandbox, tmp_path, body)
    assert view.state is OperationState.FAILED
    assert "follows nobody" in (view.text or "")

"""Clones against a sandbox, and what must hold after one, however it ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from support.operating import Surgery

from pfms_ha_tui.config.settings import CloneMethod, Transfer
from pfms_ha_tui.operations.catalog import PROCEDURES
from pfms_ha_tui.operations.clone import Clone, CloneParams
from pfms_ha_tui.operations.view import OperationView
from pfms_ha_tui.sandbox import Sandbox, SandboxNode

TABLES = ("tagente_datos", "tagente_datos_string", "tagente", "tagente_modulo", "tserver")


async def clone_of(
    kit: Surgery,
    *,
    method: CloneMethod | None = None,
    transfer: Transfer | None = None,
    source: str = "node1",
    target: str = "node2",
    dry_run: bool = False,
    bandwidth: int | None = None,
) -> OperationView:
    """Run a clone to its end."""
    params = CloneParams(
        target=target, source=source, master="node1", method=method, transfer=transfer, bandwidth=bandwidth
    )
    return await kit.engine.run(Clone(kit.context, params), actor="carol", dry_run=dry_run)


async def interrupted_in(kit: Surgery, step: str, *, bandwidth: int | None = None) -> OperationView:
    """A clone cut off in a step, as a stopped worker is, and brought to its end by another one."""
    task = asyncio.create_task(clone_of(kit, bandwidth=bandwidth))

    def begun() -> bool:
        return any(
            one.name == step and one.state == "running" for view in kit.shown[-1:] for one in view.steps
        )

    while not task.done() and not begun():  # noqa: ASYNC110 - a step may last no longer than a moment
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    entry = kit.ledger.unfinished(kit.cluster.name)
    assert entry is not None, f"the step {step} was missed"
    return await kit.engine.recover(PROCEDURES[entry.kind](kit.context, entry.params), entry)


async def rows_of(node: SandboxNode, sql: str) -> Sequence[object]:
    """Rows of Pandora's database."""
    return await node.sql(sql, database="pandora")


async def data_is_equal(one: SandboxNode, other: SandboxNode) -> None:
    """Checksums of the tables are equal; nobody may write meanwhile."""
    for table in TABLES:
        sums = [(await node.sql(f"CHECKSUM TABLE pandora.{table}"))[0]["Checksum"] for node in (one, other)]
        assert sums[0] == sums[1], f"{table} differs"


def left_of_clones(sandbox: Sandbox) -> list[Path]:
    """Files and directories that clones made and did not remove."""
    return sorted(path for path in sandbox.root.rglob("*pfms-ha-*"))


def nothing_left(sandbox: Sandbox) -> None:
    """Neither a file nor a program of a clone is left on any node."""
    assert left_of_clones(sandbox) == []
    assert leftover_programs(sandbox) == []


def leftover_programs(sandbox: Sandbox) -> list[str]:
    """Command lines of programs that a clone started in this sandbox and that still run."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environ.read_bytes().split(b"\0")
            ours = f"PFMS_SANDBOX={sandbox.root}".encode() in variables
            if ours and any(variable.startswith(b"PFMS_HA_CLONE=") for variable in variables):
                found.append((environ.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def kill_program(sandbox: Sandbox, words: str) -> None:
    """SIGKILL the clone's program whose command line begins with these words."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            ours = f"PFMS_SANDBOX={sandbox.root}".encode() in environ.read_bytes().split(b"\0")
            command = (environ.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if ours and command.startswith(words):
            os.kill(int(environ.parent.name), signal.SIGKILL)
            return
    raise AssertionError(f"no program {words!r}: {leftover_programs(sandbox)}")

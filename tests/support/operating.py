"""Operations against a sandbox: settings, context, engine, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pfms_ha_tui.config import load
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.context import Context, HostFacts, Limits
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.operations.view import OperationView
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode

DEADLINE = 30.0


@dataclass
class Surgery:
    """Everything to run operations on a sandbox with."""

    sandbox: Sandbox
    cluster: ClusterSettings
    ledger: Ledger
    engine: Engine
    context: Context
    shown: list[OperationView] = field(default_factory=list)
    shells: dict[str, NodeShell] = field(default_factory=dict)

    def with_limits(self, **limits: float) -> Context:
        return replace(self.context, limits=replace(self.context.limits, **limits))


@contextlib.asynccontextmanager
async def surgery(
    sandbox: Sandbox, ledger_path: Path, *, change: Callable[[ClusterSettings], ClusterSettings] | None = None
) -> AsyncIterator[Surgery]:
    """A context and an engine for a sandbox; closed afterwards."""
    cluster = load(sandbox.config_path).clusters[0]
    if change is not None:
        cluster = change(cluster)
    ledger = Ledger(ledger_path)
    shown: list[OperationView] = []
    engine = Engine(ledger, publish=shown.append)
    shells = {node.label: NodeShell(node, cluster) for node in cluster.nodes}
    context = Context(
        cluster=cluster,
        records=Records(ledger, cluster.name),
        worker="test",
        shells=shells.get,
        host_facts={
            node.label: HostFacts(pid_file=str(node.files.pid_file), datadir=str(node.datadir))
            for node in sandbox.nodes
        },
        limits=Limits(),
    )
    kit = Surgery(sandbox, cluster, ledger, engine, context, shown, shells)
    try:
        yield kit
    finally:
        await asyncio.gather(*(shell.close() for shell in shells.values()))
        engine.close()
        ledger.close()


async def is_writable(node: SandboxNode) -> bool:
    """Whether ordinary accounts can write on it."""
    return not (await node.sql("SELECT @@GLOBAL.read_only AS r"))[0]["r"]


async def follows(slave: SandboxNode, master: SandboxNode) -> bool:
    """Whether it follows that master with both threads running."""
    row = await slave.replication()
    if row is None:
        return False
    mysql = slave.flavor is Flavor.MYSQL
    names = (
        ("Source_Host", "Replica_IO_Running", "Replica_SQL_Running")
        if mysql
        else ("Master_Host", "Slave_IO_Running", "Slave_SQL_Running")
    )
    return [row[name] for name in names] == [master.host, "Yes", "Yes"]


async def until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Wait for a condition, which may be a coroutine function."""
    end = asyncio.get_running_loop().time() + deadline
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert asyncio.get_running_loop().time() < end, f"{what} did not come about within {deadline:g} s"
        await asyncio.sleep(0.002)


async def all_rows_on(sandbox: Sandbox, *nodes: SandboxNode) -> None:
    """Every acknowledged row of the (paused) writer is on each of these nodes once, when they caught up."""
    for node in nodes:

        async def nothing_lost(node: SandboxNode = node) -> bool:
            return not await sandbox.writer.lost_on(node)

        await until(nothing_lost, f"every acknowledged row on {node.label}")
        twice = [row for row, times in (await sandbox.writer.rows_on(node)).items() if times > 1]
        assert not twice, f"rows that are there more than once on {node.label}: {twice}"

"""A worker that runs one operation on a sandbox and kills itself at the n-th transition of its ledger."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from support.toy_operation import DyingLedger

from pfms_ha_tui.config import load
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.context import Context, HostFacts
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.records import Records


async def main(order: dict[str, object]) -> None:
    """Do as ordered; end normally if the operation ends before the n-th transition."""
    cluster = load(Path(str(order["config"]))).clusters[0]
    ledger = DyingLedger(Path(str(order["ledger"])), at=int(str(order["at"])), after=order["when"] == "after")
    shells = {node.label: NodeShell(node, cluster) for node in cluster.nodes}
    facts = order["host_facts"]
    params = order["params"]
    assert isinstance(facts, dict)
    assert isinstance(params, dict)
    context = Context(
        cluster=cluster,
        records=Records(ledger, cluster.name),
        worker="dying",
        shells=shells.get,
        host_facts={label: HostFacts(**values) for label, values in facts.items()},
    )
    engine = Engine(ledger)
    view = await engine.run(rebuild(str(order["kind"]), params, context), actor="worker")
    await asyncio.gather(*(shell.close() for shell in shells.values()))
    engine.close()
    ledger.close()
    sys.stdout.write(f"{view.state}: {view.text}\n")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

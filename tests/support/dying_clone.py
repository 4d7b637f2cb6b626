"""A worker that clones node2 from node1 and kills itself with SIGKILL in a given step."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from pfms_ha_tui.config import load
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.clone import Clone, CloneParams
from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.operations.view import OperationView, StepState


async def main(order: dict[str, str]) -> None:
    """Run until the step runs; a step that moves bytes, until some have moved."""
    cluster = load(Path(order["config"])).clusters[0]
    ledger = Ledger(Path(order["ledger"]))
    step = order["step"]

    def die_there(view: OperationView) -> None:
        for one in view.steps:
            moving = step != "transfer" or (one.progress is not None and one.progress.done > 2**20)
            if one.name == step and one.state is StepState.RUNNING and moving:
                os.kill(os.getpid(), signal.SIGKILL)

    shells = {node.label: NodeShell(node, cluster) for node in cluster.nodes}
    context = Context(
        cluster=cluster, records=Records(ledger, cluster.name), worker="dying", shells=shells.get
    )
    bandwidth = int(order["bandwidth"]) or None
    params = CloneParams(target="node2", source="node1", master="node1", bandwidth=bandwidth)
    view = await Engine(ledger, publish=die_there).run(Clone(context, params), actor="worker")
    sys.stdout.write(f"{view.state}: {view.text}\n")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

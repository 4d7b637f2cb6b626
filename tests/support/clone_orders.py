"""A scripted worker that checks, plans and starts clones, and what it was asked."""

from __future__ import annotations

from dataclasses import replace

from support.scripted import ScriptedWorker

from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.operations.view import (
    CloneCheck,
    MethodChoice,
    OperationState,
    OperationView,
    StepState,
    StepView,
)
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import Order, Plan, Rights, Start

NO_PLUGIN = "MariaDB 10.11.14 has no CLONE plugin: it came with MySQL 8.0.17"
COMMAND = "mariadb-backup --defaults-file=/dev/fd/3 --backup --stream=mbstream --parallel=4"

GOOD = CloneCheck(
    title="resync of node2 from node1 (stream)",
    source="node1",
    method=CloneMethod.STREAM,
    problems=(),
    warnings=(),
    passed=(
        "node2 is no master and takes no writes",
        "the datadir of node2 is /var/lib/mysql: proved to be this server's own",
        "node1 is another server than node2, its datadir is /var/lib/mysql",
        "repl can log in to node1 from node2",
        "18.3 GB to copy, 41.2 GB free beside it",
        "stream with mariadb-backup in 4 threads, from node to node, compressed by zstd",
    ),
    methods=(
        MethodChoice(method=CloneMethod.STREAM),
        MethodChoice(method=CloneMethod.STAGED),
        MethodChoice(method=CloneMethod.PLUGIN, why_not=NO_PLUGIN),
        MethodChoice(method=CloneMethod.SCRIPT, why_not="no resync script is configured: set ha_resync"),
    ),
    cramped=None,
    steps=(
        StepView(name="check", title="check everything that could go wrong", state=StepState.WAITING),
        StepView(
            name="transfer",
            title="copy the data of node1 to node2",
            state=StepState.WAITING,
            preview=(COMMAND,),
            node="node2",
        ),
    ),
)
SHORT = "node2 has 2.1 GB free beside its datadir, the copy of node1 needs 19.2 GB"
CRAMPED = replace(
    GOOD,
    method=None,
    problems=(
        f"{SHORT}: make room, or confirm that the old data of node2 is removed before the copy"
        " (--give-up-old)",
        "repl cannot log in to node1 from node2: Access denied: grant it from there",
    ),
    passed=(),
    cramped=f"{SHORT}; without the old data there is room",
    steps=(),
)


class CloneOrders:
    """The methods, on ``worker``; :attr:`answer` is what the checks come to."""

    def __init__(self, worker: ScriptedWorker, answer: CloneCheck = GOOD):
        self.answer = answer
        self.begins = OperationState.RUNNING
        """Or PLANNED: it waits for its turn."""
        self.checked: list[Order] = []
        self.started: list[Start] = []
        worker.methods.add("clone_check", Order, self._check, rights=Rights.FULL)
        worker.methods.add("plan", Order, self._plan, rights=Rights.READ)
        worker.methods.add("start", Start, self._start, rights=Rights.FULL)

    async def _check(self, _peer: Peer, order: Order) -> CloneCheck:
        self.checked.append(order)
        method = self.answer.method and (order.method or self.answer.method)
        return replace(self.answer, source=order.source or self.answer.source, method=method)

    async def _plan(self, _peer: Peer, order: Order) -> Plan:
        return Plan(
            operation=_view(OperationState.PLANNED),
            confirm=order.target or "",
            impact=(f"All data of {order.target} is replaced.",),
        )

    async def _start(self, _peer: Peer, start: Start) -> OperationView:
        self.started.append(start)
        return _view(self.begins)


def _view(state: OperationState) -> OperationView:
    return OperationView(
        id=7,
        kind="clone",
        title="resync of node2 from node1",
        state=state,
        actor="carol",
        dry_run=False,
        steps=GOOD.steps,
        cancellable=True,
    )

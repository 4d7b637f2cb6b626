"""The engine: runs the steps of one operation, journals each transition before it acts, undoes on failure.

It knows nothing of servers. An operation ends in one of three ways: every step done; stopped with
everything undone (a failure or a cancel before the step of no return); stopped as it is, with the
reason. A worker that dies, or an undo that cannot be brought to its end, leaves it *interrupted*: it
keeps its cluster until :meth:`Engine.recover` has resumed it, rolled it back, or given it up.
"""

from __future__ import annotations

from collections.abc import Coroutine

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.execution import Execution, LedgerThread, Publish
from pfms_ha_tui.operations.ledger import Change, Entry, Ledger, StepEntry
from pfms_ha_tui.operations.preview import preview_of
from pfms_ha_tui.operations.step import Operation
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.operations.waiting import Clock, SystemClock


class Engine:
    """Runs operations, one at a time per cluster. Made once per worker (or CLI call)."""

    def __init__(self, ledger: Ledger, *, publish: Publish | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._publish = publish
        self._ledger = LedgerThread(ledger)
        self._running: dict[str, Execution] = {}

    def close(self) -> None:
        """End the ledger's thread. The ledger itself belongs to the caller."""
        self._ledger.close()

    def running(self, cluster: str) -> Execution | None:
        """What runs on that cluster in this process."""
        return self._running.get(cluster)

    async def run(self, operation: Operation, *, actor: str, dry_run: bool = False) -> OperationView:
        """Run (or rehearse) an operation; how it ended, or that it was interrupted and why.

        Raises:
            OperationError: another operation holds the cluster (code ``busy``), or the ledger cannot be
                written: nothing was done.
            asyncio.CancelledError: this task was cancelled; the operation is interrupted.
        """
        steps = tuple(
            StepEntry(name=step.name, title=step.title, node=step.node, preview=preview_of(step))
            for step in operation.steps
        )
        at = self.clock.wall()
        number = await self._ledger.do(
            lambda ledger: ledger.begin(
                cluster=operation.cluster,
                kind=operation.kind,
                title=operation.title,
                params=operation.params,
                actor=actor,
                dry_run=dry_run,
                steps=steps,
                at=at,
            )
        )
        entry = Entry(
            id=number,
            cluster=operation.cluster,
            kind=operation.kind,
            title=operation.title,
            params=operation.params,
            actor=actor,
            dry_run=dry_run,
            started_at=at,
            steps=steps,
        )
        execution = self._execution(operation, entry)
        if dry_run:
            return await execution.rehearse()
        return await self._hold(execution, operation.cluster, execution.forward())

    async def recover(self, operation: Operation, entry: Entry) -> OperationView:
        """Bring an interrupted operation to an end: resume it, roll it back, or give it up.

        ``operation`` is the one that was interrupted, built again from ``entry.params``. If that is not
        possible now (a node cannot be asked), it stays interrupted, and the view says why.

        Raises:
            OperationError: it runs in this process, or was begun by another version of this program.
            asyncio.CancelledError: as :meth:`run`.
        """
        if [step.name for step in operation.steps] != [step.name for step in entry.steps]:
            raise OperationError(
                f"operation {entry.id} was begun by another version of this program",
                hint="look at the nodes, then give it up",
            )
        execution = self._execution(operation, entry)
        return await self._hold(execution, operation.cluster, execution.after_crash(entry.phase))

    async def give_up(self, entry: Entry, *, actor: str) -> None:
        """End an interrupted operation as it is, by a person's decision. Nothing is touched on any node.

        Raises:
            OperationError: it runs in this process.
        """
        if entry.cluster in self._running:
            raise OperationError(f"operation {entry.id} is running", code="busy")
        text = f"given up by {actor}: the nodes are as it left them"
        at = self.clock.wall()
        change = Change(state=OperationState.FAILED, text=text, finished_at=at, lines=[(at, text)])
        await self._ledger.do(lambda ledger: ledger.write(entry.id, change))

    def _execution(self, operation: Operation, entry: Entry) -> Execution:
        return Execution(operation, entry, ledger=self._ledger, clock=self.clock, publish=self._publish)

    async def _hold(
        self, execution: Execution, cluster: str, work: Coroutine[None, None, OperationView]
    ) -> OperationView:
        if cluster in self._running:
            work.close()
            raise OperationError("an operation is running on this cluster", code="busy")
        self._running[cluster] = execution
        try:
            return await work
        finally:
            del self._running[cluster]

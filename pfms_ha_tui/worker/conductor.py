"""What carries out decisions and orders: one operation at a time on each cluster, resumed after a crash."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.snapshot import Sync, SyncState
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.operations.clone import Clone
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.ledger import Entry, Ledger
from pfms_ha_tui.operations.merge.repair import SplitRepair
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.building import Builder
from pfms_ha_tui.worker.ledger_watch import LedgerWatch
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.outcomes import outcome, percent, steps_told
from pfms_ha_tui.worker.protocol import Order
from pfms_ha_tui.worker.queue import ResyncQueue
from pfms_ha_tui.worker.recovery import Recovery
from pfms_ha_tui.worker.resyncs import Resyncs
from pfms_ha_tui.worker.retries import FIRST_RETRY, Key, Retries
from pfms_ha_tui.worker.taking_over import take_over
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

_CAN_WAIT = {Action.REJOIN, Action.RESYNC}
"""While such an action waits for its next attempt, what people asked for goes first."""
_ENDED = {OperationState.DONE, OperationState.FAILED, OperationState.CANCELLED}


class ClusterHands:
    """Carries out what is decided and ordered for one cluster."""

    def __init__(
        self,
        monitor: ClusterMonitor,
        ledger: Ledger,
        *,
        archives: Path,
        now: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.monitor = monitor
        self.records = Records(ledger, monitor.name)
        self.builder = Builder(monitor, self.records, archives=archives)
        self._ledger = ledger
        self._engine = Engine(ledger, publish=self._progressed)
        self._now = now
        self._mono = mono
        self._task: asyncio.Task[OperationView] | None = None
        self._begun: asyncio.Future[OperationView] | None = None
        self._interrupted: OperationView | None = None
        """How the task left its operation, if it could not bring it to an end."""
        self._resyncing: str | None = None
        """Label of the node that a clone rebuilds now."""
        self._queue = ResyncQueue(monitor)
        self._recovery = Recovery(monitor, self._recovered, mono=mono)
        self._retries = Retries(mono)
        self._resyncs = Resyncs(monitor, self.order_by_itself)
        self._stopping = False

    @property
    def busy(self) -> bool:
        """Whether an operation runs, or an interrupted one is not dealt with yet."""
        return self._task is not None or self._recovery.task is not None

    async def start(self) -> None:
        """Learn what an earlier worker left: records, and an operation that was interrupted."""
        await take_over(self.monitor.memory, self.records, self.monitor.cluster)
        entry = await in_thread(lambda: self._ledger.unfinished(self.monitor.name), name="ledger")
        if entry is not None:
            self.monitor.memory.operation = entry.view
            self._recovery.begin(entry.view, after=0.0)

    async def stop(self, timeout: float) -> None:
        """Let what runs come to its end for a moment; else it is left interrupted, for the next worker."""
        self._stopping = True
        self._queue.forget()
        waited = [task for task in (self._task, self._recovery.task) if task is not None]
        if waited:
            _, late = await asyncio.wait(waited, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=timeout)
        await in_thread(self._engine.close, name="ledger")

    def decided(self, decision: Decision) -> None:
        """Carry out a decision of the worker's own, unless something runs or it failed a moment ago.

        A resync that waits has its turn when there is nothing more urgent.
        """
        if not self._stopping:
            self._resyncs.look(decision)
        if self.busy or self._stopping:
            return
        key = (decision.action, decision.target)
        failed = self._retries.waits(key)
        if decision.idle or (failed and decision.action in _CAN_WAIT):
            self._begin_next()
        if decision.action is Action.NONE or failed:
            return
        try:
            operation = self.builder.by_decision(decision)
        except PfmsError as error:
            self._failed(key, str(error))
            return
        log.info("%s: %s", self.monitor.name, decision.reason)
        if decision.action is Action.RESYNC and decision.target is not None:
            self.monitor.memory.resynced_by_itself(decision.target)
        if decision.action is Action.MERGE_AND_CLONE and decision.target is not None:
            self.monitor.memory.merged_by_itself(decision.target)
        self._launch(operation, actor="worker", reason=decision.reason, key=key)

    async def ordered(self, operation: ClusterOperation, *, actor: str) -> OperationView:
        """Begin a person's operation; as it is once its beginning is journaled.

        Raises:
            OperationError: something runs already, or it could not begin.
        """
        if self.busy or self._stopping:
            raise OperationError("an operation is running on this cluster", code="busy")
        begun: asyncio.Future[OperationView] = asyncio.get_running_loop().create_future()
        self._begun = begun
        task = self._launch(operation, actor=actor, reason=f"{actor} ordered it", key=None)
        await asyncio.wait({begun, task}, return_when=asyncio.FIRST_COMPLETED)
        return begun.result() if begun.done() else task.result()

    def queue(
        self,
        label: str,
        order: Order,
        *,
        actor: str,
        planned: str | None = None,
        source: str | None = None,
    ) -> None:
        """Resync a node as soon as nothing else runs, if that is then still what was ``planned``.

        Raises:
            OperationError: it waits already.
        """
        self._queue.add(label, lambda: self.builder.allowed(order, planned, source=source), actor=actor)

    def order_by_itself(self, order: Order, *, actor: str, reason: str) -> None:
        """Begin, or queue, a resync that nobody at a console asked for.

        Raises:
            OperationError: it may not be started now, or waits already.
        """
        operation = self.builder.allowed(order)
        if self.busy and order.target is not None:
            self.queue(order.target, order, actor=actor)
        else:
            self._launch(operation, actor=actor, reason=reason, key=None)

    async def rehearse(self, operation: ClusterOperation, *, actor: str) -> OperationView:
        """Every guard and check against the live cluster; nothing is changed."""
        return await self._engine.run(operation, actor=actor, dry_run=True)

    def cancel(self, number: int, actor: str) -> None:
        """Ask the running operation to end at its next safe point.

        Raises:
            OperationError: it does not run, or has no safe point left.
        """
        execution = self._engine.running(self.monitor.name)
        if execution is None or execution.number != number:
            raise OperationError(f"operation {number} is not running")
        execution.cancel(actor)

    def cancel_queued(self, label: str, actor: str) -> None:
        """Forget the resync of a node that waits for its turn.

        Raises:
            OperationError: none waits.
        """
        self._queue.cancel(label, actor)

    async def give_up(self, number: int, actor: str) -> None:
        """End an interrupted operation as it is, by a person's decision.

        Raises:
            OperationError: it is not interrupted.
        """
        entry = await in_thread(lambda: self._ledger.unfinished(self.monitor.name), name="ledger")
        if entry is None or entry.id != number or self._task is not None:
            raise OperationError(f"operation {number} is not interrupted")
        await self._recovery.hold()
        try:
            await self._engine.give_up(entry, actor=actor)
            await self._ended_elsewhere(number)
        except PfmsError:
            self._recovery.begin(entry.view, after=FIRST_RETRY)
            raise
        self._tell(Severity.WARNING, "operation_given_up", f"{entry.title} was given up", actor, number)
        self._recovery.over()

    async def acknowledge(self, actor: str) -> bool:
        """Lift the block after a failover; whether there was one."""
        count = await in_thread(lambda: self.records.acknowledge(actor), name="ledger")
        known = self.monitor.memory.acknowledge(actor)
        return known or count > 0

    async def past(self, limit: int) -> list[OperationView]:
        """The newest operations."""
        entries = await in_thread(lambda: self._ledger.recent(self.monitor.name, limit), name="ledger")
        return [entry.view for entry in entries]

    def _begin_next(self) -> None:
        following = self._queue.next()
        if following is not None:
            operation, actor = following
            self._launch(operation, actor=actor, reason=f"{actor} ordered it", key=None)

    def _launch(
        self, operation: ClusterOperation, *, actor: str, reason: str, key: Key | None
    ) -> asyncio.Task[OperationView]:
        self._resyncing = operation.asked.target if isinstance(operation, Clone) else None
        self._interrupted = None
        self._queue.show()
        work = self._carry_out(operation, actor=actor, reason=reason, key=key)
        self._task = asyncio.create_task(work, name=operation.title)
        self._task.add_done_callback(self._over)
        return self._task

    def _over(self, task: asyncio.Task[OperationView]) -> None:
        self._task = None
        self._begun = None
        self._no_resync()
        if self._interrupted is not None and not self._stopping:
            self._recovery.begin(self._interrupted, after=FIRST_RETRY)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, PfmsError) else logging.ERROR
            log.log(level, "%s: %s", task.get_name(), error, exc_info=not isinstance(error, PfmsError))
        self.monitor.judge_soon()

    async def _carry_out(
        self, operation: ClusterOperation, *, actor: str, reason: str, key: Key | None
    ) -> OperationView:
        severity = Severity.INFO if key is None else Severity.WARNING
        self._tell(severity, "operation_started", f"{operation.title} begins: {reason}", actor)
        try:
            view = await self._engine.run(operation, actor=actor)
        except PfmsError as error:
            if key is not None:
                self._failed(key, str(error))
            self._tell(
                Severity.CRITICAL, "operation_failed", f"{operation.title} did not begin: {error}", actor
            )
            raise
        if view.state is OperationState.INTERRUPTED:
            self._interrupted = view
        self._allow_resync(operation, view)
        await self._concluded(view)
        if key is None and isinstance(operation, Clone) and view.state is OperationState.DONE:
            self.monitor.memory.resynced_by_person(operation.asked.target)
        if key is not None:
            if view.state is OperationState.DONE:
                self._retries.succeeded(key)
            else:
                self._failed(key, view.text or "it failed")
        return view

    def _allow_resync(self, operation: ClusterOperation, view: OperationView) -> None:
        """Once its own merge is proven the worker may rebuild the losing side unasked, until that is done."""
        if view.state is not OperationState.DONE:
            return
        if isinstance(operation, SplitRepair):
            losing, master = operation.repair.losing, operation.repair.master
            why = f"the rows of {losing} were archived and merged into {master}"
            self.monitor.memory.may_resync(losing, why)
        elif isinstance(operation, Clone):
            self.monitor.memory.may_resync(operation.asked.target, None)

    async def _concluded(self, view: OperationView) -> None:
        """What an operation left behind counts before anybody is told that it ended."""
        await self._settle()
        self.monitor.memory.operation = view
        self.monitor.kick()
        severity, text = outcome(view)
        kind = f"operation_{view.state.value}"
        self._tell(severity, kind, text, view.actor, view.id, details=steps_told(view))

    async def _settle(self) -> None:
        """Nothing is rebuilt any more, and what the operation left behind counts."""
        self._no_resync()
        await take_over(self.monitor.memory, self.records, self.monitor.cluster)

    def _no_resync(self) -> None:
        label, self._resyncing = self._resyncing, None
        if label is not None:
            self.monitor.memory.resyncs.pop(label, None)

    async def _ended_elsewhere(self, number: int) -> None:
        """An interrupted operation was ended by a person, or by another process."""
        await self._settle()
        ended = await in_thread(lambda: self._ledger.entry(number), name="ledger")
        self.monitor.memory.operation = ended.view if ended is not None else None

    async def _recovered(self, number: int) -> bool:
        """One attempt to bring it to an end; whether it has ended, by this or otherwise.

        Raises:
            PfmsError: it could not be attempted.
        """
        entry = await in_thread(lambda: self._ledger.unfinished(self.monitor.name), name="ledger")
        if entry is None or entry.id != number:
            await self._ended_elsewhere(number)
            return True
        self._resyncing = _target_of(entry)
        operation = self.builder.again(entry)
        view = await self._engine.recover(operation, entry)
        if view.state not in _ENDED:
            self.monitor.memory.operation = view
            log.warning("%s stays interrupted: %s", entry.title, view.text)
            return False
        self._allow_resync(operation, view)
        await self._concluded(view)
        return True

    def _progressed(self, view: OperationView) -> None:
        if self._begun is not None and not self._begun.done() and not view.dry_run:
            self._begun.set_result(view)
        if self._resyncing is not None and not view.dry_run and view.state is OperationState.RUNNING:
            self.monitor.memory.resyncs[self._resyncing] = Sync(
                state=SyncState.RUNNING, percent=percent(view)
            )
        if view.dry_run or view.state not in _ENDED:
            # The end is shown by _concluded, once what the operation left behind counts.
            self.monitor.memory.operation = view
            self.monitor.judge_soon()

    def _failed(self, key: Key, reason: str) -> None:
        wait = self._retries.failed(key)
        log.warning("%s of %s failed, next attempt in %.0f s at the earliest: %s", *key, wait, reason)

    def _tell(
        self,
        severity: Severity,
        kind: str,
        text: str,
        actor: str,
        operation: int | None = None,
        details: str | None = None,
    ) -> None:
        self.monitor.memory.journal.add_event(
            cluster=self.monitor.name,
            severity=severity,
            kind=kind,
            text=text,
            actor=actor,
            operation=operation,
            details=details,
        )


class Conductor:
    """The hands of a worker; see :class:`pfms_ha_tui.worker.hands.Hands`."""

    def __init__(self, ledger: Ledger, clusters: dict[str, ClusterHands]) -> None:
        self.clusters = clusters
        self._ledger = ledger
        self._watch = LedgerWatch(ledger, [hands.monitor.memory for hands in clusters.values()])
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find what was interrupted, so that it blocks every decision."""
        for hands in self.clusters.values():
            await hands.start()
        self._watching = asyncio.create_task(self._watch.run(), name="ledger watch")

    def decided(self, monitor: ClusterMonitor, decision: Decision) -> None:
        """A judgement."""
        self.clusters[monitor.name].decided(decision)

    def happened(self, event: Event) -> None:
        """A new line of the timeline; nothing here acts on events."""

    async def stop(self, timeout: float) -> None:
        """Leave what is running so that the next worker can go on with it."""
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(hands.stop(timeout) for hands in self.clusters.values()))
        await in_thread(self._ledger.close, name="ledger")


def _target_of(entry: Entry) -> str | None:
    """The node that an interrupted clone rebuilds."""
    target = entry.params.get("target") if entry.kind == Clone.kind else None
    return target if isinstance(target, str) else None

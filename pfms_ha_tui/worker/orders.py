"""The socket's methods that change something: orders, maintenance, mode. Each needs full rights."""

from __future__ import annotations

import contextlib
import time

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.snapshot import Maintenance
from pfms_ha_tui.errors import OperationError, PfmsError, WorkerError
from pfms_ha_tui.operations.clone import Clone
from pfms_ha_tui.operations.clone.checking import check
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.failover import Failover
from pfms_ha_tui.operations.ledger import Ledger, LedgerError
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeUndo
from pfms_ha_tui.operations.preview import steps_ahead
from pfms_ha_tui.operations.view import CloneCheck, OperationState, OperationView
from pfms_ha_tui.worker.building import as_planned
from pfms_ha_tui.worker.conductor import ClusterHands, Conductor
from pfms_ha_tui.worker.event_hooks import EventHooks
from pfms_ha_tui.worker.impact import impact_of
from pfms_ha_tui.worker.main import Worker
from pfms_ha_tui.worker.merge_methods import MergeMethods
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.planning import Planning
from pfms_ha_tui.worker.protocol import (
    CLONE_CHECK_WITHIN,
    Cancel,
    ClusterRef,
    NodeQuery,
    Nothing,
    OperationRef,
    OperationsQuery,
    Order,
    OrderKind,
    Pause,
    Plan,
    Rights,
    SetMode,
    Start,
)
from pfms_ha_tui.worker.server import Methods

PLAN_WITHIN = 25.0
"""Seconds that a plan may take: less than a client waits for it."""
_DAY = 86_400.0
LONGEST_PAUSE = 30 * _DAY


class Orders(Conductor):
    """A conductor that also takes orders from people."""

    def __init__(self, ledger: Ledger, clusters: dict[str, ClusterHands]) -> None:
        super().__init__(ledger, clusters)
        self._planning = Planning()
        self._hooks = EventHooks({name: hands.monitor for name, hands in clusters.items()})

    def happened(self, event: Event) -> None:
        """The site may have asked to be told."""
        super().happened(event)
        self._hooks.happened(event)

    def offer(self, methods: Methods) -> None:
        """Add the methods."""
        methods.add("operations", OperationsQuery, self._operations, rights=Rights.READ)
        methods.add("plan", Order, self._plan, rights=Rights.READ)
        methods.add("clone_check", Order, self._clone_check, rights=Rights.FULL)
        methods.add("start", Start, self._start, rights=Rights.FULL)
        methods.add("cancel", Cancel, self._cancel, rights=Rights.FULL)
        methods.add("give_up", OperationRef, self._give_up, rights=Rights.FULL)
        methods.add("pause", Pause, self._pause, rights=Rights.FULL)
        methods.add("resume", ClusterRef, self._resume, rights=Rights.FULL)
        methods.add("acknowledge", ClusterRef, self._acknowledge, rights=Rights.FULL)
        methods.add("set_mode", SetMode, self._set_mode, rights=Rights.FULL)
        methods.add("name_master", NodeQuery, self._name_master, rights=Rights.FULL)
        MergeMethods(lambda cluster: self._hands(cluster).monitor).offer(methods)

    async def _operation(self, order: Order, hands: ClusterHands) -> ClusterOperation:
        """What an order comes to; whether it may be started is another question.

        Raises:
            OperationError: it does not say what is needed.
        """
        merge = None
        if order.kind is OrderKind.MERGE:
            merge = await self._planning.thread(lambda: hands.builder.read_merge(order), name="merge order")
        return hands.builder.by_order(order, merge)

    async def _warning(self, operation: ClusterOperation) -> str | None:
        """Why a merge looks like the wrong way round; a silent node is the operation's to report."""
        if not isinstance(operation, MergeBack):
            return None
        try:
            return await self._planning.thread(operation.why_wrong_way, name="merge direction")
        except PfmsError:
            return None

    def _hands(self, cluster: str) -> ClusterHands:
        hands = self.clusters.get(cluster)
        if hands is None:
            names = ", ".join(self.clusters)
            raise WorkerError(
                f"there is no cluster {cluster!r}", code="params", hint=f"the worker watches {names}"
            )
        return hands

    async def _operations(self, _peer: Peer, query: OperationsQuery) -> list[OperationView]:
        return await self._hands(query.cluster).past(max(1, min(query.limit, 500)))

    async def _plan(self, peer: Peer, order: Order) -> Plan:
        hands = self._hands(order.cluster)
        full = peer.rights is Rights.FULL
        if not full and (order.resume or order.restore or order.undo):
            reason = f"{peer.actor} may only look: what was saved of a merge is read with full rights"
            raise WorkerError(reason, code="denied")

        async def plan() -> Plan:
            operation = await self._operation(order, hands)
            return Plan(
                operation=_planned(operation, peer.actor),
                confirm=_confirm(operation, order),
                by_name=isinstance(operation, Failover) and operation.asked.by_name,
                why_not=hands.builder.why_not(order),
                impact=await impact_of(order, hands.monitor, operation, ask=full),
                warning=await self._warning(operation) if full else None,
            )

        return await self._planning.ask((peer.pid, peer.uid, "plan"), plan, within=PLAN_WITHIN)

    async def _clone_check(self, peer: Peer, order: Order) -> CloneCheck:
        builder = self._hands(order.cluster).builder
        operation = builder.by_order(order)
        if not isinstance(operation, Clone):
            raise WorkerError(f"a {order.kind.value} has no checks of a clone", code="params")
        return await self._planning.ask(
            (peer.pid, peer.uid, "clone"),
            lambda: check(operation, builder.why_not(order)),
            within=CLONE_CHECK_WITHIN - 5,
        )

    async def _start(self, peer: Peer, start: Start) -> OperationView:
        hands = self._hands(start.order.cluster)
        operation = await self._operation(start.order, hands)
        if start.dry_run:
            return await hands.rehearse(operation, actor=peer.actor)
        as_planned(operation, start.planned)
        why = hands.builder.why_not(start.order)
        if why is not None:
            raise OperationError(f"{operation.title} is refused: {why}", code="refused")
        label = _confirm(operation, start.order)
        if start.confirm != label:
            raise OperationError(
                f"{operation.title} is not confirmed",
                code="unconfirmed",
                hint=f"the label {label} has to be typed",
            )
        if start.order.kind is OrderKind.CLONE and hands.busy:
            source = operation.asked.source if isinstance(operation, Clone) else None
            hands.queue(label, start.order, actor=peer.actor, planned=operation.title, source=source)
            return _planned(operation, peer.actor)
        return await hands.ordered(operation, actor=peer.actor)

    async def _cancel(self, peer: Peer, which: Cancel) -> Nothing:
        hands = self._hands(which.cluster)
        if which.queued is not None:
            hands.cancel_queued(which.queued, peer.actor)
        elif which.id is not None:
            hands.cancel(which.id, peer.actor)
        else:
            raise WorkerError("neither an operation nor a node is named", code="params")
        return Nothing()

    async def _give_up(self, peer: Peer, which: OperationRef) -> Nothing:
        await self._hands(which.cluster).give_up(which.id, peer.actor)
        return Nothing()

    async def _pause(self, peer: Peer, pause: Pause) -> Nothing:
        if not 0 < pause.seconds <= LONGEST_PAUSE:
            raise WorkerError(
                f"a maintenance is longer than nothing and lasts up to {LONGEST_PAUSE / _DAY:.0f} days",
                code="params",
            )
        hands = self._hands(pause.cluster)
        until = time.time() + pause.seconds
        reason = " ".join(pause.reason.split())[:200]
        hands.monitor.memory.pause(Maintenance(until=until, reason=reason, by=peer.actor))
        hands.monitor.judge_soon()
        return Nothing()

    async def _resume(self, peer: Peer, which: ClusterRef) -> Nothing:
        hands = self._hands(which.cluster)
        hands.monitor.memory.resume(peer.actor)
        hands.monitor.judge_soon()
        return Nothing()

    async def _acknowledge(self, peer: Peer, which: ClusterRef) -> Nothing:
        hands = self._hands(which.cluster)
        if not await hands.acknowledge(peer.actor):
            raise OperationError("there is no failover to acknowledge")
        hands.monitor.judge_soon()
        return Nothing()

    async def _set_mode(self, peer: Peer, wanted: SetMode) -> Nothing:
        hands = self._hands(wanted.cluster)
        rival = hands.monitor.memory.rival
        if wanted.mode is Mode.AUTOMATIC and rival is not None:
            raise OperationError(
                f"automatic is refused: {rival}",
                code="refused",
                hint="two failover managers must never fight: stop pandora_ha first",
            )
        hands.monitor.memory.set_mode(wanted.mode, peer.actor)
        hands.monitor.judge_soon()
        return Nothing()

    async def _name_master(self, peer: Peer, which: NodeQuery) -> Nothing:
        hands = self._hands(which.cluster)
        if hands.monitor.cluster.node(which.node) is None:
            labels = ", ".join(node.label for node in hands.monitor.cluster.nodes)
            raise WorkerError(
                f"there is no node {which.node!r} in {which.cluster}",
                code="params",
                hint=f"its nodes: {labels}",
            )
        why = hands.builder.why_not_name(which.node)
        if why is not None:
            raise OperationError(f"naming {which.node} the master is refused: {why}", code="refused")
        hands.monitor.memory.name_master(which.node, peer.actor)
        hands.monitor.judge_soon()
        return Nothing()


def make_hands(worker: Worker) -> Orders:
    """The hands of ``worker``.

    Raises:
        OperationError: the ledger cannot be opened.
    """
    state = worker.settings.worker.state_dir
    ledger = Ledger(state / "operations.db")
    with contextlib.suppress(LedgerError):
        ledger.forget_before(time.time() - worker.settings.worker.event_days * _DAY)
    clusters = {
        name: ClusterHands(monitor, ledger, archives=state / "archive")
        for name, monitor in worker.monitors.items()
    }
    return Orders(ledger, clusters)


def _confirm(operation: ClusterOperation, order: Order) -> str:
    """The label to type: the node that is changed the most.

    It is the one the order names; the dead master that a failover gives up, or the node that is promoted only
    because its name is typed; the losing side of a merge, or
    the master where no node loses.
    """
    match operation:
        case Failover() if order.target is None:
            asked = operation.asked
            return asked.candidates[0] if asked.by_name else asked.old_master
        case MergeBack():
            return operation.asked.losing or operation.asked.master
        case MergeUndo():
            return operation.asked.master
        case _:
            return order.target or ""


def _planned(operation: ClusterOperation, actor: str) -> OperationView:
    return OperationView(
        id=0,
        kind=operation.kind,
        title=operation.title,
        state=OperationState.PLANNED,
        actor=actor,
        dry_run=True,
        steps=steps_ahead(operation),
    )

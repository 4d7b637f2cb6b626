"""What an order costs, in sentences, as far as it is known now: shown before it is confirmed."""

from __future__ import annotations

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.candidates import received_more
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot, SyncState
from pfms_ha_tui.cluster.topology import slaves_of
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.operations.clone import Clone
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.failover import Failover
from pfms_ha_tui.operations.loss import measure_loss
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeUndo
from pfms_ha_tui.worker.merges import merge_impact
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.protocol import Order, OrderKind


async def impact_of(
    order: Order, monitor: ClusterMonitor, operation: ClusterOperation, *, ask: bool
) -> tuple[str, ...]:
    """One sentence for each thing that will be lost, ended or changed.

    Args:
        order: What was ordered.
        monitor: Of its cluster.
        operation: What the order comes to.
        ask: Whether nodes and hosts may be asked; else what is known already has to do.
    """
    if isinstance(operation, MergeBack | MergeUndo):
        return merge_impact(operation)
    snapshot = monitor.history[-1] if monitor.history else None
    label = monitor.state.diagnosis.master if monitor.state is not None else None
    master = snapshot.node(label) if snapshot is not None and label is not None else None
    if snapshot is None or master is None:
        return ()
    if isinstance(operation, Failover):
        return (
            await _loss(order, snapshot, master, operation)
            if ask
            else f"What was not received of {master.label} is measured for those with full rights only.",
            f"{master.label} is fenced: its server process is killed if its host can be reached.",
            *_failed_resync(operation, snapshot),
        )
    match order.kind:
        case OrderKind.SWITCHOVER:
            clients = master.facts.threads_connected if master.facts is not None else None
            many = (
                "an unknown number of connections" if clients is None else words.plural(clients, "connection")
            )
            return (
                f"{master.label} has {many} now; those of clients are ended.",
                f"Nobody can write from the moment {master.label} is locked until {order.target} is open.",
            )
        case OrderKind.CLONE:
            return (
                f"All data of {order.target} is replaced.",
                *_not_merged(order, monitor, master),
                *_never_compared(order, snapshot, master),
                _old_data(order, operation),
            )
        case OrderKind.LOCK:
            return (f"Clients of {order.target} are ended; what they write from then on fails.",)
        case _:
            return ()


def _failed_resync(operation: Failover, snapshot: Snapshot) -> tuple[str, ...]:
    """What a person who names the node goes past."""
    able = operation.asked.candidates
    node = snapshot.node(able[0]) if len(able) == 1 else None
    if node is None or node.sync.state is not SyncState.FAILED:
        return ()
    why = words.quoted(node.sync.reason or "its resync failed").rstrip(".")
    return (f"{node.label} would not take over by itself: {why}. Its old data is in its place.",)


def _not_merged(order: Order, monitor: ClusterMonitor, master: NodeState) -> tuple[str, ...]:
    """A node that diverged holds what a merge is for."""
    target = order.target
    if target not in monitor.memory.diverged:
        return ()
    return (f"What only {target} holds goes with it: {master.label} does not have it. Merge it first.",)


def _never_compared(order: Order, snapshot: Snapshot, master: NodeState) -> tuple[str, ...]:
    """A master that died and did not come back may be the only one to know what it wrote last."""
    node = snapshot.node(order.target) if order.target is not None else None
    if node is None or node.label == master.label or node.role is not Role.MASTER:
        return ()
    return (
        f"{node.label} was the master until it died, and was not compared since: what it wrote last may be"
        " nowhere else, and goes with its old data. If its server starts, it is compared first.",
    )


def _old_data(order: Order, operation: ClusterOperation) -> str:
    if isinstance(operation, Clone) and operation.asked.method is CloneMethod.SCRIPT:
        return "What becomes of its old data is up to the site's own script."
    if order.give_up_old:
        return (
            "If there is no room for both, its old data is removed BEFORE the copy: should that fail,"
            f" {order.target} has no data until another resync succeeds."
        )
    return "Its old data stays beside the new until that has caught up and was compared; then it goes."


async def _loss(order: Order, snapshot: Snapshot, master: NodeState, operation: Failover) -> str:
    """The loss meter: what the node that would be promoted has not received of what the master wrote."""
    slaves = [node for node in slaves_of(snapshot, master) if order.target in (None, node.label)]
    able = [node for node in slaves if node.label in operation.asked.candidates] or slaves
    if not able:
        return f"What was not received of {master.label} is unknown: there is no slave to promote."
    best = able[0]
    for node in able[1:]:
        if received_more(node, best):
            best = node
    loss = await measure_loss(snapshot, master.label, best.label, operation.context)
    return loss.sentence()

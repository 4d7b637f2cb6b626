"""What an order costs, in sentences, as far as it is known now: shown before it is confirmed."""

from __future__ import annotations

from pfms_ha_tui.cluster.snapshot import NodeState
from pfms_ha_tui.cluster.topology import slaves_of
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.protocol import Order, OrderKind


def impact_of(order: Order, monitor: ClusterMonitor) -> tuple[str, ...]:
    """One sentence for each thing that will be lost, ended or changed."""
    snapshot = monitor.history[-1] if monitor.history else None
    label = monitor.state.diagnosis.master if monitor.state is not None else None
    master = snapshot.node(label) if snapshot is not None and label is not None else None
    if snapshot is None or master is None:
        return ()
    match order.kind:
        case OrderKind.FAILOVER:
            slaves = [node for node in slaves_of(snapshot, master) if order.target in (None, node.label)]
            return (
                *(_loss(node, master) for node in slaves),
                f"{master.label} is fenced: its server process is killed if its host can be reached.",
            )
        case OrderKind.SWITCHOVER:
            clients = master.facts.threads_connected if master.facts is not None else None
            many = "an unknown number of" if clients is None else str(clients)
            return (
                f"{master.label} has {many} connections now; those of clients are ended.",
                f"Nobody can write from the moment {master.label} is locked until {order.target} is open.",
            )
        case OrderKind.CLONE:
            return (
                f"All data of {order.target} is replaced.",
                "Its old data stays beside the new until that has caught up and was compared; then it goes.",
            )
        case OrderKind.MERGE:
            return (
                f"{order.target} is locked: read-only, its clients ended. Nothing on it is deleted.",
                "Everything in the window is written to an archive before anything is added.",
                f"Only rows that {master.label} lacks are added to it.",
            )
        case OrderKind.LOCK:
            return (f"Clients of {order.target} are ended; what they write from then on fails.",)
        case _:
            return ()


def _loss(node: NodeState, master: NodeState) -> str:
    """The loss meter: what ``node`` has not received of what ``master`` was last seen to have."""
    replication, facts = node.replication, master.facts
    read = replication.read if replication is not None else None
    last = facts.binlog if facts is not None else None
    if read is None or last is None or not read.comparable(last):
        return f"What {node.label} has not received of {master.label} is not known."
    if read >= last:
        return f"{node.label} has received everything that {master.label} was last seen to have written."
    if read.file == last.file:
        return f"{node.label} lacks at least {last.pos - read.pos} bytes that {master.label} had written."
    return f"{node.label} lacks more than one binary log file of {master.label}: it stands at {read}."

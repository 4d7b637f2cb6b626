"""Operations from what is known: by a decision, by a person's order, or again from the ledger."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pfms_ha_tui.cluster.candidates import eligible, only_by_name, why_not_candidate
from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Severity
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.observation import Flavor
from pfms_ha_tui.cluster.permits import (
    why_not_change,
    why_not_failover,
    why_not_rejoin,
    why_not_reopen,
    why_not_resync,
    why_not_switchover,
)
from pfms_ha_tui.cluster.policy import OnIsolation, Policy
from pfms_ha_tui.cluster.refusals import why_not_lock, why_not_name
from pfms_ha_tui.cluster.sides import known_master
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot
from pfms_ha_tui.cluster.topology import slaves_of, writers
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.clone import Clone, CloneParams
from pfms_ha_tui.operations.context import ClusterOperation, Context, HostFacts
from pfms_ha_tui.operations.failover import Failover, FailoverParams
from pfms_ha_tui.operations.ledger import Entry
from pfms_ha_tui.operations.lock import Lock, LockParams, Reopen, ReopenParams
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams, MergeUndo, MergeUndoParams
from pfms_ha_tui.operations.merge.repair import RepairParams, SplitRepair
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.operations.rejoin import Rejoin, RejoinParams
from pfms_ha_tui.operations.switchover import Switchover, SwitchoverParams
from pfms_ha_tui.worker.merges import read_merge
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.parting import apart_since
from pfms_ha_tui.worker.protocol import Order, OrderKind


class Builder:
    """Builds the operations of one cluster from what its monitor sees."""

    def __init__(self, monitor: ClusterMonitor, records: Records, *, archives: Path) -> None:
        self._monitor = monitor
        self._records = records
        self._archives = monitor.cluster.merge.archive_dir or archives

    @property
    def context(self) -> Context:
        """The surroundings of an operation that begins now."""
        monitor = self._monitor
        nodes = monitor.history[-1].nodes if monitor.history else ()
        facts = {node.label: node.facts for node in nodes if node.facts is not None}
        master = facts.get(monitor.facts.master or "")
        return Context(
            cluster=monitor.cluster,
            records=self._records,
            worker=f"{socket.gethostname()}:{os.getpid()}",
            shells=self._shell,
            host_facts={
                label: HostFacts(pid_file=one.pid_file, datadir=one.datadir) for label, one in facts.items()
            },
            dialects={label: Dialect.of(one.version, one.version_comment) for label, one in facts.items()},
            by_gtid=any(channel.gtid for one in facts.values() for channel in one.replication or ()),
            binlog_sizes=master.binlog_sizes if master is not None else {},
            spare=self._own_connections,
            recheck=self._complaints,
            apart_since=self._apart_since,
            known_master=lambda: known_master(monitor.memory.facts()),
        )

    def by_decision(self, decision: Decision) -> ClusterOperation:
        """What the worker does by itself.

        Raises:
            OperationError: the decision names no node, or an action that nothing here carries out.
        """
        if decision.target is None:
            raise OperationError("the decision names no node")
        match decision.action:
            case Action.FAILOVER:
                return self._failover(decision.master, None, by_person=False)
            case Action.LOCK:
                return self._lock(decision.target, decision.master, by_person=False)
            case Action.REJOIN:
                return self._rejoin(decision.target, decision.master)
            case Action.REOPEN:
                return Reopen(self.context, ReopenParams(node=decision.target))
            case Action.MERGE_AND_CLONE:
                return self._repair(decision.target, decision.master)
            case Action.RESYNC:
                target = decision.target
                order = Order(cluster=self._monitor.name, kind=OrderKind.CLONE, target=target, keep_old=True)
                return self._clone(target, decision.master, order)
            case _:
                raise OperationError(f"nothing here carries out {decision.action.value!r} yet")

    def read_merge(self, order: Order) -> MergeParams | MergeUndoParams:
        """What an order to merge comes to; blocks, as it may read files.

        Raises:
            OperationError: it does not say what is needed, or the files do not.
        """
        return read_merge(order, self._monitor.cluster, self._diagnosis.master, self._archives)

    def by_order(self, order: Order, merge: MergeParams | MergeUndoParams | None = None) -> ClusterOperation:
        """What a person asked for; whether it is allowed is another question.

        Args:
            order: The order.
            merge: What :meth:`read_merge` made of an order to merge.

        Raises:
            OperationError: it does not say what is needed.
        """
        master = self._diagnosis.master
        if order.kind is OrderKind.FAILOVER:
            return self._failover(master, order.target, by_person=True)
        if order.kind is OrderKind.MERGE:
            return self._merge(merge or self.read_merge(order))
        target = self._known(order.target)
        match order.kind:
            case OrderKind.SWITCHOVER:
                if master is None:
                    raise OperationError("it is not known which node is the master")
                return Switchover(
                    self.context,
                    SwitchoverParams(
                        master=master,
                        target=target,
                        others=tuple(label for label in self._slaves(master) if label != target),
                        kill_long=order.kill_long,
                    ),
                )
            case OrderKind.REJOIN:
                return self._rejoin(target, master)
            case OrderKind.LOCK:
                return self._lock(target, self._other_writer(target), by_person=True)
            case OrderKind.REOPEN:
                return Reopen(self.context, ReopenParams(node=target))
            case OrderKind.CLONE:
                return self._clone(target, master, order)

    def allowed(
        self, order: Order, planned: str | None = None, *, source: str | None = None
    ) -> ClusterOperation:
        """The operation of an order that may be started now.

        Asked again when a queued one gets its turn: meanwhile its node may have become the master, or the
        only holder of some rows, or another node its source.

        Args:
            order: The order.
            planned: See :func:`as_planned`.
            source: Of a resync: the source that was shown. If nobody named it, it is kept as long as it will
                do, and another one that has to be taken instead is told.

        Raises:
            OperationError: it may not, and why.
        """
        chosen = operation = self.by_order(order)
        if source is not None and order.source is None and isinstance(chosen, Clone):
            operation = self._clone(chosen.asked.target, chosen.asked.master, order, source=source)
        as_planned(operation, planned)
        why = self.why_not(order)
        if why is not None:
            raise OperationError(f"{operation.title} is refused: {why}", code="refused")
        if operation is chosen or not isinstance(operation, Clone) or self._will_do(operation.asked):
            return operation
        self._monitor.memory.journal.add_event(
            cluster=self._monitor.name,
            node=order.target,
            severity=Severity.WARNING,
            kind="operation_changed",
            text=f"{source} will not do any more: instead of the {operation.title}, the {chosen.title}",
            actor="worker",
        )
        return chosen

    def why_not(self, order: Order) -> str | None:
        """Why the order is refused now, as one clause; ``None`` if it may be started."""
        monitor = self._monitor
        history, diagnosis = monitor.history, self._diagnosis
        policy, facts = monitor.memory.policy, monitor.memory.facts()
        if order.kind is OrderKind.FAILOVER:
            return why_not_failover(history, diagnosis, policy, facts, target=order.target)
        if order.kind is OrderKind.MERGE:
            return why_not_change(history, policy, facts)
        target = self._known(order.target)
        match order.kind:
            case OrderKind.SWITCHOVER:
                return why_not_switchover(target, history, diagnosis, policy, facts)
            case OrderKind.REJOIN:
                return why_not_rejoin(target, history, diagnosis, policy, facts)
            case OrderKind.REOPEN:
                return why_not_reopen(target, history, policy, facts)
            case OrderKind.LOCK:
                return why_not_lock(target, history, policy, facts)
            case OrderKind.CLONE:
                return why_not_resync(target, history, diagnosis, policy, facts, source=order.source)

    def why_not_name(self, target: str) -> str | None:
        """Why ``target`` may not be named the master, as one clause."""
        return why_not_name(target, self._monitor.history, self._monitor.memory.policy)

    def again(self, entry: Entry) -> ClusterOperation:
        """The very operation that an entry of the ledger tells of.

        Raises:
            OperationError: this version knows no such kind, or cannot read what it was asked.
        """
        return rebuild(entry.kind, entry.params, self.context)

    @property
    def _diagnosis(self) -> Diagnosis:
        state = self._monitor.state
        if state is None:
            raise OperationError("no node has been asked yet", hint="try again in a second")
        return state.diagnosis

    def _known(self, label: str | None) -> str:
        labels = [node.label for node in self._monitor.cluster.nodes]
        if label is None:
            raise OperationError("the order names no node", hint=f"its nodes: {', '.join(labels)}")
        if label not in labels:
            raise OperationError(f"the cluster has no node {label!r}", hint=f"its nodes: {', '.join(labels)}")
        return label

    def _failover(self, master: str | None, target: str | None, *, by_person: bool) -> Failover:
        snapshot = self._snapshot
        old = snapshot.node(master) if master is not None else None
        if old is None:
            raise OperationError("it is not known which node was the master")
        policy, facts = self._monitor.memory.policy, self._facts_without_operation()
        by_name = None
        if by_person:
            history = self._monitor.history
            able = [
                node.label
                for node in snapshot.nodes
                if node.label != old.label
                and (target is None or node.label == target)
                and why_not_candidate(
                    history, node, old, policy, facts, by_person=True, named=target is not None
                )
                is None
            ]
            by_name = None if target is not None else only_by_name(history, old, policy, facts)
            able = able or ([by_name] if by_name is not None else [])
        else:
            able = [node.label for node in eligible(self._monitor.history, old, policy, facts)]
        others = [label for label in self._slaves(old.label) if label not in able]
        return Failover(
            self.context,
            FailoverParams(
                old_master=old.label,
                candidates=tuple(able),
                others=tuple(others),
                evidence=self._diagnosis.evidence,
                fencing_required=policy.require_fencing and not by_person and not self._isolated(policy),
                by_person=by_person,
                by_name=by_name is not None,
                fault_at=self._fault_at(old, snapshot),
                old_server_id=old.facts.server_id if old.facts is not None else None,
                old_pid_file=old.facts.pid_file if old.facts is not None else None,
                old_datadir=old.facts.datadir if old.facts is not None else None,
            ),
        )

    def _repair(self, losing: str, master: str | None) -> SplitRepair:
        if master is None:
            raise OperationError("it is not known which side stays master")
        params = RepairParams(master=master, losing=losing, archives=str(self._archives))
        return SplitRepair(self.context, params)

    def _merge(self, params: MergeParams | MergeUndoParams) -> ClusterOperation:
        if isinstance(params, MergeUndoParams):
            return MergeUndo(self.context, params)
        return MergeBack(self.context, params)

    def _clone(self, target: str, master: str | None, order: Order, *, source: str | None = None) -> Clone:
        if master is None:
            raise OperationError("it is not known which node is the master")
        source = order.source or source or self._source(target, master)
        params = CloneParams(
            target=target,
            source=source,
            master=master,
            method=order.method,
            transfer=order.transfer,
            bandwidth=order.bandwidth,
            threads=order.threads,
            give_up_old=order.give_up_old,
            keep_old=order.keep_old,
            force_source=order.source is not None,
        )
        return Clone(self.context, params)

    def _source(self, target: str, master: str) -> str:
        """A healthy slave if there is one, as it loads the master less; else the master."""
        slaves = (label for label in self._slaves(master) if label != target)
        return next((label for label in slaves if self._is_healthy_source(target, label)), master)

    def _is_healthy_source(self, target: str, slave: str) -> bool:
        monitor, node = self._monitor, self._snapshot.node(slave)
        policy, facts = monitor.memory.policy, monitor.memory.facts()
        replication, seen = (node.replication, node.facts) if node is not None else (None, None)
        if replication is None or seen is None:
            return False
        if seen.flavor is Flavor.MYSQL and not replication.gtid:
            return False  # it may apply in parallel, and then its position says too little
        lag = replication.seconds_behind
        why = why_not_resync(target, monitor.history, self._diagnosis, policy, facts, source=slave)
        return why is None and lag is not None and lag <= policy.warn_lag

    def _will_do(self, asked: CloneParams) -> bool:
        """Whether what was planned some time ago can still be copied from where it was to be."""
        return asked.source == asked.master or self._is_healthy_source(asked.target, asked.source)

    def _isolated(self, policy: Policy) -> bool:
        """Whether nobody reaches the master, and the policy then is to promote without proof."""
        unreachable = self._diagnosis.kind is DiagnosisKind.MASTER_UNREACHABLE
        return unreachable and policy.on_isolation is OnIsolation.PROMOTE

    def _rejoin(self, target: str, master: str | None) -> Rejoin:
        if master is None:
            raise OperationError("there is no master that it could follow")
        return Rejoin(self.context, RejoinParams(node=target, master=master))

    def _lock(self, target: str, master: str | None, *, by_person: bool) -> Lock:
        if master is None:
            raise OperationError(f"there is no other writable node than {target}")
        return Lock(self.context, LockParams(node=target, master=master, by_person=by_person))

    def _other_writer(self, target: str) -> str | None:
        """The writable node that stays."""
        policy = self._monitor.memory.policy
        others = [one.label for one in writers(self._snapshot, policy) if one.label != target]
        return others[0] if others else None

    @property
    def _snapshot(self) -> Snapshot:
        if not self._monitor.history:
            raise OperationError("no node has been asked yet", hint="try again in a second")
        return self._monitor.history[-1]

    def _slaves(self, master: str) -> Sequence[str]:
        snapshot = self._snapshot
        node = snapshot.node(master)
        return [one.label for one in slaves_of(snapshot, node)] if node is not None else []

    def _shell(self, label: str) -> NodeShell | None:
        shell = self._monitor.hosts.shells.get(label)
        return shell if isinstance(shell, NodeShell) else None

    def _own_connections(self, label: str) -> Sequence[int]:
        node = self._snapshot.node(label)
        facts = node.facts if node is not None else None
        return [facts.connection_id] if facts is not None and facts.connection_id is not None else []

    def _facts_without_operation(self) -> JournalFacts:
        """The facts, without the operation that asks."""
        return replace(self._monitor.memory.facts(), operation=None)

    async def _apart_since(self, one: str, other: str) -> float | None:
        return await apart_since(self._monitor.memory.journal, self._monitor.name, one, other)

    async def _complaints(self) -> Sequence[str]:
        """The guards that do not hold now."""
        monitor = self._monitor
        judged = readiness(
            monitor.history, self._diagnosis, monitor.memory.policy, self._facts_without_operation()
        )
        return [guard.reason for guard in judged.guards if guard.ok is not True]

    def _fault_at(self, node: NodeState, snapshot: Snapshot) -> float | None:
        if node.fault_since is None:
            return None
        return snapshot.at - (snapshot.mono - node.fault_since)


def as_planned(operation: ClusterOperation, planned: str | None) -> None:
    """Nothing begins that was not shown: where the worker chooses, it may choose something else by now.

    Args:
        operation: What would begin.
        planned: The title that was shown; ``None`` when nobody was shown anything.

    Raises:
        OperationError: code ``changed``, with both titles.
    """
    if planned is not None and planned != operation.title:
        raise OperationError(
            f"what was planned was the {planned}; by now it would be the {operation.title}",
            code="changed",
            hint="look at the plan again",
        )

"""Resyncs that nobody at a console asked for: requests of the web console, and slaves that keep breaking."""

from __future__ import annotations

from typing import Protocol

from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.protocol import Order, OrderKind
from pfms_ha_tui.worker.web_requests import ACTOR, WebRequests


class Begin(Protocol):
    """Begins or queues an operation; raises OperationError if it may not be."""

    def __call__(self, order: Order, *, actor: str, reason: str) -> None: ...


class Resyncs:
    """Looks at every judgement of one cluster."""

    def __init__(self, monitor: ClusterMonitor, begin: Begin) -> None:
        self._monitor = monitor
        self._begin = begin
        self._web = WebRequests(monitor.cluster)
        self._told: set[str] = set()
        """Labels of which was told that they are not resynced by themselves any more."""

    def look(self, decision: Decision) -> None:
        """Act on what is new, unless there is, or may be in a moment, something more urgent to do."""
        if decision.idle:
            self._honour_web_requests()
        self._tell_given_up(decision)

    def _honour_web_requests(self) -> None:
        """Begin, or queue, what was asked for in Pandora's web console, if that is to be honoured."""
        memory, history = self._monitor.memory, self._monitor.history
        if not history or memory.rival is not None:
            return  # the other manager reads the same table
        for label in self._web.fresh(history[-1], memory.facts().master):
            if label in memory.resyncs:
                self._web.taken(label)
                continue
            order = Order(
                cluster=self._monitor.name,
                kind=OrderKind.CLONE,
                target=label,
                # There nobody is shown what the old data may hold; the site's script replaces it in any case.
                keep_old=self._monitor.cluster.clone.method is not CloneMethod.SCRIPT,
            )
            try:
                self._begin(order, actor=ACTOR, reason="it was asked for there")
            except PfmsError as error:
                if self._web.refused(label, str(error), history[-1].mono):
                    text = f"a resync of {label} was asked for in the web console: {error}"
                    self._tell(Severity.WARNING, "operation_refused", text, ACTOR)
            else:
                self._web.taken(label)

    def _tell_given_up(self, decision: Decision) -> None:
        """Say once that a slave which keeps breaking is left to people."""
        memory = self._monitor.memory
        most = memory.policy.resync_retries
        spent = {label for label, count in memory.facts().auto_resyncs.items() if count >= most}
        self._told &= spent
        for label, reason in decision.left.items():
            if label in spent and label not in self._told:
                self._told.add(label)
                self._tell(Severity.CRITICAL, "resync_given_up", reason, "worker")

    def _tell(self, severity: Severity, kind: str, text: str, actor: str) -> None:
        self._monitor.memory.journal.add_event(
            cluster=self._monitor.name, severity=severity, kind=kind, text=text, actor=actor
        )

"""Resyncs that wait for their turn while something else runs on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.snapshot import Sync, SyncState
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.worker.monitor import ClusterMonitor

Build = Callable[[], ClusterOperation]
"""The operation as it is when its turn has come; raises OperationError if it may not begin."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    label: str
    build: Build
    actor: str


class ResyncQueue:
    """Who waits is shown as such on every console. It is not kept: a worker that stops forgets it."""

    def __init__(self, monitor: ClusterMonitor) -> None:
        self._monitor = monitor
        self._waiting: list[_Waiting] = []

    def add(self, label: str, build: Build, *, actor: str) -> None:
        """Resync a node as soon as nothing else runs.

        Raises:
            OperationError: it waits already.
        """
        if any(one.label == label for one in self._waiting):
            raise OperationError(
                f"the resync of {label} waits already",
                code="busy",
                hint=f"to have it not begun: pfms-ha-tui cancel --queued {label}",
            )
        self._waiting.append(_Waiting(label, build, actor))
        self.show()
        self._tell(Severity.INFO, "operation_queued", f"the resync of {label} waits for its turn", actor)
        self._monitor.judge_soon()

    def show(self) -> None:
        """Each of them waits, also the one whose turn seemed to have come."""
        for one in self._waiting:
            self._monitor.memory.resyncs[one.label] = Sync(state=SyncState.QUEUED)

    def next(self) -> tuple[ClusterOperation, str] | None:
        """The first one and who asked for it, judged anew: while it waited the roles may have changed."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        if self._monitor.memory.resyncs.pop(first.label, None) is not None:
            # what is asked now must not be that it waits
            self._monitor.judge_soon()
            return None
        del self._waiting[0]
        try:
            return first.build(), first.actor
        except PfmsError as error:
            self._not_begun(Severity.CRITICAL, first, str(error))
            return None

    def cancel(self, label: str, actor: str) -> None:
        """Forget the one of that node.

        Raises:
            OperationError: it does not wait.
        """
        one = next((one for one in self._waiting if one.label == label), None)
        if one is None:
            waiting = words.labels([one.label for one in self._waiting])
            hint = f"those of {waiting} wait" if waiting else "none waits"
            raise OperationError(f"no resync of {label} waits for its turn", hint=hint)
        self._waiting.remove(one)
        self._monitor.memory.resyncs.pop(label, None)
        text = f"the resync of {label} did not begin: {actor} cancelled it"
        self._tell(Severity.WARNING, "operation_cancelled", text, actor)
        self._monitor.judge_soon()

    def forget(self) -> None:
        """The worker stops: the next one knows nothing of who asked, nor whether it still matters."""
        for one in self._waiting:
            self._not_begun(Severity.WARNING, one, "the worker stopped first; order it again")

    def _not_begun(self, severity: Severity, one: _Waiting, why: str) -> None:
        self._tell(severity, "operation_failed", f"the resync of {one.label} did not begin: {why}", one.actor)

    def _tell(self, severity: Severity, kind: str, text: str, actor: str) -> None:
        self._monitor.memory.journal.add_event(
            cluster=self._monitor.name, severity=severity, kind=kind, text=text, actor=actor
        )

"""The site's hooks for what the worker sees and is told by people; operations run those of their own."""

from __future__ import annotations

from collections.abc import Mapping

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.operations.context import Limits
from pfms_ha_tui.operations.hooks import Hooks
from pfms_ha_tui.worker.monitor import ClusterMonitor

_BY_KIND = {
    "maintenance_started": HookEvent.MAINTENANCE_STARTED,
    "maintenance_ended": HookEvent.MAINTENANCE_ENDED,
}
_Verdict = tuple[DiagnosisKind, str | None]


class EventHooks:
    """Looks at each line of the timeline; for the worker's event loop only.

    Args:
        monitors: By the names of their clusters.
    """

    def __init__(self, monitors: Mapping[str, ClusterMonitor]) -> None:
        self._monitors = monitors
        limit = Limits().hook
        self._hooks = {name: Hooks(one.cluster, timeout=limit) for name, one in monitors.items()}
        self._told: dict[str, _Verdict] = {}

    def happened(self, event: Event) -> None:
        """A new line; returns at once."""
        monitor = self._monitors.get(event.cluster)
        if monitor is None:
            return
        facts = {"text": event.text, "actor": event.actor, "severity": event.severity.value}
        told = _BY_KIND.get(event.kind)
        if told is not None:
            self._hooks[event.cluster].start(told, facts)
            return
        diagnosis = monitor.state.diagnosis if monitor.state is not None else None
        if diagnosis is None or event.kind != diagnosis.kind:
            return
        verdict: _Verdict = (diagnosis.kind, diagnosis.master)
        before = self._told.get(event.cluster)
        self._told[event.cluster] = verdict
        if verdict == before or (before is None and diagnosis.kind is DiagnosisKind.HEALTHY):
            return
        facts |= {"diagnosis": diagnosis.kind.value, "text": diagnosis.text, "master": diagnosis.master or ""}
        self._hooks[event.cluster].start(
            HookEvent.DIAGNOSIS_CHANGED, {**facts, "before": before[0].value if before else ""}
        )
        if diagnosis.kind is DiagnosisKind.SPLIT_BRAIN and (
            before is None or before[0] is not diagnosis.kind
        ):
            self._hooks[event.cluster].start(HookEvent.SPLIT_BRAIN, facts)

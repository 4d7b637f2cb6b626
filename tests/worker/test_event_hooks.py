"""Hooks for what the worker sees: once for each change of the diagnosis, and for maintenance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.fake_senses import settings

from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.worker.event_hooks import EventHooks
from pfms_ha_tui.worker.monitor import ClusterMonitor


class Site:
    """A cluster whose diagnosis a test sets, and a hook that notes what it is told."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "told"
        hook = tmp_path / "hook"
        hook.write_text(
            f'#!/bin/sh\necho "$PFMS_EVENT $PFMS_DIAGNOSIS $PFMS_BEFORE $PFMS_ACTOR" >>"{self.log}"\n'
        )
        hook.chmod(0o755)
        self.monitor = SimpleNamespace(cluster=settings(hooks={"any": str(hook)}), state=None)
        self.hooks = EventHooks({"pandora": cast(ClusterMonitor, self.monitor)})

    def becomes(self, kind: DiagnosisKind, master: str | None = "node1") -> None:
        diagnosis = Diagnosis(kind=kind, severity=Severity.WARNING, text="t", master=master)
        self.monitor.state = SimpleNamespace(diagnosis=diagnosis)
        self.event(kind.value)

    def event(self, kind: str, actor: str = "worker") -> None:
        self.hooks.happened(
            Event(
                id=1,
                at=1.0,
                cluster="pandora",
                node=None,
                severity=Severity.INFO,
                kind=kind,
                text="t",
                actor=actor,
            )
        )

    async def told(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while not self.log.exists() or len(self.log.read_text().splitlines()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return sorted(self.log.read_text().splitlines())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_change_of_the_diagnosis_runs_its_hook_once_and_a_split_brain_its_own(site: Site) -> None:
    site.event("worker_started")
    site.becomes(DiagnosisKind.HEALTHY)
    site.becomes(DiagnosisKind.SPLIT_BRAIN)
    site.event("SplitBrain")
    site.event("ClockSkew")
    assert await site.told(2) == [
        "diagnosis_changed SplitBrain Healthy worker",
        "split_brain SplitBrain  worker",
    ]
    site.becomes(DiagnosisKind.HEALTHY)
    assert (await site.told(3))[0] == "diagnosis_changed Healthy SplitBrain worker"


async def test_a_worker_that_starts_into_trouble_tells_of_it(site: Site) -> None:
    site.becomes(DiagnosisKind.MASTER_DEAD)
    assert await site.told(1) == ["diagnosis_changed MasterDead  worker"]


async def test_maintenance_runs_its_hooks_with_who_asked_for_it(site: Site) -> None:
    site.event("maintenance_started", "carol")
    site.event("maintenance_ended", "dave")
    assert await site.told(2) == ["maintenance_ended   dave", "maintenance_started   carol"]

"""What the worker knows of one cluster beyond the snapshots: the facts of every decision.

Everything is read from the journal's memory each time, so that what a person or an operation changes
counts from the next evaluation on, and so that nothing is assumed while the disk could not be read yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Maintenance, Sync, SyncState
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.store import Epoch

_DAY = 86400.0
_LONGEST_HOLD = 600.0
"""Seconds that a slave has to be broken at most before it is resynced by itself."""
_ROLE_CHANGING = {"failover", "switchover", "rejoin", "lock", "reopen"}


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outcome of the last preflight; ``mono`` None = none yet."""

    complaints: tuple[str, ...] = ()
    mono: float | None = None


class ClusterMemory:
    """The facts of one cluster: read for each decision, changed by people, operations and what is seen."""

    def __init__(self, cluster: ClusterSettings, journal: Journal, *, now: Callable[[], float]):
        self.name = cluster.name
        self.journal = journal
        self.preflight = Preflight()
        self.rival: str | None = None
        """One sentence when another failover manager runs on this host."""
        self.ledger_fault: str | None = None
        """Why operations cannot be remembered, one clause."""
        self.operation: OperationView | None = None
        """The operation that runs, or the last one."""
        self.resyncs: dict[str, Sync] = {}
        """label → a resync that is queued or runs now; over what the journal keeps, and not worth a disk."""
        pandora = cluster.pandora
        self._configured = replace(
            cluster.policy,
            witnesses=len(cluster.witnesses),
            resync_retries=pandora.max_splitbrain_retries,
            server_threshold=pandora.server_threshold,
            resync_hold=min(_LONGEST_HOLD, pandora.max_resync_wait_retries * pandora.resync_sleep),
        )
        self._now = now
        self._roles_known = False
        self._master: str | None = None

    @property
    def changes_roles(self) -> bool:
        """Whether an operation that changes who is master or writable runs now."""
        view = self.operation
        return (
            view is not None
            and not view.dry_run
            and view.state is OperationState.RUNNING
            and view.kind in _ROLE_CHANGING
        )

    @property
    def policy(self) -> Policy:
        """The thresholds, with the mode a person may have chosen at run time."""
        mode = self.journal.fact(self.name, "mode", Mode)
        return self._configured if mode is None else replace(self._configured, mode=mode)

    @property
    def maintenance(self) -> Maintenance | None:
        """The maintenance in force; ``None`` once it has expired."""
        pause = self.journal.fact(self.name, "maintenance", Maintenance)
        return pause if pause is not None and pause.until > self._now() else None

    @property
    def syncs(self) -> Mapping[str, Sync]:
        """label → how its resync stands; a label that is missing is in order."""
        return {**self._kept_syncs, **self.resyncs}

    @property
    def _kept_syncs(self) -> dict[str, Sync]:
        return self.journal.fact(self.name, "syncs", dict[str, Sync]) or {}

    @property
    def diverged(self) -> Mapping[str, str]:
        """label → what it holds that the master does not."""
        return self.journal.fact(self.name, "diverged", dict[str, str]) or {}

    def facts(self) -> JournalFacts:
        """The input of every judgement, as of now."""
        epochs = self.journal.epochs(self.name)
        newest = epochs[-1] if epochs else None
        # That the next resync waits for its turn makes nothing good that the last one left.
        failed = (label for label, sync in self._kept_syncs.items() if sync.state is SyncState.FAILED)
        complaints = self.preflight.complaints
        if self.journal.trouble is not None:
            complaints = (*complaints, self.journal.trouble)
        elif not self.journal.loaded:
            complaints = (*complaints, "the journal could not be read yet")
        return JournalFacts(
            epoch=newest.epoch if newest else 0,
            epoch_master=newest.master if newest else None,
            roles_known=self._roles_known,
            master=self._master,
            maintenance=self.maintenance,
            last_failover_at=self.journal.fact(self.name, "last_failover_at", float),
            operation=self._running(),
            failed_resync=tuple(sorted(failed)),
            diverged=self.diverged,
            auto_resyncs={label: len(times) for label, times in self._recent("auto_resyncs").items()},
            auto_merges={label: len(times) for label, times in self._recent("auto_merges").items()},
            to_resync=self.journal.fact(self.name, "to_resync", dict[str, str]) or {},
            rival_manager=self.rival,
            ledger_fault=self.ledger_fault,
            preflight=complaints,
            preflight_at=self.preflight.mono,
        )

    def learn(self, learnt: JournalFacts) -> Epoch | None:
        """Take over which node is master; an epoch that is new to the journal is returned, to be added."""
        self._roles_known = learnt.roles_known
        self._master = learnt.master
        known = self.journal.epochs(self.name)
        if learnt.epoch_master is None or (known and learnt.epoch <= known[-1].epoch):
            return None
        return Epoch(
            epoch=learnt.epoch,
            master=learnt.epoch_master,
            previous=known[-1].master if known else None,
            worker="another worker",
            at=self._now(),
            reason="found in the cluster's own data",
        )

    def name_master(self, label: str, actor: str) -> None:
        """A person says which node is the master."""
        self._roles_known, self._master = True, label
        self._tell(Severity.INFO, "master_named", f"{label} was named the master", actor, node=label)

    def set_mode(self, mode: Mode, actor: str) -> None:
        """Change how much the worker may do by itself; kept over restarts."""
        before = self.policy.mode
        self.journal.put_fact(self.name, "mode", None if mode is self._configured.mode else mode)
        if mode is not before:
            self._tell(Severity.INFO, "mode_changed", f"the mode is {mode} now, it was {before}", actor)

    def pause(self, maintenance: Maintenance) -> None:
        """Suspend automatic actions until the maintenance expires."""
        self.journal.put_fact(self.name, "maintenance", maintenance)
        minutes = max(0.0, maintenance.until - self._now()) / 60
        reason = f": {maintenance.reason}" if maintenance.reason else ""
        text = f"maintenance for {minutes:.0f} min{reason}"
        self._tell(Severity.INFO, "maintenance_started", text, maintenance.by)

    def resume(self, actor: str) -> None:
        """End the maintenance."""
        if self.maintenance is not None:
            self._tell(Severity.INFO, "maintenance_ended", "the maintenance was ended", actor)
        self.journal.put_fact(self.name, "maintenance", None)

    def expire(self) -> bool:
        """Say it once when a maintenance has run out; whether one just did."""
        pause = self.journal.fact(self.name, "maintenance", Maintenance)
        if pause is None or pause.until > self._now():
            return False
        self.journal.put_fact(self.name, "maintenance", None)
        self._tell(
            Severity.INFO, "maintenance_ended", "the maintenance is over: its time has run out", "worker"
        )
        return True

    async def promoted(self, epoch: Epoch) -> None:
        """Record a promotion, on the disk when this returns; the roles are known by it.

        Raises:
            WorkerError: the journal does not take it.
        """
        await self.journal.add_epoch(self.name, epoch)
        self._roles_known, self._master = True, epoch.master

    def failed_over(self, at: float) -> None:
        """A failover was made: none by itself within ``recovery_block`` unless it is acknowledged."""
        self.journal.put_fact(self.name, "last_failover_at", at)

    def acknowledge(self, actor: str) -> bool:
        """Lift the block after a failover; whether there was one."""
        if self.journal.fact(self.name, "last_failover_at", float) is None:
            return False
        self.journal.put_fact(self.name, "last_failover_at", None)
        self._tell(Severity.INFO, "failover_acknowledged", "the last failover was acknowledged", actor)
        return True

    def set_sync(self, label: str, sync: Sync) -> None:
        """How the resync of a node stands; a failed one keeps it out of every candidate list."""
        self._change("syncs", self._kept_syncs, label, None if sync == Sync() else sync)

    def set_diverged(self, label: str, text: str | None) -> None:
        """What a node holds that the master does not; ``None`` once it was resynced."""
        self._change("diverged", dict(self.diverged), label, text)

    def resynced_by_itself(self, label: str) -> None:
        """A resync begins by a decision of the worker's own: only so many a day."""
        kept = self._recent("auto_resyncs")
        self._change("auto_resyncs", kept, label, [*kept.get(label, ()), self._now()])

    def merged_by_itself(self, label: str) -> None:
        """The repair of a split-brain begins by a decision of the worker's own: only so many a day."""
        kept = self._recent("auto_merges")
        self._change("auto_merges", kept, label, [*kept.get(label, ()), self._now()])

    def resynced_by_person(self, label: str) -> None:
        """A person had the node rebuilt: what was tried before does not count any more."""
        self._change("auto_resyncs", self._recent("auto_resyncs"), label, None)
        self._change("auto_merges", self._recent("auto_merges"), label, None)

    def may_resync(self, label: str, why: str | None) -> None:
        """Why the worker may replace the node's data without being asked; ``None`` = it may not."""
        kept = self.journal.fact(self.name, "to_resync", dict[str, str]) or {}
        self._change("to_resync", kept, label, why)

    def _recent(self, key: str) -> dict[str, list[float]]:
        """label → when, within the last day."""
        kept = self.journal.fact(self.name, key, dict[str, list[float]]) or {}
        since = self._now() - _DAY
        recent = {label: [at for at in times if at > since] for label, times in kept.items()}
        return {label: times for label, times in recent.items() if times}

    def _change(self, key: str, values: Mapping[str, object], label: str, value: object) -> None:
        changed: dict[str, object] = {**values, label: value}
        if value is None:
            del changed[label]
        if changed != dict(values):
            self.journal.put_fact(self.name, key, changed or None)

    def _running(self) -> str | None:
        view = self.operation
        if view is None or view.dry_run:
            return None
        if view.state is OperationState.INTERRUPTED:
            return f"{view.title} was interrupted and is not dealt with yet"
        return (
            f"{view.title} is running, started by {view.actor}"
            if view.state is OperationState.RUNNING
            else None
        )

    def _tell(self, severity: Severity, kind: str, text: str, actor: str, *, node: str | None = None) -> None:
        self.journal.add_event(
            cluster=self.name, node=node, severity=severity, kind=kind, text=text, actor=actor
        )

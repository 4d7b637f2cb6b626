"""Failover: an unplanned change of master. The caller has judged; here it is done, or refused at last.

Fence first, and prove it; then let the slave that received most apply everything; then open it. What is not
needed before the node is writable comes after. Any failure before that leaves no writable node of our making,
and the candidate follows its old master again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import msgspec

from pfms_ha_tui.cluster.observation import ProcessState
from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.aftermath import (
    EventStep,
    HookStep,
    HostsFileStep,
    PandoraRestart,
    PandoraStep,
    add_event_somewhere,
)
from pfms_ha_tui.operations.context import NOWHERE, ClusterOperation, Context, HostFacts
from pfms_ha_tui.operations.failover_steps import (
    ChooseCandidate,
    DrainCandidate,
    Fence,
    Guards,
    PromoteCandidate,
    RepointOrphan,
    answers,
)
from pfms_ha_tui.operations.roles import Detach
from pfms_ha_tui.operations.step import OnFailure, Recovery, StepRun
from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.pandora.epoch import OldMaster
from pfms_ha_tui.pandora.events import Criticity


class FailoverParams(msgspec.Struct, frozen=True, kw_only=True):
    """What a failover is asked to do, and what the decision rested on."""

    old_master: str
    candidates: tuple[str, ...]
    """Eligible slaves, in the configured order; the one that received most is taken."""
    others: tuple[str, ...] = ()
    """Slaves that may not be promoted, but are to follow the new master."""
    evidence: tuple[str, ...] = ()
    fencing_required: bool = True
    """Whether it fails when the old master cannot be proved gone."""
    by_person: bool = False
    by_name: bool = False
    """Nobody else is left, and the only candidate is promoted because a person types its name."""
    fault_at: float | None = None
    """Wall time at which the fault was first seen."""
    old_server_id: int | None = None
    old_pid_file: str | None = None
    old_datadir: str | None = None
    """Where the old master keeps its things: a worker that was started after its death cannot ask it."""


def _with_host_of(context: Context, params: FailoverParams) -> Context:
    known = context.host_facts.get(params.old_master, NOWHERE)
    if known != NOWHERE or params.old_datadir is None:
        return context
    facts = HostFacts(pid_file=params.old_pid_file, datadir=params.old_datadir)
    return replace(context, host_facts={**context.host_facts, params.old_master: facts})


class Failover(ClusterOperation):
    """One unplanned change of master."""

    kind = "failover"
    commit = "promote"

    def __init__(self, context: Context, params: FailoverParams) -> None:
        super().__init__(_with_host_of(context, params))
        self.asked = params
        only = params.candidates[0] if len(params.candidates) == 1 else None
        self.title = f"failover from {params.old_master}" + (f" to {only}" if only else "")
        self.restart = PandoraRestart(self)
        slaves = (*params.candidates, *params.others)
        self.fence = Fence(self, params)
        self.steps = [
            Guards(self, params),
            self.fence,
            ChooseCandidate(self, params),
            DrainCandidate(self, only),
            Detach(self, only),
            PromoteCandidate(self, only, old_master=params.old_master, automatic=True),
            HostsFileStep(self, only, self.restart),
            *(RepointOrphan(self, label) for label in slaves if label != only),
            PandoraStep(self, only, self.restart),
            EventStep(self, only, self.outcome, Criticity.CRITICAL),
            HookStep(self, HookEvent.FAILOVER_FINISHED, self.hook_facts),
        ]
        for step in self.steps[6:]:
            step.on_failure = OnFailure.GO_ON

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, FailoverParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    @property
    def slaves(self) -> tuple[str, ...]:
        """Every node but the old master."""
        return (*self.asked.candidates, *self.asked.others)

    async def open(self, run: StepRun) -> None:
        """Sessions to the candidates that can be asked, and the lock on them; nobody else is waited for."""
        if not run.dry_run:
            self.fence.look_ahead()
        links = [self.try_link(label) for label in self.asked.candidates]
        if run.dry_run:
            await asyncio.gather(*links)
            return
        await asyncio.gather(self.lock_reachable(self.asked.candidates), *links)
        if run.fact("epoch", int) is None:
            self.hooks.start(HookEvent.FAILOVER_STARTED, self.hook_facts(run))

    async def close(self) -> None:
        """Let Pandora's restart end before the sessions do."""
        await self.fence.forget()
        await self.restart.abandon()
        await super().close()

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:
        """Forward when the node is open already, or the old master is still gone; else back."""
        if self.committed(states):
            return Recovery.RESUME
        if states["guards"] is not StepState.DONE:
            return Recovery.ROLL_BACK
        candidate = run.fact("candidate", str)
        link = await self.try_link(candidate) if candidate is not None else None
        if run.fact("promoting", bool) is not None and link is not None and not await link.is_read_only():
            return Recovery.RESUME
        if candidate is not None and link is None:
            run.say(f"{candidate} cannot be reached any more")
            return Recovery.ROLL_BACK
        why = await self._why_not_forward(run)
        if why is not None:
            run.say(why)
            return Recovery.ROLL_BACK
        return Recovery.RESUME

    async def _why_not_forward(self, run: StepRun) -> str | None:
        """What has changed while nobody looked."""
        for label in self.slaves:
            link = await self.try_link(label)
            if link is not None and not await link.is_read_only():
                return f"{label} is writable now"
        old = self.asked.old_master
        if await answers(self.context.node(old)):
            return f"{old} answers again"
        if not self.asked.fencing_required or run.fact("old_state", OldMaster) is OldMaster.UNPROVEN:
            return None
        shell, facts = self.context.shells(old), self.context.host_facts.get(old, NOWHERE)
        if shell is None:
            raise OperationError("no SSH to its host is configured", node=old, code="fence")
        found = await shell.find_process(facts.pid_file, facts.datadir)
        return None if found.state is ProcessState.NONE else f"{old} runs again: {found.text}"

    def outcome(self, run: StepRun) -> str:
        """Who is master now, and how long it took."""
        candidate = run.fact("candidate", str) or "?"
        text = f"{candidate} is MASTER in place of {self.asked.old_master}"
        opened, fault = run.fact("opened_at", float), self.asked.fault_at
        if opened is not None and fault is not None and opened >= fault:
            text += f", writable {opened - fault:.1f} s after the fault was seen"
        if run.fact("cut_off", bool):
            text += "; its last transaction was cut off and rolled back"
        return text

    def hook_facts(self, run: StepRun) -> dict[str, object]:
        """For the hooks' environment."""
        candidate = run.fact("candidate", str)
        return {
            "actor": run.actor,
            "operation": run.number,
            "old_master": self.asked.old_master,
            "old_master_host": self.context.node(self.asked.old_master).host,
            "new_master": candidate,
            "new_master_host": self.context.node(candidate).host if candidate is not None else None,
            "epoch": run.fact("epoch", int),
            "evidence": "; ".join(self.asked.evidence),
        }

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """Tell the site of a failure; Pandora too, when there is a master to write on.

        A node that was promoted although its resync had failed is what the others are rebuilt from now.
        """
        if state is OperationState.DONE:
            candidate = run.fact("candidate", str)
            if candidate is not None:
                await self.record(lambda records: records.settle_untouched(candidate))
            return
        complaints = await self.hooks.run(HookEvent.FAILOVER_FAILED, {**self.hook_facts(run), "text": text})
        for complaint in complaints:
            run.say(complaint)
        labels = self.asked.candidates
        await add_event_somewhere(self, labels, f"{self.title}: {text}", Criticity.CRITICAL, run)

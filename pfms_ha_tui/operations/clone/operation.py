"""The clone: a slave rebuilt from another node, its old data kept until the new slave has proved itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Self

import msgspec

from pfms_ha_tui.config.settings import CloneMethod, HookEvent
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.operations.aftermath import EventStep, HookStep, add_event
from pfms_ha_tui.operations.clone import logfile
from pfms_ha_tui.operations.clone.base import BEGAN, MARKED, PLAN, PROVED, CloneOperation
from pfms_ha_tui.operations.clone.copying import Check, MakeDirectory, Prepare, Transfer
from pfms_ha_tui.operations.clone.joining import CatchUp, Compare, FollowMaster
from pfms_ha_tui.operations.clone.plan import CloneParams, ClonePlan, title_of
from pfms_ha_tui.operations.clone.scripted import RunScript, ScriptCheck
from pfms_ha_tui.operations.clone.swapping import (
    GIVEN_UP,
    RUNS_AGAIN,
    STOPPING,
    GiveUpOld,
    KeepOld,
    RemoveOld,
    StartTarget,
    StopTarget,
    Swap,
)
from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import OnFailure, Recovery, Step, StepRun
from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.pandora.databases import clear_resync_request
from pfms_ha_tui.pandora.events import Criticity


def _left_in_place(run: StepRun) -> bool:
    """Whether the old data is what it was and nothing spoke against it before; in doubt it is not."""
    if run.fact(MARKED, bool) is not False or run.fact(GIVEN_UP, bool) is not None:
        return False
    return run.fact(STOPPING, bool) is None or run.fact(RUNS_AGAIN, bool) is True


class Clone(CloneOperation):
    """One clone, by whatever method."""

    kind = "clone"
    commit = "compare"

    def __init__(self, context: Context, params: CloneParams) -> None:
        # The settings may change before an interrupted clone is built again: its method must not.
        params = msgspec.structs.replace(params, method=params.method or context.cluster.clone.method)
        super().__init__(context, params)
        self.title = title_of(params.target, params.source, params.method)
        scripted = params.method is CloneMethod.SCRIPT
        if scripted and params.keep_old:
            raise OperationError(
                f"the site's own script cannot keep the old data of {params.target}, and nobody was asked",
                node=params.target,
                hint=f"a person may: pfms-ha-tui resync {params.target}",
            )
        getting: list[Step] = (
            [ScriptCheck(self), RunScript(self)]
            if scripted
            else [
                Check(self),
                MakeDirectory(self),
                *([GiveUpOld(self)] if params.give_up_old else []),
                Transfer(self),
                Prepare(self),
                StopTarget(self),
                Swap(self),
                StartTarget(self),
                FollowMaster(self),
            ]
        )
        self.steps = [
            *getting,
            CatchUp(self),
            Compare(self),
            *([] if scripted else [KeepOld(self) if params.keep_old else RemoveOld(self)]),
            EventStep(self, params.master, self.outcome, Criticity.INFORMATIONAL),
            HookStep(self, HookEvent.CLONE_FINISHED, self.hook_facts),
        ]
        for step in self.steps[-2:]:
            step.on_failure = OnFailure.GO_ON

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, CloneParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """The lock on all that can be asked: the target's own is lost when its server stops."""
        context, asked = self.context, self.asked
        self.plan = run.fact(PLAN, ClonePlan)
        if self.plan is not None:
            # after an interruption: who cannot be asked now is dealt with by the steps
            await self.lock_reachable((asked.master, asked.source, asked.target))
            return
        if not run.dry_run:
            await self.lock.take(
                [context.node(label) for label in dict.fromkeys((asked.master, asked.source))]
            )
            await self.lock_reachable([asked.target])
            self.hooks.start(HookEvent.CLONE_STARTED, self.hook_facts(run))
        await asyncio.gather(self.link(asked.master), self.link(asked.source))

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:
        """On, once the data is there, however long that took; a copy cut short is thrown away."""
        if self.committed(states) or states.get("transfer") is StepState.DONE:
            return Recovery.RESUME
        return await super().recovery(states, run)

    def outcome(self, run: StepRun) -> str:  # noqa: ARG002
        """That it is a slave again."""
        return f"{self.asked.target} was rebuilt from {self.asked.source} and follows {self.asked.master}"

    def hook_facts(self, run: StepRun) -> dict[str, object]:
        """For the hooks' environment."""
        return {
            "actor": run.actor,
            "operation": run.number,
            "node": self.asked.target,
            "node_host": self.context.node(self.asked.target).host,
            "source": self.asked.source,
            "master": self.asked.master,
            "method": self.plan.method if self.plan else self.asked.method,
        }

    async def tell(self, text: str, criticity: Criticity, run: StepRun) -> None:
        """An event in Pandora's list and a line in the resync log; neither is worth failing for."""
        try:
            await add_event(self, self.asked.master, text, criticity, run)
        except PfmsError as error:
            run.say(f"the event could not be added: {error.reason}")
        await self.write_log(text, run)

    async def write_log(self, text: str, run: StepRun) -> None:
        """A line in the resync log."""
        path = self.context.cluster.pandora.resync_log
        if path is None:
            return
        try:
            await asyncio.to_thread(logfile.append, path, text, at=run.clock.wall())
        except OSError as error:
            run.say(f"{path} cannot be written: {error.strerror or error}")

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """The node stays marked after a failure; Pandora, the log and the site are told."""
        if run.fact(BEGAN, bool) is not None:
            await self._answer_web_request(run)
        if state is OperationState.DONE:
            await self.write_log(text, run)
            return
        if run.fact(BEGAN, bool) is not None and run.fact(PROVED, bool) is None:
            ended = "was cancelled" if state is OperationState.CANCELLED else "failed"
            await self.mark(run, self.asked.target, MarkKind.NEEDS_RESYNC, f"its resync {ended}: {text}")
            if _left_in_place(run):
                await self.mark(run, self.asked.target, MarkKind.UNTOUCHED, "its old data is in its place")
        facts = {**self.hook_facts(run), "text": text}
        for complaint in await self.hooks.run(HookEvent.CLONE_FAILED, facts):
            run.say(complaint)
        await self.tell(f"{self.title}: {text}", Criticity.WARNING, run)

    async def _answer_web_request(self, run: StepRun) -> None:
        """A resync asked for in the web console is not asked for any more, however it ended."""
        host = self.context.node(self.asked.target).host
        with contextlib.suppress(PfmsError):
            link = await self.link(self.asked.master)
            if await link.call(lambda session: clear_resync_request(session, host)):
                run.say("the web console's request is answered")

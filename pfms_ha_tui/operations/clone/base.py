"""What the steps of a clone share: the operation as they see it, patience, and the master's pulse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from pfms_ha_tui.errors import OperationError, PfmsError, ShellError
from pfms_ha_tui.nodes.service import NodeService
from pfms_ha_tui.operations.clone.host import Host, host_of
from pfms_ha_tui.operations.clone.plan import CloneParams, ClonePlan
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.step import Step, StepRun
from pfms_ha_tui.pandora.events import Criticity

T = TypeVar("T")

PLAN = "plan"
"""Fact: the :class:`ClonePlan`."""
BEGAN = "began"
"""Fact: something was changed on the target's host."""
MARKED = "marked"
"""Fact: whether the target had a reason not to be trusted before this clone."""
PROVED = "proved"
"""Fact: the new slave was found good; what fails afterwards does not speak against it."""
_PATIENCE = 60.0
"""Seconds that undoing waits for a host which cannot be asked: a cut network comes back, mostly."""
_LOST_PULSES = 3
_LOST_SOURCE_PULSES = 10
"""More patience: only the copy depends on it, not a failover."""


class CloneOperation(ClusterOperation):
    """The part of a clone that its steps know."""

    def __init__(self, context: Context, params: CloneParams) -> None:
        super().__init__(context)
        self.asked = params
        self.plan: ClonePlan | None = None
        """Once the checks have settled it."""

    async def tell(self, text: str, criticity: Criticity, run: StepRun) -> None:
        """An event in Pandora's list and a line in the resync log; neither is worth failing for."""
        raise NotImplementedError

    async def write_log(self, text: str, run: StepRun) -> None:
        """A line in the resync log."""
        raise NotImplementedError

    def planned(self, run: StepRun) -> ClonePlan:
        """The plan.

        Raises:
            OperationError: the checks have not been passed.
        """
        self.plan = plan = run.need(PLAN, ClonePlan)
        return plan

    def source_host(self, plan: ClonePlan) -> Host:
        """The source's host."""
        return host_of(self, self.asked.source, plan.token)

    def target_host(self, plan: ClonePlan) -> Host:
        """The target's host."""
        return host_of(self, self.asked.target, plan.token)

    def target_service(self, plan: ClonePlan) -> NodeService:
        """The service of the target's server."""
        return NodeService(self.target_host(plan).shell)


class CloneStep(Step):
    """A step of a clone."""

    def __init__(self, operation: CloneOperation) -> None:
        self.operation = operation
        self.source = operation.asked.source
        self.target = operation.asked.target
        self.master = operation.asked.master

    async def rehearse(self, run: StepRun) -> str | None:
        """It would be tried only if the checks are passed.

        Raises:
            OperationError: they are not.
        """
        if run.fact(PLAN, ClonePlan) is None:
            raise OperationError("not before the checks are passed")
        return None


class Pulse:
    """Whether the servers that a clone depends on are still there.

    With the master gone, a clone must give way to a failover. With the source's server gone, a backup tool
    goes on reading its files to the end, and only then says that they are worth nothing.
    """

    def __init__(self, operation: CloneOperation, *, reads: bool = False) -> None:
        """``reads``: the source's server is needed as well."""
        self._operation = operation
        asked = operation.asked
        self._missed = {asked.source: 0, asked.master: 0} if reads else {asked.master: 0}

    async def check(self) -> None:
        """Ask each once.

        Raises:
            OperationError: one did not answer several times in a row.
        """
        for label in self._missed:
            await self._ask(label)

    async def _ask(self, label: str) -> None:
        is_master = label == self._operation.asked.master
        try:
            await (await self._operation.link(label)).query("SELECT 1", timeout=5.0)
        except PfmsError as error:
            self._missed[label] += 1
            if self._missed[label] >= (_LOST_PULSES if is_master else _LOST_SOURCE_PULSES):
                raise OperationError(
                    f"the {'master' if is_master else 'source'} does not answer: {error.reason}",
                    node=label,
                    code="master_lost" if is_master else "source_lost",
                ) from error
        else:
            self._missed[label] = 0


async def watched(work: Coroutine[None, None, T], watch: Coroutine[None, None, None]) -> T:
    """What ``work`` comes to, unless ``watch`` has a reason against it first; neither outlives this call.

    Raises:
        PfmsError: of either.
    """
    working, watching = asyncio.create_task(work), asyncio.create_task(watch)
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if watching.done() and not working.done():
            watching.result()
        return await working
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def keep_looking(operation: CloneOperation, run: StepRun, *, reads: bool = False) -> None:
    """For ever: whether the clone is still wanted, and the master (``reads``: and the source) still there.

    Raises:
        OperationError: one of them is gone.
        Cancelled: a person asked for it.
    """
    pulse = Pulse(operation, reads=reads)
    while True:
        run.checkpoint()
        await pulse.check()
        await run.clock.sleep(1.0)


async def patiently(run: StepRun, job: Callable[[], Awaitable[T]]) -> T:
    """Try again what fails for want of an SSH connection, for a minute.

    Raises:
        PfmsError: the last failure.
    """
    deadline = run.clock.mono() + _PATIENCE
    while True:
        try:
            return await job()
        except ShellError as error:
            if error.code in ("shell", "not_proved", "service") or run.clock.mono() >= deadline:
                raise
        await run.clock.sleep(1.0)

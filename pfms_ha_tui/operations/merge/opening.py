"""The first steps of a merge: whether it may be, and no more writes on the losing side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.roles import lock_node
from pfms_ha_tui.operations.step import OnFailure, Step, StepRun

if TYPE_CHECKING:
    from pfms_ha_tui.operations.merge.operation import MergeBack

FOLLOWS = "follows"
"""Fact: what was taken for the losing side was a running slave of the master."""


class MergeStep(Step):
    """A step of a merge. A failure leaves everything as it is: it is safe, and the merge can go on."""

    on_failure = OnFailure.STOP

    def __init__(self, operation: MergeBack) -> None:
        self.operation = operation
        self.asked = operation.asked

    async def mark_unmerged(self, run: StepRun, label: str, why: str) -> None:
        """Locked, it looks like a slave that merely stands; the proof of the merge takes the mark away.

        Not the known master, which a person may want to have back as it was.
        """
        diverged = await self.operation.record(lambda records: records.marked(MarkKind.DIVERGED))
        if label in diverged or self.operation.known_master == label:
            return
        await self.operation.mark(run, label, MarkKind.DIVERGED, f"{why}; its rows are not merged yet")


class CheckSides(MergeStep):
    """Whether the direction is right, the master takes writes, and the tables fit."""

    name = "check"
    title = "check both nodes"
    cancel_before = True

    async def rehearse(self, run: StepRun) -> str | None:
        """The same."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Look, change nothing."""
        asked, operation = self.asked, self.operation
        link = await operation.link(asked.master)
        if await link.is_read_only():
            raise OperationError(
                "it is read-only", node=asked.master, hint="only a master can be merged into"
            )
        if asked.losing is None:
            return f"{asked.master} takes writes"
        try:
            why = await asyncio.to_thread(operation.why_wrong_way)
        except PfmsError as error:
            if asked.directory is None:
                raise
            return f"{asked.master} takes writes; {asked.losing} cannot be asked: {error.reason}"
        if why is not None and not asked.anyway:
            raise OperationError(
                why,
                node=asked.losing,
                code="wrong_direction",
                hint=f"if that is what you want, type {asked.losing}",
            )
        if why is not None:
            run.say(f"in spite of this: {why}")
        return f"{asked.losing} lost, {asked.master} takes writes"


class LockLosing(MergeStep):
    """No more writes on the losing side: the archive is to be all there is."""

    name = "lock"

    def __init__(self, operation: MergeBack, label: str) -> None:
        super().__init__(operation)
        self.node = label
        self.title = f"lock {label}"
        self.stays = f"{label} stays read-only"

    def preview(self) -> tuple[str, ...]:
        """The statements."""
        dialect = self.operation.dialect(self.node or "")
        return (*dialect.set_read_only(True), dialect.show_processlist, "KILL every client session")

    async def run(self, run: StepRun) -> str | None:
        """Lock it; a merge that goes on with an archive does without the node."""
        label = self.node or ""
        if self.asked.directory is not None:
            try:
                await lock_node(self.operation, label)
            except PfmsError as error:
                run.say(f"{label} cannot be locked: {error.reason}")
                return "the archive is there already"
            return f"{label} is read-only"
        if await self._only_follows(label):
            await run.note(**{FOLLOWS: True})
        else:
            await self.mark_unmerged(run, label, f"it was a master beside {self.asked.master}")
        killed = await lock_node(self.operation, label)
        return f"{label} is read-only, {plural(killed, 'client session')} ended"

    async def _only_follows(self, label: str) -> bool:
        """Whether it is a slave that replicates and takes no writes: nothing is amiss with such a one."""
        link, master = await self.operation.link(label), await self.operation.link(self.asked.master)
        state = await link.replication()
        if state is None or state.io is not IoState.YES or not state.sql or not await link.is_read_only():
            return False
        rows = await master.query("SELECT @@GLOBAL.server_id AS id")
        return state.source_server_id == int(str(rows[0]["id"]))

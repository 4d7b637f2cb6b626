"""Taking a merge back, as an operation of its own: exactly the rows that it added are removed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.operations.aftermath import EventStep
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.merge.bridge import on_thread, slaves_lag
from pfms_ha_tui.operations.merge.merging import undo_directory
from pfms_ha_tui.operations.merge.names import losing_side
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import OnFailure, Recovery, Step, StepRun
from pfms_ha_tui.operations.view import StepState
from pfms_ha_tui.pandora.events import Criticity

_NOT_REBUILT = (MarkKind.NEEDS_RESYNC, MarkKind.DIVERGED)
"""Marks that a rebuilt node has no more."""


class MergeUndoParams(msgspec.Struct, frozen=True, kw_only=True):
    """An order to take a merge back."""

    directory: str
    """Path of the merge's directory."""
    master: str
    """Label of the node that the rows were added to."""


class MergeUndo(ClusterOperation):
    """Remove exactly the rows that a merge added."""

    kind = "merge-undo"
    commit = "undo"

    def __init__(self, context: Context, params: MergeUndoParams) -> None:
        super().__init__(context)
        self.asked = params
        context.node(params.master)
        self.title = f"take back the merge {Path(params.directory).name}"
        self.steps = [
            MarkAgain(self),
            TakeBack(self),
            EventStep(self, params.master, self.outcome, Criticity.WARNING),
        ]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, MergeUndoParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """The lock on the master."""
        if not run.dry_run:
            await self.lock.take([self.context.node(self.asked.master)])
        await self.link(self.asked.master)

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:  # noqa: ARG002
        """On: nothing is removed twice."""
        return Recovery.RESUME

    def outcome(self, run: StepRun) -> str:
        """What was removed."""
        removed = run.fact("removed", int) or 0
        were = "was" if removed == 1 else "were"
        return f"{plural(removed, 'row')} of a merge {were} removed from {self.asked.master} again"


class MarkAgain(Step):
    """From now on the losing side is the only node that has the rows again, unless it was rebuilt since."""

    name = "mark"
    title = "note that the losing side's rows are not on the master any more"
    on_failure = OnFailure.STOP
    cancel_before = True

    def __init__(self, operation: MergeUndo) -> None:
        self.operation = operation

    async def run(self, run: StepRun) -> str | None:
        """Mark it before the first row is removed; a person decides what becomes of it, not the worker."""
        operation, asked = self.operation, self.operation.asked
        losing = await asyncio.to_thread(losing_side, Path(asked.directory))
        if operation.context.cluster.node(losing) is None or operation.context.known_master() == losing:
            return f"{losing} is no node that could hold them: the archive alone has them"
        marks = await operation.record(lambda records: records.marks())
        if not any(one.node == losing and one.kind in _NOT_REBUILT for one in marks):
            return f"{losing} was rebuilt since: the archive alone has them"
        why = f"its rows were merged into {asked.master} and taken back by {run.actor}"
        await operation.mark(run, losing, MarkKind.DIVERGED, why)
        await operation.mark(run, losing, MarkKind.NEEDS_RESYNC, f"{why}: they are to be merged again first")
        return f"{losing} and the archive have them"


class TakeBack(Step):
    """Remove the rows, newest batch first."""

    name = "undo"
    title = "remove the added rows"
    stays = "what was removed stays removed"
    on_failure = OnFailure.STOP
    cancel_before = True

    def __init__(self, operation: MergeUndo) -> None:
        self.operation = operation
        self.node = operation.asked.master

    async def run(self, run: StepRun) -> str | None:
        """Remove, or go on removing."""
        operation, asked = self.operation, self.operation.asked
        await operation.lock.check(asked.master)
        lag = slaves_lag(operation, asked.master, "")
        cluster = operation.context.cluster
        result = await on_thread(
            run, lambda control: undo_directory(cluster, Path(asked.directory), control, lag)
        )
        await run.note(removed=result.removed)
        gone = f", {result.gone} were gone already" if result.gone else ""
        return f"{plural(result.removed, 'row')} removed{gone}"

"""The merge as an operation: lock the losing side, archive, add, prove, and leave it to the clone.

Every step may run twice: after a crash of the worker the operation is resumed where it was. What was
added is never taken back by cancelling; that is a decision and an operation of its own (:class:`MergeUndo`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from pfms_ha_tui.cluster.commands import archived_command, merge_command
from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.aftermath import EventStep, HookStep
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.merge.archive import Archive, ArchiveSummary
from pfms_ha_tui.operations.merge.bridge import on_thread, slaves_lag
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.facts import Known, why_wrong_way
from pfms_ha_tui.operations.merge.ledger import UNDO, load_state
from pfms_ha_tui.operations.merge.merging import (
    ROWS,
    Merge,
    MergeRequest,
    apply_directory,
    archive_path,
    directory_name,
    make_directory,
    start_restore,
    verify_directory,
)
from pfms_ha_tui.operations.merge.opening import FOLLOWS, CheckSides, LockLosing, MergeStep
from pfms_ha_tui.operations.merge.report import plan_lines, result_lines, summary_line, verification_lines
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.merge.takeback import MergeUndo, MergeUndoParams
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import Recovery, StepRun
from pfms_ha_tui.operations.view import TO_BE_REBUILT, OperationState, StepState
from pfms_ha_tui.pandora.events import Criticity

__all__ = ["MergeBack", "MergeParams", "MergeUndo", "MergeUndoParams"]

DIRECTORY = "directory"
"""Fact: path of the merge's directory."""
LEFT_OUT = "left_out"
"""Fact: what of the losing side the merge did not cover; empty = nothing."""


class MergeParams(msgspec.Struct, frozen=True, kw_only=True):
    """An order to merge."""

    master: str
    """Label of the node that the rows go into."""
    archives: str
    """Directory that holds one directory for each merge."""
    losing: str | None = None
    """Label of the node whose rows are recovered; ``None`` when an archive is restored."""
    start: int = 0
    """Window, seconds since 1970, inclusive."""
    end: int = 0
    """Exclusive."""
    tables: tuple[str, ...] | None = None
    mappings: dict[str, TableMapping] = {}
    restore: str | None = None
    """Path of an archive (or a merge's directory) that is merged again."""
    directory: str | None = None
    """Path of a merge's directory that is to be gone on with."""
    anyway: bool = False
    """A person saw that this looks like the wrong direction, and typed the label of the node that loses."""


class MergeBack(ClusterOperation):
    """The merge of one node's rows into the master."""

    kind = "merge"
    commit = "apply"

    def __init__(self, context: Context, params: MergeParams) -> None:
        super().__init__(context)
        self.asked = params
        if (params.losing is None) == (params.restore is None):
            raise OperationError("a merge takes either a node or an archive", code="params")
        context.node(params.master)
        what = params.losing or "an archive"
        self.title = f"merge {what} into {params.master}"
        self.job: Merge | None = None
        if params.losing is not None:
            self.job = Merge(
                context.cluster,
                MergeRequest(
                    losing=params.losing,
                    master=params.master,
                    window=Window(params.start, params.end),
                    tables=params.tables,
                    mappings=params.mappings,
                ),
            )
        losing = [LockLosing(self, params.losing)] if params.losing is not None else []
        self.steps = [
            CheckSides(self),
            *losing,
            ArchiveRows(self),
            AddRows(self),
            ProveRows(self),
            EventStep(self, params.master, self.outcome, Criticity.INFORMATIONAL),
            HookStep(self, HookEvent.MERGE_FINISHED, self.hook_facts),
        ]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, MergeParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """The lock on both nodes, and a session with each."""
        asked = self.asked
        labels = [label for label in (asked.master, asked.losing) if label is not None]
        if not run.dry_run:
            await self.lock.take([self.context.node(asked.master)])
            await self.lock_reachable(labels)
            self.hooks.start(HookEvent.MERGE_STARTED, self.hook_facts(run))
        await self.link(asked.master)

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:  # noqa: ARG002
        """Always on: nothing is done twice."""
        if not any(state is not StepState.WAITING for state in states.values()):
            return Recovery.GIVE_UP
        return Recovery.RESUME

    @property
    def known_master(self) -> str | None:
        """Label of the master, as far as that is remembered."""
        return self.context.known_master()

    def why_wrong_way(self) -> str | None:
        """Why this looks like the wrong direction; blocks for as long as both nodes take to answer.

        Raises:
            PfmsError: a node cannot be asked.
        """
        losing, cluster = self.asked.losing, self.context.cluster
        if losing is None:
            return None
        return why_wrong_way(cluster, losing, self.asked.master, Known.of(cluster, self.known_master))

    def directory(self, run: StepRun) -> Path:
        """The merge's directory.

        Raises:
            OperationError: there is none yet.
        """
        return Path(run.need(DIRECTORY, str))

    def outcome(self, run: StepRun) -> str:
        """What was added, and what is next."""
        added = run.fact("added", int) or 0
        losing, left_out = self.asked.losing, run.fact(LEFT_OUT, str)
        were = "was" if added == 1 else "were"
        text = f"{plural(added, 'row')} of {losing or 'the archive'} {were} added to {self.asked.master}"
        if losing is None:
            return text
        if left_out:
            return f"{text}; {losing} is not to be rebuilt yet: {left_out}"
        if self.harmless(run):
            return f"{text}; {losing} follows it and has nothing of its own"
        return f"{text}; {losing} {TO_BE_REBUILT}"

    @staticmethod
    def harmless(run: StepRun) -> bool:
        """Whether the losing side is a running slave that had nothing of its own: it stays what it is."""
        return bool(run.fact(FOLLOWS, bool))

    def hook_facts(self, run: StepRun) -> dict[str, object]:
        """For the hooks' environment."""
        return {
            "actor": run.actor,
            "operation": run.number,
            "node": self.asked.losing or "",
            "master": self.asked.master,
            "master_host": self.context.node(self.asked.master).host,
            "directory": run.fact(DIRECTORY, str) or "",
            "added": run.fact("added", int) or 0,
        }

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """Tell the site of a failure, and where to go on."""
        if state is OperationState.DONE:
            return
        directory = run.fact(DIRECTORY, str)
        if directory is not None:
            with contextlib.suppress(PfmsError):
                for line in await asyncio.to_thread(self.ways_on, Path(directory)):
                    run.say(line)
        for complaint in await self.hooks.run(HookEvent.MERGE_FAILED, {**self.hook_facts(run), "text": text}):
            run.say(complaint)

    def ways_on(self, directory: Path) -> tuple[str, ...]:
        """The commands that work on what was saved in a merge's directory, one sentence each; blocks.

        Raises:
            ArchiveError: what was noted there cannot be read.
        """
        state, told = load_state(directory), list[str]()
        job = self.job
        if state is not None and state.finished_at is not None:
            told.append(
                "everything was added, and is not proved: nothing is added twice by"
                f" {archived_command('--restore', str(directory)) if job is None else _command(job)}"
            )
        elif state is not None or (directory / ROWS).exists():
            told.append(f"to go on: {archived_command('--resume', str(directory))}")
        if (directory / UNDO).exists():
            told.append(f"to take it back: {archived_command('--undo', str(directory))}")
        return tuple(told)


def _command(job: Merge) -> str:
    request = job.request
    mappings = request.mappings or {}
    return merge_command(
        losing=request.losing,
        into=request.master,
        start=request.window.start,
        end=request.window.end,
        tables=request.tables,
        drop=[f"{table}.{column}" for table, one in mappings.items() for column in one.drop],
        rename=[f"{table}.{old}={new}" for table, one in mappings.items() for old, new in one.rename.items()],
    )


class ArchiveRows(MergeStep):
    """Everything of the window into a file, before anything is written."""

    name = "archive"
    title = "archive the rows"
    cancel_before = True

    def preview(self) -> tuple[str, ...]:
        """Where it goes."""
        return (f"write rows.sql.gz below {self.asked.archives}",)

    async def run(self, run: StepRun) -> str | None:
        """Write it, or check the one that is there."""
        asked, operation = self.asked, self.operation
        directory = await self._directory(run)
        if operation.job is not None:
            job = operation.job
            summary = await on_thread(run, lambda control: job.archive(directory, control))
        else:
            archive = Path(asked.restore or "")
            summary = await asyncio.to_thread(_restoring, archive, directory)
        return summary_line(summary)

    async def _directory(self, run: StepRun) -> Path:
        asked = self.asked
        noted = run.fact(DIRECTORY, str) or asked.directory
        if noted is not None:
            path = Path(noted)
            await asyncio.to_thread(make_directory, path.parent, path.name, again=True)
        else:
            name = directory_name(asked.losing or "archive", asked.master, run.clock.wall())
            path = await asyncio.to_thread(make_directory, Path(asked.archives), name)
        await run.note(directory=str(path))
        return path


def _restoring(archive: Path, directory: Path) -> ArchiveSummary:
    """Begin to restore an archive, or go on: what was noted of a restore that was interrupted stays."""
    if load_state(directory) is None:
        return start_restore(archive, directory)
    with Archive(archive_path(archive)) as opened:
        opened.check()
        return opened.summary


def _archived_request(path: Path, master: str) -> MergeRequest:
    """The merge that an archive was made for."""
    with Archive(archive_path(path)) as archive:
        return MergeRequest(
            losing=archive.head.losing.label,
            master=master,
            window=archive.head.window,
            tables=tuple(archive.tables),
            mappings=archive.mappings(),
        )


class AddRows(MergeStep):
    """Add what the master lacks."""

    name = "apply"
    stays = "what was added stays"

    def __init__(self, operation: MergeBack) -> None:
        super().__init__(operation)
        self.node = self.asked.master
        self.title = f"add what {self.asked.master} lacks"

    def preview(self) -> tuple[str, ...]:
        """In short."""
        return ("START TRANSACTION", "INSERT INTO … VALUES …, UPDATE tconfig (pfms_ha_merge)", "COMMIT")

    async def rehearse(self, run: StepRun) -> str | None:
        """The dry run, row by row."""
        job = self.operation.job
        if job is None:
            return f"what {self.asked.master} lacks of the archive would be added"
        plan = await on_thread(run, job.plan)
        for line in plan_lines(plan):
            run.say(line)
        if plan.blocked:
            blocking = next(one for one in plan.differences if one.blocking)
            raise OperationError(
                f"{blocking.table}: {blocking.text}", hint=blocking.remedy, code="merge_schema"
            )
        return f"{plural(plan.to_add, 'row')} would be added"

    async def run(self, run: StepRun) -> str | None:
        """Add, or go on adding."""
        operation, asked = self.operation, self.asked
        directory = operation.directory(run)
        await operation.lock.check(asked.master)
        if run.fact(FOLLOWS, bool):
            await self._look_for_own_rows(run)
        cluster, node = operation.context.cluster, operation.context.node(asked.master)
        lag = slaves_lag(operation, asked.master, asked.losing or "")
        result = await on_thread(run, lambda control: apply_directory(cluster, node, directory, control, lag))
        for line in result_lines(result):
            run.say(line)
        await run.note(added=result.added)
        aside = f", {result.quarantined} set aside" if result.quarantined else ""
        return f"{plural(result.added, 'row')} added{aside}"

    async def _look_for_own_rows(self, run: StepRun) -> None:
        """A slave that holds rows of its own after all is marked before the first of them is added."""
        job = self.operation.job
        if job is None:
            return
        plan = await on_thread(run, job.plan)
        if any(one.to_add or one.skipped for one in plan.tables):
            await self.mark_unmerged(run, job.request.losing, f"it has rows that {self.asked.master} lacks")
            await run.note(**{FOLLOWS: False})


class ProveRows(MergeStep):
    """Compare archive and master once more."""

    name = "verify"
    title = "compare the archive with the master"
    # The engine lets the adding before it be cancelled only while such a step is still to come.
    cancel_before = True

    async def run(self, run: StepRun) -> str | None:
        """Compare; then the losing side holds nothing that is not saved."""
        operation, asked = self.operation, self.asked
        directory = operation.directory(run)
        cluster, node = operation.context.cluster, operation.context.node(asked.master)

        result = await on_thread(run, lambda control: apply_directory(cluster, node, directory, control))
        check = await on_thread(
            run, lambda control: verify_directory(cluster, node, directory, result, control)
        )
        for line in verification_lines(check):
            run.say(line)
        if not check.good:
            raise OperationError(check.text, node=asked.master, code="verify")
        if asked.losing is not None:
            await self._settle(run, asked.losing)
        else:
            await self._settle_restored(run, Path(asked.restore or ""))
        return check.text

    async def _settle(self, run: StepRun, losing: str) -> None:
        """What it holds is saved, so that it may be rebuilt; unless the merge was of a part only."""
        operation, merged = self.operation, f"its rows were merged into {self.asked.master}"
        left_out = await self._left_out(run)
        await run.note(**{LEFT_OUT: left_out or ""})
        if left_out is not None:
            await operation.mark(run, losing, MarkKind.DIVERGED, f"{merged}, but not all: {left_out}")
            return
        if operation.harmless(run):
            return
        await operation.record(lambda records: records.clear_mark(losing, MarkKind.DIVERGED))
        await operation.mark(run, losing, MarkKind.NEEDS_RESYNC, merged)

    async def _settle_restored(self, run: StepRun, path: Path) -> None:
        """The side whose merge was taken back is free again once all it holds is on the master again."""
        operation, master = self.operation, self.asked.master
        request = await asyncio.to_thread(_archived_request, path, master)
        losing, context = request.losing, operation.context
        marked = await operation.record(lambda records: records.marked(MarkKind.DIVERGED))
        if losing not in marked or losing == master or context.cluster.node(losing) is None:
            return
        began = await context.apart_since(losing, master)

        def holds(control: Control) -> bool:
            job = Merge(context.cluster, request)
            plan = job.plan(control)
            left = plan.blocked or plan.to_add > 0
            return left or job.left_out(request.tables or (), began, control) is not None

        try:
            if await on_thread(run, holds):
                return
        except PfmsError as error:
            run.say(f"whether {losing} holds more than the archive cannot be asked: {error.reason}")
            return
        await operation.record(lambda records: records.clear_mark(losing, MarkKind.DIVERGED))
        await operation.mark(run, losing, MarkKind.NEEDS_RESYNC, f"its rows are on {master} again")

    async def _left_out(self, run: StepRun) -> str | None:
        job, directory = self.operation.job, self.operation.directory(run)
        if job is None:
            return None
        began = await self.operation.context.apart_since(job.request.losing, job.request.master)

        def look(control: Control) -> str | None:
            with Archive(directory / ROWS) as archive:
                tables = tuple(archive.tables)
            return job.left_out(tables, began, control)

        try:
            return await on_thread(run, look)
        except SqlError as error:
            if self.asked.directory is None:
                raise
            run.say(f"whether it holds more than was archived cannot be asked: {error.reason}")
            return None

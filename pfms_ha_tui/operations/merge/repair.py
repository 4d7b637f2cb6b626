"""The repair of a split-brain without a person: lock, find the window, archive, merge, prove.

The same merge as a person's (:mod:`.operation`), but the window is found once the losing side takes no more
writes, and generously. The clone that follows is a decision of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import msgspec

from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.merge.bridge import on_thread
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.facts import Known, gather
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest
from pfms_ha_tui.operations.merge.opening import LockLosing, MergeStep
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams
from pfms_ha_tui.operations.merge.window import Proposal, Window
from pfms_ha_tui.operations.step import StepRun

START, END, TABLES = "start", "end", "tables"
"""Facts: the window that was found, and the tables."""
UNSURE = 86_400
"""Seconds that the window begins earlier when the journal does not tell when the sides parted."""
LATE = 6 * 86_400
"""Seconds back to which rows are looked for that only the losing side has, delivered late by agents.

Less than the shortest time after which Pandora purges by default (strings: 7 days): what the master purged
meanwhile is not to come back.
"""
BLIND = 7 * 86_400
"""Seconds looked back when neither the journal nor the data tell a beginning."""


class RepairParams(msgspec.Struct, frozen=True, kw_only=True):
    """A decision to repair."""

    master: str
    """Label of the node that stays."""
    losing: str
    archives: str
    """Directory that holds one directory for each merge."""


class SplitRepair(MergeBack):
    """The merge of the losing side, by the worker itself."""

    kind = "split-repair"

    def __init__(self, context: Context, params: RepairParams) -> None:
        super().__init__(
            context, MergeParams(master=params.master, losing=params.losing, archives=params.archives)
        )
        self.repair = params
        self.title = f"repair of the split-brain: merge {params.losing} into {params.master}"
        at = next(place for place, step in enumerate(self.steps) if isinstance(step, LockLosing))
        self.steps = [
            *self.steps[: at + 1],
            FindWindow(self),
            *self.steps[at + 1 :],
        ]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, RepairParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.repair)
        return built

    @property
    def known_master(self) -> str | None:
        """The side that stays, as it was decided by what is remembered."""
        return self.repair.master

    async def open(self, run: StepRun) -> None:
        """As every merge; with the window that was found before a crash."""
        await super().open(run)
        start, end = run.fact(START, int), run.fact(END, int)
        if start is not None and end is not None:
            tables = run.fact(TABLES, list[str])
            self.take(Window(start, end), tuple(tables) if tables is not None else None)

    def take(self, window: Window, tables: tuple[str, ...] | None) -> None:
        """From now on it is the merge of that window."""
        request = MergeRequest(
            losing=self.repair.losing, master=self.repair.master, window=window, tables=tables
        )
        self.job = Merge(self.context.cluster, request)


class FindWindow(MergeStep):
    """From when to when: as wide as journal and data say, and wider where they are not sure.

    And every table that can be merged, for the losing side is rebuilt afterwards.
    """

    name = "window"
    title = "find out since when the two sides differ, and in which tables"

    def __init__(self, operation: SplitRepair) -> None:
        super().__init__(operation)
        self._repair = operation

    async def run(self, run: StepRun) -> str | None:
        """Ask journal and data; too wide costs time only."""
        repair, context = self._repair.repair, self.operation.context
        began = await context.apart_since(repair.losing, repair.master)
        now = run.clock.wall()

        def look(control: Control) -> tuple[Proposal | None, int | None, tuple[str, ...], int | None]:
            known = Known.of(context.cluster, repair.master, began)
            found = gather(context.cluster, repair.losing, repair.master, known, control, now=now).window
            before = Window(max(0, int(now) - LATE), int(now))
            request = MergeRequest(losing=repair.losing, master=repair.master, window=before)
            tables, newest = Merge(context.cluster, request).everything()
            # Table by table: rows that one lacks must not be made up for by those that another has.
            buckets = [
                bucket
                for table in tables
                for bucket in Merge(context.cluster, replace(request, tables=(table,))).histogram()
                if bucket.losing > bucket.master
            ]
            return found, min((bucket.start for bucket in buckets), default=None), tables, newest

        found, late, tables, newest = await on_thread(run, look)
        if found is None:
            window, why = Window(max(0, int(now) - BLIND), int(now) + 1), "nobody knows since when"
        elif began is None:
            window = Window(max(0, found.window.start - UNSURE), found.window.end)
            why = "; ".join((*found.reasons, "begun a day earlier, as the journal does not tell"))
        else:
            window, why = found.window, "; ".join(found.reasons)
        if late is not None and late < window.start:
            # Agents deliver what they had kept: their rows are older than the split.
            window = Window(late, window.end)
            why += "; begun with the oldest rows that only the losing side has"
        if newest is not None and newest >= window.end:
            # The clock of an agent is ahead.
            window = Window(window.start, newest + 1)
            why += "; ended with the newest row"
        await run.note(**{START: window.start, END: window.end, TABLES: list(tables)})
        self._repair.take(window, tables)
        return f"{window.seconds} s: {why}"

"""``pfms-ha-tui merge``: what the console's merge wizard does, on the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from pfms_ha_tui.cli.archive import span
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.following import progress_words
from pfms_ha_tui.cli.orders import Ordering, chosen_cluster
from pfms_ha_tui.console.format import number
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import TO_BE_REBUILT, OperationView
from pfms_ha_tui.worker.archives import is_path
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import Order, OrderKind, Plan
from pfms_ha_tui.worker.protocol_merge import (
    NO_TIME,
    DryRun,
    Looked,
    MergeQuery,
    MomentQuery,
    MomentRead,
    Split,
    SplitQuery,
)


def merge(arguments: argparse.Namespace) -> int:
    """Plan, confirm, run and follow a merge, its continuation, its restoring or its undoing."""
    return asyncio.run(_Merging(arguments).run())


class _Merging(Ordering):
    async def order(self, client: WorkerClient) -> Order:
        asked = self._arguments
        order = Order(
            cluster=chosen_cluster(asked, client),
            kind=OrderKind.MERGE,
            target=asked.node,
            into=asked.into,
            restore=place_of(asked.restore),
            resume=place_of(asked.resume),
            undo=place_of(asked.undo),
            tables=tuple(asked.tables.split(",")) if asked.tables else None,
            drop_columns=tuple(asked.drop_column),
            rename_columns=tuple(asked.rename_column),
            anyway=asked.anyway,
        )
        if asked.node is None:
            return order
        if asked.start is None or asked.end is None:
            await self._propose(client, order)
        start, end = await self._moments(client, asked.start, asked.end)
        # The worker's zone read them: what they became is seen before anything is confirmed.
        sys.stderr.write(f"window: {span(start, end)}\n")
        return replace(order, start=f"@{start}", end=f"@{end}")

    def agreed(self, order: Order, plan: Plan) -> Order:
        if plan.warning is None or order.anyway:
            return order
        if self._arguments.yes and not self._arguments.dry_run:
            raise OperationError(
                plan.warning, code="wrong_direction", hint="if that is what you want, add --anyway"
            )
        sys.stderr.write(f"WRONG DIRECTION? {clean(plan.warning)}\n")
        return replace(order, anyway=True)

    def _end(self, view: OperationView) -> int:
        status = super()._end(view)
        losing: str | None = self._arguments.node
        whole = view.text is not None and TO_BE_REBUILT in view.text
        if status == Exit.OK and losing is not None and whole and not self._arguments.json:
            sys.stdout.write(f"next: pfms-ha-tui resync {losing}\n")
        return status

    async def rehearsed(self, client: WorkerClient, order: Order) -> int:
        if order.target is None:
            return await super().rehearsed(client, order)
        found = await _look(client, "merge_dry_run", _query(order))
        assert found.dry_run is not None, "the look is over"  # noqa: S101
        if self._arguments.json:
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found.dry_run), indent=2) + b"\n")
        else:
            sys.stdout.write("\n".join(dry_run_lines(found.dry_run)) + "\n")
        return Exit.FAILED if found.dry_run.blocked else Exit.OK

    async def _split(self, client: WorkerClient, order: Order) -> Split:
        query = SplitQuery(cluster=order.cluster, one=order.target, other=order.into)
        found = await _look(client, "merge_split", query)
        assert found.split is not None, "the look is over"  # noqa: S101
        return found.split

    async def _propose(self, client: WorkerClient, order: Order) -> None:
        """Say which window the journal and the data propose; it is a person's to take.

        Raises:
            OperationError: always.
        """
        split = await self._split(client, order)
        if split.window is None:
            hint = "the rows per minute of the two nodes do not differ: there may be nothing to merge"
        else:
            window = split.window
            hint = (
                f"proposed: --start '{window.start.text} {window.start.offset}'"
                f" --end '{window.end.text} {window.end.offset}' ({'; '.join(window.reasons)})"
            )
            if split.older is not None:
                hint += f"; rows differ before it too, since '{split.older.text} {split.older.offset}'"
        raise OperationError("a merge needs a window: --start and --end", code="window", hint=hint)

    async def _moments(self, client: WorkerClient, start: str, end: str) -> tuple[int, int]:
        texts = (start, end)
        reads = await client.call("merge_moments", MomentQuery(texts=texts), list[MomentRead])
        if len(reads) != len(texts):
            raise OperationError("the worker did not read both ends of the window", code="window")
        first, last = await self._moment("--start", reads[0]), await self._moment("--end", reads[1])
        if last <= first:
            raise OperationError("the window ends before it begins", code="window")
        return first, last

    async def _moment(self, name: str, read: MomentRead) -> int:
        """The moment that is meant; one that comes twice is asked about.

        Raises:
            OperationError: it is none, or nobody is there to ask.
        """
        if read.moment is not None:
            return read.moment.at
        if not read.choices or self._arguments.yes or not sys.stdin.isatty():
            raise OperationError(f"{name}: {read.problem}", code="window", hint=read.hint)
        sys.stderr.write(f"{name}: {read.problem}\n")
        for place, choice in enumerate(read.choices, 1):
            sys.stderr.write(f"  {place}  {choice.text} {choice.zone} ({choice.offset})\n")
        sys.stderr.write("Which one is meant (1 or 2)? ")
        sys.stderr.flush()
        typed: str = await asyncio.to_thread(sys.stdin.readline)
        if typed.strip() not in ("1", "2"):
            raise OperationError("nothing was done", code="unconfirmed")
        return read.choices[int(typed) - 1].at


def _query(order: Order) -> MergeQuery:
    """The look that belongs to an order whose window was read."""
    start, end = order.start or "", order.end or ""
    return MergeQuery(
        cluster=order.cluster,
        losing=order.target or "",
        into=order.into,
        start=int(start.removeprefix("@")),
        end=int(end.removeprefix("@")),
        tables=order.tables,
        drop_columns=order.drop_columns,
        rename_columns=order.rename_columns,
    )


async def _look(client: WorkerClient, method: str, query: object) -> Looked:
    """Ask until there is a result; how far it is goes to the terminal."""
    shown = False
    while True:
        found = await client.call(method, query, Looked)
        done = found.split or found.dry_run or found.histogram
        if sys.stderr.isatty():
            words = progress_words(found.progress) if found.progress is not None else "looking at both nodes"
            if done is None:
                sys.stderr.write(f"\r\x1b[K{clean(found.doing)} {words} …")
                shown = True
            elif shown:
                sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        if done is not None:
            return found


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """A dry run as a table, and what it leaves behind."""
    yield f"dry run, nothing was changed: {found.losing} into {found.master}"
    yield ""
    heads = ("table", "in the window", f"on {found.master}", "to add", "skipped")
    counted = [(one.table, one.rows, one.there, one.to_add, one.skipped) for one in found.tables]
    counted.append(("all", found.rows, found.there, found.to_add, found.skipped_rows))
    rows = [heads, *((table, *map(number, counts)) for table, *counts in counted)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(("  " + clean(first), *rest))
    for problem in found.problems:
        sign = "✖ stops the merge: " if problem.blocking else "· "
        remedy = f" ({clean(problem.remedy)})" if problem.remedy else ""
        yield f"  {sign}{clean(problem.where)}: {clean(problem.text)}{remedy}"
    if found.skipped:
        yield ""
        yield f"skipped, because {found.master} does not have whose rows they are:"
        for one in found.skipped:
            yield f"  {number(one.rows)} {'row' if one.rows == 1 else 'rows'}: {clean(one.text)}"
    for text in found.renamed:
        yield f"  {clean(text)}"
    if found.left_behind or found.not_compared:
        yield ""
        yield f"NOT merged, only archived: configuration that differs on {found.losing}"
        for left in found.left_behind:
            if left.area == NO_TIME:
                told = f"{left.created} {'row' if left.created == 1 else 'rows'} of {clean(left.table)}"
                yield f"  {told} have no time: no window holds them; {clean(found.losing)} stays marked"
                continue
            names = f": {', '.join(map(clean, left.samples[:5]))}" if left.samples else ""
            more = " …" if len(left.samples) > 5 else ""
            counts = f"{left.created} only there, {left.changed} different"
            yield f"  {clean(left.area)} ({clean(left.table)}): {counts}{names}{more}"
        for text in found.not_compared:
            yield f"  not compared: {clean(text)}"


def place_of(text: str | None) -> str | None:
    """A path in full, as the worker has another working directory; the name of a merge as it is."""
    if text is None or not (is_path(text) or Path(text).exists()):
        return text
    return str(Path(text).expanduser().absolute())

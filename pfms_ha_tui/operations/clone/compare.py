"""Whether two nodes have the same rows: a sample of ranges, on a cluster that goes on writing.

A range is asked of the source, then of the target once that has applied all that the source had, then of the
source again. Only if both answers of the source agree and the target's differs, the data differ: rows that
change meanwhile prove nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import integer, text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.waiting import await_progress

_TABLES = 16
_RANGES = 4
_ROWS = 2000
_SMALL = 200_000
"""Rows of a table without a usable key that is compared as a whole."""
_ATTEMPTS = 3
_SCAN_WITHIN = 60.0
"""Seconds for one look at a table."""
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")

_LARGEST = """
SELECT table_name AS name, table_rows AS total FROM information_schema.tables
 WHERE table_schema = %s AND table_type = 'BASE TABLE' ORDER BY data_length DESC, table_name LIMIT %s
"""
_COLUMNS = """
SELECT column_name AS name FROM information_schema.columns
 WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_KEY = """
SELECT s.column_name AS name FROM information_schema.statistics s
  JOIN information_schema.columns c
    ON c.table_schema = s.table_schema AND c.table_name = s.table_name AND c.column_name = s.column_name
 WHERE s.table_schema = %s AND s.table_name = %s AND s.seq_in_index = 1 AND c.data_type IN ({types})
 ORDER BY s.index_name = 'PRIMARY' DESC, s.non_unique, s.cardinality DESC LIMIT 1
""".format(types=", ".join(f"'{name}'" for name in _INTEGERS))
Sum = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Range:
    """Rows of a table by its key; without a key, the whole table."""

    table: str
    sql: str
    bounds: tuple[int, ...]


async def compare(operation: ClusterOperation, source: str, target: str, run: StepRun) -> str:
    """Compare a sample; one sentence about it.

    Raises:
        OperationError: a range differs.
    """
    ours, theirs = await operation.link(source), await operation.link(target)
    ranges = await _ranges(ours, operation.context.cluster.database)
    rows = 0
    for done, one in enumerate(ranges):
        run.progress(done, len(ranges), "ranges")
        rows += await _same(one, ours, theirs, run)
    what = f"{words.plural(rows, 'row')} in {words.plural(len({one.table for one in ranges}), 'table')}"
    return f"the same on {source} and {target}: {what}"


async def _same(one: Range, source: Link, target: Link, run: StepRun) -> int:
    """How many rows were compared.

    Raises:
        OperationError: they differ.
    """
    try:
        return await _same_rows(one, source, target, run)
    except SqlError as error:
        if error.ends_session:
            raise
        run.say(f"{one.table}: it could not be compared: {error.reason}")
        return 0


async def _same_rows(one: Range, source: Link, target: Link, run: StepRun) -> int:
    for _ in range(_ATTEMPTS):
        before = await _sum(source, one)
        await _reach(source, target, run)
        copied = await _sum(target, one)
        if copied == before:
            return before[0] or 0
        if await _sum(source, one) == before:
            rows = words.plural(copied[0] or 0, "row")
            raise OperationError(
                f"{one.table} differs from {source.label}'s: {rows} instead of {before[0]}, or other values",
                node=target.label,
                code="differs",
            )
    run.say(f"{one.table}: it changes too fast to be compared")
    return 0


async def _reach(source: Link, target: Link, run: StepRun) -> None:
    """Wait until the target has applied all that the source has now."""
    state = await source.replication()
    upto = state.executed if state is not None else await source.coordinates()

    async def behind() -> bool:
        seen = await target.replication()
        if seen is None or seen.sql_errno:
            raise OperationError("it does not replicate any more", node=target.label)
        if seen.executed is None or upto is None:
            return True
        return seen.executed.comparable(upto) and not seen.executed >= upto

    await await_progress(
        behind,
        lambda late: not late,
        what="the slave to apply what the source has",
        deadline=120.0,
        interval=0.05,
        clock=run.clock,
        node=target.label,
    )


async def _sum(link: Link, one: Range) -> Sum:
    row = (await link.query(one.sql, one.bounds, timeout=_SCAN_WITHIN))[0]
    return integer(row, "total"), integer(row, "crc")


async def _ranges(link: Link, database: str) -> list[Range]:
    """Random ranges of the largest tables, the newest rows always among them."""
    found: list[Range] = []
    for row in await link.query(_LARGEST, (database, _TABLES), timeout=_SCAN_WITHIN):
        table = text(row, "name")
        columns = [text(one, "name") for one in await link.query(_COLUMNS, (database, table))]
        keys = await link.query(_KEY, (database, table))
        key = text(keys[0], "name") if keys else None
        total = max(1, integer(row, "total") or 1)
        found += await _of_table(
            link, f"{quote_name(database)}.{quote_name(table)}", table, columns, key, total
        )
    return found


async def _of_table(
    link: Link, place: str, table: str, columns: list[str], key: str | None, total: int
) -> list[Range]:
    parts = ", ".join(f"IFNULL(HEX({quote_name(column)}), '-')" for column in columns)
    select = f"SELECT COUNT(*) AS total, SUM(CRC32(CONCAT_WS('|', {parts}))) AS crc FROM {place}"  # noqa: S608
    if key is None:
        return [Range(table, select, ())] if total <= _SMALL else []
    name = quote_name(key)
    ends = (
        await link.query(f"SELECT MIN({name}) AS low, MAX({name}) AS high FROM {place}", timeout=_SCAN_WITHIN)  # noqa: S608
    )[0]
    low, high = integer(ends, "low"), integer(ends, "high")
    if low is None or high is None:
        return [Range(table, select, ())]
    width = max(1, (high - low + 1) * _ROWS // total)
    where = f"{select} WHERE {name} BETWEEN %s AND %s"
    if width >= high - low:
        return [Range(table, where, (low, high))]
    starts = [random.randint(low, high - width) for _ in range(_RANGES - 1)]  # noqa: S311 - a sample
    return [Range(table, where, (start, start + width)) for start in [*starts, high - width]]

"""What a merge leaves on the losing side: rows that its window does not hold, tables that were not chosen.

A node that still holds such rows is the only one that has them, however well its merge was proved.
"""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.plan import Survey
from pfms_ha_tui.operations.merge.prepare import prepare
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import OPTIONAL, TableMapping, TableSpec, choose
from pfms_ha_tui.operations.merge.timeless import TimelessRows
from pfms_ha_tui.operations.merge.window import Window


def newest_row(side: Side, specs: Iterable[TableSpec]) -> int | None:
    """The latest moment of any row, which an agent's clock may have put into the future; ``None`` = no row.

    Raises:
        SqlError: the side cannot be asked.
    """
    moments = []
    for spec in specs:
        schema = side.schema_of([spec.table]).get(spec.table)
        if schema is not None and schema.column(spec.time_column) is not None:
            time = quote_name(spec.time_column)
            sql = f"SELECT MAX({time}) AS newest FROM {quote_name(spec.table)}"
            newest = side.session.query(sql, timeout=READ_TIMEOUT)[0]["newest"]
            moments += [] if newest is None else [int(str(newest))]
    return max(moments, default=None)


def optional_tables(side: Side, since: int | None = None) -> tuple[str, ...]:
    """The tables besides the standard ones that a side has rows in, from ``since`` on.

    Raises:
        SqlError: the side cannot be asked.
    """
    return tuple(spec.table for spec in OPTIONAL if _has_rows(side, spec, since))


def left_out(
    sides: tuple[Side, Side],
    scouts: tuple[Side, Side],
    cluster: ClusterSettings,
    tables: Sequence[str],
    window: Window,
    began: float | None,
    mappings: Mapping[str, TableMapping] | None = None,
    control: Control | None = None,
) -> str | None:
    """What a merge of ``tables`` and ``window`` leaves on the losing side alone; ``None`` = nothing.

    Every row of the rest is looked for on the master: what both sides had before they parted, or what an
    earlier merge added, is no reason to keep the node.

    Args:
        sides: The losing side and the master.
        scouts: Second sessions on both.
        cluster: Their cluster.
        tables: Those that were merged.
        window: The window that was merged.
        began: Since when the sides are apart; ``None`` = nobody knows.
        mappings: What was decided about differing columns.
        control: Cancelling.

    Raises:
        SqlError: a side cannot be asked.
        MergeCancelled: somebody asked to stop.
    """
    losing, master = sides
    since = window.start if began is None else min(window.start, int(began))
    # A table that is overwritten in place holds nothing of the past.
    known = {spec.table: spec for spec in (*OPTIONAL, *choose(None, cluster.merge.tables))}
    wanted = [spec for spec in known.values() if not spec.key]
    merged = [spec for spec in wanted if spec.table in tables]
    others = [spec for spec in wanted if spec.table not in tables and _has_rows(losing, spec, since)]
    newest = newest_row(losing, [*merged, *others])
    after = window.end if newest is None else max(window.end, newest + 1)
    rests = (
        (others, Window(since, after), "which was not among the tables", "with that table too"),
        (merged, Window(since, window.start), "from before the window", "with an earlier beginning"),
        (merged, Window(window.end, after), "from after the window", "with a later end"),
    )
    for specs, rest, which, again in rests:
        if not specs or rest.end <= rest.start:
            continue
        survey = Survey(losing, master, rest, specs, mappings)
        blocking = next((one for one in survey.preparation.differences if one.blocking), None)
        if blocking is not None:
            return f"{blocking.table}, {which}, cannot be compared: {blocking.text}"
        compared, _ = survey.compare(scouts, control or Control())
        lacking = [(one.table, count) for one in compared if (count := one.to_add + one.skipped)]
        if lacking:
            told = " and ".join(f"{plural(count, 'row')} of {table}" for table, count in lacking)
            return f"{told}, {which}, not on {master.label}: merge again {again}"
    return _without_time(losing, master, merged, window, mappings)


def _without_time(
    losing: Side,
    master: Side,
    specs: Sequence[TableSpec],
    window: Window,
    mappings: Mapping[str, TableMapping] | None,
) -> str | None:
    names = [*(one.table for one in specs), *(child.table for one in specs for child in one.children)]
    fitted = prepare(specs, losing.schema_of(names), master.schema_of(names), mappings)
    found = TimelessRows(losing, master, fitted.tables, window).compare(Control())
    if not found:
        return None
    told = ", ".join(f"{one.rows} of {one.table}" for one in found)
    saved = " (they are archived)" if all(one.saved for one in found) else ""
    way_out = "give them one, or delete them, and merge again"
    return f"no window holds its rows without a time, {told}{saved}: {way_out}"


def _has_rows(side: Side, spec: TableSpec, since: int | None) -> bool:
    schema = side.schema_of([spec.table]).get(spec.table)
    if schema is None:
        return False
    from_then = f" WHERE {quote_name(spec.time_column)} >= {since:d}" if since is not None else ""
    sql = f"SELECT 1 AS one FROM {quote_name(spec.table)}{from_then} LIMIT 1"
    return bool(side.session.query(sql, timeout=READ_TIMEOUT))

"""Rows per span of time on both nodes: the histogram, and where the two sides begin to differ."""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers)

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import TableSpec
from pfms_ha_tui.operations.merge.window import (
    Bucket,
    Window,
    bucket_seconds,
    differing,
    merge_buckets,
)

_FIRST_LOOK = 3600
_QUIET = 3600
"""Seconds in which both sides must be equal before the difference is taken to have begun."""


def histogram(
    losing: Side,
    master: Side,
    specs: Sequence[TableSpec],
    window: Window,
    *,
    seconds: int | None = None,
    control: Control | None = None,
) -> tuple[Bucket, ...]:
    """Rows of all tables with an index on the time, per minute or per longer span for a long window.

    Raises:
        SqlError: a side cannot be asked.
        MergeCancelled: somebody asked to stop.
    """
    size = seconds or bucket_seconds(window)
    asked = control or Control()
    counts = [_counts(side, specs, window, size, asked) for side in (losing, master)]
    return merge_buckets(window.start, size, window.end, counts[0], counts[1])


def first_difference(
    losing: Side,
    master: Side,
    specs: Sequence[TableSpec],
    now: int,
    control: Control,
    *,
    furthest: int = 30 * 86_400,
) -> Window | None:
    """From the first to the last minute in which the two sides have different numbers of rows.

    Looks back from ``now`` in ever longer steps until an hour is found that is equal on both, at most
    ``furthest`` seconds. Counts alone are compared: they come from the index.

    Raises:
        SqlError: a side cannot be asked.
        MergeCancelled: somebody asked to stop.
    """
    end, step = now + 60, _FIRST_LOOK
    found: Window | None = None
    while end > now - furthest:
        control.check()
        start = max(0, end - step, now - furthest)
        start -= start % 60
        part = differing(histogram(losing, master, specs, Window(start, end), seconds=60, control=control))
        if part is not None:
            found = part if found is None else Window(part.start, found.end)
        if part is None or part.start - start >= _QUIET:
            return found
        if start == 0:
            break
        end, step = start, step * 2
    return found


def _counts(
    side: Side, specs: Sequence[TableSpec], window: Window, size: int, control: Control
) -> dict[int, int]:
    total: dict[int, int] = {}
    for spec in specs:
        control.check()
        schema = side.schema_of([spec.table]).get(spec.table)
        if schema is None or spec.time_column not in schema.leading:
            continue
        time = quote_name(spec.time_column)
        rows = side.session.query(
            f"SELECT {time} - {time} % {size:d} AS moment, COUNT(*) AS n FROM {quote_name(spec.table)}"
            f" WHERE {time} >= {window.start:d} AND {time} < {window.end:d} GROUP BY 1",
            timeout=READ_TIMEOUT,
        )
        for row in rows:
            moment = int(str(row["moment"]))
            total[moment] = total.get(moment, 0) + int(str(row["n"]))
    return total

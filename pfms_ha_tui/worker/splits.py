"""What people are shown before they order a merge: the split, the rows per minute, the dry run.

Everything here blocks: it asks the nodes, and is run as a look (:mod:`.looks`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from pfms_ha_tui.cluster.sides import SideEvidence
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.facts import Known, SplitFacts, gather, warning
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest
from pfms_ha_tui.operations.merge.plan import MergePlan
from pfms_ha_tui.operations.merge.report import unknown_text
from pfms_ha_tui.operations.merge.tables import LACKS_COLUMN, ONLY_THERE, SchemaDifference
from pfms_ha_tui.operations.merge.window import Window, WindowError, differing, presets
from pfms_ha_tui.pandora.entities import decode
from pfms_ha_tui.worker.merges import local_zone, mappings_of, moment_of
from pfms_ha_tui.worker.protocol_merge import (
    ColumnProblem,
    DryRun,
    LeftBehind,
    MergeQuery,
    ProposedWindow,
    RowsPerSpan,
    SkippedRows,
    Split,
    SplitSide,
    TableCounts,
    WindowPreset,
)

LOOK_BACK = 30 * 86_400
"""Seconds back to which rows are looked for that differ before the split."""
_LISTED = 1000
"""Modules and agents told by name."""


def split_of(cluster: ClusterSettings, one: str, other: str, known: Known, control: Control) -> Split:
    """Who lost, and from when to when.

    Raises:
        PfmsError: a node cannot be asked.
    """
    now = time.time()
    found = gather(cluster, one, other, known, control, now=now)
    zone = local_zone()
    window = found.window.window if found.window is not None else None
    losing, master = found.proposal.losing, found.proposal.master
    merge = Merge(
        cluster,
        MergeRequest(losing=losing, master=master, window=window or Window(int(now) - 3600, int(now))),
    )
    buckets = merge.histogram(control) if window is not None else ()
    counted = {
        losing: sum(one.losing for one in buckets),
        master: sum(one.master for one in buckets),
    }
    older = _older(cluster, losing, master, window, int(now), control)
    first, second = (_side(side, counted[side.label] if window is not None else None) for side in found.sides)
    return Split(
        sides=(first, second),
        losing=losing,
        master=master,
        reasons=found.proposal.reasons,
        certain=found.proposal.certain,
        warnings=_warnings(found, (one, other)),
        skew=found.skew,
        window=_proposed(found, zone),
        older=moment_of(older, zone) if older is not None else None,
        presets=tuple(
            WindowPreset(
                title=title,
                start=moment_of(one.start, zone),
                end=moment_of(one.end, zone),
            )
            for title, one in _presets(now, zone, found, older)
        ),
        zone=str(zone),
        tables=tuple(spec.table for spec in merge.specs),
    )


def _older(
    cluster: ClusterSettings, losing: str, master: str, window: Window | None, now: int, control: Control
) -> int | None:
    """The oldest moment within a month, before the window, at which the numbers of rows differ."""
    if window is None:
        return None
    before = Window(max(0, now - LOOK_BACK), window.start)
    if before.empty:
        return None
    request = MergeRequest(losing=losing, master=master, window=before)
    found = differing(Merge(cluster, request).histogram(control))
    return found.start if found is not None and found.start < window.start else None


def _presets(now: float, zone: tzinfo, found: SplitFacts, older: int | None) -> Iterator[tuple[str, Window]]:
    chosen = [(preset.title, preset.window) for preset in presets(now, zone, found.window)]
    if older is not None and found.window is not None:
        chosen.insert(1, ("everything that differs", Window(older, found.window.window.end)))
    yield from chosen


def histogram_of(
    cluster: ClusterSettings, query: MergeQuery, control: Control | None = None
) -> tuple[RowsPerSpan, ...]:
    """Rows per span of time on both nodes.

    Raises:
        PfmsError: a node cannot be asked, or somebody asked to stop.
    """
    return tuple(
        RowsPerSpan(start=one.start, seconds=one.seconds, losing=one.losing, master=one.master)
        for one in _merge(cluster, query).histogram(control)
    )


def dry_run_of(cluster: ClusterSettings, query: MergeQuery, control: Control) -> DryRun:
    """What the merge would do.

    Raises:
        PfmsError: a node cannot be asked.
    """
    return _told(_merge(cluster, query).plan(control))


def _merge(cluster: ClusterSettings, query: MergeQuery) -> Merge:
    if query.into is None:
        raise OperationError(
            "it is not known which node is the master",
            code="params",
            hint=f"name it: {' or '.join(node.label for node in cluster.nodes)}",
        )
    request = MergeRequest(
        losing=query.losing,
        master=query.into,
        window=Window(query.start, query.end),
        tables=query.tables,
        mappings=mappings_of(query.drop_columns, query.rename_columns),
    )
    return Merge(cluster, request)


def _side(side: SideEvidence, rows: int | None) -> SplitSide:
    return SplitSide(
        label=side.label,
        writable=side.writable,
        epoch=side.epoch,
        keepalive=side.keepalive,
        follows=side.follows,
        named_by_hosts_file=side.named_by_hosts_file,
        named_by_journal=side.named_by_journal,
        position=side.position,
        rows=rows,
    )


def _warnings(found: SplitFacts, labels: tuple[str, str]) -> dict[str, str]:
    pairs = (labels, labels[::-1])
    told = {losing: warning(found, losing, master) for losing, master in pairs}
    return {label: why for label, why in told.items() if why is not None}


def _proposed(found: SplitFacts, zone: tzinfo) -> ProposedWindow | None:
    if found.window is None:
        return None
    window = found.window.window
    try:
        start, end = moment_of(window.start, zone), moment_of(window.end, zone)
    except WindowError:
        return None
    return ProposedWindow(start=start, end=end, reasons=found.window.reasons, certain=found.window.certain)


def _skipped(plan: MergePlan) -> tuple[SkippedRows, ...]:
    listed = [SkippedRows(text=unknown_text(owner), rows=rows) for owner, rows in plan.skipped[:_LISTED]]
    rest = plan.skipped[_LISTED:]
    if rest:
        text = f"{len(rest)} more modules and agents"
        listed.append(SkippedRows(text=text, rows=sum(rows for _, rows in rest)))
    return tuple(listed)


def problems_of(differences: Sequence[SchemaDifference]) -> Iterator[ColumnProblem]:
    """What differs, with the master's own columns of that table where a column may have been renamed."""
    for one in differences:
        lacks = one.column is not None and one.text == LACKS_COLUMN
        yield ColumnProblem(
            where=f"{one.table}.{one.column}" if one.column else one.table,
            text=one.text,
            blocking=one.blocking,
            remedy=one.remedy,
            names=tuple(
                other.column
                for other in differences
                if other.table == one.table and other.column and other.text.startswith(ONLY_THERE)
            )
            if lacks
            else None,
        )


def _told(plan: MergePlan) -> DryRun:
    return DryRun(
        losing=plan.losing,
        master=plan.master,
        start=plan.window.start,
        end=plan.window.end,
        tables=tuple(
            TableCounts(
                table=one.table, rows=one.rows, there=one.there, to_add=one.to_add, skipped=one.skipped
            )
            for one in plan.tables
        ),
        skipped=_skipped(plan),
        renamed=tuple(
            f"{owner} {number} has another name on {plan.master} and is taken for the same: it is older"
            for owner, number in plan.renamed
        ),
        problems=tuple(problems_of(plan.differences)),
        left_behind=tuple(
            LeftBehind(
                area=one.area.value,
                table=one.table,
                created=one.created,
                changed=one.changed,
                samples=tuple(map(decode, one.samples)),
            )
            for one in plan.left_behind.differences
        ),
        not_compared=tuple(f"{one.table}: {one.why}" for one in plan.left_behind.not_compared),
        seconds=plan.seconds,
    )

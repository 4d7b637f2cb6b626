"""A merge in sentences: for the operation's log, the command line and the journal."""

from __future__ import annotations

from collections.abc import Iterator

from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.operations.merge.archive import ArchiveSummary
from pfms_ha_tui.operations.merge.configuration import Area
from pfms_ha_tui.operations.merge.inventory import Unknown, Why
from pfms_ha_tui.operations.merge.plan import MergePlan
from pfms_ha_tui.operations.merge.result import MergeResult
from pfms_ha_tui.operations.merge.verify import Verification
from pfms_ha_tui.pandora.entities import decode

_LISTED = 20


def plan_lines(plan: MergePlan) -> Iterator[str]:
    """The dry run."""
    for one in plan.tables:
        skipped = f", {one.skipped} skipped" if one.skipped else ""
        there = f"{one.rows} in the window, {one.there} on the master"
        yield f"{one.table}: {there}, {one.to_add} to add{skipped}"
    yield from _skipped_lines(plan.skipped)
    for owner, number in plan.renamed:
        yield f"{owner} {number} has another name on the master and is taken for the same: it is older"
    for difference in plan.differences:
        where = f"{difference.table}.{difference.column}" if difference.column else difference.table
        remedy = f" ({difference.remedy})" if difference.remedy else ""
        yield f"{'stops the merge: ' if difference.blocking else ''}{where}: {difference.text}{remedy}"
    for area, rows in sorted(plan.left_behind.by_area.items()):
        if area is Area.TIMELESS:
            yield f"not merged: {plural(rows, 'row')} of {plan.losing} without a time (archived)"
            continue
        what = f"{plural(rows, 'row')} of {area}, made or changed on {plan.losing}"
        yield f"not merged: {what} (archived)"
    for skipped_table in plan.left_behind.not_compared:
        yield f"not compared: {skipped_table.table}: {skipped_table.why}"


def result_lines(result: MergeResult) -> Iterator[str]:
    """What was done."""
    for one in result.tables:
        parts = [f"{one.rows} in the window", f"{one.there} were on the master", f"{one.added} added"]
        if one.skipped:
            parts.append(f"{one.skipped} skipped")
        if one.quarantined:
            parts.append(f"{one.quarantined} refused by the master, set aside")
        yield f"{one.table}: {', '.join(parts)}"
    yield from _skipped_lines(result.skipped)


def verification_lines(check: Verification) -> Iterator[str]:
    """What the proof found."""
    for one in check.tables:
        parts = [f"{one.archived.rows} archived (checksum {one.archived.checksum})"]
        parts.append(f"{one.there} on the master")
        if one.missing:
            parts.append(f"{one.missing} missing, {one.set_aside} of them set aside")
        if one.before is not None and one.after is not None:
            parts.append(f"its window grew from {one.before} to {one.after}")
        if one.surplus:
            parts.append(f"{one.surplus:+d} by others meanwhile")
        yield f"{one.table}: {', '.join(parts)}{'' if one.good else ' — NOT GOOD'}"


def summary_line(summary: ArchiveSummary) -> str:
    """An archive in one sentence."""
    rows = sum(one.rows for one in summary.tables.values())
    config = sum(summary.configuration.values())
    return (
        f"{plural(rows, 'row')} and {config} of configuration saved in {summary.path} ({summary.size} bytes)"
    )


def unknown_text(unknown: Unknown) -> str:
    """A module or agent whose rows stay out."""
    name = decode(unknown.name)
    of = f" of {decode(unknown.agent)}" if unknown.agent else ""
    match unknown.why:
        case Why.MISSING:
            return f"{unknown.owner} {unknown.id} “{name}”{of} does not exist on the master"
        case Why.TAKEN:
            return f"{unknown.owner} {unknown.id} “{name}”{of} is “{decode(unknown.other)}” on the master"
        case Why.DELETED if unknown.other:
            there = decode(unknown.other)
            return (
                f"{unknown.owner} {unknown.id} was deleted on the losing side; on the master it is “{there}”"
            )
        case Why.DELETED:
            return f"{unknown.owner} {unknown.id} does not exist on either side"


def _skipped_lines(skipped: tuple[tuple[Unknown, int], ...]) -> Iterator[str]:
    for unknown, rows in skipped[:_LISTED]:
        yield f"skipped {rows} {'row' if rows == 1 else 'rows'}: {unknown_text(unknown)}"
    if len(skipped) > _LISTED:
        rest = sum(rows for _, rows in skipped[_LISTED:])
        yield f"skipped {plural(rest, 'row')} of {len(skipped) - _LISTED} more modules and agents"

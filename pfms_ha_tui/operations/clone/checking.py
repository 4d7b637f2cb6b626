"""The checks of a clone by themselves: what a person is shown before there is anything to confirm."""

from __future__ import annotations

import humanize

from pfms_ha_tui.cluster import words
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.operations.clone.means import Findings, Means
from pfms_ha_tui.operations.clone.operation import Clone
from pfms_ha_tui.operations.clone.peer import FAST_LINK
from pfms_ha_tui.operations.clone.plan import ClonePlan, title_of
from pfms_ha_tui.operations.clone.preflight import Preflight
from pfms_ha_tui.operations.clone.room import lack_of_room
from pfms_ha_tui.operations.preview import steps_ahead
from pfms_ha_tui.operations.view import CloneCheck, MethodChoice

_TOKEN = "TOKEN"  # noqa: S105 - stands for what names the temporary places once they are made
OFFERED = (CloneMethod.STREAM, CloneMethod.STAGED, CloneMethod.PLUGIN, CloneMethod.SCRIPT)
"""The methods that a person chooses from, besides leaving the choice to the worker."""


async def check(operation: Clone, why_not: str | None = None) -> CloneCheck:
    """Run the checks of a clone that is not started; its sessions are closed afterwards.

    Args:
        operation: It is not to be run afterwards.
        why_not: What speaks against it already, by the worker's judgement of the cluster.
    """
    asked = operation.asked
    preflight = Preflight(operation, asked, _TOKEN)
    try:
        found = await preflight.look()
        methods = await _methods(operation, found)
        if why_not is not None:
            found.complaints.append(why_not)
        operation.plan = plan = await preflight.settle()
    finally:
        await operation.close()
    return CloneCheck(
        title=title_of(asked.target, asked.source, plan.method if plan else asked.method),
        source=asked.source,
        method=plan.method if plan else None,
        problems=tuple(dict.fromkeys(found.complaints)),
        warnings=tuple(dict.fromkeys(found.warnings)),
        passed=tuple(_passed(operation, found, plan)) if plan else (),
        methods=methods,
        cramped=found.cramped,
        steps=steps_ahead(operation) if plan else (),
    )


async def _methods(operation: Clone, found: Findings) -> tuple[MethodChoice, ...]:
    """Each method by itself, whatever else speaks against the clone."""
    try:
        dialect = (await operation.link(operation.asked.source)).dialect
    except PfmsError:
        return ()
    return tuple([await _choice(operation, found, method, dialect) for method in OFFERED])


async def _choice(operation: Clone, found: Findings, method: CloneMethod, dialect: Dialect) -> MethodChoice:
    try:
        complaints = (
            await Means(operation, operation.asked, found, _TOKEN).judge(method, dialect)
        ).complaints
    except PfmsError as error:
        complaints = (str(error),)
    if method is not CloneMethod.SCRIPT:
        complaints += (*found.of_copies, *_hopeless(operation, found))
    return MethodChoice(method=method, why_not="; ".join(complaints) or None)


def _hopeless(operation: Clone, found: Findings) -> tuple[str, ...]:
    """No copy fits; where it would without the old data, a person is asked."""
    if found.source is None or found.target is None:
        return ()
    lack = lack_of_room(operation.asked, found.target, found.source.place)
    return (lack.text,) if lack is not None and lack.hopeless else ()


def _passed(operation: Clone, found: Findings, plan: ClonePlan) -> list[str]:
    asked, target, source = operation.asked, found.target, found.source
    account = operation.context.cluster.replication.user
    if target is None or source is None:
        return []
    proof = "proved to be this server's own" if found.target_proved else "its server is stopped"
    lines = [
        f"{asked.target} is no master and takes no writes",
        f"the datadir of {asked.target} is {plan.datadir}: {proof}",
        f"{asked.source} is another server than {asked.target}, its datadir is {plan.source_datadir}",
        f"{account} can log in to {asked.master} from {asked.target}",
    ]
    if plan.method is CloneMethod.SCRIPT:
        return [*lines, f"{operation.context.cluster.pandora.resync_script} can be run"]
    lines.append(
        f"{humanize.naturalsize(plan.total)} to copy, {humanize.naturalsize(target.free or 0)} free beside it"
    )
    return [*lines, _way(plan)]


def _way(plan: ClonePlan) -> str:
    limit = f", at most {humanize.naturalsize(plan.bandwidth)}/s" if plan.bandwidth else ""
    limit += " of compressed data" if limit and plan.zstd else ""
    if plan.method is CloneMethod.PLUGIN:
        return f"the CLONE plugin fits both servers{limit}"
    way = "from node to node" if plan.direct else "through this host"
    packed = ", compressed by zstd" if plan.zstd else ""
    if not plan.zstd and plan.link_rate is not None and plan.link_rate >= FAST_LINK:
        packed = f", not compressed: the link carries {humanize.naturalsize(plan.link_rate, binary=True)}/s"
    return f"{plan.method} with {plan.tool} in {words.plural(plan.threads, 'thread')}, {way}{packed}{limit}"

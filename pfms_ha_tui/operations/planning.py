"""Building operations by name: new ones from a request, interrupted ones from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.execution import preview_of
from pfms_ha_tui.operations.failover import Failover
from pfms_ha_tui.operations.ledger import Entry, Ledger
from pfms_ha_tui.operations.lock import Lock, Reopen
from pfms_ha_tui.operations.rejoin import Rejoin
from pfms_ha_tui.operations.step import Operation
from pfms_ha_tui.operations.switchover import Switchover
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState, StepView

Build = Callable[[Context, Mapping[str, object]], ClusterOperation]

KINDS: dict[str, Build] = {
    Failover.kind: Failover.of,
    Switchover.kind: Switchover.of,
    Rejoin.kind: Rejoin.of,
    Lock.kind: Lock.of,
    Reopen.kind: Reopen.of,
}


def plan(kind: str, params: Mapping[str, object], context: Context) -> ClusterOperation:
    """An operation, ready to be run or rehearsed by an :class:`~pfms_ha_tui.operations.engine.Engine`.

    Args:
        kind: ``failover`` ``switchover`` ``rejoin`` ``lock`` ``reopen``.
        params: as the kind's ``…Params`` class names them.
        context: where it acts.

    Raises:
        OperationError: an unknown kind, or parameters that do not fit it.
    """
    build = KINDS.get(kind)
    if build is None:
        raise OperationError(f"there is no operation {kind!r}", hint=f"there are: {', '.join(KINDS)}")
    try:
        return build(context, params)
    except msgspec.ValidationError as error:
        raise OperationError(f"{kind}: {error}", code="params") from error


def planned_view(operation: Operation) -> OperationView:
    """How an operation is shown before it is confirmed."""
    return OperationView(
        id=0,
        kind=operation.kind,
        title=operation.title,
        state=OperationState.PLANNED,
        actor="",
        dry_run=False,
        steps=tuple(
            StepView(
                name=step.name,
                title=step.title,
                state=StepState.WAITING,
                preview=preview_of(step),
                node=step.node,
            )
            for step in operation.steps
        ),
    )


async def recover(ledger: Ledger, engine: Engine, context: Context) -> OperationView | None:
    """Bring what was interrupted on a cluster to an end; ``None`` when nothing was.

    To be called when a worker starts, and again as long as the view it returns is still ``interrupted``: then
    a node could not be asked, and nothing else is started on the cluster.

    Raises:
        OperationError: it cannot be built again (another version of this program began it).
    """
    entry: Entry | None = ledger.unfinished(context.cluster.name)
    if entry is None:
        return None
    return await engine.recover(plan(entry.kind, entry.params, context), entry)

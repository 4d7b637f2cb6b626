"""Every kind of operation that this version can carry out, by the name the ledger keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.clone import Clone
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.failover import Failover
from pfms_ha_tui.operations.lock import Lock, Reopen
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeUndo
from pfms_ha_tui.operations.merge.repair import SplitRepair
from pfms_ha_tui.operations.rejoin import Rejoin
from pfms_ha_tui.operations.switchover import Switchover

Rebuild = Callable[[Context, Mapping[str, object]], ClusterOperation]
"""Makes the very same operation again from what the ledger kept of its order."""

PROCEDURES: Mapping[str, Rebuild] = {
    Failover.kind: Failover.of,
    Switchover.kind: Switchover.of,
    Rejoin.kind: Rejoin.of,
    Lock.kind: Lock.of,
    Reopen.kind: Reopen.of,
    Clone.kind: Clone.of,
    MergeBack.kind: MergeBack.of,
    MergeUndo.kind: MergeUndo.of,
    SplitRepair.kind: SplitRepair.of,
}


def rebuild(kind: str, params: Mapping[str, object], context: Context) -> ClusterOperation:
    """An operation by its kind and what it was asked.

    Raises:
        OperationError: this version knows no such kind, or cannot read what it was asked (code ``params``).
    """
    known = PROCEDURES.get(kind)
    if known is None:
        raise OperationError(
            f"this version knows no operation of the kind {kind!r}",
            code="params",
            hint=f"it knows {', '.join(PROCEDURES)}",
        )
    try:
        return known(context, params)
    except ValueError as error:
        raise OperationError(f"what the {kind} was asked cannot be read: {error}", code="params") from error

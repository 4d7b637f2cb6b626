"""Merges as they are ordered: the window read, or one proposed from the data of both sides."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path

from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.facts import Known, gather
from pfms_ha_tui.operations.merge.operation import MergeParams
from pfms_ha_tui.operations.merge.window import read, show
from pfms_ha_tui.worker.protocol import Order


def local_zone() -> tzinfo:
    """The zone of this host, with its changes over the year where they are known."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    linked = Path("/etc/localtime")
    name = str(linked.resolve()).partition("/zoneinfo/")[2] if linked.is_symlink() else ""
    try:
        return ZoneInfo(name) if name else _fixed_zone()
    except (ZoneInfoNotFoundError, ValueError):
        return _fixed_zone()


def _fixed_zone() -> tzinfo:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None  # noqa: S101 - an aware datetime has one
    return zone


def merge_params(order: Order, losing: str, master: str, archives: Path) -> MergeParams:
    """The order with its window in seconds.

    Raises:
        OperationError: a bound is missing, no date-time, or one that the clocks made doubtful.
    """
    if losing == master:
        raise OperationError(f"{losing} is the master: its rows are where they belong")
    if order.start is None or order.end is None:
        raise OperationError("the order names no window", code="window", hint="its start and its end")
    zone = local_zone()
    start, end = read(order.start, zone), read(order.end, zone)
    if end <= start:
        raise OperationError("the window ends before it begins", code="window")
    return MergeParams(
        master=master,
        losing=losing,
        start=start,
        end=end,
        tables=order.tables,
        archives=str(archives),
        anyway=order.anyway,
    )


def propose_window(cluster: ClusterSettings, losing: str, master: str) -> str:
    """One sentence with the window that the data propose; blocks for as long as both nodes take to answer.

    Raises:
        PfmsError: a node cannot be asked.
    """
    found = gather(cluster, losing, master, Known(journal_master=master), Control())
    if found.window is None:
        return f"the data of {losing} and {master} do not differ: there is nothing to merge"
    zone, window = local_zone(), found.window.window
    start, end = show(window.start, zone), show(window.end, zone)
    reasons = "; ".join(found.window.reasons)
    return f"proposed: --start '{start.text}' --end '{end.text}' ({start.zone}; {reasons})"

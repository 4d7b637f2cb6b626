"""Merges as they are ordered: times read, what lies on the disk found again, columns mapped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, tzinfo
from pathlib import Path

from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.merge.archive import Archive
from pfms_ha_tui.operations.merge.ledger import UNDO, MergeState, load_state
from pfms_ha_tui.operations.merge.merging import ROWS, archive_path, node_of
from pfms_ha_tui.operations.merge.names import find
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams, MergeUndo, MergeUndoParams
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.merge.window import TwiceError, WindowError, read, show
from pfms_ha_tui.worker.protocol import Order
from pfms_ha_tui.worker.protocol_merge import Moment, MomentRead


def local_zone() -> tzinfo:
    """The zone of this host, with its changes over the year where they are known."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    linked = Path("/etc/localtime")
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name and linked.is_symlink():
        name = str(linked.resolve()).partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(name) if name else _fixed_zone()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _fixed_zone()


def _fixed_zone() -> tzinfo:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None  # noqa: S101 - an aware datetime has one
    return zone


def moment_of(at: int, zone: tzinfo) -> Moment:
    """A moment in every form.

    Raises:
        WindowError: beyond the calendar.
    """
    local = show(at, zone)
    return Moment(
        at=at, text=local.text, zone=local.zone, offset=local.offset, comes_twice=local.twice is not None
    )


def read_moment(text: str, zone: tzinfo) -> MomentRead:
    """What comes of one text; a local time that comes twice brings both moments to choose from."""
    try:
        return MomentRead(moment=moment_of(read(text, zone), zone))
    except TwiceError as error:
        both = (moment_of(error.first, zone), moment_of(error.second, zone))
        return MomentRead(problem=error.reason, hint=error.hint, choices=both)
    except WindowError as error:
        return MomentRead(problem=error.reason, hint=error.hint)


def read_merge(
    order: Order, cluster: ClusterSettings, master: str | None, archives: Path
) -> MergeParams | MergeUndoParams:
    """What an order to merge comes to; blocks, as it may read files.

    Args:
        order: To merge, to go on, to restore or to undo.
        cluster: Its cluster.
        master: Label of the node that is the master now, if that is known.
        archives: Directory of the cluster's archives.

    Raises:
        OperationError: it does not say what is needed, or the files do not.
    """
    ways = [way for way in (order.restore, order.resume, order.undo) if way is not None]
    if len(ways) > 1 or (ways and order.target is not None):
        raise OperationError(
            "a merge is of a node, or of an archive, or goes on, or is undone: one of these", code="params"
        )
    if order.undo is not None:
        return _undone(find(order.undo, [archives]), cluster, order.into)
    if order.resume is not None:
        return _resumed(find(order.resume, [archives]), cluster, order)
    into = order.into or master
    if into is None:
        raise OperationError(
            "it is not known which node is the master",
            code="params",
            hint=f"name it with --into: {' or '.join(node.label for node in cluster.nodes)}",
        )
    node_of(cluster, into)
    if order.restore is not None:
        archive = archive_path(find(order.restore, [archives])).absolute()
        if not archive.is_file():
            raise OperationError(f"there is no archive {archive}", code="archive")
        return MergeParams(master=into, archives=str(archives), restore=str(archive))
    return _fresh(order, cluster, into, archives)


def _fresh(order: Order, cluster: ClusterSettings, into: str, archives: Path) -> MergeParams:
    losing = order.target
    if losing is None:
        raise OperationError("the order names no node that lost", code="params", hint="--from NODE")
    node_of(cluster, losing)
    if losing == into:
        raise OperationError(f"{losing} is where the rows would go: they are there already", code="params")
    if order.start is None or order.end is None:
        raise OperationError("the order names no window", code="window", hint="its start and its end")
    zone = local_zone()
    start, end = read(order.start, zone), read(order.end, zone)
    if end <= start:
        raise OperationError("the window ends before it begins", code="window")
    return MergeParams(
        master=into,
        losing=losing,
        start=start,
        end=end,
        tables=order.tables,
        mappings=mappings_of(order.drop_columns, order.rename_columns),
        archives=str(archives),
        anyway=order.anyway,
    )


def _state_of(directory: Path) -> MergeState:
    """The state of a merge; one that stopped right after its archive was written has none yet."""
    state = load_state(directory)
    if state is None and (directory / ROWS).exists():
        return MergeState(merge=directory.name, archive=ROWS)
    if state is None:
        raise OperationError(
            f"{directory} is not the directory of a merge",
            code="archive",
            hint="see: pfms-ha-tui archive list",
        )
    return state


def _resumed(path: Path, cluster: ClusterSettings, order: Order) -> MergeParams:
    directory = (path if path.is_dir() else path.parent).absolute()
    state = _state_of(directory)
    if state.undoing or state.undone_at is not None:
        raise OperationError(
            "this merge was taken back" if state.undone_at is not None else "this merge is being taken back",
            code="undone",
            hint="merge its archive again with --restore"
            if state.undone_at is not None
            else "go on with --undo",
        )
    if state.finished_at is not None:
        raise OperationError(
            "this merge is finished: there is nothing to go on with",
            code="finished",
            hint=f"to look once more for rows that are missing: --restore {directory}",
        )
    with Archive(directory / state.archive) as archive:
        head, tables, mappings = archive.head, tuple(archive.tables), archive.mappings()
    into = state.master or head.master.label
    if order.into is not None and order.into != into:
        raise OperationError(f"this merge adds its rows to {into}, not to {order.into}", code="params")
    node_of(cluster, into)
    if state.archive != ROWS:
        return MergeParams(
            master=into,
            archives=str(directory.parent),
            restore=str(directory / state.archive),
            directory=str(directory),
        )
    node_of(cluster, head.losing.label)
    return MergeParams(
        master=into,
        losing=head.losing.label,
        start=head.start,
        end=head.end,
        tables=tables,
        mappings=mappings,
        archives=str(directory.parent),
        directory=str(directory),
        anyway=order.anyway,
    )


def _undone(path: Path, cluster: ClusterSettings, into: str | None) -> MergeUndoParams:
    directory = (path if path.is_dir() else path.parent).absolute()
    state = _state_of(directory)
    if not (directory / UNDO).exists() or not state.master:
        raise OperationError(f"the merge in {directory} added nothing yet: nothing to undo", code="undone")
    if state.undone_at is not None:
        raise OperationError("this merge was taken back already", code="undone")
    if into is not None and into != state.master:
        raise OperationError(f"this merge added its rows to {state.master}, not to {into}", code="params")
    node_of(cluster, state.master)
    return MergeUndoParams(directory=str(directory), master=state.master)


def mappings_of(drop: Iterable[str], rename: Iterable[str]) -> dict[str, TableMapping]:
    """What was decided about differing columns, by table.

    Args:
        drop: ``table.column`` of the losing side, archived but not merged.
        rename: ``table.column=column of the master``.

    Raises:
        OperationError: one of them is not written so.
    """
    dropped: dict[str, list[str]] = {}
    renamed: dict[str, dict[str, str]] = {}
    for text in drop:
        table, _, column = text.partition(".")
        if not table or not column:
            raise OperationError(f"{text!r} is no column", code="params", hint="write it as table.column")
        dropped.setdefault(table, []).append(column)
    for text in rename:
        place, _, name = text.partition("=")
        table, _, column = place.partition(".")
        if not table or not column or not name:
            raise OperationError(
                f"{text!r} is no renamed column", code="params", hint="write it as table.column=new_name"
            )
        renamed.setdefault(table, {})[column] = name
    return {
        table: TableMapping(drop=tuple(dropped.get(table, ())), rename=renamed.get(table, {}))
        for table in dict.fromkeys((*dropped, *renamed))
    }


def merge_impact(operation: MergeBack | MergeUndo) -> tuple[str, ...]:
    """What a merge costs and what it leaves alone, one sentence each."""
    if isinstance(operation, MergeUndo):
        return (
            f"Exactly the rows that this merge added are removed from {operation.asked.master} again.",
            "The archive stays. A losing side that was not rebuilt since is marked: it alone has them again.",
        )
    asked = operation.asked
    saved = (
        "Everything in the window is written to an archive before anything is added."
        if asked.restore is None and asked.directory is None
        else "The archive is checked before anything is added."
    )
    added = f"Only rows that {asked.master} lacks are added to it; merge --undo can take them back."
    if asked.losing is None:
        return (saved, added)
    locked = f"{asked.losing} is locked: read-only, its clients ended. Nothing on it is deleted."
    return (locked, saved, added)

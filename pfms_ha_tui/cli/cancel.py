"""``cancel``: end what runs at its next safe point, or a resync that waits before it has begun."""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.following import followed
from pfms_ha_tui.cli.orders import chosen_cluster
from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.snapshot import SyncState
from pfms_ha_tui.config import console_access
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.errors import OperationError, WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import Cancel, ClusterState


def cancel(arguments: argparse.Namespace) -> int:
    """Ask for the end, and wait for it; 0 only when it was cancelled."""
    return asyncio.run(_cancel(arguments))


async def _cancel(arguments: argparse.Namespace) -> int:
    socket = console_access(arguments.config).socket
    async with await WorkerClient.connect(socket, client="cli cancel") as client:
        cluster = chosen_cluster(arguments, client)
        states = await client.call("state", result=list[ClusterState])
        state = next((state for state in states if state.name == cluster), None)
        if state is None:
            raise WorkerError(f"nothing is known of {cluster} yet", hint="try again in a second")
        queued = _queued(arguments, state)
        if queued is not None:
            text = f"the resync of {queued}, which waits for its turn, is cancelled"
            return await _told(arguments, client, Cancel(cluster=cluster, queued=queued), text)
        view = _running(arguments, state)
        text = f"operation {view.id}, {view.title}, ends at its next safe point; {view.if_cancelled}"
        if arguments.dry_run:
            return await _told(arguments, client, Cancel(cluster=cluster, id=view.id), text)
        await client.call("cancel", Cancel(cluster=cluster, id=view.id))
        sys.stderr.write(f"{clean(text)}\n")
        sys.stderr.flush()
        ended = await followed(client, cluster, view)
    if arguments.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(ended), indent=2) + b"\n")
    else:
        sys.stdout.write(f"{ended.state.value}: {clean(ended.text or ended.title)}\n")
    return Exit.OK if ended.state is OperationState.CANCELLED else Exit.FAILED


async def _told(arguments: argparse.Namespace, client: WorkerClient, which: Cancel, text: str) -> int:
    if arguments.dry_run:
        text = f"to be cancelled: {text}; nothing was changed"
    else:
        await client.call("cancel", which)
    if arguments.json:
        told = {"cluster": which.cluster, "kind": "cancel", "dry_run": arguments.dry_run, "text": text}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        sys.stdout.write(f"{clean(text)}\n")
    return Exit.OK


def _queued(arguments: argparse.Namespace, state: ClusterState) -> str | None:
    """The node whose waiting resync is meant: named, or the only thing there is to cancel.

    Raises:
        OperationError: several wait, and none was named.
    """
    named: str | None = arguments.queued
    if named is not None or arguments.operation is not None or _under_way(state) is not None:
        return named
    waiting = [node.label for node in state.snapshot.nodes if node.sync.state is SyncState.QUEUED]
    if len(waiting) > 1:
        raise OperationError(f"the resyncs of {words.labels(waiting)} wait", hint="name one: --queued NODE")
    return waiting[0] if waiting else None


def _running(arguments: argparse.Namespace, state: ClusterState) -> OperationView:
    """The operation that is meant, if it can be cancelled.

    Raises:
        OperationError: there is none, or it cannot, and why.
    """
    view, number = _under_way(state), arguments.operation
    if view is None or (number is not None and number != view.id):
        what = "no operation is running" if number is None else f"operation {number} is not running"
        hint = None if view is None else f"operation {view.id} is: {view.title}"
        raise OperationError(what, hint=hint)
    if view.state is OperationState.INTERRUPTED:
        raise OperationError(
            f"operation {view.id}, {view.title}, was interrupted: the worker brings it to an end by itself"
        )
    if not view.cancellable:
        raise OperationError(
            f"operation {view.id}, {view.title}, can no longer be cancelled",
            hint="it is past its last safe point",
        )
    return view


def _under_way(state: ClusterState) -> OperationView | None:
    view = state.operation
    going = view is not None and view.state in (OperationState.RUNNING, OperationState.INTERRUPTED)
    return view if going and view is not None and not view.dry_run else None

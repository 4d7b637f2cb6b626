"""The commands that change a cluster: shown first, confirmed by label, followed to their verified end."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from pfms_ha_tui.cli import following
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.following import step_line
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.config import console_access
from pfms_ha_tui.console.format import span
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.errors import OperationError, WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.client import EventsUpdate, Goodbye, StateUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import (
    BEGIN_WITHIN,
    REHEARSAL_WITHIN,
    ClusterRef,
    NodeQuery,
    OperationsQuery,
    Order,
    OrderKind,
    Pause,
    Plan,
    SetMode,
    Start,
)

_MASTER_WRITES_ON = frozenset({"clone", "merge", "merge-undo", "rejoin"})
"""Kinds of operations that leave the master alone: whatever stops them, it takes writes."""


def order(arguments: argparse.Namespace) -> int:
    """Plan, confirm, run and follow one operation."""
    return asyncio.run(Ordering(arguments).run())


def drill(arguments: argparse.Namespace) -> int:
    """Rehearse an operation against the live cluster: every guard and step, nothing changed."""
    arguments.dry_run, arguments.yes = True, False
    return asyncio.run(Ordering(arguments).run())


def pause(arguments: argparse.Namespace) -> int:
    """Suspend automatic actions."""
    for_so_long = span(arguments.duration)
    return _tell(
        arguments,
        "pause",
        lambda cluster: Pause(cluster=cluster, seconds=arguments.duration, reason=arguments.reason),
        done=f"automatic actions are suspended for {for_so_long}",
        would=f"automatic actions would be suspended for {for_so_long}",
    )


def resume(arguments: argparse.Namespace) -> int:
    """End the maintenance."""
    return _tell(
        arguments,
        "resume",
        lambda cluster: ClusterRef(cluster=cluster),
        done="automatic actions are possible again",
        would="the maintenance would be ended, if there is one",
    )


def acknowledge(arguments: argparse.Namespace) -> int:
    """Lift the block that follows a failover."""
    return _tell(
        arguments,
        "acknowledge",
        lambda cluster: ClusterRef(cluster=cluster),
        done="the last failover is acknowledged; another one may follow",
        would="the last failover would be acknowledged, if one waits for it",
    )


def mode(arguments: argparse.Namespace) -> int:
    """Change how much the worker does by itself."""
    return _tell(
        arguments,
        "set_mode",
        lambda cluster: SetMode(cluster=cluster, mode=Mode(arguments.mode)),
        done=f"the mode is {arguments.mode}",
        would=f"the mode would be {arguments.mode}",
    )


def name_master(arguments: argparse.Namespace) -> int:
    """Say which node is the master when the worker cannot know."""
    return _tell(
        arguments,
        "name_master",
        lambda cluster: NodeQuery(cluster=cluster, node=arguments.node),
        done=f"{arguments.node} counts as the master",
        would=f"{arguments.node} would count as the master, if no other node plainly is",
    )


def _tell(
    arguments: argparse.Namespace, method: str, params: Callable[[str], object], *, done: str, would: str
) -> int:
    """Tell the worker one thing, or with ``--dry-run`` only find the worker and the cluster."""
    socket = console_access(arguments.config).socket
    text = f"{would}; nothing was changed" if arguments.dry_run else done

    async def tell() -> str:
        async with await WorkerClient.connect(socket, client=f"cli {method}") as client:
            cluster = chosen_cluster(arguments, client)
            if not arguments.dry_run:
                await client.call(method, params(cluster))
            return cluster

    cluster = asyncio.run(tell())
    if arguments.json:
        told = {"cluster": cluster, "kind": method, "dry_run": arguments.dry_run, "text": text}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        sys.stdout.write(f"{text}\n")
    return Exit.OK


def chosen_cluster(arguments: argparse.Namespace, client: WorkerClient) -> str:
    """The cluster that is meant.

    Raises:
        WorkerError: there are several and none was named, or there is none of that name.
    """
    names = client.welcome.clusters
    asked: str | None = arguments.cluster
    if asked is None and len(names) == 1:
        return names[0]
    if asked is None or asked not in names:
        wanted = (
            "there are several clusters" if arguments.cluster is None else f"no cluster {arguments.cluster!r}"
        )
        raise WorkerError(wanted, hint=f"--cluster {' or '.join(names)}")
    return asked


class Ordering:
    """One order, from what was typed to its verified end."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        self._kind = OrderKind(arguments.kind)
        self._refused: str | None = None
        """Why what is rehearsed would be refused now."""

    async def order(self, client: WorkerClient) -> Order:
        """What was typed, as an order."""
        return Order(
            cluster=chosen_cluster(self._arguments, client),
            kind=self._kind,
            target=self._arguments.node,
            kill_long=getattr(self._arguments, "kill_long", False),
        )

    async def plan(self, client: WorkerClient, order: Order) -> Plan:
        """What it would do."""
        return await client.call("plan", order, Plan)

    def agreed(self, order: Order, plan: Plan) -> Order:  # noqa: ARG002
        """The order once its plan was seen.

        Raises:
            OperationError: not without something more.
        """
        return order

    async def run(self) -> int:
        """Plan, confirm, run, follow; the exit status."""
        socket = console_access(self._arguments.config).socket
        async with await WorkerClient.connect(socket, client=f"cli {self._kind}") as client:
            order = await self.order(client)
            plan = await self.plan(client, order)
            if plan.why_not is not None and not self._arguments.dry_run:
                raise OperationError(f"{plan.operation.title} is refused: {plan.why_not}", code="refused")
            if not self._arguments.json:
                sys.stdout.write("\n".join(_plan_lines(plan)) + "\n")
                sys.stdout.flush()
            elif not self._arguments.dry_run and not self._arguments.yes and sys.stdin.isatty():
                # The label is asked for next: nobody confirms what was not shown.
                sys.stderr.write("\n".join(_plan_lines(plan)) + "\n")
                sys.stderr.flush()
            order = self.agreed(order, plan)
            if self._arguments.dry_run:
                self._refused = plan.why_not
                if plan.why_not is not None:
                    sys.stderr.write(f"ordered now, it would be refused: {clean(plan.why_not)}\n")
                    sys.stderr.flush()
                return await self.rehearsed(client, order)
            label = await self.confirmed(plan)
            start = Start(order=order, confirm=label, planned=plan.operation.title)
            asked_at = time.time()
            begun = await client.call("start", start, OperationView, timeout=BEGIN_WITHIN)
            try:
                if begun.state is OperationState.PLANNED:
                    begun = await self._its_turn(client, order, asked_at)
                return self._end(await following.followed(client, order.cluster, begun))
            except asyncio.CancelledError:
                sys.stderr.write(
                    f"{clean(begun.title)} goes on without this command: o on the console shows it,"
                    " pfms-ha-tui cancel ends it\n"
                )
                raise
            except WorkerError as error:
                if error.code != "lost":
                    raise
                raise _out_of_sight(begun) from error

    async def rehearsed(self, client: WorkerClient, order: Order) -> int:
        """Every check, nothing changed; the exit status."""
        start = Start(order=order, dry_run=True)
        view = await client.call("start", start, OperationView, timeout=REHEARSAL_WITHIN)
        # A failover is rehearsed while its master lives: that speaks against the order, not against a step.
        if self._refused is not None and order.kind is not OrderKind.FAILOVER:
            text = f"dry run: it would not work: {self._refused}"
            view = replace(view, state=OperationState.FAILED, text=text)
        return self._end(view)

    async def confirmed(self, plan: Plan) -> str:
        """The label, once it is typed or ``--yes`` stands for it.

        Raises:
            OperationError: it is not confirmed.
        """
        if self._arguments.yes:
            if plan.by_name and self._arguments.node is None:
                raise OperationError(
                    f"{plan.operation.title} is not confirmed: {plan.confirm} is promoted by its name only",
                    code="unconfirmed",
                    hint=f"name it: pfms-ha-tui {self._kind} {plan.confirm} --yes",
                )
            return plan.confirm
        if not sys.stdin.isatty():
            raise OperationError(
                f"{plan.operation.title} is not confirmed", hint="without a terminal, --yes confirms it"
            )
        await typed(f"Type {plan.confirm} to go on, anything else to leave it: ", plan.confirm)
        return plan.confirm

    async def _its_turn(self, client: WorkerClient, order: Order, asked_at: float) -> OperationView:
        """The operation that an order in the queue became.

        Raises:
            OperationError: it was refused when its turn came.
            WorkerError: the worker ended before.
        """
        sys.stderr.write("queued: it begins when the running operation has ended\n")
        sys.stderr.flush()
        title, refused = f"resync of {order.target} from ", f"resync of {order.target} "
        updates = client.subscribe()
        while True:
            seen: list[OperationView] = []
            try:
                async with asyncio.timeout(following.QUIET_FOR):
                    update = await anext(updates)
            except TimeoutError:
                seen = await client.call(
                    "operations", OperationsQuery(cluster=order.cluster), list[OperationView]
                )
                updates = client.subscribe()
            else:
                match update:
                    case Goodbye():
                        raise WorkerError("the worker stops, and forgets what is queued: order it again")
                    case StateUpdate(state=now) if now.name == order.cluster and now.operation is not None:
                        seen = [now.operation]
                    case EventsUpdate(events=events):
                        for event in events:
                            if refused in event.text and "did not begin" in event.text:
                                raise OperationError(event.text, code="refused")
            for view in seen:
                since = view.started_at or 0.0
                if view.title.startswith(title) and since >= asked_at and not view.dry_run:
                    return view

    def _end(self, view: OperationView) -> int:
        if self._arguments.json:
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(view), indent=2) + b"\n")
        else:
            if view.dry_run:
                sys.stdout.write("\n".join(_rehearsed_lines(view)) + "\n")
            for told in view.log:
                sys.stdout.write(f"  {clean(told)}\n")
            sys.stdout.write(f"{view.state.value}: {clean(view.text or view.title)}\n")
        return Exit.OK if view.state is OperationState.DONE else Exit.FAILED


def _out_of_sight(begun: OperationView) -> WorkerError:
    """The worker was lost while an order waited or ran; what it leaves behind may be a cluster locked."""
    then = "the next worker finishes it or takes it back; until one runs, nobody may be able to write"
    if begun.kind in _MASTER_WRITES_ON:
        then = "it rests until a worker runs, which finishes it or takes it back; the master takes writes"
    hint = (
        "it did not begin, and a worker that ended forgets what is queued: order it again"
        if begun.state is OperationState.PLANNED
        else f"{then}. Start it, then look at: pfms-ha-tui status"
    )
    title = clean(begun.title)
    return WorkerError(f"the worker was lost, and with it the sight of: {title}", code="lost", hint=hint)


async def typed(question: str, wanted: str) -> None:
    """Go on only if the very word is typed.

    Raises:
        OperationError: it was not.
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    line: str = await asyncio.to_thread(sys.stdin.readline)
    if line.strip() != wanted:
        raise OperationError("nothing was done", code="unconfirmed")


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield clean(plan.operation.title)
    for sentence in plan.impact:
        yield f"  ! {clean(sentence)}"
    for place, step in enumerate(plan.operation.steps, 1):
        where = f"{clean(step.node)}: " if step.node else ""
        yield f"  {place:2}. {where}{clean(step.title)}"
        for line in step.preview:
            yield f"        {clean(line)}"


def _rehearsed_lines(view: OperationView) -> Iterator[str]:
    yield "rehearsed, nothing was changed:"
    for step in view.steps:
        yield f"  {step_line(step)}"

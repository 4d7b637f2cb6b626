"""Closing a node that must not take writes, and opening the master that came back closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.aftermath import EventStep, HostsFileStep, PandoraRestart, PandoraStep
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.roles import lock_node
from pfms_ha_tui.operations.step import OnFailure, Recovery, Skip, Step, StepRun
from pfms_ha_tui.operations.view import StepState
from pfms_ha_tui.pandora.epoch import Promotion
from pfms_ha_tui.pandora.events import Criticity


class LockParams(msgspec.Struct, frozen=True, kw_only=True):
    """Which node is closed, because which other one is the master."""

    node: str
    master: str
    by_person: bool = False
    """Whether a person chose the side that stays: then the epochs are not asked."""


class Lock(ClusterOperation):
    """Make a returned old master (or the losing side, by a person's choice) read-only."""

    kind = "lock"

    def __init__(self, context: Context, params: LockParams) -> None:
        super().__init__(context)
        self.asked = params
        self.title = f"lock {params.node}"
        self.steps = [LockReturned(self, params.node, params.master, by_person=params.by_person)]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, LockParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """Sessions to both, and the lock on the one that changes."""
        node = self.context.node(self.asked.node)
        takes = [] if run.dry_run else [self.lock.take([node])]
        await asyncio.gather(*takes, self.link(self.asked.node), self.try_link(self.asked.master))

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:  # noqa: ARG002
        """Locking again does no harm."""
        return Recovery.RESUME

    def outcome(self, run: StepRun) -> str:  # noqa: ARG002
        """That it is closed."""
        return f"{self.asked.node} is read-only, {self.asked.master} is the master"

    async def concluded(self, state: object, text: str, run: StepRun) -> None:  # noqa: ARG002
        """An old master that came back is told to the site."""
        await self.hooks.run(
            HookEvent.MASTER_RETURNED,
            {
                "actor": run.actor,
                "operation": run.number,
                "node": self.asked.node,
                "node_host": self.context.node(self.asked.node).host,
                "master": self.asked.master,
                "text": text,
            },
        )


class LockReturned(Step):
    """The first act on a node that comes back: read-only, and its clients ended.

    The promotion records decide which side is older, so that a worker with an old journal never touches the
    present master.
    """

    name = "lock"

    def __init__(self, operation: ClusterOperation, label: str, master: str, *, by_person: bool = False):
        self.operation = operation
        self.node = label
        self.master = master
        self.by_person = by_person
        self.title = f"lock {label}"

    def preview(self) -> Sequence[str]:
        """The statements."""
        dialect = self.operation.dialect(self.node or "")
        return (*dialect.set_read_only(True), dialect.show_processlist, "KILL every client session")

    async def rehearse(self, run: StepRun) -> str | None:
        """Whether it is the older one."""
        promotion = await self._promotion()
        await run.note(promotion=promotion)
        return f"{self.node} would become read-only"

    async def run(self, run: StepRun) -> str | None:
        """Lock it."""
        promotion = None if self.by_person else await self._promotion()
        await run.note(promotion=promotion, locked=True)
        killed = await lock_node(self.operation, self.node or "")
        return f"{self.node} is read-only, {words.plural(killed, 'client session')} ended"

    async def undo(self, run: StepRun) -> str | None:  # noqa: ARG002
        """It stays locked: whatever comes next, an old master takes no writes."""
        return None

    async def _promotion(self) -> Promotion:
        """The record by which ``master`` succeeded this node.

        Raises:
            OperationError: nothing proves that this node is the older one.
        """
        operation, label = self.operation, self.node or ""
        noted, carried, own = await asyncio.gather(
            operation.record(lambda records: records.newest()),
            operation.epoch_on(self.master),
            operation.epoch_on(label),
        )
        known = [one for one in (noted, carried) if one is not None and one.master == self.master]
        newest = max(known, key=lambda one: one.epoch, default=None)
        if newest is None:
            raise OperationError(f"no record tells that {self.master} was promoted", node=label, code="epoch")
        rivals = [one for one in (noted, carried, own) if one is not None and one.epoch > newest.epoch]
        if own is not None and own.epoch >= newest.epoch and own.master == label:
            rivals.append(own)
        if rivals:
            raise OperationError(
                f"a record of epoch {rivals[0].epoch} names {rivals[0].master} as master,"
                f" that of {self.master} has {newest.epoch}",
                node=label,
                code="split_brain",
                hint="choose the side that stays master",
            )
        return newest


class ReopenParams(msgspec.Struct, frozen=True, kw_only=True):
    """Which master is opened again."""

    node: str


class Reopen(ClusterOperation):
    """A master that crashed and came back read-only, before anybody was promoted: open it again."""

    kind = "reopen"

    def __init__(self, context: Context, params: ReopenParams) -> None:
        super().__init__(context)
        self.asked = params
        self.title = f"reopen {params.node}"
        self.restart = PandoraRestart(self)
        self.steps = [
            Open(self, params.node),
            *(Reconnect(self, label) for label in self.labels if label != params.node),
            HostsFileStep(self, params.node, self.restart),
            PandoraStep(self, params.node, self.restart),
            EventStep(self, params.node, self.outcome, Criticity.WARNING),
        ]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, ReopenParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """Sessions to every node, and the lock on all of them: nobody is promoted meanwhile."""
        if not run.dry_run:
            await self.lock_reachable(self.labels)
        await self.link(self.asked.node)

    async def close(self) -> None:
        """Let Pandora's restart end before the sessions do."""
        await self.restart.abandon()
        await super().close()

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:  # noqa: ARG002
        """Look again, and open it or not."""
        return Recovery.RESUME

    def outcome(self, run: StepRun) -> str:  # noqa: ARG002
        """That it is open."""
        return f"{self.asked.node} takes writes again"


class Open(Step):
    """Open it, if it is nobody's slave, carries the newest record, and nobody else is writable."""

    name = "open"
    on_failure = OnFailure.STOP

    def __init__(self, operation: ClusterOperation, label: str) -> None:
        self.operation = operation
        self.node = label
        self.title = f"open {label}"

    def preview(self) -> Sequence[str]:
        """The statements."""
        return self.operation.dialect(self.node or "").set_read_only(False)

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Whether it may be opened."""
        await self._may_open()
        return f"{self.node} would be opened"

    async def run(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Open it."""
        await self._may_open()
        label = self.node or ""
        await self.operation.lock.check(label)
        link = await self.operation.link(label)
        await link.execute_all(link.dialect.set_read_only(False))
        return f"{label} takes writes again"

    async def verify(self, run: StepRun) -> None:  # noqa: ARG002
        """It is writable."""
        if await (await self.operation.link(self.node or "")).is_read_only():
            raise OperationError("it is still read-only", node=self.node)

    async def _may_open(self) -> None:
        operation, label = self.operation, self.node or ""
        link = await operation.link(label)
        if await link.replication() is not None:
            raise OperationError("it follows another node", node=label)
        marks = await operation.record(lambda records: records.marks())
        bad = [mark for mark in marks if mark.node == label or mark.kind is MarkKind.UNRESOLVED]
        if bad:
            raise OperationError(f"{bad[0].node}: {bad[0].kind}: {bad[0].reason}", node=label)
        noted = await operation.record(lambda records: records.newest())
        for other in operation.labels:
            await self._is_no_rival(label, other, noted)

    async def _is_no_rival(self, label: str, other: str, noted: Promotion | None) -> None:
        """Raise unless ``other`` is proved read-only, and every record names this node."""
        link = await self.operation.link(other)
        if other != label and not await link.is_read_only():
            raise OperationError(f"{other} is writable", node=label)
        carried = await self.operation.epoch_on(other)
        newest = max((one for one in (carried, noted) if one), key=lambda one: one.epoch, default=None)
        if newest is not None and newest.master != label:
            raise OperationError(
                f"{newest.master} was promoted after it (epoch {newest.epoch})", node=label, code="epoch"
            )


class Reconnect(Step):
    """Let a slave look for its master now: by itself it may wait a minute between two attempts."""

    on_failure = OnFailure.GO_ON

    def __init__(self, operation: ClusterOperation, label: str) -> None:
        self.operation = operation
        self.node = label
        self.name = f"reconnect_{label}"
        self.title = f"let {label} connect again"

    def preview(self) -> Sequence[str]:
        """The statements."""
        dialect = self.operation.dialect(self.node or "")
        return (dialect.stop_io, dialect.start_io)

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Whether it waits."""
        await self._waiting()
        return f"{self.node} would connect again"

    async def run(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Restart its receiver."""
        link = await self._waiting()
        await link.execute_all((link.dialect.stop_io, link.dialect.start_io))
        return f"{self.node} connects again"

    async def _waiting(self) -> Link:
        link = await self.operation.link(self.node or "")
        state = await link.replication()
        if state is None or state.io is not IoState.CONNECTING:
            raise Skip("it does not wait for a connection")
        if not state.drained:
            raise Skip("it has not applied everything yet: its receiver is left alone")
        return link

"""What the procedures share: the cluster they act on, their time limits, their sessions and their lock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.access import ClusterLock, Link
from pfms_ha_tui.operations.hooks import Hooks
from pfms_ha_tui.operations.records import Mark, MarkKind, Records
from pfms_ha_tui.operations.step import Operation, StepRun
from pfms_ha_tui.pandora.epoch import Promotion, read_epoch

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    pause: float = 5.0
    """A switchover's write pause; beyond it, everything is undone."""
    read_only: float = 1.0
    """For the master to become read-only while a statement holds it up."""
    long_transaction: float = 10.0
    """A transaction open for longer is not killed without being told to."""
    catch_up: float = 300.0
    """For a slave to come close to its master before the pause."""
    repoint: float = 60.0
    """For another slave to apply what the new master had."""
    drain: float = 600.0
    """For the relay log to be applied in a failover."""
    no_progress: float = 30.0
    """Without any row applied."""
    fence: float = 10.0
    """For the old master's process to be gone."""
    shell: float = 10.0
    """For one command on a host."""
    open: float = 5.0
    """For a drained slave to be opened."""
    follow: float = 30.0
    """For both threads of a slave to run."""
    service: float = 120.0
    """For Pandora's service command."""
    hook: float = 60.0
    """For one hook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Where a node's server keeps its things, as it said itself while it could."""

    pid_file: str | None = None
    datadir: str | None = None


NOWHERE = HostFacts()


async def _no_complaints() -> Sequence[str]:
    return ()


async def _nobody_knows(one: str, other: str) -> float | None:  # noqa: ARG001
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a procedure needs from its surroundings."""

    cluster: ClusterSettings
    records: Records
    worker: str
    """Names this worker in the promotion record."""
    shells: Callable[[str], NodeShell | None] = lambda _: None
    """label → its host's shell; ``None`` without SSH."""
    host_facts: Mapping[str, HostFacts] = field(default_factory=dict)
    """By label, from observations."""
    dialects: Mapping[str, Dialect] = field(default_factory=dict)
    """By label, from observations; for previews before a session is open."""
    by_gtid: bool = False
    """Whether the slaves follow by GTID, as last seen; for previews only."""
    binlog_sizes: Mapping[str, int] = field(default_factory=dict)
    """The master's binary log files, as last seen."""
    spare: Callable[[str], Collection[int]] = lambda _: ()
    """label → connection ids that are never killed (the worker's own probes)."""
    recheck: Callable[[], Awaitable[Sequence[str]]] = _no_complaints
    """Complaints of the guards now; empty = all hold. Asked at the start of an automatic failover."""
    apart_since: Callable[[str, str], Awaitable[float | None]] = _nobody_knows
    """Wall time at which two nodes were last in step by the journal; ``None`` = it does not know."""
    known_master: Callable[[], str | None] = lambda: None
    """Label of the master as it is remembered; ``None`` = nobody knows."""
    limits: Limits = Limits()

    def node(self, label: str) -> NodeSettings:
        """The settings of a node.

        Raises:
            OperationError: there is none of that label.
        """
        node = self.cluster.node(label)
        if node is None:
            known = ", ".join(one.label for one in self.cluster.nodes)
            raise OperationError(f"the cluster has no node {label!r}", hint=f"its nodes: {known}")
        return node


class ClusterOperation(Operation):
    """An operation on the nodes of one cluster: sessions when needed, one lock for its whole duration."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.cluster = context.cluster.name
        self.lock = ClusterLock(context.cluster)
        self.candidate: str | None = None
        """The node to be promoted, once it is chosen."""
        self.hooks = Hooks(context.cluster, timeout=context.limits.hook)
        self._links: dict[str, Link] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Every node of the cluster."""
        return tuple(node.label for node in self.context.cluster.nodes)

    async def link(self, label: str) -> Link:
        """A session with a node; a new one if the last was lost.

        Raises:
            SqlError: the node does not let us in.
        """
        known = self._links.get(label)
        if known is not None and not known.closed:
            return known
        if known is not None:
            await known.close()
        self._links[label] = link = await Link.open(self.context.node(label), self.context.cluster)
        return link

    async def try_link(self, label: str) -> Link | None:
        """As :meth:`link`; ``None`` when the node does not let us in."""
        try:
            return await self.link(label)
        except SqlError:
            return None

    async def fresh_link(self, label: str) -> Link:
        """A new session, whatever became of the last one (a frozen server keeps it open)."""
        known = self._links.pop(label, None)
        if known is not None:
            await known.close()
        return await self.link(label)

    async def lock_reachable(self, labels: Iterable[str]) -> None:
        """Take the lock on each of these nodes that can be asked.

        Raises:
            OperationError: another worker holds it on one of them.
        """
        for node in sorted((self.context.node(label) for label in labels), key=lambda one: one.order):
            with contextlib.suppress(SqlError):
                await self.lock.take([node])

    def dialect(self, label: str) -> Dialect:
        """A node's words: from its session, else from what was observed, else the newest MySQL's."""
        known = self._links.get(label)
        if known is not None and not known.closed:
            return known.dialect
        return self.context.dialects.get(label) or Dialect.of("")

    def spared(self, label: str) -> set[int]:
        """Connection ids on a node that are not to be killed."""
        return {*self.context.spare(label), *self.lock.connection_ids(label)}

    async def close(self) -> None:
        """End the sessions and give the lock back."""
        links, self._links = list(self._links.values()), {}
        with contextlib.suppress(Exception):
            await asyncio.gather(self.lock.release(), *(link.close() for link in links))

    # Records: the ledger's file blocks for a moment, so a thread asks it

    async def record(self, job: Callable[[Records], T]) -> T:
        """Read or write promotions and marks."""
        return await asyncio.to_thread(job, self.context.records)

    async def mark(self, run: StepRun, label: str, kind: MarkKind, reason: str) -> None:
        """Mark a node and say so."""
        run.say(f"{label}: {kind}: {reason}")
        mark = Mark(node=label, kind=kind, reason=reason, at=run.clock.wall())
        await self.record(lambda records: records.put_mark(mark))

    async def next_epoch(self, labels: Iterable[str]) -> int:
        """One more than the highest epoch known here or on any of these nodes that can be asked."""
        newest = await self.record(lambda records: records.newest())
        carried = await asyncio.gather(*(self.epoch_on(label) for label in labels))
        return max((record.epoch for record in (newest, *carried) if record is not None), default=0) + 1

    async def epoch_on(self, label: str) -> Promotion | None:
        """The promotion record that a node carries; ``None`` when it has none or cannot be asked."""
        with contextlib.suppress(PfmsError):
            return await (await self.link(label)).call(read_epoch)
        return None

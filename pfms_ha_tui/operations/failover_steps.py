"""The steps of a failover up to the promotion, and what becomes of the other slaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.gtid import GtidSet, MariadbPosition
from pfms_ha_tui.cluster.observation import Flavor, IoState, ProcessState, Replication, SshState
from pfms_ha_tui.config.settings import NodeSettings
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.processes import FoundProcess
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import NOWHERE, ClusterOperation
from pfms_ha_tui.operations.drain import Drain, Drained, bytes_between, restart_applier
from pfms_ha_tui.operations.following import Follow, Own, Source, note_source
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.roles import Promote, make_harmless, prove_gone
from pfms_ha_tui.operations.step import OnFailure, Skip, Step, StepRun
from pfms_ha_tui.operations.waiting import DeadlineError, await_progress
from pfms_ha_tui.pandora.epoch import OldMaster

_MOMENT = 0.5
"""Seconds a slave gets to say whether it is writable."""
_GREETING = 0.25
"""Seconds an old master gets to show that it is alive after all, at the last moment."""
_RECEIVERS = 2.0
"""Seconds the slaves get to notice their master's end, before it is compared who received most."""


class Asked(Protocol):
    """The parameters these steps read; see ``FailoverParams``."""

    @property
    def old_master(self) -> str:
        """Label."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Labels."""

    @property
    def evidence(self) -> tuple[str, ...]:
        """Sentences."""

    @property
    def fencing_required(self) -> bool:
        """Whether proof is needed."""

    @property
    def by_person(self) -> bool:
        """Whether a person ordered it."""

    @property
    def fault_at(self) -> float | None:
        """Wall time of the fault."""

    @property
    def old_server_id(self) -> int | None:
        """Of the old master."""


async def answers(node: NodeSettings) -> bool:
    """Whether a server greets at that address within a moment."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GREETING):
            reader, writer = await asyncio.open_connection(node.host, node.port)
            try:
                return bool(await reader.read(1))
            finally:
                writer.close()
    return False


class Guards(Step):
    """Every guard again, and the evidence into the ledger, before the first change."""

    name = "guards"
    title = "check every guard again"

    def __init__(self, operation: ClusterOperation, asked: Asked) -> None:
        self.operation = operation
        self.asked = asked

    async def rehearse(self, run: StepRun) -> str | None:
        """The same checks."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Ask the caller's guards and every slave."""
        asked, operation = self.asked, self.operation
        for sentence in asked.evidence:
            run.say(sentence)
        complaints = list(await operation.context.recheck()) if not asked.by_person else []
        slaves = [label for label in operation.labels if label != asked.old_master]
        states = await asyncio.gather(*(self._writable(label) for label in slaves))
        complaints += [complaint for complaint in states if complaint is not None]
        if complaints:
            raise OperationError("no failover: " + "; ".join(complaints), code="guard")
        epoch = await operation.next_epoch(asked.candidates)
        alive_at = asked.fault_at if asked.fault_at is not None else run.clock.wall()
        await run.note(epoch=epoch, evidence=list(asked.evidence), old_alive_at=alive_at)
        if asked.by_person:
            # a person may go past lag, a missing verdict, a pause: "all hold" would be a lie
            return f"no slave takes writes; the other guards are for automatic failovers; epoch {epoch}"
        return f"all guards hold; epoch {epoch}"

    async def _writable(self, label: str) -> str | None:
        # a node that does not answer at once must not hold up the failover; the caller has judged it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                link = await self.operation.try_link(label)
                if link is not None and not await link.is_read_only():
                    return f"{label} is writable"
        return None


class Fence(Step):
    """Make sure that the old master takes no more writes, and prove it."""

    name = "fence"

    def __init__(self, operation: ClusterOperation, asked: Asked) -> None:
        self.operation = operation
        self.asked = asked
        self.node = asked.old_master
        self.title = f"fence {asked.old_master}"
        self._look: asyncio.Task[FoundProcess | None] | None = None

    def look_ahead(self) -> None:
        """Begin to look at its host now, while sessions are opened and guards are asked."""
        self._look = asyncio.create_task(self._looked(), name=f"look at {self.node}")

    async def forget(self) -> None:
        """End that look."""
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)

    async def _looked(self) -> FoundProcess | None:
        shell = self.operation.context.shells(self.asked.old_master)
        facts = self.operation.context.host_facts.get(self.asked.old_master, NOWHERE)
        if shell is None:
            return None
        return await shell.find_process(facts.pid_file, facts.datadir)

    def preview(self) -> Sequence[str]:
        """What is done on its host."""
        return (
            "find the server process by its pid file and datadir",
            "kill -9 PID, and see that none is left",
        )

    async def rehearse(self, run: StepRun) -> str | None:
        """Whether it could be fenced."""
        shell = self.operation.context.shells(self.asked.old_master)
        facts = self.operation.context.host_facts.get(self.asked.old_master, NOWHERE)
        seen = await shell.observe(facts.pid_file, facts.datadir) if shell is not None else None
        if seen is not None and seen.process is ProcessState.NONE:
            return "its host runs no server process"
        if seen is not None and seen.can_fence and seen.pid is not None:
            return f"server process {seen.pid} would be killed"
        why = "no SSH to its host"
        if seen is not None and seen.state is SshState.UP:
            why = seen.failure or "the account may not stop the server"
        elif seen is not None and seen.failure:
            why = seen.failure
        if self.asked.fencing_required:
            raise OperationError(f"it could not be fenced: {why}", node=self.node)
        run.say(f"{self.node} could not be fenced ({why}), which the policy accepts")
        return f"would go on without proof: {why}"

    async def run(self, run: StepRun) -> str | None:
        """Fence it, and any node that we may have opened without knowing."""
        await self._resolve_others(run)
        try:
            how = await self._proved()
        except PfmsError as error:
            if self.asked.fencing_required or error.code == "guard":
                raise
            await run.note(old_state=OldMaster.UNPROVEN)
            return f"not fenced, which the policy accepts: {error.reason}"
        killed = "killed" in how
        await run.note(old_state=OldMaster.KILLED if killed else OldMaster.GONE)
        return f"{self.asked.old_master}: {how}"

    async def _proved(self) -> str:
        """How the old master is proved to be gone."""
        seen: FoundProcess | None = None
        try:
            seen = await self._look if self._look is not None else None
        except PfmsError:
            # where proof is needed its host is asked again; where it is not, once has to do
            if not self.asked.fencing_required and not self.asked.by_person:
                raise
        if seen is not None and seen.state is ProcessState.NONE:
            return "no server process"
        await self._still_silent()
        return await prove_gone(self.operation, self.asked.old_master)

    async def _still_silent(self) -> None:
        """A server that has come to itself is not killed, unless a person wants that."""
        if not self.asked.by_person and await answers(self.operation.context.node(self.asked.old_master)):
            raise OperationError("it answers again: it is not killed", node=self.node, code="guard")

    async def undo(self, run: StepRun) -> str | None:  # noqa: ARG002
        """A killed process stays killed: its service or a person starts it again."""
        return None

    async def _resolve_others(self, run: StepRun) -> None:
        unresolved = await self.operation.record(lambda records: records.marked(MarkKind.UNRESOLVED))
        for label in unresolved:
            if label != self.asked.old_master:
                run.say(f"{label}: {await make_harmless(self.operation, label, run)}")


class ChooseCandidate(Step):
    """The slave that received most; the configured order decides among equals."""

    name = "choose"
    title = "choose the slave that received most"

    def __init__(self, operation: ClusterOperation, asked: Asked) -> None:
        self.operation = operation
        self.asked = asked

    async def rehearse(self, run: StepRun) -> str | None:
        """The choice as it would be now."""
        text, label = await self._choose(run)
        await run.note(candidate=label)
        return text

    async def run(self, run: StepRun) -> str | None:
        """Choose."""
        if len(self.asked.candidates) > 1:
            await self._receivers_settle(run)
        text, label = await self._choose(run)
        self.operation.candidate = label
        await run.note(candidate=label)
        await note_source(await self.operation.link(label), run)
        return text

    async def _choose(self, run: StepRun) -> tuple[str, str]:
        found: list[tuple[str, Replication]] = []
        for label in self.asked.candidates:
            why_not, state = await self._look(label)
            if state is None:
                run.say(f"{label} cannot be promoted: {why_not}")
            else:
                found.append((label, state))
        if not found:
            raise OperationError("no slave can be promoted", code="no_candidate")
        best, state = found[0]
        for label, other in found[1:]:
            if other.read is not None and state.read is not None and _more(other.read, state.read):
                best, state = label, other
        return f"{best} received up to {state.read}", best

    async def _look(self, label: str) -> tuple[str, Replication | None]:
        try:
            link = await self.operation.link(label)
            state = await link.replication()
        except PfmsError as error:
            return error.reason, None
        if state is None:
            return "it follows nobody", None
        if state.sql_errno or not state.sql:
            return f"its SQL thread does not run: {state.sql_errno} {state.sql_error}", None
        if state.read is None or state.executed is None:
            return "its coordinates are not known", None
        expected = self.asked.old_server_id
        if expected is not None and state.source_server_id not in (expected, None):
            return f"it follows server {state.source_server_id}, not {self.asked.old_master}", None
        return "", state

    async def _receivers_settle(self, run: StepRun) -> None:
        """What the kernel holds for a receiver counts as received: wait until all have noticed the end."""

        async def still_receiving() -> list[str]:
            links = [await self.operation.try_link(label) for label in self.asked.candidates]
            states = [await link.replication() for link in links if link is not None]
            return [state.source_host for state in states if state is not None and state.io is IoState.YES]

        with contextlib.suppress(DeadlineError, SqlError):
            await await_progress(
                still_receiving,
                lambda receiving: not receiving,
                what="the receivers to notice the end of their master",
                deadline=_RECEIVERS,
                interval=0.005,
                clock=run.clock,
            )


class DrainCandidate(Step):
    """Let the candidate apply everything it received."""

    name = "drain"

    def __init__(self, operation: ClusterOperation, label: str | None) -> None:
        self.operation = operation
        self.node = label
        self.title = f"let {label or 'the candidate'} apply its relay log"

    async def rehearse(self, run: StepRun) -> str | None:
        """How much there would be."""
        link = await self.operation.link(run.need("candidate", str))
        state = await link.replication()
        if state is None or state.read is None or state.executed is None:
            raise OperationError("its coordinates are not known", node=link.label)
        left = bytes_between(state.executed, state.read, self.operation.context.binlog_sizes)
        return "an unknown amount is not applied yet" if left is None else f"{left} bytes are not applied yet"

    async def run(self, run: StepRun) -> str | None:
        """Drain it."""
        drained = await drain(self.operation, run.need("candidate", str), run)
        await run.note(received=drained.executed, received_read=drained.received, cut_off=drained.cut_off)
        tail = "; a last transaction that was cut off is rolled back" if drained.cut_off else ""
        return f"everything up to {drained.executed} is applied{tail}"

    async def undo(self, run: StepRun) -> str | None:
        """Let it apply again."""
        candidate = run.fact("candidate", str)
        if candidate is not None:
            with contextlib.suppress(SqlError):
                await restart_applier(await self.operation.link(candidate))
        return None


async def drain(operation: ClusterOperation, label: str, run: StepRun) -> Drained:
    """Let a slave of a dead master apply all it has.

    Raises:
        OperationError: it cannot, in time.
    """
    limits = operation.context.limits
    return await Drain(
        await operation.link(label),
        run,
        deadline=limits.drain,
        no_progress=limits.no_progress,
        sizes=operation.context.binlog_sizes,
    ).run()


class PromoteCandidate(Promote):
    """Open the candidate, unless its old master shows up at the last moment."""

    async def rehearse(self, run: StepRun) -> str | None:
        """Whether it could be opened."""
        link = await self.operation.link(run.need("candidate", str))
        if not await link.is_read_only():
            raise OperationError("it is writable already", node=link.label)
        await link.coordinates()
        return f"{link.label} would become MASTER with epoch {run.fact('epoch', int)}"

    async def last_look(self, run: StepRun) -> None:
        """A master that was not killed by us may have been restarted meanwhile."""
        if run.need("old_state", OldMaster) is OldMaster.KILLED:
            return
        old = self.operation.context.node(self.old_master or "")
        if await answers(old):
            raise OperationError("it answers again: no other node is promoted", node=old.label)


class RepointOrphan(Follow):
    """Another slave of the dead master: it follows the new one if it has exactly the same."""

    on_failure = OnFailure.GO_ON

    def __init__(self, operation: ClusterOperation, label: str) -> None:
        super().__init__(operation, label, None)

    async def rehearse(self, run: StepRun) -> str | None:
        """Whether it could follow."""
        label = self.node or ""
        candidate = run.need("candidate", str)
        if label == candidate:
            raise Skip("it would be the new MASTER")
        links = await self.operation.link(label), await self.operation.link(candidate)
        own, other = [await link.replication() for link in links]
        if own is None or other is None:
            raise OperationError("it follows nobody", node=label)
        # while the master lives both coordinates move, and they were not read at the same instant
        streaming = own.io is IoState.YES and other.io is IoState.YES
        if own.gtid or own.read == other.read or streaming:
            return f"{label} would follow {candidate}"
        return f"{label} would need a resync: it is at {own.read}, {candidate} at {other.read}"

    async def run(self, run: StepRun) -> str | None:
        """Repoint it, or mark it."""
        label, candidate = self.node or "", run.need("candidate", str)
        if label == candidate:
            raise Skip("it is the new MASTER")
        try:
            await self._drain_and_compare(label, candidate, run)
        except OperationError as error:
            await self.operation.mark(run, label, MarkKind.NEEDS_RESYNC, error.reason)
            raise
        return await super().run(run)

    async def _drain_and_compare(self, label: str, candidate: str, run: StepRun) -> None:
        await self.operation.lock.take([self.operation.context.node(label)])
        if run.fact(f"ready_{label}", bool):
            return
        link = await self.operation.link(label)
        state = await link.replication()
        if state is None:
            raise OperationError("it follows nobody", node=label)
        source = run.need("source", Source)
        if state.source_host == self.operation.context.node(candidate).host:
            return
        drained = await drain(self.operation, label, run)
        executed = run.need("received", BinlogPosition)
        if source.gtid:
            own = run.need("own", Own)
            if not covers(link, own.gtids, await link.gtid_executed()):
                raise OperationError(f"it has transactions that {candidate} has not", node=label)
        elif drained.executed != executed:
            raise OperationError(
                f"it stands at {drained.executed}, {candidate} took over at {executed}", node=label
            )
        await run.note(**{f"ready_{label}": True})


def covers(link: Link, whole: str, part: str) -> bool:
    """Whether one GTID set holds everything of another of the same family."""
    if link.dialect.flavor is Flavor.MARIADB:
        return MariadbPosition.parse(whole).contains(MariadbPosition.parse(part))
    return GtidSet.parse(whole).contains(GtidSet.parse(part))


def _more(position: BinlogPosition, other: BinlogPosition) -> bool:
    return position.comparable(other) and position > other

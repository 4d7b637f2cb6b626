"""Switchover: a planned change of master, with no row lost and the write pause measured.

The pause begins when the master becomes read-only and ends when the new one is writable; everything that can
be done before or after it is. Until the new master is opened, any failure undoes everything: the target is
locked and proved harmless first, then it follows again, then the old master is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import Replication
from pfms_ha_tui.config.settings import HookEvent, NodeSettings
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import binlog_sizes
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.aftermath import (
    EventStep,
    HookStep,
    HostsFileStep,
    PandoraRestart,
    PandoraStep,
    add_event,
    add_event_somewhere,
)
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.drain import Drain, bytes_between, restart_applier
from pfms_ha_tui.operations.following import Follow, note_source
from pfms_ha_tui.operations.preconditions import switchover_complaints
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.roles import Detach, Promote, lock_node
from pfms_ha_tui.operations.step import OnFailure, Recovery, Step, StepRun
from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.operations.waiting import await_progress
from pfms_ha_tui.pandora.epoch import OldMaster, Promotion, write_epoch
from pfms_ha_tui.pandora.events import Criticity

_CLOSE = 256 * 1024
"""Bytes behind that a slave applies well within the pause."""
_SAMPLE_GAP = 0.003
"""Seconds between two samples of the locked master's coordinates."""


class SwitchoverParams(msgspec.Struct, frozen=True, kw_only=True):
    """What a switchover is asked to do."""

    master: str
    target: str
    others: tuple[str, ...] = ()
    """The other slaves, to be repointed."""
    kill_long: bool = False
    """Whether transactions that have been open for long may be killed."""


class Switchover(ClusterOperation):
    """One planned change of master."""

    kind = "switchover"
    commit = "promote"

    def __init__(self, context: Context, params: SwitchoverParams) -> None:
        super().__init__(context)
        self.asked = params
        self.title = f"switchover from {params.master} to {params.target}"
        self.restart = PandoraRestart(self)
        target, master = params.target, params.master
        self.steps = [
            Check(self),
            CatchUp(self),
            LockMaster(self),
            ReachMaster(self),
            Detach(self, target),
            PromoteTarget(self, target, old_master=master, automatic=False),
            HostsFileStep(self, target, self.restart),
            # before the old master follows: what it would log then must not reach them through it
            *(RepointSlave(self, label, target) for label in params.others),
            Follow(self, master, target),
            PandoraStep(self, target, self.restart),
            EventStep(self, target, self.outcome, Criticity.INFORMATIONAL),
            HookStep(self, HookEvent.SWITCHOVER_FINISHED, self.hook_facts),
        ]
        for step in self.steps[6:]:
            step.on_failure = OnFailure.GO_ON

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, SwitchoverParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """Sessions and the lock on every node that changes."""
        context = self.context
        labels = (self.asked.master, self.asked.target)
        if run.fact("epoch", int) is not None:
            # after an interruption: who cannot be asked now is dealt with by the steps
            await self.lock_reachable((*labels, *self.asked.others))
            return
        if not run.dry_run:
            await self.lock.take([context.node(label) for label in labels])
        await asyncio.gather(*(self.link(label) for label in labels))
        if not run.dry_run:
            await self.lock_reachable(self.asked.others)
            self.hooks.start(HookEvent.SWITCHOVER_STARTED, self.hook_facts(run))

    async def close(self) -> None:
        """Let Pandora's restart end before the sessions do."""
        await self.restart.abandon()
        await super().close()

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:
        """Forward once the target is writable by our doing; else back."""
        if self.committed(states):
            return Recovery.RESUME
        if run.fact("promoting", bool) is not None:
            link = await self.try_link(self.asked.target)
            if link is not None and not await link.is_read_only():
                return Recovery.RESUME
        return await super().recovery(states, run)

    def outcome(self, run: StepRun) -> str:
        """Who is master now, and for how long nobody could write."""
        pause = run.fact("pause", float)
        took = f", writes paused for {pause * 1000:.0f} ms" if pause is not None else ""
        return f"{self.asked.target} is MASTER in place of {self.asked.master}{took}"

    def hook_facts(self, run: StepRun) -> dict[str, object]:
        """For the hooks' environment."""
        context = self.context
        return {
            "actor": run.actor,
            "operation": run.number,
            "old_master": self.asked.master,
            "old_master_host": context.node(self.asked.master).host,
            "new_master": self.asked.target,
            "new_master_host": context.node(self.asked.target).host,
            "epoch": run.fact("epoch", int),
        }

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """Tell Pandora and the site of a failure."""
        if state is OperationState.DONE or run.fact("epoch", int) is None:
            return
        complaints = await self.hooks.run(HookEvent.SWITCHOVER_FAILED, {**self.hook_facts(run), "text": text})
        for complaint in complaints:
            run.say(complaint)
        labels = (self.asked.master, self.asked.target)
        await add_event_somewhere(self, labels, f"{self.title}: {text}", Criticity.WARNING, run)


class _SwitchoverStep(Step):
    def __init__(self, operation: Switchover) -> None:
        self.operation = operation
        self.master = operation.asked.master
        self.target = operation.asked.target


class Check(_SwitchoverStep):
    """Everything that speaks against it, before anything is changed."""

    name = "check"
    title = "check the preconditions"

    async def rehearse(self, run: StepRun) -> str | None:
        """The same checks."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Look at both nodes."""
        complaints = await switchover_complaints(
            self.operation,
            self.master,
            self.target,
            others=self.operation.asked.others,
            kill_long=self.operation.asked.kill_long,
        )
        if complaints:
            raise OperationError("; ".join(complaints), code="precondition")
        epoch = await self.operation.next_epoch((self.master, self.target))
        await run.note(epoch=epoch, old_state=OldMaster.FOLLOWS, old_alive_at=run.clock.wall())
        if not run.dry_run:
            await add_event(
                self.operation, self.master, f"{self.operation.title} begins", Criticity.INFORMATIONAL, run
            )
        return f"{self.target} can take over from {self.master}"


class CatchUp(_SwitchoverStep):
    """Wait until the target is so close that the pause will be short."""

    name = "catch_up"
    title = "wait until the slave is close"
    cancel_before = True

    async def run(self, run: StepRun) -> str | None:
        """Watch both coordinates."""
        master = await self.operation.link(self.master)
        target = await self.operation.link(self.target)
        limits = self.operation.context.limits

        async def behind() -> int | None:
            run.checkpoint()
            at, state = await asyncio.gather(master.coordinates(), target.replication())
            if state is None or not state.sql or state.executed is None:
                raise OperationError("it does not replicate any more", node=self.target)
            left = bytes_between(state.executed, at)
            if left is None:
                sizes = binlog_sizes(await master.query(master.dialect.show_binary_logs))
                left = bytes_between(state.executed, at, sizes)
            if not target.dialect.mariadb and state.seconds_behind == 0 and state.read is not None:
                # the executed coordinate is late by up to 300 ms of traffic (replica_checkpoint_period)
                left = bytes_between(state.read, at)
            if left is not None:
                run.progress(-left, 0, "bytes")
            return left

        left = await await_progress(
            behind,
            lambda bytes_left: bytes_left is not None and bytes_left <= _CLOSE,
            what="the slave to come close",
            deadline=limits.catch_up,
            no_progress=limits.no_progress,
            interval=0.05,
            clock=run.clock,
            node=self.target,
        )
        await note_source(target, run)
        return f"{left} bytes behind"


class LockMaster(_SwitchoverStep):
    """The pause begins: read-only, clients ended, and coordinates that stand still."""

    name = "lock"
    cancel_before = True

    def __init__(self, operation: Switchover) -> None:
        super().__init__(operation)
        self.node = self.master
        self.title = f"lock {self.master} (the write pause begins)"

    def preview(self) -> Sequence[str]:
        """The statements."""
        dialect = self.operation.dialect(self.master)
        return (
            *dialect.set_read_only(True),
            dialect.show_processlist,
            "KILL every client session",
            f"{dialect.show_binlog_status} (twice the same)",
        )

    async def run(self, run: StepRun) -> str | None:
        """Lock it."""
        operation = self.operation
        link = await operation.link(self.master)
        limits = operation.context.limits
        # the time-out is set now, so that the statement that begins the pause needs no round trip more
        await link.query("SELECT 1", timeout=limits.read_only)
        await run.note(locking=True)
        began = run.clock.mono()
        await link.execute_all(link.dialect.set_read_only(True), limits.read_only)
        spared = operation.spared(self.master)
        killed = await link.kill_clients(spared)
        still = await self._standing_still(run)
        await run.note(paused_at=began, received=still, received_read=still)
        return f"stands still at {still}, {words.plural(killed, 'client session')} ended"

    async def _standing_still(self, run: StepRun) -> BinlogPosition:
        """Two equal samples; a client that may write in spite of read-only is ended and looked for again."""
        link = await self.operation.link(self.master)
        deadline = run.clock.mono() + self.operation.context.limits.pause
        before = await link.coordinates()
        while True:
            await run.clock.sleep(_SAMPLE_GAP)
            after = await link.coordinates()
            if after == before and await link.is_read_only():
                return after
            if run.clock.mono() >= deadline:
                raise OperationError(
                    "somebody keeps writing although it is read-only",
                    node=self.master,
                    hint="stop the clients whose accounts may write in spite of read-only",
                )
            await link.kill_clients(self.operation.spared(self.master))
            before = after

    async def undo(self, run: StepRun) -> str | None:
        """Open it again, the target being locked and proved harmless."""
        if run.fact("locking", bool) is None:
            return None
        promoting = run.fact("promoting", bool) is not None
        if not promoting:
            await _target_is_harmless(self.operation)
        try:
            link = await self.operation.link(self.master)
            *first, last = link.dialect.set_read_only(False)
            await link.execute_all(first)
            if promoting:
                await self._renew_epoch(link, run)
            await link.execute(last)
            if await link.is_read_only():
                raise OperationError("it is still read-only", node=self.master)
        except SqlError as error:
            if not error.ends_session:
                raise
            # it must not keep its cluster from a failover; when it is back it is a master without a successor
            return f"{self.master} cannot be reached, it is left read-only: {error.reason}"
        return f"{self.master} takes writes again"

    async def _renew_epoch(self, link: Link, run: StepRun) -> None:
        """The target may carry the epoch of the promotion that was undone: the master's must be newer."""
        operation = self.operation
        promotion = Promotion(
            epoch=run.need("epoch", int) + 1,
            master=self.master,
            worker=operation.context.worker,
            at=run.clock.wall(),
        )
        await operation.record(
            lambda records: records.put_promotion(promotion, operation=run.number, automatic=False)
        )
        try:
            await link.call(lambda session: write_epoch(session, promotion))
        except SqlError as error:
            if error.ends_session:
                raise
            run.say(f"{self.master}: its promotion record could not be renewed: {error.reason}")


class ReachMaster(_SwitchoverStep):
    """The target applies everything, exactly up to where the master stands still."""

    name = "reach"

    def __init__(self, operation: Switchover) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"let {self.target} apply the rest"

    async def run(self, run: StepRun) -> str | None:
        """Wait for the exact coordinates."""
        limits = self.operation.context.limits
        drain = Drain(
            await self.operation.link(self.target),
            run,
            deadline=limits.pause,
            no_progress=limits.pause,
            upto=run.need("received", BinlogPosition),
        )
        done = await drain.run()
        return f"{self.target} applied everything up to {done.executed}"

    async def undo(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Let it apply again; a slave that cannot be asked is not changed by that."""
        with contextlib.suppress(SqlError):
            await restart_applier(await self.operation.link(self.target))
        return None


class PromoteTarget(Promote):
    """The pause ends."""

    async def last_look(self, run: StepRun) -> None:
        """The old master still stands where the target stopped."""
        link = await self.operation.link(self.old_master or "")
        at, locked = await link.coordinates(), await link.is_read_only()
        if not locked or at != run.need("received", BinlogPosition):
            state = "writable" if not locked else f"at {at}"
            raise OperationError(f"it did not stand still: it is {state}", node=link.label)

    async def run(self, run: StepRun) -> str | None:
        """Promote, and measure."""
        text = await super().run(run)
        began = run.fact("paused_at", float)
        if began is not None and run.fact("pause", float) is None:
            await run.note(pause=max(0.0, run.clock.mono() - began))
        return text


class RepointSlave(Follow):
    """Another slave follows the new master, from exactly where both stand."""

    async def _reach(self, link: Link, upto: BinlogPosition, run: StepRun) -> None:
        limits = self.operation.context.limits
        drain = Drain(link, run, deadline=limits.repoint, no_progress=limits.no_progress, upto=upto)
        try:
            await drain.run()
        except PfmsError as error:
            reason = f"it did not reach {upto}, where the new master took over: {error.reason}"
            await self.operation.mark(run, link.label, MarkKind.NEEDS_RESYNC, reason)
            raise

    async def run(self, run: StepRun) -> str | None:
        """Wait until it has what the target had, then repoint it."""
        operation, label = self.operation, self.node or ""
        link = await operation.link(label)
        state, upto = await link.replication(), run.need("received", BinlogPosition)
        if not run.fact(f"ready_{label}", bool) and not _follows(
            state, operation.context.node(self.master or "")
        ):
            if state is None:
                raise OperationError("it follows nobody", node=label)
            if not state.gtid:
                await self._reach(link, upto, run)
            await run.note(**{f"ready_{label}": True})
        return await super().run(run)


def _follows(state: Replication | None, master: NodeSettings) -> bool:
    return state is not None and (state.source_host, state.source_port) == (master.host, master.port)


async def _target_is_harmless(operation: Switchover) -> None:
    """We never opened it; should somebody else have, it is locked before the master is opened."""
    link = await operation.try_link(operation.asked.target)
    if link is not None and not await link.is_read_only():
        await lock_node(operation, operation.asked.target)

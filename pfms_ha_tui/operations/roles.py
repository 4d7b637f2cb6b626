"""Steps that make a slave the master, and what makes a node harmless: locked, or proved gone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import IoState, ProcessState
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.service import NodeService
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import NOWHERE, ClusterOperation
from pfms_ha_tui.operations.divergence import survey
from pfms_ha_tui.operations.following import Own, Source, change_source, note_source, own_coordinates
from pfms_ha_tui.operations.records import Mark, MarkKind
from pfms_ha_tui.operations.step import Step, StepRun
from pfms_ha_tui.pandora.epoch import OldMaster, Promotion, read_raw, restore_raw, write_epoch

_READ_ONLY_ERRORS = frozenset({1290, 1836})
_NOT_PANDORAS = frozenset({1044, 1046, 1049, 1054, 1142, 1143, 1146})
"""No such table, column or database, or no right to it: the promotion does not depend on the record."""


async def lock_node(operation: ClusterOperation, label: str) -> int:
    """Make a node read-only, end its clients, and see that it is so; how many clients were ended.

    Raises:
        SqlError: it cannot be asked or told.
        OperationError: it does not become read-only.
    """
    link = await operation.link(label)
    await link.execute_all(link.dialect.set_read_only(True))
    killed = await link.kill_clients(operation.spared(label))
    if not await link.is_read_only():
        raise OperationError("it did not become read-only", node=label)
    return killed


async def make_harmless(operation: ClusterOperation, label: str, run: StepRun) -> str:
    """Prove that a node takes no writes: locked, or its process proved gone (and killed for that); how.

    For a node that may have been opened by us although nobody can tell.

    Raises:
        OperationError: neither can be proved (code ``unresolved``); the node is marked so.
    """
    # Noted first: whatever ends this attempt half-way, its deadline or a kill, nobody is promoted beside it.
    reason, at = "it may be writable: it is not locked yet", run.clock.wall()
    unproved = Mark(node=label, kind=MarkKind.UNRESOLVED, reason=reason, at=at)
    await operation.record(lambda records: records.put_mark(unproved))
    try:
        await lock_node(operation, label)
    except PfmsError as error:
        locked = error
    else:
        await operation.record(lambda records: records.clear_mark(label, MarkKind.UNRESOLVED))
        return "read-only again"
    try:
        how = await prove_gone(operation, label)
    except PfmsError as error:
        reason = f"it may be writable: it cannot be locked ({locked.reason}) nor stopped ({error.reason})"
        await operation.mark(run, label, MarkKind.UNRESOLVED, reason)
        raise OperationError(reason, node=label, code="unresolved") from error
    await operation.record(lambda records: records.clear_mark(label, MarkKind.UNRESOLVED))
    return how


async def prove_gone(operation: ClusterOperation, label: str) -> str:
    """See through SSH that a node has no server process, killing the proved one if there is; how it went.

    Raises:
        ShellError: no SSH, no proof, or it could not be killed.
        OperationError: SSH is not configured for it.
    """
    context = operation.context
    shell = context.shells(label)
    if shell is None:
        raise OperationError("no SSH to its host is configured", node=label, code="fence")
    facts = context.host_facts.get(label, NOWHERE)
    killed = await NodeService(shell).kill(facts.pid_file, facts.datadir, timeout=context.limits.fence)
    if killed.state is ProcessState.NONE:
        return "no server process"
    frozen = " (it was frozen)" if killed.state is ProcessState.FROZEN else ""
    return f"server process {killed.pid} killed{frozen}, none left"


class Detach(Step):
    """Stop and forget replication, once everything received is applied; note R before and P after."""

    name = "detach"

    def __init__(self, operation: ClusterOperation, label: str | None) -> None:
        self.operation = operation
        self.node = label
        self.title = f"take {label or 'the candidate'} out of replication"

    def preview(self) -> Sequence[str]:
        """The statements."""
        dialect = self.operation.dialect(self.node or self.operation.candidate or "")
        return (*dialect.promote(), dialect.show_binlog_status)

    async def run(self, run: StepRun) -> str | None:
        """Detach it."""
        label = self._label(run)
        executed = run.need("received", BinlogPosition)
        link = await self.operation.link(label)
        state = await link.replication()
        if state is not None:
            if run.fact("source", Source) is None:
                await note_source(link, run)
            await link.execute(link.dialect.stop_replica)
            await self._nothing_came_in(link, executed, run)
            await link.execute(link.dialect.reset_replica_all)
        own = await own_coordinates(link)
        await run.note(own=own)
        return f"{label} has everything up to {executed}; its own coordinates are {own.position}"

    async def verify(self, run: StepRun) -> None:
        """It follows nobody."""
        link = await self.operation.link(self._label(run))
        if await link.replication() is not None:
            raise OperationError("it still follows another node", node=link.label)

    async def undo(self, run: StepRun) -> str | None:
        """Let it follow again from where it was."""
        source = run.fact("source", Source)
        executed = run.fact("received", BinlogPosition)
        if source is None or executed is None:
            return None
        label = self._label(run)
        if run.fact("diverged", bool):
            return f"{label} follows nobody: it has writes of its own"
        try:
            return await self._follow_again(label, source, executed)
        except SqlError as error:
            if not error.ends_session:
                raise
            # what was done before must be undone all the same: the master is not kept locked for its sake
            reason = f"it was taken out of replication at {executed} and cannot be reached: {error.reason}"
            await self.operation.mark(run, label, MarkKind.NEEDS_RESYNC, reason)
            return f"{label} {reason}"

    async def _follow_again(self, label: str, source: Source, executed: BinlogPosition) -> str | None:
        link = await self.operation.link(label)
        state = await link.replication()
        if state is None:
            statement = change_source(
                self.operation,
                label,
                host=source.host,
                port=source.port,
                position=executed,
                gtid=source.gtid,
                tls=source.tls,
            )
            await link.execute(statement)
        elif state.io is not IoState.NO and state.sql:
            return None
        await link.execute(link.dialect.start_replica)
        return f"{label} follows {source.host} again from {executed}"

    def _label(self, run: StepRun) -> str:
        return self.node or run.need("candidate", str)

    async def _nothing_came_in(self, link: Link, executed: BinlogPosition, run: StepRun) -> None:
        """Between the drain and the stop the receiver may have got more, from a master that is not gone."""
        stopped = await link.replication()
        if stopped is None or stopped.executed != executed:
            raise OperationError(
                f"it stopped at {stopped.executed if stopped else 'nowhere'}, not at {executed}",
                node=link.label,
                hint="its master is not gone",
            )
        if stopped.read is not None and stopped.read != run.fact("received_read", BinlogPosition):
            raise OperationError(
                f"it received more after it was drained (up to {stopped.read})",
                node=link.label,
                hint="its master is not gone",
            )


class Promote(Step):
    """Record the promotion here and on the node, then open the node: the step of no return."""

    name = "promote"

    def __init__(
        self,
        operation: ClusterOperation,
        label: str | None,
        *,
        old_master: str | None,
        automatic: bool,
    ) -> None:
        self.operation = operation
        self.node = label
        self.old_master = old_master
        self.automatic = automatic
        self.title = f"make {label or 'the candidate'} the MASTER"

    def preview(self) -> Sequence[str]:
        """The statements."""
        statements = self.operation.dialect(self.node or self.operation.candidate or "").set_read_only(False)
        return (
            *statements[:-1],
            "UPDATE tconfig SET value = '{…}' WHERE token = 'pfms_ha_epoch'",
            statements[-1],
        )

    async def last_look(self, run: StepRun) -> None:
        """Whatever must still hold at the last moment.

        Raises:
            PfmsError: it does not; nothing was opened.
        """

    async def run(self, run: StepRun) -> str | None:
        """Promote it."""
        label = self.node or run.need("candidate", str)
        promotion = self._promotion(label, run)
        link = await self.operation.link(label)
        before = await link.call(_read_raw_quietly)
        await self.operation.lock.check(label)
        await self.operation.record(
            lambda records: records.put_promotion(promotion, operation=run.number, automatic=self.automatic)
        )
        await run.note(promoting=True, epoch_before=before)
        await self.last_look(run)
        complaint = await self._open(link, promotion, run)
        await run.note(opened_at=run.clock.wall())
        if complaint is not None:
            run.say(f"{label}: the promotion record could not be written: {complaint}")
        return f"{label} is MASTER, epoch {promotion.epoch}"

    async def _open(self, link: Link, promotion: Promotion, run: StepRun) -> str | None:
        """A connection that breaks says nothing about what was done: look again, and go forward."""
        deadline = run.clock.mono() + self.operation.context.limits.open
        while True:
            try:
                return await link.call(lambda session: _open(session, promotion))
            except SqlError as error:
                if not error.ends_session or run.clock.mono() >= deadline:
                    raise
                run.say(f"{link.label}: {error.reason}; trying again")
            await run.clock.sleep(0.1)
            with contextlib.suppress(SqlError):
                link = await self.operation.fresh_link(link.label)

    async def verify(self, run: StepRun) -> None:
        """It is writable."""
        link = await self.operation.link(self.node or run.need("candidate", str))
        if await link.is_read_only():
            raise OperationError("it is still read-only", node=link.label)

    async def undo(self, run: StepRun) -> str | None:
        """Lock it again, or prove its process gone: nothing else is undone before that."""
        if run.fact("promoting", bool) is None:
            return None
        label = self.node or run.need("candidate", str)
        how = await make_harmless(self.operation, label, run)
        epoch = run.need("epoch", int)
        link = await self.operation.try_link(label)
        if link is not None:
            await self._take_back_writes(link, run)
        await self.operation.record(lambda records: records.withdraw_promotion(epoch))
        return f"{label}: {how}"

    async def _take_back_writes(self, link: Link, run: StepRun) -> None:
        """The record of the promotion is taken back; what clients wrote meanwhile is kept, and reported."""
        operation, label = self.operation, link.label
        own = run.need("own", Own)
        wrote = await survey(link.node, operation.context.cluster, own.position)
        record = f"{operation.context.cluster.database}.tconfig"
        if set(wrote.tables) - {record}:
            await run.note(diverged=True)
            reason = f"it took writes before its promotion was undone: {wrote.sentence()}"
            await operation.mark(run, label, MarkKind.DIVERGED, reason)
            return
        before = run.fact("epoch_before", str)
        await link.call(lambda session: _restore_quietly(session, before))
        if wrote.count and run.need("source", Source).gtid:
            reason = "it wrote a transaction of its own before its promotion was undone"
            await operation.mark(run, label, MarkKind.NEEDS_RESYNC, reason)

    def _promotion(self, label: str, run: StepRun) -> Promotion:
        own = run.need("own", Own)
        return Promotion(
            epoch=run.need("epoch", int),
            master=label,
            worker=self.operation.context.worker,
            at=run.clock.wall(),
            old_master=self.old_master,
            old_state=run.need("old_state", OldMaster),
            received=run.need("received", BinlogPosition),
            own=own.position,
            received_gtid=own.gtids or None,
            by_gtid=run.need("source", Source).gtid,
            old_alive_at=run.fact("old_alive_at", float),
        )


def _open(session: SqlSession, promotion: Promotion) -> str | None:
    """Record and open, in one visit of the session's thread; a complaint about the record, if any.

    The record is written while ordinary clients still cannot write. Where our own account cannot either, the
    node is opened first.
    """
    *first, last = session.dialect.set_read_only(False)
    for statement in first:
        session.execute(statement)
    complaint: str | None = None
    try:
        write_epoch(session, promotion)
    except SqlError as error:
        if error.errno in _READ_ONLY_ERRORS:
            session.execute(last)
            return _late_record(session, promotion)
        if error.errno not in _NOT_PANDORAS:
            raise
        complaint = error.reason
    session.execute(last)
    return complaint


def _late_record(session: SqlSession, promotion: Promotion) -> str | None:
    try:
        write_epoch(session, promotion)
    except SqlError as error:
        return error.reason
    return None


def _read_raw_quietly(session: SqlSession) -> str | None:
    try:
        return read_raw(session)
    except SqlError as error:
        if error.ends_session:
            raise
        return None


def _restore_quietly(session: SqlSession, value: str | None) -> None:
    try:
        # super_read_only keeps us from it as well, read_only does not
        for statement in session.dialect.set_read_only(False)[:-1]:
            session.execute(statement)
        restore_raw(session, value)
    except SqlError as error:
        if error.errno not in _NOT_PANDORAS | _READ_ONLY_ERRORS:
            raise
    finally:
        if not session.closed:
            for statement in session.dialect.set_read_only(True):
                session.execute(statement)

"""Steps that change what a node is: out of replication, master, slave."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Replication
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.dialect import Statement
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import replication, text
from pfms_ha_tui.nodes.service import NodeService
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import NOWHERE, ClusterOperation
from pfms_ha_tui.operations.divergence import survey
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import Step, StepRun
from pfms_ha_tui.operations.waiting import await_progress
from pfms_ha_tui.pandora.epoch import OldMaster, Promotion, read_raw, restore_raw, write_epoch

_READ_ONLY_ERRORS = frozenset({1290, 1836})
_NOT_PANDORAS = frozenset({1044, 1046, 1049, 1054, 1142, 1143, 1146})
"""No such table, column or database, or no right to it: the promotion does not depend on the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whom a slave followed and how, noted before it forgets."""

    host: str
    port: int
    gtid: bool
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A node's own coordinates before its first write of its own."""

    position: BinlogPosition
    gtids: str


async def own_coordinates(link: Link) -> Own:
    """Where its next own change will be written."""
    return Own(position=await link.coordinates(), gtids=await link.gtid_executed())


async def note_source(link: Link, run: StepRun) -> None:
    """Note whom a slave follows, before it forgets.

    Raises:
        OperationError: it follows nobody.
    """
    row = await link.replication_row()
    if row is None:
        raise OperationError("it follows nobody", node=link.label)
    state = replication(row)
    allowed = text(row, "Source_SSL_Allowed") or text(row, "Master_SSL_Allowed")
    source = Source(
        host=state.source_host, port=state.source_port, gtid=state.gtid, tls=allowed.lower() == "yes"
    )
    await run.note(source=source)


def change_source(
    operation: ClusterOperation,
    label: str,
    *,
    host: str,
    port: int,
    position: BinlogPosition | None,
    gtid: bool,
    tls: bool,
) -> Statement:
    """CHANGE REPLICATION SOURCE for a node, by GTID or from a position.

    Raises:
        OperationError: by position, and none is known.
    """
    if not gtid and position is None:
        raise OperationError("the coordinates to follow from are not known", node=label)
    account = operation.context.cluster.replication
    return operation.dialect(label).change_source(
        host,
        port,
        account.user,
        account.password,
        position=None if gtid else position,
        gtid=gtid,
        tls=tls,
    )


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


class Follow(Step):
    """Let a node follow the new master from its recorded coordinates."""

    def __init__(self, operation: ClusterOperation, label: str, master: str | None) -> None:
        self.operation = operation
        self.node = label
        self.master = master
        self.name = f"follow_{label}"
        self.title = f"let {label} follow {master or 'the new MASTER'}"

    def preview(self) -> Sequence[str]:
        """The statements, with the coordinates once they are known."""
        label = self.node or ""
        dialect = self.operation.dialect(label)
        master = self.operation.context.node(self.master) if self.master else None
        statement = dialect.change_source(
            master.host if master else "…",
            master.port if master else 3306,
            self.operation.context.cluster.replication.user,
            self.operation.context.cluster.replication.password,
            position=BinlogPosition("…", 0),
        )
        return (
            dialect.stop_replica,
            *dialect.set_read_only(True),
            dialect.reset_replica_all,
            statement.preview,
            dialect.start_replica,
        )

    async def run(self, run: StepRun) -> str | None:
        """Repoint it."""
        label = self.node or ""
        master = self.operation.context.node(self.master or run.need("candidate", str))
        own = run.need("own", Own)
        source = run.need("source", Source)
        await follow(
            self.operation, label, master.label, position=own.position, gtid=source.gtid, tls=source.tls
        )
        return f"{label} follows {master.label} " + ("by GTID" if source.gtid else f"from {own.position}")

    async def verify(self, run: StepRun) -> None:
        """Both threads run."""
        await replicates(self.operation, self.node or "", run)


async def follow(
    operation: ClusterOperation,
    label: str,
    master: str,
    *,
    position: BinlogPosition | None,
    gtid: bool,
    tls: bool,
) -> None:
    """Point a read-only node at a master. It must have nothing that the master has not.

    A node that follows that master already goes on from where it is.

    Raises:
        SqlError: it cannot be told.
        OperationError: the coordinates are not known.
    """
    link = await operation.link(label)
    dialect = link.dialect
    target = operation.context.node(master)
    statement = change_source(
        operation, label, host=target.host, port=target.port, position=position, gtid=gtid, tls=tls
    )
    state = await link.replication()
    if state is not None and (state.source_host, state.source_port) == (target.host, target.port):
        # a worker that was killed had pointed it there: from the beginning again, it would apply rows twice
        await link.execute_all(dialect.set_read_only(True))
        await link.execute(dialect.start_replica)
        return
    if state is not None:
        await link.execute(dialect.stop_replica)
        await link.execute(dialect.reset_replica_all)
    await link.execute_all(dialect.set_read_only(True))
    if gtid and dialect.mariadb:
        # a former master's slave position ends where it was last a slave; what it wrote itself counts too
        await link.execute("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos")
    await link.execute(statement)
    await link.execute(dialect.start_replica)


async def replicates(operation: ClusterOperation, label: str, run: StepRun) -> None:
    """Wait until both threads of a slave run.

    Raises:
        OperationError: they do not in time, or the server says why they cannot.
    """

    async def look() -> Replication:
        state = await (await operation.link(label)).replication()
        if state is None:
            raise OperationError("it follows nobody", node=label)
        if state.sql_errno:
            raise OperationError(f"its SQL thread stopped: {state.sql_errno} {state.sql_error}", node=label)
        if state.io is IoState.NO and state.io_errno:
            raise OperationError(f"its IO thread stopped: {state.io_errno} {state.io_error}", node=label)
        return state

    await await_progress(
        look,
        lambda state: state.io is IoState.YES and state.sql,
        what="both replication threads to run",
        deadline=operation.context.limits.follow,
        interval=0.02,
        clock=run.clock,
        node=label,
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

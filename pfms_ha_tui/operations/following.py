"""Whom a node follows: noted before it forgets, told anew, and waited for until it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import IoState, Replication
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import Statement
from pfms_ha_tui.nodes.parsing import replication, text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.step import Step, StepRun
from pfms_ha_tui.operations.waiting import await_progress


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
        dialect, gtid = self.operation.dialect(label), self.operation.context.by_gtid
        master = self.operation.context.node(self.master) if self.master else None
        statement = dialect.change_source(
            master.host if master else "…",
            master.port if master else 3306,
            self.operation.context.cluster.replication.user,
            self.operation.context.cluster.replication.password,
            position=None if gtid else BinlogPosition("…", 0),
            gtid=gtid,
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

"""The new slave joins: follows from the copy's coordinates, catches up, is compared with its source."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import Statement
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone import plugin
from pfms_ha_tui.operations.clone.base import PROVED, CloneOperation, CloneStep, Pulse
from pfms_ha_tui.operations.clone.compare import compare
from pfms_ha_tui.operations.clone.copying import GTIDS, POSITION
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.drain import bytes_between
from pfms_ha_tui.operations.following import change_source, replicates
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.waiting import await_progress

_STILL = 120.0
"""Seconds without anything applied after which catching up has failed."""


class FollowMaster(CloneStep):
    """Let it follow the master from where the copy ends, read-only for good."""

    name = "follow"

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"let {self.target} follow {self.master}"

    def preview(self) -> Sequence[str]:
        """The statements, with the coordinates once they are known."""
        dialect = self.operation.dialect(self.target)
        gtid = self.operation.plan is not None and self.operation.plan.gtid
        return (
            *dialect.set_read_only(True),
            dialect.reset_replica_all,
            self._statement(None if gtid else BinlogPosition("…", 0), gtid=gtid, tls=False).preview,
            dialect.start_replica,
            *dialect.persist_read_only(True),
        )

    async def run(self, run: StepRun) -> str | None:
        """Point it at the master and start both threads."""
        plan = self.operation.planned(run)
        link = await self.operation.link(self.target)
        dialect = link.dialect
        if plan.method is CloneMethod.PLUGIN:
            await plugin.note_coordinates(link, self.operation, run)
        position, gtids = run.fact(POSITION, BinlogPosition), run.fact(GTIDS, str) or ""
        await link.execute_all(dialect.set_read_only(True))
        if await link.replication() is not None:
            await link.execute(dialect.stop_replica)
        await link.execute(dialect.reset_replica_all)
        if plan.gtid:
            await self._set_gtids(link, plan, gtids)
        await link.execute(self._statement(None if plan.gtid else position, gtid=plan.gtid, tls=plan.tls))
        await link.execute(dialect.start_replica)
        await self._persist(link, run)
        return f"{self.target} follows {self.master} " + ("by GTID" if plan.gtid else f"from {position}")

    async def verify(self, run: StepRun) -> None:
        """Both threads run, and nobody else can write."""
        await replicates(self.operation, self.target, run)
        if not await (await self.operation.link(self.target)).is_read_only():
            raise OperationError("it is writable", node=self.target)

    async def _set_gtids(self, link: Link, plan: ClonePlan, gtids: str) -> None:
        if link.dialect.mariadb:
            await link.execute("SET GLOBAL gtid_slave_pos = %s", (gtids,))
        elif plan.method is not CloneMethod.PLUGIN:
            # the plugin brings the GTID history along; a backup tool's copy has none
            await link.execute(link.dialect.reset_binlogs)
            await link.execute("SET GLOBAL gtid_purged = %s", (gtids,))

    async def _persist(self, link: Link, run: StepRun) -> None:
        statements = link.dialect.persist_read_only(True)
        if not statements:
            run.say(
                f"{self.target}: this server cannot keep read_only over a restart by SQL:"
                " it must stand in its my.cnf"
            )
            return
        try:
            await link.execute_all(statements)
        except SqlError as error:
            if error.ends_session:
                raise
            run.say(f"{self.target}: read-only could not be made permanent: {error.reason}")

    def _statement(self, position: BinlogPosition | None, *, gtid: bool, tls: bool) -> Statement:
        master = self.operation.context.node(self.master)
        return change_source(
            self.operation,
            self.target,
            host=master.host,
            port=master.port,
            position=position,
            gtid=gtid,
            tls=tls,
        )


class CatchUp(CloneStep):
    """Wait until the lag is gone."""

    name = "catch_up"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"wait until {self.target} has caught up"

    async def run(self, run: StepRun) -> str | None:
        """Watch both coordinates."""
        operation, settings = self.operation, self.operation.context.cluster.clone
        link = await operation.link(self.target)
        upto = await (await operation.link(self.master)).coordinates()
        pulse = Pulse(operation)
        began: list[int] = []

        async def look() -> tuple[BinlogPosition | None, int | None]:
            run.checkpoint()
            await pulse.check()
            state = await link.replication()
            if state is None or state.sql_errno:
                why = "it follows nobody" if state is None else f"{state.sql_errno} {state.sql_error}"
                raise OperationError(f"it does not apply: {why}", node=self.target)
            if state.executed is not None and (left := bytes_between(state.executed, upto)) is not None:
                began[:] = began or [left]
                run.progress(max(0, began[0] - left), began[0], "bytes")
            return state.executed, state.seconds_behind

        def caught_up(seen: tuple[BinlogPosition | None, int | None]) -> bool:
            executed, behind = seen
            if executed is None or behind is None or behind > 1:
                return False
            return not executed.comparable(upto) or executed >= upto

        await await_progress(
            look,
            caught_up,
            what="the new slave to catch up",
            deadline=settings.catch_up_timeout,
            no_progress=max(_STILL, settings.stall_timeout),
            interval=0.2,
            clock=run.clock,
            node=self.target,
        )
        return f"{self.target} has everything up to {upto}"


class Compare(CloneStep):
    """Compare a sample with the source; then the clone is done, and nothing is undone any more."""

    name = "compare"

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.title = f"compare a sample of {self.target} with {self.source}"

    def preview(self) -> Sequence[str]:
        """What is asked."""
        return ("SELECT COUNT(*), SUM(CRC32(…)) over ranges of the tables, on both",)

    async def run(self, run: StepRun) -> str | None:
        """Compare, then trust the node again."""
        operation = self.operation
        operation.planned(run)
        text = await compare(operation, self.source, self.target, run)
        state = await (await operation.link(self.target)).replication()
        if state is None or not state.sql:
            raise OperationError("it does not replicate any more", node=self.target)
        await run.note(**{PROVED: True})
        await operation.record(
            lambda records: records.clear_mark(
                self.target, MarkKind.NEEDS_RESYNC, MarkKind.DIVERGED, MarkKind.UNRESOLVED
            )
        )
        return text

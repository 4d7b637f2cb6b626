"""A returned old master: locked at once; a slave again only if it has nothing that the present master lacks.

What it has more is looked for in its own binary log, behind the position up to which its successor had
received everything (R of the promotion record), and by GTID where those are in use. The log is no proof
after an unclean end with ``innodb_flush_log_at_trx_commit`` 0, nor with 2 when the whole host went down: then
the data files may lack what the log has, and only a clone helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.gtid import GtidSet, MariadbPosition
from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import integer
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.aftermath import EventStep, HookStep, add_event_somewhere
from pfms_ha_tui.operations.context import ClusterOperation, Context
from pfms_ha_tui.operations.divergence import Survey, survey
from pfms_ha_tui.operations.following import follow, replicates
from pfms_ha_tui.operations.lock import LockReturned
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import OnFailure, Recovery, Step, StepRun
from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.operations.waiting import await_progress
from pfms_ha_tui.pandora.epoch import Promotion
from pfms_ha_tui.pandora.events import Criticity

_BOOT_TOLERANCE = 30.0
"""Seconds: a host that booted this shortly before it was last seen alive counts as lost, clocks being what
they are."""
_BOOT_TIME = 'while read -r key value rest; do [ "$key" = btime ] && echo "$value"; done </proc/stat'
_LOG_GONE = 1236


class RejoinParams(msgspec.Struct, frozen=True, kw_only=True):
    """Who comes back, to whom."""

    node: str
    master: str


class Rejoin(ClusterOperation):
    """Make a returned old master a slave, if that is safe."""

    kind = "rejoin"

    def __init__(self, context: Context, params: RejoinParams) -> None:
        super().__init__(context)
        self.asked = params
        self.title = f"rejoin {params.node} to {params.master}"
        self.steps = [
            LockReturned(self, params.node, params.master),
            Compare(self),
            FollowAgain(self),
            EventStep(self, params.master, self.outcome, Criticity.INFORMATIONAL),
            HookStep(self, HookEvent.REJOIN_FINISHED, self.hook_facts),
        ]

    @classmethod
    def of(cls, context: Context, params: Mapping[str, object]) -> Self:
        """Built again from the ledger."""
        return cls(context, msgspec.convert(params, RejoinParams))

    @property
    def params(self) -> Mapping[str, object]:
        """As the ledger keeps them."""
        built: Mapping[str, object] = msgspec.to_builtins(self.asked)
        return built

    async def open(self, run: StepRun) -> None:
        """Sessions to both, and the lock on the one that changes."""
        if not run.dry_run:
            await self.lock.take([self.context.node(self.asked.node)])
        await asyncio.gather(self.link(self.asked.node), self.link(self.asked.master))
        if not run.dry_run and run.fact("locked", bool) is None:
            self.hooks.start(HookEvent.REJOIN_STARTED, self.hook_facts(run))

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:
        """Forward once it was pointed at a master that still is one; else back, to be begun again."""
        if states["follow"] is StepState.DONE:
            return Recovery.RESUME
        if run.fact("following", bool) is not None:
            link = await self.try_link(self.asked.master)
            if link is not None and not await link.is_read_only():
                return Recovery.RESUME
        return Recovery.ROLL_BACK

    def outcome(self, run: StepRun) -> str:  # noqa: ARG002
        """That it follows."""
        return f"{self.asked.node} follows {self.asked.master} again"

    def hook_facts(self, run: StepRun) -> dict[str, object]:
        """For the hooks' environment."""
        return {
            "actor": run.actor,
            "operation": run.number,
            "node": self.asked.node,
            "node_host": self.context.node(self.asked.node).host,
            "master": self.asked.master,
            "master_host": self.context.node(self.asked.master).host,
        }

    async def concluded(self, state: OperationState, text: str, run: StepRun) -> None:
        """Tell Pandora and the site of a failure."""
        if state is OperationState.DONE:
            return
        complaints = await self.hooks.run(HookEvent.REJOIN_FAILED, {**self.hook_facts(run), "text": text})
        for complaint in complaints:
            run.say(complaint)
        labels = (self.asked.master,)
        await add_event_somewhere(self, labels, f"{self.title}: {text}", Criticity.WARNING, run)


class Compare(Step):
    """Whether it has anything that the master lacks, and whether its log can be believed about that."""

    name = "compare"
    on_failure = OnFailure.STOP

    def __init__(self, operation: Rejoin) -> None:
        self.operation = operation
        self.node = operation.asked.node
        self.master = operation.asked.master
        self.title = f"compare {self.node} with {self.master}"

    def preview(self) -> Sequence[str]:
        """What is read."""
        return (
            "COM_BINLOG_DUMP from where the master took over",
            "SELECT @@GLOBAL.gtid_executed (with GTIDs)",
        )

    async def rehearse(self, run: StepRun) -> str | None:
        """The comparison changes nothing."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Compare."""
        operation, label = self.operation, self.node or ""
        promotion = run.need("promotion", Promotion)
        state = await (await operation.link(label)).replication()
        if state is not None:
            if state.source_host == operation.context.node(self.master).host:
                return f"it follows {self.master} already"
            raise OperationError(f"it follows {state.source_host}", node=label)
        marks = await operation.record(lambda records: records.marked(MarkKind.NEEDS_RESYNC))
        if label in marks:
            raise OperationError(f"it needs a resync: {marks[label]}", node=label, code="needs_resync")
        followed = await self._followed_since(label, promotion, run)
        found = None if followed else await self._survey(label, promotion, run)
        if found is not None:
            await run.note(survey=found)
            run.say(f"{label}: {found.sentence()}")
        more = await self._gtids(promotion)
        if more is not None or (found is not None and found.diverged):
            sentence = found.sentence() if found is not None and found.diverged else f"GTIDs {more}"
            reason = f"it has what {self.master} never received: {sentence}"
            await self._mark(run, MarkKind.DIVERGED, reason)
            raise OperationError(
                f"diverged: {reason}", node=label, code="diverged", hint="merge them, then resync it"
            )
        if found is None and not promotion.by_gtid:
            reason = "what it has more cannot be found out: " + (
                f"{promotion.old_master} was the last master before {self.master}"
                if promotion.old_master != label
                else "its binary log no longer reaches back"
            )
            await self._mark(run, MarkKind.NEEDS_RESYNC, reason)
            raise OperationError(reason, node=label, code="needs_resync", hint="resync it")
        await self._believable(label, promotion, found, run)
        return f"nothing that {self.master} lacks"

    async def _survey(self, label: str, promotion: Promotion, run: StepRun) -> Survey | None:
        if promotion.received is None or promotion.old_master != label:
            # the positions of the record are those of another old master
            return None
        node = self.operation.context.node(label)
        try:
            return await survey(node, self.operation.context.cluster, promotion.received)
        except SqlError as error:
            if error.errno != _LOG_GONE:
                raise
            run.say(f"{label}: {error.reason}")
            return None

    async def _gtids(self, promotion: Promotion) -> str | None:
        """What its GTID set has beyond the master's."""
        if not promotion.by_gtid:
            return None
        old, new = await self._links()
        own, master = await asyncio.gather(old.gtid_executed(), new.gtid_executed())
        if old.dialect.mariadb:
            rest = str(MariadbPosition.parse(own).subtract(MariadbPosition.parse(master)))
        else:
            rest = str(GtidSet.parse(own).subtract(GtidSet.parse(master)))
        return rest or None

    async def _followed_since(self, label: str, promotion: Promotion, run: StepRun) -> bool:
        """Whether it was a slave of the present master already, and stopped following by other hands.

        The promotion's own record is the first thing that is written behind the recorded position, so a node
        that carries it has passed that position: followed from there again it would apply the same rows
        twice. Its binary log proves nothing then: what a slave applies is in it or not, as
        ``log_slave_updates`` has it. GTIDs know where it stopped.

        Raises:
            OperationError: without GTIDs only a clone helps.
        """
        own = await self.operation.epoch_on(label)
        if own is None or (own.epoch, own.master) != (promotion.epoch, promotion.master):
            return False
        if promotion.by_gtid:
            return True
        reason = f"it followed {self.master} already, and where it stopped is not known"
        await self._mark(run, MarkKind.NEEDS_RESYNC, reason)
        raise OperationError(
            reason,
            node=label,
            code="needs_resync",
            hint="resync it; if it took writes of its own meanwhile, merge them first",
        )

    async def _believable(self, label: str, promotion: Promotion, found: Survey | None, run: StepRun) -> None:
        """Refuse after an end that may have lost what the log has.

        Raises:
            OperationError: only a clone helps.
        """
        if found is not None and not found.crashed:
            return
        link = await self.operation.link(label)
        flush = integer({"v": await link.variable("innodb_flush_log_at_trx_commit")}, "v")
        sync = integer({"v": await link.variable("sync_binlog")}, "v")
        if flush in (1, 3) and sync == 1:
            return
        reason: str | None = None
        if flush == 0 or flush is None:
            reason = f"it did not end cleanly, with innodb_flush_log_at_trx_commit={flush}"
        else:
            lost = await self._host_was_lost(label, promotion, run)
            if lost is not None:
                setting = f"innodb_flush_log_at_trx_commit={flush}" if flush != 1 else f"sync_binlog={sync}"
                reason = f"{lost}, with {setting}"
        if reason is not None:
            reason += ": its data may lack what its binary log has"
            await self._mark(run, MarkKind.NEEDS_RESYNC, reason)
            raise OperationError(reason, node=label, code="needs_resync", hint="resync it")

    async def _host_was_lost(self, label: str, promotion: Promotion, run: StepRun) -> str | None:
        """Why the host must be taken for lost (power, reboot) since it was master, or ``None``."""
        shell = self.operation.context.shells(label)
        if shell is None:
            return "whether its host went down cannot be told without SSH"
        try:
            result = await shell.run(_BOOT_TIME, timeout=self.operation.context.limits.shell)
            booted = float(result.stdout.strip())
        except (PfmsError, ValueError) as error:
            run.say(f"{label}: {error}")
            return "whether its host went down could not be found out"
        alive = promotion.old_alive_at if promotion.old_alive_at is not None else promotion.at
        if booted > alive - _BOOT_TOLERANCE:
            return "its host went down"
        return None

    async def _links(self) -> tuple[Link, Link]:
        return await self.operation.link(self.node or ""), await self.operation.link(self.master)

    async def _mark(self, run: StepRun, kind: MarkKind, reason: str) -> None:
        if not run.dry_run:
            await self.operation.mark(run, self.node or "", kind, reason)


class FollowAgain(Step):
    """Follow from where the master took over, by position or GTID, and catch up.

    Once it follows there is no way back to those coordinates: what it applied since would be applied twice.
    If it fails then, it is left as it is, and its replication status tells what is wrong.
    """

    name = "follow"
    on_failure = OnFailure.STOP

    def __init__(self, operation: Rejoin) -> None:
        self.operation = operation
        self.node = operation.asked.node
        self.master = operation.asked.master
        self.title = f"let {self.node} follow {self.master}"

    def preview(self) -> Sequence[str]:
        """The statements."""
        dialect = self.operation.dialect(self.node or "")
        master = self.operation.context.node(self.master)
        account, gtid = self.operation.context.cluster.replication, self.operation.context.by_gtid
        statement = dialect.change_source(
            master.host,
            master.port,
            account.user,
            account.password,
            position=None if gtid else BinlogPosition("…", 0),
            gtid=gtid,
        )
        return (*dialect.set_read_only(True), statement.preview, dialect.start_replica)

    async def rehearse(self, run: StepRun) -> str | None:
        """From where."""
        promotion = run.need("promotion", Promotion)
        return "would follow by GTID" if promotion.by_gtid else f"would follow from {promotion.own}"

    async def run(self, run: StepRun) -> str | None:
        """Point it at the master."""
        promotion = run.need("promotion", Promotion)
        await run.note(following=True)
        await follow(
            self.operation,
            self.node or "",
            self.master,
            position=promotion.own,
            gtid=promotion.by_gtid,
            tls=False,
        )
        how = "by GTID" if promotion.by_gtid else f"from {promotion.own}"
        return f"{self.node} follows {self.master} {how}"

    async def verify(self, run: StepRun) -> None:
        """Both threads run, and it reaches where the master is now."""
        operation, label = self.operation, self.node or ""
        await replicates(operation, label, run)
        upto = await (await operation.link(self.master)).coordinates()
        link = await operation.link(label)

        async def reached() -> BinlogPosition | None:
            state = await link.replication()
            if state is None or state.sql_errno:
                why = f"{state.sql_errno} {state.sql_error}" if state is not None else "it follows nobody"
                raise OperationError(f"it does not apply: {why}", node=label)
            return state.executed

        await await_progress(
            reached,
            lambda executed: executed is not None and (not executed.comparable(upto) or executed >= upto),
            what=f"it to reach {upto}",
            deadline=operation.context.limits.catch_up,
            no_progress=operation.context.limits.no_progress,
            interval=0.05,
            clock=run.clock,
            node=label,
        )
        if not await link.is_read_only():
            raise OperationError("it is writable", node=label)
        await operation.record(lambda records: records.clear_mark(label, MarkKind.UNRESOLVED))

    async def undo(self, run: StepRun) -> str | None:
        """After an interruption, if its master is none any more: it must not look healthy."""
        if run.fact("following", bool) is None:
            return None
        link = await self.operation.link(self.node or "")
        await link.execute_all(link.dialect.set_read_only(True))
        if await link.replication() is None:
            return None
        await link.execute(link.dialect.stop_replica)
        promotion = run.need("promotion", Promotion)
        state = await link.replication()
        if state is not None and not promotion.by_gtid and state.executed != promotion.own:
            # followed from the beginning again it would apply the same rows twice
            return f"{self.node} is stopped at {state.executed}, read-only"
        await link.execute(link.dialect.reset_replica_all)
        return f"{self.node} follows nobody, read-only"

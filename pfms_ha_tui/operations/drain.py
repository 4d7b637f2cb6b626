"""Let a slave apply what it has received, to the last complete transaction, before anything is reset.

What the servers say is not what it seems (measured, on MariaDB 10.11 and MySQL 9.7):

- A master that dies in the middle of a transaction leaves the received coordinate above the executed one
  for ever. That the rest is one unfinished transaction is *proved* from the relay log: no event that
  ends a transaction follows the executed position. It rolls back when the applier stops; MySQL's applier
  must be killed for that, its STOP waits a minute for the missing end.
- MySQL's multi-threaded applier (the only one since 9.x) brings the executed coordinate up to date every
  ``replica_checkpoint_period`` (300 ms) only. When coordinator and workers hold no transaction, stopping
  the applier brings it up to date at once.
- "has read all relay log" is said while a worker still applies.
- Stopping the receiver of a MariaDB GTID slave throws away relay logs that are not applied yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import IoState, Replication
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.nodes.parsing import integer, replication, text
from pfms_ha_tui.operations.access import Link, Row
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.operations.waiting import await_progress, soon_then_calmly

_IDLE = "has read all relay log"
_SETTLED_FOR = 0.15
"""Seconds that nothing moves before a cut-off transaction is looked for."""
_BELIEVED_AFTER = 5.0
"""Seconds of an idle applier after which the rest counts as cut off where the relay log cannot be read."""
_RECEIVER_GRACE = 2.0
"""Seconds a receiver gets to notice that its master is gone: what the kernel holds is received too."""
_STOP_AGAIN = 0.1
_STOP_PATIENCE = 0.5
"""Seconds until a STOP that waits is looked into."""
_STOP_WITHIN = 75.0
"""Seconds: MySQL's own limit is a minute."""
_EVENTS_AT_ONCE = 2000
_ENDS = frozenset({"Xid", "XA_prepare"})
_BEGINS = frozenset({"Gtid", "Anonymous_Gtid"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How far a slave has applied its master's changes."""

    executed: BinlogPosition
    """R: the end of the last complete transaction, in the master's coordinates."""
    received: BinlogPosition
    cut_off: bool = False
    """Whether an unfinished transaction follows ``executed``; it is rolled back."""


@dataclass(frozen=True, slots=True)
class _Look:
    row: Row
    state: Replication
    rows_changed: int


class Drain:
    """One drain of one slave."""

    def __init__(
        self,
        link: Link,
        run: StepRun,
        *,
        deadline: float,
        no_progress: float,
        upto: BinlogPosition | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare.

        Args:
            link: to the slave.
            run: where progress is told.
            deadline: seconds.
            no_progress: seconds without any row applied.
            upto: the coordinates at which its living master stands still; ``None`` = its master is gone,
                everything that was received counts.
            sizes: the master's binary log files, for the bytes that are left across files.
        """
        self._link = link
        self._run = run
        self._deadline = deadline
        self._no_progress = no_progress
        self._upto = upto
        self._sizes = sizes or {}
        self._started = run.clock.mono()
        self._moved_at = self._started
        self._last: tuple[BinlogPosition | None, BinlogPosition | None] = (None, None)
        self._from: BinlogPosition | None = None
        self._stopped = False
        self._stop_after = self._started
        self._cut_off = False
        self._rows_changed = 0

    async def run(self) -> Drained:
        """Wait until it is drained. The applier may be stopped after it; :func:`restart_applier` undoes that.

        Raises:
            OperationError: the applier is broken, the deadline passed, or nothing moved for too long.
            SqlError: the slave cannot be asked.
        """
        look = await await_progress(
            self._look,
            self._is_done,
            what="the relay log to be applied" if self._upto is None else f"the slave to reach {self._upto}",
            deadline=self._deadline,
            no_progress=self._no_progress,
            progress_of=lambda seen: (seen.state.read, seen.state.executed, seen.rows_changed),
            interval=soon_then_calmly,
            clock=self._run.clock,
            node=self._link.label,
        )
        executed, received = look.state.executed, look.state.read
        if executed is None or received is None:
            raise OperationError("its replication coordinates are not known", node=self._link.label)
        return Drained(executed=executed, received=received, cut_off=self._cut_off)

    async def _look(self) -> _Look:
        look = await self._read()
        state = look.state
        if not self._is_done(look):
            if self._may_stop_applier(state) and await self._holds_nothing():
                look = await self._stop_applier(look)
            elif self._may_be_cut_off(state) and await self._is_cut_off(look):
                look = await self._drop_cut_off()
        self._tell(look.state)
        return look

    async def _read(self) -> _Look:
        row = await self._link.replication_row()
        if row is None:
            raise OperationError("it follows nobody any more", node=self._link.label)
        state = replication(row)
        if not self._stopped and (state.sql_errno or not state.sql):
            why = f": {state.sql_errno} {state.sql_error}" if state.sql_errno else ""
            raise OperationError(
                f"its SQL thread does not run{why}", node=self._link.label, code="sql_thread"
            )
        if self._upto is not None and state.executed is not None and _beyond(state.executed, self._upto):
            raise OperationError(
                f"it applied more than was asked for: it is at {state.executed}, beyond {self._upto}",
                node=self._link.label,
                hint="its master did not stand still",
            )
        now = self._run.clock.mono()
        if (state.read, state.executed) != self._last:
            self._last, self._moved_at = (state.read, state.executed), now
        elif now - self._moved_at > 1.0:
            # a single large transaction moves no coordinate: its rows are the progress
            self._rows_changed = await self._count_rows()
        return _Look(row, state, self._rows_changed)

    def _is_done(self, look: _Look) -> bool:
        state = look.state
        if self._cut_off:
            return True
        if state.executed is None or state.executed != state.read:
            return False
        return state.executed == self._upto if self._upto is not None else self._receiver_settled(state)

    def _receiver_settled(self, state: Replication) -> bool:
        """Whether nothing more can come in: the receiver noticed the end, or had time to."""
        return state.io is not IoState.YES or self._waited() > _RECEIVER_GRACE

    def _waited(self) -> float:
        return self._run.clock.mono() - self._started

    # MySQL's late coordinate

    def _may_stop_applier(self, state: Replication) -> bool:
        dialect = self._link.dialect
        if dialect.mariadb or dialect.version < (8, 0, 0) or self._stopped or _IDLE not in state.sql_state:
            return False
        if self._run.clock.mono() < self._stop_after:
            return False
        return state.read == self._upto if self._upto is not None else self._receiver_settled(state)

    async def _holds_nothing(self) -> bool:
        """Whether neither coordinator nor workers are in the middle of a transaction."""
        rows = await self._link.query(
            "SELECT count(*) AS workers, coalesce(sum(APPLYING_TRANSACTION <> ''), 0)"
            " + (SELECT count(*) FROM performance_schema.replication_applier_status_by_coordinator"
            " WHERE PROCESSING_TRANSACTION <> '') AS busy"
            " FROM performance_schema.replication_applier_status_by_worker"
        )
        return (integer(rows[0], "workers") or 0) > 0 and integer(rows[0], "busy") == 0

    async def _stop_applier(self, before: _Look) -> _Look:
        dialect = self._link.dialect
        await stop_applier(self._link)
        self._stopped = True
        look = await self._read()
        if self._is_done(look):
            return look
        await self._link.execute(dialect.start_sql)
        self._stopped = False
        self._stop_after = self._run.clock.mono() + _STOP_AGAIN
        return before

    # A transaction that was cut off

    def _may_be_cut_off(self, state: Replication) -> bool:
        still = self._run.clock.mono() - self._moved_at
        return (
            self._upto is None
            and still >= _SETTLED_FOR
            and _IDLE in state.sql_state
            and self._receiver_settled(state)
        )

    async def _is_cut_off(self, look: _Look) -> bool:
        sessions = await self._link.sessions()
        if not self._link.dialect.applier_idle(look.state, sessions):
            return False
        try:
            ended = await self._complete_transaction_waits(look.row)
        except SqlError as error:
            if error.errno is None:
                raise
            still = self._run.clock.mono() - self._moved_at
            if still < _BELIEVED_AFTER:
                return False
            self._run.say(
                f"the relay log cannot be read ({error.reason}); the applier idles for {still:.0f} s"
            )
            return True
        return not ended

    async def _complete_transaction_waits(self, row: Row) -> bool:
        """Whether any whole transaction follows the executed position in the relay log."""
        file, position = text(row, "Relay_Log_File"), integer(row, "Relay_Log_Pos")
        if not file or position is None:
            return True
        last = await self._last_relay_log(file)
        scan = TransactionScan()
        while True:
            events = await self._link.query(
                f"SHOW RELAYLOG EVENTS IN %s FROM {position:d} LIMIT {_EVENTS_AT_ONCE:d}", (file,)
            )
            if scan.ends(events):
                return True
            if len(events) == _EVENTS_AT_ONCE:
                position = integer(events[-1], "Pos") or position
            elif file != last:
                file, position = _next_file(file), 4
            else:
                return False

    async def _last_relay_log(self, current: str) -> str:
        """The newest relay log file: the receiver opens a new one each time it comes back."""
        name = current
        while True:
            following = _next_file(name)
            try:
                await self._link.query("SHOW RELAYLOG EVENTS IN %s LIMIT 1", (following,))
            except SqlError as error:
                if error.errno is None:
                    raise
                return name
            name = following

    async def _drop_cut_off(self) -> _Look:
        dialect = self._link.dialect
        self._run.say("the last transaction was cut off by the master's end; it is rolled back")
        self._stopped = True
        if not dialect.mariadb:
            await _kill_coordinator(self._link)
        await stop_applier(self._link)
        self._cut_off = True
        return await self._read()

    # Progress

    async def _count_rows(self) -> int:
        rows = await self._link.query(
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted')"
        )
        return sum(integer(row, "Value") or 0 for row in rows)

    def _tell(self, state: Replication) -> None:
        target = self._upto or state.read
        if state.executed is None or target is None:
            return
        if self._from is None:
            self._from = state.executed
        done = bytes_between(self._from, state.executed, self._sizes)
        total = bytes_between(self._from, target, self._sizes)
        if done is not None:
            self._run.progress(done, total, "bytes")


async def stop_applier(link: Link) -> None:
    """Stop applying; of a transaction whose end has not been received nothing stays.

    MySQL's STOP waits a minute for the missing end, be it that the transaction begins to come in at this very
    moment. Killing the coordinator ends the wait at once.

    Raises:
        SqlError: the slave cannot be asked or told.
    """
    stopping = asyncio.ensure_future(link.execute(link.dialect.stop_sql, timeout=_STOP_WITHIN))
    try:
        done, _ = await asyncio.wait({stopping}, timeout=_STOP_PATIENCE)
        if not done and not link.dialect.mariadb:
            second = await Link.open(link.node, link.cluster)
            try:
                await _kill_coordinator(second)
            finally:
                await second.close()
        await stopping
    finally:
        stopping.cancel()


async def _kill_coordinator(link: Link) -> None:
    for session in await link.sessions():
        if session.user == "system user" and _IDLE in session.state:
            await link.execute(link.dialect.kill(session.id))


async def restart_applier(link: Link) -> None:
    """Let a slave apply again after a drain that was not followed by a promotion.

    Raises:
        SqlError: the slave cannot be asked.
    """
    state = await link.replication()
    if state is not None and not state.sql:
        await link.execute(link.dialect.start_sql)


class TransactionScan:
    """Looks for the end of a transaction in events of SHOW RELAYLOG EVENTS, page by page.

    A statement that is its own transaction (DDL) is a Query event without BEGIN before it.
    """

    def __init__(self) -> None:
        self._begun = False

    def ends(self, events: Iterable[Mapping[str, object]]) -> bool:
        """Whether a transaction ends among these events, which follow those of the call before."""
        for event in events:
            kind, info = clean(event.get("Event_type")), clean(event.get("Info")).upper()
            if kind in _ENDS:
                return True
            if kind in _BEGINS:
                # MariaDB's GTID event opens the transaction itself ("BEGIN GTID 0-1-15"), MySQL's does not
                self._begun = info.startswith("BEGIN")
            elif kind == "Query":
                if info.startswith("BEGIN"):
                    self._begun = True
                elif not self._begun or info.startswith(("COMMIT", "ROLLBACK", "XA COMMIT")):
                    return True
        return False


def bytes_between(
    start: BinlogPosition, end: BinlogPosition, sizes: Mapping[str, int] | None = None
) -> int | None:
    """Bytes of binary log from ``start`` to ``end``; ``None`` when a file's size between is not known."""
    if not start.comparable(end):
        return None
    if start.number == end.number:
        return max(0, end.pos - start.pos)
    if start > end:
        return 0
    known = sizes or {}
    total = end.pos
    for number in range(start.number, end.number):
        names = (name for name in known if BinlogPosition(name, 0).comparable(start))
        size = next((known[name] for name in names if BinlogPosition(name, 0).number == number), None)
        if size is None:
            return None
        total += size - (start.pos if number == start.number else 0)
    return total


def _beyond(position: BinlogPosition, other: BinlogPosition) -> bool:
    return position.comparable(other) and position > other


def _next_file(name: str) -> str:
    position = BinlogPosition(name, 0)
    width = len(name) - len(position.base) - 1
    return f"{position.base}.{position.number + 1:0{width}d}"

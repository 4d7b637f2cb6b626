"""Faults against the real worker: a sandbox, worker processes, eyes that never blink, and what must hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from support.live_worker import config_for
from support.operating import follows, is_writable, until
from support.sampling import Sampler

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.config import load
from pfms_ha_tui.errors import PfmsError, SandboxError, WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions, SequencedRow
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import (
    ClusterRef,
    ClusterState,
    EventsQuery,
    Nothing,
    OperationsQuery,
    Order,
    OrderKind,
    Plan,
    Start,
)

DEADLINE = 40.0
CLUSTER = "sandbox"
_DOOMED = Path(__file__).with_name("doomed_worker.py")
_JUMPING = Path(__file__).with_name("jumping_worker.py")
_LOG_TAIL = 6_000
Setting = str | int | float | bool


class LabWorker:
    """One real worker process with a state directory of its own."""

    def __init__(
        self,
        sandbox: Sandbox,
        directory: Path,
        settings: dict[str, Setting],
        *,
        doom: str | None = None,
        place: SandboxNode | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.sandbox = sandbox
        self._prefix = sandbox.exec_prefix if place is None else place.prefix
        self._clock = directory / "clock"
        self._clock.write_text("0")
        self.directory = directory
        self.config = config_for(sandbox, directory, mode="automatic")
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        text = self.config.read_text().replace('mode = "automatic"\n', f'mode = "automatic"\n{lines}')
        self.config.write_text(text)
        self.settings = load(self.config).worker
        self.process: subprocess.Popen[bytes] | None = None
        self._client: WorkerClient | None = None
        self.start(doom=doom)

    def start(self, *, doom: str | None = None, jumping: bool = False) -> None:
        """Start the process.

        Args:
            doom: The moment of its death, or of another process's, see ``doomed_worker``.
            jumping: Whether :meth:`jump` turns its clock.
        """
        program = ["-m", "pfms_ha_tui"]
        if doom is not None:
            program = [str(_DOOMED), doom]
        elif jumping:
            program = [str(_JUMPING), str(self._clock)]
        with (self.directory / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, *program, "worker", "--config", str(self.config)],
                env={**os.environ, **self.sandbox.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def jump(self, seconds: float) -> None:
        """Its wall clock is so much ahead of the true one (negative: behind) from now on."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._clock)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It sees and does nothing meanwhile."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def call_off(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def kill(self) -> None:
        """SIGKILL, as a crash."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        await self._end(signal.SIGTERM)

    async def dead(self, timeout: float = DEADLINE) -> None:
        """Wait until it has died by itself."""
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, "the death of the worker", timeout)
        await self.call_off()

    async def _end(self, number: signal.Signals) -> None:
        await self.call_off()
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.to_thread(process.wait, 15)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def client(self) -> WorkerClient:
        """A connection, as soon as it takes one."""
        if self._client is None:
            async with asyncio.timeout(2 * DEADLINE):
                while self._client is None:
                    try:
                        self._client = await WorkerClient.connect(self.settings.socket, client="test")
                    except WorkerError as error:
                        assert self.alive, f"the worker ended: {self.log()}"
                        del error
                        await asyncio.sleep(0.02)
        return self._client

    async def state(self) -> ClusterState | None:
        """The newest judgement; ``None`` before the first."""
        client = await self.client()
        states = await client.call("state", Nothing(), list[ClusterState])
        return states[0] if states else None

    async def until_state(
        self, holds: Callable[[ClusterState], bool], what: str, timeout: float = DEADLINE
    ) -> ClusterState:
        """The first state for which ``holds``."""
        end = time.monotonic() + timeout
        while True:
            state = await self.state()
            if state is not None and holds(state):
                return state
            shown = f"{state.diagnosis}\n{state.readiness}\n{state.operation}" if state else "no state"
            assert time.monotonic() < end, f"{what} did not come about within {timeout:g} s: {shown}"
            await asyncio.sleep(0.05)

    async def ready(self, timeout: float = DEADLINE) -> ClusterState:
        """Healthy, the roles known, and every guard green."""
        return await self.until_state(
            lambda state: (
                state.roles_known
                and state.readiness.ready
                and (state.operation is None or state.operation.state is not OperationState.RUNNING)
            ),
            "readiness for a failover",
            timeout,
        )

    async def events(self) -> list[Event]:
        """The timeline, newest first."""
        return await (await self.client()).call("events", EventsQuery(), list[Event])

    async def operations(self) -> list[OperationView]:
        """The ledger, newest first."""
        query = OperationsQuery(cluster=CLUSTER)
        return await (await self.client()).call("operations", query, list[OperationView])

    async def operation(
        self,
        kind: str,
        *,
        state: OperationState | None = OperationState.DONE,
        after: int = 0,
        timeout: float = DEADLINE,
    ) -> OperationView:
        """The newest operation of a kind with a number above ``after``, once it has ended (as ``state``)."""
        seen: list[OperationView] = []

        async def there() -> OperationView | None:
            seen[:] = [one for one in await self.operations() if one.id > after]
            ended = (
                one
                for one in seen
                if one.kind == kind
                and not one.dry_run
                and one.finished_at is not None
                and (state is None or one.state is state)
            )
            return next(ended, None)

        end = time.monotonic() + timeout
        while (found := await there()) is None:
            told = [(one.id, one.title, one.state, one.text) for one in seen]
            assert time.monotonic() < end, (
                f"no {kind} ended as {state} within {timeout:g} s; there are {told}"
            )
            await asyncio.sleep(0.05)
        return found

    async def order(self, kind: OrderKind, target: str | None, confirm: str) -> OperationView:
        """Begin an operation as a person."""
        start = Start(order=Order(cluster=CLUSTER, kind=kind, target=target), confirm=confirm)
        return await (await self.client()).call("start", start, OperationView)

    async def plan(self, kind: OrderKind, target: str | None) -> Plan:
        """What an operation would do and cost."""
        order = Order(cluster=CLUSTER, kind=kind, target=target)
        return await (await self.client()).call("plan", order, Plan)

    async def acknowledge(self) -> None:
        """Lift the block after a failover."""
        await (await self.client()).call("acknowledge", ClusterRef(cluster=CLUSTER), Nothing)

    def log(self) -> str:
        """The end of its log; of its stderr when it has none."""
        said = (self.directory / "stderr").read_text(errors="replace")
        with contextlib.suppress(OSError):
            said = self.settings.log_file.read_text(errors="replace")
        return said[-_LOG_TAIL:]


class FaultLab:
    """One cluster under one or more workers."""

    def __init__(
        self, sandbox: Sandbox, master: SandboxNode, directory: Path, settings: dict[str, Setting]
    ) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.settings = settings
        self.master = master
        """The master at the beginning."""
        self.slave = next(node for node in sandbox.nodes if node is not master)
        """The first of its slaves."""
        self._pid = master.mysqld_pid
        self.restarts_before = len(sandbox.restarts())
        self.sampler = Sampler(sandbox)
        self.workers: list[LabWorker] = []
        self._earlier = frozenset(sandbox.writer.acknowledged())
        self.not_ours: tuple[str, ...] = ()
        """Nodes that nobody could close, so that they may be writable beside another one."""

    @property
    def worker(self) -> LabWorker:
        """The first worker."""
        return self.workers[0]

    @property
    def others(self) -> list[SandboxNode]:
        """Every node but the master and the first slave."""
        return [node for node in self.sandbox.nodes if node not in (self.master, self.slave)]

    def turn(self, master: SandboxNode) -> None:
        """The roles are others now."""
        if master is not self.master:
            self.slave, self.master = self.master, master

    def add_worker(
        self, name: str = "worker", *, doom: str | None = None, place: SandboxNode | None = None
    ) -> LabWorker:
        """One more worker, with a journal of its own, on a host of its own or on that of a node."""
        worker = LabWorker(self.sandbox, self.directory / name, self.settings, doom=doom, place=place)
        self.workers.append(worker)
        return worker

    async def rows(self, more: int = 20) -> None:
        """So many further rows are acknowledged."""
        await self.sandbox.writer.wait_for_rows(more, timeout=DEADLINE)

    async def caught_up(self) -> None:
        """The writer pauses, and the slave has everything: nothing that the master has is not there."""
        await self.sandbox.writer.pause()

        async def look() -> bool:
            return not await self.lost_on(self.slave) and await self._equal()

        await until(look, f"{self.slave.label} to have everything")

    async def _equal(self) -> bool:
        mysql = self.slave.flavor is Flavor.MYSQL
        binlog = await self.master.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")
        row = await self.slave.replication() or {}
        names = (
            ("Relay_Source_Log_File", "Exec_Source_Log_Pos")
            if mysql
            else ("Relay_Master_Log_File", "Exec_Master_Log_Pos")
        )
        return [row.get(name) for name in names] == [binlog[0]["File"], binlog[0]["Position"]]

    async def becomes_writable(self, node: SandboxNode, timeout: float = DEADLINE) -> None:
        """Wait until clients can write on a node."""

        async def look() -> bool:
            with contextlib.suppress(SandboxError):
                return await is_writable(node)
            return False

        await until(look, f"{node.label} to be writable", timeout)

    async def becomes_locked(self, node: SandboxNode, timeout: float = DEADLINE) -> None:
        """Wait until a node is read-only."""

        async def look() -> bool:
            with contextlib.suppress(SandboxError):
                return not await is_writable(node)
            return False

        await until(look, f"{node.label} to be read-only", timeout)

    async def comes_to_follow(
        self, slave: SandboxNode, master: SandboxNode, timeout: float = DEADLINE
    ) -> None:
        """Wait until a node follows another one."""

        async def look() -> bool:
            with contextlib.suppress(SandboxError):
                return await follows(slave, master)
            return False

        await until(look, f"{slave.label} to follow {master.label}", timeout)

    async def hosts_file_names(self, node: SandboxNode, timeout: float = DEADLINE) -> None:
        """Wait until Pandora is sent to a node."""
        await until(
            lambda: self.sandbox.hosts_file.read_text().strip() == node.host,
            f"the hosts file to name {node.label}",
            timeout,
        )

    async def lost_on(self, node: SandboxNode) -> list[SequencedRow]:
        """Rows acknowledged since the beginning that a node does not have; the writer should pause."""
        return [row for row in await self.sandbox.writer.lost_on(node) if row not in self._earlier]

    async def assert_nothing_lost(self, node: SandboxNode) -> None:
        """Every acknowledged row is there, once; sharp if replication is semi-synchronous, or nobody died."""
        await self.sandbox.writer.pause()
        lost = await self.lost_on(node)
        twice = [row for row, count in (await self.sandbox.writer.rows_on(node)).items() if count > 1]
        await self.sandbox.writer.resume()
        assert not lost, f"{len(lost)} acknowledged rows are not on {node.label}: {lost[:10]}"
        assert not twice, f"{len(twice)} rows are twice on {node.label}: {twice[:10]}"

    async def check_rows(self) -> None:
        """Semi-synchronous, what was acknowledged was received: it is on the node that takes the writes."""
        writable = [node for node in await writable_ones(self.sandbox) if node.label not in self.not_ours]
        if self.sandbox.options.semi_sync and len(writable) == 1:
            await self.assert_nothing_lost(writable[0])

    def check(self) -> None:
        """What must hold in every fault."""
        complaints = self.sampler.complaints(not_ours=self.not_ours)
        assert not complaints, "\n".join(complaints[:10])
        counts = {
            label: sum(look is not None for look in looks) for label, looks in self.sampler.looks.items()
        }
        assert all(count > 10 for count in counts.values()), f"the eyes were shut: {counts}"

    async def no_failover(self) -> None:
        """Nobody was promoted, and the master was not killed; what was begun ended at a guard."""
        done = [one for one in await self.worker.operations() if one.state is not OperationState.FAILED]
        assert not done, [(one.title, one.state, one.text) for one in done]
        assert self.master.mysqld_pid == self._pid
        assert await is_writable(self.master)
        assert await follows(self.slave, self.master)
        await self.assert_nothing_lost(self.master)


async def writable_ones(sandbox: Sandbox) -> list[SandboxNode]:
    """The nodes that take writes."""
    found = []
    for node in sandbox.nodes:
        with contextlib.suppress(SandboxError):
            if await is_writable(node):
                found.append(node)
    return found


async def is_healthy(sandbox: Sandbox) -> bool:
    """One master, whom every other node follows, and no SSH server missing."""
    masters = await writable_ones(sandbox)
    if len(masters) != 1 or any(node.ssh.pid is None for node in sandbox.nodes):
        return False
    slaves = [node for node in sandbox.nodes if node is not masters[0]]
    with contextlib.suppress(SandboxError):
        return all([await follows(slave, masters[0]) for slave in slaves])
    return False


class Pool:
    """A cluster that tests hand to each other: one that a fault has left in order serves again.

    Only one at a time: idle clusters would take the machine from the one under test.
    """

    def __init__(self) -> None:
        self._kept: list[Sandbox] = []

    async def cluster(self, options: SandboxOptions) -> Sandbox:
        """A healthy cluster of that kind."""
        for sandbox in tuple(self._kept):
            if sandbox.options == options and await is_healthy(sandbox):
                await sandbox.writer.resume()
                return sandbox
            self._kept.remove(sandbox)
            await sandbox.stop()
        fresh = await Sandbox.start(options)
        self._kept.append(fresh)
        return fresh

    def close(self) -> None:
        """End all."""
        for sandbox in self._kept:
            sandbox.stop_now()


@contextlib.asynccontextmanager
async def fault_lab(
    directory: Path, sandbox: Sandbox, *, workers: int = 1, wait: bool = True, **settings: Setting
) -> AsyncIterator[FaultLab]:
    """A healthy cluster under workers, ready for its fault; what must always hold is checked at the end.

    Args:
        directory: For the workers' state.
        sandbox: It is left running, in whatever state the fault leaves it.
        workers: How many.
        wait: Whether to wait until they are ready for a failover.
        settings: Keys of the cluster's settings.
    """
    (master,) = await writable_ones(sandbox)
    lab = FaultLab(sandbox, master, directory, {"recovery_block": 0, **settings})
    try:
        with lab.sampler:
            try:
                for number in range(workers):
                    lab.add_worker(f"worker{number + 1}")
                if wait:
                    for worker in lab.workers:
                        await worker.ready()
                yield lab
                await lab.check_rows()
            finally:
                for worker in lab.workers:
                    with contextlib.suppress(PfmsError):
                        await worker.stop()
        lab.check()
    except BaseException as error:
        logs = {node.label: node.error_log()[-1500:] for node in sandbox.nodes}
        # whatever it is like now, the next test begins with another one
        await sandbox.stop()
        for worker in lab.workers:
            error.add_note(f"--- log of {worker.directory.name}\n{worker.log()}")
        for node in sandbox.nodes:
            error.add_note(f"--- error log of {node.label}\n{logs[node.label]}")
        raise

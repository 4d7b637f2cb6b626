"""``pfms-ha-tui demo``: a real local cluster, a worker and a console, gone without a trace at the end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import TypeVar

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.config import load
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.console.terminal import DEMO, refuse_without_terminal
from pfms_ha_tui.errors import PfmsError, SandboxError, WorkerError
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.scenarios import Scenario, play
from pfms_ha_tui.worker.client import StateUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import ClusterState

HEALTHY_WITHIN = 60.0
STOP_WITHIN = 10.0
LOOK_FIRST = 8.0
"""Seconds that the console shows everything well before a scenario begins."""

T = TypeVar("T")


class _Stopped(Exception):  # noqa: N818 - a request, not a fault
    """SIGINT, SIGTERM or SIGHUP asked the demo to end."""


def demo(arguments: argparse.Namespace) -> int:
    """Start it all, stay until told to end, clean up."""
    if not arguments.headless:
        _refuse_without_terminal()
    options = SandboxOptions(
        nodes=arguments.nodes, flavor=Flavor(arguments.flavor), gtid=arguments.gtid, rows=arguments.rows
    )
    scenario = Scenario(arguments.scenario) if arguments.scenario is not None else None
    if scenario is not None and (arguments.nodes < 2 or arguments.no_worker):
        raise SandboxError(f"the scenario {scenario} needs two nodes and a worker")
    return asyncio.run(_Demo(options, arguments).run())


def _refuse_without_terminal() -> None:
    """What the console would say in the end, before anything is built.

    Raises:
        SandboxError: the console could not be shown.
    """
    try:
        refuse_without_terminal(os.environ)
    except PfmsError as error:
        hint = "without a terminal use: pfms-ha-tui demo --headless"
        raise SandboxError(f"the demo shows a console: {error.reason}", hint=hint) from error


class _Demo:
    def __init__(self, options: SandboxOptions, arguments: argparse.Namespace):
        self._options = options
        self._headless: bool = arguments.headless
        self._with_worker: bool = not arguments.no_worker
        self._scenario = Scenario(arguments.scenario) if arguments.scenario is not None else None
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        try:
            return await self._run()
        except _Stopped:
            return Exit.OK

    async def _run(self) -> int:
        _say(f"starting {self._options.nodes} real {self._options.flavor} servers that replicate ...")
        sandbox = await self._unless_stopped(self._start())
        try:
            async with self._worker(sandbox) as worker, self._scene(sandbox, worker):
                if self._headless:
                    return await self._stay(sandbox, worker)
                return await self._console(sandbox)
        finally:
            _say("removing the cluster ...")
            await _stop_strangers(sandbox)
            await sandbox.stop()

    async def _start(self) -> Sandbox:
        """The cluster; for a split with a network that can really be cut, where this account may make one."""
        if self._scenario is Scenario.SPLIT_BRAIN and os.geteuid() == 0:
            try:
                return await Sandbox.start(replace(self._options, netns=True))
            except SandboxError as error:
                _say(f"no network of its own ({error.reason}): the split is made by stopping replication")
        return await Sandbox.start(self._options)

    @contextlib.asynccontextmanager
    async def _worker(self, sandbox: Sandbox) -> AsyncIterator[Process | None]:
        if not self._with_worker:
            yield None
            return
        worker = await asyncio.create_subprocess_exec(
            *sandbox.exec_prefix,
            sys.executable,
            *("-m", "pfms_ha_tui", "worker", "--config", str(sandbox.config_path)),
            env=os.environ | sandbox.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield worker
        finally:
            await _end(worker)

    async def _stay(self, sandbox: Sandbox, worker: Process | None) -> int:
        description = sandbox.describe()
        if worker is not None:
            settings = load(sandbox.config_path)
            if self._scenario is None:
                await self._unless_stopped(_healthy(settings, worker))
            description |= {"socket": str(settings.worker.socket), "worker_pid": worker.pid}
        sys.stdout.write(json.dumps(description) + "\n")
        sys.stdout.flush()
        _say("ready; ctrl+c ends it")
        await self._stop.wait()
        return Exit.OK

    @contextlib.asynccontextmanager
    async def _scene(self, sandbox: Sandbox, worker: Process | None) -> AsyncIterator[None]:
        """The scenario, begun once the worker has seen the cluster healthy.

        A split is over before anybody looks; the others happen meanwhile.
        """
        scenario = self._scenario
        if scenario is None or worker is None:
            yield
            return
        await self._unless_stopped(_healthy(load(sandbox.config_path), worker))
        if scenario.before_the_console:
            await self._unless_stopped(play(scenario, sandbox, _say))
            yield
            return
        acting = asyncio.create_task(self._act(scenario, sandbox))
        try:
            yield
        finally:
            acting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await acting

    async def _act(self, scenario: Scenario, sandbox: Sandbox) -> None:
        """The console has the terminal: nothing is printed under it."""
        if not self._headless:
            await asyncio.sleep(LOOK_FIRST)
        try:
            await play(scenario, sandbox, _say if self._headless else _nothing)
        except SandboxError as error:
            if self._headless:
                _say(f"the scenario ended early: {error}")

    async def _console(self, sandbox: Sandbox) -> int:
        """The console is a process of its own, as it is in real life, on the same terminal."""
        console = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pfms_ha_tui", "--config", str(sandbox.config_path), "--no-spawn"),
            env=os.environ | sandbox.environment | {DEMO: "1"},
        )
        try:
            return await self._unless_stopped(console.wait())
        finally:
            await _end(console)

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """``work``'s result; when a signal comes first, ``work`` is cancelled, so that it cleans up.

        Raises:
            _Stopped: a signal came first.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, PfmsError):
                await task
            raise _Stopped
        finally:
            stop.cancel()


async def _stop_strangers(sandbox: Sandbox) -> None:
    """End a worker that somebody's console started for this cluster after ours was gone."""
    with contextlib.suppress(PfmsError):
        socket = load(sandbox.config_path).worker.socket
        async with await WorkerClient.connect(socket, client="demo", timeout=2.0) as client:
            await client.call("stop", timeout=5.0)


async def _healthy(settings: Settings, worker: Process) -> None:
    """Wait until the worker says that every cluster is healthy.

    Raises:
        WorkerError: it ended, or did not say so in time.
    """
    try:
        async with asyncio.timeout(HEALTHY_WITHIN):
            client = await _connect(settings, worker)
            async with client:
                async for update in client.subscribe():
                    if isinstance(update, StateUpdate) and _is_healthy(update.state):
                        return
    except TimeoutError as error:
        reason = f"the worker did not find the cluster healthy within {HEALTHY_WITHIN:g} s"
        raise WorkerError(reason + _last_words(settings)) from error


def _is_healthy(state: ClusterState) -> bool:
    return state.roles_known and state.diagnosis.kind is DiagnosisKind.HEALTHY


async def _connect(settings: Settings, worker: Process) -> WorkerClient:
    while True:
        try:
            return await WorkerClient.connect(settings.worker.socket, client="demo")
        except WorkerError as error:
            if worker.returncode is not None:
                reason = f"the worker ended with status {worker.returncode}"
                raise WorkerError(reason + _last_words(settings)) from error
            await asyncio.sleep(0.05)


def _last_words(settings: Settings) -> str:
    """The end of the worker's log, told at once: the log goes away with the cluster."""
    try:
        lines = settings.worker.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "; it wrote no log"
    return "; its log ends with:\n" + "\n".join(f"  {clean(line)}" for line in lines[-5:])


async def _end(process: Process) -> None:
    """SIGTERM, a while to obey, SIGKILL."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _nothing(_text: str) -> None:
    """Nobody can read it."""


def _say(text: str) -> None:
    sys.stderr.write(f"demo: {text}\n")
    sys.stderr.flush()

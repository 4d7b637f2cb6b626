"""A real worker process for tests: its own state directory, the sandbox's nodes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.config import load
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.sandbox import Sandbox
from pfms_ha_tui.worker.client import StateUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import ClusterState, EventsQuery

DEADLINE = 30.0


def config_for(sandbox: Sandbox, directory: Path, *, mode: str = "manual", worker: str = "") -> Path:
    """A copy of the sandbox's settings with a state directory below ``directory`` and a mode."""
    text = sandbox.config_path.read_text()
    text = re.sub(r'(?m)^state_dir = ".*"$', f'state_dir = "{directory / "state"}"\n{worker}', text)
    text = re.sub(r'(?m)^mode = ".*"$', f'mode = "{mode}"', text)
    path = directory / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def ended(pid: int, timeout: float = DEADLINE) -> float:
    """Seconds until the process is gone."""
    begun = time.monotonic()
    async with asyncio.timeout(timeout):
        while alive(pid):  # noqa: ASYNC110 - a process that is not ours has no event
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


class LiveWorker:
    """``python -m pfms_ha_tui worker`` in the foreground, as a child of the test."""

    def __init__(self, sandbox: Sandbox, config: Path, *, environ: Mapping[str, str] | None = None):
        self.settings: Settings = load(config)
        self.process = subprocess.Popen(
            [*sandbox.exec_prefix, sys.executable, "-m", "pfms_ha_tui", "worker", "--config", str(config)],
            env={**os.environ, **sandbox.environment, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def connect(self) -> WorkerClient:
        """A connection, as soon as it takes one."""
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    return await WorkerClient.connect(self.settings.worker.socket, client="test")
                except WorkerError as error:
                    if self.process.poll() is not None:
                        raise AssertionError(f"the worker ended: {self.said()}") from error
                    await asyncio.sleep(0.02)

    def said(self) -> str:
        """Everything on stderr; waits for the end."""
        return self.process.communicate(timeout=DEADLINE)[1].decode()

    def stop(self) -> int:
        """SIGTERM; the exit status. SIGKILL when it does not obey."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


async def state_where(client: WorkerClient, holds: Callable[[ClusterState], bool]) -> ClusterState:
    """The next published state for which ``holds``."""
    async with asyncio.timeout(DEADLINE):
        async for update in client.subscribe():
            if isinstance(update, StateUpdate) and holds(update.state):
                return update.state
    raise AssertionError("the worker said goodbye first")


async def healthy(client: WorkerClient) -> ClusterState:
    """The first healthy state with known roles."""
    return await state_where(client, lambda state: state.roles_known and state.diagnosis.kind == "Healthy")


async def event_where(client: WorkerClient, holds: Callable[[Event], bool]) -> Event:
    """The newest event for which ``holds``, waited for."""
    async with asyncio.timeout(DEADLINE):
        while True:
            for event in await client.call("events", EventsQuery(), list[Event]):
                if holds(event):
                    return event
            await asyncio.sleep(0.02)

"""One node of a sandbox: a real server, its service control, its SSH server, and the faults it can have."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import shell
from pfms_ha_tui.sandbox.mycnf import NodeFiles
from pfms_ha_tui.sandbox.options import MYSQL_PORT, Flavor
from pfms_ha_tui.sandbox.sqlclient import Rows, SqlClient

SERVICE_SCRIPT = Path(__file__).with_name("service.sh")
_START_TIMEOUT = 120.0
_STOP_TIMEOUT = 120.0
_SSH_TIMEOUT = 30.0


class SshEndpoint:
    """The SSH server of one node, a process of its own."""

    def __init__(self, directory: Path, root: Path, *, label: str, prefix: Sequence[str]) -> None:
        self._directory = directory
        self._root = root
        self._label = label
        self._prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        self._ready_file.unlink(missing_ok=True)
        with (self._directory / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._prefix,
                    sys.executable,
                    "-m",
                    "pfms_ha_tui.sandbox.sshd",
                    str(self._directory / "sshd.json"),
                ],
                env=shell.python_environment(self._root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Return when it listens.

        Raises:
            SandboxError: it ended, or does not listen in time.
        """
        deadline = time.monotonic() + _SSH_TIMEOUT
        while not self._ready_file.exists():
            if self.pid is None or time.monotonic() > deadline:
                said = (self._directory / "sshd.log").read_text(errors="replace")[-400:].strip()
                raise SandboxError(f"the SSH server did not start: {said}", node=self._label)
            time.sleep(0.02)

    async def start(self) -> None:
        """Start it on the same address, port and host key as before.

        Raises:
            SandboxError: it did not start.
        """
        if self.pid is None:
            self.spawn()
            await asyncio.to_thread(self.wait_ready)

    async def stop(self) -> None:
        """End it: its port refuses, open sessions break, commands it started go on with closed pipes."""
        await asyncio.to_thread(self.kill)

    def kill(self) -> None:
        """As :meth:`stop`, for callers without an event loop."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """It accepts connections no more, and does not refuse them either."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is None:
            raise SandboxError("the SSH server does not run", node=self._label)
        os.kill(pid, number)

    @property
    def _ready_file(self) -> Path:
        return self._directory / "sshd.ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFault:
    """How the network of one node is blocked and unblocked; the sandbox's network supplies it."""

    block: Callable[[], None]
    unblock: Callable[[], None]


class SandboxNode:
    """A handle on one node, to be used from any event loop; its plain methods from any thread."""

    def __init__(
        self,
        *,
        label: str,
        host: str,
        ssh_port: int,
        server_id: int,
        flavor: Flavor,
        service: str,
        files: NodeFiles,
        root: Path,
        client: SqlClient,
        prefix: Sequence[str],
        fault: NetworkFault,
    ) -> None:
        self.label = label
        self.host = host
        self.port = MYSQL_PORT
        self.ssh_port = ssh_port
        self.server_id = server_id
        self.flavor = flavor
        self.service = service
        """Unit name for ``systemctl``."""
        self.files = files
        self.prefix = tuple(prefix)
        """Argument list that runs a program in this node's network namespace; empty without namespaces."""
        self.client = client
        self.ssh = SshEndpoint(files.directory, root, label=label, prefix=prefix)
        self._environment = shell.node_environment(root, files.directory)
        self._fault = fault

    def __repr__(self) -> str:
        return f"<SandboxNode {self.label} {self.host}:{self.port} pid {self.mysqld_pid}>"

    @property
    def directory(self) -> Path:
        """Everything of this node is below it."""
        return self.files.directory

    @property
    def datadir(self) -> Path:
        """The server's datadir."""
        return self.files.datadir

    @property
    def mysqld_pid(self) -> int | None:
        """The server process, None when there is none."""
        try:
            pid = int((self.directory / "main.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if shell.is_alive(pid) else None

    @property
    def running(self) -> bool:
        """Whether the server process exists, frozen or not."""
        return self.mysqld_pid is not None

    def kill(self) -> None:
        """SIGKILL the server, as a crash or the out-of-memory killer does.

        Raises:
            SandboxError: it does not run.
        """
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP the server: connections stay open, the kernel accepts new ones, nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT the server."""
        self._signal(signal.SIGCONT)

    async def wait_gone(self, timeout: float = 20.0) -> None:
        """Return when no server process is left.

        Raises:
            SandboxError: it is still there after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise SandboxError(f"the server is still running after {timeout:g} s", node=self.label)
            await asyncio.sleep(0.01)

    async def wait_answers(self, *, not_pid: int | None = None, timeout: float = 60.0) -> None:
        """Return when the server answers a query, whoever started it.

        Args:
            not_pid: Wait for another process than this one, after something that makes the server restart.

        Raises:
            SandboxError: it does not answer within ``timeout`` seconds; the reason is the last one.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                if self.mysqld_pid not in (None, not_pid):
                    await self.sql("SELECT 1", timeout=5)
                    return
                error = SandboxError("there is no new server process", node=self.label)
            except SandboxError as failed:
                error = failed
            if time.monotonic() > deadline:
                raise error
            await asyncio.sleep(0.05)

    async def start(self, options: Sequence[str] = ()) -> None:
        """Start the server by the node's service control; return when it accepts connections.

        Args:
            options: Further server options for this one start, ``["--skip-slave-start"]`` for one.

        Raises:
            SandboxError: it did not come up; the reason is what its error log says.
        """
        await asyncio.to_thread(self.start_now, options)

    async def stop(self) -> None:
        """Stop the server cleanly by the node's service control; also a frozen one."""
        await asyncio.to_thread(self._systemctl, "stop", _STOP_TIMEOUT)

    async def restart(self, options: Sequence[str] = ()) -> None:
        """Stop, then start."""
        await self.stop()
        await self.start(options)

    def start_now(self, options: Sequence[str] = ()) -> None:
        """As :meth:`start`, for callers without an event loop."""
        if options:
            (self.directory / "next-boot.options").write_text("".join(f"{option}\n" for option in options))
        already_said = len(self.error_log())
        try:
            self._systemctl("start", _START_TIMEOUT)
        except SandboxError as error:
            said = self.error_log()[already_said:].splitlines()
            errors = [line.partition("[ERROR]")[2].strip() for line in said if "[ERROR]" in line]
            why = "; ".join(errors or said[-3:]) or error.reason
            raise SandboxError(f"the server did not start: {why}", node=self.label) from error

    async def sql(
        self,
        statement: str,
        parameters: Sequence[object] | None = None,
        *,
        database: str | None = None,
        timeout: float = 20.0,
    ) -> Rows:
        """Run one statement as administrator, through the Unix socket and so past any network fault.

        Raises:
            SandboxError: the server refused it, is away, or did not answer within ``timeout`` seconds.
        """
        return await asyncio.to_thread(
            self.client.query, statement, parameters, database=database, timeout=timeout
        )

    async def replication(self) -> Mapping[str, object] | None:
        """The row of ``SHOW SLAVE STATUS`` or ``SHOW REPLICA STATUS``; None if the node follows nobody."""
        rows = await self.sql("SHOW SLAVE STATUS" if self.flavor is Flavor.MARIADB else "SHOW REPLICA STATUS")
        return rows[0] if rows else None

    async def block(self) -> None:
        """Drop every packet to and from the node's address.

        With namespaces that is the whole node. Without, what the node itself asks elsewhere leaves from
        127.0.0.1 and is not caught.

        Raises:
            SandboxError: not root, or the kernel has no packet filter.
        """
        await asyncio.to_thread(self._fault.block)

    async def unblock(self) -> None:
        """Undo :meth:`block`."""
        await asyncio.to_thread(self._fault.unblock)

    def error_log(self) -> str:
        """The server's log."""
        try:
            return self.files.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.mysqld_pid) is None:
            raise SandboxError("the server does not run", node=self.label)
        os.kill(pid, number)

    def _systemctl(self, verb: str, timeout: float) -> None:
        shell.run(
            [*self.prefix, "/bin/bash", SERVICE_SCRIPT, self.directory, "systemctl", verb, self.service],
            what=f"systemctl {verb} {self.service}",
            timeout=timeout,
            env=self._environment,
            cwd=self.directory,
            node=self.label,
        )

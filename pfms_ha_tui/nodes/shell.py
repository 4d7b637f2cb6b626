"""Commands on a node's host, through one SSH connection that is kept open.

What a talkative login shell prints is cut off: a mark that only this program knows comes before the command's
own output. Commands run without a terminal, with a time-out, and with a limit on what they may print.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import time
from dataclasses import dataclass, replace

import asyncssh

from pfms_ha_tui.cluster.observation import ProcessState, Says, ShellObservation, SshState
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.errors import ShellError
from pfms_ha_tui.nodes import forwarded, processes
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.nodes.sshlogin import SshLogin

Process = asyncssh.SSHClientProcess[bytes]

SERVICE_NAMES = ("mariadb", "mysqld", "mysql")
"""What MariaDB, MySQL on RHEL and MySQL on Debian call their service."""
OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes that a command may print before it is stopped."""
_OBSERVE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellResult:
    """How a command ended."""

    exit_status: int
    """128 plus the number of the signal that ended it, as shells say it."""
    stdout: str
    stderr: str
    started_at: float = 0.0
    """Wall time of this host when the command was seen to begin."""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_status == 0

    @property
    def said(self) -> str:
        """Its last words, for an error message."""
        return clean(self.stderr.strip() or self.stdout.strip())


class NodeShell:
    """SSH to one node's host. For one event loop; several commands at the same time are fine."""

    def __init__(self, node: NodeSettings, cluster: ClusterSettings):
        self.node = node
        self._cluster = cluster
        self._settings = node.ssh
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._logins: set[asyncio.Task[None]] = set()

    @property
    def service_names(self) -> tuple[str, ...]:
        """Names that the node's systemd service may have."""
        return (self.node.service,) if self.node.service is not None else SERVICE_NAMES

    def elevated(self, command: str) -> str:
        """A script as root, where the settings say that the account needs ``sudo`` for that."""
        return f"sudo -n /bin/sh -c {shlex.quote(command)}" if self._settings.sudo else command

    def as_root(self, *arguments: str) -> str:
        """One program as root, so that sudoers may allow just that program."""
        return shlex.join(["sudo", "-n", *arguments] if self._settings.sudo else arguments)

    async def run(
        self,
        command: str,
        *,
        timeout: float,
        input: bytes | None = None,  # noqa: A002 - as subprocess.run calls it
        limit: int = OUTPUT_LIMIT,
    ) -> ShellResult:
        """Run a command to its end.

        Args:
            command: For ``sh``; values in it are the caller's to quote.
            timeout: Seconds for all of it, a new connection included.
            input: For its standard input, which is closed after it.
            limit: Bytes it may print.

        Raises:
            ShellError: no connection, too slow, or too much output. A command that ends with another
                status than 0 is not an error here.
        """
        try:
            async with asyncio.timeout(timeout):
                process = await self.open_process(command)
                started_at = time.time()
                try:
                    return replace(await self._collect(process, input, limit), started_at=started_at)
                finally:
                    process.close()
        except TimeoutError:
            # The connection stays: others use it, and its keep-alives end it if the host is what is stuck.
            raise self._error(f"the command did not end within {timeout:g} s", "timeout") from None
        except (asyncssh.Error, OSError) as error:
            raise self._error(f"the connection broke: {clean(error)}", "lost") from None

    async def open_process(self, command: str) -> Process:
        """Start a command and leave its streams, in bytes, to the caller; close it when done.

        Its standard output begins with its own first byte, whatever the login shell printed before.

        Raises:
            ShellError: no connection, or the host starts no command.
        """
        mark = f"--{secrets.token_hex(12)}--"
        marked = f"printf '%s\\n' {mark}; printf '%s\\n' {mark} >&2; {command}"
        connection = await self._connected()
        try:
            process: Process = await connection.create_process(
                f"exec /bin/sh -c {shlex.quote(marked)}", encoding=None
            )
        except (asyncssh.Error, OSError) as error:
            raise self._error(f"the host starts no command: {clean(error)}", "lost") from None
        try:
            for stream in (process.stdout, process.stderr):
                await stream.readuntil(f"{mark}\n".encode())
        except asyncio.IncompleteReadError as error:
            process.close()
            said = clean(error.partial.decode("utf-8", "replace")) or "nothing"
            raise self._error(
                f"the login shell ran no command, it said: {said}",
                "no_shell",
                hint="give the account a login shell that runs commands without a terminal",
            ) from None
        except BaseException:
            process.close()
            raise
        return process

    async def observe(self, pid_file: str | None, datadir: str | None) -> ShellObservation:
        """One look at the host: the server process, the clock, the disk, and whether we could fence.

        Args:
            pid_file: ``@@pid_file`` as the server last said it.
            datadir: ``@@datadir`` as the server last said it.
        """
        if not self._settings.enabled:
            return self._observed(SshState.OFF)
        started = time.monotonic()
        try:
            found, at = await self._host_facts(pid_file, datadir)
        except ShellError as error:
            return self._observed(SshState.DOWN, failure=error.reason, hint=error.hint)
        latency = time.monotonic() - started
        process = processes.judge(found, datadir, self.service_names)
        return ShellObservation(
            label=self.node.label,
            at=at,
            mono=time.monotonic(),
            state=SshState.UP,
            process=process.state,
            pid=process.pid,
            latency=latency,
            clock=found.clock,
            disk_free=found.disk_free,
            disk_total=found.disk_total,
            failure=process.text if process.state is ProcessState.UNKNOWN else None,
            can_fence=processes.can_fence(found, process),
        )

    async def find_process(self, pid_file: str | None, datadir: str | None) -> processes.FoundProcess:
        """The node's server process, and whether it is proved to be the node's.

        Raises:
            ShellError: no connection, or the host's answer makes no sense.
        """
        facts, _ = await self._host_facts(pid_file, datadir)
        return processes.judge(facts, datadir, self.service_names)

    async def _host_facts(
        self, pid_file: str | None, datadir: str | None
    ) -> tuple[processes.HostFacts, float]:
        """The script's findings, and this host's wall time when it read the clock, first thing."""
        script = processes.script(pid_file, datadir, sudo=self._settings.sudo)
        result = await self.run(script, timeout=self._settings.connect_timeout + _OBSERVE_TIMEOUT)
        facts = processes.parse(result.stdout)
        if facts is None:
            raise self._error(f"the host's answer is incomplete: {result.said}", "protocol")
        return facts, result.started_at

    async def probe_through(self, host: str, port: int, timeout: float) -> tuple[Says, str]:
        """What this node's host sees of a server: a forwarded connection that waits for the greeting.

        Returns:
            SEES when the server greets (be it with an error), LOST when it refuses, hangs or is out of
            reach from there, SILENT when this host could not be asked; and one sentence.
        """
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connected()
        except TimeoutError:
            return Says.SILENT, f"no SSH to {self.node.label} within {timeout:g} s"
        except ShellError as error:
            return Says.SILENT, f"no SSH to {self.node.label}: {error.reason}"
        seen_from = f"seen from {self.node.label}"
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await connection.open_connection(host, port, encoding=None)
        except TimeoutError:
            return Says.LOST, f"{seen_from}, {host}:{port} does not answer"
        except asyncssh.ChannelOpenError as error:
            return forwarded.refused_channel(error, seen_from, f"{host}:{port}")
        except (asyncssh.Error, OSError) as error:
            return Says.SILENT, f"the SSH connection to {self.node.label} broke: {clean(error)}"
        try:
            async with asyncio.timeout(timeout):
                greeting = await forwarded.read_packet(reader)
        except TimeoutError:
            writer.close()
            return Says.LOST, f"{seen_from}, {host}:{port} accepts connections but does not greet"
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
            writer.close()
            return Says.LOST, f"{seen_from}, {host}:{port} closes the connection at once"
        self._finish_login(host, port, greeting, reader, writer)
        return Says.SEES, f"{seen_from}, {host}:{port} {forwarded.greeting_text(greeting)}"

    async def close(self) -> None:
        """Close the connection."""
        for task in list(self._logins):
            task.cancel()
        await asyncio.gather(*self._logins, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
                async with asyncio.timeout(1.0):
                    await connection.wait_closed()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        if not self._settings.enabled:
            raise self._error("SSH is switched off for this node", "off", hint="see ssh in the config")
        async with self._connecting:
            if self._connection is None or self._connection.is_closed():
                self._connection = await SshLogin(self.node).connect()
            return self._connection

    async def _collect(self, process: Process, given: bytes | None, limit: int) -> ShellResult:
        async def feed() -> None:
            if given is not None:
                # A command that does not read all of it is not an error of ours.
                with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
                    process.stdin.write(given)
                    await process.stdin.drain()
            process.stdin.write_eof()

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(feed())
                out = tasks.create_task(self._read(process.stdout, limit))
                err = tasks.create_task(self._read(process.stderr, limit))
        except BaseExceptionGroup as group:
            process.terminate()
            raise group.exceptions[0] from None
        await process.wait_closed()
        return ShellResult(
            exit_status=_exit_status(process),
            stdout=out.result().decode("utf-8", "replace"),
            stderr=err.result().decode("utf-8", "replace"),
        )

    async def _read(self, stream: asyncssh.SSHReader[bytes], limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await stream.read(65536):
            size += len(part)
            if size > limit:
                raise self._error(f"the command printed more than {limit} bytes", "output")
            parts.append(part)
        return b"".join(parts)

    def _finish_login(
        self,
        host: str,
        port: int,
        greeting: bytes,
        reader: forwarded.Reader,
        writer: forwarded.Writer,
    ) -> None:
        """Log in for real, in the background, and leave properly.

        A connection that is dropped after the greeting counts as a broken login of *this* host; after
        ``max_connect_errors`` (100) of them the server would block it, and with it its replication.
        """
        target = next((node for node in self._cluster.nodes if (node.host, node.port) == (host, port)), None)
        if target is None or greeting[4:5] == b"\xff":
            writer.close()
            return
        task = asyncio.create_task(forwarded.login_through(target, self._cluster, greeting, reader, writer))
        self._logins.add(task)
        task.add_done_callback(self._logins.discard)

    def _observed(
        self, state: SshState, *, failure: str | None = None, hint: str | None = None
    ) -> ShellObservation:
        return ShellObservation(
            label=self.node.label,
            at=time.time(),
            mono=time.monotonic(),
            state=state,
            failure=failure,
            hint=hint,
        )

    def _error(self, reason: str, code: str, *, hint: str | None = None) -> ShellError:
        return ShellError(reason, node=self.node.label, code=code, hint=hint)


def _exit_status(process: Process) -> int:
    if process.exit_signal is not None:
        numbers = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "SEGV": 11, "PIPE": 13, "TERM": 15}
        return 128 + numbers.get(process.exit_signal[0], 0)
    return process.exit_status if process.exit_status is not None else -1

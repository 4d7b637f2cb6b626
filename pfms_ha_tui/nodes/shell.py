"""Commands on a node's host, through one SSH connection that is kept open.

What a talkative login shell prints is cut off: a mark that only this program knows comes before the command's
own output. Commands run without a terminal, with a time-out, and with a limit on what they may print.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
import time
from dataclasses import dataclass, replace

import asyncssh

from pfms_ha_tui.cluster.observation import ProcessState, Says, ShellObservation, SshState
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.errors import ShellError
from pfms_ha_tui.nodes import hostkeys, processes
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.nodes.hostkeys import KeyChecker, KeyVerdict

Process = asyncssh.SSHClientProcess[bytes]

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes that a command may print before it is stopped."""
_OBSERVE_TIMEOUT = 5.0
_KEEPALIVE = 5.0
_GREETING_LIMIT = 4096


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
    def where(self) -> str:
        """``user@host:port``."""
        return f"{self._settings.user}@{self._settings.host}:{self._settings.port}"

    def elevated(self, command: str) -> str:
        """The command as root, where the settings say that the account needs ``sudo`` for that."""
        return f"sudo -n /bin/sh -c {shlex.quote(command)}" if self._settings.sudo else command

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
        process = processes.judge(found, datadir)
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
        return processes.judge(facts, datadir)

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
            return _refused_channel(error, seen_from, f"{host}:{port}")
        except (asyncssh.Error, OSError) as error:
            return Says.SILENT, f"the SSH connection to {self.node.label} broke: {clean(error)}"
        try:
            async with asyncio.timeout(timeout):
                greeting = await _read_packet(reader)
        except TimeoutError:
            writer.close()
            return Says.LOST, f"{seen_from}, {host}:{port} accepts connections but does not greet"
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
            writer.close()
            return Says.LOST, f"{seen_from}, {host}:{port} closes the connection at once"
        self._finish_login(host, port, greeting, reader, writer)
        return Says.SEES, f"{seen_from}, {host}:{port} {_greeting_text(greeting)}"

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
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> asyncssh.SSHClientConnection:
        settings = self._settings
        try:
            known = hostkeys.load(settings)
        except ShellError as error:
            raise self._error(error.reason, error.code, hint=error.hint) from None
        checker = KeyChecker(settings, known)
        keys = {} if settings.key is None else {"client_keys": [self._load_key()], "agent_path": None}
        try:
            async with asyncio.timeout(settings.connect_timeout):
                connection = await asyncssh.connect(
                    settings.host,
                    settings.port,
                    username=settings.user,
                    known_hosts=known,
                    client_factory=lambda: checker,
                    config=None,
                    preferred_auth="publickey",
                    login_timeout=settings.connect_timeout,
                    keepalive_interval=_KEEPALIVE,
                    keepalive_count_max=3,
                    **keys,
                )
        except (asyncssh.Error, OSError, ValueError) as error:
            raise self._connect_error(error, checker) from None
        try:
            checker.remember()
        except ShellError as error:
            connection.abort()
            raise self._error(error.reason, error.code, hint=error.hint) from None
        return connection

    def _load_key(self) -> asyncssh.SSHKey:
        path = self._settings.key
        try:
            return asyncssh.read_private_key(str(path))
        except OSError as error:
            reason, hint = f"the key {path} cannot be read: {error.strerror}", "see ssh_key in the config"
        except asyncssh.KeyEncryptionError:
            reason = f"the key {path} is protected by a passphrase"
            hint = "use a key without one, or load it into an SSH agent and leave ssh_key out"
        except (asyncssh.KeyImportError, ValueError):
            reason, hint = f"the file {path} is not a private key", "see ssh_key in the config"
        raise self._error(reason, "key", hint=hint)

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
        reader: asyncssh.SSHReader[bytes],
        writer: asyncssh.SSHWriter[bytes],
    ) -> None:
        """Log in for real, in the background, and leave properly.

        A connection that is dropped after the greeting counts as a broken login of *this* host; after
        ``max_connect_errors`` (100) of them the server would block it, and with it its replication.
        """
        target = next((node for node in self._cluster.nodes if (node.host, node.port) == (host, port)), None)
        if target is None or greeting[4:5] == b"\xff":
            writer.close()
            return
        task = asyncio.create_task(_login_through(target, self._cluster, greeting, reader, writer))
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

    def _connect_error(self, error: Exception, checker: KeyChecker) -> ShellError:
        where = self.where
        if checker.verdict is KeyVerdict.UNKNOWN:
            fingerprint = checker.key.get_fingerprint() if checker.key else "?"
            return self._error(
                f"the host key of {where} is not known ({fingerprint})",
                "host_key_unknown",
                hint=f"compare it on the host, then: ssh-keyscan -p {self._settings.port}"
                f" {shlex.quote(self._settings.host)} >> {hostkeys.known_hosts_path(self._settings)}",
            )
        if checker.verdict is KeyVerdict.CHANGED:
            fingerprint = checker.key.get_fingerprint() if checker.key else "?"
            return self._error(
                f"the host key of {where} has changed (now {fingerprint}): this may be another host",
                "host_key_changed",
                hint="if the host was reinstalled, remove its old line from"
                f" {hostkeys.known_hosts_path(self._settings)}",
            )
        if isinstance(error, asyncssh.PermissionDenied):
            return self._error(
                f"{where} does not accept the key",
                "denied",
                hint="add the public key to the account's authorized_keys, and check the user name",
            )
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return self._error(
                f"{where} offers no common algorithm or none of its known key types: {clean(error.reason)}",
                "host_key_changed",
                hint="compare the host's keys with known_hosts",
            )
        return self._transport_error(error)

    def _transport_error(self, error: Exception) -> ShellError:
        where = self.where
        if isinstance(error, TimeoutError):
            return self._error(
                f"no SSH answer from {where} within {self._settings.connect_timeout:g} s",
                "timeout",
                hint="check the network and whether the host is up",
            )
        if isinstance(error, socket.gaierror):
            return self._error(
                f"the name {self._settings.host} cannot be resolved: {clean(error.strerror)}",
                "name_not_resolved",
                hint="check the spelling and this host's DNS",
            )
        if isinstance(error, ConnectionRefusedError):
            return self._error(
                f"SSH connection refused by {where}", "refused", hint="check port and whether sshd runs"
            )
        if isinstance(error, OSError):
            return self._error(
                f"no SSH connection to {where}: {clean(error.strerror or error)}", "unreachable"
            )
        return self._error(
            f"{where} does not speak SSH properly: {clean(error)}", "protocol", hint="check host and port"
        )


async def _read_packet(reader: asyncssh.SSHReader[bytes]) -> bytes:
    """The server's first packet, header included (MySQL protocol: three bytes of length, one number)."""
    head = await reader.readexactly(4)
    length = int.from_bytes(head[:3], "little")
    if length > _GREETING_LIMIT:
        return head + await reader.readexactly(1)
    return head + await reader.readexactly(length)


def _greeting_text(packet: bytes) -> str:
    if packet[4:5] == b"\xff":
        return f"answers with error {int.from_bytes(packet[5:7], 'little')}"
    if packet[4:5] == b"\x0a":
        version = packet[5:].split(b"\0", 1)[0].decode("latin-1")
        return f"greets as {clean(Dialect.of(version).text, 60)}"
    return "answers"


def _refused_channel(error: asyncssh.ChannelOpenError, seen_from: str, where: str) -> tuple[Says, str]:
    """The other host could not make the connection: its testimony, unless it is not allowed or able to."""
    said = clean(error.reason)
    if error.code != asyncssh.OPEN_CONNECT_FAILED:
        return Says.SILENT, f"{seen_from}: forwarding is not possible there ({said})"
    if any(word in said.lower() for word in ("resolv", "not known", "unknown host", "nodename")):
        return Says.SILENT, f"{seen_from}: the name in {where} cannot be resolved there"
    return Says.LOST, f"{seen_from}, {where} cannot be reached: {said}"


def _exit_status(process: Process) -> int:
    if process.exit_signal is not None:
        numbers = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "SEGV": 11, "PIPE": 13, "TERM": 15}
        return 128 + numbers.get(process.exit_signal[0], 0)
    return process.exit_status if process.exit_status is not None else -1


async def _login_through(
    target: NodeSettings,
    cluster: ClusterSettings,
    greeting: bytes,
    reader: asyncssh.SSHReader[bytes],
    writer: asyncssh.SSHWriter[bytes],
) -> None:
    """A login over a forwarded connection, its bytes carried between the channel and a socket pair."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def inward() -> None:
        await loop.sock_sendall(ours, greeting)
        while data := await reader.read(65536):
            await loop.sock_sendall(ours, data)

    async def outward() -> None:
        while data := await loop.sock_recv(ours, 65536):
            writer.write(data)

    def login() -> None:
        with contextlib.suppress(SqlError), SqlSession(target, cluster) as session:
            session.login(theirs)

    pumps = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    try:
        await asyncio.to_thread(login)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        ours.close()
        theirs.close()
        writer.close()

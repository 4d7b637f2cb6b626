"""The SSH server of one node: ``python -m pfms_ha_tui.sandbox.sshd SETTINGS.json``.

Key-only logins; commands run for real, with the node's PATH (its ``systemctl`` among them), in a session of
their own; forwarded connections leave from the node's own address, so that a probe through this node's SSH is
a second pair of eyes; SFTP and ``rsync`` work. A process for each node, so that it can be killed, frozen, or
put into the node's network namespace, and so that a busy test never slows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path

import asyncssh
import msgspec
from asyncssh.forward import SSHForwarder
from asyncssh.misc import MaybeAwait

_WINDOW = 16 * 1024 * 1024
_PACKET = 128 * 1024
_PIPE_SIZE = 1024 * 1024


class SshdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told."""

    host: str
    port: int
    users: list[str]
    host_key: str
    authorized_keys: str
    environment: dict[str, str]
    home: str
    banner: str
    motd: str
    ready_file: str


class _Server(asyncssh.SSHServer):
    """One connection: who may log in, and where forwarded connections leave from."""

    def __init__(self, settings: SshdSettings) -> None:
        self._settings = settings
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if self._connection is not None:
            if self._settings.banner:
                self._connection.send_auth_banner(self._settings.banner)
            if username in self._settings.users:
                self._connection.set_authorized_keys(self._settings.authorized_keys)
        return True

    def connection_requested(  # type: ignore[override]
        self,
        dest_host: str,
        dest_port: int,
        orig_host: str,  # noqa: ARG002
        orig_port: int,  # noqa: ARG002
    ) -> Awaitable[SSHForwarder]:
        # asyncssh's own forwarding hands out the same awaitable, though its annotation does not say so.
        return self._forward(dest_host, dest_port)

    async def _forward(self, host: str, port: int) -> SSHForwarder:
        # On loopback the kernel would take 127.0.0.1 as source for every node alike.
        source = (self._settings.host, 0) if _is_loopback(host) else None
        try:
            _, peer = await asyncio.get_running_loop().create_connection(
                SSHForwarder, host, port, local_addr=source
            )
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return SSHForwarder(peer)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _handle(process: asyncssh.SSHServerProcess[bytes], settings: SshdSettings) -> None:
    """Run one command as sshd does: by the user's shell, with pipes, its exit status or signal reported."""
    if settings.motd:
        process.stdout.write(settings.motd.encode())
    command = ["-c", process.command] if process.command is not None else ["-l"]
    (our_out, child_out), (our_err, child_err) = _pipe(), _pipe()
    try:
        child = await asyncio.create_subprocess_exec(
            "/bin/bash",
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=child_out,
            stderr=child_err,
            env=settings.environment,
            cwd=settings.home,
            start_new_session=True,
        )
    finally:
        os.close(child_out)
        os.close(child_err)
    outputs = os.fdopen(our_out, "rb", 0), os.fdopen(our_err, "rb", 0)
    await process.redirect(None, *outputs, send_eof=False)
    feeding = asyncio.create_task(_feed(process, child))
    # When the connection goes, the command is not killed: sshd too only closes the pipes.
    status = await child.wait()
    feeding.cancel()
    with contextlib.suppress(asyncssh.Error, OSError):
        await process.stdout.drain()
        await process.stderr.drain()
    if process.is_closing():
        return
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Pass input and signals on.

    Not by asyncssh's redirection to a pipe: asyncio's pipe transport drops what is written, and followed by
    the end of the input, while it resumes its protocol.
    """
    if child.stdin is None:
        return
    _enlarge(child.stdin.get_extra_info("pipe").fileno())
    with contextlib.suppress(asyncssh.ConnectionLost, OSError):
        while True:
            try:
                data = await process.stdin.read(_PACKET)
            except asyncssh.SignalReceived as received:
                with contextlib.suppress(AttributeError, ProcessLookupError):
                    os.killpg(child.pid, getattr(signal, f"SIG{received.signal}"))
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            child.stdin.write(data)
            await child.stdin.drain()
    child.stdin.close()


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    _enlarge(writing)
    return reading, writing


def _enlarge(pipe: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


async def serve(settings: SshdSettings) -> None:
    """Listen until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def process_factory(process: asyncssh.SSHServerProcess[bytes]) -> MaybeAwait[None]:
        return _handle(process, settings)

    server = await asyncssh.listen(
        settings.host,
        settings.port,
        server_factory=lambda: _Server(settings),
        server_host_keys=[settings.host_key],
        process_factory=process_factory,
        sftp_factory=True,
        encoding=None,
        line_editor=False,
        login_timeout=20,
        window=_WINDOW,
        max_pktsize=_PACKET,
        compression_algs=None,
    )
    Path(settings.ready_file).write_text(str(os.getpid()))
    async with server:
        await stop.wait()


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    settings = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=SshdSettings)
    os.environ.update(settings.environment)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main(sys.argv[1:])

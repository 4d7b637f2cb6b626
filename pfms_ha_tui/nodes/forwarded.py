"""What another node's host sees of a server: a connection forwarded through its SSH."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import asyncssh

from pfms_ha_tui.cluster.observation import Says
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.failures import SqlError, clean

Reader = asyncssh.SSHReader[bytes]
Writer = asyncssh.SSHWriter[bytes]

_GREETING_LIMIT = 4096


async def read_packet(reader: Reader) -> bytes:
    """The server's first packet, header included (MySQL protocol: three bytes of length, one number)."""
    head = await reader.readexactly(4)
    length = int.from_bytes(head[:3], "little")
    if length > _GREETING_LIMIT:
        return head + await reader.readexactly(1)
    return head + await reader.readexactly(length)


def greeting_text(packet: bytes) -> str:
    """How the server answered, for a sentence."""
    if packet[4:5] == b"\xff":
        return f"answers with error {int.from_bytes(packet[5:7], 'little')}"
    if packet[4:5] == b"\x0a":
        version = packet[5:].split(b"\0", 1)[0].decode("latin-1")
        return f"greets as {clean(Dialect.of(version).text, 60)}"
    return "answers"


def refused_channel(error: asyncssh.ChannelOpenError, seen_from: str, where: str) -> tuple[Says, str]:
    """The other host could not make the connection: its testimony, unless it is not allowed or able to."""
    said = clean(error.reason)
    if error.code != asyncssh.OPEN_CONNECT_FAILED:
        return Says.SILENT, f"{seen_from}: forwarding is not possible there ({said})"
    if any(word in said.lower() for word in ("resolv", "not known", "unknown host", "nodename")):
        return Says.SILENT, f"{seen_from}: the name in {where} cannot be resolved there"
    return Says.LOST, f"{seen_from}, {where} cannot be reached: {said}"


async def login_through(
    target: NodeSettings,
    cluster: ClusterSettings,
    greeting: bytes,
    reader: Reader,
    writer: Writer,
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
        try:
            session = SqlSession(target, cluster)
        except SqlError:
            theirs.close()
            return
        with contextlib.suppress(SqlError), session:
            session.login(theirs)

    pumps = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    job = loop.run_in_executor(None, login)
    try:
        await asyncio.shield(job)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        # Closing our end is what ends a login that still waits; its own end belongs to its thread.
        ours.close()
        writer.close()
        await asyncio.wait([job])

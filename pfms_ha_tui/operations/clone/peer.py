"""From the source's host to the target's: the SSH command, its cipher, and how fast the link is."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from pfms_ha_tui.operations.clone.host import Host
from pfms_ha_tui.operations.context import ClusterOperation

CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr"
"""With AES in hardware several times as fast as ChaCha20, OpenSSH's own first choice (both give 128 bits)."""
FAST_LINK = 250 * 2**20
"""Bytes per second from which compressing costs more time than it saves: about what zstd -1 takes in."""
_SENT = 64 * 2**20
_SEND_FOR = 1
"""Seconds; a slow link is known as one before everything was sent."""
_ARRIVE_IN = 10
_TIMED_OUT = 124
"""Exit status of ``timeout``."""
_COPIED = re.compile(r"^(\d+) bytes.*copied, ([0-9.e+-]+) s", re.MULTILINE)
_HAS_AES = "grep -qw aes /proc/cpuinfo && echo hardware-aes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login from host to host."""

    why_not: str | None
    """Why it is of no use; ``None`` when it works."""
    boot_id: str = ""
    """What the other host says of itself."""
    hardware_aes: bool = False
    """Both hosts have AES in hardware."""


def peer_ssh(operation: ClusterOperation, label: str, ciphers: str = "") -> str:
    """The ssh command of one node's host for another's.

    Args:
        ciphers: In the order of preference; empty leaves it to the hosts' own settings.
    """
    settings = operation.context.node(label).ssh
    return shlex.join(
        [
            "ssh",
            "-oBatchMode=yes",
            f"-oConnectTimeout={max(1, round(settings.connect_timeout))}",
            "-oServerAliveInterval=5",
            "-oServerAliveCountMax=3",
            *([f"-oCiphers={ciphers}"] if ciphers else []),
            f"-p{settings.port}",
            f"{settings.user}@{settings.host}",
        ]
    )


async def log_in(operation: ClusterOperation, source: Host, target: str) -> Login:
    """Log in once from the source's host to the target's, and ask both what they are.

    Raises:
        ShellError: the source's host cannot be asked.
    """
    inner = f"cat /proc/sys/kernel/random/boot_id; {_HAS_AES}; true"
    command = f"{peer_ssh(operation, target)} {shlex.quote(inner)} </dev/null && {{ {_HAS_AES}; true; }}"
    result = await source.ask(command)
    if not result.ok:
        return Login(why_not=f"{source.label} cannot log in to {target} by SSH: {result.said}")
    return Login(why_not=None, boot_id=result.stdout, hardware_aes=result.stdout.count("hardware-aes") == 2)


async def rate(operation: ClusterOperation, source: Host, target: str, ciphers: str) -> int | None:
    """Bytes per second of the link, measured with zeros for at most a second; ``None``: it cannot be told.

    0 stands for a link on which even what is on its way after that second does not arrive.

    Raises:
        ShellError: the source's host cannot be asked.
    """
    onward = f"{peer_ssh(operation, target, ciphers)} {shlex.quote('LC_ALL=C exec dd of=/dev/null bs=1M')}"
    result = await source.ask(
        f"timeout {_SEND_FOR} head -c {_SENT} /dev/zero | timeout {_ARRIVE_IN} {onward}"
    )
    if result.exit_status == _TIMED_OUT:
        return 0
    return measured(result.stderr) if result.ok else None


def measured(said: str) -> int | None:
    """Bytes per second by ``dd``'s last words."""
    match = _COPIED.search(said)
    try:
        return int(int(match[1]) / float(match[2])) if match else None
    except (ValueError, ZeroDivisionError, OverflowError):
        return None

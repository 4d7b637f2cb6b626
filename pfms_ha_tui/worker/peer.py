"""Who is at the other end of the socket, and what that account may do, by the kernel's word."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.config.settings import WorkerSettings
from pfms_ha_tui.worker.protocol import Rights

_SO_PEERGROUPS = 59
"""Linux ≥ 4.13; not in the ``socket`` module."""
_UNSET_LOGIN = 0xFFFF_FFFF

SocketOption = Callable[[int, int], bytes]
"""``getsockopt(SOL_SOCKET, option, buflen)`` of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The account behind one connection."""

    pid: int
    uid: int
    actor: str
    """Name for the audit trail: ``carol``, ``carol as root`` after sudo, ``uid 1005`` without a name."""
    rights: Rights
    client: str = ""
    """What the client calls itself; its own word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which accounts may do what. The worker's own user and root have full rights always."""

    uid: int
    admin_gid: int | None = None
    read_gid: int | None = None

    @classmethod
    def of(cls, settings: WorkerSettings) -> tuple[Access, tuple[str, ...]]:
        """The access the settings describe, and a sentence for each group that does not exist.

        A missing group gives nobody any right, which is safe; it is no reason not to watch the cluster.
        """
        faults: list[str] = []

        def gid(key: str, name: str | None) -> int | None:
            if name is None:
                return None
            try:
                return grp.getgrnam(name).gr_gid
            except KeyError:
                faults.append(f"{key} = {name!r}: there is no such group on this host")
                return None

        access = cls(
            uid=os.geteuid(),
            admin_gid=gid("admin_group", settings.admin_group),
            read_gid=gid("read_group", settings.read_group),
        )
        return access, tuple(faults)

    def rights(self, uid: int, groups: frozenset[int]) -> Rights | None:
        """What an account may do; ``None`` = nothing at all."""
        if uid in (0, self.uid) or self.admin_gid in groups:
            return Rights.FULL
        if self.read_gid in groups:
            return Rights.READ
        return None

    @property
    def socket_mode(self) -> int:
        """0660; 0666 when two different groups have to get in, as a file has only one group.

        The peer's credentials are checked in either case: the mode is only the outer door.
        """
        two_groups = None not in (self.admin_gid, self.read_gid) and self.admin_gid != self.read_gid
        return 0o666 if two_groups else 0o660

    @property
    def socket_gid(self) -> int | None:
        """The group the socket has to belong to, if any."""
        return self.admin_gid if self.admin_gid is not None else self.read_gid


def identify(option: SocketOption, access: Access) -> Peer | None:
    """The peer of a connected Unix socket; ``None`` when it has no rights.

    May ask the name service: call it in a thread.
    """
    raw = option(socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    rights = access.rights(uid, _groups(option, uid, gid))
    if rights is None:
        return None
    return Peer(pid=pid, uid=uid, actor=_actor(pid, uid), rights=rights)


def _groups(option: SocketOption, uid: int, gid: int) -> frozenset[int]:
    try:
        raw = option(_SO_PEERGROUPS, 1024)
    except OSError:  # older kernel, or more groups than the buffer holds
        try:
            return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
        except KeyError:
            return frozenset({gid})
    return frozenset((gid, *struct.unpack(f"{len(raw) // 4}I", raw)))


def _actor(pid: int, uid: int) -> str:
    name = _name(uid)
    try:
        login = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):
        return name
    return name if login in (uid, _UNSET_LOGIN) else f"{_name(login)} as {name}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

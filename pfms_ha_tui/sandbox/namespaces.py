"""Network namespaces for sandbox nodes and the worker: real partitions, none of which the machine notices.

Every member has a namespace with one interface on a bridge, and the bridge has a namespace too, so the
machine's own interfaces, routes and packet filters are never touched. The namespaces have no names: each is
held by a sleeping process that carries the sandbox's marker, so they end with the sandbox's processes,
however those end.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import shell
from pfms_ha_tui.sandbox.guardian import MARKER
from pfms_ha_tui.sandbox.network import require_programs

How = Literal["drop", "reject"]
WORKER = "worker"
"""Name of the member that is no node: the place of the worker and of the writer."""
_SUBNET = "10.77.0"
_FIRST_NODE = 11
_WORKER_ADDRESS = f"{_SUBNET}.10"
_HOWS: tuple[How, ...] = ("drop", "reject")
_EVERYTHING = (("INPUT", "-i", "eth0"), ("OUTPUT", "-o", "eth0"))
_TARGETS: dict[How, tuple[str, ...]] = {
    "drop": ("-j", "DROP"),
    # Resets, because the kernel limits the rate of ICMP messages and a refusal would come late.
    "reject": ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
}
_CLONE_NEWNET = 0x40000000


class NamespaceNetwork:
    """The namespaces of one sandbox.

    Raises:
        SandboxError: not root, a missing program, or a kernel without namespaces, veth or bridges.
    """

    def __init__(self, root: Path, count: int) -> None:
        require_programs("ip", "iptables", "unshare", "nsenter")
        self._environment = {**os.environ, MARKER: str(root), "PATH": shell.SYSTEM_PATH}
        self._holders: list[subprocess.Popen[bytes]] = []
        self._addresses = {
            f"node{number + 1}": f"{_SUBNET}.{_FIRST_NODE + number}" for number in range(count)
        }
        self._members: dict[str, int] = {}
        self.addresses = tuple(self._addresses.values())
        self._addresses[WORKER] = _WORKER_ADDRESS
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        """None: addresses in a namespace clash with nobody's."""
        return ()

    @property
    def prefixes(self) -> tuple[tuple[str, ...], ...]:
        """How a program is run in the place of each node."""
        return tuple(self._prefix(name) for name in self._members if name != WORKER)

    @property
    def worker_prefix(self) -> tuple[str, ...]:
        """How a program is run in the worker's place."""
        return self._prefix(WORKER)

    def cut(self, one: str, other: str, *, how: How = "drop", one_way: bool = False) -> None:
        """Let no packet pass between two members; each is a node's label or :data:`WORKER`.

        Args:
            how: Packets vanish, or TCP is answered by resets, which refuses connections and breaks open ones.
            one_way: Only what goes from ``one`` to ``other``.

        Raises:
            SandboxError: no such member.
        """
        self._change(one, "-A", self._towards(other), how)
        if not one_way:
            self._change(other, "-A", self._towards(one), how)

    def heal(self, one: str, other: str) -> None:
        """Undo every :meth:`cut` between two members, whichever was named first."""
        for sender, receiver in ((one, other), (other, one)):
            for how in _HOWS:
                while self._has(sender, self._towards(receiver), how):
                    self._change(sender, "-D", self._towards(receiver), how)

    def block(self, index: int) -> None:
        """Let no packet pass between a node and anybody."""
        name = f"node{index + 1}"
        for rule in _EVERYTHING:
            if not self._has(name, rule, "drop"):
                self._change(name, "-A", rule, "drop")

    def unblock(self, index: int) -> None:
        """Undo :meth:`block`."""
        name = f"node{index + 1}"
        for rule in _EVERYTHING:
            if self._has(name, rule, "drop"):
                self._change(name, "-D", rule, "drop")

    @contextmanager
    def entered(self, name: str = WORKER) -> Iterator[None]:
        """Give a member's network to this thread, and so to the sockets, threads and processes it begins."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(namespace: int) -> None:
            if libc.setns(namespace, _CLONE_NEWNET) != 0:
                raise SandboxError(
                    f"the network namespace cannot be entered: {os.strerror(ctypes.get_errno())}"
                )

        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/proc/{self._pid(name)}/ns/net", os.O_RDONLY)
            try:
                enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                enter(here)
        finally:
            os.close(here)

    def close(self) -> None:
        """End the holders; a namespace ends with its last process."""
        for holder in self._holders:
            holder.kill()
            holder.wait()
        self._holders.clear()

    def _build(self) -> None:
        bridge = self._hold()
        self._ip(bridge, ["link add br0 type bridge", "link set br0 up"])
        for number, (name, address) in enumerate(self._addresses.items()):
            member = self._hold()
            self._members[name] = member
            link = f"member{number}"
            self._ip(
                bridge,
                [
                    f"link add {link} type veth peer name eth0 netns {member}",
                    f"link set {link} master br0 up",
                ],
            )
            self._ip(
                member,
                [f"address add {address}/24 dev eth0", "link set eth0 up", "link set lo up"],
            )

    def _hold(self) -> int:
        """A new namespace; the pid of the process that keeps it."""
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._holders.append(holder)
        if holder.stdout is None or not holder.stdout.readline():
            raise SandboxError("the kernel gives no network namespace")
        holder.stdout.close()
        return holder.pid

    def _prefix(self, name: str) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self._pid(name)}/ns/net", "--")

    def _pid(self, name: str) -> int:
        try:
            return self._members[name]
        except KeyError:
            raise SandboxError(f"the network has no member {name}") from None

    def _ip(self, holder: int, commands: Sequence[str]) -> None:
        shell.run(
            ["nsenter", f"--net=/proc/{holder}/ns/net", "--", "ip", "-batch", "-"],
            what="building the sandbox's network",
            timeout=20,
            text_input="\n".join([*commands, ""]),
        )

    def _towards(self, name: str) -> tuple[str, ...]:
        self._pid(name)
        return ("OUTPUT", "-d", self._addresses[name])

    def _change(self, name: str, verb: str, rule: Sequence[str], how: How) -> None:
        shell.run(
            [*self._prefix(name), "iptables", "-w", verb, *rule, *_TARGETS[how]],
            what="changing the sandbox's packet filter",
            timeout=15,
        )

    def _has(self, name: str, rule: Sequence[str], how: How) -> bool:
        try:
            self._change(name, "-C", rule, how)
        except SandboxError:
            return False
        return True

"""Where sandbox nodes live: loopback addresses of the machine, or namespaces with links that can be cut.

A network hands out an address for each node, says how a program is run in a node's place, and blocks and
heals.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import shell
from pfms_ha_tui.sandbox.guardian import FIREWALL_NAME
from pfms_ha_tui.sandbox.options import MYSQL_PORT, SSH_PORT


class Network(Protocol):
    """Where the nodes live."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """One for each node, in order."""
        ...

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Open files that reserve something while any process holds them; the guardian inherits them."""
        ...

    @property
    def worker_prefix(self) -> tuple[str, ...]:
        """Argument list that runs a program where the worker belongs."""
        ...

    @property
    def prefixes(self) -> tuple[tuple[str, ...], ...]:
        """For each node, the argument list that runs a program in its place."""
        ...

    def block(self, index: int) -> None:
        """Drop every packet to and from a node."""
        ...

    def unblock(self, index: int) -> None:
        """Undo :meth:`block`."""
        ...

    def close(self) -> None:
        """Give back what was reserved."""
        ...


class LoopbackNetwork:
    """Loopback addresses from 127.0.0.11 on, each reserved against other sandboxes by an abstract socket.

    The reservation is a name in the kernel that ends with its last holder; no file to forget.

    Raises:
        SandboxError: fewer free addresses than nodes.
    """

    def __init__(self, root: Path, count: int) -> None:
        self._rules_file = root / FIREWALL_NAME
        self._reservations: list[socket.socket] = []
        found: list[str] = []
        for address in _candidates():
            if len(found) == count:
                break
            if (reservation := _reserve(address)) is None:
                continue
            self._reservations.append(reservation)
            found.append(address)
        self.addresses = tuple(found)
        if len(found) < count:
            self.close()
            raise SandboxError(
                f"{count} loopback addresses with free ports {MYSQL_PORT} and {SSH_PORT} are not to be had",
                hint=f"a server that listens on all addresses (0.0.0.0:{MYSQL_PORT}) takes them all",
            )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The reservations."""
        return tuple(reservation.fileno() for reservation in self._reservations)

    @property
    def worker_prefix(self) -> tuple[str, ...]:
        """Nothing: the worker is a process like any other."""
        return ()

    @property
    def prefixes(self) -> tuple[tuple[str, ...], ...]:
        """Nothing: a node is a process like any other."""
        return ((),) * len(self.addresses)

    def block(self, index: int) -> None:
        """Drop what goes to or comes from the node's address on the loopback interface."""
        require_programs("iptables")
        known = self._rules()
        for rule in self._rules_for(index):
            if rule in known:
                continue
            # Written down first: a rule that was not added is easily not removed.
            with self._rules_file.open("a") as rules:
                rules.write(f"{rule}\n")
            shell.run(["iptables", "-w", "-A", *rule.split()], what="adding a packet filter rule", timeout=15)

    def unblock(self, index: int) -> None:
        """Take the node's rules back."""
        known = self._rules()
        for rule in self._rules_for(index):
            if rule in known:
                shell.run(
                    ["iptables", "-w", "-D", *rule.split()], what="removing a packet filter rule", timeout=15
                )
                known.remove(rule)
        self._rules_file.write_text("".join(f"{rule}\n" for rule in known))

    def close(self) -> None:
        """Let the addresses go."""
        for reservation in self._reservations:
            reservation.close()

    def _rules(self) -> list[str]:
        return self._rules_file.read_text().splitlines() if self._rules_file.exists() else []

    def _rules_for(self, index: int) -> Sequence[str]:
        address = self.addresses[index]
        return (f"INPUT -i lo -d {address} -j DROP", f"INPUT -i lo -s {address} -j DROP")


def require_programs(*names: str) -> None:
    """Check that networks can be changed here.

    Raises:
        SandboxError: not root, or a program is missing; the hint names the packages.
    """
    if os.geteuid() != 0:
        raise SandboxError("network faults need root")
    missing = [name for name in names if shutil.which(name, path=shell.SYSTEM_PATH) is None]
    if missing:
        raise SandboxError(
            f"not installed: {', '.join(missing)}",
            hint="apt-get install iproute2 iptables, or dnf install iproute iptables-nft",
        )


def _candidates() -> Iterator[str]:
    for third in range(8):
        for fourth in range(11, 250):
            yield f"127.0.{third}.{fourth}"


def _reserve(address: str) -> socket.socket | None:
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        reservation.bind(f"\0pfms-sandbox/{address}")
        for port in (MYSQL_PORT, SSH_PORT):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
    except OSError:
        reservation.close()
        return None
    return reservation

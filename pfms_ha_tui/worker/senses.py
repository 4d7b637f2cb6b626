"""How a monitor sees its nodes: :mod:`pfms_ha_tui.worker.network` for real, or what a test brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pfms_ha_tui.cluster.observation import NodeObservation, Says, ShellObservation
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, WitnessSettings
from pfms_ha_tui.worker.protocol import NodeDetails


class Prober(Protocol):
    """Asks one node over SQL, from a thread of its own, again and again."""

    write_probe: bool
    """Whether a writable node is also asked to write; may be switched at any time."""

    def start(self) -> None:
        """Begin; each observation is handed to the callback, in the prober's thread."""

    def kick(self) -> None:
        """Ask at once instead of at the next beat."""

    def stop(self, timeout: float) -> bool:
        """End, within about ``timeout`` seconds even if the node hangs; whether it ended in time."""


class Shell(Protocol):
    """Commands on one host, and a look at others from there."""

    async def observe(self, pid_file: str | None, datadir: str | None) -> ShellObservation:
        """One look at the host; every failure is in the observation."""

    async def probe_through(self, host: str, port: int, timeout: float) -> tuple[Says, str]:
        """Whether the host gets a greeting from ``host:port``, and a few words about it."""

    async def close(self) -> None:
        """End the connection."""


class Senses(Protocol):
    """Everything a monitor needs of the world around it."""

    def prober(
        self, node: NodeSettings, cluster: ClusterSettings, on_observation: Callable[[NodeObservation], None]
    ) -> Prober:
        """A prober for the node, not yet started."""

    def shell(self, node: NodeSettings, cluster: ClusterSettings) -> Shell:
        """A shell on the node's host, not yet connected."""

    def witness_shell(self, witness: WitnessSettings, cluster: ClusterSettings) -> Shell:
        """A shell on a witness's host."""

    async def greets(self, witness: WitnessSettings, timeout: float) -> tuple[Says, str]:
        """Whether a TCP witness takes a connection."""

    async def details(self, node: NodeSettings, cluster: ClusterSettings) -> NodeDetails:
        """The node's raw answers, asked now.

        Raises:
            NodeError: the node cannot be asked.
        """

    async def missing_grants(self, node: NodeSettings, cluster: ClusterSettings) -> tuple[str, ...]:
        """Complaints about the account's privileges; empty when it may do all that operations need.

        Raises:
            NodeError: the node cannot be asked.
        """

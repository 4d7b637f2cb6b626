"""What a sandbox is made of: the choices of the one who starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pfms_ha_tui.errors import SandboxError

MYSQL_PORT = 3306
SSH_PORT = 2222
MAX_NODES = 100


class Flavor(StrEnum):
    """Which server runs on the nodes."""

    MARIADB = "mariadb"
    MYSQL = "mysql"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Every choice, with the demo's values as defaults.

    Raises:
        SandboxError: a value is out of range.
    """

    nodes: int = 2
    """How many; node1 starts as master, all others follow it."""
    flavor: Flavor = Flavor.MARIADB
    gtid: bool = False
    """GTID replication instead of the manual's file and position."""
    semi_sync: bool = False
    """Semi-synchronous replication, both roles enabled on every node."""
    rows: int = 20_000
    """Seed rows of ``tagente_datos``; the other tables get a share of it."""
    writer: bool = True
    """Keep the data alive as a Pandora server does."""
    writer_rate: float = 20.0
    """Sequenced rows a second."""
    boot_read_only: bool = True
    """Nodes start read-only and have to be opened, as a site with a failover manager wants it."""
    restart_after: float | None = None
    """Seconds after which a server that died is started again, as systemd does it; None: it stays dead."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further ``[mysqld]`` entries, on every node; they win over the sandbox's own."""
    node_variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Further ``[mysqld]`` entries by node label; they win over :attr:`variables`."""
    netns: bool = False
    """Each node, and the worker, in a network namespace of its own: partitions are possible. Needs root."""
    root: Path | None = None
    """Directory to use (absent or empty); by default a new one below the temporary directory."""
    ssh_between_nodes: bool = True
    """The nodes' ``ssh`` can log in to each other, as the manual asks; off to test what has to be relayed."""
    ssh_banner: str = ""
    """Sent before authentication."""
    ssh_motd: str = ""
    """Written to stdout before the output of every command, as a talkative shell profile does."""
    mode: str = "automatic"
    """Mode of the cluster in the generated config.toml."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise SandboxError(f"a sandbox has 1 to {MAX_NODES} nodes, not {self.nodes}")
        if self.rows < 0:
            raise SandboxError(f"the number of seed rows cannot be {self.rows}")
        if not 0 < self.writer_rate <= 10_000:
            raise SandboxError(f"the writer cannot write {self.writer_rate} rows a second")

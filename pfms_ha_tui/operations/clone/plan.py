"""What a clone is asked to do, and what its checks settled: the facts that every later step works from."""

from __future__ import annotations

import msgspec

from pfms_ha_tui.config.settings import CloneMethod, Compression, Transfer
from pfms_ha_tui.operations.clone.tools import Tool

_IN_WORDS = {
    CloneMethod.STREAM: "stream",
    CloneMethod.STAGED: "staged",
    CloneMethod.PLUGIN: "CLONE plugin",
    CloneMethod.SCRIPT: "site script",
}


def title_of(target: str, source: str, method: CloneMethod | None) -> str:
    """What a clone is called: who gets whose data, and how once that is named or settled."""
    how = f" ({_IN_WORDS[method]})" if method in _IN_WORDS else ""
    return f"resync of {target} from {source}{how}"


class CloneParams(msgspec.Struct, frozen=True, kw_only=True):
    """An order to rebuild ``target``. What is ``None`` is taken from the cluster's ``[clone]`` settings."""

    target: str
    """Label of the node that is rebuilt."""
    source: str
    """Label of the node whose data it gets: the master, or a healthy slave of it."""
    master: str
    """Label of the node that it follows afterwards."""
    method: CloneMethod | None = None
    transfer: Transfer | None = None
    compression: Compression | None = None
    bandwidth: int | None = None
    """Bytes per second; 0 = as fast as it goes, whatever the settings say."""
    threads: int | None = None
    give_up_old: bool = False
    """A person confirmed, a second time, that the old data may be removed *before* the copy, if there is no
    room for both. Where there is room it is kept all the same."""
    keep_old: bool = False
    """Nobody was asked: the old data stays beside the new for good, until a person removes it."""
    force_source: bool = False
    """A person named this source although it lags or does not replicate well."""


class ClonePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks settled. Journalled before the first change; paths are absolute and real."""

    token: str
    """Names the processes and temporary places of this clone on both hosts."""
    method: CloneMethod
    tool: Tool | None
    direct: bool
    """The bytes go from node to node; else through this host."""
    zstd: bool
    ciphers: str = ""
    """For ssh from node to node, in order of preference; empty leaves it to the hosts' own settings."""
    link_rate: int | None = None
    """Bytes per second from node to node, if it was measured."""
    bandwidth: int | None
    threads: int
    datadir: str
    """The target's."""
    inode: str
    """``device:inode`` of the target's datadir: its name while the server is stopped."""
    owner: str
    """The account that owns the target's datadir."""
    pid_file: str | None
    """The target's."""
    was_running: bool
    """Whether the target's server ran; if so it is started again when the clone is undone."""
    was_replicating: bool
    source_datadir: str
    source_tmpdir: str
    source_command: tuple[str, ...]
    """How the source's server was started."""
    target_command: tuple[str, ...]
    """How the target's server was started; empty when that is not known."""
    total: int
    """Bytes of the source's data files."""
    gtid: bool
    tls: bool
    staging: str
    give_up_old: bool = False
    """There is no room for both, and that was confirmed: the old data goes first."""

    @property
    def new(self) -> str:
        """The target's datadir to be, beside the old one."""
        return f"{self.datadir}.pfms-ha-new-{self.token}"

    @property
    def aside(self) -> str:
        """Where the target's old datadir waits until the new slave has proved itself."""
        return f"{self.datadir}.pfms-ha-old-{self.token}"

    @property
    def scratch(self) -> str:
        """The backup tool's own temporary directory on the source."""
        return f"{self.source_tmpdir}/pfms-ha-clone-{self.token}"

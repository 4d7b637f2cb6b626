"""The cluster at one instant: the newest observation of every node, and what follows from it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pfms_ha_tui.cluster.observation import (
    NodeObservation,
    Opinion,
    Replication,
    ServerFacts,
    ShellObservation,
)


class Role(StrEnum):
    """What a node is in the cluster, by what it does, not by what it is called."""

    MASTER = "MASTER"
    """Writable and nobody's slave."""
    SLAVE = "SLAVE"
    """Configured to follow another node."""
    NONE = "none"
    """Read-only and nobody's slave."""
    UNKNOWN = "unknown"


class SyncState(StrEnum):
    """The resync icon: green, blue, yellow, red."""

    OK = "ok"
    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How the node's resync stands."""

    state: SyncState = SyncState.OK
    percent: float | None = None
    """0 to 100 while running, when known."""
    reason: str | None = None
    untouched: bool = False
    """Failed only: nothing but a resync that failed or was cancelled speaks against the node, and its old
    data is in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One node at one instant."""

    label: str
    host: str
    port: int
    order: int
    """Place in the configured order, 0 first: breaks ties only."""
    role: Role
    """The present role while the node answers; else the last one seen since the worker started."""
    observation: NodeObservation | None = None
    """The newest probe, good or bad."""
    last_good: NodeObservation | None = None
    """The newest probe that answered with facts."""
    pandora_seen: NodeObservation | None = None
    """The newest probe that carried Pandora's facts."""
    shell: ShellObservation | None = None
    reach_since: float | None = None
    """Monotonic time since when the reach is what it is now."""
    disabled: bool = False
    """By the configuration or by ``tdatabase``."""
    sync: Sync = Sync()
    source: str | None = None
    """Label of the node that its (first) channel follows; ``None`` = nobody, or no node of the cluster."""
    bytes_behind: int | None = None
    """Bytes of the master's binary log not yet applied; ``None`` when not computable."""
    write_rate: float | None = None
    """Row-changing statements per second since the previous probe."""
    streaming_at_fault: bool | None = None
    """For a slave: whether it was receiving from the master when the master's fault began."""
    answered_at: float | None = None
    """Monotonic time of the newest probe that the server process answered, be it with an error."""
    standing_since: float | None = None
    """Monotonic time since when it answers with this role and this writability; ``None`` while it does
    not answer."""
    fault_since: float | None = None
    """Monotonic time of the first probe without an answer since then; ``None`` while it answers."""
    seen_at: float | None = None
    """Monotonic time of the newest sign of life for anybody: for us, for a second opinion, or for a
    slave that received more from it."""
    streamed_at: float | None = None
    """For a slave: monotonic time of the newest probe that saw it receive (IO thread Yes)."""
    stream_lost_at: float | None = None
    """For a slave: monotonic time of the first probe since then that did not; ``None`` while it does."""
    streamed_lag: int | None = None
    """For a slave: Seconds_Behind as of ``streamed_at`` (once the master is dead the server says NULL)."""
    restarted_readonly: bool = False
    """Seen writable, then restarted (its uptime fell), and read-only ever since."""

    @property
    def facts(self) -> ServerFacts | None:
        """Facts of the newest answering probe; may be stale, look at :meth:`age`."""
        return self.last_good.facts if self.last_good else None

    @property
    def replication(self) -> Replication | None:
        """The (first) channel it follows, or ``None``."""
        channels = self.facts.replication if self.facts else None
        return channels[0] if channels else None

    @property
    def answers(self) -> bool:
        """Whether the newest probe got an answer from the server process."""
        return self.observation is not None and self.observation.reach.answers

    @property
    def writable(self) -> bool | None:
        """Whether ordinary accounts can write, by the newest answering probe; ``None`` if unknown."""
        if self.facts is None or self.facts.read_only is None:
            return None
        return not self.facts.read_only

    def age(self, mono: float) -> float | None:
        """Seconds since the newest answering probe."""
        return None if self.last_good is None else max(0.0, mono - self.last_good.mono)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All nodes of one cluster at one instant."""

    cluster: str
    at: float
    mono: float
    nodes: tuple[NodeState, ...]
    opinions: tuple[Opinion, ...] = ()

    def node(self, label: str) -> NodeState | None:
        """The node of that label."""
        return next((node for node in self.nodes if node.label == label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Automatic actions are suspended until ``until`` (wall time)."""

    until: float
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFacts:
    """What the worker remembers beyond the snapshots: the other input of every decision."""

    epoch: int = 0
    epoch_master: str | None = None
    """Label of the node of the newest epoch."""
    roles_known: bool = False
    """Seen healthy since the worker started, or the journal's last epoch confirmed, or named by a person."""
    master: str | None = None
    """The master by those known roles, also while it is dead."""
    maintenance: Maintenance | None = None
    last_failover_at: float | None = None
    """Wall time of the last failover that is neither acknowledged nor undone."""
    operation: str | None = None
    """One sentence naming the operation that is running."""
    roles_moved_at: float | None = None
    """Monotonic time at which an operation of ours was last seen to move roles; ``None`` once that is over:
    whom a node was seen to follow before is no news."""
    failed_resync: tuple[str, ...] = ()
    """Labels excluded from every candidate list until they are resynced."""
    diverged: Mapping[str, str] = field(default_factory=dict)
    """label → what it holds that the master does not, one sentence; excluded until it is resynced."""
    auto_resyncs: Mapping[str, int] = field(default_factory=dict)
    """label → how many times it was resynced by a decision of the worker's own within the last day."""
    auto_merges: Mapping[str, int] = field(default_factory=dict)
    """label → how many times its rows were to be merged by a decision of the worker's own within a day."""
    to_resync: Mapping[str, str] = field(default_factory=dict)
    """label → why the worker may replace its data without being asked: all of it is saved elsewhere."""
    rival_manager: str | None = None
    """One sentence when a ``pandora_ha`` is running on this host."""
    ledger_fault: str | None = None
    """Why operations cannot be remembered, one clause; nothing is begun then, be it by a person's order."""
    preflight: tuple[str, ...] = ()
    """Complaints of the last preflight; empty = green."""
    preflight_at: float | None = None
    """Monotonic time of the last preflight; ``None`` = none yet."""

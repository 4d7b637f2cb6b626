"""What is known at the moment of painting: the one argument of every pane."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.cluster.snapshot import NodeState
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.protocol import ClusterState, Welcome

LAG_WINDOW = 600.0
"""Seconds of lag history that the graphs show."""

WORST_FIRST = (Severity.CRITICAL, Severity.UNKNOWN, Severity.WARNING, Severity.INFO, Severity.OK)
"""Order of the clusters' tabs: not knowing is worse than a warning."""


class Clock:
    """The two clocks of this host. A test replaces it to hold time still."""

    def mono(self) -> float:
        """``CLOCK_MONOTONIC``, seconds: shared with the worker, the only one that ages come from."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970: only for showing a time of day."""
        return time.time()


class Phase(StrEnum):
    """How the connection to the worker stands."""

    CONNECTING = "connecting"
    """Nothing was heard yet."""
    STARTING = "starting"
    """No worker ran; one is being started."""
    UP = "up"
    LOST = "lost"
    """It was there and is not; being tried again."""
    FAILED = "failed"
    """It was never reached; being tried again."""


@dataclass(slots=True)
class Board:
    """Everything the worker told. Written by the link only, read by everyone."""

    phase: Phase = Phase.CONNECTING
    problem: WorkerError | None = None
    """Why there is no connection."""
    welcome: Welcome | None = None
    """Of the present connection, or of the last one."""
    clusters: dict[str, ClusterState] = field(default_factory=dict)
    events: dict[str, tuple[Event, ...]] = field(default_factory=dict)
    """cluster → events, newest first."""
    complete: set[str] = field(default_factory=set)
    """Clusters whose oldest event is in :attr:`events`."""
    lags: dict[tuple[str, str], list[LagSample]] = field(default_factory=dict)
    """(cluster, node) → samples of the last :data:`LAG_WINDOW`, oldest first."""

    def worst_first(self) -> list[ClusterState]:
        """The clusters in the order of their tabs."""
        return sorted(
            self.clusters.values(),
            key=lambda state: (WORST_FIRST.index(state.diagnosis.severity), state.name),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """One cluster of the board at one instant."""

    board: Board
    state: ClusterState | None
    mono: float
    wall: float
    read_only: bool = False
    """By the command line; the worker may also grant this account reading only."""

    @property
    def live(self) -> bool:
        """Whether the worker is connected."""
        return self.board.phase is Phase.UP

    @property
    def data_age(self) -> float | None:
        """Seconds since the newest snapshot of the cluster was made."""
        return None if self.state is None else max(0.0, self.mono - self.state.snapshot.mono)

    @property
    def stale(self) -> bool:
        """Whether what is shown may no longer be true: no worker, or one that says nothing new."""
        age = self.data_age
        if age is None or self.state is None:
            return False
        return not self.live or age > max(self.stale_after, 3 * self.state.interval)

    @property
    def stale_after(self) -> float:
        """Seconds after which an observation no longer says how a node is."""
        policy = self.state.policy if self.state else None
        return policy.stale_after if policy else 5.0

    def node_age(self, node: NodeState) -> float | None:
        """Seconds since the node last answered with facts; ``None`` = never."""
        return node.age(self.mono)

    def node_stale(self, node: NodeState) -> bool:
        """Whether the facts of this node are too old to be taken for the present."""
        age = node.age(self.mono)
        interval = self.state.interval if self.state else 1.0
        return age is None or age > max(self.stale_after, 3 * interval)

    @property
    def day(self) -> int:
        """The local day, as an ordinal: events of another one are shown with their date."""
        return datetime.fromtimestamp(self.wall).toordinal()

    @property
    def events(self) -> tuple[Event, ...]:
        """The cluster's events, newest first."""
        return self.board.events.get(self.state.name, ()) if self.state else ()

    def lag(self, node: str) -> Sequence[LagSample]:
        """The lag history of one node, oldest first."""
        return self.board.lags.get((self.state.name, node), ()) if self.state else ()

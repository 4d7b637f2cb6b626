"""What the worker answers at its socket about what it watches. Operations add their own methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import (
    ClusterState,
    EventsQuery,
    LagQuery,
    NodeDetails,
    NodeQuery,
    Nothing,
    Rights,
)
from pfms_ha_tui.worker.senses import Senses
from pfms_ha_tui.worker.server import Methods


class Answers:
    """Looks things up for consoles and the command line; ``stop`` is all that changes something."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        senses: Senses,
        *,
        states: Callable[[], Mapping[str, ClusterState]],
        stop: Callable[[str], None],
    ):
        self._settings = settings
        self._journal = journal
        self._senses = senses
        self._states = states
        self._stop = stop

    def offer(self, methods: Methods) -> None:
        """Add the methods."""
        methods.add("state", Nothing, self._state, rights=Rights.READ)
        methods.add("events", EventsQuery, self._events, rights=Rights.READ)
        methods.add("lag", LagQuery, self._lag, rights=Rights.READ)
        methods.add("node", NodeQuery, self._node, rights=Rights.READ)
        methods.add("stop", Nothing, self._stopped, rights=Rights.FULL)

    async def _state(self, _peer: Peer, _params: Nothing) -> list[ClusterState]:
        return list(self._states().values())

    async def _events(self, _peer: Peer, query: EventsQuery) -> list[Event]:
        return await self._journal.events(query)

    async def _lag(self, _peer: Peer, query: LagQuery) -> list[LagSample]:
        return await self._journal.lag(query)

    async def _node(self, _peer: Peer, query: NodeQuery) -> NodeDetails:
        cluster = self._settings.cluster(query.cluster)
        if cluster is None:
            names = ", ".join(one.name for one in self._settings.clusters)
            raise WorkerError(
                f"there is no cluster {query.cluster!r}", code="params", hint=f"the worker watches {names}"
            )
        node = cluster.node(query.node)
        if node is None:
            labels = ", ".join(one.label for one in cluster.nodes)
            raise WorkerError(
                f"there is no node {query.node!r} in {cluster.name}", code="params", hint=f"it has {labels}"
            )
        return await self._senses.details(node, cluster)

    async def _stopped(self, peer: Peer, _params: Nothing) -> Nothing:
        self._stop(f"{peer.actor} asked for it")
        return Nothing()

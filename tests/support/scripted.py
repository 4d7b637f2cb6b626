"""A worker that says what a test tells it to: the real socket, protocol and rights, no nodes behind it.

For the tests of whatever talks to a worker. It serves every method of the protocol, from the lists a
test fills; more methods can be added to :attr:`ScriptedWorker.methods` before it starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.peer import Access, Peer, SocketOption, identify
from pfms_ha_tui.worker.protocol import (
    PROTOCOL_VERSION,
    ClusterState,
    EventsQuery,
    LagQuery,
    NodeDetails,
    NodeQuery,
    Nothing,
    Rights,
    Welcome,
)
from pfms_ha_tui.worker.server import Methods, WorkerServer


class ScriptedWorker:
    """Use as ``async with ScriptedWorker(path) as worker``; then :meth:`publish` what consoles shall see."""

    def __init__(self, path: Path, *, rights: Rights = Rights.FULL, version: str = "0.0.0"):
        self.path = path
        self.version = version
        self.rights = rights
        self.events: list[Event] = []
        """Oldest first."""
        self.lag: dict[tuple[str, str], list[LagSample]] = {}
        """(cluster, node) → samples, oldest first."""
        self.details: dict[tuple[str, str], NodeDetails] = {}
        """(cluster, node) → what ``node`` answers."""
        self.stop_asked_by: list[str] = []
        """Who called ``stop``."""
        self.methods = Methods()
        self.methods.add("state", Nothing, self._state, rights=Rights.READ)
        self.methods.add("events", EventsQuery, self._events, rights=Rights.READ)
        self.methods.add("lag", LagQuery, self._lag, rights=Rights.READ)
        self.methods.add("node", NodeQuery, self._node, rights=Rights.READ)
        self.methods.add("stop", Nothing, self._stop, rights=Rights.FULL)
        self.server = WorkerServer(
            path,
            access=Access(uid=os.geteuid()),
            welcome=self._hello,
            methods=self.methods,
            identify=self._identify,
        )

    async def __aenter__(self) -> ScriptedWorker:
        await self.server.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.close()

    def publish(self, state: ClusterState) -> None:
        """The newest state of its cluster."""
        self.server.publish(state)

    def happen(self, events: Iterable[Event]) -> None:
        """New lines of the timeline, oldest first."""
        news = tuple(events)
        self.events.extend(news)
        self.server.publish_events(news)

    def _identify(self, option: SocketOption, access: Access) -> Peer | None:
        peer = identify(option, access)
        return None if peer is None else replace(peer, rights=self.rights)

    def _hello(self, peer: Peer) -> Welcome:
        return Welcome(
            protocol=PROTOCOL_VERSION,
            version=self.version,
            pid=os.getpid(),
            started_at=time.time(),
            actor=peer.actor,
            rights=peer.rights,
            clusters=tuple(state.name for state in self.server.states),
            config="config.toml",
            log_file="worker.log",
        )

    async def _state(self, _peer: Peer, _params: Nothing) -> list[ClusterState]:
        return list(self.server.states)

    async def _events(self, _peer: Peer, query: EventsQuery) -> list[Event]:
        return [event for event in reversed(self.events) if query.matches(event)][: query.limit]

    async def _lag(self, _peer: Peer, query: LagQuery) -> list[LagSample]:
        return [
            sample for sample in self.lag.get((query.cluster, query.node), []) if sample.at >= query.since
        ]

    async def _node(self, _peer: Peer, query: NodeQuery) -> NodeDetails:
        try:
            return self.details[(query.cluster, query.node)]
        except KeyError:
            raise WorkerError(f"there is no node {query.node!r}", node=query.node, code="params") from None

    async def _stop(self, peer: Peer, _params: Nothing) -> Nothing:
        self.stop_asked_by.append(peer.actor)
        return Nothing()

"""The one connection of a console to the worker: fills the board, comes back when lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.console.scene import LAG_WINDOW, Board, Clock, Phase
from pfms_ha_tui.errors import PfmsError, WorkerError, name_config
from pfms_ha_tui.worker.client import (
    Connected,
    EventsUpdate,
    Goodbye,
    Lost,
    StateUpdate,
    Update,
    WorkerClient,
    follow,
)
from pfms_ha_tui.worker.protocol import ClusterState, EventsQuery, LagQuery, NodeDetails, NodeQuery

R = TypeVar("R")

EVENTS_AT_ONCE = 500
"""Events asked for at a time."""
EVENTS_MOST = 20_000
"""Events kept in memory for one cluster; the oldest go first."""

Start = Callable[[], Awaitable[None]]
"""Starts a worker; raises :class:`PfmsError`."""


class Link:
    """Follows the worker for as long as the console lives.

    Args:
        socket: the worker's socket.
        board: what is filled with everything heard.
        changed: called after every change of the board, in the event loop.
        start: how to start a worker when none is running; ``None`` = leave that to people.
        clock: this host's clocks.
        config: the settings that were named, for the command that starts a worker.
    """

    def __init__(
        self,
        socket: Path,
        board: Board,
        changed: Callable[[], None],
        *,
        start: Start | None = None,
        clock: Clock | None = None,
        longest_delay: float = 2.0,
        config: Path | None = None,
    ):
        self.socket = socket
        self.board = board
        self.started = False
        """Whether this console started the worker."""
        self._changed = changed
        self._start = start
        self._clock = clock or Clock()
        self._longest_delay = longest_delay
        self._config = config
        self._client: WorkerClient | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._caught_up: set[str] = set()
        """Clusters whose past was asked for on this connection."""

    @property
    def busy(self) -> bool:
        """Whether the past is still being asked for."""
        return bool(self._asking)

    async def run(self) -> None:
        """Connect, listen, connect again; ends only by cancellation."""
        stream = follow(self.socket, client="console", longest_delay=self._longest_delay)
        try:
            async with aclosing(stream):
                async for heard in stream:
                    await self._take(heard)
                    self._changed()
        finally:
            for task in self._asking:
                task.cancel()

    async def ask(self, method: str, params: object, result: type[R], *, timeout: float = 30.0) -> R:
        """Ask the worker one thing.

        Raises:
            WorkerError: there is no connection, or the worker says no.
        """
        if self._client is None:
            raise WorkerError("the worker is not connected", code="lost")
        return await self._client.call(method, params, result, timeout=timeout)

    async def node_details(self, cluster: str, node: str) -> NodeDetails:
        """Everything about one node, asked of the server now."""
        return await self.ask("node", NodeQuery(cluster=cluster, node=node), NodeDetails)

    async def older_events(self, cluster: str) -> bool:
        """Fetch the events before the oldest one known; whether there were any."""
        known = self.board.events.get(cluster, ())
        if cluster in self.board.complete or not known:
            return False
        query = EventsQuery(cluster=cluster, limit=EVENTS_AT_ONCE, before_id=known[-1].id)
        older = await self.ask("events", query, list[Event])
        if len(older) < EVENTS_AT_ONCE:
            self.board.complete.add(cluster)
        self._add_events(older)
        self._changed()
        return bool(older)

    async def _take(self, heard: Connected | Update | Lost) -> None:
        board = self.board
        match heard:
            case Connected(client=client):
                self._client = client
                board.phase, board.problem, board.welcome = Phase.UP, None, client.welcome
                self._caught_up.clear()
                for name in set(board.clusters) - set(client.welcome.clusters):
                    del board.clusters[name]
            case StateUpdate(state=state):
                board.clusters[state.name] = state
                self._remember_lag(state)
                if state.name not in self._caught_up and self._client is not None:
                    self._caught_up.add(state.name)
                    self._in_background(self._catch_up(self._client, state))
            case EventsUpdate(events=events):
                self._add_events(events)
            case Goodbye():
                pass  # Lost follows and says that the worker was stopped
            case Lost(error=error):
                self._client = None
                await self._lost(error)

    async def _lost(self, error: WorkerError) -> None:
        board = self.board
        name_config(error, self._config)
        board.problem = error
        board.phase = Phase.LOST if board.welcome is not None else Phase.FAILED
        if self._start is None or error.code != "no_worker" or board.welcome is not None:
            return
        # Once: a worker that dies at once must not be started for ever.
        start, self._start = self._start, None
        board.phase = Phase.STARTING
        self._changed()
        try:
            await start()
            self.started = True
        except PfmsError as exc:
            board.phase = Phase.FAILED
            board.problem = WorkerError(f"no worker could be started: {exc.reason}", hint=exc.hint)

    def _in_background(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except WorkerError:
                return  # the connection went; the next one asks again
            self._changed()

        task = asyncio.get_running_loop().create_task(guarded())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _catch_up(self, client: WorkerClient, state: ClusterState) -> None:
        """The events of the past, and the lag history that was missed."""
        query = EventsQuery(cluster=state.name, limit=EVENTS_AT_ONCE)
        events = await client.call("events", query, list[Event])
        if len(events) < EVENTS_AT_ONCE:
            self.board.complete.add(state.name)
        self._add_events(events)
        since = self._clock.wall() - LAG_WINDOW
        for node in state.snapshot.nodes:
            asked = LagQuery(cluster=state.name, node=node.label, since=since)
            samples = await client.call("lag", asked, list[LagSample])
            self._merge_lag(state.name, node.label, samples)

    def _add_events(self, events: Iterable[Event]) -> None:
        by_cluster: dict[str, dict[int, Event]] = {}
        for event in events:
            by_cluster.setdefault(event.cluster, {})[event.id] = event
        for name, new in by_cluster.items():
            known = {event.id: event for event in self.board.events.get(name, ())}
            merged = sorted((known | new).values(), key=lambda event: event.id, reverse=True)
            self.board.events[name] = tuple(merged[:EVENTS_MOST])

    def _remember_lag(self, state: ClusterState) -> None:
        """Append what this state says; the window is trimmed a minute at a time."""
        oldest = self._clock.wall() - LAG_WINDOW
        for node in state.snapshot.nodes:
            seen, replication = node.last_good, node.replication
            if seen is None or replication is None:
                continue
            known = self.board.lags.setdefault((state.name, node.label), [])
            if known and known[-1].at >= seen.at:
                continue
            known.append(LagSample(at=seen.at, seconds=replication.seconds_behind, bytes=node.bytes_behind))
            if known[0].at < oldest - 60:
                known[:] = [sample for sample in known if sample.at >= oldest]

    def _merge_lag(self, cluster: str, node: str, samples: Iterable[LagSample]) -> None:
        known = self.board.lags.setdefault((cluster, node), [])
        by_time = {sample.at: sample for sample in (*samples, *known)}
        known[:] = [by_time[at] for at in sorted(by_time)]

"""The socket's methods that prepare a merge (see :mod:`.protocol_merge`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pfms_ha_tui.cluster.sides import known_master
from pfms_ha_tui.cluster.topology import writers
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.merge.control import Control, MergeProgress
from pfms_ha_tui.operations.merge.facts import Known
from pfms_ha_tui.operations.view import Progress
from pfms_ha_tui.worker.looks import Looks
from pfms_ha_tui.worker.merges import local_zone, read_moment
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.parting import apart_since
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import Rights
from pfms_ha_tui.worker.protocol_merge import Looked, MergeQuery, MomentQuery, MomentRead, Split, SplitQuery
from pfms_ha_tui.worker.server import Methods
from pfms_ha_tui.worker.splits import dry_run_of, histogram_of, split_of
from pfms_ha_tui.worker.threads import in_thread

T = TypeVar("T")

_MOST_TEXTS = 16


class MergeMethods:
    """Looks at both sides for whoever prepares a merge.

    Args:
        monitor_of: The monitor of a cluster by its name; raises when there is none.
    """

    def __init__(self, monitor_of: Callable[[str], ClusterMonitor]) -> None:
        self._monitor_of = monitor_of
        self._looks = Looks()

    def offer(self, methods: Methods) -> None:
        """Add the methods. All but the first load both nodes: they need full rights."""
        methods.add("merge_moments", MomentQuery, self._moments, rights=Rights.READ)
        methods.add("merge_split", SplitQuery, self._split, rights=Rights.FULL)
        methods.add("merge_histogram", MergeQuery, self._histogram, rights=Rights.FULL)
        methods.add("merge_dry_run", MergeQuery, self._dry_run, rights=Rights.FULL)

    async def _moments(self, _peer: Peer, query: MomentQuery) -> list[MomentRead]:
        def read() -> list[MomentRead]:
            zone = local_zone()
            return [read_moment(text[:100], zone) for text in query.texts[:_MOST_TEXTS]]

        return await in_thread(read, name="moments")

    async def _split(self, _peer: Peer, query: SplitQuery) -> Looked:
        monitor = self._monitor_of(query.cluster)
        cluster = monitor.cluster
        one, other = _sides(query, monitor)
        began = await apart_since(monitor.memory.journal, monitor.name, one, other)
        master = known_master(monitor.memory.facts())

        def look(control: Control) -> Split:
            return split_of(cluster, one, other, Known.of(cluster, master, began), control)

        return await self._asked(("split", query), look, lambda result: Looked(split=result))

    async def _histogram(self, _peer: Peer, query: MergeQuery) -> Looked:
        cluster, query = self._completed(query)
        return await self._asked(
            ("histogram", query),
            lambda control: histogram_of(cluster, query, control),
            lambda result: Looked(histogram=result),
        )

    async def _dry_run(self, _peer: Peer, query: MergeQuery) -> Looked:
        cluster, query = self._completed(query)
        return await self._asked(
            ("dry run", query),
            lambda control: dry_run_of(cluster, query, control),
            lambda result: Looked(dry_run=result),
        )

    def _completed(self, query: MergeQuery) -> tuple[ClusterSettings, MergeQuery]:
        """The cluster, and the query with the master in it if it named none."""
        monitor = self._monitor_of(query.cluster)
        master = monitor.state.diagnosis.master if monitor.state is not None else None
        return monitor.cluster, query if query.into is not None else replace(query, into=master)

    async def _asked(self, key: object, job: Callable[[Control], T], told: Callable[[T], Looked]) -> Looked:
        found = await self._looks.ask(key, job)
        if found is None:
            return Looked()
        if isinstance(found, MergeProgress):
            progress = Progress(done=found.done, total=found.total, unit="rows")
            return Looked(progress=progress, doing=found.table)
        return told(found)


def _sides(query: SplitQuery, monitor: ClusterMonitor) -> tuple[str, str]:
    """Which two nodes.

    Raises:
        OperationError: no node has been asked yet, or there is one only.
    """
    if query.one is not None and query.other is not None:
        return query.one, query.other
    if not monitor.history or monitor.state is None:
        raise OperationError("no node has been asked yet", hint="try again in a second")
    snapshot = monitor.history[-1]
    open_ones = [node.label for node in writers(snapshot, monitor.memory.policy)]
    facts = monitor.memory.facts()
    master = monitor.state.diagnosis.master or facts.master
    # Who stands apart comes first: another writable node, then one known to hold rows of its own.
    wanted = [*filter(None, (query.one, query.other)), *open_ones, *filter(None, (master,)), *facts.diverged]
    chosen = list(dict.fromkeys((*wanted, *(node.label for node in snapshot.nodes))))[:2]
    if len(chosen) < 2:
        raise OperationError("a merge needs two nodes", code="params")
    return chosen[0], chosen[1]

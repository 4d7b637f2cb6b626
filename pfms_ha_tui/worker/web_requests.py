"""Resyncs asked for in Pandora's web console ("Manage HA"): ``tdatabase.action`` 8, read with every probe.

A request stands in the table until a resync of its node ends (which takes it back), and is seen for a while
after that: so each is acted upon once, and again only after it was gone, or long after it was refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster.snapshot import Snapshot
from pfms_ha_tui.config.settings import ClusterSettings

ACTOR = "web console"
_AGAIN = 300.0
"""Seconds after which a request that was refused is looked at again."""


class WebRequests:
    """The requests of one cluster."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self._hosts = {node.host: node.label for node in cluster.nodes}
        self._honoured = cluster.pandora.honour_web_resync
        self._taken: set[str] = set()
        """Labels whose present request was acted upon."""
        self._refused: dict[str, tuple[str, float]] = {}
        """label → why, and the monotonic time from which on it is looked at again."""

    def fresh(self, snapshot: Snapshot, master: str | None) -> Sequence[str]:
        """Labels of nodes with a request that is to be acted upon now; the master's table counts."""
        node = snapshot.node(master) if master is not None else None
        seen = node.pandora_seen if node is not None and node.answers else None
        if not self._honoured or seen is None or seen.pandora is None:
            return ()
        asked = [label for host in seen.pandora.resync_requests if (label := self._hosts.get(host))]
        self._taken &= set(asked)
        self._refused = {label: why for label, why in self._refused.items() if label in asked}
        return [
            label
            for label in asked
            if label not in self._taken
            and (label not in self._refused or self._refused[label][1] <= snapshot.mono)
        ]

    def taken(self, label: str) -> None:
        """It was acted upon."""
        self._taken.add(label)
        self._refused.pop(label, None)

    def refused(self, label: str, why: str, mono: float) -> bool:
        """It cannot be done now; whether that is worth telling: not the same reason again."""
        before = self._refused.get(label)
        self._refused[label] = (why, mono + _AGAIN)
        return before is None or before[0] != why

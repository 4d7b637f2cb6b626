"""The snapshots a judgement looks back on: all of the last seconds, one a tick of what is older."""

from __future__ import annotations

from collections import deque

from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import Snapshot

DENSE = 15.0
"""Seconds in which every snapshot is kept: what a slave received is compared over these."""
_MOST_DENSE = 300


class History:
    """Oldest first, newest last; reaches back over every window of the policy.

    A judge takes a gap of several ticks for a time in which this process slept, so what is older is
    thinned out to one snapshot a tick, never further.
    """

    def __init__(self) -> None:
        self._dense: deque[Snapshot] = deque()
        self._sparse: deque[Snapshot] = deque()

    @property
    def newest(self) -> Snapshot | None:
        """The last one added."""
        return self._dense[-1] if self._dense else None

    def add(self, snapshot: Snapshot, policy: Policy) -> tuple[Snapshot, ...]:
        """Append ``snapshot`` and forget what no window needs any more; the whole history."""
        self._dense.append(snapshot)
        while self._dense[0].mono < snapshot.mono - DENSE or len(self._dense) > _MOST_DENSE:
            old = self._dense.popleft()
            if not self._sparse or old.mono - self._sparse[-1].mono >= policy.interval:
                self._sparse.append(old)
        reach = max(policy.isolation_hold + policy.stall_after, policy.resync_hold) + DENSE
        while self._sparse and self._sparse[0].mono < snapshot.mono - reach:
            self._sparse.popleft()
        return (*self._sparse, *self._dense)

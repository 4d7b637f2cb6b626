"""The seam between judging and acting: what a worker needs of whatever carries out its decisions.

The worker watches and judges without it. With it, every decision, every event and the socket's changing
methods go through one object::

    run_worker(settings, hands=make_hands)      # make_hands(worker) -> Hands
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.worker.server import Methods

if TYPE_CHECKING:
    from pfms_ha_tui.worker.monitor import ClusterMonitor


class Hands(Protocol):
    """All methods are called in the worker's event loop."""

    def offer(self, methods: Methods) -> None:
        """Add methods to the socket, before it listens."""

    async def start(self) -> None:
        """Before anything is watched: find what was interrupted, so that it blocks every decision."""

    def decided(self, monitor: ClusterMonitor, decision: Decision) -> None:
        """A judgement, at every tick and at once on news; the same decision comes again and again.

        Must return at once: acting is a task of its own, and is shown by ``monitor.memory.operation``.
        """

    def happened(self, event: Event) -> None:
        """A new line of the timeline; must return at once."""

    async def stop(self, timeout: float) -> None:
        """The worker ends: leave what is running so that the next worker can go on with it."""

"""Looks at the ledger's file in good times: what it cannot remember is not begun, so that must be known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

EVERY = 30.0
AGAIN = 2.0
"""Seconds between two looks while it is not in order: until then not even a second master is locked."""


class LedgerWatch:
    """Makes every cluster's readiness say so, and the timeline, when the ledger is damaged, full or away."""

    def __init__(self, ledger: Ledger, memories: Sequence[ClusterMemory], *, every: float = EVERY) -> None:
        self._ledger = ledger
        self._memories = memories
        self._every = every
        self._known: str | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._every if self._known is None else min(AGAIN, self._every))

    async def look(self) -> None:
        """Look once."""
        fault = await in_thread(self._ledger.fault, name="ledger")
        if fault == self._known:
            return
        self._known = fault
        for memory in self._memories:
            memory.ledger_fault = fault
        if fault is not None:
            log.error("%s", fault)
        self._memories[0].journal.add_event(
            cluster="",
            severity=Severity.CRITICAL if fault else Severity.INFO,
            kind="ledger_failing" if fault else "ledger_recovered",
            text=f"{fault}; nothing is begun that it could not remember"
            if fault
            else "the ledger is in order",
        )

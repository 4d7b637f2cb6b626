"""The hosts of the nodes, looked at through SSH: slowly in good times, at once on suspicion."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from pfms_ha_tui.cluster.observation import ServerFacts, ShellObservation, SshState
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.worker.senses import Senses, Shell

log = logging.getLogger(__name__)

BEAT = 5.0
"""Seconds between two looks at a host in good times."""
_AT_ONCE = 8
"""Hosts looked at at the same time in good times, so that a start with many nodes is no storm."""


class HostWatch:
    """One shell per node, and the newest look through each. Belongs to the worker's event loop."""

    def __init__(
        self,
        cluster: ClusterSettings,
        senses: Senses,
        *,
        facts_of: Callable[[str], ServerFacts | None],
        on_look: Callable[[ShellObservation | None, ShellObservation], None],
        now: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ):
        self.shells: Mapping[str, Shell] = {
            node.label: senses.shell(node, cluster) for node in cluster.nodes if node.ssh.enabled
        }
        """label → shell on its host. Nodes without SSH are missing."""
        self.seen: dict[str, ShellObservation] = {
            node.label: ShellObservation(label=node.label, at=now(), mono=mono(), state=SshState.OFF)
            for node in cluster.nodes
            if not node.ssh.enabled
        }
        """label → newest look."""
        self._facts_of = facts_of
        self._on_look = on_look
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Look at every host on a beat of its own, so that one that hangs delays no other."""
        async with asyncio.TaskGroup() as group:
            for label in self.shells:
                group.create_task(self._watch(label))

    async def look_at(self, label: str) -> None:
        """Look at a node's host now; shares a look that is under way."""
        if label not in self.shells:
            return
        look = self._looks.get(label)
        if look is None:
            look = asyncio.create_task(self._look(label), name=f"look at {label}")
            self._looks[label] = look
            look.add_done_callback(lambda _: self._looks.pop(label, None))
        await asyncio.shield(look)

    async def close(self) -> None:
        """End all looks and connections."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(
            *looks, *(shell.close() for shell in self.shells.values()), return_exceptions=True
        )

    async def _watch(self, label: str) -> None:
        while True:
            async with self._slots:
                await self.look_at(label)
            await asyncio.sleep(BEAT)

    async def _look(self, label: str) -> None:
        facts = self._facts_of(label)
        pid_file, datadir = (facts.pid_file, facts.datadir) if facts is not None else (None, None)
        try:
            seen = await self.shells[label].observe(pid_file, datadir)
        except Exception:
            log.exception("the look at the host of %s failed", label)
            return
        before, self.seen[label] = self.seen.get(label), seen
        self._on_look(before, seen)

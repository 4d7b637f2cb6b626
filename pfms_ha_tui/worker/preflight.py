"""The preflight: what a failover needs beyond the nodes themselves, checked in good times, every few minutes.

Privileges, SSH, clocks, the hosts file. A node that does not answer keeps its last result: a dead
master must not turn red the very check that its failover depends on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pfms_ha_tui.cluster.clocks import clock_skew
from pfms_ha_tui.cluster.observation import SshState
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.worker.memory import ClusterMemory, Preflight
from pfms_ha_tui.worker.senses import Senses
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

EVERY = 180.0
AGAIN_AFTER_RED = 20.0
_FIRST_WAIT = 0.25
_GRANTS_TIMEOUT = 20.0
_AT_ONCE = 4


class PreflightRounds:
    """Runs the preflight of one cluster again and again; the outcome goes into the cluster's memory."""

    def __init__(
        self,
        cluster: ClusterSettings,
        memory: ClusterMemory,
        senses: Senses,
        *,
        mono: Callable[[], float] = time.monotonic,
    ):
        self._cluster = cluster
        self._memory = memory
        self._senses = senses
        self._mono = mono
        self._by_node: dict[str, tuple[str, ...]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, history: Callable[[], Sequence[Snapshot]]) -> None:
        """For ever: a round whenever the last one is old, sooner after a red one.

        Args:
            history: The newest snapshots, oldest first.
        """
        while True:
            seen = history()
            if not seen or not _answered_once(seen[-1]):
                await asyncio.sleep(_FIRST_WAIT)
                continue
            await self.round(seen)
            await asyncio.sleep(AGAIN_AFTER_RED if self._memory.preflight.complaints else EVERY)

    async def round(self, history: Sequence[Snapshot]) -> None:
        """One preflight of everything that answers now."""
        seen = {node.label: node for node in history[-1].nodes if _answers(node)}
        nodes = [node for node in self._cluster.nodes if node.label in seen]
        grants = await asyncio.gather(*(self._grants(node) for node in nodes))
        for node, complaints in zip(nodes, grants, strict=True):
            state = seen[node.label]
            clock = self._clock_complaints(history, state)
            self._by_node[node.label] = (*complaints, *ssh_complaints(state), *clock)
        found = [line for node in self._cluster.nodes for line in self._by_node.get(node.label, ())]
        hosts_file = self._cluster.pandora.hosts_file
        if hosts_file is not None:
            fault = await in_thread(lambda: unwritable(hosts_file), name="preflight-hosts-file")
            found += [fault] if fault is not None else []
        before, self._memory.preflight = self._memory.preflight, Preflight(tuple(found), self._mono())
        if before.mono is None or before.complaints != tuple(found):
            log.info("preflight of %s: %s", self._cluster.name, "; ".join(found) or "all green")

    async def _grants(self, node: NodeSettings) -> tuple[str, ...]:
        async with self._slots:
            try:
                async with asyncio.timeout(_GRANTS_TIMEOUT):
                    return await self._senses.missing_grants(node, self._cluster)
            except TimeoutError:
                return (f"{node.label} did not tell the account's privileges in time",)
            except PfmsError as exc:
                return (f"{node.label} does not tell the account's privileges: {exc.reason}",)

    def _clock_complaints(self, history: Sequence[Snapshot], node: NodeState) -> Iterable[str]:
        skew = clock_skew(history, node, self._memory.policy)
        if skew is not None and abs(skew) > self._memory.policy.clock_tolerance:
            side = "ahead of" if skew > 0 else "behind"
            yield f"the clock of {node.label} is {abs(skew):.1f} s {side} this host's"


def ssh_complaints(node: NodeState) -> Iterable[str]:
    """What is wrong with SSH to the host of a node that answers."""
    if node.shell is not None and node.shell.state is SshState.DOWN:
        why = f": {node.shell.failure}" if node.shell.failure else ""
        yield f"SSH to {node.label} does not work{why}"


def unwritable(hosts_file: Path) -> str | None:
    """Why the hosts file could not be replaced, one sentence; ``None`` when it could.

    It is replaced by a rename, so it is its directory that has to be writable.
    """
    directory = hosts_file.parent
    if not directory.is_dir():
        return f"the directory of the hosts file {hosts_file} does not exist"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"the hosts file {hosts_file} cannot be replaced: its directory is not writable"
    if hosts_file.exists() and not hosts_file.is_file():
        return f"the hosts file {hosts_file} is not a file"
    return None


def _answered_once(snapshot: Snapshot) -> bool:
    """Whether every node was asked at least once, so that the first round does not miss half of them."""
    return any(map(_answers, snapshot.nodes)) and all(node.observation is not None for node in snapshot.nodes)


def _answers(node: NodeState) -> bool:
    return node.answers and node.facts is not None

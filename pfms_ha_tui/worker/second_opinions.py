"""Second opinions about a master that does not answer: asked only then, of everybody at once.

Asked are the master's own host (which process runs there), every other node's host (does the master
greet you?) and the configured witnesses (do you still see us?). The IO threads of the slaves testify
through their own observations. Nothing here touches a replication thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pfms_ha_tui.cluster.observation import Opinion, Says, Witness
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, WitnessSettings
from pfms_ha_tui.worker.senses import Senses, Shell

log = logging.getLogger(__name__)

AGAIN_AFTER = 1.0
"""Seconds between two questions to the same witness while the suspicion lasts."""
KEEP = 120.0
"""Opinions older than this are forgotten."""
_PATIENCE = 1.0
"""Seconds beyond the connect time-out after which an answer is not waited for."""


@dataclass(frozen=True, slots=True)
class _Question:
    kind: Witness
    by: str
    about: str


class SecondOpinions:
    """Asks on suspicion and keeps the answers of one cluster. Belongs to the worker's event loop."""

    def __init__(
        self,
        cluster: ClusterSettings,
        senses: Senses,
        shells: Mapping[str, Shell],
        *,
        on_opinion: Callable[[Opinion], None],
        look_at: Callable[[str], Awaitable[None]],
        now: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ):
        self._cluster = cluster
        self._senses = senses
        self._shells = shells
        self._on_opinion = on_opinion
        self._look_at = look_at
        self._now = now
        self._mono = mono
        self._timeout = cluster.timeouts.connect
        self._witness_shells: dict[str, Shell] = {}
        self._asked: dict[_Question, float] = {}
        self._running: dict[_Question, asyncio.Task[None]] = {}
        self._opinions: dict[_Question, Opinion] = {}

    def current(self) -> tuple[Opinion, ...]:
        """Everything heard lately, the newest of each witness."""
        oldest = self._mono() - KEEP
        self._opinions = {key: one for key, one in self._opinions.items() if one.mono >= oldest}
        return tuple(self._opinions.values())

    def ask(self, master: NodeSettings) -> None:
        """Ask everybody who is not being asked already and was not asked just now."""
        self._ask(Witness.PROCESS, master.label, master.label, lambda: self._look_at(master.label))
        for label, shell in self._shells.items():
            if label != master.label:
                self._ask(Witness.VIA_SSH, label, master.label, self._through(label, shell, master))
        for witness in self._cluster.witnesses:
            if witness.ssh:
                name = _name(witness)
                shell = self._witness_shell(name, witness)
                self._ask(
                    Witness.VIA_SSH, name, master.label, self._through(name, shell, master, witness=True)
                )
        self.ask_witnesses()

    def ask_witnesses(self) -> None:
        """Ask the TCP witnesses whether we are cut off; cheap enough to know it also in good times."""
        for witness in self._cluster.witnesses:
            if not witness.ssh:
                name = _name(witness)
                self._ask(Witness.WITNESS, name, "", self._greeting(name, witness))

    async def close(self) -> None:
        """Stop asking and end the connections to the witnesses."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(
            *(shell.close() for shell in self._witness_shells.values()), return_exceptions=True
        )

    def _ask(self, kind: Witness, by: str, about: str, question: Callable[[], Awaitable[None]]) -> None:
        key = _Question(kind, by, about)
        if key in self._running or self._mono() - self._asked.get(key, float("-inf")) < AGAIN_AFTER:
            return
        self._asked[key] = self._mono()
        self._running[key] = asyncio.create_task(self._answered(key, question))

    async def _answered(self, key: _Question, question: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._timeout + _PATIENCE + self._connect_time(key)):
                await question()
        except TimeoutError:
            self._heard(key, Says.SILENT, "gave no answer in time")
        except Exception:
            log.exception("asking %s about %s failed", key.by, key.about)
        finally:
            del self._running[key]

    def _connect_time(self, key: _Question) -> float:
        """A shell may have to connect first."""
        node = self._cluster.node(key.by)
        return node.ssh.connect_timeout if node is not None else self._cluster.nodes[0].ssh.connect_timeout

    def _through(
        self, by: str, shell: Shell, master: NodeSettings, *, witness: bool = False
    ) -> Callable[[], Awaitable[None]]:
        async def question() -> None:
            says, text = await shell.probe_through(master.host, master.port, self._timeout)
            self._heard(_Question(Witness.VIA_SSH, by, master.label), says, text)
            if witness:
                reached = Says.LOST if says is Says.SILENT else Says.SEES
                self._heard(_Question(Witness.WITNESS, by, ""), reached, text if says is Says.SILENT else "")

        return question

    def _greeting(self, name: str, witness: WitnessSettings) -> Callable[[], Awaitable[None]]:
        async def question() -> None:
            says, text = await self._senses.greets(witness, self._timeout)
            self._heard(_Question(Witness.WITNESS, name, ""), says, text)

        return question

    def _witness_shell(self, name: str, witness: WitnessSettings) -> Shell:
        if name not in self._witness_shells:
            self._witness_shells[name] = self._senses.witness_shell(witness, self._cluster)
        return self._witness_shells[name]

    def _heard(self, key: _Question, says: Says, text: str) -> None:
        if key.kind is Witness.PROCESS:
            return  # the look itself is an observation of the node's host
        opinion = Opinion(
            kind=key.kind, by=key.by, about=key.about, says=says, text=text, at=self._now(), mono=self._mono()
        )
        self._opinions[key] = opinion
        self._on_opinion(opinion)


def _name(witness: WitnessSettings) -> str:
    return f"{witness.host}:{witness.port}"

"""One cluster, watched: observations → snapshot → diagnosis → decision → published state and events.

Probers run in threads of their own and hand their observations over; everything else happens in the
worker's event loop. The cluster is judged anew at every tick, and at once when an observation tells
something new or a second opinion arrives.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from pfms_ha_tui.cluster.assemble import NodeSpec, assemble
from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.observation import (
    NodeObservation,
    Opinion,
    Reach,
    ServerFacts,
    ShellObservation,
)
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.refusals import refusals
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot
from pfms_ha_tui.cluster.topology import slaves_of
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.chronicle import Chronicle
from pfms_ha_tui.worker.history import History
from pfms_ha_tui.worker.hosts import HostWatch
from pfms_ha_tui.worker.judging import Judge, Judgement, judge
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.news import lag_sample, tells_more
from pfms_ha_tui.worker.preflight import PreflightRounds
from pfms_ha_tui.worker.protocol import ClusterState
from pfms_ha_tui.worker.second_opinions import SecondOpinions
from pfms_ha_tui.worker.senses import Prober, Senses
from pfms_ha_tui.worker.store import Epoch
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

WITNESS_BEAT = 10.0
_COALESCE, _COALESCE_MOST = 0.002, 0.5
"""Seconds in which news that arrive together are judged together: at least, and at most. In between, as
long as the last judgement took, so that with many nodes judging never fills the loop."""
_QUICK_FOR = 2.0
_QUICK_BEAT = 0.1
"""For the first seconds of a suspicion the slaves are asked this often: the verdict waits for them."""
_QUICK_SLAVES = 10
_ADOPT_AGAIN = 10.0
_AFTER_FAULT = 1.0
_SETTLE_WITHIN = 3.0
"""Seconds after a change of roles of our own until a node that was not asked again counts as it is."""

_NUMBERS = re.compile(r"\d+(\.\d+)?")

OnDecision = Callable[["ClusterMonitor", Decision], None]
"""Called in the event loop after each judgement; must return at once. Acting on it is its business."""


class ClusterMonitor:
    """Watches one cluster from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        cluster: ClusterSettings,
        memory: ClusterMemory,
        senses: Senses,
        *,
        publish: Callable[[ClusterState], None],
        on_decision: OnDecision | None = None,
        notes: Callable[[], tuple[str, ...]] = tuple,
        judge: Judge = judge,
        now: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ):
        self.cluster = cluster
        self.memory = memory
        self.state: ClusterState | None = None
        """The newest judgement; ``None`` before the first."""
        self.history: tuple[Snapshot, ...] = ()
        """What the newest judgement looked at, oldest first."""
        self.facts = memory.facts()
        """The facts of the newest judgement."""
        self.ticks = 0
        """Ticks so far: a sign of life for the watchdog."""
        self._senses = senses
        self._publish = publish
        self._on_decision = on_decision
        self._notes = notes
        self._judge = judge
        self._now = now
        self._mono = mono
        self._specs = [
            NodeSpec(label=one.label, host=one.host, port=one.port, order=one.order, disabled=one.disabled)
            for one in cluster.nodes
        ]
        self._probers: dict[str, Prober] = {}
        self.hosts = HostWatch(
            cluster, senses, facts_of=self._facts_of, on_look=self._looked, now=now, mono=mono
        )
        """The shells on the nodes' hosts, shared with operations."""
        self._opinions = SecondOpinions(
            cluster,
            senses,
            self.hosts.shells,
            on_opinion=self._opinion_heard,
            look_at=self.hosts.look_at,
            now=now,
            mono=mono,
        )
        self._preflight = PreflightRounds(cluster, memory, senses, mono=mono)
        self._seen: dict[str, NodeObservation] = {}
        self._records_unjudged: set[str] = set()
        self._history = History()
        self._chronicle = Chronicle()
        self._lag_written: dict[str, float] = {}
        self._said: tuple[object, ...] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._pursuit: asyncio.Task[None] | None = None
        self._suspect: str | None = None
        self._adoption: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._judging_fault: str | None = None
        self._changed_at: float | None = None
        """Monotonic time at which an operation of ours was last seen to change roles."""
        self._took = 0.0
        self._stopped = False

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.cluster.name

    def start(self) -> None:
        """Begin to watch; returns at once."""
        loop = asyncio.get_running_loop()

        def hand_over(seen: NodeObservation) -> None:
            try:
                loop.call_soon_threadsafe(self._observed, seen)
            except RuntimeError:
                log.debug("an observation of %s came after the end", seen.label)

        for node in self.cluster.nodes:
            prober = self._senses.prober(node, self.cluster, hand_over)
            self._probers[node.label] = prober
            prober.start()
        self._tasks = [
            asyncio.create_task(self._for_ever("ticks", self._ticking)),
            asyncio.create_task(self._for_ever("hosts", self.hosts.run)),
            asyncio.create_task(
                self._for_ever("preflight", lambda: self._preflight.run(lambda: self.history))
            ),
        ]

    async def stop(self, timeout: float) -> None:
        """Stop watching within about ``timeout`` seconds, whatever hangs."""
        self._stopped = True
        if self._soon is not None:
            self._soon.cancel()
        tasks = [task for task in (*self._tasks, self._pursuit, self._adoption) if task is not None]
        for task in tasks:
            task.cancel()
        stops = [
            asyncio.ensure_future(in_thread(partial(prober.stop, timeout), name=f"stop-{label}"))
            for label, prober in self._probers.items()
        ]
        closes = [asyncio.ensure_future(self._opinions.close()), asyncio.ensure_future(self.hosts.close())]
        waited = [*tasks, *stops, *closes]
        _, late = await asyncio.wait(waited, timeout=timeout)
        for one in late:
            one.cancel()

    def kick(self, labels: Sequence[str] | None = None) -> None:
        """Ask nodes at once (all of them without ``labels``)."""
        for label, prober in self._probers.items():
            if labels is None or label in labels:
                prober.kick()

    def judge_soon(self) -> None:
        """Judge within a moment; what arrives until then is judged with it."""
        if self._soon is None and not self._stopped:
            wait = min(max(_COALESCE, self._took), _COALESCE_MOST)
            self._soon = asyncio.get_running_loop().call_later(wait, self._judge_now)

    def _judge_now(self) -> None:
        self._soon = None
        self._evaluate(tick=False)

    def _observed(self, seen: NodeObservation) -> None:
        if self._stopped:
            return
        if seen.label in self._records_unjudged and seen.pandora is None:
            # only some probes bring the promotion record: the next one must not hide it from the judgement
            self._evaluate(tick=False)
        before = self._seen.get(seen.label)
        self._seen[seen.label] = seen
        if seen.pandora is not None:
            self._records_unjudged.add(seen.label)
        if before is None or self._pursuit is not None or tells_more(before, seen):
            self.judge_soon()

    def _opinion_heard(self, opinion: Opinion) -> None:
        if opinion.about:
            self.judge_soon()

    async def _for_ever(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Watching one thing must not end because of a fault of ours in another."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("%s of %s failed; they begin anew", what, self.name)
            await asyncio.sleep(_AFTER_FAULT)

    async def _ticking(self) -> None:
        interval = self.cluster.policy.interval
        due = self._mono()
        witnesses_due = due
        while True:
            if due >= witnesses_due:
                self._opinions.ask_witnesses()
                witnesses_due = due + WITNESS_BEAT
            self._evaluate(tick=True)
            self.ticks += 1
            due = max(due + interval, self._mono())
            await asyncio.sleep(due - self._mono())

    def _looked(self, before: ShellObservation | None, seen: ShellObservation) -> None:
        changed = before is None or (before.state, before.process) != (seen.state, seen.process)
        if changed or self._pursuit is not None:
            self.judge_soon()

    def _evaluate(self, *, tick: bool) -> None:
        """Judge the cluster as it is known now. A fault in judging is shown, and nothing is decided."""
        began = time.perf_counter()
        try:
            judgement, state = self._judged()
            self._allow_write_probe(judgement.facts)
            self._chase(judgement)
            self._publish(state)
            if tick:
                self._write_lag(state.snapshot)
            if self._settled(state.snapshot):
                self._tell(state)
                self._decided(judgement.decision)
            self._judging_fault = None
        except Exception as exc:
            self._judging_failed(exc)
        self._took = time.perf_counter() - began

    def _judged(self) -> tuple[Judgement, ClusterState]:
        self.memory.expire()
        policy = self.memory.policy
        snapshot = assemble(
            self._history.newest,
            cluster=self.name,
            at=self._now(),
            mono=self._mono(),
            nodes=self._specs,
            observations=self._seen,
            shells=self.hosts.seen,
            opinions=self._opinions.current(),
            syncs=self.memory.syncs,
        )
        self._records_unjudged.clear()
        self.history = self._history.add(snapshot, policy)
        moved = snapshot.mono if self.memory.changes_roles else self._changed_at
        facts = replace(self.memory.facts(), roles_moved_at=moved)
        judgement = self._judge(self.history, policy, facts)
        self.facts = judgement.facts
        found = self.memory.learn(judgement.facts)
        if found is not None and self._adoption is None:
            self._adoption = asyncio.create_task(self._adopt(found))
        self.state = ClusterState(
            name=self.name,
            mode=policy.mode,
            interval=policy.interval,
            snapshot=snapshot,
            diagnosis=judgement.diagnosis,
            readiness=judgement.readiness,
            roles_known=judgement.facts.roles_known,
            epoch=judgement.facts.epoch,
            maintenance=judgement.facts.maintenance,
            operation=self.memory.operation,
            rival_manager=judgement.facts.rival_manager,
            refusals=refusals(self.history, judgement.diagnosis, policy, judgement.facts),
            notes=self._notes(),
            policy=policy,
        )
        return judgement, self.state

    def _facts_of(self, label: str) -> ServerFacts | None:
        newest = self._history.newest
        node = newest.node(label) if newest is not None else None
        return node.facts if node is not None else None

    async def _adopt(self, epoch: Epoch) -> None:
        """Record a promotion that another worker made."""
        try:
            await self.memory.promoted(epoch)
        except WorkerError as exc:
            log.warning("%s", exc)
            await asyncio.sleep(_ADOPT_AGAIN)
        finally:
            self._adoption = None

    def _allow_write_probe(self, facts: JournalFacts) -> None:
        """Only the known master is ever asked to write: a returned old one must not take one row more."""
        quiet = self.memory.policy.mode is Mode.OBSERVE or facts.operation is not None
        for label, prober in self._probers.items():
            prober.write_probe = not quiet and facts.roles_known and facts.master == label

    def _chase(self, judgement: Judgement) -> None:
        """While the master does not answer, ask everybody else about it; its own prober needs no hurry."""
        label = judgement.facts.master or judgement.diagnosis.master
        seen = self._seen.get(label) if label is not None else None
        suspicious = (
            seen is not None and not seen.reach.answers and seen.reach not in (Reach.FAULT, Reach.UNKNOWN)
        )
        suspect = label if suspicious else None
        if suspect == self._suspect:
            return
        self._suspect = suspect
        if self._pursuit is not None:
            self._pursuit.cancel()
            self._pursuit = None
        node = self.cluster.node(suspect) if suspect is not None else None
        if node is not None:
            self._pursuit = asyncio.create_task(self._pursue(node), name=f"pursuit of {node.label}")

    async def _pursue(self, node: NodeSettings) -> None:
        began = self._mono()
        while True:
            self._opinions.ask(node)
            followers = self._followers(node.label)
            self.kick(followers)
            quick = self._mono() - began < _QUICK_FOR and len(followers) <= _QUICK_SLAVES
            await asyncio.sleep(_QUICK_BEAT if quick else min(1.0, self.cluster.policy.interval))

    def _followers(self, label: str) -> list[str]:
        newest = self._history.newest
        master = newest.node(label) if newest is not None else None
        if newest is None or master is None:
            return []
        return [slave.label for slave in slaves_of(newest, master)]

    def _settled(self, snapshot: Snapshot) -> bool:
        """Whether what is seen is the cluster as it is, not the middle of a change of roles of our own.

        Probes of before and after such a change, judged together, would look like two masters.
        """
        view = self.memory.operation
        if self.memory.changes_roles:
            self._changed_at = snapshot.mono
            return False
        if self._changed_at is None or view is None:
            return True
        late = snapshot.mono - self._changed_at > _SETTLE_WITHIN
        fresh = all(
            node.observation is None or node.observation.mono > self._changed_at for node in snapshot.nodes
        )
        if late or fresh:
            self._changed_at = None
        return late or fresh

    def _tell(self, state: ClusterState) -> None:
        for draft in self._chronicle.news(state):
            self.memory.journal.add_event(
                cluster=self.name,
                node=draft.node,
                severity=draft.severity,
                kind=draft.kind,
                text=draft.text,
                details=draft.details,
            )

    def _write_lag(self, snapshot: Snapshot) -> None:
        for node in snapshot.nodes:
            sample = lag_sample(node, snapshot)
            if sample is None or sample.at <= self._lag_written.get(node.label, float("-inf")):
                continue
            self._lag_written[node.label] = sample.at
            self.memory.journal.add_lag(self.name, node.label, sample)

    def _decided(self, decision: Decision) -> None:
        # Counts and ages change at every tick; the decision is the same one.
        said = (decision.action, decision.target, _NUMBERS.sub("#", decision.reason))
        if said != self._said:
            self._said = said
            log.info("%s: %s", self.name, decision.reason)
        if self._on_decision is not None and not self._stopped:
            self._on_decision(self, decision)

    def _judging_failed(self, exc: Exception) -> None:
        """The state that is published stays the last good one, and ages in plain sight."""
        fault = f"{type(exc).__name__}: {exc}"
        if fault == self._judging_fault:
            return
        self._judging_fault = fault
        log.error("judging %s failed", self.name, exc_info=exc)
        self.memory.journal.add_event(
            cluster=self.name,
            severity=Severity.UNKNOWN,
            kind="judging_failed",
            text="the worker cannot judge what it sees and decides nothing until it can; its log says more",
        )

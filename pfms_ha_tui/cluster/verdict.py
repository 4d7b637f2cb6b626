"""Is the master gone, hung or unreachable? The table of verdicts, and what is still awaited.

===========  ==========================================================================================
gone         refused ``connect_retries`` times at least ``retry_gap`` apart, and either every slave that
             was receiving lost it too, or its own host runs no database process
hung         no answer for ``unresponsive_after``, confirmed through a slave's host or by its own host
             (process frozen); needs SSH to its host since the fault began, where the process is killed
             first
unreachable  no sign of life for anybody for ``isolation_hold``, a slave or its host confirms it, and a
             configured witness answers us
===========  ==========================================================================================

One voice that sees it alive stands against each of them. Everything else is a suspicion, which is
shown with what it waits for, and never acted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import NodeObservation, ProcessState, Reach, Says, SshState, Witness
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.testimony import (
    OPINION_FRESH,
    Testimony,
    process_state,
    ssh_up,
    testimonies,
    witnesses,
)

_SLACK = 1e-6
"""Seconds: sums of clock readings are not exact."""
_SEEN_LATELY = 10.0
"""Seconds: a sign of life within the fault counts this long as "others reach it"."""
_SETTLING = 0.5
"""Seconds after the fault began in which signs of life may still be under way."""
_HOST_SETTLING = 2.0
"""Seconds for which SSH to the host of a hung master has to have worked."""
_SHELL_FRESH = 2 * OPINION_FRESH
"""Seconds: a look through SSH older than this says nothing about whether it still works."""


class Case(Enum):
    """What a silent master is judged to be."""

    GONE = auto()
    HUNG = auto()
    UNREACHABLE = auto()
    BY_SELF = auto()
    """Others still reach it: the fault lies between us and it."""
    OURS = auto()
    """A fault of our own: name, TLS, configuration."""
    SUSPECT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement about a master that does not answer us."""

    case: Case
    text: str
    evidence: tuple[str, ...]
    awaited: tuple[str, ...] = ()
    """What a complete verdict still needs, as clauses."""
    hint: str | None = None


def verdict(history: Sequence[Snapshot], master: NodeState, policy: Policy) -> Verdict:
    """Judges ``master``, whose newest probe is fresh and got no answer.

    Args:
        history: Snapshots, oldest first; a gap in it (this process was frozen) starts every silence anew.
        master: The node in the newest snapshot.
        policy: The thresholds.
    """
    seen = master.observation
    if seen is None or seen.reach.answers:
        raise ValueError(f"{master.label} has no unanswered probe to judge")
    return _Judge(history, master, seen, policy).judge()


def awake_since(history: Sequence[Snapshot], policy: Policy) -> float | None:
    """When the last gap in the history ended; ``None`` without a gap.

    A worker that was frozen, or a host that was suspended, looks at old answers when it wakes up: that
    silence is its own.
    """
    limit = max(3.0, 3 * policy.interval)
    woke = [later.mono for earlier, later in pairwise(history) if later.mono - earlier.mono > limit]
    return woke[-1] if woke else None


class _Judge:
    """One judgement; the steps share what was heard."""

    def __init__(
        self, history: Sequence[Snapshot], master: NodeState, seen: NodeObservation, policy: Policy
    ) -> None:
        self.history = history
        self.snapshot = history[-1]
        self.master = master
        self.seen = seen
        self.policy = policy
        self.name = master.label
        self.voices = testimonies(history, master, policy)
        self.witnesses = witnesses(self.snapshot)
        woke = awake_since(history, policy)
        self.woke = woke if woke is not None else float("-inf")

    def judge(self) -> Verdict:
        if self.seen.reach is Reach.FAULT:
            return self._of_our_own()
        sees = [
            voice for voice in self.voices if voice.says is Says.SEES and voice.kind is not Witness.PROCESS
        ]
        via_ssh_sees = [voice for voice in sees if voice.kind is Witness.VIA_SSH]
        process = process_state(self.master)
        if not via_ssh_sees and self._refusals_complete() and self._gone_confirmed(process):
            return self._gone(process)
        if sees or self._seen_lately():
            return self._by_self(sees)
        if self._hung_for_long() and self._hung_confirmed(process):
            return self._hung(process)
        if not self._missing_for_unreachable():
            return self._unreachable()
        return self._suspect(process)

    # gone

    def _refusals_complete(self) -> bool:
        if self.seen.reach is not Reach.REFUSED or self.master.reach_since is None:
            return False
        needed = max(1, self.policy.connect_retries)
        spread = self.seen.mono - self.master.reach_since
        return self.seen.attempts >= needed and spread >= self.policy.retry_gap * (needed - 1) - _SLACK

    def _gone_confirmed(self, process: ProcessState) -> bool:
        return process is ProcessState.NONE or self._slaves_lost_it()

    def _slaves_lost_it(self) -> bool:
        bound = [voice for voice in self.voices if voice.bound]
        return bool(bound) and all(voice.says is Says.LOST for voice in bound)

    def _gone(self, process: ProcessState) -> Verdict:
        clauses = ["it refuses connections"]
        clauses += [voice.text for voice in self.voices if voice.bound and voice.says is Says.LOST]
        if process is ProcessState.NONE:
            clauses.append("its host runs no database process")
        return Verdict(
            case=Case.GONE,
            text=f"{self.name} is dead: {words.labels(clauses)}.",
            evidence=self._evidence(),
        )

    # hung

    def _silence(self) -> float:
        """Seconds without an answer to us."""
        since = self.master.answered_at if self.master.answered_at is not None else self.master.fault_since
        return self.snapshot.mono - max(since if since is not None else self.snapshot.mono, self.woke)

    def _hung_for_long(self) -> bool:
        return self._silence() >= self.policy.unresponsive_after - _SLACK

    def _hung_confirmed(self, process: ProcessState) -> bool:
        if not self._host_answers():
            return False
        if process is ProcessState.FROZEN:
            return self.seen.reach in (Reach.HUNG, Reach.UNREACHABLE)
        return self.seen.reach is Reach.HUNG and bool(self._lost_through_hosts())

    def _host_answers(self) -> bool:
        """Whether SSH to its host has worked for a while, in looks that began within the fault.

        An older look tells nothing: a cut link hangs just like a hung server, and what stops the process
        would arrive when the link is back, at a server that was well all the time. Nor does the very first
        one: when a link is back, SSH may come through a moment before the server's answer.
        """
        since = self.master.fault_since
        if since is None or ssh_up(self.master, self.snapshot, _SHELL_FRESH) is not True:
            return False
        then = [snapshot.node(self.name) for snapshot in self.history]
        looks = [node.shell for node in then if node is not None and node.shell is not None]
        return any(
            look.state is SshState.UP
            and look.mono - (look.latency or 0.0) >= since - _SLACK
            and self.snapshot.mono - look.mono >= _HOST_SETTLING
            for look in looks
        )

    def _lost_through_hosts(self) -> list[Testimony]:
        return [voice for voice in self.voices if voice.kind is Witness.VIA_SSH and voice.says is Says.LOST]

    def _hung(self, process: ProcessState) -> Verdict:
        clauses = [f"no answer for more than {words.seconds(self.policy.unresponsive_after)}"]
        hosts = [voice.by for voice in self._lost_through_hosts()]
        if hosts:
            clauses.append(f"none through {_hosts(hosts)} either")
        if process is ProcessState.FROZEN:
            clauses.append("its process is frozen")
        return Verdict(
            case=Case.HUNG, text=f"{self.name} hangs: {words.labels(clauses)}.", evidence=self._evidence()
        )

    # unreachable

    def _silence_for_all(self) -> float:
        """Seconds without a sign of life for anybody."""
        seen = [moment for moment in (self.master.seen_at, self.master.answered_at) if moment is not None]
        since = max(seen, default=self.master.fault_since)
        return self.snapshot.mono - max(since if since is not None else self.snapshot.mono, self.woke)

    def _missing_for_unreachable(self) -> list[str]:
        missing: list[str] = []
        silence, hold = self._silence_for_all(), self.policy.isolation_hold
        if silence < hold - _SLACK:
            missing.append(f"{words.seconds(hold)} without a sign of life ({words.seconds(silence)} so far)")
        if not self._lost_elsewhere():
            missing.append("another node that cannot reach it either")
        missing += [f"{label}, whose connection to it is still open" for label in self._open_connections()]
        if (self.policy.witnesses or self.witnesses) and not self._witness_answers():
            missing.append("a witness that answers us: without one we may be cut off ourselves")
        return missing

    def _lost_elsewhere(self) -> bool:
        return any(
            voice.says is Says.LOST and voice.kind in (Witness.SLAVE_IO, Witness.VIA_SSH)
            for voice in self.voices
        )

    def _open_connections(self) -> list[str]:
        """Slaves that have not lost it and whose host has not tried either."""
        hosts = {voice.by for voice in self._lost_through_hosts()}
        return [
            voice.by
            for voice in self.voices
            if voice.bound and voice.says is not Says.LOST and voice.by not in hosts
        ]

    def _witness_answers(self) -> bool:
        return any(opinion.says is Says.SEES for opinion in self.witnesses)

    def _unreachable(self) -> Verdict:
        lost = [voice for voice in self.voices if voice.says is Says.LOST]
        slaves = [voice.by for voice in lost if voice.kind is Witness.SLAVE_IO]
        hosts = [voice.by for voice in lost if voice.kind is Witness.VIA_SSH]
        clauses = [f"no sign of life for more than {words.seconds(self.policy.isolation_hold)}"]
        if slaves:
            clauses.append(f"{words.labels(slaves)} lost it too")
        if hosts:
            clauses.append(f"none through {_hosts(hosts)} either")
        return Verdict(
            case=Case.UNREACHABLE,
            text=f"{self.name} is unreachable: {words.labels(clauses)}.",
            evidence=self._evidence(),
        )

    # neither

    def _seen_lately(self) -> bool:
        seen, begin = self.master.seen_at, self.master.fault_since
        if seen is None or begin is None:
            return False
        return seen > begin + _SETTLING and self.snapshot.mono - seen <= _SEEN_LATELY

    def _by_self(self, sees: Sequence[Testimony]) -> Verdict:
        others = words.labels([voice.text for voice in sees]) or f"{self.name} showed a sign of life just now"
        return Verdict(
            case=Case.BY_SELF,
            text=f"{self.name} does not answer us ({self._failure()}), but {others}.",
            evidence=self._evidence(),
            hint=f"Check the way from this host to {self.name}; its data still flows, so nothing is changed.",
        )

    def _of_our_own(self) -> Verdict:
        failure = self.seen.failure
        return Verdict(
            case=Case.OURS,
            text=f"{self.name} cannot be asked: {self._failure()}.",
            evidence=self._evidence(),
            hint=(failure.hint if failure is not None and failure.hint else None)
            or "This is a fault of this host or its settings; it says nothing about the server.",
        )

    def _suspect(self, process: ProcessState) -> Verdict:
        awaited: list[str] = []
        instead: list[str] = []
        if self.seen.reach is Reach.REFUSED:
            done, needed = self.seen.attempts, max(1, self.policy.connect_retries)
            state = f"{self.name} refused {min(done, needed)} of {words.plural(needed, 'connection')}"
            if not self._refusals_complete():
                awaited.append("the next attempt")
            if not self._gone_confirmed(process):
                awaited += self._unheard() or ["a second opinion, which nobody can give"]
        elif self._may_be_hung(process):
            silence, enough = words.seconds(self._silence()), words.seconds(self.policy.unresponsive_after)
            if self._hung_for_long():
                state = f"{self.name} has given no answer for {silence}"
                instead = self._missing_for_unreachable()
            else:
                state = f"{self.name} gives no answer: {silence} of {enough}"
            awaited += self._missing_for_hung(process)
        else:
            state = f"{self.name} does not answer ({self._failure()})"
            awaited += self._missing_for_unreachable()
        waiting = f"; waiting for {words.labels(awaited)}" if awaited else ""
        waiting += f"; or for {words.labels(instead)}" if instead else ""
        return Verdict(
            case=Case.SUSPECT,
            text=f"{state}{waiting}. Nothing is decided yet.",
            evidence=self._evidence(),
            awaited=(*awaited, *instead),
        )

    def _may_be_hung(self, process: ProcessState) -> bool:
        """Whether the shorter time may decide: its host could be asked, or has not been yet."""
        up, shell = ssh_up(self.master, self.snapshot, _SHELL_FRESH), self.master.shell
        if up is None and self.seen.reach is Reach.HUNG:
            # The first look within the fault is on its way.
            return shell is not None and shell.state is not SshState.OFF and not self._hung_for_long()
        return up is True and (self.seen.reach is Reach.HUNG or process is ProcessState.FROZEN)

    def _missing_for_hung(self, process: ProcessState) -> list[str]:
        missing = self._unheard()
        if self._hung_for_long() and not missing and not self._host_answers():
            missing.append(f"SSH to its host to work for {words.seconds(_HOST_SETTLING)}")
        heard = process is ProcessState.FROZEN or bool(self._lost_through_hosts())
        if not heard and not missing:
            missing.append("another node's host that gets no answer either")
        return missing

    def _unheard(self) -> list[str]:
        """Voices that could still confirm it, as what is waited for."""
        refused = self.seen.reach is Reach.REFUSED
        unheard: list[str] = []
        for voice in self.voices:
            if voice.kind is Witness.PROCESS and voice.mono is None and self.master.shell is not None:
                unheard.append("a look at its host")
            elif refused and voice.bound and voice.says is not Says.LOST:
                unheard.append(f"{voice.by} to lose it too")
            elif not refused and voice.kind is Witness.VIA_SSH and voice.mono is None:
                unheard.append(f"a look through {voice.by}'s host")
        return unheard

    # words

    def _failure(self) -> str:
        failure = self.seen.failure
        if failure is not None and failure.text:
            return words.quoted(failure.text).rstrip(".")
        return {
            Reach.REFUSED: "connection refused",
            Reach.HUNG: "it accepts connections but says nothing",
            Reach.UNREACHABLE: "no answer from its address",
        }.get(self.seen.reach, "no answer")

    def _evidence(self) -> tuple[str, ...]:
        refused = words.plural(self.seen.attempts, "connection")
        tries = f"; refused {refused}" if self.seen.reach is Reach.REFUSED else ""
        lines = [f"From here: {self._failure()}{tries}; silent for {words.seconds(self._silence())}."]
        lines += [words.sentence(voice.text) for voice in self.voices]
        lines += [
            words.sentence(f"Witness {opinion.by}: {opinion.says.value} ({words.quoted(opinion.text)})")
            for opinion in self.witnesses
        ]
        return tuple(lines)


def _hosts(names: Sequence[str]) -> str:
    return f"{names[0]}'s host" if len(names) == 1 else f"the hosts of {words.labels(names)}"

"""One judgement: the pure functions of ``cluster/`` in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster.decision import Decision, decide, learn
from pfms_ha_tui.cluster.diagnosis import Diagnosis
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.judge import diagnose
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is wrong, whether a failover would work, and what to do, all from the same facts."""

    diagnosis: Diagnosis
    readiness: Readiness
    decision: Decision
    facts: JournalFacts
    """The facts with what this judgement learnt about the roles."""


Judge = Callable[[Sequence[Snapshot], Policy, JournalFacts], Judgement]


def judge(history: Sequence[Snapshot], policy: Policy, facts: JournalFacts) -> Judgement:
    """The judgement of the newest snapshot.

    The roles are learnt from the diagnosis before anything is decided by them.
    """
    diagnosis = diagnose(history, policy, facts)
    learnt = learn(history[-1], diagnosis, facts, policy)
    if learnt != facts:
        diagnosis = diagnose(history, policy, learnt)
    ready = readiness(history, diagnosis, policy, learnt)
    decision = decide(history, diagnosis, ready, policy, learnt)
    return Judgement(diagnosis=diagnosis, readiness=ready, decision=decision, facts=learnt)

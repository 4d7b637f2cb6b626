"""When two nodes were last in step, by what the journal remembers.

The first verdict that something is wrong tells when it was noticed, which may be days later: nobody watched
while the worker was down. The samples of the lag tell until when somebody did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.protocol import EventsQuery, LagQuery

EVENTS_BACK = 5000
"""How many events back the last healthy verdict is looked for."""
_EXACT = 60.0
"""Seconds: looking again for less is not worth it."""
_FACT = "parted"
_VERDICTS = frozenset(kind.value for kind in DiagnosisKind)
_WELL = (Severity.OK, Severity.INFO)
"""Of findings that are over, or do no harm."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer that is kept.

    As time goes by the samples tell less; a window that began early enough must not look too late for that.
    """

    noticed: float
    since: float


@dataclass(frozen=True, slots=True)
class Parting:
    """Between which moments two nodes ceased to be in step, wall time."""

    healthy: float
    """The last verdict that all is well."""
    noticed: float
    """The first one after it that is not, or the worker began to look anew."""


def parting(events: Iterable[Event]) -> Parting | None:
    """What the timeline tells; ``None`` when all is well, or nobody knows when it was.

    Args:
        events: Newest first.
    """
    noticed: float | None = None
    for event in events:
        if event.kind == DiagnosisKind.HEALTHY:
            return Parting(event.at, noticed) if noticed is not None else None
        anew = noticed is not None and event.kind == "worker_started"
        if anew or (event.kind in _VERDICTS and event.severity not in _WELL):
            noticed = event.at
    return None


def last_in_step(between: Parting, samples: Sequence[LagSample]) -> float:
    """The newest moment at which the nodes were certainly in step: never later than they parted.

    Args:
        between: What the timeline tells.
        samples: Of the lag of one of them as the other's slave, oldest first; each tells of the stretch
            until the next one.
    """
    whole = [one for one, following in pairwise(samples) if following.at <= between.noticed]
    seen = (one.at - one.seconds for one in whole if one.seconds is not None)
    return max((between.healthy, *seen))


async def apart_since(journal: Journal, cluster: str, one: str, other: str) -> float | None:
    """Wall time at which two nodes were last in step; ``None`` when they are, or nobody knows.

    Args:
        journal: What is remembered.
        cluster: Its name.
        one: Label of a node.
        other: Label of another one.
    """
    between = parting(await journal.events(EventsQuery(cluster=cluster, limit=EVENTS_BACK)))
    if between is None:
        return None
    pair = "\0".join(sorted((one, other)))
    kept = journal.fact(cluster, _FACT, dict[str, _Found]) or {}
    found = kept.get(pair)
    since = await _since(journal, cluster, one, other, between)
    if found is not None and found.noticed == between.noticed and found.since >= since:
        return found.since
    journal.put_fact(cluster, _FACT, {**kept, pair: _Found(noticed=between.noticed, since=since)})
    return since


async def _since(journal: Journal, cluster: str, one: str, other: str, between: Parting) -> float:
    known, before = between.healthy, float("-inf")
    while known - before > _EXACT:
        # Of a long time only stretches are told: the nearer the beginning, the shorter they are.
        before = known
        for label in (one, other):
            samples = await journal.lag(LagQuery(cluster=cluster, node=label, since=before))
            known = max(known, last_in_step(between, samples))
    return known

"""Since when two sides are apart: never later than they were, also when nobody watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.parting import Parting, apart_since, last_in_step, parting

DAY = 86_400.0


def event(at: float, kind: str, severity: Severity = Severity.CRITICAL) -> Event:
    if kind == "Healthy":
        severity = Severity.OK
    return Event(
        id=int(at), at=at, cluster="c", node=None, severity=severity, kind=kind, text="", actor="worker"
    )


def lag(at: float, seconds: int | None = 0) -> LagSample:
    return LagSample(at=at, seconds=seconds, bytes=None)


SPLIT = [
    event(9, "SplitBrain"),
    event(8, "operation_done", Severity.INFO),
    event(7, "SlaveDown"),
    event(6, "Healthy"),
    event(5, "MasterDead"),
]


def test_they_parted_between_the_last_healthy_verdict_and_the_first_after_it() -> None:
    assert parting(SPLIT) == Parting(healthy=6, noticed=7)
    assert parting([event(10, "Healthy"), *SPLIT]) is None, "all is well"
    assert parting(SPLIT[:3]) is None, "nobody knows when it was last healthy"


def test_what_does_no_harm_or_is_over_is_no_parting() -> None:
    drift = [event(4, "ConfigDrift", Severity.INFO), event(3, "ClockSkew", Severity.OK), event(2, "Healthy")]
    assert parting(drift) is None
    assert parting([event(9, "SplitBrain"), *drift]) == Parting(healthy=2, noticed=9)


def test_what_a_worker_sees_that_began_anew_says_nothing_of_the_time_before() -> None:
    down = [event(9, "SplitBrain"), event(8, "worker_started", Severity.INFO), event(2, "Healthy")]
    assert parting(down) == Parting(healthy=2, noticed=8)


@pytest.mark.parametrize(
    ("samples", "since"),
    [
        ([], 2.0),
        ([lag(3), lag(4), lag(5)], 4.0),
        ([lag(4), lag(5, None), lag(6, None)], 4.0),
        ([lag(5, 2), lag(6, None)], 3.0),
        ([lag(5, 1000), lag(6, None)], 2.0),
        ([lag(3), lag(4), lag(8.5)], 3.0),
    ],
    ids=["nobody looked", "in step", "stopped", "behind", "far behind", "looked anew"],
)
def test_they_were_in_step_while_the_slave_was_seen_to_follow(samples: list[LagSample], since: float) -> None:
    assert last_in_step(Parting(healthy=2, noticed=8), samples) == since


async def test_while_the_worker_is_down_the_last_sample_counts_not_the_first_verdict_afterwards(
    tmp_path: Path,
) -> None:
    now = 100 * DAY
    later = 0.0
    journal = Journal(tmp_path / "journal.db", now=lambda: now + later)
    await journal.open()

    def told(at: float, kind: str, severity: Severity = Severity.WARNING, cluster: str = "c") -> None:
        journal.add_event(cluster=cluster, severity=severity, kind=kind, text="", at=at)

    told(60 * DAY, "Healthy", Severity.OK)
    stopped = 90 * DAY
    for minute in range(200):
        journal.add_lag("c", "node2", lag(stopped - 60 * (200 - minute)))
    for second in range(20):
        journal.add_lag("c", "node3", lag(now - 20 + second))
    told(now - 21, "worker_started", Severity.INFO, cluster="")
    told(now - 1, "SplitBrain")
    await journal.flush()
    since = await apart_since(journal, "c", "node1", "node2")
    assert since is not None
    assert stopped - 1800 <= since < stopped
    assert await apart_since(journal, "c", "node1", "node3") == 60 * DAY
    later = 5 * DAY
    assert await apart_since(journal, "c", "node2", "node1") == since, "and it is still known so well later"
    told(now, "Healthy", Severity.OK)
    assert await apart_since(journal, "c", "node1", "node2") is None
    await journal.close()

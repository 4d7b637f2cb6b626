"""The snapshots a judgement looks back on: far enough, without holes, and never without bound."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import Snapshot
from pfms_ha_tui.worker import history as module
from pfms_ha_tui.worker.history import History


def snapshot(mono: float) -> Snapshot:
    return Snapshot(cluster="c", at=mono, mono=mono, nodes=())


@pytest.mark.parametrize("interval", [0.2, 1.0, 5.0])
def test_it_reaches_back_over_every_window_and_no_further(interval: float) -> None:
    policy = Policy(interval=interval)
    history = History()
    kept: tuple[Snapshot, ...] = ()
    for number in range(int(300 / interval)):
        kept = history.add(snapshot(number * interval), policy)
    span = kept[-1].mono - kept[0].mono
    window = policy.isolation_hold + policy.stall_after
    assert window <= span <= window + 2 * module.DENSE + 2 * interval


@given(
    gaps=st.lists(st.floats(min_value=0.001, max_value=1.0), min_size=50, max_size=400),
    repeat=st.integers(min_value=1, max_value=8),
)
def test_ticks_and_bursts_leave_no_hole_a_judge_would_take_for_sleep(gaps: list[float], repeat: int) -> None:
    policy = Policy(interval=1.0)
    history, now = History(), 0.0
    kept: tuple[Snapshot, ...] = ()
    for gap in gaps * repeat:
        now += gap
        kept = history.add(snapshot(now), policy)
    assert all(later.mono - earlier.mono <= 2.0 * policy.interval for earlier, later in pairwise(kept))
    assert [one.mono for one in kept] == sorted(one.mono for one in kept)
    assert history.newest is kept[-1]


def test_a_storm_of_judgements_does_not_grow_it_without_bound() -> None:
    policy = Policy(interval=1.0)
    history = History()
    kept: tuple[Snapshot, ...] = ()
    for number in range(20_000):
        kept = history.add(snapshot(number * 0.002), policy)
    assert len(kept) < 500
    assert kept[-1].mono - kept[0].mono > 30.0

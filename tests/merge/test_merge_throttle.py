"""Batches that take about as long as they should, and pauses for slaves."""

from __future__ import annotations

import threading
import time

import pytest

from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import MergeCancelled, MergeError
from pfms_ha_tui.operations.merge.throttle import Pace, Throttle, no_slaves


def test_a_quick_server_gets_larger_batches_and_a_slow_one_smaller() -> None:
    throttle = Throttle(Pace(batch_time=0.5), no_slaves, Control(), lambda _: None)
    first = throttle.size
    throttle.took(first, 0.05)
    assert throttle.size == 2 * first
    throttle.took(throttle.size, 5.0)
    assert throttle.size == 2 * first // 10


def test_a_small_last_batch_teaches_nothing() -> None:
    throttle = Throttle(Pace(), no_slaves, Control(), lambda _: None)
    first = throttle.size
    throttle.took(3, 0.001)
    assert throttle.size == first


def test_a_rate_limit_is_kept() -> None:
    said: list[str | None] = []
    throttle = Throttle(Pace(max_rows_per_second=1000), no_slaves, Control(), said.append)
    assert throttle.size <= 500
    started = time.monotonic()
    for _ in range(4):
        throttle.took(100, 0.0)
    assert time.monotonic() - started >= 0.35
    assert "1000 rows a second" in str(said[0])
    assert said[-1] is None


def test_adding_pauses_until_the_slave_has_caught_up() -> None:
    lags = iter([40.0, 30.0, None, 2.0])
    said: list[str | None] = []
    throttle = Throttle(Pace(max_slave_lag=10), lambda: {"node3": next(lags)}, Control(), said.append)
    throttle.took(1, 0.1)
    assert said[0] == "node3 is 40 s behind (limit 10 s)"
    assert "does not say" in str(said[2])
    assert said[-1] is None


def test_a_slave_that_never_catches_up_stops_the_merge() -> None:
    pace = Pace(max_slave_lag=10, patience=0.1)
    throttle = Throttle(pace, lambda: {"node3": 99.0}, Control(), lambda _: None)
    with pytest.raises(MergeError) as caught:
        throttle.took(1, 0.1)
    assert caught.value.code == "slave_lag"


def test_cancelling_ends_a_pause() -> None:
    control = Control()
    throttle = Throttle(Pace(max_slave_lag=1), lambda: {"node3": 99.0}, control, lambda _: None)
    threading.Timer(0.1, control.cancel).start()
    with pytest.raises(MergeCancelled):
        throttle.took(1, 0.1)


def test_progress_is_told_now_and_then_and_always_when_it_matters() -> None:
    told: list[MergeProgress] = []
    control = Control(told.append, every=3600)
    for done in range(5):
        control.tell(MergeProgress(phase=Phase.APPLY, table="t", done=done, total=None))
    control.tell(MergeProgress(phase=Phase.APPLY, table="t", done=9, total=None), now=True)
    assert [one.done for one in told] == [0, 9]

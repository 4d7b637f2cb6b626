"""The waits between attempts of the worker's own."""

from __future__ import annotations

from pfms_ha_tui.cluster.decision import Action
from pfms_ha_tui.worker.retries import FIRST_RETRY, LONGEST_RETRY, Retries

KEY = (Action.REJOIN, "node2")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    clock = Clock()
    retries = Retries(clock)
    waits = [retries.failed(KEY) for _ in range(8)]
    assert waits[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert waits[-1] == LONGEST_RETRY


def test_an_action_waits_only_until_its_time_and_no_other_waits_with_it() -> None:
    clock = Clock()
    retries = Retries(clock)
    assert not retries.waits(KEY)
    retries.failed(KEY)
    assert retries.waits(KEY)
    assert not retries.waits((Action.REJOIN, "node3"))
    assert not retries.waits((Action.REOPEN, "node2"))
    clock.now = FIRST_RETRY
    assert not retries.waits(KEY)


def test_success_begins_anew() -> None:
    retries = Retries(Clock())
    retries.failed(KEY)
    retries.failed(KEY)
    retries.succeeded(KEY)
    assert not retries.waits(KEY)
    assert retries.failed(KEY) == FIRST_RETRY

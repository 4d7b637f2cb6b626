"""How a window is written, read, refused and proposed."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.operations.merge.window import (
    Bucket,
    GapError,
    Proposal,
    SplitTimes,
    Twice,
    TwiceError,
    Window,
    WindowError,
    bucket_seconds,
    differing,
    merge_buckets,
    presets,
    propose,
    read,
    show,
)

PARIS = ZoneInfo("Europe/Paris")
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Paris",
        "America/Sao_Paulo",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "UTC",
        "America/New_York",
    )
]


def test_a_local_time_is_read_as_the_moment_it_names() -> None:
    assert read("2026-07-01 12:00", PARIS) == 1782900000
    assert read("2026-07-01T12:00:00", PARIS) == 1782900000
    assert read("  2026-07-01   12:00:00 ", PARIS) == 1782900000
    assert read("2026-07-01", PARIS) == 1782900000 - 12 * 3600
    assert read("@1782900000", PARIS) == 1782900000


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01 00:00", "2026-02-30", "12:00", "@", "@-5", "@1e9"]
)
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WindowError) as caught:
        read(text, PARIS)
    assert caught.value.hint is not None


def test_a_local_time_that_the_clocks_leave_out_is_refused_and_the_new_time_told() -> None:
    with pytest.raises(GapError) as caught:
        read("2026-03-29 02:30:00", PARIS)
    assert "03:30:00" in str(caught.value.hint)


def test_a_local_time_that_comes_twice_is_asked_about() -> None:
    with pytest.raises(TwiceError) as caught:
        read("2026-10-25 02:30:00", PARIS)
    assert caught.value.second - caught.value.first == 3600
    assert read("2026-10-25 02:30:00", PARIS, Twice.FIRST) == caught.value.first
    assert read("2026-10-25 02:30:00", PARIS, Twice.SECOND) == caught.value.second
    assert "+02:00" in str(caught.value.hint)
    assert "+01:00" in str(caught.value.hint)


def test_answering_first_or_second_changes_nothing_about_a_time_that_comes_once() -> None:
    once = read("2026-07-01 12:00", PARIS)
    assert read("2026-07-01 12:00", PARIS, Twice.FIRST) == once
    assert read("2026-07-01 12:00", PARIS, Twice.SECOND) == once
    with pytest.raises(GapError):
        read("2026-03-29 02:30", PARIS, Twice.FIRST)


@given(moment=st.integers(min_value=0, max_value=4_000_000_000), zone=st.sampled_from(ZONES))
def test_every_moment_that_is_shown_is_read_back_as_itself(moment: int, zone: ZoneInfo) -> None:
    shown = show(moment, zone)
    assert read(shown.text, zone, shown.twice) == moment


def test_a_moment_is_shown_with_its_zone_and_offset() -> None:
    assert str(show(1782900000, PARIS)) == "2026-07-01 12:00:00 CEST (+02:00)"
    assert show(1782900000, ZoneInfo("America/New_York")).offset == "-04:00"


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(10, 20)
    assert [window.holds(moment) for moment in (9, 10, 19, 20)] == [False, True, True, False]
    assert Window(10, 10).empty


@pytest.mark.parametrize(("start", "end"), [(20, 10), (-1, 10), (0, 1 << 60)])
def test_an_impossible_window_is_refused(start: int, end: int) -> None:
    with pytest.raises(WindowError):
        Window(start, end)


def test_a_proposal_covers_journal_and_data_with_a_margin() -> None:
    proposal = propose(
        10_000.0,
        SplitTimes(began=1000.5, ended=5000.2),
        differing=Window(960, 5040),
        margin=100,
    )
    assert proposal is not None
    assert proposal.window == Window(860, 5140)
    assert proposal.certain


def test_while_the_losing_side_still_writes_the_window_reaches_up_to_now() -> None:
    proposal = propose(10_000.0, SplitTimes(began=1000.0), margin=0)
    assert proposal is not None
    assert proposal.window == Window(1000, 10_000)


def test_clocks_that_differ_widen_the_window_on_both_ends() -> None:
    proposal = propose(10_000.0, SplitTimes(began=1000.0, ended=2000.0), skew=-37.5, margin=0)
    assert proposal is not None
    assert proposal.window == Window(962, 2038)
    assert any("clocks differ" in reason for reason in proposal.reasons)


def test_without_a_journal_the_data_alone_propose_and_say_so() -> None:
    proposal = propose(10_000.0, SplitTimes(), differing=Window(600, 660), margin=0)
    assert proposal is not None
    assert proposal.window.start == 600
    assert not proposal.certain
    assert propose(10_000.0, SplitTimes()) is None


def test_the_split_is_the_first_preset_and_days_are_local_days() -> None:
    now = float(read("2026-03-30 10:00", PARIS))
    proposal = Proposal(window=Window(5, 6), reasons=(), certain=True)
    found = {preset.name: preset.window for preset in presets(now, PARIS, proposal)}
    assert next(iter(found)) == "split"
    assert found["yesterday"].seconds == 23 * 3600, "the clocks were put forward on that day"
    assert found["today"] == Window(read("2026-03-30", PARIS), int(now))
    assert "split" not in {preset.name for preset in presets(now, PARIS, None)}


def test_buckets_without_rows_are_there_too() -> None:
    buckets = merge_buckets(90, 60, 301, {60: 3}, {60: 3, 180: 1})
    assert [bucket.start for bucket in buckets] == [60, 120, 180, 240, 300]
    assert differing(buckets) == Window(180, 240)
    assert differing(buckets[:2]) is None


def test_a_long_window_gets_longer_buckets() -> None:
    assert bucket_seconds(Window(0, 3600)) == 60
    for days in (1, 30, 365, 5 * 365):
        window = Window(0, days * 86_400)
        assert window.seconds / bucket_seconds(window) <= 262
    assert Bucket(start=0, seconds=60, losing=1, master=1).differs is False

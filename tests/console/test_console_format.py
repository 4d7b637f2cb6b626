"""Numbers and moments as people read them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.console_story import WALL

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.console import format as fmt


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "—"), (0, "0 s"), (0.62, "0.6 s"), (0.01, "0.1 s"), (9.96, "10 s"), (41, "41 s"),
        (60, "1 min"),
        (252, "4 min 12 s"), (3600, "1 h"), (3660, "1 h 1 min"), (7199, "1 h 59 min"), (86400 * 12, "12 d"),
        (86400 * 2 + 3600, "2 d 1 h"), (-5, "-5 s"),
    ],
)  # fmt: skip
def test_a_span_has_two_units_at_most(seconds: float | None, words: str) -> None:
    assert fmt.span(seconds) == words


@given(st.floats(min_value=0, max_value=1e9))
def test_a_span_never_says_zero_for_something_and_never_sixty(seconds: float) -> None:
    words = fmt.span(seconds)
    assert (words == "0 s") == (seconds == 0)
    assert "60 s" not in words
    assert "60 min" not in words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"),
        (0, "now"),
        (1.9, "now"),
        (2, "2 s"),
        (4.9, "4 s"),
        (119, "1 min"),
        (7200, "2 h"),
        (86400 * 3, "3 d"),
    ],
)
def test_an_age_is_rounded_down_to_one_unit(seconds: float | None, words: str) -> None:
    assert fmt.age(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "—"), (0.0008, "0.8 ms"), (0.00001, "0.1 ms"), (0.0099, "9.9 ms"), (0.00999, "10 ms"),
     (0.012, "12 ms"),      (1.23, "1.2 s")],
)  # fmt: skip
def test_a_latency_has_two_digits(seconds: float | None, words: str) -> None:
    assert fmt.latency(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "—"), (0, "0 B"), (999, "999 B"), (1_245_184, "1.2 MB"), (18.3e9, "18.3 GB"), (312e9, "312 GB")],
)
def test_bytes_are_decimal(count: float | None, words: str) -> None:
    assert fmt.size(count) == words


def test_rates_say_of_what() -> None:
    assert fmt.rate(74e6) == "74.0 MB/s"
    assert fmt.rate(12_345, "rows") == "12,345 rows/s"
    assert fmt.rate(None) == "—"


def test_unknown_lag_is_never_zero() -> None:
    assert fmt.behind(None) == "?"
    assert fmt.behind(0) == "0 s"
    assert fmt.behind(47, 45_000_000) == "47 s · 45.0 MB"
    assert fmt.behind(None, 1000) == "? · 1.0 kB"


def test_a_position_loses_only_the_zeros_of_its_file() -> None:
    position = BinlogPosition("mysql-bin.000018", 1135140)
    assert fmt.position(position) == "mysql-bin.000018:1135140"
    assert fmt.position(position, short=True) == "mysql-bin.18:1135140"
    assert fmt.position(BinlogPosition("odd", 4), short=True) == "odd:4"
    assert fmt.position(None) == "—"


@given(st.floats(min_value=0, max_value=1e12), st.floats(min_value=1, max_value=1e12))
def test_a_share_is_a_hundred_only_when_all_is_done(done: float, total: float) -> None:
    done = min(done, total)
    assert (fmt.share(done, total) == "100 %") == (100.0 * done / total >= 100)


def test_a_share_of_nothing_known_is_unknown() -> None:
    assert fmt.share(None) == "?"
    assert fmt.share(3, None) == "?"
    assert fmt.share(3, 0) == "?"


def test_times_of_day_carry_their_zone() -> None:
    assert fmt.clock(WALL) == "10:32:59 CET"
    assert fmt.clock(WALL - 86400 * 120) == "11:32:59 CEST"
    assert fmt.full_moment(WALL) == "2025-11-28 10:32:59 CET"


def test_a_zone_without_a_name_is_an_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "<+03>-3")
    time.tzset()
    assert fmt.zone(WALL) == "UTC+03"


@pytest.mark.parametrize(
    ("ago", "words"),
    [(18, "10:32:41"), (86400, "27 Nov 10:32"), (86400 * 400, "24 Oct 2024")],
)
def test_a_moment_is_as_short_as_its_day_allows(ago: float, words: str) -> None:
    assert fmt.moment(WALL - ago, WALL) == words


def test_midnight_separates_days_by_the_local_clock() -> None:
    midnight = datetime(2025, 11, 28).timestamp()
    assert fmt.moment(midnight, WALL) == "00:00:00"
    assert fmt.moment(midnight - 1, WALL) == "27 Nov 23:59"


def test_plurals() -> None:
    assert fmt.plural(1, "node") == "1 node"
    assert fmt.plural(0, "node") == "0 nodes"


def test_numbers_have_their_thousands_apart() -> None:
    assert fmt.number(1234567) == "1,234,567"
    assert fmt.number(0.25) == "0.2"
    assert fmt.number(None) == "—"

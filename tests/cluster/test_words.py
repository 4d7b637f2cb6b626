"""The small pieces of every sentence."""

from __future__ import annotations

import pytest

from pfms_ha_tui.cluster import words


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 client sessions"), (1, "1 client session"), (2, "2 client sessions")],
)
def test_one_is_not_several(count: int, expected: str) -> None:
    assert words.plural(count, "client session") == expected
    assert words.plural(count, "event is", "events are") == f"{count} event{' is' if count == 1 else 's are'}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.34, "0.3 s"),
        (1.4, "1 s"),
        (119, "119 s"),
        (125, "2 min 5 s"),
        (600, "10 min"),
        (1234, "20 min"),
        (7300, "2 h 1 min"),
        (3600 * 24 * 12, "12 d"),
        (-5, "0 s"),
    ],
)
def test_spans_of_time(value: float, expected: str) -> None:
    assert words.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_210_000, "3.2 MB"),
        (5 * 10**9, "5.0 GB"),
        (2 * 10**12, "2.0 TB"),
    ],
)
def test_sizes(value: int, expected: str) -> None:
    assert words.size(value) == expected


def test_what_a_server_said_stays_one_bounded_line() -> None:
    assert words.quoted("a\n\x1b[31mb\tc  d") == "a [31mb c d"
    assert len(words.quoted("x" * 5000)) == 240


def test_lists_of_labels() -> None:
    assert words.labels([]) == ""
    assert words.labels(["a"]) == "a"
    assert words.labels(["a", "b", "c"]) == "a, b and c"

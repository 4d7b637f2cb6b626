"""Positions in binary logs: order and distance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.cluster.coordinates import BinlogPosition, bytes_between

SIZES = {"binlog.000001": 1000, "binlog.000002": 2000, "binlog.000003": 300, "binlog.000004": 50}


def test_the_millionth_file_follows_the_one_before_it() -> None:
    assert BinlogPosition("binlog.999999", 5000) < BinlogPosition("binlog.1000000", 4)
    assert bytes_between(
        BinlogPosition("binlog.999999", 900),
        BinlogPosition("binlog.1000000", 40),
        {"binlog.999999": 1000, "binlog.1000000": 30},
    ) == (100 + 40)


@pytest.mark.parametrize(
    ("executed", "master", "expected"),
    [
        (("binlog.000002", 500), ("binlog.000002", 700), 200),
        (("binlog.000002", 500), ("binlog.000002", 500), 0),
        (("binlog.000002", 1500), ("binlog.000003", 100), 600),
        (("binlog.000001", 1000), ("binlog.000003", 100), 2100),
        (("binlog.000001", 990), ("binlog.000004", 60), 10 + 2000 + 300 + 60),
    ],
)
def test_bytes_between_adds_up_the_files_in_between(
    executed: tuple[str, int], master: tuple[str, int], expected: int
) -> None:
    assert bytes_between(BinlogPosition(*executed), BinlogPosition(*master), SIZES) == expected


@pytest.mark.parametrize(
    ("executed", "master", "sizes"),
    [
        pytest.param(("binlog.000002", 9), ("binlog.000002", 5), SIZES, id="slave ahead"),
        pytest.param(("binlog.000003", 9), ("binlog.000002", 5), SIZES, id="slave in a later file"),
        pytest.param(("mysql-bin.000001", 9), ("binlog.000002", 5), SIZES, id="another series"),
        pytest.param(("", 0), ("binlog.000002", 5), SIZES, id="no file"),
        pytest.param(("binlog.000001", 9), ("binlog.000002", 5), {}, id="sizes not read yet"),
        pytest.param(("binlog.000004", 9), ("binlog.000005", 5), SIZES, id="last size still growing"),
        pytest.param(
            ("binlog.000001", 9),
            ("binlog.000003", 5),
            {"binlog.000001": 10, "binlog.000003": 5},
            id="a file in between is missing",
        ),
        pytest.param(("binlog.000001", 1001), ("binlog.000002", 5), SIZES, id="past the end of its file"),
    ],
)
def test_what_cannot_be_computed_is_unknown_and_never_zero(
    executed: tuple[str, int], master: tuple[str, int], sizes: dict[str, int]
) -> None:
    assert bytes_between(BinlogPosition(*executed), BinlogPosition(*master), sizes) is None


@given(
    sizes=st.lists(st.integers(4, 10_000), min_size=1, max_size=6),
    first=st.integers(1, 2_000_000),
    data=st.data(),
)
def test_bytes_between_is_the_distance_on_one_long_tape(
    sizes: list[int], first: int, data: st.DataObject
) -> None:
    names = [f"binlog.{first + index:06d}" for index in range(len(sizes))]
    known = dict(zip(names, sizes, strict=True))
    known[f"binlog.{first + len(sizes):06d}"] = 4
    starts = [sum(sizes[:index]) for index in range(len(sizes))]

    def draw() -> tuple[BinlogPosition, int]:
        index = data.draw(st.integers(0, len(sizes) - 1))
        pos = data.draw(st.integers(0, sizes[index]))
        return BinlogPosition(names[index], pos), starts[index] + pos

    (one, at_one), (other, at_other) = draw(), draw()
    low, high = sorted((one, other))
    assert bytes_between(low, high, known) == abs(at_other - at_one)

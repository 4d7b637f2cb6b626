"""GTID sets of both families, against a naive model that counts transactions one by one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.cluster.gtid import GtidSet, Last, MariadbPosition

UUIDS = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "00000000-0000-0000-0000-00000000000b")
Model = frozenset[tuple[str, str, int]]


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, Model]:
    """A GTID set as a server might print it, and the transactions in it one by one."""
    parts: list[str] = []
    model: set[tuple[str, str, int]] = set()
    for uuid in draw(st.lists(st.sampled_from(UUIDS), max_size=3)):
        text = draw(st.sampled_from((uuid, uuid.upper(), f" {uuid}")))
        for tag in draw(st.lists(st.sampled_from(("", "blue", "_x9")), min_size=1, max_size=3)):
            known = tag
            if tag:
                text += f":{tag}"
            elif ":" in text:
                continue
            for _ in range(draw(st.integers(1, 3))):
                first = draw(st.integers(1, 30))
                last = draw(st.integers(first, 32))
                single = first == last and draw(st.booleans())
                text += f":{first}" if single else f":{first}-{last}"
                model |= {(uuid, known, number) for number in range(first, last + 1)}
        parts.append(text)
    joined = draw(st.sampled_from((",", ",\n", ", "))).join(parts)
    return joined, frozenset(model)


def counted(gtids: GtidSet) -> Model:
    return frozenset(
        (uuid, tag, number)
        for (uuid, tag), intervals in gtids.intervals.items()
        for first, last in intervals
        for number in range(first, last + 1)
    )


@given(texts())
def test_parsing_reads_every_transaction(case: tuple[str, Model]) -> None:
    text, model = case
    gtids = GtidSet.parse(text)
    assert counted(gtids) == model
    assert gtids.count == len(model)
    assert bool(gtids) is bool(model)


@given(texts())
def test_what_is_printed_reads_back_the_same(case: tuple[str, Model]) -> None:
    gtids = GtidSet.parse(case[0])
    assert GtidSet.parse(str(gtids)) == gtids


@given(texts(), texts())
def test_set_operations_agree_with_counting(one: tuple[str, Model], other: tuple[str, Model]) -> None:
    left, right = GtidSet.parse(one[0]), GtidSet.parse(other[0])
    assert counted(left.union(right)) == one[1] | other[1]
    assert counted(left.subtract(right)) == one[1] - other[1]
    assert left.contains(right) is (one[1] >= other[1])
    assert (left == right) is (one[1] == other[1])
    assert counted(left.without(UUIDS[0].upper())) == {gtid for gtid in one[1] if gtid[0] != UUIDS[0]}


def test_the_form_is_the_servers_own() -> None:
    text = f"{UUIDS[1]}:7,{UUIDS[0]}:5-6:1-3:4:blue:2"
    assert str(GtidSet.parse(text)) == f"{UUIDS[1]}:7,{UUIDS[0]}:1-6:blue:2"


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        UUIDS[0],
        f"{UUIDS[0]}:",
        f"{UUIDS[0]}:0",
        f"{UUIDS[0]}:5-3",
        f"{UUIDS[0]}:blue",
        f"{UUIDS[0]}:blue:red:1",
        f"{UUIDS[0]}:1-2-3",
        f"{UUIDS[0]}:-3",
        f"{UUIDS[0]}:{2**63}",
        f"{UUIDS[0]}:1;{UUIDS[1]}:1",
        "0-1-100",
    ],
)
def test_a_text_that_is_no_set_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a GTID set") as caught:
        GtidSet.parse(text)
    assert repr(text) in str(caught.value)


@given(st.text(alphabet="0123456789abcdef-:, \nx", max_size=60))
def test_no_text_does_worse_than_a_value_error(text: str) -> None:
    for parse in (GtidSet.parse, MariadbPosition.parse):
        with contextlib.suppress(ValueError):
            parse(text)


POSITIONS = st.dictionaries(
    st.integers(0, 3), st.builds(Last, st.integers(1, 3), st.integers(1, 20)), max_size=4
)


def printed(domains: dict[int, Last]) -> str:
    return ",\n".join(f"{domain}-{last.server_id}-{last.number}" for domain, last in domains.items())


@given(POSITIONS, POSITIONS)
def test_mariadb_positions_compare_by_domain(one: dict[int, Last], other: dict[int, Last]) -> None:
    left, right = MariadbPosition.parse(printed(one)), MariadbPosition.parse(printed(other))
    further = {
        domain
        for domain, last in one.items()
        if domain not in other
        or last.number > other[domain].number
        or (last.number == other[domain].number and last.server_id != other[domain].server_id)
    }
    assert set(left.subtract(right).domains) == further
    assert right.contains(left) is (not further)
    both = left.union(right)
    assert all(
        both.domains[domain].number == max(side[domain].number for side in (one, other) if domain in side)
        for domain in {*one, *other}
    )
    assert MariadbPosition.parse(str(left)) == left


def test_the_same_number_of_two_servers_is_two_transactions() -> None:
    mine, theirs = MariadbPosition.parse("0-1-100"), MariadbPosition.parse("0-2-100")
    assert not mine.contains(theirs)
    assert mine.subtract(theirs) == mine


def test_what_the_master_wrote_last_can_be_left_out() -> None:
    position = MariadbPosition.parse("0-1-100,5-2-7")
    assert position.without(1) == MariadbPosition.parse("5-2-7")


def test_nothing_at_all_is_an_empty_position() -> None:
    assert not MariadbPosition.parse("")
    assert not GtidSet.parse(" \n")


@pytest.mark.parametrize("text", ["0-1", "0-1-2-3", "a-b-c", "0-1-5,0-2-7", f"0-1-{2**64}", f"{2**32}-1-1"])
def test_a_text_that_is_no_position_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"position|twice"):
        MariadbPosition.parse(text)

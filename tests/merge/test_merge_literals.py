"""Rows as literals: what is written can be told apart, read back, and never ends early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.operations.merge.literals import Column, fields, joined, part_literal, quote, unquote
from pfms_ha_tui.operations.merge.statements import (
    commented,
    insert_head,
    rows_of,
    script,
    statements,
    uncommented,
)

TEXT = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("'\\\n\r\0\x1a(),;%-N")))
LITERAL = st.one_of(
    TEXT.map(lambda text: quote(text).encode()),
    st.binary().map(lambda data: b"X'" + data.hex().upper().encode() + b"'"),
    st.integers().map(lambda number: str(number).encode()),
    st.just(b"NULL"),
)
ROW = st.lists(LITERAL, min_size=1, max_size=6).map(joined)


@given(TEXT)
def test_a_text_is_quoted_on_one_line_and_read_back(text: str) -> None:
    literal = quote(text)
    assert "\n" not in literal
    assert "\0" not in literal
    assert unquote(literal) == text


@given(st.lists(LITERAL, min_size=1, max_size=8))
def test_fields_come_apart_as_they_were_joined(parts: list[bytes]) -> None:
    assert fields(joined(parts)) == parts


@given(st.lists(ROW, max_size=12), st.integers(min_value=10, max_value=400))
def test_rows_come_back_from_a_script_however_it_is_cut(rows: list[bytes], longest: int) -> None:
    head = insert_head("t`able", ["a", "b"])
    text = b"".join(statement + b";\n" for statement in statements(head, rows, longest))
    assert rows_of(text) == rows
    assert rows_of(b"".join(script(head, rows))) == rows


@given(st.lists(ROW, max_size=12))
def test_rows_come_back_from_comments_and_every_line_is_one(rows: list[bytes]) -> None:
    text = commented(rows)
    assert uncommented(text) == rows
    assert all(line.startswith(b"-- ") for line in text.split(b"\n")[:-1])


@given(st.lists(ROW, min_size=1, max_size=12), st.integers(min_value=40, max_value=400))
def test_a_statement_is_no_longer_than_it_may_be_unless_a_single_row_is(
    rows: list[bytes], longest: int
) -> None:
    head = insert_head("t", ["a"])
    for statement in statements(head, rows, longest):
        body = statement.removeprefix(head)
        assert len(body) <= longest or body in rows


def test_pieces_become_the_literal_the_server_would_have_made() -> None:
    text = Column(name="t", type="text", full_type="text", charset="utf8mb4")
    blob = Column(name="b", type="blob", full_type="blob")
    assert part_literal(text, "a'\\\n💥".encode()) == "'a\\'\\\\\\n💥'".encode()
    assert part_literal(blob, b"\x00\xff") == b"X'00FF'"
    assert part_literal(blob, None) == b"NULL"

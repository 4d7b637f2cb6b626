"""Lines of text: harmless, as wide as they claim, and never more than there is room for."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pfms_ha_tui.console import glyphs
from pfms_ha_tui.console.ink import (
    Ink,
    Span,
    apart,
    clean,
    clean_lines,
    crop,
    line,
    line_to_ascii,
    pad,
    text_of,
    to_ascii,
    width_of,
    wrap,
)

texts = st.text(max_size=60).map(clean)
lines = st.lists(st.tuples(texts, st.sampled_from(list(Ink))), max_size=6).map(lambda parts: line(*parts))


@given(st.text(max_size=200))
def test_text_from_outside_can_do_nothing_but_be_read(text: str) -> None:
    cleaned = clean(text)
    for char in cleaned:
        assert char == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(char) not in {
            "Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp",
        }  # fmt: skip
    cleaned.encode("utf-8")


def test_escape_sequences_reversing_marks_and_surrogates_lose_their_power_and_stay_visible() -> None:
    assert clean("a\x1b[31mb") == "a\N{REPLACEMENT CHARACTER}[31mb"
    assert clean("a\u202eb\ud800c") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert clean("one\ntwo\tthree") == "one two three"
    assert clean("[bold]x[/]") == "[bold]x[/]"


def test_line_breaks_are_kept_where_lines_are_wanted() -> None:
    assert clean_lines("one\ntwo\x07") == ["one", "two\N{REPLACEMENT CHARACTER}"]


@given(lines, st.integers(min_value=0, max_value=80))
def test_a_cropped_line_fits_and_begins_as_before(value: tuple[Span, ...], width: int) -> None:
    cropped = crop(value, width)
    assert width_of(cropped) <= width
    if width_of(value) > width > 0:
        assert text_of(cropped).endswith("…")
    elif width > 0:
        assert cropped == value


@given(lines, st.integers(min_value=1, max_value=80), st.booleans())
def test_a_padded_line_is_exactly_as_wide_as_asked(value: tuple[Span, ...], width: int, right: bool) -> None:
    assert width - 1 <= width_of(pad(value, width, right=right)) <= width
    if width_of(value) <= width:
        assert width_of(pad(value, width, right=right)) == width


@given(lines, lines, st.integers(min_value=4, max_value=80))
def test_two_ends_of_a_line_never_exceed_it(
    left: tuple[Span, ...], right: tuple[Span, ...], width: int
) -> None:
    assert width_of(apart(left, right, width)) <= width


@given(lines, st.integers(min_value=10, max_value=60), st.integers(min_value=0, max_value=2))
def test_wrapping_fits_and_loses_no_word(value: tuple[Span, ...], width: int, indent: int) -> None:
    wrapped = wrap(value, width, indent=indent)
    assert all(width_of(part) <= width for part in wrapped)
    assert "".join("".join(map(text_of, wrapped)).split()) == "".join(text_of(value).split())


@given(lines, st.integers(min_value=10, max_value=40), st.integers(min_value=1, max_value=3))
def test_wrapping_to_a_limit_keeps_to_it(value: tuple[Span, ...], width: int, most: int) -> None:
    wrapped = wrap(value, width, indent=2, most=most)
    assert len(wrapped) <= most
    assert all(width_of(part) <= width for part in wrapped)


def test_wrapping_keeps_leading_blanks_inks_and_padded_blocks() -> None:
    value = line(" ", (" DEAD ", Ink.SHOUT_BAD), "  ", ("node1 is dead", Ink.STRONG))
    first, second = wrap(value, 18, indent=2)
    assert text_of(first) == "  DEAD   node1 is"
    assert text_of(second) == "  dead"
    assert Span(" DEAD ", Ink.SHOUT_BAD) in first
    assert second[-1].ink is Ink.STRONG


def test_what_is_cut_from_the_last_line_begins_without_its_indent() -> None:
    wrapped = wrap(line("one two three four five six seven"), 12, indent=2, most=2)
    assert [text_of(part) for part in wrapped] == ["one two", "  three fou…"]
    wrapped = wrap(line("one two three four five six seven"), 16, indent=2, most=2)
    assert "  " not in text_of(wrapped[1]).strip()


@given(st.text(max_size=80))
def test_ascii_is_ascii(text: str) -> None:
    assert to_ascii(clean(text)).isascii()


def test_every_sign_has_one_cell_and_an_ascii_spelling_of_one_cell() -> None:
    tables: list[list[glyphs.Sign]] = [
        list(glyphs.SEVERITY.values()),
        list(glyphs.SYNC.values()),
        list(glyphs.REACH.values()),
        list(glyphs.SSH.values()),
        list(glyphs.PROCESS.values()),
        list(glyphs.IO.values()),
        list(glyphs.SQL_THREAD.values()),
        list(glyphs.GUARD.values()),
        list(glyphs.STEP.values()),
        list(glyphs.SAYS.values()),
    ]
    signs = [sign for table in tables for sign in table]
    for glyph in {sign.glyph for sign in signs} | {
        glyphs.MASTER,
        glyphs.SELECTED,
        glyphs.PAUSED,
        glyphs.RUNS,
    }:
        assert cell_len(glyph) == 1
        assert len(to_ascii(glyph)) == 1
        assert to_ascii(glyph) != "?" or glyph == "?"
    for table in tables:
        assert len({(sign.glyph, sign.word) for sign in table}) == len(table)


@pytest.mark.parametrize("bar", glyphs.BARS)
def test_bars_have_ascii_spellings(bar: str) -> None:
    assert to_ascii(bar).isascii()
    assert len({to_ascii(other) for other in glyphs.BARS}) == len(glyphs.BARS)


def test_a_line_in_ascii_keeps_its_inks() -> None:
    assert line_to_ascii(line(("● ok", Ink.OK))) == (Span("o ok", Ink.OK),)

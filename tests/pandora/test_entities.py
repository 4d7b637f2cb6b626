"""Pandora's entity encoding, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.pandora.entities import decode, encode


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("CPU load", "CPU&#x20;load"),
        ("\x00\t\n\r", "&#x00;&#x09;&#x0a;&#x0d;"),
        ("\"&'()<>\\", "&quot;&amp;&#039;&#40;&#41;&lt;&gt;&#92;"),
        ("añoß→", "añoß→"),
        ("&amp;", "&amp;amp;"),
        ("", ""),
    ],
)
def test_text_is_stored_as_pandora_stores_it(text: str, stored: str) -> None:
    assert encode(text) == stored
    assert decode(stored) == text


@given(st.text())
def test_every_text_survives_the_way_there_and_back(text: str) -> None:
    assert decode(encode(text)) == text


@given(st.text())
def test_stored_text_holds_nothing_that_pandora_chokes_on(text: str) -> None:
    stored = encode(text)
    assert not set(stored) & set(" \"'()<>\\\n\t\x00")


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("&eacute;t&eacute;", "été"),
        ("&#233;", "é"),
        ("&#X41;", "A"),
        ("&apos;", "'"),
        ("&nosuchname;", "&nosuchname;"),
        ("&#x110000;", "&#x110000;"),
        ("&#xd800;", "&#xd800;"),
        ("a & b", "a & b"),
        ("&#x20", "&#x20"),
        ("&;", "&;"),
    ],
)
def test_other_entities_are_read_and_what_is_none_stays(stored: str, text: str) -> None:
    assert decode(stored) == text


@given(st.text(alphabet="&#xX;0123456789abcdefAF ltgquo"))
def test_decoding_never_fails(stored: str) -> None:
    decode(stored)

"""Each key of a TOML file is found on its own line."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.config.toml_lines import Path, key_lines

TEXT = '''\
# a comment with [brackets] and a = b
title = "a # no comment"   # line 2
"quoted.key" = 1
'literal key' = 2
[table]  # line 5
a.b = 3
multi = """
not_a_key = 4
[not.a.table]
"""
lit = \'\'\'
x = 1\'\'\'
after = 1
array = [
  1,
  { deep = 2, deeper = [ { x = 1 } ] },  # ] }
]
[[nodes]]
host = "a"
[[nodes]]
host = "b"
[nodes.ssh]
port = 1
[[nodes.keys]]
k = 1
[clusters."my db"]
"esc\\u0041ped" = { one = 1, two."three" = 2 }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted.key",), 3),
        (("literal key",), 4),
        (("table",), 5),
        (("table", "a"), 6),
        (("table", "a", "b"), 6),
        (("table", "multi"), 7),
        (("table", "lit"), 11),
        (("table", "after"), 13),
        (("table", "array"), 14),
        (("table", "array", 0), 15),
        (("table", "array", 1, "deep"), 16),
        (("table", "array", 1, "deeper", 0, "x"), 16),
        (("nodes",), 18),
        (("nodes", 0), 18),
        (("nodes", 0, "host"), 19),
        (("nodes", 1), 20),
        (("nodes", 1, "host"), 21),
        (("nodes", 1, "ssh", "port"), 23),
        (("nodes", 1, "keys", 0, "k"), 25),
        (("clusters", "my db"), 26),
        (("clusters", "my db", "escAped"), 27),
        (("clusters", "my db", "escAped", "two", "three"), 27),
    ],
)
def test_a_key_is_found_on_its_line(path: Path, line: int) -> None:
    tomllib.loads(TEXT)
    assert key_lines(TEXT)[path] == line


def test_nothing_is_taken_for_a_key_that_is_none() -> None:
    keys = {part for path in key_lines(TEXT) for part in path}
    assert not keys & {"not_a_key", "not", "x = 1", "brackets"}


def spelt_key(key: str) -> str:
    return '"' + "".join(f"\\U{ord(sign):08x}" for sign in key) + '"'


values = st.recursive(
    st.one_of(
        st.integers(-(10**9), 10**9).map(str),
        st.booleans().map(lambda flag: "true" if flag else "false"),
        st.sampled_from(
            ["1979-05-27T07:32:00Z", "1e3", "nan", "'a]b}c,d#e'", '"\\"]}#"', '"""a\n"]} """""', "''']\n'''"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # ]\n".join(items) + "\n]"),
        st.lists(inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"k{at} = {item}" for at, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=6,
)


def paths(data: object, at: Path = ()) -> set[Path]:
    found = {at} if at else set()
    if isinstance(data, dict):
        for key, value in data.items():
            found |= paths(value, (*at, key))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            found |= paths(value, (*at, place))
    return found


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), values),
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
def test_every_path_of_valid_toml_has_a_line_where_its_key_stands(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{spelt_key(key)} = {value}\n" for key, value in pairs)
    lines = key_lines(text)
    assert set(lines) == paths(tomllib.loads(text))
    for key, _ in pairs:
        assert text.split("\n")[lines[(key,)] - 1].startswith(spelt_key(key))


@given(st.text(max_size=200))
def test_text_that_is_no_toml_does_no_harm(text: str) -> None:
    key_lines(text)

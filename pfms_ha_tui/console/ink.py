"""Text as the panes draw it: lines of spans, each with a meaning (an :class:`Ink`), never markup.

What a server, a host or a file said passes :func:`clean` once and is plain text from then on. A theme
decides how an ink looks; nothing here knows colours, and no string is ever parsed for them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size


class Ink(StrEnum):
    """What a piece of text means; the style sheet has one rule for each."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    HEAD = "head"
    """A column heading or the heading of a section."""
    KEY = "key"
    """A key of the keyboard."""
    OK = "ok"
    INFO = "info"
    BUSY = "busy"
    """Something is under way."""
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"
    MASTER = "master"
    SHOUT_OK = "shout-ok"
    SHOUT_WARN = "shout-warn"
    SHOUT_BAD = "shout-bad"
    SHOUT_UNKNOWN = "shout-unknown"
    """Reverse blocks: the word of the banner."""


class Span(NamedTuple):
    """Some text of one meaning."""

    text: str
    ink: Ink = Ink.PLAIN


Line = tuple[Span, ...]
Part = str | tuple[str, Ink] | Span

EMPTY: Line = ()

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_PIECES = re.compile(r" +|[^ ]+")
_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """``text`` from outside as one line that can do nothing but be read.

    Control characters and escape sequences, marks that reverse or hide text, lone surrogates and
    unassigned code points become a visible replacement; white space becomes a blank. Variation selectors
    go, since terminals disagree about the width they give.
    """
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    for char in text:
        if char in "\t\n\r\v\f\N{NO-BREAK SPACE}":
            out.append(" ")
        elif "\ufe00" <= char <= "\ufe0f":
            continue
        elif unicodedata.category(char) in _HARMFUL:
            out.append(_REPLACEMENT)
        else:
            out.append(char)
    return "".join(out)


def clean_lines(text: str) -> list[str]:
    """``text`` from outside with its line breaks kept."""
    return [clean(line) for line in text.splitlines()]


def line(*parts: Part) -> Line:
    """A line of parts: plain strings, or ``(text, ink)``. Empty parts vanish."""
    spans = (Span(part) if isinstance(part, str) else Span(*part) for part in parts)
    return tuple(span for span in spans if span.text)


def text_of(value: Line) -> str:
    """The line without its inks."""
    return "".join(span.text for span in value)


def width_of(value: Line) -> int:
    """Cells the line takes."""
    return sum(cell_len(span.text) for span in value)


def crop(value: Line, width: int) -> Line:
    """At most ``width`` cells; what was cut is marked by "…"."""
    if width <= 0:
        return EMPTY
    if width_of(value) <= width:
        return value
    out: list[Span] = []
    room = width - 1
    for span in value:
        cells = cell_len(span.text)
        if cells <= room:
            out.append(span)
            room -= cells
            continue
        out.append(Span(set_cell_size(span.text, room).rstrip() + "…", span.ink))
        break
    return tuple(out)


def pad(value: Line, width: int, *, right: bool = False) -> Line:
    """Exactly ``width`` cells, cropped or filled; ``right`` aligns to the right."""
    value = crop(value, width)
    gap = width - width_of(value)
    if gap <= 0:
        return value
    blank = Span(" " * gap)
    return (blank, *value) if right else (*value, blank)


def apart(left: Line, right: Line, width: int) -> Line:
    """``left`` at the left edge and ``right`` at the right one; ``left`` is cropped when both do not fit."""
    right = crop(right, width)
    room = width - width_of(right)
    if not right:
        return crop(left, width)
    return (*pad(crop(left, room - 1), room), *right)


def glue(lines: Iterable[Line], between: Line) -> Line:
    """All lines as one, with ``between`` in the gaps."""
    out: list[Span] = []
    for index, part in enumerate(lines):
        if index:
            out.extend(between)
        out.extend(part)
    return tuple(out)


def merge(value: Iterable[Span]) -> Line:
    """Neighbours of the same ink as one span: each span costs an escape sequence on the wire."""
    out: list[Span] = []
    for span in value:
        if out and out[-1].ink is span.ink:
            out[-1] = Span(out[-1].text + span.text, span.ink)
        else:
            out.append(span)
    return tuple(out)


def wrap(value: Line, width: int, *, indent: int = 0, most: int | None = None) -> list[Line]:
    """``value`` broken at blanks into lines of at most ``width`` cells, the later ones indented.

    Args:
        value: the line.
        width: cells of every line, the indent included.
        indent: blanks before the second and later lines.
        most: at most so many lines; the last one then ends in "…".
    """
    width = max(width, indent + 8)
    lead = [Span(" " * indent)] if indent else []
    lines: list[Line] = []
    current: list[Span] = []
    blanks: list[Span] = []
    used = 0
    for token in _tokens(value):
        cells = cell_len(token.text)
        if token.text.isspace():
            blanks.append(token)
            continue
        gap = sum(len(blank.text) for blank in blanks)
        if current and used + gap + cells > width:
            lines.append(merge(current))
            current, used = list(lead), indent
        elif current or not lines:
            current += blanks
            used += gap
        blanks = []
        text = token.text
        while used + cell_len(text) > width:
            head, text = _split(text, width - used)
            lines.append(merge((*current, Span(head, token.ink))))
            current, used = list(lead), indent
        current.append(Span(text, token.ink))
        used += cell_len(text)
    # A block with a background keeps the blank at its end.
    if blanks and blanks[0].ink is not Ink.PLAIN and used + len(blanks[0].text) <= width:
        current.append(blanks[0])
    if current:
        lines.append(merge(current))
    if most is not None and len(lines) > most:
        # Only the first line stands without the indent, and it is never among the rest unless it is all.
        rest = [_without_lead(part, indent) for part in lines[most:]]
        return [*lines[: most - 1], crop(merge(glue([lines[most - 1], *rest], line(" "))), width)]
    return lines or [EMPTY]


def _without_lead(value: Line, indent: int) -> Line:
    """A wrapped line without the blanks that stand before it."""
    if not value:
        return value
    return (Span(value[0].text[indent:], value[0].ink), *value[1:])


def _tokens(value: Line) -> Iterable[Span]:
    """Words and the blanks between them, each with its ink."""
    for span in value:
        for text in _PIECES.findall(span.text):
            yield Span(text, span.ink)


def _split(text: str, cells: int) -> tuple[str, str]:
    """``text`` in two, the first of at most ``cells`` cells but never empty."""
    end, used = 0, 0
    for end, char in enumerate(text):
        used += cell_len(char)
        if used > cells and end:
            return text[:end], text[end:]
    return text, ""


_ASCII = str.maketrans(
    {
        "●": "o", "○": ".", "◷": "q", "⟳": "~", "✖": "x", "✔": "+", "★": "*", "▲": "!", "‖": "=",
        "▶": ">", "├": "|", "└": "`", "│": "|", "─": "-", "›": ">", "‹": "<", "·": "-", "—": "-", "–": "-",
        "…": "~", "≤": "<=", "≥": ">=", "→": "->", "←": "<-", "×": "x", "⏎": "enter", "↑": "up",
        "↓": "down", "“": '"', "”": '"', "’": "'", "‘": "'", "•": "*", _REPLACEMENT: "?",
        "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "%", "█": "#", "╌": "-",
    }
)  # fmt: skip


@lru_cache(maxsize=4096)
def to_ascii(text: str) -> str:
    """The same text for a terminal that has nothing but ASCII."""
    if text.isascii():
        return text
    out: list[str] = []
    for char in text.translate(_ASCII):
        if char.isascii():
            out.append(char)
        else:
            plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode("ascii")
            out.append(plain or "?" * cell_len(char))
    return "".join(out)


def line_to_ascii(value: Line) -> Line:
    """:func:`to_ascii` for a line."""
    return tuple(Span(to_ascii(span.text), span.ink) for span in value)


def as_text(lines: Sequence[Line]) -> str:
    """Lines as plain text, for the clipboard."""
    return "\n".join(text_of(value).rstrip() for value in lines)

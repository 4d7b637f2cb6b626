"""Texts as Pandora FMS stores them: HTML entities for what its own code would choke on.

Source: ``safe_input``/``safe_output`` of the open ``pandora_server`` and ``pandora_console``. Control
characters and the blank are stored as ``&#x00;`` … ``&#x20;``, the signs below as named or numbered
entities, everything else as it is (UTF-8). Pandora's console decodes any entity, and rows written by
other versions carry more of them than this program writes, so decoding takes them all.
"""

from __future__ import annotations

import re
from html.entities import html5

_SIGNS = {
    '"': "&quot;",
    "&": "&amp;",
    "'": "&#039;",
    "(": "&#40;",
    ")": "&#41;",
    "<": "&lt;",
    ">": "&gt;",
    "\\": "&#92;",
}
_ENCODE = str.maketrans({**{chr(code): f"&#x{code:02x};" for code in range(0x21)}, **_SIGNS})
_ENTITY = re.compile(
    r"&(?:#[xX](?P<hex>[0-9a-fA-F]{1,6})|#(?P<dec>[0-9]{1,7})|(?P<name>[A-Za-z][A-Za-z0-9]*));"
)
_SURROGATES = range(0xD800, 0xE000)


def encode(text: str) -> str:
    """``text`` as Pandora stores it. ``decode(encode(text)) == text`` for every text."""
    return text.translate(_ENCODE)


def decode(stored: str) -> str:
    """The text behind ``stored``. What is no entity, or names no character, stays as it is."""
    return _ENTITY.sub(_character, stored)


def _character(match: re.Match[str]) -> str:
    if match["name"] is not None:
        return html5.get(f"{match['name']};", match[0])
    code = int(match["hex"], 16) if match["hex"] is not None else int(match["dec"])
    if code > 0x10FFFF or code in _SURROGATES:
        return match[0]
    return chr(code)

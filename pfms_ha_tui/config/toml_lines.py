"""Where in the text of a TOML file each key stands.

``tomllib`` gives values without positions. This scanner runs over text that ``tomllib`` has already
accepted, so it need not judge anything: it only has to find its way over strings, arrays and inline
tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys, and places in arrays counted from 0."""

_SPACE = re.compile(r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\r\n]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
_BASIC_LINES = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL)
_LITERAL_LINES = re.compile(r"'''.*?'{3,5}", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_SHORT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> Mapping[Path, int]:
    """Path of each key and table in valid TOML → its line, counted from 1."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str):
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}
        """Array of tables → how many of its tables have begun."""

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _header(self) -> Path:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        keys = self._dotted()
        self._at += brackets
        path: Path = ()
        for position, key in enumerate(keys, start=1):
            path = (*path, key)
            if position == len(keys) and brackets == 2:
                self._lines.setdefault(path, self._here())
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        self._lines.setdefault(path, self._here())
        return path

    def _pair(self, table: Path) -> None:
        start = self._here()
        path = table
        for key in self._dotted():
            path = (*path, key)
            self._lines.setdefault(path, start)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        sign = self._text[self._at : self._at + 1]
        if sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline_table(path)
        elif sign == '"':
            self._jump(_BASIC_LINES if self._text.startswith('"""', self._at) else _BASIC)
        elif sign == "'":
            self._jump(_LITERAL_LINES if self._text.startswith("'''", self._at) else _LITERAL)
        else:
            self._jump(_BARE_VALUE)

    def _array(self, path: Path) -> None:
        self._at += 1
        self._skip()
        place = 0
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._lines.setdefault((*path, place), self._here())
            self._value((*path, place))
            place += 1
            self._comma()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip()
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip()
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip()

    def _dotted(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip()
            keys.append(self._key())
            self._skip()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _key(self) -> str:
        sign = self._text[self._at : self._at + 1]
        if sign == '"':
            return _ESCAPE.sub(_unescaped, self._jump(_BASIC)[1:-1])
        if sign == "'":
            return self._jump(_LITERAL)[1:-1]
        return self._jump(_BARE_KEY)

    def _jump(self, over: re.Pattern[str]) -> str:
        found = over.match(self._text, self._at)
        if found is None or found.end() == self._at:
            # Never in valid text; one step keeps a misjudged one from looping.
            self._at += 1
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = max(self._counted, self._at)
        return self._line


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _SHORT.get(found[3], found[3])

"""What a value of the settings may be: one reader for each kind, with words for what it expects.

Plain classes: making a dataclass costs most of a millisecond, and the console waits for this module.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from enum import StrEnum
from pathlib import Path

from pfms_ha_tui.config.faults import clean

LABEL = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?")
_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1.0,
    "b": 1.0,
    **dict.fromkeys(("k", "kb"), 1e3),
    **dict.fromkeys(("m", "mb"), 1e6),
    **dict.fromkeys(("g", "gb"), 1e9),
    **dict.fromkeys(("t", "tb"), 1e12),
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "tib": 2.0**40,
}


class WrongValueError(ValueError):
    """A value that is not what its kind expects; the text is the reason, without the value."""


class Kind(ABC):
    """Reads one value. ``expects`` completes the sentence "expects …"."""

    __slots__ = ("expects",)

    def __init__(self, expects: str):
        self.expects = expects

    @abstractmethod
    def read(self, raw: object) -> object:
        """The value as the program uses it.

        Raises:
            WrongValueError: it is not what is expected.
        """

    def parse(self, text: str) -> object:
        """The same from plain text, as ``pandora_server.conf`` and the environment have it."""
        return self.read(text)

    def wrong(self) -> WrongValueError:
        """The refusal in the words of this kind."""
        return WrongValueError(f"expects {self.expects}")


class Flag(Kind):
    """True or false; 0 or 1 in Pandora's file."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("true or false")

    def read(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise self.wrong()
        return raw

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in ("1", "yes", "true", "on"):
            return True
        if word in ("0", "no", "false", "off"):
            return False
        raise WrongValueError("expects 0 or 1")


class Whole(Kind):
    """A whole number of a range, both ends included."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int):
        super().__init__(f"a whole number from {low} to {high}")
        self.low, self.high = low, high

    def read(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not self.low <= raw <= self.high:
            raise self.wrong()
        return raw

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text):
            raise self.wrong()
        return self.read(int(text))


class Duration(Kind):
    """Seconds as a number, or text with units: ``30``, ``"30s"``, ``"1h 30m"``. Read as seconds."""

    __slots__ = ("high", "low")

    def __init__(self, low: float, high: float):
        bounds = f"{spell(low)} to {spell(high)}"
        super().__init__(f'seconds, or text such as "30s", "5m", "2h", "1d", from {bounds}')
        self.low, self.high = low, high

    def read(self, raw: object) -> float:
        if isinstance(raw, str):
            seconds: float | None = _sum(raw, _SECONDS)
        elif isinstance(raw, bool) or not isinstance(raw, int | float):
            raise self.wrong()
        else:
            seconds = raw
        # Compared before it is made a float: a whole number of TOML may be too large for one.
        if seconds is None or not self.low <= seconds <= self.high:
            raise self.wrong()
        return float(seconds)


class Size(Kind):
    """Bytes as a number, or text with units: ``"10 MB"``, ``"1.5 GiB"``; ``/s`` may follow."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int):
        super().__init__(f'bytes, or text such as "10 MB" or "1 GiB", from {low} to {high}')
        self.low, self.high = low, high

    def read(self, raw: object) -> int:
        if isinstance(raw, str):
            count: float | None = _sum(raw.strip().removesuffix("/s"), _BYTES)
        elif isinstance(raw, bool) or not isinstance(raw, int):
            raise self.wrong()
        else:
            count = raw
        if count is None or not self.low <= count <= self.high:
            raise self.wrong()
        return int(count)


class Text(Kind):
    """One line of text. An empty one means "not set" where ``empty`` allows it."""

    __slots__ = ("empty",)

    def __init__(self, expects: str = "a text", *, empty: bool = False):
        super().__init__(expects)
        self.empty = empty

    def read(self, raw: object) -> str | None:
        if not isinstance(raw, str):
            raise self.wrong()
        if not raw.strip():
            if self.empty:
                return None
            raise WrongValueError("is empty")
        if len(raw) > 4000 or any(_is_control(sign) for sign in raw):
            raise WrongValueError("is longer than 4000 characters, or holds a control character")
        return raw


class SecretText(Kind):
    """A password, of any characters but NUL; the reader wraps it."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("a text")

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.wrong()
        if any(sign == "\0" or 0xD800 <= ord(sign) < 0xE000 for sign in raw):
            raise WrongValueError("holds a NUL character, or bytes that are no text")
        return raw


class Pattern(Kind):
    """Text of a fixed shape."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: str | re.Pattern[str], expects: str):
        super().__init__(expects)
        self.pattern = re.compile(pattern)

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not self.pattern.fullmatch(raw):
            raise self.wrong()
        return raw


class Host(Kind):
    """A host name or an IP address, without a port."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("a host name or an IP address")

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.wrong()
        bare = raw.strip()
        if bare.startswith("[") and bare.endswith("]"):
            bare = bare[1:-1]
        if not _HOST.fullmatch(bare) and not (bare.count(":") > 1 and _IPV6.fullmatch(bare)):
            raise self.wrong()
        return bare


class OneOf(Kind):
    """One word of an enumeration."""

    __slots__ = ("words",)

    def __init__(self, words: type[StrEnum]):
        super().__init__("one of " + ", ".join(f'"{word}"' for word in words))
        self.words = words

    def read(self, raw: object) -> StrEnum:
        for word in self.words:
            if raw == word.value:
                return word
        raise self.wrong()


class File(Kind):
    """A path; ``~`` is this account's home, and a relative one starts at the config file's folder."""

    __slots__ = ("empty",)

    def __init__(self, *, empty: bool = False):
        super().__init__('a path, or "" for none' if empty else "a path")
        self.empty = empty

    def read(self, raw: object) -> Path | None:
        if not isinstance(raw, str):
            raise self.wrong()
        if not raw.strip():
            if self.empty:
                return None
            raise WrongValueError("is empty")
        if len(raw) > 4000 or any(_is_control(sign) for sign in raw):
            raise WrongValueError("is not a usable path")
        try:
            return Path(raw).expanduser()
        except RuntimeError:
            raise WrongValueError("names the home of an account that is not known here") from None


class Words(Kind):
    """A list of texts, each of one kind."""

    __slots__ = ("of",)

    def __init__(self, of: Kind, expects: str):
        super().__init__(expects)
        self.of = of

    def read(self, raw: object) -> tuple[object, ...]:
        if not isinstance(raw, list):
            raise self.wrong()
        return tuple(self.of.read(word) for word in raw)


class Maybe(Kind):
    """Another kind, or the empty text for "not set"."""

    __slots__ = ("of",)

    def __init__(self, of: Kind):
        super().__init__(f'{of.expects}, or "" for none')
        self.of = of

    def read(self, raw: object) -> object:
        if raw == "":
            return None
        try:
            return self.of.read(raw)
        except WrongValueError:
            raise self.wrong() from None


def spell(seconds: float) -> str:
    """A duration as it would be typed: ``0.1s``, ``90s``, ``5m``, ``2h``, ``30d``."""
    for unit in ("d", "h", "m"):
        size = _SECONDS[unit]
        if seconds >= size and math.fmod(seconds, size) == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def shown(raw: object) -> str:
    """A value of a file as a fault shows it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    # Python refuses to write out a whole number of more than 4300 digits.
    if isinstance(raw, int) and abs(raw) > 10**30:
        return "a huge number"
    return clean(f'"{raw}"' if isinstance(raw, str) else str(raw), longest=60)


def _sum(text: str, units: dict[str, float]) -> float | None:
    """The sum of numbers with units; one number alone needs none. ``None`` = not understood."""
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or (word := part[2].lower()) not in units:
            return None
        alone = at == 0 and part.end() == len(text)
        if not word and not alone:
            return None
        total += float(part[1]) * units[word]
        at = part.end()
    return total if at else None


def _is_control(sign: str) -> bool:
    return ord(sign) < 32 or 127 <= ord(sign) < 160 or 0xD800 <= ord(sign) < 0xE000

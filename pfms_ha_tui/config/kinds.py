"""What a value of the settings may be: one reader for each kind, with words for what it expects."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pfms_ha_tui.config.faults import clean

LABEL = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?")
_PART = re.compile(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*([A-Za-zµ]*)\s*")
_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_BYTES = {
    "": 1,
    "b": 1,
    **dict.fromkeys(("k", "kb"), 10**3),
    **dict.fromkeys(("m", "mb"), 10**6),
    **dict.fromkeys(("g", "gb"), 10**9),
    **dict.fromkeys(("t", "tb"), 10**12),
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


class WrongValueError(ValueError):
    """A value that is not what its kind expects; the text is the reason, without the value."""


class Kind(ABC):
    """Reads one value. ``expects`` completes the sentence "expects …"."""

    expects: str

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


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """True or false."""

    expects: str = "true or false"

    def read(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise self.wrong()
        return raw

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in ("1", "yes", "true", "on"):
            return True
        if word in ("0", "no", "false", "off", ""):
            return False
        raise WrongValueError("expects 0 or 1")


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number of a range, both ends included."""

    low: int
    high: int
    expects: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "expects", f"a whole number from {self.low} to {self.high}")

    def read(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not self.low <= raw <= self.high:
            raise self.wrong()
        return raw

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text):
            raise self.wrong()
        return self.read(int(text))


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """Seconds as a number, or text with units: ``30``, ``"30s"``, ``"1h 30m"``. Read as seconds."""

    low: float
    high: float
    expects: str = ""

    def __post_init__(self) -> None:
        words = f'seconds, or text such as "30s", "5m", "2h", "1d"; {spell(self.low)} to {spell(self.high)}'
        object.__setattr__(self, "expects", words)

    def read(self, raw: object) -> float:
        if isinstance(raw, str):
            seconds = _sum(raw, _SECONDS, bare=1.0)
        elif isinstance(raw, bool) or not isinstance(raw, int | float):
            raise self.wrong()
        else:
            seconds = raw
        # Compared before it is made a float: a whole number of TOML may be too large for one.
        if seconds is None or not self.low <= seconds <= self.high:
            raise self.wrong()
        return float(seconds)


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """Bytes as a number, or text with units: ``"10 MB"``, ``"1.5 GiB"``; ``/s`` may follow."""

    low: int
    high: int
    expects: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "expects", f'bytes, or text such as "10 MB"; {self.low} to {self.high} bytes'
        )

    def read(self, raw: object) -> int:
        if isinstance(raw, str):
            count = _sum(raw.strip().removesuffix("/s"), _BYTES, bare=1)
        elif isinstance(raw, bool) or not isinstance(raw, int):
            raise self.wrong()
        else:
            count = raw
        if count is None or not self.low <= count <= self.high:
            raise self.wrong()
        return int(count)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """One line of text. An empty one means "not set" where ``empty`` allows it."""

    expects: str = "a text"
    empty: bool = False
    longest: int = 1000

    def read(self, raw: object) -> str | None:
        if not isinstance(raw, str):
            raise self.wrong()
        if not raw.strip():
            if self.empty:
                return None
            raise WrongValueError("is empty")
        if len(raw) > self.longest:
            raise WrongValueError(f"is longer than {self.longest} characters")
        if any(_is_control(sign) for sign in raw):
            raise WrongValueError("holds a control character")
        return raw


@dataclass(frozen=True, slots=True)
class SecretText(Kind):
    """A password, any character but NUL; the reader wraps it."""

    expects: str = "a text"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.wrong()
        if any(sign == "\0" or 0xD800 <= ord(sign) < 0xE000 for sign in raw):
            raise WrongValueError("holds a NUL character, or bytes that are no text")
        return raw


@dataclass(frozen=True, slots=True)
class Pattern(Kind):
    """Text of a fixed shape."""

    pattern: re.Pattern[str]
    expects: str

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not self.pattern.fullmatch(raw):
            raise self.wrong()
        return raw


@dataclass(frozen=True, slots=True)
class Host(Kind):
    """A host name or an IP address, without a port."""

    expects: str = "a host name or an IP address"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.wrong()
        bare = raw.strip().removeprefix("[").removesuffix("]")
        if not _HOST.fullmatch(bare) and not (bare.count(":") > 1 and _IPV6.fullmatch(bare)):
            raise self.wrong()
        return bare


@dataclass(frozen=True, slots=True)
class OneOf(Kind):
    """One word of an enumeration."""

    words: type[StrEnum]
    expects: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "expects", "one of " + ", ".join(f'"{word}"' for word in self.words))

    def read(self, raw: object) -> StrEnum:
        if isinstance(raw, str):
            for word in self.words:
                if raw == word.value:
                    return word
        raise self.wrong()


@dataclass(frozen=True, slots=True)
class File(Kind):
    """A path; ``~`` is this account's home, and a relative one starts at the config file's folder."""

    empty: bool = False
    expects: str = "a path"

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
            raw.encode()
            return Path(raw).expanduser()
        except (RuntimeError, UnicodeError, ValueError):
            raise WrongValueError("is not a usable path") from None


@dataclass(frozen=True, slots=True)
class Words(Kind):
    """A list of short texts."""

    of: Kind
    expects: str = "a list of texts"

    def read(self, raw: object) -> tuple[object, ...]:
        if not isinstance(raw, list):
            raise self.wrong()
        return tuple(self.of.read(word) for word in raw)


@dataclass(frozen=True, slots=True)
class Maybe(Kind):
    """Another kind, or the empty text for "not set"."""

    of: Kind

    @property
    def expects(self) -> str:  # type: ignore[override]
        return f'{self.of.expects}, or "" for none'

    def read(self, raw: object) -> object:
        return None if raw == "" else self.of.read(raw)

    def parse(self, text: str) -> object:
        return None if not text.strip() else self.of.parse(text)


def spell(seconds: float) -> str:
    """A duration as it would be typed: ``0.1s``, ``90s``, ``5m``, ``2h``, ``30d``."""
    for unit in ("d", "h", "m"):
        size = _SECONDS[unit]
        if seconds >= size and math.fmod(seconds, size) == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def shown(raw: object) -> str:
    """A value of a file as a fault shows it."""
    if isinstance(raw, str):
        return clean(f'"{raw}"', longest=60)
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, int) and abs(raw) > 10**30:
        return "a huge number"
    return clean(str(raw), longest=60)


def _is_control(sign: str) -> bool:
    return ord(sign) < 32 or 127 <= ord(sign) < 160 or 0xD800 <= ord(sign) < 0xE000


def _sum(text: str, units: dict[str, float] | dict[str, int], *, bare: float) -> float | None:
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or part.end() == at or part.end() > 200:
            return None
        word = part[2].lower()
        unit = bare if not word else units.get(word)
        if unit is None or (not word and (at > 0 or part.end() < len(text))):
            return None
        total += float(part[1]) * unit
        at = part.end()
    return total if at else None

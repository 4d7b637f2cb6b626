"""What is wrong with the settings: every fault of one run, each a single clean line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.errors import ConfigError
from pfms_ha_tui.masking import mask

_LONGEST = 400
_IN_ONE_SENTENCE = 20


def clean(text: str, *, longest: int = _LONGEST) -> str:
    """``text`` on one line, nothing unprintable in it, secrets masked, at most ``longest`` characters.

    Keys, values and paths of a file are untrusted: a control character could move the cursor, a
    direction override could make a path look like another one.
    """
    printable = "".join(sign if sign.isprintable() else "�" for sign in mask(text).strip())
    return printable if len(printable) <= longest else f"{printable[: longest - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, and where.

    ``key`` is dotted as a person would write it, list elements counted from 1
    (``clusters.pandora.nodes[2].port``). ``nearest`` is the valid key that was probably meant.
    """

    reason: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    nearest: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        parts = [part for part in (where, self.key, self.reason) if part]
        meant = f" (did you mean {self.nearest}?)" if self.nearest else ""
        what_to_do = f" ({self.hint})" if self.hint else ""
        return clean(f"{': '.join(parts)}{meant}{what_to_do}")


class SettingsError(ConfigError):
    """The settings are wrong: every fault found in one run.

    ``reason`` is one line; ``str()`` gives one line for each fault below a first one that counts them.
    """

    def __init__(self, found: Iterable[Fault], *, warnings: Iterable[str] = (), files: Iterable[Path] = ()):
        self.found = tuple(found)
        self.warnings = tuple(warnings)
        self.files = tuple(files)
        """The files that could be read."""
        lines = tuple(str(fault) for fault in self.found)
        shown = list(lines[:_IN_ONE_SENTENCE])
        if len(lines) > len(shown):
            shown.append(f"and {len(lines) - len(shown)} more")
        self._title = f"{len(lines)} faults in the settings" if len(lines) != 1 else ""
        reason = "; ".join(shown)
        super().__init__(f"{self._title}: {reason}" if self._title else reason, faults=lines)

    def __str__(self) -> str:
        return "\n  ".join((self._title, *self.faults)) if self._title else self.faults[0]


def nearest(word: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of ``valid`` that ``word`` most likely stands for."""
    from difflib import get_close_matches  # only a fault needs it

    by_plain: dict[str, str] = {}
    for candidate in valid:
        by_plain.setdefault(_plain(candidate), candidate)
    found = get_close_matches(_plain(word)[:80], by_plain, n=1, cutoff=cutoff)
    return by_plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(".", "_")

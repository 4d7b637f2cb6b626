"""The lines of the command palette."""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.console.ink import Ink, Line, apart, clean, line

_TITLES = 26
"""Columns for a title: room for the longest, and a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something that can be found by its name."""

    id: str
    title: str
    about: str
    keys: str = ""
    """As people write them."""
    why_not: str | None = None
    """Why it cannot be done now."""

    def matches(self, words: str) -> bool:
        """Whether every word is in the title or in what it says of itself."""
        text = f"{self.title} {self.about} {self.id}".casefold()
        return all(word in text for word in words.casefold().split())

    def as_line(self, width: int) -> Line:
        """Title, what it does (or why it cannot be done), and its keys."""
        possible = self.why_not is None
        about = self.about if self.why_not is None else f"not now: {self.why_not}"
        left = line(
            " ",
            (clean(self.title).ljust(_TITLES), Ink.STRONG if possible else Ink.DIM),
            (clean(about), Ink.PLAIN if possible else Ink.DIM),
        )
        return apart(left, line((f" {self.keys} ", Ink.KEY if possible else Ink.DIM)), width)

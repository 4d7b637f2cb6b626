"""Small pieces of the sentences people read: counts, lists of labels, sizes, spans of time."""

from __future__ import annotations

from collections.abc import Sequence

_LIMIT = 240


def seconds(value: float) -> str:
    """A span of time: ``0.3 s``, ``12 s``, ``4 min 5 s``, ``3 h 20 min``, ``12 d``."""
    value = max(0.0, value)
    if value < 1 and round(value, 1) > 0:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{hours // 24} d"


def plural(count: int, word: str, many: str | None = None) -> str:
    """``1 node``, ``2 nodes``; ``many`` where a mere s is not enough."""
    return f"{count} {word}" if count == 1 else f"{count} {many or word + 's'}"


def size(value: int) -> str:
    """A number of bytes in decimal units: ``812 B``, ``3.2 MB``."""
    if value < 1000:
        return f"{value} B"
    scaled = float(value)
    for unit in ("kB", "MB", "GB"):
        scaled /= 1000
        if scaled < 999.95:
            return f"{scaled:.1f} {unit}"
    return f"{scaled / 1000:.1f} TB"


def labels(names: Sequence[str]) -> str:
    """``node1``, ``node1 and node2``, ``node1, node2 and node3``."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def quoted(text: str) -> str:
    """What a server said, fit for one line: no line breaks, no control characters, of bounded length."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= _LIMIT else line[: _LIMIT - 1] + "…"


def sentence(text: str) -> str:
    """The text, closed with a full stop unless it is closed already."""
    return text if text.endswith((".", "!", "?", "…")) else text + "."

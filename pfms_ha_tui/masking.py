"""Secrets that cannot be printed by accident, and the last net before text leaves the program."""

from __future__ import annotations

import re

MASK = "••••"

_STATEMENT_SECRETS = re.compile(
    r"""(?ix)
    (?P<lead>
        (?:SOURCE|MASTER)_PASSWORD\s*=\s*
      | IDENTIFIED\s+(?:WITH\s+\S+\s+)?(?:BY|AS)\s+(?:PASSWORD\s+)?
      | (?:^|\s)--?(?:password|repl_dbpass|ha_dbpass|dbpass)[=\s]\s*
      | \b(?:password|passwd|dbpass|ha_dbpass|repl_dbpass)\s*[=:]\s*
      | \bMYSQL_PWD\s*=\s*
    )
    (?P<secret>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^\s,;]+)
    """
)


class Secret:
    """A secret string. ``repr`` and ``str`` show only a mask; :meth:`reveal` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str):
        self._value = value
        _known.add(value)

    def reveal(self) -> str:
        """The secret itself, for the library that must have it and for nothing else."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __repr__(self) -> str:
        return f"Secret({MASK})" if self._value else "Secret(empty)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never pickled")


_known: set[str] = set()


def mask(text: str) -> str:
    """``text`` without any secret this process holds, and without passwords spelt in SQL or options.

    Very short secrets (under four characters) are only masked where the syntax names them as a
    password: replacing every "a" would make the text unreadable and still give the secret away.
    """
    for secret in sorted(_known, key=len, reverse=True):
        if len(secret) >= 4 and secret in text:
            text = text.replace(secret, MASK)
    return _STATEMENT_SECRETS.sub(lambda match: f"{match['lead']}{MASK}", text)

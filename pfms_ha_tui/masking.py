"""Secrets that cannot be printed by accident, and the last net before text leaves the program.

Two nets, because each has holes: :func:`mask` removes every secret this process holds, in any of the
spellings it takes in SQL, a shell, a URL or JSON; and it removes whatever *stands where a password
stands*, known or not. Neither finds a secret that was cut in half: cut after masking, not before.
"""

from __future__ import annotations

import functools
import re
from typing import NoReturn

MASK = "••••"

_ORDINARY = frozenset(
    {
        *(
            "admin",
            "clone",
            "default",
            "demo",
            "localhost",
            "manager",
            "mariadb",
            "master",
            "monitor",
            "mysql",
        ),
        *(
            "node1",
            "node2",
            "pandora",
            "pandorafms",
            "passw0rd",
            "password",
            "pfms",
            "replica",
            "replication",
        ),
        *("resync", "root", "secret", "server", "slave", "slaveuser", "source", "test", "user", "worker"),
        *("1234", "12345", "123456", "3306"),
    }
)
"""Passwords of people who do not care. Replacing such a word everywhere would ruin the text and, as
the one word that is missing, give itself away; it is masked only where a password stands."""

_SHORTEST = 4
_WHOLE_WORD_BELOW = 8
"""A shorter secret counts only as a word of its own: "4711" must not eat binlog.000018:1471156."""


class Secret:
    """A secret string. ``repr`` and ``str`` show only a mask; :meth:`reveal` is the one way out.

    It cannot be pickled, encoded or formatted into anything else; a copy is the same object.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str):
        self._value = value
        _remember(value)

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

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled")


_known: dict[str, re.Pattern[str] | None] = {}
"""Spelling of a secret → how to find it, ``None`` = wherever it stands. Only ever grows, one key at a
time, so that threads need no lock."""
_longest_first: list[tuple[str, re.Pattern[str] | None]] = []


def mask(text: str) -> str:
    """``text`` without any secret this process holds, and without what stands where a password stands.

    Very short secrets and ordinary words are masked only in the latter case: replacing every "a"
    would make the text unreadable and still give the secret away.
    """
    for spelling, whole in _known_secrets():
        if spelling in text:
            text = text.replace(spelling, MASK) if whole is None else whole.sub(MASK, text)
    for pattern in _places():
        text = pattern.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    secret = found["secret"]
    if secret.strip("'\"\\") in ("", MASK):
        return found[0]
    return f"{found['lead']}{MASK}"


def _known_secrets() -> list[tuple[str, re.Pattern[str] | None]]:
    """The longest first, as a secret may be part of another."""
    global _longest_first
    if len(_longest_first) != len(_known):
        _longest_first = sorted(_known.items(), key=lambda item: -len(item[0]))
    return _longest_first


def _remember(value: str) -> None:
    if len(value) < _SHORTEST or value.lower() in _ORDINARY or value in _known:
        return
    for spelling in _spellings(value):
        whole = None
        if len(spelling) < _WHOLE_WORD_BELOW:
            whole = re.compile(rf"(?<![A-Za-z0-9]){re.escape(spelling)}(?![A-Za-z0-9])")
        _known[spelling] = whole


def _spellings(value: str) -> set[str]:
    """The forms a secret takes in SQL, a shell, a URL, JSON and a ``repr``."""
    backslashed = value.replace("\\", "\\\\")
    lines = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    escaped = "".join(lines.get(sign, sign) for sign in backslashed)
    return {
        value,
        value.strip() if len(value.strip()) >= _SHORTEST else value,
        value.replace("'", "''"),
        value.replace("'", "'\"'\"'"),
        value.replace("'", "'\\''"),
        backslashed.replace("'", "''"),
        escaped.replace("'", "\\'"),
        escaped.replace('"', '\\"'),
        escaped.replace("'", "\\'").replace('"', '\\"'),
        "".join(_percent(sign, "") for sign in value),
        "".join(_percent(sign, "/") for sign in value),
        "".join(sign if ord(sign) < 128 else _unicode_escape(sign) for sign in escaped.replace('"', '\\"')),
    }


def _percent(sign: str, safe: str) -> str:
    if sign.isascii() and (sign.isalnum() or sign in "_.-~" or sign in safe):
        return sign
    return "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))


def _unicode_escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_QUOTED = r"""'(?:[^'\\]|\\.|'')*(?:'|\Z)|"(?:[^"\\]|\\.|"")*(?:"|\Z)"""
"""A string of SQL, a shell or TOML; one that the text cuts off reaches to the end."""
_GAP = r"(?:\s|/\*(?:[^*]|\*(?!/)){0,200}\*/)*"
_WORD = r"(?:passwords?|passwd|passphrase|dbpass|secret|api_?key|auth_?token)"
_NAME = rf"(?<![\w.-])[\w.-]*?{_WORD}"
_FLAGS = re.IGNORECASE | re.VERBOSE | re.DOTALL | re.MULTILINE


@functools.cache
def _places() -> tuple[re.Pattern[str], ...]:
    """Where a password stands; compiled when first needed, as it costs some milliseconds."""
    return (
        # SQL: IDENTIFIED BY, IDENTIFIED WITH plugin AS, IDENTIFIED VIA plugin OR plugin USING, REPLACE
        re.compile(
            rf"""(?P<lead>
                \b(?:
                    IDENTIFIED {_GAP} (?:(?:WITH|VIA) {_GAP} ['"`]?\w+['"`]? {_GAP})?
                  | OR {_GAP} \w+ {_GAP}
                ) \b(?:BY|AS|USING)\b {_GAP} (?:PASSWORD\b {_GAP} \(? {_GAP})?
              | \bREPLACE \s+ (?=['"])
              | \b(?:OLD_)?PASSWORD {_GAP} \( {_GAP} (?=['"])
            ) (?P<secret>{_QUOTED})""",
            _FLAGS,
        ),
        # name = value: SQL (MASTER_PASSWORD), options (--password), the environment, TOML
        re.compile(
            rf"""(?P<lead>
                (?:
                    {_NAME} \\*["']?
                  | \b(?:MYSQL_PWD|SSHPASS|PGPASSWORD)
                  | \bSET {_GAP} PASSWORD (?:\s+FOR\s+[^=]{{1,200}})?
                )
                {_GAP} (?<![=!<>]) = (?!=) {_GAP} (?:(?:OLD_)?PASSWORD \s* \( \s*)?
            ) (?P<secret>{_QUOTED}|[^\s,;&)]+)""",
            _FLAGS,
        ),
        # "password": "value", as JSON and repr have it; with a bare colon it is prose ("using password: YES")
        re.compile(
            rf"""(?P<lead> {_NAME} \\*["']? \s* : \s* \\*) (?P<secret>{_QUOTED})""",
            _FLAGS,
        ),
        # --password value, sshpass -p value, curl -u user:value
        re.compile(
            rf"""(?P<lead>
                (?<!\S) --?[\w.-]{{0,64}}?{_WORD} \s+ (?=[^\s-])
              | \bsshpass \s+ -p \s*
              | \bcurl \b [^|;&\n]{{0,400}}? \s -u \s* [^\s:]{{1,100}} :
            ) (?P<secret>{_QUOTED}|[^\s,;]+)""",
            _FLAGS,
        ),
        # mysql -pvalue; in no other program is -p a password
        re.compile(
            rf"""(?P<lead>
                \b(?:mysql|mariadb|xtrabackup|innobackupex|mariabackup)[\w-]* \b [^|;&\n]{{0,400}}? \s ["']?-p
            ) (?P<secret>{_QUOTED}|[^\s|;&]+)""",
            _FLAGS & ~re.IGNORECASE,
        ),
        # A line of pandora_server.conf
        re.compile(
            r"""(?P<lead>^ [ \t]* (?:\w{0,40}dbpass|\w{0,40}_pass) [ \t]+) (?P<secret>[^=:\s][^\r\n]*)""",
            _FLAGS,
        ),
        # scheme://user:value@host
        re.compile(
            r"""(?P<lead>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'"]{0,100}:) (?P<secret>[^\s/'"]{1,500})(?=@)""",
            _FLAGS,
        ),
        # A password's hash: good for logging in (native), or for guessing at leisure
        re.compile(
            r"""(?P<lead>)(?P<secret>(?<![\w*])\*[0-9A-F]{40}\b | \$A\$[0-9]{3}\$[^'"\n]{20,80})""",
            _FLAGS & ~re.IGNORECASE,
        ),
        # A private key
        re.compile(
            r"""(?P<lead>-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----) (?P<secret>.+?) (?=-----END\ |\Z)""",
            _FLAGS,
        ),
    )

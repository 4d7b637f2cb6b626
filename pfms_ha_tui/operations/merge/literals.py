r"""Rows as SQL literals: one text that is key, archive and statement at the same time.

The server itself renders a row as ``(17,1700000000,'0.1')``. Two rows are the same exactly when these
texts are; the text goes into the archive as it is, and into the INSERT as it is. Exactness, type by type:

* DOUBLE: servers print the shortest digits that read back to the same value; quoted, so that the text
  goes through the server's own reading of numbers and "-0" keeps its sign (MariaDB prints it as 0).
  FLOAT is printed in full as the DOUBLE it equals.
* text: ``QUOTE()`` of the utf8mb4 text (escapes ``' \``, NUL and Ctrl-Z), newlines as ``\n``: a row is
  one line, so ``),`` and a line's end can only be its end. Comparing bytes, no collation has a say.
* binary: ``X'…'``. Dates as the session prints them, the session's zone being UTC. NULL is ``NULL``.

Statements and archives are read with backslash escapes on, ``character_set_client`` utf8mb4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pfms_ha_tui.nodes.dialect import quote_name

LONG = 200
"""Bytes of text in a row above which only its digest crosses the wire for comparing."""

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_NUMBERS = _INTEGERS | {"decimal", "year"}
_REALS = frozenset({"double", "float"})
_MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"})
_BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
KNOWN_TYPES = _NUMBERS | _REALS | _MOMENTS | _TEXTS | _BINARIES | {"bit"}

_FIELD = re.compile(rb"'(?:[^'\\]|\\.)*'|X'[0-9A-F]*'|[^,'()]+", re.DOTALL)
_ESCAPED = re.compile(r"[\0\n\x1a'\\]")
_ESCAPES = {"\0": "\\0", "\n": "\\n", "\x1a": "\\Z", "'": "\\'", "\\": "\\\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the server's ``information_schema.columns`` tells it."""

    name: str
    type: str
    """``DATA_TYPE``, lower case: ``int``, ``varchar``."""
    full_type: str
    """``COLUMN_TYPE``, lower case, without display widths: ``int unsigned``, ``varchar(100)``."""
    nullable: bool = True
    charset: str | None = None
    length: int | None = None
    """Longest text in characters."""
    has_default: bool = True
    """Whether a row may leave it out."""
    auto_increment: bool = False

    @property
    def integer(self) -> bool:
        """Whether it holds whole numbers."""
        return self.type in _INTEGERS

    @property
    def textual(self) -> bool:
        """Whether it holds text, ENUM and JSON included."""
        return self.type in _TEXTS

    @property
    def binary(self) -> bool:
        """Whether it holds bytes."""
        return self.type in _BINARIES


def field_sql(column: Column, name: str | None = None) -> str:
    """Expression for one field's literal; its value is NULL only when it would exceed max_allowed_packet."""
    quoted = name or quote_name(column.name)
    if column.textual:
        # The explicit collation keeps columns of different collations from quarrelling in one CONCAT.
        return f"QUOTE(CONVERT({quoted} USING utf8mb4) COLLATE utf8mb4_bin)"
    if column.type in _NUMBERS:
        text = quoted
    elif column.type == "bit":
        text = f"{quoted}+0"
    elif column.type == "float":
        text = f"CONCAT('''',{quoted}+0e0,'''')"
    elif column.binary:
        text = f"CONCAT('X''',HEX({quoted}),'''')"
    else:
        text = f"CONCAT('''',{quoted},'''')"
    return f"IFNULL({text},'NULL')" if column.nullable else text


def tuple_sql(columns: Sequence[Column], *, opened: bool = True, prefix: str = "") -> str:
    """Expression for a row's literal.

    Args:
        columns: In the order of the fields.
        opened: With the opening parenthesis; without it is the rest of a row whose first fields are apart.
        prefix: Table alias with its dot.
    """
    fields = [field_sql(column, prefix + quote_name(column.name)) for column in columns]
    joined = ",',',".join(fields)
    lead = "'('," if opened else ""
    row = f"CONCAT({lead}{joined},')')"
    if any(column.textual for column in columns):
        return f"REPLACE({row},'\\n','\\\\n')"
    return row


def long_sql(columns: Sequence[Column], prefix: str = "") -> str | None:
    """Condition for rows of which only the digest is compared; ``None`` when no row can be that long."""
    lengths = [
        f"IFNULL(LENGTH({prefix}{quote_name(column.name)}),0)"
        for column in columns
        if column.binary or (column.textual and column.type not in ("enum", "set"))
    ]
    return f"{'+'.join(lengths)}>{LONG}" if lengths else None


def digest(literal: bytes) -> bytes:
    """What ``SHA2(literal, 256)`` gives."""
    return hashlib.sha256(literal).hexdigest().encode()


def quote(value: str) -> str:
    """The literal that :func:`field_sql` gives for a text."""
    return "'" + _ESCAPED.sub(lambda match: _ESCAPES[match[0]], value) + "'"


def unquote(literal: str) -> str:
    """The text of a quoted literal (the inverse of :func:`quote`); other literals as they are."""
    if not literal.startswith("'"):
        return literal
    names = {"0": "\0", "n": "\n", "Z": "\x1a"}
    return re.sub(r"\\(.)", lambda match: names.get(match[1], match[1]), literal[1:-1], flags=re.DOTALL)


def fields(row: bytes) -> list[bytes]:
    """The fields' literals of ``(a,b,…)``, or of its rest ``b,…)``."""
    return _FIELD.findall(row)


def joined(parts: Iterable[bytes]) -> bytes:
    """``(a,b,…)`` of fields' literals."""
    return b"(" + b",".join(parts) + b")"


def part_sql(column: Column) -> str:
    """A field's raw value, for rows whose literal would exceed the server's max_allowed_packet."""
    name = quote_name(column.name)
    if column.textual:
        return f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)"
    return name if column.binary else field_sql(column)


def part_literal(column: Column, value: object) -> bytes:
    """The literal of a field fetched by :func:`part_sql`."""
    if value is None:
        return b"NULL"
    if column.textual:
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        return quote(text).encode("utf-8", "surrogateescape")
    if column.binary:
        content = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        return b"X'" + content.hex().upper().encode() + b"'"
    return value if isinstance(value, bytes) else str(value).encode()

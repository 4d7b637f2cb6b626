"""The little of a database session that Pandora's tables need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Sql(Protocol):
    """A session whose default database is Pandora's.

    Without a default database a row-changing statement is lost on a slave with ``replicate-do-db``
    (the manual's set-up), so a session opened with ``database=`` is required.
    """

    def query(
        self, sql: str, params: Sequence[object] = (), timeout: float | None = None
    ) -> list[dict[str, object]]:
        """The rows of ``sql``."""

    def execute(self, sql: str, params: Sequence[object] = (), timeout: float | None = None) -> int:
        """The number of rows ``sql`` changed."""


def text_of(value: object) -> str | None:
    """A column's value as text; ``None`` for NULL. Some columns come as bytes (BLOB collations)."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)

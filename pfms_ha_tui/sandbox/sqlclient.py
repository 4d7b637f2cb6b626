"""Short administrator connections of the sandbox: one statement or a few, every time-out set, then closed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants.CR import CR_CONNECTION_ERROR
from pymysql.cursors import DictCursor

from pfms_ha_tui.errors import SandboxError

Rows = list[dict[str, Any]]
"""Rows as the driver gives them: column name to value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A login. The password never shows in the representation."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlClient:
    """The way into one node: its Unix socket, which works whatever the network does."""

    label: str
    socket: Path
    account: Account

    def connect(self, *, database: str | None, timeout: float) -> pymysql.connections.Connection[DictCursor]:
        """An autocommit connection; the caller closes it."""
        connection = pymysql.connections.Connection(
            user=self.account.user,
            password=self.account.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=max(1, round(timeout)),
            read_timeout=timeout,
            write_timeout=timeout,
            cursorclass=DictCursor,
            ssl_disabled=True,
            defer_connect=True,
        )
        # PyMySQL forgets to close a Unix socket that it could not connect, so it is given one that is. It
        # cannot know then that the server takes this transport for safe, and wants the password as it is.
        connection._secure = True  # type: ignore[attr-defined]
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(timeout)
            link.connect(str(self.socket))
            connection.connect(link)
        except OSError as error:
            link.close()
            reason = f"{self.socket}: {error.strerror}"
            raise pymysql.err.OperationalError(CR_CONNECTION_ERROR, reason) from error
        except BaseException:
            link.close()
            raise
        return connection

    def query(
        self,
        statement: str,
        parameters: Sequence[object] | None = None,
        *,
        database: str | None = None,
        timeout: float = 20.0,
    ) -> Rows:
        """Run one statement and return its rows.

        Raises:
            SandboxError: the server refused it, is away, or did not answer within ``timeout`` seconds.
        """
        return self.script([(statement, parameters)], database=database, timeout=timeout)

    def script(
        self,
        statements: Iterable[tuple[str, Sequence[object] | None]],
        *,
        database: str | None = None,
        timeout: float = 20.0,
    ) -> Rows:
        """Run statements in one session; the rows of the last one.

        Raises:
            SandboxError: as for :meth:`query`.
        """
        rows: Rows = []
        try:
            with (
                closing(self.connect(database=database, timeout=timeout)) as connection,
                connection.cursor() as cursor,
            ):
                for statement, parameters in statements:
                    cursor.execute(statement, parameters)
                    rows = list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise SandboxError(f"SQL failed: {' '.join(map(str, error.args))}", node=self.label) from error
        return rows

    def version(self) -> tuple[int, ...]:
        """The server's version, ``(10, 11, 6)``."""
        text = str(self.query("SELECT VERSION() AS version")[0]["version"])
        return tuple(int(number) for number in text.split("-")[0].split("."))

    def wait_for(self, statement: str, accept: Callable[[Rows], bool], *, timeout: float, what: str) -> Rows:
        """Repeat a query until ``accept(rows)`` holds.

        Raises:
            SandboxError: it did not hold within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            rows = self.query(statement)
            if accept(rows):
                return rows
            if time.monotonic() > deadline:
                raise SandboxError(f"{what} within {timeout:g} s; last seen: {rows}", node=self.label)
            time.sleep(0.02)

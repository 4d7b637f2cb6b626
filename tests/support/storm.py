"""A full connection table: whoever is not connected yet gets error 1040."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pymysql

from pfms_ha_tui.sandbox import Sandbox, SandboxNode

_CONNECTIONS = 10


class Storm:
    """The connections that take every place of a node."""

    def __init__(self, sandbox: Sandbox, node: SandboxNode, cursor: pymysql.cursors.DictCursor) -> None:
        self._sandbox = sandbox
        self._node = node
        self._cursor = cursor
        self._taken: list[pymysql.connections.Connection[Any]] = []

    def fill(self) -> None:
        """End the sessions of this program and take their places, and every other one. Blocks."""
        self._cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = %s",
            (self._sandbox.accounts.admin.user,),
        )
        for row in self._cursor.fetchall():
            with contextlib.suppress(pymysql.MySQLError):
                self._cursor.execute(f"KILL {int(row['id'])}")
        account = self._sandbox.accounts.pandora
        with contextlib.suppress(pymysql.MySQLError, OSError):
            while True:
                self._taken.append(
                    pymysql.connect(
                        unix_socket=str(self._node.client.socket),
                        user=account.user,
                        password=account.password,
                        ssl_disabled=True,  # quick: the killed ones want their places back
                        connect_timeout=5,
                    )
                )

    def end(self) -> None:
        """Give the places back."""
        for session in self._taken:
            session.close()


@contextlib.contextmanager
def storm_on(sandbox: Sandbox, node: SandboxNode) -> Iterator[Storm]:
    """A node that takes few connections for now; :meth:`Storm.fill` takes them all."""
    keeper = node.client.connect(database=None, timeout=60)
    with contextlib.closing(keeper), keeper.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.max_connections AS n")
        before = int((cursor.fetchone() or {})["n"])
        cursor.execute(f"SET GLOBAL max_connections = {_CONNECTIONS}")
        storm = Storm(sandbox, node, cursor)
        try:
            yield storm
        finally:
            storm.end()
            cursor.execute(f"SET GLOBAL max_connections = {before}")

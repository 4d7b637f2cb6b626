"""A write that is under way when its server is frozen."""

from __future__ import annotations

import contextlib
import threading

import pymysql

from pfms_ha_tui.sandbox import Sandbox, SandboxNode


class LateWrite:
    """A write that is sent to a frozen server and waits in its socket."""

    MODULE = 900003

    def __init__(self, sandbox: Sandbox, node: SandboxNode) -> None:
        self.acknowledged = False
        account = sandbox.accounts.pandora
        self._connection = pymysql.connect(
            host=node.host,
            user=account.user,
            password=account.password,
            database="pandora",
            autocommit=True,
            ssl_disabled=True,
            read_timeout=60,
        )
        self._thread = threading.Thread(target=self._write, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it still waits."""
        return self._thread.is_alive()

    def send(self) -> None:
        """Send it; returns at once."""
        self._thread.start()

    async def is_on(self, node: SandboxNode) -> bool:
        """Whether its row is there."""
        return bool(
            await node.sql(
                "SELECT 1 FROM tagente_datos WHERE id_agente_modulo = %s", (self.MODULE,), database="pandora"
            )
        )

    def _write(self) -> None:
        with contextlib.suppress(pymysql.MySQLError, OSError), self._connection:
            self._connection.query(
                "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp)"
                f" VALUES ({self.MODULE}, 1, 1)"
            )
            self.acknowledged = True

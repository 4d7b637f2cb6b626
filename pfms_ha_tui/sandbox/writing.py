"""The owner's handle on the writer process, and what was acknowledged to it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import shell
from pfms_ha_tui.sandbox.files import SandboxPaths, write_private
from pfms_ha_tui.sandbox.node import SandboxNode
from pfms_ha_tui.sandbox.options import MYSQL_PORT
from pfms_ha_tui.sandbox.schema import DATABASE, SEQUENCE_MODULE, SEQUENCE_TEXT_MODULE
from pfms_ha_tui.sandbox.sqlclient import Account
from pfms_ha_tui.sandbox.writer import EVENT_MARK, WriterSettings, WriterStats

_ANSWER_TIMEOUT = 15.0


class SequencedRow(NamedTuple):
    """A row of the writer: which table, which number."""

    table: str
    sequence: int


class SandboxWriter:
    """Controls the writer. Its methods may be used from any event loop.

    It writes to the host that the hosts file names, and reads that file again when the Pandora service
    command of the sandbox is called (``pandora_service_cmd``), or when its connection breaks.
    """

    def __init__(
        self, paths: SandboxPaths, account: Account, *, rate: float, prefix: tuple[str, ...]
    ) -> None:
        self._paths = paths
        self._noted = paths.pandora / "acknowledged.log"
        self._lock = threading.Lock()
        settings = WriterSettings(
            hosts_file=str(paths.hosts_file),
            port=MYSQL_PORT,
            user=account.user,
            password=account.password,
            rate=rate,
            acknowledgements=str(self._noted),
            pid_file=str(paths.writer_pid),
        )
        settings_file = paths.pandora / "writer.json"
        write_private(settings_file, msgspec.json.encode(settings).decode())
        self._noted.touch()
        commands, self._commands = _open_pipe()
        self._answers, answers = _open_pipe()
        with commands, answers, (paths.pandora / "writer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "pfms_ha_tui.sandbox.writer", str(settings_file)],
                env=shell.python_environment(paths.root),
                stdin=commands,
                stdout=answers,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def pause(self) -> WriterStats:
        """Stop writing; when this returns, no statement is under way any more."""
        return await asyncio.to_thread(self._ask, "pause")

    async def resume(self) -> WriterStats:
        """Go on writing."""
        return await asyncio.to_thread(self._ask, "resume")

    async def reconnect(self) -> WriterStats:
        """Leave the connection and read the hosts file again."""
        return await asyncio.to_thread(self._ask, "restart")

    async def reset_gap(self) -> WriterStats:
        """Begin a new measurement of :attr:`WriterStats.longest_gap`."""
        return await asyncio.to_thread(self._ask, "reset")

    async def stats(self) -> WriterStats:
        """The figures now."""
        return await asyncio.to_thread(self._ask, "stats")

    async def retarget(self, host: str) -> WriterStats:
        """Name another database host in the hosts file and reconnect, as a person would by hand."""
        fresh = self._paths.hosts_file.with_suffix(".new")
        fresh.write_text(host)
        fresh.replace(self._paths.hosts_file)
        return await self.reconnect()

    async def wait_for_rows(self, more: int = 1, timeout: float = 30.0) -> WriterStats:
        """Return when ``more`` further rows have been acknowledged.

        Raises:
            SandboxError: they were not within ``timeout`` seconds; the reason holds the writer's last error.
        """
        stats = await self.stats()
        wanted = stats.acknowledged + more
        deadline = asyncio.get_running_loop().time() + timeout
        while stats.acknowledged < wanted:
            if asyncio.get_running_loop().time() > deadline:
                raise SandboxError(
                    f"the writer got no {more} rows acknowledged within {timeout:g} s: {stats.last_error}"
                )
            await asyncio.sleep(0.02)
            stats = await self.stats()
        return stats

    def acknowledged(self) -> list[SequencedRow]:
        """Every row the server said yes to, in order. Whatever is missing of these has been lost."""
        rows = []
        with self._noted.open(encoding="ascii") as noted:
            for line in noted:
                if line.endswith("\n"):
                    table, sequence, _ = line.split()
                    rows.append(SequencedRow(table, int(sequence)))
        return rows

    async def rows_on(self, node: SandboxNode) -> Counter[SequencedRow]:
        """The writer's rows on a node, with how many times each is there."""
        found: Counter[SequencedRow] = Counter()
        for table, statement, parameter in (
            (
                "tagente_datos",
                "SELECT datos AS mark FROM tagente_datos WHERE id_agente_modulo = %s",
                SEQUENCE_MODULE,
            ),
            (
                "tagente_datos_string",
                "SELECT datos AS mark FROM tagente_datos_string WHERE id_agente_modulo = %s",
                SEQUENCE_TEXT_MODULE,
            ),
            ("tevento", "SELECT id_extra AS mark FROM tevento WHERE id_extra LIKE %s", f"{EVENT_MARK}%"),
        ):
            for row in await node.sql(statement, (parameter,), database=DATABASE, timeout=60):
                found[SequencedRow(table, int(float(str(row["mark"]).removeprefix(EVENT_MARK))))] += 1
        return found

    async def lost_on(self, node: SandboxNode) -> list[SequencedRow]:
        """Acknowledged rows that the node does not have. Pause first, and let the slaves catch up."""
        there = await self.rows_on(node)
        return [row for row in self.acknowledged() if row not in there]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._commands.close()
        self._answers.close()

    def _ask(self, command: str) -> WriterStats:
        with self._lock:
            try:
                self._commands.write(json.dumps({"do": command}).encode() + b"\n")
                readable, _, _ = select.select([self._answers], [], [], _ANSWER_TIMEOUT)
                answer = self._answers.readline() if readable else b""
            except (OSError, ValueError) as error:
                raise SandboxError(f"the writer cannot be reached: {error}") from error
            if not answer:
                log = self._log_tail()
                raise SandboxError(f"the writer does not answer to {command!r}{': ' if log else ''}{log}")
            return msgspec.json.decode(answer, type=WriterStats)

    def _log_tail(self) -> str:
        log: Path = self._paths.pandora / "writer.log"
        return log.read_text(errors="replace")[-400:].strip() if log.exists() else ""


def _open_pipe() -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)

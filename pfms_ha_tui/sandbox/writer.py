"""The writer: what a Pandora server does to its database, as a process.

``python -m pfms_ha_tui.sandbox.writer SETTINGS.json``. It takes its database host from the hosts file
whenever it connects, as a Pandora server does when it starts; SIGHUP (the sandbox's service command sends it)
is that restart. Every second it writes the servers' keep-alives and some measurements; all the time, at the
wanted rate, it writes rows with a sequence number, one statement a transaction. A row counts as acknowledged
only after the server said so, and is then noted in the acknowledgement file: table, number, time. Whatever is
noted there and not found in the database later has been lost.

Control: one JSON object a line on stdin (``{"do": "pause"}``), answered by one line of statistics on stdout.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import pymysql

from pfms_ha_tui.sandbox.schema import (
    AGENTS,
    DATABASE,
    INCREMENT_MODULE_KIND,
    MODULES_PER_AGENT,
    SEQUENCE_MODULE,
    SEQUENCE_TEXT_MODULE,
)
from pfms_ha_tui.sandbox.seed import PANDORA_SERVERS

_RETRY = 0.1
_TEXT_EVERY = 10
_EVENT_EVERY = 25
EVENT_MARK = "pfms-writer-"
"""Prefix of ``tevento.id_extra`` of sequenced events."""


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told; the file holds a password and is readable by its owner alone."""

    hosts_file: str
    port: int
    user: str
    password: str
    rate: float
    acknowledgements: str
    pid_file: str


class WriterStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer has done so far."""

    host: str | None
    """Database host it is connected to, None while it has none."""
    acknowledged: int
    failed: int
    """Writes the server refused, or whose answer never came."""
    connects: int
    last_sequence: int
    last_acknowledged_at: float | None
    """Seconds since the epoch."""
    longest_gap: float
    """Longest time between two acknowledged rows since the last reset, in seconds; not counting pauses."""
    last_error: str | None
    paused: bool


class Writer:
    """The loop and its state. The control thread only touches what the lock guards, and the socket."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._paused = False
        self._restart = False
        self._connection: pymysql.connections.Connection[Any] | None = None
        self._host: str | None = None
        self._acknowledged = 0
        self._failed = 0
        self._connects = 0
        self._sequence = 0
        self._last_ack: float | None = None
        self._gap_start: float | None = None
        self._longest_gap = 0.0
        self._last_error: str | None = None
        self._random = random.Random(1)  # noqa: S311
        self._next_keepalive = 0.0

    def run(self) -> None:
        """Write until told to stop."""
        with Path(self._settings.acknowledgements).open("a", encoding="ascii", buffering=1) as noted:
            next_row = time.monotonic()
            while not self._stopping:
                if self._paused:
                    self._gap_start = None
                    self._wake.wait(0.2)
                    self._wake.clear()
                    next_row = time.monotonic()
                    continue
                if self._restart:
                    self._restart = False
                    self._disconnect()
                try:
                    with self._lock:
                        if not self._paused:
                            self._write(noted)
                except (pymysql.MySQLError, OSError) as error:
                    self._failed += 1
                    self._last_error = f"{self._host}: {error}"
                    self._disconnect()
                    if not self._restart:
                        self._wake.wait(_RETRY)
                        self._wake.clear()
                next_row = max(next_row + 1 / self._settings.rate, time.monotonic() - 1)
                if (delay := next_row - time.monotonic()) > 0:
                    self._wake.wait(delay)
                    self._wake.clear()
        self._disconnect()

    def control(self, commands: IO[str], answers: IO[str]) -> None:
        """Serve commands until their pipe closes, which is the end of the writer as well."""
        for line in commands:
            match json.loads(line)["do"]:
                case "pause":
                    self._paused = True
                    self._wake.set()
                    if not self._lock.acquire(timeout=1):
                        # A statement hangs on a server that does not answer. Break it: not acknowledged.
                        self._break_connection()
                        self._lock.acquire()
                    self._lock.release()
                case "resume":
                    self._paused = False
                    self._wake.set()
                case "restart":
                    self.restart()
                case "reset":
                    self._longest_gap = 0.0
                case "stats":
                    pass
            answers.write(msgspec.json.encode(self.stats()).decode() + "\n")
            answers.flush()
        self._stopping = True
        self._wake.set()
        self._break_connection()

    def restart(self) -> None:
        """Leave the present connection, whatever it is doing, and read the hosts file again."""
        self._restart = True
        self._wake.set()
        self._break_connection()

    def stats(self) -> WriterStats:
        """The figures now."""
        return WriterStats(
            host=self._host,
            acknowledged=self._acknowledged,
            failed=self._failed,
            connects=self._connects,
            last_sequence=self._sequence,
            last_acknowledged_at=self._last_ack,
            longest_gap=max(self._longest_gap, self._open_gap()),
            last_error=self._last_error,
            paused=self._paused,
        )

    def _open_gap(self) -> float:
        start = self._gap_start
        return time.monotonic() - start if start is not None else 0.0

    def _connect(self) -> pymysql.connections.Connection[Any]:
        if self._connection is None:
            with Path(self._settings.hosts_file).open(encoding="utf-8") as hosts:
                host = hosts.readline().strip()
            # Known before it connects: it can be broken while it waits for a greeting that never comes.
            self._connection = pymysql.connections.Connection(
                host=host,
                port=self._settings.port,
                user=self._settings.user,
                password=self._settings.password,
                database=DATABASE,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=5,
                read_timeout=30,
                write_timeout=30,
                ssl_disabled=True,
                defer_connect=True,
            )
            self._host = host
            self._connection.connect()
            self._connects += 1
            self._next_keepalive = 0.0
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection, self._host = self._connection, None, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _break_connection(self) -> None:
        connection = self._connection
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _write(self, noted: IO[str]) -> None:
        connection = self._connect()
        now = int(time.time())
        with connection.cursor() as cursor:
            if time.monotonic() >= self._next_keepalive:
                self._next_keepalive = time.monotonic() + 1
                self._keep_alive(cursor, now)
            self._sequence += 1
            table, statement, parameters = self._row(self._sequence, now)
            cursor.execute(statement, parameters)
        noted.write(f"{table} {self._sequence} {now}\n")
        moment = time.monotonic()
        self._longest_gap = max(self._longest_gap, self._open_gap())
        self._gap_start = moment
        self._acknowledged += 1
        self._last_ack = time.time()

    def _row(self, sequence: int, now: int) -> tuple[str, str, tuple[object, ...]]:
        if sequence % _EVENT_EVERY == 0:
            return (
                "tevento",
                "INSERT INTO tevento (id_agente, id_grupo, timestamp, evento, utimestamp, event_type,"
                " id_agentmodule, criticity, source, tags, id_extra, critical_instructions,"
                " warning_instructions, unknown_instructions, custom_data, event_custom_id, data)"
                " VALUES (1, 2, %s, %s, %s, 'going_up_normal', %s, 2, 'monitoring_server', '', %s,"
                " '', '', '', '', '', %s)",
                (
                    datetime.fromtimestamp(now),
                    f"Module&#x20;&#039;Writer&#x20;sequence&#039;&#x20;is&#x20;&#40;{sequence}&#41;",
                    now,
                    SEQUENCE_MODULE,
                    f"{EVENT_MARK}{sequence}",
                    str(sequence),
                ),
            )
        if sequence % _TEXT_EVERY == 0:
            return (
                "tagente_datos_string",
                "INSERT INTO tagente_datos_string (id_agente_modulo, datos, utimestamp) VALUES (%s, %s, %s)",
                (SEQUENCE_TEXT_MODULE, str(sequence), now),
            )
        return (
            "tagente_datos",
            "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (%s, %s, %s)",
            (SEQUENCE_MODULE, sequence, now),
        )

    def _keep_alive(self, cursor: pymysql.cursors.Cursor, now: int) -> None:
        """Once a second: both Pandora servers are alive, and one agent has reported."""
        moment = datetime.fromtimestamp(now)
        cursor.execute(
            "UPDATE tserver SET keepalive = %s, server_keepalive_utimestamp = %s, status = 1"
            " WHERE name IN (%s, %s)",
            (moment, now, *PANDORA_SERVERS),
        )
        agent = self._random.randrange(AGENTS) + 1
        modules = [(agent - 1) * MODULES_PER_AGENT + kind + 1 for kind in range(INCREMENT_MODULE_KIND)]
        values = [round(self._random.gauss(50, 10), 2) for _ in modules]
        cursor.executemany(
            "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (%s, %s, %s)",
            [(module, value, now) for module, value in zip(modules, values, strict=True)],
        )
        cursor.execute("UPDATE tagente SET ultimo_contacto = %s WHERE id_agente = %s", (moment, agent))
        cursor.execute(
            "UPDATE tagente_estado SET datos = %s, utimestamp = %s, timestamp = %s, last_try = %s"
            " WHERE id_agente_modulo = %s",
            (str(values[0]), now, moment, moment, modules[0]),
        )


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    settings = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=WriterSettings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = Writer(settings)
    signal.signal(signal.SIGHUP, lambda *_: writer.restart())
    Path(settings.pid_file).write_text(f"{os.getpid()}\n")
    threading.Thread(target=writer.control, args=(sys.stdin, sys.stdout), daemon=True).start()
    writer.run()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Whether a node that answers can also write: a bounded write of one row, on a thread of its own.

A full disk or a stalled storage lets reads pass. So about every ten seconds one row of ``tconfig`` (token
``pfms_ha_probe``) gets a new value, on a connection of its own, with short time-outs; the prober never waits
for it. The write goes through the binary log like any other: that log's disk is what fills up first.

Off unless asked for, and only on a node whose last probe found it writable: never on a slave.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from pfms_ha_tui.cluster.observation import Failure, Reach
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError

BEAT = 10.0
PROBE_TOKEN = "pfms_ha_probe"  # noqa: S105 - the name of a row of tconfig, not a secret

_UPDATE = "UPDATE tconfig SET value = %s WHERE token = %s"
_INSERT = (
    "INSERT INTO tconfig (token, value)"
    " SELECT %s, %s FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM tconfig AS known WHERE known.token = %s)"
)

_DISK = frozenset({3, 14, 20, 28, 1021, 1026, 1030, 1114, 1180, 1534, 1598})
"""Writing, renaming, closing, no space, disk full, storage engine, table full, commit, binary log."""
_WAITED = frozenset({1205, 1317, 1907, 1969, 3024})
"""Lock wait time-out, interrupted, statement time-outs."""


class WriteProbe:
    """Starts a bounded write when due, and knows how the last one ended."""

    def __init__(self, node: NodeSettings, cluster: ClusterSettings):
        self._node = node
        self._cluster = cluster
        limit = cluster.timeouts.read
        self._timeouts = replace(cluster.timeouts, statement=limit)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started_at = 0.0
        self._next_at = 0.0
        self._failure: Failure | None = None
        self._missing: str | None = None
        self._kill: Callable[[], None] | None = None
        self._stopping = False

    @property
    def failure(self) -> Failure | None:
        """Why writing is impaired; ``None`` when the last write went well or none was asked for."""
        with self._lock:
            waited = time.monotonic() - self._started_at
            if self._thread is not None and waited > self._timeouts.statement + 1:
                return _failed(f"a write has not ended for {waited:.0f} s")
            return self._failure

    @property
    def missing(self) -> str | None:
        """Why the node's writing cannot be proved: our own lack of a privilege or a table."""
        with self._lock:
            return self._missing

    def start_if_due(self) -> None:
        """Start a write on its thread, unless the last one is still going on or was a short while ago."""
        now = time.monotonic()
        with self._lock:
            if self._thread is not None or now < self._next_at or self._stopping:
                return
            self._started_at, self._next_at = now, now + BEAT
            self._thread = threading.Thread(
                target=self._run, name=f"write probe {self._node.label}", daemon=True
            )
            self._thread.start()

    def forget(self) -> None:
        """The node is no longer to be written to: what was found does not count any more."""
        with self._lock:
            self._failure = self._missing = None
            self._next_at = 0.0

    def stop(self, timeout: float) -> None:
        """Break off a write that is going on and wait for its thread."""
        with self._lock:
            self._stopping = True
            thread, kill = self._thread, self._kill
        if kill is not None:
            kill()
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        failure: Failure | None = None
        missing: str | None = None
        try:
            self._write()
        except SqlError as error:
            failure, missing = _judge(error)
        finally:
            with self._lock:
                self._failure, self._missing = failure, missing
                self._thread = self._kill = None

    def _write(self) -> None:
        session = SqlSession.open(
            self._node, self._cluster, database=self._cluster.database, timeouts=self._timeouts
        )
        with session:
            with self._lock:
                self._kill = session.kill_switch()
            session.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, int(self._timeouts.statement))}")
            stamp = f"{time.time():.3f}"
            number = session.connection_id
            try:
                if session.execute(_UPDATE, (stamp, PROBE_TOKEN)) == 0:
                    session.execute(_INSERT, (PROBE_TOKEN, stamp, PROBE_TOKEN))
            except SqlError as error:
                if error.errno is None and not self._stopping:
                    self._end_on_server(number)
                raise

    def _end_on_server(self, number: int) -> None:
        """MySQL has no time-out for writes: do not leave a waiting session behind with each probe."""
        try:
            with SqlSession.open(self._node, self._cluster, timeouts=self._timeouts) as session:
                session.execute(session.dialect.kill(number))
        except SqlError:
            return


def _judge(error: SqlError) -> tuple[Failure | None, str | None]:
    """A failed write as an impairment, or as something this program lacks, or as nothing at all."""
    if error.failure.kind is Reach.HUNG:
        return _failed("a write did not end in time"), None
    if error.errno in _DISK:
        return _failed(error.reason), None
    if error.errno in _WAITED:
        return _failed("a write waited too long for a lock or for the storage"), None
    if error.errno in (1290, 1836):
        return None, None
    if error.failure.kind is Reach.IMPAIRED:
        return None, error.reason
    return None, None


def _failed(text: str) -> Failure:
    return Failure(
        kind=Reach.IMPAIRED,
        code="write_probe",
        text=text,
        hint="look at the server's disk space and storage; a switchover moves the load away",
    )

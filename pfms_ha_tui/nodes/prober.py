"""The thread that watches one node.

Between probes it waits on the open socket too: a server that dies closes it, the kernel says so within
milliseconds, and the next probe starts at once. It never blocks on a node: a server that is silent is
reported as such again and again while a second connection finds out whether it still greets.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pfms_ha_tui.cluster.observation import Failure, NodeObservation, Reach
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings
from pfms_ha_tui.nodes import wire
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import NoGreetingError, SqlError, classify
from pfms_ha_tui.nodes.probe import STATE, Answers, Probe
from pfms_ha_tui.nodes.writeprobe import WriteProbe

_log = logging.getLogger(__name__)

SILENCE = 1.25
"""Seconds without an answer after which a probe is first reported as silent; then every second."""
_REPORT_GAP = 1.0
_REFUSED_GAP = 0.5
"""How often a port that refuses is tried again at most: a returned old master must be found quickly."""
_CLOSING_TRIES = 5
_CLOSING_GAP = 0.01
"""A dying server still accepts for a few milliseconds and closes at once; its port refuses right after."""
_REDIAL_FIRST, _REDIAL_LAST = 10.0, 600.0
"""A connection that waits for its greeting is made anew after that long, doubling: each one fills the frozen
server's queue, and counts against ``max_connect_errors`` when it wakes up."""


_STUCK_FIRST, _STUCK_LAST = 5.0, 60.0
"""Seconds that a question is left out after it was not answered, doubling each time."""


class _Replaced(Exception):  # noqa: N818 - control flow, never seen outside
    """A second connection was greeted while the first one was silent."""

    def __init__(self, probe: Probe):
        super().__init__()
        self.probe = probe


@dataclass(frozen=True, slots=True)
class _Stuck:
    """A question that the server left open."""

    times: int
    until: float
    """Monotonic time until which it is not asked."""


class NodeProber:
    """Probes one node on a thread of its own and hands each observation to a callback on that thread."""

    def __init__(
        self,
        node: NodeSettings,
        cluster: ClusterSettings,
        on_observation: Callable[[NodeObservation], None],
        *,
        write_probe: bool = False,
    ):
        """A prober that does nothing before :meth:`start`.

        Args:
            on_observation: Called on the prober's thread; must not block for long.
            write_probe: The first value of :attr:`write_probe`.
        """
        self.node = node
        self.write_probe = write_probe
        """Whether the node, while writable, is also asked to write. For the known master alone: a write on an
        old master that comes back would be one more transaction the others lack. So losing the connection
        switches it off, and whoever knows the roles switches it on again."""
        self._cluster = cluster
        self._interval = cluster.policy.interval
        self._report = on_observation
        self._thread: threading.Thread | None = None
        self._stop = wire.Waker()
        self._kick = wire.Waker()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._sessions: list[SqlSession] = []
        self._writer = WriteProbe(node, cluster)
        self._probe: Probe | None = None
        self._kind = Reach.UNKNOWN
        self._attempts = 0
        self._redial_after = _REDIAL_FIRST
        self._stuck: dict[str, _Stuck] = {}
        self._left_sessions: list[tuple[int, float]] = []

    def start(self) -> None:
        """Start the thread; the first probe begins at once."""
        self._thread = threading.Thread(target=self._run, name=f"prober {self.node.label}", daemon=True)
        self._thread.start()

    def kick(self) -> None:
        """Probe now instead of at the next tick."""
        self._kick.wake()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread, whatever its node does; returns whether it ended in time."""
        with self._lock:
            self._ending.set()
            sessions = list(self._sessions)
        self._stop.wake()
        for session in sessions:
            session.kill_switch()()
        self._writer.stop(timeout)
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with contextlib.suppress(wire.CalledOffError):
                while True:
                    started = time.monotonic()
                    try:
                        self._probe_once()
                    except SqlError as error:
                        self._report_failure(error.failure)
                    except wire.CalledOffError:
                        raise
                    except Exception as error:
                        # An answer that makes no sense must not end the watch.
                        _log.exception("a probe of %s failed", self.node.label)
                        self._report_failure(classify(error, where=self._where))
                    self._rest(started)
        finally:
            self._drop()
            self._stop.close()
            self._kick.close()

    def _probe_once(self) -> None:
        """One probe, over the open connection or a new one.

        An open connection that breaks says nothing by itself (somebody may have killed the session): a
        new connection tells, at once.
        """
        if self._probe is not None:
            try:
                self._ask()
                return
            except SqlError as error:
                if not error.ends_session:
                    raise
        for left in reversed(range(_CLOSING_TRIES)):
            try:
                self._probe = self._connect()
                self._ask()
                return
            except SqlError as error:
                if error.code != "closed" or not left:
                    raise
                self._wait(_CLOSING_GAP)

    def _ask(self) -> None:
        """Probe over the open connection; it is dropped if it is of no more use.

        Raises:
            SqlError: it was not answered.
        """
        while self._probe is not None:
            try:
                answers = self._probe.ask(self._until_answer)
            except _Replaced as news:
                self._leave_open(self._probe)
                self._forget(self._probe.session)
                self._probe = news.probe
            except SqlError as error:
                if error.code == "timeout":
                    self._leave_open(self._probe)
                if error.ends_session:
                    self._drop()
                raise
            except BaseException:
                self._drop()
                raise
            else:
                self._stuck = {fact: stuck for fact, stuck in self._stuck.items() if fact in answers.missing}
                self._end_left_sessions(self._probe.session, answers.server.uptime)
                self._report_answers(answers)
                return

    def _leave_open(self, probe: Probe) -> None:
        """A question was not answered in time, be it by a server that otherwise lives: ask it less often."""
        self._left_sessions.append((probe.session.connection_id, time.monotonic()))
        fact = probe.open_question
        if fact is not None and fact != STATE:
            times = self._stuck[fact].times + 1 if fact in self._stuck else 1
            pause = min(_STUCK_FIRST * 2 ** (times - 1), _STUCK_LAST)
            self._stuck[fact] = _Stuck(times=times, until=time.monotonic() + pause)

    def _end_left_sessions(self, session: SqlSession, uptime: int | None) -> None:
        """Sessions that the server still works for would pile up.

        Numbers begin anew when a server restarts, and may then be somebody else's: only sessions that
        were left while this very server ran are ended.
        """
        left, self._left_sessions = self._left_sessions, []
        for number, since in left:
            if uptime is not None and uptime > time.monotonic() - since + 1:
                with contextlib.suppress(SqlError):
                    session.execute(session.dialect.kill(number))

    def _connect(self) -> Probe:
        """A new connection, greeted and logged in."""
        started = time.monotonic()
        sock = self._dial()
        try:
            self._until_greeting(sock, started + self._redial_after)
        except BaseException:
            sock.close()
            raise
        self._redial_after = _REDIAL_FIRST
        return self._login(sock)

    def _dial(self) -> socket.socket:
        try:
            return wire.dial(self.node.host, self.node.port, self._cluster.timeouts.connect, self._stop)
        except OSError as error:
            raise self._classified(error) from None

    def _until_greeting(self, sock: socket.socket, redial_at: float) -> None:
        patience = SILENCE
        while not self._wait(patience, read=[sock.fileno()]):
            if time.monotonic() >= redial_at:
                self._redial_after = min(self._redial_after * 2, _REDIAL_LAST)
                raise self._classified(NoGreetingError(self.node.host))
            self._report_failure(classify(NoGreetingError(self.node.host), where=self._where))
            patience = _REPORT_GAP

    def _login(self, sock: socket.socket) -> Probe:
        try:
            session = SqlSession(self.node, self._cluster, several=True)
            self._remember(session)
        except BaseException:
            sock.close()
            raise
        try:
            session.login(sock)
        except BaseException:
            self._forget(session)
            raise
        probe = Probe(session, self._cluster)
        now = time.monotonic()
        for fact, stuck in self._stuck.items():
            if stuck.until > now:
                probe.suspend(fact, "the server did not answer this question in time", stuck.until - now)
        return probe

    def _until_answer(self, session: SqlSession) -> None:
        """Wait for the first byte of an answer; report the silence, and look behind it."""
        fd = session.fileno()
        second: socket.socket | None = None
        greeting = False
        patience = SILENCE
        try:
            while True:
                watched = [fd, second.fileno()] if second is not None and greeting else [fd]
                dialing = [second.fileno()] if second is not None and not greeting else []
                ready = self._wait(patience, read=watched, write=dialing)
                if fd in ready:
                    return
                if second is not None and second.fileno() in ready:
                    if greeting:
                        sock, second = second, None
                        self._take_over(sock)
                        greeting = False
                    else:
                        second, greeting = self._connected(second)
                    continue
                if not ready:
                    self._report_silence(session)
                    patience = _REPORT_GAP
                    if second is None:
                        second, greeting = self._start_second(), False
        finally:
            if second is not None:
                second.close()

    def _start_second(self) -> socket.socket | None:
        """A second connection on its way; its failure is told by the next silence, or by the next probe."""
        try:
            addresses = wire.resolve(self.node.host, self.node.port, self._cluster.timeouts.connect)
            return wire.start_connect(addresses[0])
        except OSError:
            return None

    def _connected(self, second: socket.socket) -> tuple[socket.socket | None, bool]:
        """The second connection stands, or the server is gone.

        Raises:
            SqlError: refused: nobody listens any more, whatever the first connection looks like.
        """
        try:
            wire.finish_connect(second)
        except ConnectionRefusedError as error:
            second.close()
            raise self._classified(error) from None
        except OSError:
            second.close()
            return None, False
        return second, True

    def _take_over(self, sock: socket.socket) -> None:
        """The second connection is greeted (or closed): if it can log in, it replaces the first.

        Raises:
            _Replaced: it can.
        """
        try:
            probe = self._login(sock)
        except SqlError as error:
            if error.failure.kind is Reach.IMPAIRED:
                # Alive, though full or closed to us: the first connection goes on waiting.
                self._report_failure(error.failure)
            return
        raise _Replaced(probe)

    def _report_silence(self, session: SqlSession) -> None:
        acks = session.host_acknowledges()
        self._report_failure(classify(TimeoutError(), where=self._where, host_acks=acks))

    def _report_answers(self, answers: Answers) -> None:
        failure = None
        missing = dict(answers.missing)
        if self.write_probe and answers.server.read_only is False:
            failure = self._writer.failure
            if self._writer.missing is not None:
                missing["write_probe"] = self._writer.missing
            self._writer.start_if_due()
        else:
            self._writer.forget()
        reach = Reach.ALIVE if failure is None else failure.kind
        self._count(reach)
        self._emit(
            NodeObservation(
                label=self.node.label,
                at=answers.at,
                mono=time.monotonic(),
                reach=reach,
                latency=answers.latency,
                failure=failure,
                facts=answers.server,
                pandora=answers.pandora,
                missing=missing,
                attempts=self._attempts,
                round_trips=answers.round_trips,
            )
        )

    def _report_failure(self, failure: Failure) -> None:
        self._count(failure.kind)
        self._emit(
            NodeObservation(
                label=self.node.label,
                at=time.time(),
                mono=time.monotonic(),
                reach=failure.kind,
                failure=failure,
                attempts=self._attempts,
            )
        )

    def _count(self, kind: Reach) -> None:
        self._attempts = self._attempts + 1 if kind is self._kind else 1
        self._kind = kind

    def _emit(self, observation: NodeObservation) -> None:
        if self._ending.is_set():
            return
        try:
            self._report(observation)
        except Exception:
            _log.exception("an observation of %s was not taken", self.node.label)

    def _rest(self, started: float) -> None:
        """Wait for the next tick, a kick, the end, or a sign from the open socket."""
        if self._probe is not None and self._probe.session.closed:
            self._drop()
        now = time.monotonic()
        due = started + self._interval
        if self._probe is None and self._kind in (Reach.REFUSED, Reach.HUNG):
            policy = self._cluster.policy
            hurry = self._kind is Reach.REFUSED and self._attempts < policy.connect_retries
            due = now + (policy.retry_gap if hurry else min(self._interval, _REFUSED_GAP))
        elif self._probe is None:
            # Never without a pause: a node that fails at once must not keep a processor busy.
            due = max(due, now + self._cluster.policy.retry_gap)
        watched = [] if self._probe is None else [self._probe.session.fileno()]
        self._wait(max(0.0, due - now), read=[*watched, self._kick.fileno()])
        self._kick.clear()

    def _wait(
        self, timeout: float, *, read: list[int] | None = None, write: list[int] | None = None
    ) -> set[int]:
        """As :func:`wire.wait`.

        Raises:
            CalledOffError: the prober is being stopped.
        """
        ready = wire.wait(timeout, read=[*(read or ()), self._stop.fileno()], write=write or ())
        if self._ending.is_set():
            raise wire.CalledOffError
        return ready

    @property
    def _where(self) -> str:
        return f"{self.node.host}:{self.node.port}"

    def _classified(self, error: OSError) -> SqlError:
        return SqlError(classify(error, where=self._where), node=self.node.label)

    def _remember(self, session: SqlSession) -> None:
        """Let :meth:`stop` break this session's reads and writes."""
        with self._lock:
            self._sessions.append(session)
            if self._ending.is_set():
                raise wire.CalledOffError

    def _forget(self, session: SqlSession) -> None:
        with self._lock:
            self._sessions.remove(session)
        if self._ending.is_set():
            session.close()
        else:
            session.abandon()

    def _drop(self) -> None:
        self.write_probe = False
        if self._probe is not None:
            self._forget(self._probe.session)
            self._probe = None

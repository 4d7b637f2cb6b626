"""The worker process: start, watch, serve, stop.

::

    lock → log → journal → socket → monitors → READY          SIGTERM, SIGINT or "stop" end it cleanly

The order is the one in which a second worker, a full disk or a taken socket costs least. SIGHUP is
ignored: a closed terminal is no reason to stop watching.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pfms_ha_tui import __version__
from pfms_ha_tui.cluster.decision import Decision
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.config.settings import ClusterSettings, Settings, WorkerSettings
from pfms_ha_tui.errors import PfmsError, WorkerError
from pfms_ha_tui.worker.handlers import Answers
from pfms_ha_tui.worker.hands import Hands
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.lock import Lock
from pfms_ha_tui.worker.logs import logging_to
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.monitor import ClusterMonitor
from pfms_ha_tui.worker.peer import Access, Peer
from pfms_ha_tui.worker.protocol import PROTOCOL_VERSION, ClusterState, Welcome
from pfms_ha_tui.worker.rival import find_rival
from pfms_ha_tui.worker.sdnotify import Notifier
from pfms_ha_tui.worker.senses import Senses
from pfms_ha_tui.worker.server import Methods, WorkerServer
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

EXIT_FAILED = 4
"""The exit status after a fault of the worker itself."""
RIVAL_BEAT = 10.0
_STOP_HANDS = 1.0
_STOP_PROBERS = 1.0
_STALLED_AFTER = 30.0
"""Seconds without a tick after which the watchdog is told nothing any more."""
_FAULTS_TOLD = 20
_LOOP_THREADS = 16
"""For the libraries that need some (name look-ups); what may hang for long gets threads of its own."""
_THREADS_END = 0.2


MakeHands = Callable[["Worker"], Hands]


def run_worker(
    settings: Settings,
    *,
    foreground: bool = True,
    on_ready: Callable[[], None] | None = None,
    senses: Senses | None = None,
    hands: MakeHands | None = None,
) -> int:
    """Watch the clusters of ``settings`` until told to stop; the result is an exit status.

    Args:
        settings: What to watch, and where state, socket and log are.
        foreground: Also log to stderr.
        on_ready: Called once the socket answers.
        senses: How nodes are seen; the network by default.
        hands: Makes what carries out decisions; without it the worker only watches.

    Raises:
        WorkerError: it cannot start: another worker runs, a path cannot be used.
    """
    os.umask(0o077)
    prepare_directories(settings.worker)
    lock = Lock.take(settings.worker.state_dir)
    try:
        with logging_to(settings.worker, stderr=foreground):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            if senses is None:
                from pfms_ha_tui.worker.network import Network  # the heavy imports, after the cheap refusals

                senses = Network()
            worker = Worker(settings, senses, on_ready=on_ready, hands=hands)
            code = _run_loop(worker)
            if hanging := _hanging_threads():
                log.warning("left behind: %s", ", ".join(hanging))
    finally:
        lock.release()
    if hanging:
        # Something (a name look-up, say) still hangs in a thread that Python would wait for.
        sys.stderr.flush()
        os._exit(code)
    return code


class Worker:
    """Everything of one worker process, inside its event loop."""

    def __init__(
        self,
        settings: Settings,
        senses: Senses,
        *,
        on_ready: Callable[[], None] | None = None,
        hands: MakeHands | None = None,
    ):
        self.settings = settings
        self.senses = senses
        self.started_at = time.time()
        self.methods = Methods()
        """Whoever offers more methods adds them before :meth:`run`."""
        self.notifier = Notifier()
        access, self._access_faults = Access.of(settings.worker)
        self.server = WorkerServer(
            settings.worker.socket,
            access=access,
            welcome=self._welcome,
            methods=self.methods,
            log_file=settings.worker.log_file,
        )
        self.journal = Journal(
            settings.worker.state_dir / "journal.db",
            event_days=settings.worker.event_days,
            lag_days=settings.worker.lag_days,
            on_event=self._event,
        )
        self.monitors: dict[str, ClusterMonitor] = {}
        self._on_ready = on_ready
        self._make_hands = hands
        self._hands: Hands | None = None
        self._stopping = asyncio.Event()
        self._why = ""
        self._failed = False
        self._faults = 0
        self._told_status = ""

    async def run(self) -> int:
        """From start to stop; the result is an exit status.

        Raises:
            WorkerError: it cannot start.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, f"{signal.Signals(number).name} was received")
        tasks: list[asyncio.Task[None]] = []
        try:
            await self.journal.open()
            self.monitors = {cluster.name: self._monitor(cluster) for cluster in self.settings.clusters}
            Answers(self.settings, self.journal, self.senses, states=self._states, stop=self.stop).offer(
                self.methods
            )
            if self._make_hands is not None:
                self._hands = self._make_hands(self)
                self._hands.offer(self.methods)
                await self._hands.start()
            await self.server.start()
            self._say("worker_started", f"worker {os.getpid()} started, version {__version__}")
            for monitor in self.monitors.values():
                monitor.start()
            tasks.append(asyncio.create_task(self._watch_rivals(), name="rivals"))
            tasks.append(asyncio.create_task(self._stay_alive(), name="watchdog"))
            self.notifier.ready(self._status())
            if self._on_ready is not None:
                self._on_ready()
            await self._stopping.wait()
            self._say("worker_stopped", f"worker {os.getpid()} stopped: {self._why}")
            return EXIT_FAILED if self._failed else 0
        finally:
            self.notifier.stopping()
            for task in tasks:
                task.cancel()
            await self._shut_down()

    def stop(self, why: str) -> None:
        """Begin to stop; the first reason counts."""
        if not self._stopping.is_set():
            log.info("stopping: %s", why)
            self._why = why
            self._stopping.set()

    async def _shut_down(self) -> None:
        if self._hands is not None:
            try:
                async with asyncio.timeout(2 * _STOP_HANDS):
                    await self._hands.stop(_STOP_HANDS)
            except Exception:
                log.exception("what was running could not be left in order")
        await asyncio.gather(
            self.server.close(),
            *(monitor.stop(_STOP_PROBERS) for monitor in self.monitors.values()),
            return_exceptions=True,
        )
        await self.journal.close()

    def _monitor(self, cluster: ClusterSettings) -> ClusterMonitor:
        memory = ClusterMemory(cluster, self.journal, now=time.time)
        return ClusterMonitor(
            cluster,
            memory,
            self.senses,
            publish=self.server.publish,
            on_decision=self._decided,
            notes=self._notes,
        )

    def _states(self) -> dict[str, ClusterState]:
        return {name: one.state for name, one in self.monitors.items() if one.state is not None}

    def _notes(self) -> tuple[str, ...]:
        trouble = self.journal.trouble
        return (
            *self.settings.warnings,
            *self._access_faults,
            *self.journal.notes,
            *((trouble,) if trouble is not None else ()),
        )

    def _welcome(self, peer: Peer) -> Welcome:
        return Welcome(
            protocol=PROTOCOL_VERSION,
            version=__version__,
            pid=os.getpid(),
            started_at=self.started_at,
            actor=peer.actor,
            rights=peer.rights,
            clusters=tuple(cluster.name for cluster in self.settings.clusters),
            config=str(self.settings.source),
            log_file=str(self.settings.worker.log_file),
        )

    def _decided(self, monitor: ClusterMonitor, decision: Decision) -> None:
        if self._hands is not None:
            self._hands.decided(monitor, decision)

    def _event(self, event: Event) -> None:
        level = logging.WARNING if event.severity in (Severity.WARNING, Severity.CRITICAL) else logging.INFO
        log.log(level, "%s%s", f"{event.cluster}: " if event.cluster else "", event.text)
        self.server.publish_events([event])
        if self._hands is not None:
            self._hands.happened(event)

    def _say(self, kind: str, text: str, severity: Severity = Severity.INFO) -> None:
        self.journal.add_event(cluster="", severity=severity, kind=kind, text=text)

    def _status(self) -> str:
        states = self._states().values()
        return "; ".join(f"{state.name}: {state.diagnosis.text}" for state in states) or "watching"

    async def _watch_rivals(self) -> None:
        while True:
            try:
                rival = await in_thread(find_rival, name="rivals")
            except OSError as exc:
                log.warning("the processes of this host cannot be listed: %s", exc)
                rival = None
            for monitor in self.monitors.values():
                if monitor.memory.rival != rival:
                    self._rival_changed(monitor, rival)
            await asyncio.sleep(RIVAL_BEAT)

    def _rival_changed(self, monitor: ClusterMonitor, rival: str | None) -> None:
        monitor.memory.rival = rival
        text = (
            f"{rival}: no automatic failover beside it" if rival else "pandora_ha no longer runs on this host"
        )
        self.journal.add_event(
            cluster=monitor.name,
            severity=Severity.WARNING if rival else Severity.INFO,
            kind="rival_manager",
            text=text,
        )
        monitor.judge_soon()

    async def _stay_alive(self) -> None:
        """Tell systemd that the loop turns and every monitor ticks."""
        beat = min(self.notifier.watchdog_interval or 1.0, 1.0)
        ticks: dict[str, tuple[int, float]] = {}
        while True:
            now = time.monotonic()
            for name, monitor in self.monitors.items():
                if ticks.get(name, (-1, 0.0))[0] != monitor.ticks:
                    ticks[name] = (monitor.ticks, now)
            late = [name for name, (_, at) in ticks.items() if now - at > self._patience(name)]
            if late:
                log.error("no tick for too long: %s", ", ".join(late))
            elif self.notifier.watchdog_interval is not None:
                self.notifier.alive()
            if self._status() != self._told_status:
                self._told_status = self._status()
                self.notifier.status(self._told_status)
            await asyncio.sleep(beat)

    def _patience(self, cluster: str) -> float:
        return max(_STALLED_AFTER, 3 * self.monitors[cluster].cluster.policy.interval)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A task or a callback ended by a fault of ours: it is told; a monitor's end is the worker's end."""
        exc = context.get("exception")
        error = exc if isinstance(exc, BaseException) else None
        log.error("unhandled: %s", context.get("message"), exc_info=error)
        self._faults += 1
        if self._faults <= _FAULTS_TOLD:
            name = type(error).__name__ if error is not None else "fault"
            self._say("worker_fault", f"a fault of the worker ({name}); its log says more", Severity.WARNING)


def prepare_directories(settings: WorkerSettings) -> None:
    """Make the directories the worker writes to, closed to everybody else.

    A group with rights on the socket may pass through the state directory, and see nothing in it.

    Raises:
        WorkerError: one cannot be made.
    """
    shared = settings.admin_group is not None or settings.read_group is not None
    wanted = {settings.state_dir: 0o711 if shared else 0o700}
    for directory in (settings.socket.parent, settings.log_file.parent):
        wanted.setdefault(directory, 0o755)
    for directory, mode in wanted.items():
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True)
                directory.chmod(mode)
            elif directory == settings.state_dir and directory.stat().st_uid == os.geteuid():
                directory.chmod(mode)
            found = directory.stat()
        except OSError as exc:
            raise WorkerError(
                f"cannot make the directory {directory}: {exc.strerror}",
                hint="state_dir, socket and log_file must lie where this account may write",
            ) from exc
        _refuse_foreign(directory, found)


def _refuse_foreign(directory: Path, found: os.stat_result) -> None:
    """Another account's directory could hold a forged journal, or lead the log and the socket astray."""
    if found.st_uid not in (0, os.geteuid()):
        raise WorkerError(
            f"the directory {directory} belongs to another account (uid {found.st_uid})",
            hint="run the worker as that account, or choose another state_dir, socket and log_file",
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise WorkerError(f"anybody may write to the directory {directory}", hint=f"chmod o-w {directory}")


def _run_loop(worker: Worker) -> int:
    """Run the worker; its end does not wait for threads that hang, unlike asyncio.run."""
    loop = asyncio.new_event_loop()
    threads = ThreadPoolExecutor(_LOOP_THREADS, thread_name_prefix="worker")
    loop.set_default_executor(threads)
    try:
        return loop.run_until_complete(worker.run())
    except PfmsError:
        raise
    except Exception:
        log.exception("the worker ended by a fault of its own")
        return EXIT_FAILED
    finally:
        _cancel_all(loop)
        threads.shutdown(wait=False, cancel_futures=True)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=0.5))


def _hanging_threads() -> Sequence[str]:
    """Names of the threads that Python would wait for, and that do not end by themselves."""
    waited_for = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    deadline = time.monotonic() + _THREADS_END
    for thread in waited_for:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in waited_for if thread.is_alive()]

"""The worker's log: masked, rotated, and written by a thread of its own so that a slow disk stops nobody."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator

from pfms_ha_tui.config.settings import WorkerSettings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.masking import mask

OLD_LOGS = 5
_QUEUE = 10_000
"""Lines that wait for the disk; beyond this they are dropped, as memory is worth more."""


class MaskingFormatter(logging.Formatter):
    """Masks the finished text, so that also tracebacks and arguments lose their secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record)).encode("utf-8", "replace").decode("utf-8")


class _Quiet:
    """A handler whose own faults (a full disk) neither print nor raise."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: there is nowhere to complain to."""


class _RotatingFile(_Quiet, logging.handlers.RotatingFileHandler):
    pass


class _Stderr(_Quiet, logging.StreamHandler):  # type: ignore[type-arg]
    pass


class _Queue(_Quiet, logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Format here, where arguments still are what they were; the thread only writes."""
        record.msg = self.format(record)
        record.args = None
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        return record


@contextlib.contextmanager
def logging_to(settings: WorkerSettings, *, stderr: bool) -> Iterator[None]:
    """Log to the settings' file, and to stderr too in the foreground, until the end of the block.

    Raises:
        WorkerError: the file cannot be opened.
    """
    try:
        file = _RotatingFile(
            settings.log_file,
            maxBytes=settings.log_bytes,
            backupCount=OLD_LOGS,
            encoding="utf-8",
            delay=False,
        )
    except OSError as exc:
        raise WorkerError(
            f"cannot open the log file {settings.log_file}: {exc.strerror}",
            hint="worker.log_file must be a file the worker may write to",
        ) from exc
    handlers: list[logging.Handler] = [file]
    if stderr:
        handlers.append(_Stderr(sys.stderr))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUE)
    entrance = _Queue(lines)
    entrance.setFormatter(MaskingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    listener = logging.handlers.QueueListener(lines, *handlers)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(entrance)
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(entrance)
        root.setLevel(level)
        _stop(listener)
        for handler in handlers:
            # On a full disk the last lines cannot be flushed; that must not hide why the worker ends.
            with contextlib.suppress(OSError):
                handler.close()


def _stop(listener: logging.handlers.QueueListener) -> None:
    """Write what waits, but do not wait for a disk that hangs (QueueListener.stop would, for ever)."""
    thread = listener._thread
    with contextlib.suppress(queue.Full):
        listener.enqueue_sentinel()
    if thread is not None:
        thread.join(1.0)

"""One worker per state directory: a lock that the kernel drops with the process, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from pfms_ha_tui.errors import WorkerError


class Lock:
    """Held from :meth:`take` until :meth:`release` or the end of the process."""

    def __init__(self, handle: int):
        self._handle = handle

    @classmethod
    def take(cls, state_dir: Path) -> Lock:
        """Take the lock, and leave our pid in its file for whoever comes second.

        The file stays when the lock is released: removing it would let two workers hold "the" lock.

        Raises:
            WorkerError: ``code`` ``running`` when another worker holds it, else ``worker``.
        """
        path = state_dir / "worker.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise WorkerError(
                f"cannot open the lock {path}: {exc.strerror}",
                hint="worker.state_dir must be a directory the worker may write to",
            ) from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise WorkerError(
                f"another worker is running with the state directory {state_dir}"
                + (f" (pid {holder})" if holder.isdigit() else ""),
                hint="stop that one first, or give this one a worker.state_dir of its own",
                code="running",
            ) from exc
        with contextlib.suppress(OSError):  # a full disk costs the other worker's message the pid, no more
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return cls(handle)

    def release(self) -> None:
        """Let the next worker in."""
        os.close(self._handle)

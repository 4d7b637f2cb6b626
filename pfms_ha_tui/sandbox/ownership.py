"""Owning the directory of a sandbox: claimed, locked, and watched by a guardian that outlives the owner."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import guardian

_LONGEST_ROOT = 70
"""A Unix socket's path has 107 bytes; a node's part needs the rest."""
_GUARDIAN_TIMEOUT = 30.0


class Ownership:
    """A claimed directory. From :meth:`guard` on, it is cleared away when this process ends, however it ends.

    Args:
        chosen: Directory to use, absent or empty; None for a new one below the temporary directory.

    Raises:
        SandboxError: the directory cannot be had, or its path is too long for Unix sockets.
    """

    def __init__(self, chosen: Path | None) -> None:
        parent = Path(tempfile.gettempdir()).resolve()
        guardian.clear_abandoned(parent)
        longest = chosen.absolute() if chosen is not None else parent / f"{guardian.ROOT_PREFIX}xxxxxxxx"
        if len(str(longest)) > _LONGEST_ROOT:
            raise SandboxError(
                f"the path {longest} is too long for Unix sockets", hint="set TMPDIR to a shorter one"
            )
        try:
            if chosen is None:
                self.root = Path(tempfile.mkdtemp(prefix=guardian.ROOT_PREFIX, dir=parent))
            else:
                self.root = longest
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                if any(self.root.iterdir()):
                    raise SandboxError(f"the sandbox directory {self.root} is not empty")
            self._lock = os.open(self.root / guardian.LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise SandboxError(f"the sandbox directory cannot be made: {error}") from error
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    @property
    def guardian_pid(self) -> int | None:
        """The guardian's process, None before :meth:`guard`."""
        return self._guardian.pid if self._guardian is not None else None

    def guard(self, descriptors: Iterable[int]) -> None:
        """Start the guardian; it keeps the given files open, and with them what they reserve."""
        reading, writing = os.pipe()
        try:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", guardian.__file__, str(self.root), str(reading), str(os.getpid())],
                pass_fds=(reading, self._lock, *descriptors),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reading)
        self._lifeline = writing

    def release(self) -> None:
        """Clear everything away and end the guardian.

        Raises:
            SandboxError: something is left.
        """
        cleared = guardian.clear_away(self.root)
        if self._lifeline is not None:
            os.close(self._lifeline)
        if self._guardian is not None:
            try:
                self._guardian.wait(timeout=_GUARDIAN_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._guardian.kill()
                self._guardian.wait()
        os.close(self._lock)
        if not cleared:
            raise SandboxError(f"the sandbox at {self.root} could not be removed whole")

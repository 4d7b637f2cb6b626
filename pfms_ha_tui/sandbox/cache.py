"""The cache folder: unpacked servers and template datadirs, safe to use by several processes at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pfms_ha_tui.errors import SandboxError

CACHE_VARIABLE = "PFMS_HA_TUI_CACHE"
_IN_USE = 86_400.0


def cache_directory() -> Path:
    """The cache, created if absent: ``$PFMS_HA_TUI_CACHE``, else ``pfms-ha-tui`` in the XDG cache home.

    Raises:
        SandboxError: it cannot be created.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        directory = Path(chosen)
    else:
        directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pfms-ha-tui"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(
            f"the cache folder {directory} cannot be created: {error.strerror}", hint=f"set {CACHE_VARIABLE}"
        ) from error
    return directory.resolve()


def ensure(name: str, build: Callable[[Path], None], *, timeout: float) -> Path:
    """The cache entry ``name``, built by ``build(empty_directory)`` if it is not there yet.

    It appears whole or not at all: built beside and renamed. Of several builders one works, the others wait.

    Raises:
        SandboxError: ``build`` failed, or another builder did not end within ``timeout`` seconds.
    """
    home = cache_directory()
    entry = home / name
    if entry.is_dir():
        return entry
    with _locked(home / f"{name}.lock", timeout=timeout):
        if entry.is_dir():
            return entry
        for left_over in home.glob(f".{name}.*.new"):
            shutil.rmtree(left_over, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".new", dir=home))
        try:
            build(fresh)
            fresh.rename(entry)
        except OSError as error:
            raise SandboxError(f"the cache entry {entry} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return entry


def prune(pattern: str) -> None:
    """Remove entries whose name matches and that are old enough to be in nobody's use any more."""
    for entry in cache_directory().glob(pattern):
        with contextlib.suppress(OSError):
            if entry.is_dir() and time.time() - entry.stat().st_mtime > _IN_USE:
                shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def _locked(path: Path, *, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SandboxError(
                        f"another process has been building {path.stem} for {timeout:g} s"
                    ) from None
                time.sleep(0.1)
        yield

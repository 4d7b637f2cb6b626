"""Reading the files of the settings: small, regular, and not open to everybody."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 256_000


class UnreadableError(Exception):
    """A file that could not be read, why, and what to do about it."""

    def __init__(self, reason: str, hint: str | None = None, *, forbidden: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.forbidden = forbidden
        """It is there, but not for this account."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file and who may read and change it."""

    path: Path
    data: bytes
    others_read: bool
    others_write: bool


def read(path: Path) -> Content:
    """The content of a small regular file.

    Raises:
        UnreadableError: missing, not allowed, not a regular file, or larger than 256 kB.
    """
    try:
        # Not blocking: a FIFO without a writer would hang the start for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        data = b""
        while len(data) <= _LARGEST and (more := os.read(handle, _LARGEST + 1)):
            data += more
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(handle)
    if len(data) > _LARGEST:
        raise UnreadableError("is larger than 256 kB, which no settings are")
    return Content(path, data, bool(status.st_mode & stat.S_IROTH), bool(status.st_mode & stat.S_IWOTH))


def text_of(data: bytes) -> str:
    """``data`` as text, whatever it is: UTF-8, or Latin-1 where it is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def why_unreadable(path: Path) -> UnreadableError | None:
    """Why ``path`` cannot be read as a file by this account, if it cannot."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        return None if path.is_file() else UnreadableError("is not a regular file")
    except (OSError, ValueError) as error:
        return _unreadable(error)


def exists(path: Path) -> bool:
    """Whether something is at ``path``; a place that may not be looked at counts as something."""
    try:
        return path.exists()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def _unreadable(error: OSError | ValueError) -> UnreadableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableError("does not exist")
    if isinstance(error, PermissionError):
        hint = "run as root or as the worker's account"
        return UnreadableError("may not be read by this account", hint, forbidden=True)
    if isinstance(error, OSError):
        return UnreadableError(f"cannot be read: {error.strerror or type(error).__name__}")
    return UnreadableError("is not a usable path")

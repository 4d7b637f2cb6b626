"""``pandora_ha_hosts.conf``: the one line that tells Pandora which node is MASTER.

Two readers with different rules: the Pandora server takes the first line, chomped, as its ``dbhost``;
the web console takes the part before the first comma, trimmed. An empty file is ignored by the
console, a half-written one is not. So the file holds one line, the MASTER alone, and it is always
replaced whole: temporary file in the same directory, fsync, rename, fsync of the directory.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.errors import PfmsError

_LONGEST = 255
"""A DNS name has at most 253 characters; nothing longer names a host."""
_DEFAULT_MODE = 0o644


class HostsFileError(PfmsError):
    """The hosts file could not be read or replaced."""

    code = "hosts_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsFile:
    """What both readers make of the file at this moment."""

    server_reads: str
    """The ``dbhost`` of the Pandora server: first line, chomped. Empty when the file is."""
    console_reads: str
    """The ``dbhost`` of the web console: up to the first comma, trimmed. Empty = ignored by it."""

    @property
    def agreed(self) -> str | None:
        """The host, when both readers understand the same one."""
        return self.server_reads if self.server_reads and self.server_reads == self.console_reads else None


def check_host(host: str) -> None:
    """Refuse a host that either reader would misunderstand.

    Raises:
        HostsFileError: it is empty, too long, or holds a comma, a blank, a control or an invisible sign.
    """
    if not host:
        raise HostsFileError("an empty host cannot stand in the hosts file")
    if len(host) > _LONGEST:
        raise HostsFileError(f"a host of {len(host)} characters cannot stand in the hosts file")
    for sign in host:
        if sign == "," or sign.isspace() or unicodedata.category(sign).startswith(("C", "Z")):
            raise HostsFileError(
                f"the host {host!r} cannot stand in the hosts file: it contains {sign!r}",
                hint="Pandora's readers split the line there",
            )


def read(path: Path) -> HostsFile | None:
    """What the file says; ``None`` when there is none.

    Raises:
        HostsFileError: it exists but cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostsFileError(f"{path} cannot be read: {error.strerror}") from error
    text = raw.decode("utf-8", "replace")
    return HostsFile(server_reads=text.split("\n", 1)[0], console_reads=text.split(",", 1)[0].strip())


def replace(path: Path, host: str) -> None:
    """Let the file name ``host``, atomically; owner, group and mode of the old file are kept.

    A symbolic link is followed: the file it points to is replaced, so that the link stays. A new file
    gets mode 0644, as both the Pandora server and the web server's account read it.

    Raises:
        HostsFileError: the host is refused, or the directory or file cannot be written.
    """
    check_host(host)
    target = Path(os.path.realpath(path))
    try:
        _replace(target, host)
    except OSError as error:
        raise HostsFileError(
            f"{target} cannot be replaced: {error.strerror}",
            hint="the worker's account needs to write that directory and to keep the file's owner",
        ) from error


def why_not_writable(path: Path) -> str | None:
    """Why :func:`replace` would fail, found without touching the file; ``None`` when it would not."""
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        return f"{folder} is not a directory"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} may not be written by this account"
    if target.exists() and not target.is_file():
        return f"{target} is not a file"
    try:
        owner = target.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{target}: {error.strerror}"
    if os.geteuid() not in (0, owner.st_uid):
        return f"{target} belongs to another account (uid {owner.st_uid}), its owner could not be kept"
    return None


def _replace(target: Path, host: str) -> None:
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(f"{host}\n".encode())
            os.fchmod(file.fileno(), old.st_mode & 0o7777 if old else _DEFAULT_MODE)
            if old and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
                # chown clears set-id bits
                os.fchmod(file.fileno(), old.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Host keys of SSH: known, unknown, changed; and the first-use policy."""

from __future__ import annotations

import fcntl
import os
from enum import StrEnum
from pathlib import Path

import asyncssh

from pfms_ha_tui.config.settings import HostKeys, SshSettings
from pfms_ha_tui.errors import ShellError


class KeyVerdict(StrEnum):
    """What known_hosts says about the key a host showed."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    ACCEPTED = "accepted"
    """Unknown, and taken by the first-use policy."""


def known_hosts_path(settings: SshSettings) -> Path:
    """The file that holds the known keys."""
    return settings.known_hosts or Path("~/.ssh/known_hosts").expanduser()


def load(settings: SshSettings) -> asyncssh.SSHKnownHosts:
    """The known keys; none when the file does not exist.

    Raises:
        ShellError: the file cannot be read or understood.
    """
    path = known_hosts_path(settings)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise ShellError(
            f"the known hosts file {path} cannot be read: {error.strerror}",
            code="known_hosts",
            hint="see ssh_known_hosts in the config",
        ) from None
    try:
        return asyncssh.import_known_hosts(text)
    except ValueError as error:
        raise ShellError(
            f"the known hosts file {path} cannot be understood: {error}",
            code="known_hosts",
            hint="remove the line that is broken",
        ) from None


class KeyChecker(asyncssh.SSHClient):
    """One connection's view of the host's key; asyncssh asks it about keys that are not in the file."""

    def __init__(self, settings: SshSettings, known: asyncssh.SSHKnownHosts):
        self._settings = settings
        self._known = known
        self.verdict = KeyVerdict.KNOWN
        self.key: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether an unlisted key is taken."""
        self.key = key
        listed = self._known.match(host, addr, None if port == 22 else port)[0]
        if listed:
            self.verdict = KeyVerdict.CHANGED
        elif self._settings.host_keys is HostKeys.FIRST_USE:
            self.verdict = KeyVerdict.ACCEPTED
        else:
            self.verdict = KeyVerdict.UNKNOWN
        return self.verdict is KeyVerdict.ACCEPTED

    def remember(self) -> None:
        """Write an accepted key down, so that a later change of it is noticed.

        Raises:
            ShellError: the file cannot be written; a key that cannot be remembered is not trusted.
        """
        if self.verdict is not KeyVerdict.ACCEPTED or self.key is None:
            return
        path = known_hosts_path(self._settings)
        host, port = self._settings.host, self._settings.port
        name = host if port == 22 else f"[{host}]:{port}"
        line = f"{name} {self.key.export_public_key('openssh').decode().strip()}\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(path, "a+b", opener=_private) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                text = file.read()
                if text and not text.endswith(b"\n"):
                    line = "\n" + line
                file.write(line.encode())
        except OSError as error:
            raise ShellError(
                f"the host key of {host} cannot be remembered in {path}: {error.strerror}",
                code="known_hosts",
                hint="make the file writable, or add the key by hand",
            ) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)

"""Logging in by SSH: host keys verified, every way to fail told in one sentence."""

from __future__ import annotations

import asyncio
import shlex
import socket

import asyncssh

from pfms_ha_tui.config.settings import NodeSettings
from pfms_ha_tui.errors import ShellError
from pfms_ha_tui.nodes import hostkeys
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.nodes.hostkeys import KeyChecker, KeyVerdict

_KEEPALIVE = 5.0
"""Seconds between signs of life; three without an answer end the connection."""
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""First: what is relayed here goes twice as fast as with ChaCha20, asyncssh's own first choice."""


class SshLogin:
    """One login on a node's host."""

    def __init__(self, node: NodeSettings):
        self._node = node
        self._settings = node.ssh

    async def connect(self) -> asyncssh.SSHClientConnection:
        """A connection, authenticated.

        Raises:
            ShellError: it could not be had.
        """
        settings = self._settings
        try:
            known = hostkeys.load(settings)
        except ShellError as error:
            raise self._error(error.reason, error.code, hint=error.hint) from None
        checker = KeyChecker(settings, known)
        keys = {} if settings.key is None else {"client_keys": [self._load_key()], "agent_path": None}
        try:
            async with asyncio.timeout(settings.connect_timeout):
                connection = await asyncssh.connect(
                    settings.host,
                    settings.port,
                    username=settings.user,
                    known_hosts=known,
                    client_factory=lambda: checker,
                    config=None,
                    preferred_auth="publickey",
                    encryption_algs=_CIPHERS,
                    login_timeout=settings.connect_timeout,
                    keepalive_interval=_KEEPALIVE,
                    keepalive_count_max=3,
                    **keys,
                )
        except (asyncssh.Error, OSError, ValueError) as error:
            raise self._connect_error(error, checker) from None
        try:
            checker.remember()
        except ShellError as error:
            connection.abort()
            raise self._error(error.reason, error.code, hint=error.hint) from None
        return connection

    def _load_key(self) -> asyncssh.SSHKey:
        path = self._settings.key
        try:
            return asyncssh.read_private_key(str(path))
        except OSError as error:
            reason, hint = f"the key {path} cannot be read: {error.strerror}", "see ssh_key in the config"
        except ValueError as error:
            # asyncssh tells a missing passphrase by its text only, and not by one class.
            if isinstance(error, asyncssh.KeyEncryptionError) or "passphrase" in str(error).lower():
                reason = f"the key {path} is protected by a passphrase"
                hint = "use a key without one, or load it into an SSH agent and leave ssh_key out"
            else:
                reason, hint = f"the file {path} is not a private key", "see ssh_key in the config"
        raise self._error(reason, "key", hint=hint)

    @property
    def _where(self) -> str:
        return f"{self._settings.user}@{self._settings.host}:{self._settings.port}"

    def _error(self, reason: str, code: str, *, hint: str | None = None) -> ShellError:
        return ShellError(reason, node=self._node.label, code=code, hint=hint)

    def _connect_error(self, error: Exception, checker: KeyChecker) -> ShellError:
        where = self._where
        if checker.verdict is KeyVerdict.UNKNOWN:
            fingerprint = checker.key.get_fingerprint() if checker.key else "?"
            return self._error(
                f"the host key of {where} is not known ({fingerprint})",
                "host_key_unknown",
                hint=f"compare it on the host, then: ssh-keyscan -p {self._settings.port}"
                f" {shlex.quote(self._settings.host)} >> {hostkeys.known_hosts_path(self._settings)}",
            )
        if checker.verdict is KeyVerdict.CHANGED:
            fingerprint = checker.key.get_fingerprint() if checker.key else "?"
            return self._error(
                f"the host key of {where} has changed (now {fingerprint}): this may be another host",
                "host_key_changed",
                hint="if the host was reinstalled, remove its old line from"
                f" {hostkeys.known_hosts_path(self._settings)}",
            )
        if isinstance(error, asyncssh.PermissionDenied):
            return self._error(
                f"{where} does not accept the key",
                "denied",
                hint="add the public key to the account's authorized_keys, and check the user name",
            )
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return self._error(
                f"{where} offers no common algorithm or none of its known key types: {clean(error.reason)}",
                "host_key_changed",
                hint="compare the host's keys with known_hosts",
            )
        return self._transport_error(error)

    def _transport_error(self, error: Exception) -> ShellError:
        where = self._where
        if isinstance(error, TimeoutError):
            return self._error(
                f"no SSH answer from {where} within {self._settings.connect_timeout:g} s",
                "timeout",
                hint="check the network and whether the host is up",
            )
        if isinstance(error, socket.gaierror):
            return self._error(
                f"the name {self._settings.host} cannot be resolved: {clean(error.strerror)}",
                "name_not_resolved",
                hint="check the spelling and this host's DNS",
            )
        if isinstance(error, ConnectionRefusedError):
            return self._error(
                f"SSH connection refused by {where}", "refused", hint="check port and whether sshd runs"
            )
        if isinstance(error, ConnectionError | asyncssh.ConnectionLost):
            return self._error(
                f"{where} closes the connection during the login",
                "closed",
                hint="check host and port, and the host's limits on SSH logins",
            )
        if isinstance(error, OSError):
            return self._error(
                f"no SSH connection to {where}: {clean(error.strerror or error)}", "unreachable"
            )
        return self._error(
            f"{where} does not speak SSH properly: {clean(error)}", "protocol", hint="check host and port"
        )

"""What went wrong with a server, told as a :class:`Failure` (DESIGN section 3).

Any answer of the server, also a no, proves that it is alive (:attr:`Reach.IMPAIRED`); what is our own
doing (name, TLS, configuration) is a :attr:`Reach.FAULT` and never a reason to fail over.
"""

from __future__ import annotations

import errno as codes
import re
import socket
import ssl

import pymysql
from pymysql.constants import CR

from pfms_ha_tui.cluster.observation import Failure, Reach
from pfms_ha_tui.errors import NodeError
from pfms_ha_tui.masking import mask

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_LONGEST = 400

_CLIENT_CODES = range(2000, 3000)
"""Numbers that clients give to their own errors; servers use none of them."""

_TOO_MANY = frozenset({1040, 1203, 1226})
_DENIED = frozenset({1044, 1045, 1142, 1143, 1227, 1251, 1698, 1820, 1862, 3118, 4151})
_BLOCKED = frozenset({1129, 1130})
_INSECURE = 3159
"""ER_SECURE_TRANSPORT_REQUIRED: a mismatch of settings, told by the server."""
_ENDS_SESSION = frozenset({1053, 1079, 1152, 1184, 1927, 4031})
"""The server says that it closes this connection: shutdown, KILL, a time-out of its own."""

_HINTS = {
    1040: "raise max_connections on the server or find what holds its connections",
    1044: "grant the account access to the database",
    1045: "check the account's user and password, from where it may log in, and whether it must use TLS",
    1129: "run FLUSH HOSTS on the server (mysqladmin flush-hosts) and find what broke off its logins",
    1130: "allow the account to log in from this host (an account '…'@'%')",
    1203: "raise max_user_connections on the server or find what holds the account's connections",
    1226: "raise the account's resource limits on the server",
    1227: "grant the account the privilege the server names",
    1698: "the account logs in by another plugin (unix_socket); give it a password for TCP logins",
    1820: "the account must change its password first",
    1862: "the account's password has expired: set a new one",
    3118: "unlock the account: ALTER USER … ACCOUNT UNLOCK",
    4151: "unlock the account: ALTER USER … ACCOUNT UNLOCK",
    _INSECURE: "the server accepts TLS only: set tls_mode to preferred or stricter",
}

_NO_ROUTE = frozenset({codes.EHOSTUNREACH, codes.ENETUNREACH, codes.ENETDOWN, codes.EHOSTDOWN, codes.ENONET})
_CLOSED = frozenset({codes.ECONNRESET, codes.EPIPE, codes.ECONNABORTED, codes.ENOTCONN, codes.ESHUTDOWN})


class ConnectTimeoutError(TimeoutError):
    """No answer to our connection request."""


class NoGreetingError(TimeoutError):
    """Connected, but the server did not say hello."""


class ResolveTimeoutError(OSError):
    """The name servers did not answer."""


class SettingsFaultError(Exception):
    """Our own settings make the connection impossible."""

    def __init__(self, text: str, hint: str | None = None):
        super().__init__(text)
        self.hint = hint


class SqlError(NodeError):
    """A statement or a login that did not end well, with its classified :class:`Failure`."""

    def __init__(self, failure: Failure, *, node: str | None = None):
        super().__init__(failure.text, node=node, hint=failure.hint, code=failure.code)
        self.failure = failure

    @property
    def errno(self) -> int | None:
        """The server's error number, ``None`` when it was not the server that said no."""
        return self.failure.errno

    @property
    def ends_session(self) -> bool:
        """Whether the connection is of no more use."""
        return self.errno is None or self.errno in _ENDS_SESSION


def clean(text: object, longest: int = _LONGEST) -> str:
    """Text of a server or host as one line: no control characters, no secrets, not endless."""
    line = mask(_UNPRINTABLE.sub(" ", str(text)).strip())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def classify(error: BaseException, *, where: str = "the server", host_acks: bool = True) -> Failure:
    """The judgement on an exception of the resolver, a socket, TLS, PyMySQL, or a server's error packet.

    Args:
        error: What was raised; the cause is looked for along its chain.
        where: Address for the sentence, ``10.0.0.1:3306``.
        host_acks: For a silent connection, whether the host's kernel still acknowledges our bytes: then
            the server hangs, else the host is out of reach.
    """
    if isinstance(error, SqlError):
        return error.failure
    for cause in _chain(error):
        if isinstance(cause, SettingsFaultError):
            return Failure(kind=Reach.FAULT, code="config", text=clean(cause), hint=cause.hint)
        if isinstance(cause, pymysql.err.MySQLError):
            failure = _of_server(cause, where)
            if failure is not None:
                return failure
        elif isinstance(cause, OSError):
            return _of_socket(cause, where, host_acks)
    return _of_client(error, where)


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what it came from; PyMySQL hides the socket's error in three different places."""
    chain: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop(0)
        if current is None or current in chain:
            continue
        chain.append(current)
        original = getattr(current, "original_exception", None)
        pending += [original if isinstance(original, BaseException) else None]
        pending += [current.__cause__, current.__context__]
    return chain


def _of_server(error: pymysql.err.MySQLError, where: str) -> Failure | None:
    number = error.args[0] if error.args else None
    if not isinstance(number, int) or number <= 0 or number in _CLIENT_CODES:
        return None
    said = clean(error.args[1]) if len(error.args) > 1 else "no text"
    code, kind = "sql_error", Reach.IMPAIRED
    if number in _TOO_MANY:
        code = "too_many_connections"
    elif number in _DENIED:
        code = "access_denied"
    elif number in _BLOCKED:
        code = "host_blocked"
    elif number == _INSECURE:
        code, kind = "tls", Reach.FAULT
    text = f"{where} answers with error {number}: {said}"
    return Failure(kind=kind, code=code, text=text, errno=number, hint=_HINTS.get(number))


def _of_socket(error: OSError, where: str, host_acks: bool) -> Failure:
    if isinstance(error, ResolveTimeoutError | socket.gaierror):
        said = (
            "the name servers do not answer"
            if isinstance(error, ResolveTimeoutError)
            else clean(error.strerror)
        )
        return Failure(
            kind=Reach.FAULT,
            code="name_not_resolved",
            text=f"the name in {where} cannot be resolved: {said}",
            hint="check the spelling and this host's DNS, or configure the IP address",
        )
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, where)
    if isinstance(error, ConnectTimeoutError) or error.errno == codes.ETIMEDOUT:
        return Failure(
            kind=Reach.UNREACHABLE,
            code="timeout",
            text=f"no answer from the host of {where}",
            hint="check the network, the firewall, and whether the host is up",
        )
    if isinstance(error, NoGreetingError):
        return Failure(
            kind=Reach.HUNG,
            code="no_greeting",
            text=f"{where} accepts the connection but the server does not greet",
            hint="the server process hangs or is stopped",
        )
    if isinstance(error, TimeoutError):
        if not host_acks:
            return Failure(
                kind=Reach.UNREACHABLE,
                code="timeout",
                text=f"the host of {where} no longer acknowledges what is sent to it",
                hint="check the network, the firewall, and whether the host is up",
            )
        return Failure(
            kind=Reach.HUNG,
            code="timeout",
            text=f"{where} is connected but does not answer",
            hint="the server process hangs, is stopped, or waits for its storage",
        )
    if isinstance(error, ConnectionRefusedError):
        return Failure(
            kind=Reach.REFUSED,
            code="refused",
            text=f"connection refused by {where}: nobody listens there",
            hint="the server process is not running",
        )
    if error.errno in _NO_ROUTE:
        return Failure(
            kind=Reach.UNREACHABLE,
            code="no_route",
            text=f"no route to {where}: {clean(error.strerror)}",
            hint="check the network and whether the host is up",
        )
    if error.errno in _CLOSED or isinstance(error, ConnectionError):
        return _closed(where)
    return Failure(
        kind=Reach.FAULT,
        code="config",
        text=f"this host cannot open a connection to {where}: {clean(error.strerror or error)}",
        hint="look at this host's limits, firewall and addresses",
    )


def _of_tls(error: ssl.SSLError, where: str) -> Failure:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _closed(where)
    if isinstance(error, ssl.SSLCertVerificationError):
        said = clean(getattr(error, "verify_message", error))
        text = f"the certificate of {where} is not trusted: {said}"
        hint = "check tls_ca, and with verify-identity that the certificate names the configured host"
    else:
        text = f"TLS with {where} fails: {clean(getattr(error, 'reason', None) or error)}"
        hint = "compare tls_mode, tls_cert and tls_key with the server's TLS settings"
    return Failure(kind=Reach.FAULT, code="tls", text=text, hint=hint)


def _closed(where: str) -> Failure:
    return Failure(
        kind=Reach.HUNG,
        code="closed",
        text=f"{where} closed the connection without an answer",
        hint="the server is ending, or something between closes its connections",
    )


def _of_client(error: BaseException, where: str) -> Failure:
    """What PyMySQL itself found wrong, without a socket's error behind it."""
    number = error.args[0] if error.args else None
    if number == CR.CR_SSL_CONNECTION_ERROR:
        return Failure(
            kind=Reach.FAULT,
            code="tls",
            text=f"{where} offers no TLS, but the settings ask for it",
            hint="set up TLS on the server, or tls_mode to preferred",
        )
    if number in (CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR) or (
        isinstance(error, pymysql.err.InterfaceError)
    ):
        return _closed(where)
    if number in (
        CR.CR_AUTH_PLUGIN_CANNOT_LOAD,
        CR.CR_AUTH_PLUGIN_ERR,
    ) or (isinstance(error, RuntimeError) and "package is required" in str(error)):
        return Failure(
            kind=Reach.FAULT,
            code="config",
            text=f"{where} wants a kind of login that this program cannot do: {clean(error.args[-1])}",
            hint="give the account caching_sha2_password or mysql_native_password",
        )
    return Failure(
        kind=Reach.FAULT,
        code="protocol",
        text=f"{where} does not speak the MySQL protocol: {clean(error) or type(error).__name__}",
        hint="check host and port: another service may listen there",
    )

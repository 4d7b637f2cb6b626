"""TCP connections that can be waited for and called off, and TLS contexts that are loaded once."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pfms_ha_tui.config.settings import Tls, TlsMode
from pfms_ha_tui.nodes.failures import ConnectTimeoutError, ResolveTimeoutError, SettingsFaultError

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]

_TCP_INFO_BYTES = 104
_UNACKED_OFFSET = 24
"""Of ``tcpi_unacked`` in Linux's ``struct tcp_info``: eight bytes of flags, four 32-bit numbers."""


class CalledOffError(Exception):
    """The wait was called off by a :class:`Waker`."""


class Waker:
    """Wakes a thread that waits in :func:`wait`, from any other thread."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        """For poll."""
        return self._fd

    def wake(self) -> None:
        """End the present wait, or the next one; without effect once closed."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Forget earlier calls of :meth:`wake`."""
        with self._lock, contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def close(self) -> None:
        """Free the file descriptor."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._fd)


def wait(timeout: float | None, *, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
    """File descriptors that became readable, writable or broken within ``timeout`` seconds (empty: none)."""
    poller = select.poll()
    for fd in read:
        poller.register(fd, select.POLLIN)
    for fd in write:
        poller.register(fd, select.POLLOUT)
    milliseconds = None if timeout is None else max(0, int(timeout * 1000 + 0.999))
    return {fd for fd, _ in poller.poll(milliseconds)}


def resolve(host: str, port: int, timeout: float) -> list[Address]:
    """Addresses of ``host``, in the resolver's order.

    The C library's resolver cannot be given a time-out, so a name is looked up on a thread of its own.

    Raises:
        socket.gaierror: there is no such name.
        ResolveTimeoutError: the name servers did not answer within ``timeout`` seconds.
    """
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None:
        family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
        return [(family, (host, port) if literal.version == 4 else (host, port, 0, 0))]
    found: list[Address] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                if family in (socket.AF_INET, socket.AF_INET6):
                    found.append((family, address))  # type: ignore[arg-type]
        except UnicodeError:
            failed.append(socket.gaierror(socket.EAI_NONAME, "not a valid name"))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise ResolveTimeoutError(host)
    if failed:
        raise failed[0]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no usable address")
    return found


def start_connect(address: Address) -> socket.socket:
    """A socket on its way to ``address``; writable once that is decided (:func:`finish_connect`).

    Raises:
        OSError: it failed at once.
    """
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel of a frozen server's host answers keep-alives, that of a lost host does not: the two
        # can be told apart on a connection that waits for its greeting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        code = sock.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def finish_connect(sock: socket.socket) -> None:
    """Raise what became of a connection request.

    Raises:
        OSError: it failed.
    """
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def dial(host: str, port: int, timeout: float, waker: Waker | None = None) -> socket.socket:
    """A connected, non-blocking socket to the first address of ``host`` that takes the connection.

    Raises:
        ConnectTimeoutError: no answer within ``timeout`` seconds, name look-up not counted.
        OSError: refused, no route, no such name.
        CalledOffError: ``waker`` was woken.
    """
    addresses = resolve(host, port, timeout)
    deadline = time.monotonic() + timeout
    failure: OSError = ConnectTimeoutError(host)
    for index, address in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - index)
        try:
            return _dial_one(address, share, waker)
        except OSError as error:
            failure = error
    raise failure


def _dial_one(address: Address, timeout: float, waker: Waker | None) -> socket.socket:
    sock = start_connect(address)
    try:
        woken = [] if waker is None else [waker.fileno()]
        ready = wait(timeout, read=woken, write=[sock.fileno()])
        if sock.fileno() not in ready:
            raise CalledOffError if ready else ConnectTimeoutError(address[1][0])
        finish_connect(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def host_acknowledges(sock: socket.socket) -> bool:
    """Whether the other host's kernel has acknowledged all that was sent; true where that cannot be told."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return bool(struct.unpack_from("=I", info, _UNACKED_OFFSET)[0] == 0)
    except (OSError, struct.error):
        return True


_contexts: dict[tuple[Tls, tuple[int, ...]], ssl.SSLContext] = {}
_contexts_lock = threading.Lock()


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The one context for these settings, loaded again when a certificate file changed.

    Shared because loading the system's certificates takes 30 ms, longer than a whole probe.

    Raises:
        SettingsFaultError: a file cannot be read or holds no certificate or key.
    """
    files = [path for path in (tls.ca, tls.cert, tls.key) if path is not None]
    with _contexts_lock:
        key = (tls, tuple(_modified(path) for path in files))
        if key not in _contexts:
            for stale in [known for known in _contexts if known[0] == tls]:
                del _contexts[stale]
            _contexts[key] = _load_context(tls)
        return _contexts[key]


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise SettingsFaultError(
            f"the TLS file {path} cannot be read: {error.strerror}", "see tls.* in the config"
        ) from None


def _load_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.mode is TlsMode.VERIFY_IDENTITY
    verify = tls.mode in (TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY)
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    # Certificates that MySQL makes for itself do not pass the strict check of Python 3.13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        if tls.ca is not None:
            context.load_verify_locations(cafile=tls.ca)
        elif verify:
            context.load_default_certs()
        if tls.cert is not None:
            # No prompt for a passphrase: a worker has nobody to ask.
            context.load_cert_chain(tls.cert, tls.key, password="")
    except (ssl.SSLError, OSError) as error:
        named = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path is not None)
        said = getattr(error, "reason", None) or error.strerror or error
        raise SettingsFaultError(
            f"the TLS files {named} cannot be used: {said}", "see tls.* in the config"
        ) from None
    return context

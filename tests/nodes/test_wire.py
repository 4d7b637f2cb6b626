"""Connections that can be waited for and called off; TLS contexts that are shared."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from pfms_ha_tui.config.settings import Tls, TlsMode
from pfms_ha_tui.nodes import wire
from pfms_ha_tui.nodes.failures import ResolveTimeoutError, SettingsFaultError


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_port_nobody_listens_on_refuses_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        wire.dial("127.0.0.1", free_port(), 20.0)
    assert time.monotonic() - started < 10


def test_a_connection_comes_up_and_what_was_sent_is_acknowledged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = wire.dial("127.0.0.1", server.getsockname()[1], 5.0)
        with sock:
            sock.sendall(b"hello")
            deadline = time.monotonic() + 10
            while not wire.host_acknowledges(sock):
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_name_that_does_not_exist_is_told_apart() -> None:
    with pytest.raises(socket.gaierror):
        wire.dial("no-such-host.invalid", 3306, 20.0)


def test_a_resolver_that_hangs_does_not_hang_us(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ResolveTimeoutError):
        wire.resolve("db1.example", 3306, 0.05)
    release.set()


def test_the_second_address_is_tried_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        addresses = [(socket.AF_INET, ("127.0.0.1", free_port())), (socket.AF_INET, ("127.0.0.1", port))]
        monkeypatch.setattr(wire, "resolve", lambda *_: addresses)
        wire.dial("both", port, 5.0).close()


def test_a_wait_is_called_off_from_another_thread() -> None:
    waker = wire.Waker()
    threading.Timer(0.05, waker.wake).start()
    assert wire.wait(20.0, read=[waker.fileno()]) == {waker.fileno()}
    waker.clear()
    assert wire.wait(0.0, read=[waker.fileno()]) == set()
    waker.close()
    waker.wake()  # too late, and harmless: the descriptor may belong to somebody else by now


def test_dialing_is_called_off() -> None:
    waker = wire.Waker()
    waker.wake()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        where: tuple[str, int] = server.getsockname()
        fillers = []
        try:
            # A full queue: the kernel leaves further connection requests without an answer.
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(where)
                fillers.append(filler)
            with pytest.raises(wire.CalledOffError):
                wire.dial(where[0], where[1], 20.0, waker)
        finally:
            for filler in fillers:
                filler.close()
            waker.close()


def test_a_tls_context_is_loaded_once_and_again_when_its_file_changed(tmp_path: Path) -> None:
    assert wire.tls_context(Tls()) is wire.tls_context(Tls())
    assert wire.tls_context(Tls()) is not wire.tls_context(Tls(mode=TlsMode.REQUIRED))
    ca = tmp_path / "ca.pem"
    ca.write_text("not a certificate")
    with pytest.raises(SettingsFaultError, match=r"ca\.pem cannot be used"):
        wire.tls_context(Tls(mode=TlsMode.VERIFY_CA, ca=ca))
    with pytest.raises(SettingsFaultError, match="cannot be read: No such file"):
        wire.tls_context(Tls(mode=TlsMode.VERIFY_CA, ca=tmp_path / "absent.pem"))


@pytest.mark.parametrize(
    ("mode", "checks_certificate", "checks_name"),
    [
        (TlsMode.PREFERRED, False, False),
        (TlsMode.REQUIRED, False, False),
        (TlsMode.VERIFY_CA, True, False),
        (TlsMode.VERIFY_IDENTITY, True, True),
    ],
)
def test_tls_modes_check_what_they_say(mode: TlsMode, checks_certificate: bool, checks_name: bool) -> None:
    context = wire.tls_context(Tls(mode=mode))
    assert bool(context.verify_mode) is checks_certificate
    assert context.check_hostname is checks_name

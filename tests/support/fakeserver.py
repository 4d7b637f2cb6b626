"""A server at the wire: speaks just enough of the MySQL protocol to be probed, and misbehaves on demand.

In a process of its own (for benchmarks): ``python -m support.fakeserver COUNT`` prints one port a line.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Result = tuple[Sequence[str], Sequence[Sequence[object]]]


@dataclass
class Refusal:
    """An error packet instead of an answer."""

    errno: int
    text: str


@dataclass
class Behaviour:
    """How the server behaves; may be changed while it runs."""

    version: str = "10.11.19-MariaDB"
    greeting_error: Refusal | None = None
    silent: bool = False
    """Accepts connections, never greets."""
    hang_up: bool = False
    """Accepts connections and closes them at once."""
    garbage: bytes = b""
    """Sent instead of a greeting."""
    garbage_answer: bytes = b""
    """Sent instead of an answer to a statement after the login."""
    login_error: Refusal | None = None
    refused: dict[str, Refusal] = field(default_factory=dict)
    """Part of a statement → the error it gets."""
    stuck: set[str] = field(default_factory=set)
    """Parts of statements that are never answered."""
    answers: dict[str, Result] = field(default_factory=dict)
    """Part of a statement → its rows, instead of the built-in ones."""
    statements: list[str] = field(default_factory=list)
    logins: int = 0


STATE = (
    ("clock", "server_id", "read_only", "connection_id", "super_read_only", "gtid_executed"),
    ((f"{1_800_000_000.25}", 7, 0, 1, None, ""),),
)
VARIABLES = {
    "version": "10.11.19-MariaDB",
    "version_comment": "fake",
    "hostname": "fakehost",
    "log_bin": "ON",
    "datadir": "/var/lib/mysql/",
    "pid_file": "/run/mysqld.pid",
    "max_connections": "200",
    "server_id": "7",
}
STATUS = {"Uptime": "1000", "Threads_connected": "3", "Com_insert": "40", "Com_update": "2"}
SLAVE = {
    "Connection_name": "",
    "Slave_IO_State": "Waiting for master to send event",
    "Master_Host": "10.0.0.1",
    "Master_User": "slave",
    "Master_Port": 3306,
    "Master_Log_File": "binlog.000018",
    "Read_Master_Log_Pos": 1135140,
    "Relay_Log_File": "relay.000002",
    "Relay_Master_Log_File": "binlog.000018",
    "Slave_IO_Running": "Yes",
    "Slave_SQL_Running": "Yes",
    "Exec_Master_Log_Pos": 1135140,
    "Relay_Log_Space": 4242,
    "Seconds_Behind_Master": 0,
    "Last_IO_Errno": 0,
    "Last_IO_Error": "",
    "Last_SQL_Errno": 0,
    "Last_SQL_Error": "",
    "Master_Server_Id": 1,
    "Using_Gtid": "No",
    "Gtid_IO_Pos": "",
    "Slave_SQL_Running_State": "Slave has read all relay log; waiting for more updates",
    "SQL_Delay": 0,
    "Gtid_Slave_Pos": "",
    **{f"Spare_{number}": "" for number in range(38)},
}


def _named(values: Mapping[str, str]) -> Result:
    return ("Variable_name", "Value"), list(values.items())


BUILT_IN: dict[str, Result] = {
    "AS clock": STATE,
    "SHOW GLOBAL VARIABLES": _named(VARIABLES),
    "SHOW GLOBAL STATUS": _named(STATUS),
    "SLAVES STATUS": (tuple(SLAVE), [tuple(SLAVE.values())]),
    "MASTER STATUS": (("File", "Position"), [("binlog.000002", 328)]),
    "BINARY LOGS": (("Log_name", "File_size"), [("binlog.000001", 500), ("binlog.000002", 328)]),
    "SLAVE HOSTS": (("Server_id", "Host", "Port"), []),
    "tconfig": (("token", "value"), [("MR", "60")]),
    "tserver": (("name", "keepalive_at", "keepalive_age"), [("pandora", "1800000000", "0")]),
    "tdatabase": (("host", "label", "disabled", "action"), []),
    "SELECT": (("x",), [("1",)]),
}


class FakeServer:
    """One server on a loopback port; a context manager."""

    def __init__(self, behaviour: Behaviour | None = None):
        self.behaviour = behaviour or Behaviour()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        fake = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                fake._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

            def shutdown_request(self, request: object) -> None:
                assert isinstance(request, socket.socket)
                request.close()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and drop every connection, as a dying process does."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self.drop()
        self._thread.join()

    def drop(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._connections)

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with contextlib.suppress(OSError, EOFError):
                self._talk(connection)
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _talk(self, connection: socket.socket) -> None:
        how = self.behaviour
        if how.hang_up:
            return
        if how.garbage:
            connection.sendall(how.garbage)
            return
        while how.silent and not self._ending.is_set():
            time.sleep(0.01)
        if how.greeting_error is not None:
            connection.sendall(_packet(0, _error(how.greeting_error)))
            return
        connection.sendall(_packet(0, _greeting(how.version)))
        number, _ = _read(connection)
        if how.login_error is not None:
            connection.sendall(_packet(number + 1, _error(how.login_error)))
            return
        how.logins += 1
        connection.sendall(_packet(number + 1, _OK))
        while True:
            _, request = _read(connection)
            if request[:1] == b"\x01":
                return
            if how.garbage_answer and b"clock" in request:
                connection.sendall(how.garbage_answer)
                return
            self._answer(connection, request[1:].decode())

    def _answer(self, connection: socket.socket, sql: str) -> None:
        statements = sql.split(";\n")
        out = bytearray()
        number = 1
        for index, statement in enumerate(statements):
            self.behaviour.statements.append(statement)
            more = index < len(statements) - 1
            if any(part in statement for part in self.behaviour.stuck):
                connection.sendall(bytes(out))
                while any(part in statement for part in self.behaviour.stuck) and not self._ending.is_set():
                    time.sleep(0.01)
                out.clear()
            refusal = next((no for part, no in self.behaviour.refused.items() if part in statement), None)
            if refusal is not None:
                out += _packet(number, _error(refusal))
                break
            if statement.startswith(("SET", "KILL", "UPDATE", "INSERT")):
                out += _packet(number, _OK)
                number += 1
                continue
            data, number = _result(self._rows(statement), number, more=more)
            out += data
        connection.sendall(bytes(out))

    def _rows(self, statement: str) -> Result:
        for table in (self.behaviour.answers, BUILT_IN):
            for part, result in table.items():
                if part in statement:
                    return result
        return ((), ())


_OK = b"\x00\x00\x00\x02\x00\x00\x00"


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number % 256]) + payload


def _read(connection: socket.socket) -> tuple[int, bytes]:
    head = _exactly(connection, 4)
    return head[3], _exactly(connection, int.from_bytes(head[:3], "little"))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _greeting(version: str) -> bytes:
    capabilities = 0x81FFF7FF & ~0x800  # no TLS
    return (
        b"\x0a"
        + version.encode()
        + b"\x00"
        + struct.pack("<I", 1)
        + b"12345678\x00"
        + struct.pack("<HBHH", capabilities & 0xFFFF, 45, 2, capabilities >> 16)
        + bytes([21])
        + bytes(10)
        + b"123456789012\x00"
        + b"mysql_native_password\x00"
    )


def _error(refusal: Refusal) -> bytes:
    return b"\xff" + struct.pack("<H", refusal.errno) + b"#42000" + refusal.text.encode()


def _text(value: object) -> bytes:
    if value is None:
        return b"\xfb"
    data = str(value).encode()
    size = len(data)
    return (bytes([size]) if size < 251 else b"\xfc" + struct.pack("<H", size)) + data


def _result(result: Result, number: int, *, more: bool) -> tuple[bytes, int]:
    names, rows = result
    column = b"\x0c" + struct.pack("<HIBHB", 45, 1024, 253, 0, 0) + b"\x00\x00"
    packets: list[bytes] = [bytes([len(names)])]
    packets += [_text("def") + _text("") * 3 + _text(name) * 2 + column for name in names]
    packets.append(b"\xfe\x00\x00\x02\x00")
    packets += [b"".join(_text(value) for value in row) for row in rows]
    packets.append(b"\xfe\x00\x00" + struct.pack("<H", 0x0002 | (0x0008 if more else 0)))
    out = b"".join(_packet(number + index, payload) for index, payload in enumerate(packets))
    return out, number + len(packets)


@contextlib.contextmanager
def many(count: int) -> Iterator[list[int]]:
    """That many servers in this process; their ports."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeServer()).port for _ in range(count)]


def eventually(condition: Callable[[], bool], *, within: float = 20.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    with many(int(sys.argv[1])) as ports:
        print("\n".join(map(str, ports)), flush=True)
        sys.stdin.read()

"""The backup tools: their command lines, what they say at their end, and the coordinates they leave.

``mariadb-backup`` for MariaDB, ``xtrabackup`` for MySQL and Percona; one family of command lines (MariaDB's
tool began as a fork). Sources: Percona XtraBackup manual ("xtrabackup option reference", "Take a streaming
backup"), MariaDB documentation ("mariadb-backup options", "Setting up a replica with mariadb-backup").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from enum import StrEnum

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.dialect import Dialect

COMPLETED = "completed OK!"
"""The last words of both tools when all went well; an exit status alone proves nothing for xtrabackup 2.4."""
_VERSION = re.compile(r"\bversion (\d+)\.(\d+)(?:\.(\d+))?")
_MARIADB_VERSION = re.compile(r"MariaDB server (\d+)\.(\d+)\.(\d+)")
_FILE = re.compile(r"_LOG_FILE\s*=\s*'([^']*)'", re.IGNORECASE)
_POS = re.compile(r"_LOG_POS\s*=\s*(\d+)", re.IGNORECASE)
_GTID = re.compile(r"gtid_(?:slave_pos|purged)\s*=\s*'([^']*)'", re.IGNORECASE)
CREDENTIALS = "/dev/fd/3"
"""Where the tool reads its options: a file that has no name any more, so that none can be left behind."""


class Tool(StrEnum):
    """A backup tool."""

    MARIADB_BACKUP = "mariadb-backup"
    MARIABACKUP = "mariabackup"
    """Its name before MariaDB 10.4.6."""
    XTRABACKUP = "xtrabackup"

    @property
    def stream(self) -> str:
        """The format of its stream."""
        return "xbstream" if self is Tool.XTRABACKUP else "mbstream"

    @property
    def unpacker(self) -> str:
        """The program that unpacks its stream."""
        return self.stream


def tools_for(dialect: Dialect) -> tuple[Tool, ...]:
    """The tools that can copy such a server, the preferred one first."""
    return (Tool.MARIADB_BACKUP, Tool.MARIABACKUP) if dialect.mariadb else (Tool.XTRABACKUP,)


def tool_version(said: str) -> tuple[int, int, int] | None:
    """The version out of ``--version``: of the server it was built from, for MariaDB's."""
    match = _MARIADB_VERSION.search(said) or _VERSION.search(said)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def why_not_version(tool: Tool, version: tuple[int, int, int], server: Dialect) -> str | None:
    """Why that version of the tool cannot copy that server; ``None`` when it can.

    MariaDB's tool must be of the server's own series and not older. XtraBackup 2.4 is for 5.7, 8.0 for
    8.0, 8.4 for 8.4, 9.x for the same innovation release.
    """
    shown = ".".join(map(str, version))
    wanted = ".".join(map(str, server.version[:2]))
    if tool is Tool.XTRABACKUP:
        series = (2, 4) if server.version[:2] in ((5, 6), (5, 7)) else server.version[:2]
        if version[:2] != series:
            return f"{tool} {shown} cannot copy a server {wanted}, which needs {series[0]}.{series[1]}"
        return None
    if version[:2] != server.version[:2]:
        return f"{tool} {shown} cannot copy a server {wanted}: they must be of the same series"
    return None


def backup(
    tool: Tool, *, host: str, port: int, scratch: str, threads: int, slave: bool, target: str | None = None
) -> str:
    """The backup: as a stream to stdout, or into the directory ``target``.

    The account and its password are not here but in the file at :data:`CREDENTIALS`.
    """
    words = [
        str(tool),
        f"--defaults-file={CREDENTIALS}",
        "--backup",
        *(() if target else (f"--stream={tool.stream}",)),
        f"--target-dir={target or scratch}",
        f"--host={host}",
        f"--port={port}",
        f"--parallel={threads}",
        # Of a second by default, which the tool waits for at its end, while it holds the backup lock.
        "--log-copy-interval=100",
    ]
    if slave:
        words.append("--slave-info")
    return shlex.join(words)


def prepare(tool: Tool, directory: str, memory: int) -> str:
    """Bring the copied files to one instant; ``memory`` in bytes."""
    return shlex.join(
        [str(tool), "--prepare", f"--target-dir={directory}", f"--use-memory={memory // 2**20}M"]
    )


def unpack(tool: Tool, directory: str, threads: int) -> str:
    """Unpack a stream from stdin into a directory."""
    return shlex.join([tool.unpacker, "-x", "-C", directory, "-p", str(threads)])


def credentials(user: str, password: str, *, include: str | None) -> bytes:
    """The options file of a tool or client; what stands last wins.

    Args:
        include: The server's own ``--defaults-file``, whose settings the tool needs too.
    """
    lines = [f"!include {include}"] if include else []
    for group in ("client", "xtrabackup", "mariabackup", "mariadb-backup", "mysql", "mariadb-client"):
        lines += [f"[{group}]", f"user={_quoted(user)}", f"password={_quoted(password)}"]
    return ("\n".join(lines) + "\n").encode()


def defaults_file(command: Sequence[str]) -> str | None:
    """The ``--defaults-file`` that a server was started with."""
    for word in command:
        name, given, value = word.partition("=")
        if given and name == "--defaults-file" and value.startswith("/"):
            return value
    return None


def binlog_info(text: str) -> tuple[BinlogPosition, str]:
    """``xtrabackup_binlog_info``: the source's own coordinates, and its GTIDs (empty for none).

    Raises:
        OperationError: that is not in it.
    """
    lines = text.strip().splitlines()
    words = lines[0].split("\t") if lines else []
    if len(words) < 2 or not words[0].strip() or not words[1].strip().isdigit():
        raise OperationError(f"the backup's coordinates cannot be read: {text.strip()[:200]!r}")
    # MySQL writes one GTID interval list over several lines
    gtids = "".join("".join([*words[2:3], *lines[1:]]).split())
    return BinlogPosition(words[0].strip(), int(words[1])), gtids


def slave_info(text: str) -> tuple[BinlogPosition | None, str]:
    """``xtrabackup_slave_info``: where the source, itself a slave, stood in the master's log, and its GTIDs.

    Raises:
        OperationError: neither is in it.
    """
    file, pos, gtid = _FILE.search(text), _POS.search(text), _GTID.search(text)
    position = BinlogPosition(file[1], int(pos[1])) if file and file[1] and pos else None
    gtids = "".join(gtid[1].split()) if gtid else ""
    if position is None and not gtids:
        raise OperationError(f"the slave's coordinates cannot be read: {text.strip()[:200]!r}")
    return position, gtids


def _quoted(value: str) -> str:
    """A value of an options file: in double quotes, with what would end or change it escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

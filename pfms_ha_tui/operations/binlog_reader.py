"""Reading a node's binary log over its own replication protocol, as ``mysqlbinlog`` does from remote.

COM_BINLOG_DUMP with the non-blocking flag and server id 0: the server sends what it has and says so at
the end; it does not count us as a slave. Needs REPLICATION SLAVE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pymysql.constants import COMMAND

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.binlog_events import Event, Kind, has_checksums, parse_event, rotate_target

_NON_BLOCK = 1
_PATIENCE = 30.0
"""Seconds for one packet: the server reads from its disk."""


class BinlogSession(SqlSession):
    """A session that is given up to reading the binary log."""

    def events(self, start: BinlogPosition) -> Iterator[tuple[str, Event]]:
        """(file, event) from ``start`` to the present end of the log.

        The server sends the Format_desc event of the first file as well, whatever the start.

        Raises:
            SqlError: the log of that position is gone (1236), a missing privilege, or a lost connection.
        """
        checksum = self._announce()
        payload = struct.pack("<IHI", start.pos, _NON_BLOCK, 0) + start.file.encode()
        file = start.file
        try:
            self._wire.limit(_PATIENCE, _PATIENCE)
            self._wire._execute_command(COMMAND.COM_BINLOG_DUMP, payload)  # type: ignore[arg-type]
            while True:
                packet = self._wire._read_packet()  # type: ignore[no-untyped-call]
                if packet.is_eof_packet():
                    return
                event = parse_event(packet.get_all_data()[1:], checksum=checksum)
                if event.kind == Kind.FORMAT_DESC:
                    checksum = has_checksums(event)
                yield file, event
                if event.kind == Kind.ROTATE:
                    file = rotate_target(event)
        except SqlError:
            raise
        except Exception as error:
            raise self.fail(error) from None

    def _announce(self) -> bool:
        """Say that we know checksums, and MariaDB's own events; whether events will carry checksums."""
        algorithm = str(self.query("SELECT @@GLOBAL.binlog_checksum AS algorithm")[0]["algorithm"])
        for name in ("master_binlog_checksum", "source_binlog_checksum"):
            self.execute(f"SET @{name} = %s", (algorithm,))
        if self.dialect.mariadb:
            self.execute("SET @mariadb_slave_capability = 4")
        return algorithm.upper() == "CRC32"

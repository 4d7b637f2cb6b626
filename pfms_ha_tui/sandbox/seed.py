"""The dated part of a sandbox's data: the last days of measurements, texts and events, and who is alive.

Every node is seeded by itself, at the same time as the others, with the same statements and the same base
time, and outside the binary log: the rows come out equal on all of them, and replication starts with empty
logs. No statement uses a random number, a clock or an automatic id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.schema import (
    AGENTS,
    DATABASE,
    INCREMENT_MODULE_KIND,
    MODULES_PER_AGENT,
    STRING_MODULE_KIND,
)
from pfms_ha_tui.sandbox.sqlclient import SqlClient

SPAN = 3 * 86_400
"""Seconds of history before the base time."""
PANDORA_SERVERS = ("pandora-server-1", "pandora-server-2")
SERVER_TYPES = (0, 1, 2, 3, 4, 5, 6, 9, 10)
"""Kinds of Pandora server that run on each of the two hosts (0 data, 1 network, …)."""
_CHUNK = 100_000
_NUMBER_MODULES = AGENTS * INCREMENT_MODULE_KIND

Statement = tuple[str, Sequence[object] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNode:
    """What ``tdatabase`` tells about one node."""

    label: str
    host: str
    ssh_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What to put into every node."""

    flavor: Flavor
    rows: int
    base: int
    """Seconds since the epoch; nothing is newer."""
    version: str
    """Server version as ``tdatabase`` shows it, cut to its ten characters."""
    nodes: tuple[SeedNode, ...]

    def apply(self, client: SqlClient) -> None:
        """Write it all into one node, in one session outside the binary log.

        Raises:
            SandboxError: the server refused it.
        """
        client.script(self._statements(), database=DATABASE, timeout=600)

    def _statements(self) -> Iterator[Statement]:
        limit = "max_recursive_iterations" if self.flavor is Flavor.MARIADB else "cte_max_recursion_depth"
        yield "SET SESSION sql_log_bin = 0", None
        yield f"SET SESSION {limit} = {_CHUNK + 1}", None
        yield "START TRANSACTION", None
        yield from self._measurements()
        yield from self._events()
        yield from self._inventory()
        yield "COMMIT", None

    def _numbered(self, target: str, expressions: str, count: int) -> Iterator[Statement]:
        """``INSERT … SELECT`` over ``i`` from 0 to ``count - 1``, in chunks."""
        for first in range(0, count, _CHUNK):
            end = min(first + _CHUNK, count)
            yield (
                f"INSERT INTO {target} WITH RECURSIVE numbers (i) AS "
                f"(SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {end}) "
                f"SELECT {expressions} FROM numbers",
                None,
            )

    def _when(self, count: int) -> str:
        """Row ``i`` of ``count``, spread evenly over the span, as seconds since the epoch."""
        return f"{self.base - SPAN} + FLOOR(i * {SPAN} / {max(count, 1)})"

    def _measurements(self) -> Iterator[Statement]:
        count = self.rows
        number = f"(i % {_NUMBER_MODULES})"
        module = f"{number} DIV {INCREMENT_MODULE_KIND} * {MODULES_PER_AGENT} + {number} % {INCREMENT_MODULE_KIND} + 1"
        yield from self._numbered(
            "tagente_datos (id_agente_modulo, datos, utimestamp)",
            f"{module}, ROUND(50 + 40 * SIN(i / 4000 + {number}), 2), {self._when(count)}",
            count,
        )
        count = self.rows // 20
        text = (
            "CONCAT('Accepted&#x20;publickey&#x20;for&#x20;user', i % 40, '&#x20;from&#x20;10.0.0.', i % 250)"
        )
        yield from self._numbered(
            "tagente_datos_string (id_agente_modulo, datos, utimestamp)",
            f"i % {AGENTS} * {MODULES_PER_AGENT} + {STRING_MODULE_KIND + 1}, {text}, {self._when(count)}",
            count,
        )
        yield from self._numbered(
            "tagente_datos_inc (id_agente_modulo, datos, utimestamp)",
            f"i * {MODULES_PER_AGENT} + {INCREMENT_MODULE_KIND + 1}, 100000 * (i + 1), {self.base}",
            AGENTS,
        )
        count = min(self.rows // 100, 1000)
        yield from self._numbered(
            "tagente_datos_log4x (id_tagente_datos_log4x, id_agente_modulo, severity, message, stacktrace, utimestamp)",
            f"i + 1, i % {AGENTS} * {MODULES_PER_AGENT} + {STRING_MODULE_KIND + 1}, ELT(1 + i % 3, 'INFO', 'WARN', 'ERROR'),"
            f" CONCAT('Request&#x20;', i, '&#x20;took&#x20;too&#x20;long'), '', {self._when(count)}",
            count,
        )

    def _events(self) -> Iterator[Statement]:
        count = self.rows // 40
        agent = f"(1 + i % {AGENTS})"
        module = f"({agent} - 1) * {MODULES_PER_AGENT} + 1"
        body = (
            "CONCAT('Module&#x20;&#039;CPU&#x20;Load&#039;&#x20;is&#x20;going&#x20;to&#x20;',"
            " ELT(1 + i % 4, 'NORMAL', 'WARNING', 'CRITICAL', 'UNKNOWN'), '&#x20;&#40;', i % 101, '&#41;')"
        )
        kind = "ELT(1 + i % 4, 'going_down_normal', 'going_up_warning', 'going_up_critical', 'going_unknown')"
        empty = ", ".join(["''"] * 7)
        yield from self._numbered(
            "tevento (id_evento, id_agente, id_grupo, estado, timestamp, evento, utimestamp, event_type, id_agentmodule,"
            " criticity, source, tags, id_extra, critical_instructions, warning_instructions, unknown_instructions,"
            " custom_data, event_custom_id, data)",
            f"i + 1, {agent}, 2 + {agent} % 8, i % 3, FROM_UNIXTIME({self._when(count)}), {body}, {self._when(count)}, {kind},"
            f" {module}, ELT(1 + i % 4, 2, 3, 4, 0), 'monitoring_server', {empty}, CAST(i % 101 AS CHAR)",
            count,
        )
        yield from self._numbered(
            "tevent_comment (id, id_event, utimestamp, comment, id_user, action)",
            f"i + 1, i * 10 + 1, {self.base - SPAN} + i, 'Looking&#x20;into&#x20;it', 'admin', 'Added&#x20;comment'",
            count // 10,
        )
        yield from self._numbered(
            "tevent_extended (id, id_evento, external_id, utimestamp, description)",
            f"i + 1, i * 20 + 1, i, {self.base - SPAN} + i, 'Ticket&#x20;opened'",
            count // 20,
        )

    def _inventory(self) -> Iterator[Statement]:
        yield (
            "UPDATE tagente SET ultimo_contacto = FROM_UNIXTIME(%s), ultimo_contacto_remoto = FROM_UNIXTIME(%s)",
            (
                self.base,
                self.base,
            ),
        )
        yield (
            "UPDATE tagente_estado SET utimestamp = %s, timestamp = FROM_UNIXTIME(%s), last_try = FROM_UNIXTIME(%s)",
            (
                self.base,
                self.base,
                self.base,
            ),
        )
        for position, name in enumerate(PANDORA_SERVERS):
            for offset, kind in enumerate(SERVER_TYPES):
                yield (
                    "INSERT INTO tserver (id_server, name, ip_address, status, laststart, keepalive, master, version,"
                    " server_type, threads, server_keepalive, server_keepalive_utimestamp)"
                    " VALUES (%s, %s, %s, 1, FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), %s, '7.0NG.778', %s, 4, 30, %s)",
                    (
                        position * len(SERVER_TYPES) + offset + 1,
                        name,
                        f"10.0.0.{position + 1}",
                        self.base - SPAN,
                        self.base,
                        2 - position,
                        kind,
                        self.base,
                    ),
                )
        for number, node in enumerate(self.nodes, start=1):
            yield (
                "INSERT INTO tdatabase (id, host, label, os_port, os_user, master, utimestamp, mysql_version,"
                " pandora_version) VALUES (%s, %s, %s, %s, 'pandora', %s, %s, %s, 'MR 60')",
                (
                    number,
                    node.host,
                    node.label,
                    node.ssh_port,
                    int(number == 1),
                    self.base,
                    self.version[:10],
                ),
            )

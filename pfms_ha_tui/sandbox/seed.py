"""The dated part of a sandbox's data: the last days of measurements, texts and events, and who is alive.

Every node is seeded by itself, at the same time as the others, with the same statements and the same base
time, and outside the binary log: the rows come out equal on all of them, and replication starts with empty
logs. No statement uses a random number, a clock or an automatic id.
"""
# ruff: noqa: S608 (what is put together here are numbers and constants of this module)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

    def _numbered(self, table: str, columns: Mapping[str, str], count: int) -> Iterator[Statement]:
        """Rows 0 to ``count - 1`` of a table, in chunks; each column is an expression over ``i``."""
        for first in range(0, count, _CHUNK):
            end = min(first + _CHUNK, count)
            yield (
                f"INSERT INTO {table} ({', '.join(columns)}) WITH RECURSIVE numbers (i) AS "
                f"(SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {end}) "
                f"SELECT {', '.join(columns.values())} FROM numbers",
                None,
            )

    def _when(self, count: int) -> str:
        """Row ``i`` of ``count``, spread evenly over the span, as seconds since the epoch."""
        return f"{self.base - SPAN} + FLOOR(i * {SPAN} / {max(count, 1)})"

    def _measurements(self) -> Iterator[Statement]:
        number = f"(i % {_NUMBER_MODULES})"
        agent, kind = f"{number} DIV {INCREMENT_MODULE_KIND}", f"{number} % {INCREMENT_MODULE_KIND}"
        text_module = f"i % {AGENTS} * {MODULES_PER_AGENT} + {STRING_MODULE_KIND + 1}"
        yield from self._numbered(
            "tagente_datos",
            {
                "id_agente_modulo": f"{agent} * {MODULES_PER_AGENT} + {kind} + 1",
                "datos": f"ROUND(50 + 40 * SIN(i / 4000 + {number}), 2)",
                "utimestamp": self._when(self.rows),
            },
            self.rows,
        )
        yield from self._numbered(
            "tagente_datos_string",
            {
                "id_agente_modulo": text_module,
                "datos": "CONCAT('Accepted&#x20;publickey&#x20;for&#x20;user', i % 40,"
                " '&#x20;from&#x20;10.0.0.', i % 250)",
                "utimestamp": self._when(self.rows // 20),
            },
            self.rows // 20,
        )
        yield from self._numbered(
            "tagente_datos_inc",
            {
                "id_agente_modulo": f"i * {MODULES_PER_AGENT} + {INCREMENT_MODULE_KIND + 1}",
                "datos": "100000 * (i + 1)",
                "utimestamp": str(self.base),
            },
            AGENTS,
        )
        messages = min(self.rows // 100, 1000)
        yield from self._numbered(
            "tagente_datos_log4x",
            {
                "id_tagente_datos_log4x": "i + 1",
                "id_agente_modulo": text_module,
                "severity": "ELT(1 + i % 3, 'INFO', 'WARN', 'ERROR')",
                "message": "CONCAT('Request&#x20;', i, '&#x20;took&#x20;too&#x20;long')",
                "stacktrace": "''",
                "utimestamp": self._when(messages),
            },
            messages,
        )

    def _events(self) -> Iterator[Statement]:
        count = self.rows // 40
        agent = f"(1 + i % {AGENTS})"
        unused = ("tags", "id_extra", "critical_instructions", "warning_instructions", "unknown_instructions")
        yield from self._numbered(
            "tevento",
            {
                "id_evento": "i + 1",
                "id_agente": agent,
                "id_grupo": f"2 + {agent} % 8",
                "estado": "i % 3",
                "timestamp": f"FROM_UNIXTIME({self._when(count)})",
                "evento": "CONCAT('Module&#x20;&#039;CPU&#x20;Load&#039;&#x20;is&#x20;going&#x20;to&#x20;',"
                " ELT(1 + i % 4, 'NORMAL', 'WARNING', 'CRITICAL', 'UNKNOWN'),"
                " '&#x20;&#40;', i % 101, '&#41;')",
                "utimestamp": self._when(count),
                "event_type": "ELT(1 + i % 4, 'going_down_normal', 'going_up_warning',"
                " 'going_up_critical', 'going_unknown')",
                "id_agentmodule": f"({agent} - 1) * {MODULES_PER_AGENT} + 1",
                "criticity": "ELT(1 + i % 4, 2, 3, 4, 0)",
                "source": "'monitoring_server'",
                **dict.fromkeys((*unused, "custom_data", "event_custom_id"), "''"),
                "data": "CAST(i % 101 AS CHAR)",
            },
            count,
        )
        yield from self._numbered(
            "tevent_comment",
            {
                "id": "i + 1",
                "id_event": "i * 10 + 1",
                "utimestamp": f"{self.base - SPAN} + i",
                "comment": "'Looking&#x20;into&#x20;it'",
                "id_user": "'admin'",
                "action": "'Added&#x20;comment'",
            },
            count // 10,
        )
        yield from self._numbered(
            "tevent_extended",
            {
                "id": "i + 1",
                "id_evento": "i * 20 + 1",
                "external_id": "i",
                "utimestamp": f"{self.base - SPAN} + i",
                "description": "'Ticket&#x20;opened'",
            },
            count // 20,
        )

    def _inventory(self) -> Iterator[Statement]:
        now = f"FROM_UNIXTIME({self.base})"
        yield f"UPDATE tagente SET ultimo_contacto = {now}, ultimo_contacto_remoto = {now}", None
        yield f"UPDATE tagente_estado SET utimestamp = {self.base}, timestamp = {now}, last_try = {now}", None
        for position, name in enumerate(PANDORA_SERVERS):
            for offset, kind in enumerate(SERVER_TYPES):
                yield _row(
                    "tserver",
                    id_server=position * len(SERVER_TYPES) + offset + 1,
                    name=name,
                    ip_address=f"10.0.0.{position + 1}",
                    status=1,
                    master=2 - position,
                    version="7.0NG.778",
                    server_type=kind,
                    threads=4,
                    server_keepalive=30,
                    server_keepalive_utimestamp=self.base,
                )
        yield f"UPDATE tserver SET keepalive = {now}, laststart = FROM_UNIXTIME({self.base - SPAN})", None
        for number, node in enumerate(self.nodes, start=1):
            yield _row(
                "tdatabase",
                id=number,
                host=node.host,
                label=node.label,
                os_port=node.ssh_port,
                os_user="pandora",
                master=int(number == 1),
                utimestamp=self.base,
                mysql_version=self.version[:10],
                pandora_version="MR 60",
            )


def _row(table: str, **values: object) -> Statement:
    places = ", ".join(["%s"] * len(values))
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", tuple(values.values())

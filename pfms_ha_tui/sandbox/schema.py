"""The Pandora database of a sandbox: its tables, and the inventory of groups, agents and modules.

The tables are this project's own DDL of the part of Pandora's schema that matters here. Text is stored
HTML-entity-encoded, as Pandora does it. Both go into the template datadir; data with dates is the seed's
(:mod:`pfms_ha_tui.sandbox.seed`).
"""
# ruff: noqa: S608 (every value in these statements is a constant of this module)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

DATABASE = "pandora"
AGENTS = 20
MODULES_PER_AGENT = 10
SEQUENCE_MODULE = AGENTS * MODULES_PER_AGENT + 1
"""Module of the writer's sequenced numbers, on agent 1."""
SEQUENCE_TEXT_MODULE = SEQUENCE_MODULE + 1
"""Module of the writer's sequenced texts, on agent 1."""
STRING_MODULE_KIND = 9
"""Every agent's last module holds text, the one before increments; the rest are numbers."""
INCREMENT_MODULE_KIND = 8

_Row = Mapping[str, int | str]

_GROUPS = (
    "All",
    "Servers",
    "Firewalls",
    "Databases",
    "Network",
    "Unknown",
    "Workstations",
    "Applications",
    "Web",
)
_AGENTS = ("db", "web", "mail", "dns", "proxy", "ldap", "backup", "router", "switch", "printer")
_SETTINGS = {
    "MR": "60",
    "db_scheme_version": "7.0NG.778",
    "db_scheme_build": "PD240101",
    "timezone": "UTC",
    "history_db_enabled": "0",
    "days_purge": "60",
    "event_purge": "60",
}
_ENTITIES = {
    ord(character): entity
    for character, entity in {
        **{chr(code): f"&#x{code:02x};" for code in range(0x21)},
        '"': "&quot;",
        "&": "&amp;",
        "'": "&#039;",
        "(": "&#40;",
        ")": "&#41;",
        "<": "&lt;",
        ">": "&gt;",
        "\\": "&#92;",
    }.items()
}


@dataclass(frozen=True, slots=True)
class _ModuleKind:
    name: str
    unit: str
    type_id: int


_MODULES = (
    _ModuleKind("CPU Load", "%", 1),
    _ModuleKind("Free Memory", "%", 1),
    _ModuleKind("Disk /", "%", 1),
    _ModuleKind("Disk /var (data & logs)", "%", 1),
    _ModuleKind("Host Alive", "", 6),
    _ModuleKind("Host Latency", "ms", 7),
    _ModuleKind("Processes", "", 1),
    _ModuleKind("Logged-in users", "", 1),
    _ModuleKind("Network Traffic (Incoming)", "bytes/s", 4),
    _ModuleKind('Last "sshd" log line', "", 3),
)


def entities(text: str) -> str:
    """Text as Pandora stores it."""
    return text.translate(_ENTITIES)


def tables() -> list[str]:
    """One ``CREATE TABLE`` a string, each on a single line (servers read init files line by line)."""
    source = files("pfms_ha_tui.sandbox").joinpath("sql", "schema.sql").read_text(encoding="utf-8")
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.startswith("--")]
    return [f"{statement.strip()};" for statement in " ".join(lines).split(";") if statement.strip()]


def agent_name(number: int) -> str:
    """Name of agent 1, 2, …"""
    return f"{_AGENTS[(number - 1) % len(_AGENTS)]}-{(number - 1) // len(_AGENTS) + 1:02d}.example.org"


def inventory() -> list[str]:
    """Statements that fill the tables whose content never changes, with constants only."""
    agents: list[_Row] = []
    modules: list[_Row] = []
    for agent in range(1, AGENTS + 1):
        agents.append(
            {
                "id_agente": agent,
                "nombre": agent_name(agent),
                "alias": agent_name(agent),
                "direccion": f"10.0.{agent % 4}.{agent}",
                "id_grupo": 2 + agent % 8,
                "id_os": 1 + agent % 9,
                "server_name": f"pandora-server-{1 + agent % 2}",
                "total_count": MODULES_PER_AGENT,
            }
        )
        for kind, module in enumerate(_MODULES):
            modules.append(_module((agent - 1) * MODULES_PER_AGENT + kind + 1, agent, module))
    modules.append(_module(SEQUENCE_MODULE, 1, _ModuleKind("Writer sequence", "", 1)))
    modules.append(_module(SEQUENCE_TEXT_MODULE, 1, _ModuleKind("Writer sequence (text)", "", 3)))
    states: list[_Row] = [
        {
            "id_agente_estado": module["id_agente_modulo"],
            "id_agente_modulo": module["id_agente_modulo"],
            "id_agente": module["id_agente"],
            "datos": "0",
        }
        for module in modules
    ]
    return [
        _insert(
            "tgrupo", [{"id_grupo": number, "nombre": name} for number, name in enumerate(_GROUPS, start=1)]
        ),
        _insert("tagente", agents),
        _insert("tagente_modulo", modules),
        _insert("tagente_estado", states),
        _insert("tconfig", [{"token": token, "value": value} for token, value in _SETTINGS.items()]),
    ]


def _module(number: int, agent: int, kind: _ModuleKind) -> _Row:
    return {
        "id_agente_modulo": number,
        "id_agente": agent,
        "id_tipo_modulo": kind.type_id,
        "nombre": kind.name,
        "unit": kind.unit,
        "min_warning": 80,
        "max_warning": 90,
        "min_critical": 90,
        "max_critical": 100,
        "descripcion": "",
        "custom_id": "",
    }


def _insert(table: str, rows: Sequence[_Row]) -> str:
    """One statement for all rows, text encoded as Pandora stores it, which leaves nothing to quote."""
    values = (
        ", ".join(str(value) if isinstance(value, int) else f"'{entities(value)}'" for value in row.values())
        for row in rows
    )
    return f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({'), ('.join(values)});"


def script() -> list[str]:
    """The database, its tables and the inventory, a statement a line."""
    return [
        f"CREATE DATABASE {DATABASE} DEFAULT CHARACTER SET utf8mb4;",
        f"USE {DATABASE};",
        *tables(),
        *inventory(),
    ]

"""The Pandora database of a sandbox: its tables, and the inventory of groups, agents and modules.

The tables are this project's own DDL of the part of Pandora's schema that matters here. Text is stored
HTML-entity-encoded, as Pandora does it. Both go into the template datadir; data with dates is the seed's
(:mod:`pfms_ha_tui.sandbox.seed`).
"""

from __future__ import annotations

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


def module_name(kind: int) -> str:
    """Name, not encoded, of the module kind 0 to 9."""
    return _MODULES[kind].name


def inventory() -> list[str]:
    """Statements that fill the tables whose content never changes, with constants only."""

    def rows(values: list[str]) -> str:
        return ", ".join(f"({value})" for value in values)

    groups = [f"{number}, '{entities(name)}'" for number, name in enumerate(_GROUPS, start=1)]
    agents, modules, states = [], [], []
    for agent in range(1, AGENTS + 1):
        name = entities(agent_name(agent))
        agents.append(
            f"{agent}, '{name}', '{name}', '10.0.{agent % 4}.{agent}', {2 + agent % 8}, 300, {1 + agent % 9}, "
            f"'pandora-server-{1 + agent % 2}', {MODULES_PER_AGENT}"
        )
        for kind, module in enumerate(_MODULES):
            number = (agent - 1) * MODULES_PER_AGENT + kind + 1
            modules.append(
                f"{number}, {agent}, {module.type_id}, '{entities(module.name)}', '{entities(module.unit)}', "
                "80, 90, 90, 100, '', ''"
            )
            states.append(f"{number}, {number}, {agent}, '0'")
    for number, label, type_id in (
        (SEQUENCE_MODULE, "Writer sequence", 1),
        (SEQUENCE_TEXT_MODULE, "Writer sequence (text)", 3),
    ):
        modules.append(f"{number}, 1, {type_id}, '{entities(label)}', '', 0, 0, 0, 0, '', ''")
        states.append(f"{number}, {number}, 1, '0'")
    settings = {
        "MR": "60",
        "db_scheme_version": "7.0NG.778",
        "db_scheme_build": "PD240101",
        "timezone": "UTC",
        "history_db_enabled": "0",
        "big_operation_step_datos_purge": "100",
        "days_purge": "60",
        "event_purge": "60",
    }
    return [
        f"INSERT INTO tgrupo (id_grupo, nombre) VALUES {rows(groups)};",
        "INSERT INTO tagente (id_agente, nombre, alias, direccion, id_grupo, intervalo, id_os, server_name, total_count)"
        f" VALUES {rows(agents)};",
        "INSERT INTO tagente_modulo (id_agente_modulo, id_agente, id_tipo_modulo, nombre, unit, min_warning, max_warning,"
        f" min_critical, max_critical, descripcion, custom_id) VALUES {rows(modules)};",
        f"INSERT INTO tagente_estado (id_agente_estado, id_agente_modulo, id_agente, datos) VALUES {rows(states)};",
        "INSERT INTO tconfig (token, value) VALUES "
        + rows([f"'{token}', '{value}'" for token, value in settings.items()])
        + ";",
    ]


def script() -> list[str]:
    """The database, its tables and the inventory, a statement a line."""
    return [
        f"CREATE DATABASE {DATABASE} DEFAULT CHARACTER SET utf8mb4;",
        f"USE {DATABASE};",
        *tables(),
        *inventory(),
    ]

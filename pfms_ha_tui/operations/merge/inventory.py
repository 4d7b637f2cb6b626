"""Modules and agents of both sides: whose rows may be merged.

A row names its module by a number. After a split both sides may have given the same number to different
modules, so a number counts only if it names the same thing on both: equal agent, type and name. A name
that differs may be a rename; that is believed if both sides hold measurements of that number from
before the window, when there was one history.
"""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers, literals were made by a server)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.literals import Column, fields, tuple_sql, unquote
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side

_MODULES = "tagente_modulo"
_AGENTS = "tagente"
_HISTORY = ("tagente_datos", "tagente_datos_string")
_MOST_PROBES = 5


class Why(StrEnum):
    """Why rows of a module or agent are not merged."""

    MISSING = "missing"
    """The master does not have it."""
    TAKEN = "taken"
    """On the master the number belongs to something else."""
    DELETED = "deleted"
    """The losing side does not have it (any more), so nobody can tell what its rows were of."""


class Owner(StrEnum):
    """What a row is of."""

    MODULE = "module"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A module or agent whose rows are not merged."""

    owner: Owner
    id: int
    why: Why
    name: str
    """As the losing side knows it, HTML entities and all; empty when deleted."""
    agent: str = ""
    """Name of a module's agent."""
    other: str = ""
    """What the number names on the master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The modules and agents of one side, each as the literal of what must be equal."""

    modules: Mapping[int, bytes] = field(default_factory=dict)
    """id → ``(id,id_agente,id_tipo_modulo,'nombre')``."""
    agents: Mapping[int, bytes] = field(default_factory=dict)
    """id → ``(id,'nombre')``."""

    def module_name(self, number: int) -> str:
        """Its name, or nothing."""
        return _last(self.modules.get(number))

    def agent_name(self, number: int) -> str:
        """Its name, or nothing."""
        return _last(self.agents.get(number))

    def agent_of(self, module: int) -> int | None:
        """The agent that a module belongs to."""
        row = self.modules.get(module)
        return int(fields(row)[1]) if row is not None else None

    @classmethod
    def of_rows(cls, modules: Iterable[bytes], agents: Iterable[bytes]) -> Inventory:
        """From literals."""
        return cls(
            modules={int(row[1 : row.index(b",")]): row for row in modules},
            agents={int(row[1 : row.index(b",")]): row for row in agents},
        )


def _last(row: bytes | None) -> str:
    return unquote(fields(row)[-1].decode("utf-8", "replace")) if row is not None else ""


def load(side: Side) -> Inventory:
    """All modules and agents of a side.

    Raises:
        SqlError: it cannot be asked.
    """
    return Inventory.of_rows(
        _rows(side, _MODULES, ("id_agente_modulo", "id_agente", "id_tipo_modulo", "nombre")),
        _rows(side, _AGENTS, ("id_agente", "nombre")),
    )


def _rows(side: Side, table: str, names: Sequence[str]) -> list[bytes]:
    schema = side.schema_of([table]).get(table)
    if schema is None:
        return []
    columns: list[Column] = [column for name in names if (column := schema.column(name)) is not None]
    if len(columns) != len(names):
        return []
    sql = f"SELECT {tuple_sql(columns)} FROM {quote_name(table)}"
    return [row for chunk in side.session.texts(sql, READ_TIMEOUT) for row in chunk if row is not None]


def established(side: Side, modules: Iterable[int], before: int) -> frozenset[int]:
    """Those of ``modules`` that have measurements older than ``before`` (seconds since 1970).

    Raises:
        SqlError: it cannot be asked.
    """
    found: set[int] = set()
    for number in modules:
        for table in _HISTORY:
            if table not in side.schema_of([table]):
                continue
            rows = side.session.query(
                f"SELECT 1 AS one FROM {quote_name(table)}"
                f" WHERE id_agente_modulo = {number:d} AND utimestamp < {before:d} LIMIT 1",
                timeout=READ_TIMEOUT,
            )
            if rows:
                found.add(number)
                break
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Which numbers name the same thing on both sides."""

    modules: frozenset[bytes]
    """Ids as literals."""
    agents: frozenset[bytes]
    taken_modules: frozenset[bytes] = frozenset()
    """Ids that name something else on the master: its rows of that number are not the losing side's."""
    taken_agents: frozenset[bytes] = frozenset()
    renamed: tuple[tuple[Owner, int], ...] = ()
    """Merged in spite of a differing name or type."""

    @property
    def distinct(self) -> bool:
        """Whether equal rows of both sides are of the same thing, whatever their number."""
        return not self.taken_modules and not self.taken_agents


def doubtful(losing: Inventory, master: Inventory) -> frozenset[int]:
    """Modules whose identity only history can tell: a number on both sides that names different things.

    A few modules of each agent whose name differs are among them, as witnesses for the agent.
    """
    odd = {number for number, row in losing.modules.items() if master.modules.get(number, row) != row}
    agents = {number for number, row in losing.agents.items() if master.agents.get(number, row) != row}
    witnesses: dict[int, list[int]] = {}
    if agents:
        for number in losing.modules:
            agent = losing.agent_of(number)
            if agent in agents and agent == master.agent_of(number):
                witnesses.setdefault(agent, []).append(number)
    return frozenset(odd.union(*(numbers[:_MOST_PROBES] for numbers in witnesses.values())))


def match(losing: Inventory, master: Inventory, old_here: frozenset[int], old_there: frozenset[int]) -> Known:
    """Tell which numbers may be merged.

    Args:
        losing: Modules and agents of the losing side.
        master: Those of the master.
        old_here: Modules with measurements from before the window on the losing side.
        old_there: The same on the master.
    """
    old = old_here & old_there
    renamed: list[tuple[Owner, int]] = []
    agents: set[int] = set()
    vouched = {
        losing.agent_of(number) for number in old if losing.agent_of(number) == master.agent_of(number)
    }
    for number, row in losing.agents.items():
        other = master.agents.get(number)
        if other == row:
            agents.add(number)
        elif other is not None and number in vouched:
            agents.add(number)
            renamed.append((Owner.AGENT, number))
    modules: set[int] = set()
    for number, row in losing.modules.items():
        other = master.modules.get(number)
        agent = losing.agent_of(number)
        orphan = agent not in losing.agents and agent not in master.agents
        if other is None or not (agent in agents or orphan):
            continue
        if other == row:
            modules.add(number)
        elif number in old:
            modules.add(number)
            renamed.append((Owner.MODULE, number))
    return Known(
        modules=_literals(modules),
        agents=_literals(agents),
        taken_modules=_literals((losing.modules.keys() & master.modules.keys()) - modules),
        taken_agents=_literals((losing.agents.keys() & master.agents.keys()) - agents),
        renamed=tuple(sorted(renamed)),
    )


def _literals(numbers: Iterable[int]) -> frozenset[bytes]:
    return frozenset(b"%d" % number for number in numbers)


def explain(owner: Owner, number: int, losing: Inventory, master: Inventory) -> Unknown:
    """Why a number is not known."""
    if owner is Owner.AGENT:
        name, other = losing.agent_name(number), master.agent_name(number)
        here, there = number in losing.agents, number in master.agents
        agent = ""
    else:
        name, other = losing.module_name(number), master.module_name(number)
        here, there = number in losing.modules, number in master.modules
        agent_id = losing.agent_of(number)
        agent = losing.agent_name(agent_id) if agent_id is not None else ""
        master_agent = master.agent_of(number)
        if there and master_agent is not None:
            other = f"{other} of {master.agent_name(master_agent)}"
    why = Why.TAKEN if there and here else Why.MISSING if here else Why.DELETED
    return Unknown(owner=owner, id=number, why=why, name=name, agent=agent, other=other if there else "")

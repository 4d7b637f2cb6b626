"""What is merged and how, and whether the two sides' tables fit each other. Pure.

Tables and columns are Pandora's (the open schema): measurements have no primary key, so their rows are
counted; an event is told from others by all columns but its id, and gets a new id on the master; its
comments and extended rows follow it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pfms_ha_tui.config.settings import ExtraTable
from pfms_ha_tui.operations.merge.errors import MergeError
from pfms_ha_tui.operations.merge.literals import KNOWN_TYPES, Column


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """Rows that belong to a row of another table and follow it."""

    table: str
    parent: str
    """Column that names the parent's id."""
    new_id: str = "id"
    time_column: str = "utimestamp"

    @property
    def spec(self) -> TableSpec:
        """As a table of its own: id and parent come first."""
        return TableSpec(
            table=self.table, time_column=self.time_column, new_id=self.new_id, lead=(self.parent,)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """One table of a merge."""

    table: str
    time_column: str = "utimestamp"
    """Seconds since 1970."""
    new_id: str | None = None
    """AUTO_INCREMENT column whose values are made anew on the master."""
    key: tuple[str, ...] = ()
    """Columns that tell rows apart; ``()`` = all but :attr:`new_id`, compared as a multiset."""
    module: str | None = None
    """Column with the id of the module the row is of."""
    agent: str | None = None
    """Column with the id of the agent the row is of."""
    nobody: bool = False
    """Whether 0 as module or agent means "of nobody", not "unknown"."""
    lead: tuple[str, ...] = ()
    """Further columns that are written right after the id: a child's parent."""
    identity: tuple[str, ...] = ()
    """Columns that never change in the life of a row with :attr:`new_id`."""
    children: tuple[ChildSpec, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether nothing but its columns tells a row from others: equal ones are counted."""
        return self.new_id is None and not self.key


NUMBERS = TableSpec(table="tagente_datos", module="id_agente_modulo")
STRINGS = TableSpec(table="tagente_datos_string", module="id_agente_modulo")
EVENTS = TableSpec(
    table="tevento",
    new_id="id_evento",
    module="id_agentmodule",
    agent="id_agente",
    nobody=True,
    identity=("utimestamp", "event_type", "id_agente", "id_agentmodule", "evento"),
    children=(
        ChildSpec(table="tevent_comment", parent="id_event"),
        ChildSpec(table="tevent_extended", parent="id_evento"),
    ),
)
INCREMENTS = TableSpec(
    table="tagente_datos_inc",
    module="id_agente_modulo",
    # One row a module, overwritten in place: the master's own is the newer truth.
    key=("id_agente_modulo",),
)
LOG4X = TableSpec(table="tagente_datos_log4x", module="id_agente_modulo", new_id="id_tagente_datos_log4x")

LACKS_COLUMN = "the master has no such column"
ONLY_THERE = "only the master has it"
"""Beginnings of what is told of a difference: where both are found, a column may have been renamed."""

STANDARD = (NUMBERS, STRINGS, EVENTS)
OPTIONAL = (INCREMENTS, LOG4X)

_MODULE_COLUMNS = ("id_agente_modulo", "id_agentmodule", "id_agent_module")
_AGENT_COLUMNS = ("id_agente", "id_agent")


def choose(names: Sequence[str] | None, extra: Sequence[ExtraTable] = ()) -> tuple[TableSpec, ...]:
    """The tables of a merge: the three of the manual and the config's, or exactly those named.

    Raises:
        MergeError: an unknown name; a table of the config needs nothing but its name here.
    """
    configured = {one.table: _of_config(one) for one in extra}
    known = {spec.table: spec for spec in (*STANDARD, *OPTIONAL)} | configured
    if names is None:
        return tuple({spec.table: known[spec.table] for spec in (*STANDARD, *configured.values())}.values())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MergeError(
            f"{unknown[0]} is not a table that can be merged",
            hint=f"one of {', '.join(known)}, or describe it in the config under merge.tables",
        )
    return tuple(known[name] for name in dict.fromkeys(names))


def _of_config(extra: ExtraTable) -> TableSpec:
    built_in = {spec.table: spec for spec in (*STANDARD, *OPTIONAL)}.get(extra.table)
    if built_in is not None and extra == ExtraTable(table=extra.table):
        return built_in
    return TableSpec(table=extra.table, time_column=extra.time_column, key=extra.key, new_id=extra.new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """A table as one side has it."""

    name: str
    columns: tuple[Column, ...]
    """Without generated ones."""
    generated: tuple[str, ...] = ()
    primary: tuple[str, ...] = ()
    leading: Mapping[str, str] = field(default_factory=dict)
    """column → an index that begins with it."""
    rows: int | None = None
    """The server's estimate."""

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """What a person decided about a table whose columns differ."""

    drop: tuple[str, ...] = ()
    """Columns of the losing side that are archived but not merged."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Column of the losing side → column of the master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDifference:
    """One difference between the two sides' tables."""

    table: str
    column: str | None
    text: str
    blocking: bool
    """Whether the table is refused until it is repaired or mapped."""
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A table's columns in the order in which its rows are written.

    First, as far as the table has them: new id, agent, module, time; then key columns; columns that are
    archived but not merged come last.
    """

    spec: TableSpec
    here: tuple[Column, ...]
    """Of the losing side."""
    there: tuple[Column, ...]
    """Of the master, aligned with the first of :attr:`here`; fewer when columns are not merged."""
    index_here: str | None = None
    """Index on the time column."""
    index_there: str | None = None
    source: tuple[int, ...] | None = None
    """Where the merged columns are in a row as it comes; ``None`` = it comes just so."""

    @property
    def table(self) -> str:
        """The table's name."""
        return self.spec.table

    @property
    def dropped(self) -> tuple[Column, ...]:
        """Columns that are archived only."""
        return self.here[len(self.there) :]

    def place(self, name: str | None) -> int | None:
        """Position of a column, by its name on the losing side."""
        return next((at for at, column in enumerate(self.here) if column.name == name), None)


def fit(
    spec: TableSpec, here: TableSchema | None, there: TableSchema | None, mapping: TableMapping | None = None
) -> tuple[Layout | None, tuple[SchemaDifference, ...]]:
    """How the rows of a table go from the losing side to the master, or why they cannot.

    Returns:
        ``None`` for a layout when a difference blocks it; and every difference, also harmless ones.
    """
    mapping = mapping or TableMapping()
    found: list[SchemaDifference] = []

    def differ(column: str | None, text: str, *, blocking: bool, remedy: str | None = None) -> None:
        found.append(
            SchemaDifference(table=spec.table, column=column, text=text, blocking=blocking, remedy=remedy)
        )

    if here is None:
        differ(None, "the losing node has no such table", blocking=False)
        return None, tuple(found)
    if there is None:
        differ(
            None,
            "the master has no such table",
            blocking=True,
            remedy="create it on the master, or leave the table out",
        )
        return None, tuple(found)
    time = here.column(spec.time_column)
    if time is None or not time.integer:
        differ(
            spec.time_column,
            "there is no such column with seconds since 1970",
            blocking=True,
            remedy="name the right time_column in the config",
        )
        return None, tuple(found)
    needed = {spec.new_id, *spec.lead, *spec.key, spec.time_column} - {None}
    for name in sorted(str(name) for name in needed):
        if here.column(name) is None or name in mapping.drop:
            differ(name, "this column is needed to tell rows apart", blocking=True)
    kept: list[Column] = []
    matched: dict[str, Column] = {}
    dropped: list[Column] = []
    for column in here.columns:
        if column.type not in KNOWN_TYPES:
            differ(column.name, f"values of type {column.type} cannot be carried over", blocking=True)
            continue
        if column.name in mapping.drop:
            dropped.append(column)
            differ(column.name, "is archived, not merged, as decided", blocking=False)
            continue
        name = mapping.rename.get(column.name, column.name)
        target = there.column(name)
        if target is None:
            generated = name in there.generated
            differ(
                column.name,
                "the master computes it" if generated else LACKS_COLUMN,
                blocking=True,
                remedy=f"add it on the master, or map it: drop {column.name}, or rename it",
            )
            continue
        why = misfit(column, target)
        if why is not None:
            differ(
                column.name,
                why,
                blocking=True,
                remedy=f"give it the same type on the master, or map it: drop {column.name}",
            )
            continue
        if column.full_type != target.full_type:
            differ(column.name, f"{column.full_type} becomes {target.full_type}", blocking=False)
        if column.nullable and not target.nullable:
            differ(column.name, "the master takes no NULL here; such rows are set aside", blocking=False)
        kept.append(column)
        matched[column.name] = target
    taken = {target.name for target in matched.values()}
    for column in there.columns:
        if column.name in taken or column.auto_increment:
            continue
        if column.has_default or column.nullable:
            differ(column.name, f"{ONLY_THERE}: added rows get its default", blocking=False)
        else:
            differ(
                column.name,
                f"{ONLY_THERE}, and it has no default",
                blocking=True,
                remedy="give it a default on the master",
            )
    if any(difference.blocking for difference in found):
        return None, tuple(found)
    first = [
        name
        for name in (spec.new_id, *spec.lead, spec.agent, spec.module, spec.time_column, *spec.key)
        if name is not None and name in matched
    ]
    order = [*dict.fromkeys(first), *(column.name for column in kept if column.name not in first)]
    by_name = {column.name: column for column in kept}
    fields = tuple(range(len(order))) if dropped else None
    layout = Layout(
        spec=spec,
        source=fields,
        here=(*(by_name[name] for name in order), *dropped),
        there=tuple(matched[name] for name in order),
        index_here=here.leading.get(spec.time_column),
        index_there=there.leading.get(matched[spec.time_column].name),
    )
    if layout.index_here is None or layout.index_there is None:
        differ(spec.time_column, "no index on the time: each slice reads the whole table", blocking=False)
    return layout, tuple(found)


def with_owners(spec: TableSpec, here: TableSchema | None) -> TableSpec:
    """``spec`` with its module and agent columns found by their usual names, if it names none."""
    if here is None or spec.module is not None or spec.agent is not None:
        return spec
    names = {column.name for column in here.columns if column.integer}
    module = next((name for name in _MODULE_COLUMNS if name in names), None)
    agent = next((name for name in _AGENT_COLUMNS if name in names), None)
    return TableSpec(
        table=spec.table,
        time_column=spec.time_column,
        new_id=spec.new_id,
        key=spec.key,
        module=module,
        agent=agent,
        nobody=True,
    )


_WIDTHS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_SIZES = {
    "tinytext": 255,
    "text": 65_535,
    "mediumtext": 16_777_215,
    "longtext": 4_294_967_295,
    "tinyblob": 255,
    "blob": 65_535,
    "mediumblob": 16_777_215,
    "longblob": 4_294_967_295,
}
_UNICODE = {"utf8mb4"}
_ARGUMENTS = re.compile(r"\((.*)\)", re.DOTALL)


def misfit(here: Column, there: Column) -> str | None:
    """Why values of one column would not come out the same on the other side; ``None`` if they do."""
    problem = f"{here.full_type} here, {there.full_type} on the master"
    if here.integer and there.integer:
        low, high = _range(here)
        least, most = _range(there)
        return None if least <= low and high <= most else problem
    if here.type == "float" and there.type == "double":
        return None
    if here.type == "decimal" and there.type == "decimal":
        (digits, places), (room, same) = _precision(here), _precision(there)
        fits = (
            room >= digits
            and same == places
            and ("unsigned" in here.full_type or "unsigned" not in there.full_type)
        )
        return None if fits else problem
    if here.type in ("enum", "set") or there.type in ("enum", "set"):
        return _choice_misfit(here, there, problem)
    if here.textual and there.textual:
        if there.charset not in (here.charset, *_UNICODE):
            return f"{problem}, character set {here.charset} here, {there.charset} on the master"
        padded = there.type == "char" and here.type != "char"
        json = "json" in (here.type, there.type) and here.type != there.type
        return None if not padded and not json and _fits(here, there) else problem
    if here.binary and there.binary and here.type != "binary" != there.type:
        return None if _fits(here, there) else problem
    if here.type == there.type and here.full_type == there.full_type:
        return None
    return problem


def _range(column: Column) -> tuple[int, int]:
    bits = _WIDTHS[column.type]
    if "unsigned" in column.full_type:
        return 0, (1 << bits) - 1
    return -(1 << bits - 1), (1 << bits - 1) - 1


def _precision(column: Column) -> tuple[int, int]:
    match = _ARGUMENTS.search(column.full_type)
    numbers = [int(number) for number in match[1].split(",")] if match else [10, 0]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def _fits(here: Column, there: Column) -> bool:
    """Text or bytes: lengths of CHAR and VARCHAR count characters, those of TEXT bytes."""
    if there.type in _SIZES:
        width = {"utf8mb4": 4, "utf8mb3": 3, "utf8": 3}.get(there.charset or "", 1)
        longest = _SIZES.get(here.type) or (here.length or 0) * width
        return longest <= _SIZES[there.type]
    longest = _SIZES.get(here.type) or here.length or 0
    return longest <= (there.length or 0)


def _choice_misfit(here: Column, there: Column, problem: str) -> str | None:
    """ENUM and SET travel as text; a SET prints its members in the order of its definition."""
    if here.type != there.type:
        return problem
    mine, theirs = _choices(here.full_type), _choices(there.full_type)
    if here.type == "set":
        return None if theirs[: len(mine)] == mine else problem
    return None if set(mine) <= set(theirs) else problem


def _choices(full_type: str) -> list[str]:
    match = _ARGUMENTS.search(full_type)
    return re.findall(r"'((?:[^']|'')*)'", match[1]) if match else []

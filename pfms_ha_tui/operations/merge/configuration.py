"""What a merge does not bring over: configuration created or changed on the losing side.

Every table that is not merged and not mere state is compared row by row; what only the losing side has,
or has differently, is counted and archived. Whether a differing row was changed here or on the master,
nobody can tell: both had a history of their own.
"""
# ruff: noqa: S608 (identifiers are quoted, numbers are numbers, literals were made by a server)

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pfms_ha_tui.nodes.dialect import quote_name
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.literals import (
    KNOWN_TYPES,
    Column,
    digest,
    fields,
    joined,
    tuple_sql,
    unquote,
)
from pfms_ha_tui.operations.merge.side import READ_TIMEOUT, Side
from pfms_ha_tui.operations.merge.tables import TableSchema
from pfms_ha_tui.operations.merge.timeless import TimelessRows

MOST_ROWS = 200_000
"""A table with more rows than this is not compared, and said to be so."""
_SAMPLES = 20
_CHUNK = 500


class Area(StrEnum):
    """What a table configures, in the words of a person."""

    AGENTS = "agents"
    MODULES = "modules"
    ALERTS = "alerts"
    POLICIES = "policies"
    USERS = "users"
    GROUPS = "groups"
    REPORTS = "reports, maps and dashboards"
    DOWNTIMES = "planned downtimes"
    DISCOVERY = "discovery"
    SETTINGS = "settings"
    OTHER = "other"
    TIMELESS = "rows without a time"
    """Of a merged table: no window holds them."""


_AREAS: tuple[tuple[str, Area], ...] = (
    ("tagente_modulo", Area.MODULES),
    ("tmodule*", Area.MODULES),
    ("ttag*", Area.MODULES),
    ("tagente", Area.AGENTS),
    ("tagent_*", Area.AGENTS),
    ("taddress*", Area.AGENTS),
    ("talert*", Area.ALERTS),
    ("tevent_alert*", Area.ALERTS),
    ("tpolic*", Area.POLICIES),
    ("tusuario*", Area.USERS),
    ("tuser*", Area.USERS),
    ("tperfil", Area.USERS),
    ("tgrupo*", Area.GROUPS),
    ("tservice*", Area.REPORTS),
    ("treport*", Area.REPORTS),
    ("tlayout*", Area.REPORTS),
    ("tmap", Area.REPORTS),
    ("titem", Area.REPORTS),
    ("tgraph*", Area.REPORTS),
    ("tdashboard*", Area.REPORTS),
    ("twidget*", Area.REPORTS),
    ("tplanned_downtime*", Area.DOWNTIMES),
    ("trecon*", Area.DISCOVERY),
    ("tdiscovery*", Area.DISCOVERY),
    ("tnetwork*", Area.DISCOVERY),
    ("tconfig*", Area.SETTINGS),
    ("tevent_filter", Area.SETTINGS),
    ("tevent_response", Area.SETTINGS),
)

_STATE = (
    "tagente_estado",
    "tagente_datos*",
    "tevent*",
    "tserver*",
    "tdatabase",
    "tsesion*",
    "tsession*",
    "tagent_access",
    "ttrap*",
    "tlocal_component_cache",
    "tnetflow_data*",
    "tsync_queue",
    "tqueue*",
    "tuser_task_scheduled",
    "tmensajes",
    "tlog_*",
    "tmodule_inventory_data*",
    "tagent_module_inventory_data*",
    "tagente_datos_inventory",
    "tncm_agent_data",
    "tncm_queue",
    "tbackup",
    "tcluster_status*",
)
"""State that Pandora writes all the time by itself; not configuration."""
_NOT_STATE = ("tevent_alert*", "tevent_filter", "tevent_response")

_VOLATILE = {
    "tagente": {
        "ultimo_contacto",
        "ultimo_contacto_remoto",
        "agent_version",
        "os_version",
        "normal_count",
        "warning_count",
        "critical_count",
        "unknown_count",
        "notinit_count",
        "total_count",
        "fired_count",
        "update_module_count",
        "update_alert_count",
        "update_secondary_groups",
        "timezone_offset",
        "last_geolocation",
        "server_name",
    },
    "tagente_modulo": {"debug_content", "update_data"},
    "talert_template_modules": {
        "internal_counter",
        "last_fired",
        "last_reference",
        "times_fired",
        "force_execution",
    },
    "tusuario": {"last_connect", "last_pass_change", "last_failed_login", "failed_attempt", "login_blocked"},
    "trecon_task": {"status", "utimestamp", "summary", "subnet_csv", "snmp_skip_non_enabled_ifs"},
    "tpolicy_queue": {"progress", "end_utimestamp"},
    "tpolicies": {"force_apply", "id_group_apply"},
}
"""Columns that Pandora changes by itself in tables that are otherwise configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDifference:
    """Configuration of one table that stays behind."""

    table: str
    area: Area
    created: int
    """Rows only the losing side has: created there, or deleted on the master."""
    changed: int
    """Rows that differ: changed on either side."""
    samples: tuple[str, ...] = ()
    """Names of some of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCompared:
    """A table that was not compared, and why."""

    table: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """Everything that a merge does not bring over."""

    differences: tuple[ConfigDifference, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()

    @property
    def by_area(self) -> Mapping[Area, int]:
        """Area → rows created or changed."""
        total: Counter[Area] = Counter()
        for one in self.differences:
            total[one.area] += one.created + one.changed
        return total


def area_of(table: str) -> Area:
    """What a table configures."""
    return next((area for pattern, area in _AREAS if fnmatch.fnmatchcase(table, pattern)), Area.OTHER)


def is_state(table: str) -> bool:
    """Whether a table holds state and not configuration."""
    if any(fnmatch.fnmatchcase(table, pattern) for pattern in _NOT_STATE):
        return False
    return any(fnmatch.fnmatchcase(table, pattern) for pattern in _STATE)


class ConfigComparison:
    """Compares the configuration of both sides; what differs is kept by key, so that it can be fetched.

    Args:
        losing: The losing side.
        master: The master.
        merged: Tables that are merged.
        timeless: Their rows that no window holds.
    """

    def __init__(self, losing: Side, master: Side, merged: Sequence[str], timeless: TimelessRows) -> None:
        self._losing = losing
        self._master = master
        self._merged = frozenset(merged)
        self._timeless = timeless
        self._saved: tuple[str, ...] = ()
        """Merged tables with rows without a time."""
        self._odd: dict[str, list[bytes]] = {}
        """table → keys (or, without a primary key, whole rows) of the losing side that differ."""

    def compare(self, control: Control) -> LeftBehind:
        """All tables.

        Raises:
            SqlError: a side cannot be asked.
            MergeCancelled: somebody asked to stop.
        """
        lost = self._timeless.compare(control)
        self._saved = tuple(one.table for one in lost if one.saved)
        differences = [
            ConfigDifference(table=one.table, area=Area.TIMELESS, created=one.rows, changed=0)
            for one in lost
            if one.saved
        ]
        skipped = [
            NotCompared(table=one.table, why=f"its {one.rows} rows without a time are too many, or too long")
            for one in lost
            if not one.saved
        ]
        there = self._master.schema()
        for name, schema in sorted(self._losing.schema().items()):
            if name in self._merged or is_state(name):
                continue
            control.check()
            other = there.get(name)
            why = self._why_not(schema, other)
            if other is None or why is not None:
                skipped.append(NotCompared(table=name, why=why or "the master has no such table"))
                continue
            found = self._table(schema, other)
            if found is None:
                skipped.append(NotCompared(table=name, why=f"more than {MOST_ROWS} rows"))
            elif found.created or found.changed:
                differences.append(found)
        return LeftBehind(differences=tuple(differences), not_compared=tuple(skipped))

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables with rows that differ, after :meth:`compare`."""
        return (*self._saved, *self._odd)

    def rows(self, table: str) -> Iterator[list[bytes]]:
        """The losing side's differing rows of a table, as literals of :meth:`columns`.

        Raises:
            SqlError: it cannot be asked.
        """
        if table in self._saved:
            yield from self._timeless.rows(table)
            return
        schema = self._losing.schema()[table]
        columns = self.columns(table)
        if not schema.primary:
            yield self._odd[table]
            return
        names = ",".join(quote_name(name) for name in schema.primary)
        keys = self._odd[table]
        for at in range(0, len(keys), _CHUNK):
            listed = b",".join(keys[at : at + _CHUNK]).decode("utf-8", "surrogateescape")
            sql = f"SELECT {tuple_sql(columns)} FROM {quote_name(table)} WHERE ({names}) IN ({listed})"
            for chunk in self._losing.session.texts(sql, READ_TIMEOUT):
                yield [row for row in chunk if row is not None]

    def columns(self, table: str) -> tuple[Column, ...]:
        """Every column of a table on the losing side."""
        if table in self._saved:
            return self._timeless.columns(table)
        return self._losing.schema()[table].columns

    def _why_not(self, schema: TableSchema, other: TableSchema | None) -> str | None:
        if other is None:
            return None
        if (schema.rows or 0) > MOST_ROWS * 2:
            return f"about {schema.rows} rows"
        unknown = [column for column in schema.columns if column.type not in KNOWN_TYPES]
        if unknown:
            return f"column {unknown[0].name} is of type {unknown[0].type}"
        if [column.name for column in schema.columns] != [column.name for column in other.columns]:
            return "its columns differ on the master"
        return None

    def _table(self, schema: TableSchema, other: TableSchema) -> ConfigDifference | None:
        """``None`` when there are too many rows."""
        volatile = _VOLATILE.get(schema.name, set())
        compared = [column for column in schema.columns if column.name not in volatile]
        theirs = [column for column in other.columns if column.name not in volatile]
        keyed = bool(schema.primary) and schema.primary == other.primary
        mine: Counter[bytes] = Counter()
        contents: dict[bytes, bytes] = {}
        for rows in self._fetch(self._losing, schema, compared):
            for row in rows:
                if keyed:
                    contents[_key(row, schema, compared)] = digest(row)
                else:
                    mine[row] += 1
        if len(contents) > MOST_ROWS or mine.total() > MOST_ROWS:
            return None
        changed: list[bytes] = []
        count = 0
        for rows in self._fetch(self._master, other, theirs):
            count += len(rows)
            for row in rows:
                if not keyed:
                    if mine.get(row, 0) > 0:
                        mine[row] -= 1
                    continue
                key = _key(row, schema, compared)
                own = contents.pop(key, None)
                if own is not None and own != digest(row):
                    changed.append(key)
        if count > MOST_ROWS:
            return None
        created = list(contents) if keyed else list(mine.elements())
        if changed or created:
            self._odd[schema.name] = [*created, *changed]
        return ConfigDifference(
            table=schema.name,
            area=area_of(schema.name),
            created=len(created),
            changed=len(changed),
            samples=self._samples(schema) if keyed and (created or changed) else (),
        )

    def _fetch(self, side: Side, schema: TableSchema, columns: Sequence[Column]) -> Iterator[list[bytes]]:
        where = ""
        if schema.name == "tconfig" and schema.column("token") is not None:
            where = " WHERE token NOT LIKE 'pfms\\_ha\\_%'"
        sql = f"SELECT {tuple_sql(columns)} FROM {quote_name(schema.name)}{where} LIMIT {MOST_ROWS + 1}"
        for chunk in side.session.texts(sql, READ_TIMEOUT):
            yield [row for row in chunk if row is not None]

    def _samples(self, schema: TableSchema) -> tuple[str, ...]:
        """Some names a person would recognise."""
        label = next(
            (
                column
                for name in ("alias", "nombre", "name", "id_usuario", "id_user", "token", "description")
                if (column := schema.column(name)) is not None
            ),
            None,
        )
        if label is None:
            return ()
        names = ",".join(quote_name(name) for name in schema.primary)
        listed = b",".join(self._odd[schema.name][:_SAMPLES]).decode("utf-8", "surrogateescape")
        whole = replace(label, nullable=True)
        sql = f"SELECT {tuple_sql([whole])} FROM {quote_name(schema.name)} WHERE ({names}) IN ({listed})"
        return tuple(
            unquote(fields(row)[0].decode("utf-8", "replace"))
            for chunk in self._losing.session.texts(sql, READ_TIMEOUT)
            for row in chunk
            if row is not None
        )


def _key(row: bytes, schema: TableSchema, columns: Sequence[Column]) -> bytes:
    """``(a,b)`` of the primary key."""
    names = [column.name for column in columns]
    if columns[0].name == schema.primary[0] and len(schema.primary) == 1 and columns[0].integer:
        return row[: row.index(b",")] + b")" if b"," in row else row
    parts = fields(row)
    return joined(parts[names.index(name)] for name in schema.primary)

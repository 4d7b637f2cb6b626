"""Two servers that share a history and then go separate ways, for the tests of the merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pfms_ha_tui.config import load
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.operations.merge import archiving, compare, families, reading, statements, throttle
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest, new_directory
from pfms_ha_tui.operations.merge.result import MergeResult
from pfms_ha_tui.operations.merge.verify import Verification
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions
from pfms_ha_tui.sandbox.schema import DATABASE

BASE = 1_760_000_000
"""A second in the middle of the tests' windows."""
MERGED = (
    "tagente_datos",
    "tagente_datos_string",
    "tevento",
    "tevent_comment",
    "tevent_extended",
    "tagente_datos_inc",
    "tagente_datos_log4x",
)
_IDS = {
    "tevento": "id_evento",
    "tevent_comment": "id",
    "tevent_extended": "id",
    "tagente_datos_log4x": "id_tagente_datos_log4x",
}
EVENT = {
    "evento": "",
    "tags": "",
    "source": "monitoring_server",
    "id_extra": "",
    "critical_instructions": "",
    "warning_instructions": "",
    "unknown_instructions": "",
    "custom_data": "",
    "event_custom_id": "",
}


def start(flavor: Flavor, **options: Any) -> Divergence:
    """A sandbox of its own, split; the caller stops it."""
    sandbox = Sandbox(SandboxOptions(flavor=flavor, rows=0, writer=False, boot_read_only=False, **options))
    sandbox.start_now()
    divergence = Divergence(sandbox)
    divergence.split()
    return divergence


def make_everything_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so small that each takes several members, passes and batches."""
    monkeypatch.setattr(reading, "SLICE_ROWS", 7)
    monkeypatch.setattr(reading, "SLICE_BYTES", 900)
    monkeypatch.setattr(archiving, "SLICE_BYTES", 300)
    monkeypatch.setattr(compare, "MOST_KEYS", 3)
    monkeypatch.setattr(families, "_MOST_EVENTS", 2)
    monkeypatch.setattr(statements, "STATEMENT_BYTES", 200)
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 2)
    monkeypatch.setattr(throttle, "_SMALLEST", 1)


def cluster_of(sandbox: Sandbox) -> ClusterSettings:
    """The sandbox's cluster as the program sees it."""
    return load(sandbox.config_path).clusters[0]


class Divergence:
    """node1 as master and node2 as losing side of one sandbox, both writable, not replicating."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.cluster = cluster_of(sandbox)
        self.master, self.losing = sandbox.nodes[:2]

    def split(self) -> None:
        """Stop replication and open both."""
        words = "SLAVE" if self.losing.flavor is Flavor.MARIADB else "REPLICA"
        self.losing.client.query(f"STOP {words}")
        for node in (self.master, self.losing):
            if node.flavor is Flavor.MYSQL:
                node.client.query("SET GLOBAL super_read_only = 0")
            node.client.query("SET GLOBAL read_only = 0")

    def clear(self) -> None:
        """Empty every table that is merged, on both."""
        for node in (self.master, self.losing):
            script = [("SET SESSION foreign_key_checks = 0", None)]
            script += [(f"TRUNCATE TABLE {table}", None) for table in MERGED]
            script += [("DELETE FROM tconfig WHERE token LIKE 'pfms%'", None)]
            node.client.script(script, database=DATABASE, timeout=60)

    def job(self, window: Window, tables: Sequence[str] | None = None, **request: Any) -> Merge:
        """A merge of node2 into node1."""
        chosen = tuple(tables) if tables is not None else None
        return Merge(
            self.cluster,
            MergeRequest(losing="node2", master="node1", window=window, tables=chosen, **request),
        )

    def merge(
        self, archives: Path, window: Window, tables: Sequence[str] | None = None, **request: Any
    ) -> tuple[MergeResult, Verification]:
        """Archive, apply and verify."""
        job = self.job(window, tables, **request)
        directory = new_directory(archives, "node2", "node1", 0.0)
        job.archive(directory, Control())
        result = job.apply(directory, Control())
        return result, job.verify(directory, result, Control())

    def both(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """History that was replicated before the split."""
        listed = list(rows)
        for node in (self.master, self.losing):
            insert(node, table, listed)


def insert(node: SandboxNode, table: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Put rows into a table, in one transaction."""
    statements: list[tuple[str, Sequence[object] | None]] = [("START TRANSACTION", None)]
    for row in rows:
        names = ", ".join(f"`{name}`" for name in row)
        places = ", ".join(["%s"] * len(row))
        statements.append((f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values())))
    statements.append(("COMMIT", None))
    node.client.script(statements, database=DATABASE, timeout=120)


def event(moment: int, **values: object) -> dict[str, object]:
    """A row of ``tevento``."""
    return {**EVENT, "utimestamp": moment, "timestamp": "2025-10-09 08:53:20", **values}


def rows_of(node: SandboxNode, table: str) -> Counter[tuple[Any, ...]]:
    """The rows of a table as a multiset, without ids, read by the driver (not by the code under test).

    Text comes as bytes, and a double as the text of its bytes: nothing rounds, no collation compares.
    """
    names = [
        str(row["name"])
        for row in node.client.query(
            "SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (DATABASE, table),
        )
    ]
    chosen = [name for name in names if name != _IDS.get(table)]
    parent = {"tevent_comment": "id_event", "tevent_extended": "id_evento"}.get(table)
    if parent is not None:
        # The parent's id differs between the sides: name the event by what it says.
        chosen = [name for name in chosen if name != parent]
        columns = ", ".join(
            [*(f"c.`{name}`" for name in chosen), "e.utimestamp AS parent_at", "e.evento AS parent_text"]
        )
        sql = f"SELECT {columns} FROM {table} c JOIN tevento e ON e.id_evento = c.{parent}"
    else:
        sql = f"SELECT {', '.join(f'`{name}`' for name in chosen)} FROM {table}"
    rows = node.client.query(sql, database=DATABASE, timeout=120)
    return Counter(tuple(repr(value) for value in row.values()) for row in rows)


def union(one: Counter[tuple[Any, ...]], other: Counter[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    """Of each row as many as the side that has more of it."""
    return one | other

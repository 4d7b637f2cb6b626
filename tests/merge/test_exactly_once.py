"""Not one row lost, not one doubled: random divergent histories on two real servers."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.divergence import (
    BASE,
    MERGED,
    Divergence,
    event,
    insert,
    make_everything_tiny,
    rows_of,
    union,
)

from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest, new_directory, undo_directory
from pfms_ha_tui.operations.merge.result import MergeResult
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import SandboxNode

WINDOW = Window(BASE, BASE + 3600)
ALL = ("tagente_datos", "tagente_datos_string", "tevento", "tagente_datos_inc", "tagente_datos_log4x")
NUMBERS: list[object] = [
    None,
    0,
    -0.0,
    1,
    0.1,
    1e22,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    5e-324,
    2.2250738585072014e-308,
    123456789012345680000.0,
    0.30000000000000004,
    9007199254740993.0,
]
TEXTS = [
    "",
    " ",
    "x ",
    "X",
    "x",
    "é",
    "e",
    "NULL",
    "'",
    "\\",
    "\\n",
    "a\nb",
    "a\r\nb",
    "a\0b",
    "\x1a",
    "),\n(1,2,'",
    "');\n-- x",
    "💥 four bytes",
    "&#x20;&lt;&#039;&#92;&gt;",
    "% %s %% _",
    "long " * 100,
    "long " * 100 + "!",
]


def moment(chance: random.Random) -> int:
    """Mostly few and crowded seconds; sometimes the very edges of the window and what lies beyond."""
    if chance.random() < 0.2:
        return chance.choice([WINDOW.start - 1, WINDOW.start, WINDOW.end - 1, WINDOW.end, 0])
    return BASE + chance.randrange(0, 3600, 600)


def number(chance: random.Random) -> object:
    if chance.random() < 0.5:
        return chance.choice(NUMBERS)
    value: float = struct.unpack("<d", chance.randbytes(8))[0]
    return value if value == value and abs(value) < float("inf") else 7.5


def measurement(chance: random.Random) -> dict[str, object]:
    return {
        "id_agente_modulo": chance.randint(1, 4),
        "datos": number(chance),
        "utimestamp": moment(chance),
    }


def text_row(chance: random.Random) -> dict[str, object]:
    return {
        "id_agente_modulo": chance.randint(1, 4),
        "datos": chance.choice(TEXTS),
        "utimestamp": moment(chance),
    }


def event_row(chance: random.Random) -> dict[str, object]:
    agent = chance.randint(0, 3)
    return event(
        moment(chance),
        id_agente=agent,
        id_agentmodule=0 if agent == 0 else (agent - 1) * 10 + chance.randint(1, 3),
        evento=chance.choice(TEXTS),
        estado=chance.randint(0, 2),
        data=chance.choice([None, "", "5"]),
        event_type=chance.choice(["system", "error", None]),
    )


def log_row(chance: random.Random) -> dict[str, object]:
    return {
        "id_agente_modulo": chance.randint(1, 4),
        "severity": "INFO",
        "message": chance.choice(TEXTS),
        "stacktrace": "",
        "utimestamp": moment(chance),
    }


MAKERS = {
    "tagente_datos": measurement,
    "tagente_datos_string": text_row,
    "tevento": event_row,
    "tagente_datos_log4x": log_row,
}


def diverge(divergence: Divergence, seed: int) -> None:
    """A common history, then rows of each side's own, and some that both got by themselves."""
    chance = random.Random(seed)  # noqa: S311
    divergence.clear()
    for table, make in MAKERS.items():
        common = [make(chance) for _ in range(chance.randint(0, 25))]
        divergence.both(table, common)
        twice = [make(chance) for _ in range(chance.randint(0, 4))]
        for node in (divergence.losing, divergence.master):
            own = [make(chance) for _ in range(chance.randint(0, 25))]
            if common and chance.random() < 0.7:
                own += [chance.choice(common) for _ in range(3)]
            rows = own + twice
            chance.shuffle(rows)
            insert(node, table, rows)
    for node in (divergence.losing, divergence.master):
        ids = [
            row["id_evento"] for row in node.client.query("SELECT id_evento FROM tevento", database="pandora")
        ]
        comments = [
            {
                "id_event": chance.choice(ids),
                "utimestamp": moment(chance),
                "comment": chance.choice(["seen", "Seen", "", None, "long " * 100]),
                "id_user": chance.choice(["admin", None]),
                "action": "Added&#x20;comment",
            }
            for _ in range(chance.randint(0, 12))
            if ids
        ]
        insert(node, "tevent_comment", comments)
        extended = [
            {
                "id_evento": chance.choice(ids),
                "external_id": chance.choice([None, 5]),
                "utimestamp": moment(chance),
                "description": chance.choice(TEXTS),
            }
            for _ in range(chance.randint(0, 6))
            if ids
        ]
        insert(node, "tevent_extended", extended)
    counters = [{"id_agente_modulo": m, "datos": m * 1.5, "utimestamp": BASE + 5} for m in (1, 2, 3)]
    insert(divergence.losing, "tagente_datos_inc", counters)
    insert(divergence.master, "tagente_datos_inc", [{**counters[0], "utimestamp": BASE + 900_000}])


def children_expected(divergence: Divergence, table: str, parent: str) -> Counter[tuple[Any, ...]]:
    """What the master should have after the merge, told by another way than the program's.

    A child is named by its own content and its event's whole content, ids apart. It follows when its event is
    in the window, or when it was written in the window and the master has the very same event.
    """
    identity = ("utimestamp", "event_type", "id_agente", "id_agentmodule")

    def read(node: SandboxNode) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        events = {
            row["id_evento"]: row for row in node.client.query("SELECT * FROM tevento", database="pandora")
        }
        children = node.client.query(f"SELECT * FROM {table}", database="pandora")
        return [(row, events[row[parent]]) for row in children]

    def name(child: dict[str, Any], of: dict[str, Any]) -> tuple[str, ...]:
        own = [repr(value) for key, value in child.items() if key not in ("id", parent)]
        return (*own, *(repr(value) for key, value in of.items() if key != "id_evento"))

    masters = {
        row["id_evento"]: row
        for row in divergence.master.client.query("SELECT * FROM tevento", database="pandora")
    }
    by_event: dict[int, Counter[tuple[Any, ...]]] = {}
    for child, of in read(divergence.master):
        by_event.setdefault(of["id_evento"], Counter())[name(child, of)] += 1
    mine: Counter[tuple[Any, ...]] = Counter()
    late: dict[int, Counter[tuple[Any, ...]]] = {}
    for child, of in read(divergence.losing):
        if WINDOW.holds(of["utimestamp"]):
            mine[name(child, of)] += 1
        elif WINDOW.holds(child["utimestamp"]):
            there = masters.get(of["id_evento"])
            if there is not None and all(there[key] == of[key] for key in identity):
                late.setdefault(there["id_evento"], Counter())[name(child, there)] += 1
    before: Counter[tuple[Any, ...]] = Counter()
    for number in by_event.keys() | late.keys():
        before += by_event.get(number, Counter()) | late.get(number, Counter())
    return before | mine


def children_there(divergence: Divergence, table: str, parent: str) -> Counter[tuple[Any, ...]]:
    """The same names of what the master has now."""
    events = {
        row["id_evento"]: row
        for row in divergence.master.client.query("SELECT * FROM tevento", database="pandora")
    }
    found: Counter[tuple[Any, ...]] = Counter()
    for child in divergence.master.client.query(f"SELECT * FROM {table}", database="pandora"):
        of = events[child[parent]]
        own = [repr(value) for key, value in child.items() if key not in ("id", parent)]
        found[(*own, *(repr(value) for key, value in of.items() if key != "id_evento"))] += 1
    return found


def in_window(rows: Counter[tuple[Any, ...]], at: int) -> Counter[tuple[Any, ...]]:
    return Counter({row: n for row, n in rows.items() if WINDOW.holds(int(row[at]))})


def merge(divergence: Divergence, archives: Path) -> MergeResult:
    request = MergeRequest(losing="node2", master="node1", window=WINDOW, tables=ALL)
    job = Merge(divergence.cluster, request)
    directory = new_directory(archives, "node2", "node1", 0.0)
    plan = job.plan(Control())
    job.archive(directory, Control())
    result = job.apply(directory, Control())
    assert {one.table: (one.rows, one.there, one.to_add, one.skipped) for one in plan.tables} == {
        one.table: (one.rows, one.there, one.added, one.skipped) for one in result.tables
    }, "the dry run told something else than what was done"
    check = job.verify(directory, result, Control())
    assert check.good, check
    return result


@pytest.fixture(params=["usual", "tiny"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices as they are, and so small that every slice takes several members, passes and batches."""
    if request.param == "tiny":
        make_everything_tiny(monkeypatch)


CHILDREN = (("tevent_comment", "id_event"), ("tevent_extended", "id_evento"))


@pytest.mark.parametrize("seed", range(6))
def test_after_a_merge_the_master_has_every_row_as_often_as_the_side_that_has_more_of_it(
    divergence: Divergence, tmp_path: Path, sizes: None, seed: int
) -> None:
    diverge(divergence, seed)
    expected = {table: children_expected(divergence, table, parent) for table, parent in CHILDREN}
    before = {table: rows_of(divergence.master, table) for table in MERGED}
    losing = {table: rows_of(divergence.losing, table) for table in MERGED}

    result = merge(divergence, tmp_path)

    after = {table: rows_of(divergence.master, table) for table in MERGED}
    for table, at in (("tagente_datos", 2), ("tagente_datos_string", 2), ("tagente_datos_log4x", 4)):
        assert after[table] == union(before[table], in_window(losing[table], at)), table
    assert after["tevento"] == union(before["tevento"], in_window(losing["tevento"], 6))
    assert after["tagente_datos_inc"] - before["tagente_datos_inc"] == Counter(
        {row: n for row, n in losing["tagente_datos_inc"].items() if row[0] != "1"}
    )
    for table, parent in CHILDREN:
        assert children_there(divergence, table, parent) == expected[table], table
    assert {table: rows_of(divergence.losing, table) for table in MERGED} == losing
    assert result.quarantined == 0

    again = merge(divergence, tmp_path)

    assert again.added == 0
    assert {table: rows_of(divergence.master, table) for table in MERGED} == after

    undone = undo_directory(divergence.cluster, result.directory, Control())

    assert (undone.removed, undone.gone) == (result.added, 0)
    assert {table: rows_of(divergence.master, table) for table in MERGED} == before

"""Rows that no window holds: found where only the losing side has them, told and saved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from pfms_ha_tui.cli.merge import dry_run_lines
from pfms_ha_tui.console.ink import as_text
from pfms_ha_tui.console.widgets import merge as widgets
from pfms_ha_tui.operations.merge import timeless
from pfms_ha_tui.operations.merge.configuration import Area, ConfigComparison
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.prepare import prepare
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.tables import EVENTS, INCREMENTS, NUMBERS, TableSchema, TableSpec
from pfms_ha_tui.operations.merge.timeless import TimelessRows
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.worker.protocol_merge import NO_TIME, DryRun, LeftBehind

WINDOW = Window(100, 200)


def table(name: str, *columns: str) -> TableSchema:
    return TableSchema(
        name=name,
        columns=tuple(Column(name=one, type="bigint", full_type="bigint(20)") for one in columns),
        leading={"utimestamp": "time"},
    )


SCHEMA = {
    one.name: one
    for one in (
        table("tagente_datos", "id_agente_modulo", "datos", "utimestamp"),
        table("tagente_datos_inc", "id_agente_modulo", "datos", "utimestamp"),
        table("tevento", "id_evento", "id_agente", "id_agentmodule", "utimestamp", "evento"),
        table("tevent_comment", "id", "id_event", "utimestamp", "comment"),
    )
}


@dataclass
class Server:
    """Has rows without a time by their table, as literals of what is asked for."""

    rows: dict[str, list[bytes | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _of(self, sql: str) -> list[bytes | None]:
        self.asked.append(sql)
        found = re.search(r"FROM `(\w+)`", sql)
        assert found is not None
        return self.rows.get(found[1], [])

    def query(self, sql: str, timeout: float) -> list[dict[str, object]]:
        assert "COUNT(*)" in sql
        return [{"n": len(self._of(sql))}]

    def texts(self, sql: str, timeout: float) -> Iterator[list[bytes | None]]:
        yield self._of(sql)


def side(server: Server) -> Side:
    return cast(Side, SimpleNamespace(session=server, schema=lambda: SCHEMA))


def compared(
    losing: Server, master: Server, *, window: Window = WINDOW, specs: Sequence[TableSpec] = (NUMBERS, EVENTS)
) -> TimelessRows:
    tables = prepare(specs, SCHEMA, SCHEMA).tables
    return TimelessRows(side(losing), side(master), tables, window)


def test_rows_without_a_time_that_the_master_has_too_are_nothing_to_tell() -> None:
    both = [b"(1,NULL,5)", b"(1,NULL,5)", b"(2,-1,7)"]
    losing, master = Server({"tagente_datos": [*both]}), Server({"tagente_datos": [*both]})
    assert compared(losing, master).compare(Control()) == ()
    losing.rows["tagente_datos"] += [both[0]]
    rows = compared(losing, master)
    (told,) = rows.compare(Control())
    assert (told.table, told.rows, told.saved) == ("tagente_datos", 1, True)
    assert [*rows.rows("tagente_datos")] == [[both[0]]], "of equal rows as many as the master lacks"


def test_events_are_told_apart_without_their_ids_and_what_hangs_on_them_is_saved_with_them() -> None:
    losing = Server({"tevento": [b"(7,0,0,NULL,1)", b"(8,0,0,0,2)"], "tevent_comment": [b"(3,8,150,9)"]})
    master = Server({"tevento": [b"(0,0,NULL,1)"]})
    rows = compared(losing, master)
    assert [(one.table, one.rows) for one in rows.compare(Control())] == [
        ("tevento", 1),
        ("tevent_comment", 1),
    ]
    assert [*rows.rows("tevento")] == [[b"(8,0,0,0,2)"]]
    assert rows.columns("tevento")[0].name == "id_evento"
    assert any("`id_event` IN (SELECT `id_evento` FROM `tevento`" in sql for sql in losing.asked)


@pytest.mark.parametrize(("window", "below"), [(WINDOW, 1), (Window(0, 200), 0)])
def test_zero_is_no_time_unless_the_window_begins_there(window: Window, below: int) -> None:
    losing = Server()
    compared(losing, Server(), window=window).compare(Control())
    assert len(losing.asked) == 2, "what hangs on nothing is not looked for"
    assert losing.asked[0].endswith(f"WHERE (`utimestamp` IS NULL OR `utimestamp` < {below})")


def test_too_many_or_too_long_rows_are_told_and_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeless, "MOST_ROWS", 2)
    many = compared(Server({"tagente_datos": [b"(1,NULL,5)"] * 3}), Server()).compare(Control())
    assert [(one.rows, one.saved) for one in many] == [(3, False)]
    long = compared(Server({"tagente_datos": [None]}), Server()).compare(Control())
    assert [(one.rows, one.saved) for one in long] == [(1, False)]


def test_a_table_that_is_overwritten_in_place_is_not_looked_at() -> None:
    losing = Server({"tagente_datos_inc": [b"(1,NULL,5)"]})
    assert compared(losing, Server(), specs=(INCREMENTS,)).compare(Control()) == ()


def test_they_are_among_what_is_not_merged_and_are_archived_with_the_configuration() -> None:
    losing = Server({"tagente_datos": [b"(1,NULL,5)", b"(2,NULL,6)"]})
    names = ["tagente_datos", "tagente_datos_inc", "tevento", "tevent_comment"]
    comparison = ConfigComparison(side(losing), side(Server()), names, compared(losing, Server()))
    left = comparison.compare(Control())
    assert [(one.table, one.area, one.created) for one in left.differences] == [
        ("tagente_datos", Area.TIMELESS, 2)
    ]
    assert Area.TIMELESS == NO_TIME
    assert comparison.tables == ("tagente_datos",)
    assert [column.name for column in comparison.columns("tagente_datos")] == [
        "id_agente_modulo",
        "utimestamp",
        "datos",
    ]
    assert [*comparison.rows("tagente_datos")] == [[b"(1,NULL,5)", b"(2,NULL,6)"]]


def test_the_dry_run_names_them_apart_from_the_configuration() -> None:
    left = (
        LeftBehind(area=NO_TIME, table="tagente_datos", created=3, changed=0),
        LeftBehind(area="agents", table="tagente", created=1, changed=0),
    )
    found = DryRun(losing="node2", master="node1", start=100, end=200, tables=(), left_behind=left)
    for text in ("\n".join(dry_run_lines(found)), as_text(widgets.dry_run_lines(found, 200))):
        assert "3 rows of tagente_datos have no time: no window holds them" in text
        assert "rows without a time" not in text
        assert "agents" in text

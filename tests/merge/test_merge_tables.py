"""Which tables are merged, and which differences between the two sides are accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfms_ha_tui.config.settings import ExtraTable
from pfms_ha_tui.operations.merge.compare import Tally
from pfms_ha_tui.operations.merge.errors import MergeError, SchemaError
from pfms_ha_tui.operations.merge.families import Child, counts
from pfms_ha_tui.operations.merge.inventory import Owner
from pfms_ha_tui.operations.merge.literals import Column
from pfms_ha_tui.operations.merge.prepare import prepare
from pfms_ha_tui.operations.merge.tables import (
    EVENTS,
    NUMBERS,
    Layout,
    TableMapping,
    TableSchema,
    TableSpec,
    choose,
    fit,
    misfit,
)
from pfms_ha_tui.worker.splits import problems_of


def column(name: str, full: str, **more: object) -> Column:
    kind = full.split("(")[0].split(" ")[0]
    textual = kind in ("varchar", "char", "text", "mediumtext", "tinytext", "enum", "set", "longtext")
    length = int(full.split("(")[1].split(")")[0]) if kind in ("varchar", "char", "varbinary") else None
    base = Column(name=name, type=kind, full_type=full, length=length, charset="utf8mb4" if textual else None)
    return replace(base, **more)  # type: ignore[arg-type]


DATA = TableSchema(
    name="tagente_datos",
    columns=(
        column("id_agente_modulo", "int unsigned", nullable=False),
        column("datos", "double"),
        column("utimestamp", "bigint"),
    ),
    leading={"utimestamp": "idx_utimestamp"},
)


def with_columns(*columns: Column) -> TableSchema:
    return replace(DATA, columns=columns)


def test_equal_tables_fit_with_module_and_time_in_front() -> None:
    layout, differences = fit(NUMBERS, DATA, DATA)
    assert layout is not None
    assert [one.name for one in layout.here] == ["id_agente_modulo", "utimestamp", "datos"]
    assert layout.source is None
    assert differences == ()


def test_the_order_of_columns_does_not_matter() -> None:
    layout, differences = fit(NUMBERS, DATA, with_columns(*reversed(DATA.columns)))
    assert layout is not None
    assert [one.name for one in layout.there] == ["id_agente_modulo", "utimestamp", "datos"]
    assert differences == ()


def test_a_column_the_master_lacks_stops_the_merge_until_it_is_mapped() -> None:
    here = with_columns(*DATA.columns, column("extra", "int"))
    layout, differences = fit(NUMBERS, here, DATA)
    assert layout is None
    assert [(one.column, one.blocking) for one in differences] == [("extra", True)]
    assert differences[0].remedy is not None

    layout, differences = fit(NUMBERS, here, DATA, TableMapping(drop=("extra",)))
    assert layout is not None
    assert [one.name for one in layout.dropped] == ["extra"]
    assert not any(one.blocking for one in differences)

    renamed = with_columns(*DATA.columns, column("plus", "int"))
    layout, _ = fit(NUMBERS, here, renamed, TableMapping(rename={"extra": "plus"}))
    assert layout is not None
    assert [one.name for one in layout.there][-1] == "plus"


def test_a_column_only_the_master_has_needs_a_default() -> None:
    harmless = with_columns(*DATA.columns, column("extra", "int", nullable=False))
    layout, differences = fit(NUMBERS, DATA, harmless)
    assert layout is not None
    assert "default" in differences[0].text
    strict = with_columns(*DATA.columns, column("extra", "int", nullable=False, has_default=False))
    layout, differences = fit(NUMBERS, DATA, strict)
    assert layout is None
    assert differences[0].blocking


def test_a_table_the_master_lacks_stops_the_merge_and_one_the_losing_side_lacks_does_not() -> None:
    layout, differences = fit(NUMBERS, DATA, None)
    assert layout is None
    assert differences[0].blocking
    layout, differences = fit(NUMBERS, None, DATA)
    assert layout is None
    assert not differences[0].blocking


def test_columns_that_tell_rows_apart_cannot_be_dropped() -> None:
    layout, differences = fit(NUMBERS, DATA, DATA, TableMapping(drop=("utimestamp",)))
    assert layout is None
    assert any(one.blocking for one in differences)


def test_every_blocking_difference_is_named_in_the_refusal() -> None:
    here = with_columns(*DATA.columns, column("one", "int"), column("two", "int"))
    preparation = prepare([NUMBERS], {"tagente_datos": here}, {"tagente_datos": DATA})
    with pytest.raises(SchemaError) as caught:
        preparation.require()
    assert "one" in caught.value.reason
    assert "two" in caught.value.reason


def test_a_missing_time_index_is_said_and_accepted() -> None:
    layout, differences = fit(NUMBERS, replace(DATA, leading={}), DATA)
    assert layout is not None
    assert any("index" in one.text for one in differences)


@pytest.mark.parametrize(
    ("here", "there", "fits"),
    [
        ("int", "int", True),
        ("int", "bigint", True),
        ("int unsigned", "bigint", True),
        ("int unsigned", "int", False),
        ("int", "int unsigned", False),
        ("bigint", "int", False),
        ("double", "double", True),
        ("float", "double", True),
        ("double", "float", False),
        ("double", "int", False),
        ("decimal(10,2)", "decimal(12,2)", True),
        ("decimal(10,2)", "decimal(10,3)", False),
        ("varchar(100)", "varchar(255)", True),
        ("varchar(255)", "varchar(100)", False),
        ("varchar(100)", "text", True),
        ("varchar(20000)", "text", False),
        ("text", "mediumtext", True),
        ("mediumtext", "text", False),
        ("varchar(10)", "char(10)", False),
        ("char(10)", "varchar(10)", True),
        ("datetime", "datetime", True),
        ("datetime", "datetime(6)", False),
        ("datetime", "timestamp", False),
        ("enum('a','b')", "enum('b','c','a')", True),
        ("enum('a','b')", "enum('a')", False),
        ("set('a','b')", "set('a','b','c')", True),
        ("set('a','b')", "set('b','a')", False),
        ("text", "blob", False),
        ("blob", "mediumblob", True),
    ],
)
def test_a_type_is_accepted_only_where_every_value_comes_out_the_same(
    here: str, there: str, fits: bool
) -> None:
    assert (misfit(column("c", here), column("c", there)) is None) is fits


def test_a_narrower_character_set_is_refused() -> None:
    wide = column("c", "text")
    assert misfit(wide, replace(wide, charset="utf8mb3")) is not None
    assert misfit(replace(wide, charset="latin1"), wide) is None


def test_without_a_choice_the_manuals_tables_and_the_configs_are_merged() -> None:
    extra = ExtraTable(table="tlog", key=("a",))
    assert [one.table for one in choose(None)] == ["tagente_datos", "tagente_datos_string", "tevento"]
    assert [one.table for one in choose(None, [extra])][-1] == "tlog"
    assert [one.table for one in choose(["tlog", "tevento"], [extra])] == ["tlog", "tevento"]
    assert choose(["tagente_datos_inc"])[0].key == ("id_agente_modulo",)
    with pytest.raises(MergeError) as caught:
        choose(["tlog"])
    assert "merge.tables" in str(caught.value.hint)


def test_a_built_in_table_named_in_the_config_keeps_its_rules() -> None:
    assert choose(None, [ExtraTable(table="tagente_datos_log4x")])[-1].new_id == "id_tagente_datos_log4x"


def test_children_a_release_does_not_have_are_left_out() -> None:
    events = TableSchema(
        name="tevento",
        columns=(
            column("id_evento", "bigint unsigned", auto_increment=True),
            column("utimestamp", "bigint"),
            column("id_agente", "int"),
            column("id_agentmodule", "int"),
        ),
        leading={"utimestamp": "idx"},
    )
    preparation = prepare([EVENTS], {"tevento": events}, {"tevento": events})
    preparation.require()
    assert preparation.tables[0].children == ()


def test_module_and_agent_columns_of_other_tables_are_found_by_their_names() -> None:
    spec = TableSpec(table="tagente_datos")
    preparation = prepare([spec], {"tagente_datos": DATA}, {"tagente_datos": DATA})
    assert preparation.tables[0].layout.spec.module == "id_agente_modulo"


def test_the_children_of_a_table_are_counted_behind_it_and_add_up() -> None:
    tally = Tally(rows=9, there=4, missing=3)
    tally.skipped[Owner.AGENT, 5] = 2
    tally.child_rows.update(tevent_comment=7, tevent_extended=2)
    tally.child_missing.update(tevent_comment=3)
    tally.child_skipped.update(tevent_comment=1)
    empty = Layout(spec=EVENTS, here=(), there=())
    children = [Child(spec=spec, layout=replace(empty, spec=spec.spec)) for spec in EVENTS.children]
    told = [
        (one.table, one.rows, one.there, one.missing, one.skipped)
        for one in counts("tevento", children, tally)
    ]
    assert told == [
        ("tevento", 9, 4, 3, 2),
        ("tevent_comment", 7, 3, 3, 1),
        ("tevent_extended", 2, 2, 0, 0),
    ]


def test_a_column_the_master_lacks_may_be_one_that_only_the_master_has() -> None:
    extra = column("old_name", "int", nullable=True)
    here = replace(DATA, columns=(*DATA.columns, extra))
    there = replace(DATA, columns=(*DATA.columns, replace(extra, name="new_name")))
    _, differences = fit(NUMBERS, here, there)
    told = {one.where: one.names for one in problems_of(differences)}
    assert told["tagente_datos.old_name"] == ("new_name",)
    assert told["tagente_datos.new_name"] is None
    _, differences = fit(NUMBERS, here, there, TableMapping(rename={"old_name": "new_name"}))
    assert not any(one.blocking for one in differences), "and mapped so, it fits"

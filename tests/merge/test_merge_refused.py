"""Rows that the master refuses, or would change, are set aside with the reason; the rest goes on."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.divergence import BASE, Divergence, event, insert, rows_of, start

from pfms_ha_tui.operations.merge import tables
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import SchemaError
from pfms_ha_tui.operations.merge.merging import quarantined
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import Flavor, SandboxNode

WINDOW = Window(BASE, BASE + 600)


@contextmanager
def altered(node: SandboxNode, change: str, back: str) -> Iterator[None]:
    node.client.query(change, database="pandora")
    try:
        yield
    finally:
        node.client.query(back, database="pandora")


def values(*numbers: float) -> list[dict[str, object]]:
    return [{"id_agente_modulo": 1, "datos": number, "utimestamp": BASE + 5} for number in numbers]


def test_rows_that_break_a_constraint_are_quarantined_and_the_others_are_added(
    divergence: Divergence, tmp_path: Path
) -> None:
    insert(divergence.losing, "tagente_datos", values(*range(50)))
    with altered(
        divergence.master,
        "ALTER TABLE tagente_datos ADD CONSTRAINT odd CHECK (datos NOT IN (7, 33))",
        "ALTER TABLE tagente_datos DROP CONSTRAINT odd",
    ):
        result, check = divergence.merge(tmp_path, WINDOW, ["tagente_datos"])
        assert (result.added, result.quarantined) == (48, 2)
        assert check.good
        found = quarantined(result.directory)
        assert len(found) == 2
        assert all("odd" in one.reason for one in found)
        assert any(b"'33'" in row for one in found for row in one.rows)
    text = gzip.decompress((result.directory / "quarantine.sql.gz").read_bytes()).decode()
    assert "INSERT INTO `tagente_datos`" in text

    again, _ = divergence.merge(tmp_path, WINDOW, ["tagente_datos"])
    assert again.added == 2, "with the constraint gone, the next merge adds what was set aside"


def test_a_value_that_the_master_would_cut_off_is_not_added_cut_off(
    divergence: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sql_mode is '' as the manual has it: the server cuts off and only warns. That the columns fit is
    # checked long before; this is about what happens if that check were blind.
    monkeypatch.setattr(tables, "misfit", lambda *_: None)
    insert(
        divergence.losing,
        "tagente_datos_string",
        [{"id_agente_modulo": 10, "datos": text, "utimestamp": BASE + 5} for text in ("short", "too long")],
    )
    with altered(
        divergence.master,
        "ALTER TABLE tagente_datos_string MODIFY datos VARCHAR(6) NOT NULL",
        "ALTER TABLE tagente_datos_string MODIFY datos MEDIUMTEXT NOT NULL",
    ):
        result, check = divergence.merge(tmp_path, WINDOW, ["tagente_datos_string"])
        assert (result.added, result.quarantined) == (1, 1)
        assert check.good
        assert list(rows_of(divergence.master, "tagente_datos_string")) == [("10", "'short'", str(BASE + 5))]


def test_an_event_is_kept_though_one_of_its_comments_is_refused(
    divergence: Divergence, tmp_path: Path
) -> None:
    insert(divergence.losing, "tevento", [{**event(BASE + 1, evento="one"), "id_evento": 901}])
    insert(
        divergence.losing,
        "tevent_comment",
        [
            {"id_event": 901, "utimestamp": BASE + 2, "comment": text, "id_user": "admin", "action": ""}
            for text in ("good", "bad", "fine")
        ],
    )
    with altered(
        divergence.master,
        "ALTER TABLE tevent_comment ADD CONSTRAINT nice CHECK (comment <> 'bad')",
        "ALTER TABLE tevent_comment DROP CONSTRAINT nice",
    ):
        result, check = divergence.merge(tmp_path, WINDOW)
    assert check.good
    by_table = {one.table: (one.added, one.quarantined) for one in result.tables}
    assert by_table["tevento"] == (1, 0)
    assert by_table["tevent_comment"] == (2, 1)
    assert quarantined(result.directory)[0].table == "tevent_comment"


def test_tables_that_do_not_fit_stop_the_merge_before_anything_is_written(
    divergence: Divergence, tmp_path: Path
) -> None:
    with altered(
        divergence.losing,
        "ALTER TABLE tagente_datos ADD COLUMN extra INT DEFAULT 5",
        "ALTER TABLE tagente_datos DROP COLUMN extra",
    ):
        insert(divergence.losing, "tagente_datos", values(1, 2))
        plan = divergence.job(WINDOW).plan(Control())
        assert plan.blocked
        with pytest.raises(SchemaError) as caught:
            divergence.merge(tmp_path, WINDOW)
        assert "extra" in caught.value.reason
        assert sum(rows_of(divergence.master, "tagente_datos").values()) == 0

        mappings = {"tagente_datos": TableMapping(drop=("extra",))}
        assert divergence.job(WINDOW, mappings=mappings).plan(Control()).to_add == 2
        result, check = divergence.merge(tmp_path, WINDOW, mappings=mappings)
        assert (result.added, check.good) == (2, True)
        again, _ = divergence.merge(tmp_path, WINDOW, mappings=mappings)
        assert again.added == 0


def test_a_renamed_column_goes_where_it_is_mapped_to(divergence: Divergence, tmp_path: Path) -> None:
    with altered(
        divergence.master,
        "ALTER TABLE tagente_datos CHANGE datos worth DOUBLE",
        "ALTER TABLE tagente_datos CHANGE worth datos DOUBLE",
    ):
        insert(divergence.losing, "tagente_datos", values(1, 2))
        mappings = {"tagente_datos": TableMapping(rename={"datos": "worth"})}
        result, check = divergence.merge(tmp_path, WINDOW, ["tagente_datos"], mappings=mappings)
        assert (result.added, check.good) == (2, True)
        again, _ = divergence.merge(tmp_path, WINDOW, ["tagente_datos"], mappings=mappings)
        assert again.added == 0


def test_rows_of_a_megabyte_and_rows_too_large_for_the_master(flavor: Flavor, tmp_path: Path) -> None:
    small = {"node1": {"max_allowed_packet": "4M"}, "node2": {"max_allowed_packet": "16M"}}
    divergence = start(flavor, node_variables=small)
    try:
        # Made by the server itself: a literal of the last one would be too long for it.
        large = ("'a', 1000000", "'💥', 250000", "'\\'', 900000", "'\\'', 3000000", "'\\'', 9000000")
        for number, repeated in enumerate(large):
            divergence.losing.client.query(
                f"INSERT INTO tagente_datos_string SELECT 10, REPEAT({repeated}), {BASE + number}",
                database="pandora",
                timeout=60,
            )
        result, check = divergence.merge(tmp_path, WINDOW)
        assert (result.added, result.quarantined) == (3, 2)
        assert check.good
        assert check.tables[1].archived.rows == 5
        sizes = divergence.master.client.query(
            "SELECT LENGTH(datos) AS n FROM tagente_datos_string ORDER BY utimestamp", database="pandora"
        )
        assert [row["n"] for row in sizes] == [1_000_000, 1_000_000, 900_000]
        assert all("max_allowed_packet" in one.reason for one in quarantined(result.directory))
        again, _ = divergence.merge(tmp_path, WINDOW)
        assert again.added == 0
    finally:
        divergence.sandbox.stop_now()

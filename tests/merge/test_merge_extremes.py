"""Windows and amounts at their limits, and what stays behind."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.divergence import BASE, Divergence, event, insert, rows_of, start

from pfms_ha_tui.config.settings import ExtraTable
from pfms_ha_tui.operations.merge import compare, families
from pfms_ha_tui.operations.merge.archive import Archive
from pfms_ha_tui.operations.merge.configuration import Area, area_of, is_state
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import ROWS, Merge, MergeRequest, new_directory
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import Flavor

YEARS = Window(BASE - 5 * 365 * 86_400, BASE + 86_400)


def values(count: int, at: int, module: int = 1) -> list[dict[str, object]]:
    return [{"id_agente_modulo": module, "datos": n, "utimestamp": at} for n in range(count)]


def test_an_empty_window_changes_nothing_and_is_no_error(divergence: Divergence, tmp_path: Path) -> None:
    insert(divergence.losing, "tagente_datos", values(3, BASE))
    for window in (Window(BASE + 10, BASE + 20), Window(BASE, BASE)):
        plan = divergence.job(window).plan(Control())
        assert (plan.to_add, [one.rows for one in plan.tables]) == (0, [0] * 5)
        result, check = divergence.merge(tmp_path, window)
        assert (result.added, check.good) == (0, True)


def test_a_window_of_five_years_is_merged_slice_by_slice(divergence: Divergence, tmp_path: Path) -> None:
    for years in range(5):
        insert(divergence.losing, "tagente_datos", values(20, BASE - years * 365 * 86_400))
    result, check = divergence.merge(tmp_path, YEARS)
    assert (result.added, check.good) == (100, True)


def many(divergence: Divergence, where: str, count: int, at: str, module: str = "1 + i % 3") -> None:
    node = divergence.losing if where == "losing" else divergence.master
    limit = "max_recursive_iterations" if node.flavor is Flavor.MARIADB else "cte_max_recursion_depth"
    node.client.script(
        [
            (f"SET SESSION {limit} = {count + 1}", None),
            (
                "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) WITH RECURSIVE n (i) AS"
                f" (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})"
                f" SELECT {module}, i / 7, {at} FROM n",
                None,
            ),
        ],
        database="pandora",
        timeout=120,
    )


def test_memory_stays_bounded_though_all_rows_are_of_one_second(
    divergence: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_KEYS", 10_000)
    many(divergence, "losing", 120_000, str(BASE))
    many(divergence, "master", 60_000, str(BASE))
    job = divergence.job(Window(BASE, BASE + 60), ["tagente_datos"])
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    tracemalloc.start()
    try:
        job.archive(directory, Control())
        result = job.apply(directory, Control())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.added == 60_000
    assert peak < 60e6, "the rows alone would take more than that"
    assert job.verify(directory, result, Control()).good


def test_a_master_with_far_more_rows_than_the_losing_side_is_asked_for_its_modules_only(
    divergence: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_KEYS", 1_000)
    many(divergence, "master", 40_000, f"{BASE} + i % 3000", module="2 + i % 100")
    insert(divergence.losing, "tagente_datos", values(10, BASE + 5, module=1))
    insert(divergence.master, "tagente_datos", values(4, BASE + 5, module=1))
    asked: list[int] = []
    taken = compare.Present.take

    def counting(self: compare.Present, chunk: list[bytes], new_id: bool) -> None:
        asked.append(len(chunk))
        taken(self, chunk, new_id)

    monkeypatch.setattr(compare.Present, "take", counting)
    result, check = divergence.merge(tmp_path, Window(BASE, BASE + 3600), ["tagente_datos"])
    assert (result.added, check.good) == (6, True)
    assert sum(asked) < 10_000


def test_many_events_of_one_second_are_compared_in_parts(
    divergence: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "_MOST_EVENTS", 20)
    shared = [event(BASE, evento=f"both {n}") for n in range(150)]
    divergence.both("tevento", shared)
    insert(divergence.losing, "tevento", [event(BASE, evento=f"own {n}") for n in range(80)])
    result, check = divergence.merge(tmp_path, Window(BASE, BASE + 60))
    assert (result.added, check.good) == (80, True)


def test_configuration_that_stays_behind_is_counted_by_area_and_archived(
    divergence: Divergence, tmp_path: Path
) -> None:
    losing, master = divergence.losing.client, divergence.master.client
    made = [
        "INSERT INTO tagente (id_agente, nombre, alias) VALUES (600, 'fresh', 'fresh')",
        "INSERT INTO tagente_modulo (id_agente_modulo, id_agente, nombre) VALUES (6000, 600, 'new')",
        "UPDATE tagente_modulo SET max_critical = 95 WHERE id_agente_modulo = 3",
        "UPDATE tagente SET ultimo_contacto = '2025-10-09 09:00:00' WHERE id_agente = 2",
        "INSERT INTO tgrupo (id_grupo, nombre) VALUES (77, 'Night&#x20;shift')",
    ]
    for statement in made:
        losing.query(statement, database="pandora")
    try:
        job = divergence.job(Window(BASE, BASE + 60))
        left = job.plan(Control()).left_behind
        found = {one.table: (one.area, one.created, one.changed) for one in left.differences}
        assert found["tagente"] == (Area.AGENTS, 1, 0), "a last contact is no change of configuration"
        assert found["tagente_modulo"] == (Area.MODULES, 1, 1)
        assert found["tgrupo"] == (Area.GROUPS, 1, 0)
        assert {one.table: one.samples for one in left.differences}["tgrupo"] == ("Night&#x20;shift",)
        assert left.by_area[Area.MODULES] == 2

        directory = new_directory(tmp_path, "node2", "node1", 0.0)
        summary = job.archive(directory, Control())
        assert summary.configuration["tagente_modulo"] == 2
        with Archive(directory / ROWS) as archive:
            text = b"".join(archive.configuration())
        assert b"'fresh'" in text
        assert b"CREATE TABLE IF NOT EXISTS `tgrupo`" in text
    finally:
        for client in (losing, master):
            for statement in (
                "DELETE FROM tagente WHERE id_agente = 600",
                "DELETE FROM tagente_modulo WHERE id_agente_modulo = 6000",
                "DELETE FROM tgrupo WHERE id_grupo = 77",
                "UPDATE tagente_modulo SET max_critical = 0 WHERE id_agente_modulo = 3",
            ):
                client.query(statement, database="pandora")


@pytest.mark.parametrize(
    ("table", "area"),
    [
        ("talert_template_modules", Area.ALERTS),
        ("tpolicies", Area.POLICIES),
        ("tusuario_perfil", Area.USERS),
        ("tlayout_data", Area.REPORTS),
        ("something_else", Area.OTHER),
    ],
)
def test_tables_are_named_by_what_they_configure(table: str, area: Area) -> None:
    assert area_of(table) is area
    assert not is_state(table)


@pytest.mark.parametrize("table", ["tagente_estado", "tserver", "tsesion", "tevento", "tagent_access"])
def test_state_is_no_configuration(table: str) -> None:
    assert is_state(table)


def test_a_table_of_the_config_is_merged_by_its_key(divergence: Divergence, tmp_path: Path) -> None:
    for node in (divergence.master, divergence.losing):
        node.client.query(
            "CREATE TABLE tsite (host VARCHAR(20), slot INT, seen INT, note TEXT, PRIMARY KEY (host, slot))",
            database="pandora",
        )
    try:
        divergence.both("tsite", [{"host": "a,'b", "slot": 1, "seen": BASE + 1, "note": "old"}])
        insert(
            divergence.losing,
            "tsite",
            [{"host": "a,'b", "slot": 2, "seen": BASE + 2, "note": "x"}, {"host": "c", "slot": 1, "seen": 5}],
        )
        insert(divergence.master, "tsite", [{"host": "c", "slot": 9, "seen": BASE + 3}])
        extra = ExtraTable(table="tsite", time_column="seen", key=("host", "slot"))
        cluster = divergence.cluster
        job = Merge(
            replace(cluster, merge=replace(cluster.merge, tables=(extra,))),
            MergeRequest(losing="node2", master="node1", window=Window(BASE, BASE + 60)),
        )
        directory = new_directory(tmp_path, "node2", "node1", 0.0)
        plan = job.plan(Control())
        assert any("index" in one.text for one in plan.differences if one.table == "tsite")
        job.archive(directory, Control())
        result = job.apply(directory, Control())
        assert {one.table: one.added for one in result.tables}["tsite"] == 1
        assert job.verify(directory, result, Control()).good
        assert sum(rows_of(divergence.master, "tsite").values()) == 3
    finally:
        for node in (divergence.master, divergence.losing):
            node.client.query("DROP TABLE tsite", database="pandora")


def test_the_histogram_and_the_first_difference_come_from_the_data(divergence: Divergence) -> None:
    divergence.both("tagente_datos", values(5, BASE - 3600) + values(5, BASE - 7200))
    insert(divergence.losing, "tagente_datos", values(3, BASE + 61))
    insert(divergence.master, "tagente_datos", values(2, BASE + 200))
    job = divergence.job(Window(BASE - 20, BASE + 280))
    buckets = {one.start: (one.losing, one.master) for one in job.histogram()}
    assert buckets[BASE + 40] == (3, 0), "buckets are whole minutes; the window starts in the middle of one"
    assert buckets[BASE + 160] == (0, 2)
    found = job.first_difference(Control(), BASE + 300)
    assert found == Window(BASE + 40, BASE + 220)


@pytest.fixture
def three(flavor: Flavor) -> Iterator[Divergence]:
    one = start(flavor, nodes=3)
    try:
        yield one
    finally:
        one.sandbox.stop_now()


async def test_what_is_merged_reaches_the_masters_slaves(three: Divergence, tmp_path: Path) -> None:
    # The manual's filters: binlog-do-db on the master, replicate-do-db on the slave.
    insert(three.losing, "tagente_datos", values(50, BASE))
    insert(three.losing, "tevento", [{**event(BASE + 1, evento="e"), "id_evento": 700}])
    insert(
        three.losing,
        "tevent_comment",
        [{"id_event": 700, "utimestamp": BASE, "comment": "c", "id_user": "a", "action": ""}],
    )
    slave = three.sandbox.nodes[2]
    result, check = three.merge(tmp_path, Window(BASE, BASE + 60))
    assert (result.added, check.good) == (52, True)
    position = "MASTER_POS_WAIT" if slave.flavor is Flavor.MARIADB else "SOURCE_POS_WAIT"
    words = "SHOW MASTER STATUS" if slave.flavor is Flavor.MARIADB else "SHOW BINARY LOG STATUS"
    at = (await three.master.sql(words))[0]
    await slave.sql(f"SELECT {position}(%s, %s, 30)", (at["File"], at["Position"]), timeout=40)
    for table in ("tagente_datos", "tevento", "tevent_comment"):
        assert rows_of(slave, table) == rows_of(three.master, table)

"""Rows of modules and agents that the master does not have, or has as something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.divergence import BASE, Divergence, event, insert, rows_of

from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.inventory import Owner, Unknown, Why
from pfms_ha_tui.operations.merge.merging import apply_directory, new_directory
from pfms_ha_tui.operations.merge.window import Window

WINDOW = Window(BASE, BASE + 600)


@pytest.fixture(autouse=True)
def inventory_as_it_was(divergence: Divergence) -> Iterator[None]:
    yield
    for node in (divergence.master, divergence.losing):
        node.client.script(
            [
                ("DELETE FROM tagente WHERE id_agente >= 500", None),
                ("DELETE FROM tagente_modulo WHERE id_agente_modulo >= 5000", None),
            ],
            database="pandora",
        )


def agent(number: int, name: str) -> dict[str, object]:
    return {"id_agente": number, "nombre": name, "alias": name}


def module(number: int, of: int, name: str) -> dict[str, object]:
    return {"id_agente_modulo": number, "id_agente": of, "nombre": name, "id_tipo_modulo": 1}


def value(number: int, moment: int = BASE + 5) -> dict[str, object]:
    return {"id_agente_modulo": number, "datos": 1.5, "utimestamp": moment}


def skipped(divergence: Divergence) -> dict[tuple[Owner, int], tuple[Unknown, int]]:
    plan = divergence.job(WINDOW).plan(Control())
    return {(one.owner, one.id): (one, rows) for one, rows in plan.skipped}


def test_rows_of_modules_made_on_the_losing_side_are_skipped_and_listed_by_name(
    divergence: Divergence, tmp_path: Path
) -> None:
    insert(divergence.losing, "tagente", [agent(500, "new-host")])
    insert(
        divergence.losing, "tagente_modulo", [module(5000, 500, "New&#x20;module"), module(5001, 1, "More")]
    )
    insert(divergence.losing, "tagente_datos", [value(5000), value(5000), value(5001), value(1)])
    insert(
        divergence.losing,
        "tevento",
        [
            event(BASE + 1, id_agente=500, id_agentmodule=5000),
            event(BASE + 1, id_agente=1, id_agentmodule=5001),
            event(BASE + 1, id_agente=1, id_agentmodule=1),
            event(BASE + 1, id_agente=0, id_agentmodule=0),
        ],
    )

    found = skipped(divergence)
    unknown, rows = found[Owner.MODULE, 5000]
    assert (unknown.why, unknown.name, unknown.agent, rows) == (Why.MISSING, "New&#x20;module", "new-host", 2)
    assert found[Owner.MODULE, 5001][1] == 2
    assert (found[Owner.AGENT, 500][0].name, found[Owner.AGENT, 500][1]) == ("new-host", 1)

    result, check = divergence.merge(tmp_path, WINDOW)
    assert check.good
    assert {(one.owner, one.id): rows for one, rows in result.skipped} == {
        key: rows for key, (_, rows) in found.items()
    }
    assert sum(rows_of(divergence.master, "tagente_datos").values()) == 1
    assert sum(rows_of(divergence.master, "tevento").values()) == 2


def test_rows_of_a_module_deleted_on_both_sides_are_said_to_be_of_a_deleted_one(
    divergence: Divergence,
) -> None:
    insert(divergence.losing, "tagente_datos", [value(7777)])
    assert skipped(divergence)[Owner.MODULE, 7777][0].why is Why.DELETED


def test_a_number_that_both_sides_gave_to_different_things_is_not_mixed_up(
    divergence: Divergence, tmp_path: Path
) -> None:
    insert(divergence.losing, "tagente", [agent(500, "one")])
    insert(divergence.master, "tagente", [agent(500, "another")])
    for node in (divergence.losing, divergence.master):
        # The very same module name on agents of the same number that are different hosts.
        insert(node, "tagente_modulo", [module(5000, 500, "CPU&#x20;Load")])
    insert(divergence.losing, "tagente_modulo", [module(5001, 1, "Disk")])
    insert(divergence.master, "tagente_modulo", [module(5001, 1, "Memory")])
    insert(divergence.losing, "tagente_datos", [value(5000), value(5001)])
    insert(divergence.losing, "tevento", [event(BASE + 1, id_agente=500, id_agentmodule=0)])

    found = skipped(divergence)
    assert found[Owner.MODULE, 5000][0].why is Why.TAKEN
    assert (found[Owner.MODULE, 5001][0].name, found[Owner.MODULE, 5001][0].other) == (
        "Disk",
        "Memory of db-01.example.org",
    )
    assert found[Owner.AGENT, 500][0].other == "another"

    result, check = divergence.merge(tmp_path, WINDOW)
    assert (result.added, check.good) == (0, True)


def test_a_module_or_agent_that_was_renamed_is_still_the_same(divergence: Divergence, tmp_path: Path) -> None:
    insert(divergence.losing, "tagente", [agent(500, "host")])
    insert(divergence.master, "tagente", [agent(500, "host-renamed")])
    insert(divergence.losing, "tagente_modulo", [module(5000, 500, "Disk"), module(5001, 1, "Free")])
    insert(
        divergence.master, "tagente_modulo", [module(5000, 500, "Disk"), module(5001, 1, "Free&#x20;space")]
    )
    # Measurements from before the window on both sides: there was one history.
    divergence.both("tagente_datos", [value(5000, BASE - 100), value(5001, BASE - 100)])
    insert(divergence.losing, "tagente_datos", [value(5000), value(5001)])

    plan = divergence.job(WINDOW).plan(Control())
    assert plan.skipped == ()
    assert set(plan.renamed) == {(Owner.AGENT, 500), (Owner.MODULE, 5001)}

    result, check = divergence.merge(tmp_path, WINDOW)
    assert (result.added, check.good) == (2, True)


def test_an_event_that_was_validated_on_the_master_since_is_the_same_event(
    divergence: Divergence, tmp_path: Path
) -> None:
    divergence.both("tevento", [event(BASE + 1, id_evento=900, evento="disk full")])
    divergence.master.client.query("UPDATE tevento SET estado = 1 WHERE id_evento = 900", database="pandora")
    insert(divergence.losing, "tevento", [event(BASE + 2, id_evento=901, evento="of one side")])
    insert(divergence.master, "tevento", [event(BASE + 2, id_evento=901, evento="of the other")])
    result, check = divergence.merge(tmp_path, WINDOW)
    assert check.good
    assert [(one.rows, one.there, one.added) for one in result.tables if one.table == "tevento"] == [
        (2, 1, 1)
    ]
    rows = divergence.master.client.query("SELECT evento, estado FROM tevento", database="pandora")
    assert sorted((str(row["evento"]), int(str(row["estado"]))) for row in rows) == [
        ("disk full", 1),
        ("of one side", 0),
        ("of the other", 0),
    ]


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ("nothing", None),
        ("future", "1 row of tagente_datos, from after the window, not on node1"),
        ("optional", "1 row of tagente_datos_log4x, which was not among the tables, not on node1"),
        ("earlier", "1 row of tagente_datos, from before the window, not on node1"),
        ("both", None),
        ("timeless", "without a time, 2 of tagente_datos (they are archived)"),
    ],
)
def test_what_a_merge_leaves_on_the_losing_side_is_told(
    divergence: Divergence, left: str, reason: str | None, tmp_path: Path
) -> None:
    insert(divergence.losing, "tagente_datos", [value(1)])
    divergence.both("tagente_datos", [{"id_agente_modulo": 1, "datos": 0.5, "utimestamp": 0}])
    if left == "timeless":
        timeless = [{"id_agente_modulo": 1, "datos": 0.25, "utimestamp": at} for at in (None, -7)]
        insert(divergence.losing, "tagente_datos", timeless)
    if left == "future":
        insert(divergence.losing, "tagente_datos", [value(1, WINDOW.end + 7_000)])
    if left == "earlier":
        insert(divergence.losing, "tagente_datos", [value(1, BASE - 50)])
    if left == "both":
        divergence.both("tagente_datos", [value(1, BASE - 50), value(1, WINDOW.end + 7_000)])
    if left in ("optional", "both"):
        row = {"id_agente_modulo": 1, "severity": "", "message": "", "stacktrace": "", "utimestamp": BASE + 5}
        insert(divergence.losing, "tagente_datos_log4x", [row])
        if left == "both":
            insert(divergence.master, "tagente_datos_log4x", [row])
    began = BASE - 100.0 if left in ("earlier", "both") else BASE + 1.0
    job = divergence.job(WINDOW)
    found = job.left_out([spec.table for spec in job.specs], began)
    assert (found is None) if reason is None else (found is not None and reason in found)
    tables, newest = job.everything()
    assert newest == (WINDOW.end + 7_000 if left in ("future", "both") else BASE + 5)
    assert ("tagente_datos_log4x" in tables) is (left in ("optional", "both"))
    saved = job.archive(new_directory(tmp_path, "node2", "node1", 0.0), Control()).configuration
    assert saved.get("tagente_datos") == (2 if left == "timeless" else None)


def test_an_archive_of_another_cluster_is_not_merged(divergence: Divergence, tmp_path: Path) -> None:
    insert(divergence.losing, "tagente_datos", [value(1)])
    job = divergence.job(WINDOW)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job.archive(directory, Control())
    other = replace(divergence.cluster, name="another-site")
    with pytest.raises(ArchiveError, match="not of another-site"):
        apply_directory(other, job.master, directory, Control())
    assert not rows_of(divergence.master, "tagente_datos")

"""What an order to merge comes to: its window, its columns, and the files of an earlier merge."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.fake_senses import settings

from pfms_ha_tui.cluster.sides import SideEvidence
from pfms_ha_tui.config.settings import PandoraSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.merge import facts
from pfms_ha_tui.operations.merge.facts import Known
from pfms_ha_tui.operations.merge.ledger import MergeState, save_state
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams, MergeUndoParams
from pfms_ha_tui.operations.merge.repair import RepairParams, SplitRepair
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.worker import merges
from pfms_ha_tui.worker.merges import mappings_of, read_merge, read_moment
from pfms_ha_tui.worker.protocol import Order, OrderKind

MADRID = ZoneInfo("Europe/Madrid")


@pytest.fixture(autouse=True)
def madrid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merges, "local_zone", lambda: MADRID)


def read(order: Order, tmp_path: Path, master: str | None = "node1") -> MergeParams | MergeUndoParams:
    return read_merge(order, settings(), master, tmp_path / "archive")


def order(**more: object) -> Order:
    asked: dict[str, object] = {"cluster": "pandora", "kind": OrderKind.MERGE, **more}
    return Order(**asked)  # type: ignore[arg-type]


def test_the_window_is_read_in_the_zone_of_the_host_and_rows_go_into_the_master(tmp_path: Path) -> None:
    found = read(order(target="node2", start="2026-07-01 02:00", end="2026-07-01 03:00:30"), tmp_path)
    assert isinstance(found, MergeParams)
    assert (found.losing, found.master) == ("node2", "node1")
    assert (found.start, found.end) == (1_782_864_000, 1_782_867_630)
    assert found.archives == str(tmp_path / "archive")


def test_into_names_the_master_that_nobody_knows(tmp_path: Path) -> None:
    asked: dict[str, object] = {"target": "node1", "start": "@100", "end": "@200"}
    with pytest.raises(OperationError, match="not known which node is the master"):
        read(order(**asked), tmp_path, None)
    found = read(order(**asked, into="node2"), tmp_path, None)
    assert isinstance(found, MergeParams)
    assert (found.losing, found.master) == ("node1", "node2")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "names no node that lost"),
        ({"target": "node2"}, "names no window"),
        ({"target": "node2", "start": "@200", "end": "@200"}, "ends before it begins"),
        ({"target": "node2", "start": "2026-03-29 02:30", "end": "@9999999999"}, "does not exist"),
        ({"target": "node2", "start": "2026-10-25 02:30", "end": "@9999999999"}, "comes twice"),
        ({"target": "node1", "start": "@1", "end": "@2"}, "they are there already"),
        ({"target": "node9", "start": "@1", "end": "@2"}, "no node node9"),
        ({"target": "node2", "undo": "/x"}, "one of these"),
        ({"restore": "/x", "undo": "/x"}, "one of these"),
        ({"restore": "/nowhere/rows.sql.gz"}, "no archive"),
        ({"undo": "/nowhere"}, "not the directory of a merge"),
        ({"resume": "/nowhere"}, "not the directory of a merge"),
    ],
)
def test_an_order_that_does_not_say_enough_is_refused(
    more: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(OperationError, match=words):
        read(order(**more), tmp_path)


def test_a_merge_is_taken_back_by_its_directory_or_its_undo_file(tmp_path: Path) -> None:
    directory = tmp_path / "one"
    directory.mkdir()
    save_state(directory, MergeState(merge="one", archive="rows.sql.gz", master="node2"))
    with pytest.raises(OperationError, match="nothing to undo"):
        read(order(undo=str(directory)), tmp_path)
    (directory / "undo.gz").touch()
    for path in (directory, directory / "undo.gz"):
        found = read(order(undo=str(path)), tmp_path)
        assert found == MergeUndoParams(directory=str(directory), master="node2")
    with pytest.raises(OperationError, match="added its rows to node2, not to node1"):
        read(order(undo=str(directory), into="node1"), tmp_path)


def test_a_finished_or_undone_merge_is_not_gone_on_with(tmp_path: Path) -> None:
    directory = tmp_path / "one"
    directory.mkdir()
    state = MergeState(merge="one", archive="rows.sql.gz", master="node1", finished_at=1.0)
    save_state(directory, state)
    with pytest.raises(OperationError, match="this merge is finished"):
        read(order(resume=str(directory)), tmp_path)
    save_state(directory, MergeState(merge="one", archive="rows.sql.gz", master="node1", undone_at=1.0))
    with pytest.raises(OperationError, match="taken back"):
        read(order(resume=str(directory)), tmp_path)


def test_columns_are_mapped_as_they_are_written() -> None:
    assert mappings_of(["tevento.a", "tevento.b", "t.c"], ["tevento.old=new"]) == {
        "tevento": TableMapping(drop=("a", "b"), rename={"old": "new"}),
        "t": TableMapping(drop=("c",)),
    }


@pytest.mark.parametrize(("drop", "rename"), [(["tevento"], []), ([".a"], []), ([], ["t.a"]), ([], ["a=b"])])
def test_a_column_that_is_written_otherwise_is_refused(drop: list[str], rename: list[str]) -> None:
    with pytest.raises(OperationError, match=r"is no (renamed )?column"):
        mappings_of(drop, rename)


def test_a_time_that_comes_twice_brings_both_and_an_offset_tells_them_apart() -> None:
    twice = read_moment("2026-10-25 02:30", MADRID)
    assert twice.moment is None
    first, second = twice.choices
    assert (second.at - first.at, first.offset, second.offset) == (3600, "+02:00", "+01:00")
    for choice in (first, second):
        again = read_moment(f"{choice.text} {choice.offset}", MADRID)
        assert again.moment == choice
    elsewhere = read_moment("2026-10-25T00:30:00Z", MADRID)
    assert elsewhere.moment is not None
    assert elsewhere.moment.at == first.at


def context_of(tmp_path: Path, *, journal: str | None) -> Context:
    return Context(
        cluster=settings(pandora=PandoraSettings(hosts_file=tmp_path / "pandora_ha_hosts.conf")),
        records=Records(Ledger(tmp_path / "operations.db"), "pandora"),
        worker="w",
        known_master=lambda: journal,
    )


def direction(tmp_path: Path, losing: str, *, journal: str | None, hosts: str | None) -> str | None:
    """As the operation itself and the plan of it judge it."""
    if hosts is not None:
        (tmp_path / "pandora_ha_hosts.conf").write_text(f"{hosts}\n")
    context = context_of(tmp_path, journal=journal)
    master = "node2" if losing == "node1" else "node1"
    asked = MergeParams(master=master, losing=losing, start=1, end=2, archives=str(tmp_path))
    return MergeBack(context, asked).why_wrong_way()


def test_the_direction_is_judged_by_the_journal_then_by_whom_pandora_is_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_cluster: object, label: str, known: Known) -> tuple[SideEvidence, float]:
        number = int(label[-1])
        evidence = SideEvidence(
            label=label,
            order=number,
            writable=True,
            named_by_journal=known.journal_master == label,
            named_by_hosts_file=known.hosts_file_host == f"10.0.0.{number}",
        )
        return evidence, 0.0

    monkeypatch.setattr(facts, "_look", look)
    assert direction(tmp_path, "node1", journal=None, hosts=None) is None
    for journal, hosts, master in (
        (None, "10.0.0.2", "node2"),
        ("node1", "10.0.0.2", "node1"),
        ("node2", None, "node2"),
    ):
        other = "node1" if master == "node2" else "node2"
        assert direction(tmp_path, other, journal=journal, hosts=hosts) is None
        why = direction(tmp_path, master, journal=journal, hosts=hosts)
        assert why is not None
        assert f"{master} looks like the master" in why


def test_a_repair_looks_for_its_window_once_the_losing_side_is_marked_and_locked(tmp_path: Path) -> None:
    asked = RepairParams(master="node1", losing="node2", archives=str(tmp_path))
    repair = SplitRepair(context_of(tmp_path, journal="node2"), asked)
    assert [step.name for step in repair.steps][:4] == ["check", "lock", "window", "archive"]
    assert repair.known_master == "node1", "what was decided, not what is remembered"

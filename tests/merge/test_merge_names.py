"""Which merge a person means, and which commands work on what a merge left behind."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from support.archives import empty_archive
from support.fake_senses import settings

from pfms_ha_tui.cli.archive import listing, show
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.merge import place_of
from pfms_ha_tui.cluster.commands import merge_command
from pfms_ha_tui.operations.context import Context
from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.ledger import MergeState, save_state
from pfms_ha_tui.operations.merge.names import find
from pfms_ha_tui.operations.merge.operation import MergeBack, MergeParams, MergeUndoParams
from pfms_ha_tui.operations.merge.tables import TableMapping
from pfms_ha_tui.operations.records import Records
from pfms_ha_tui.worker.merges import read_merge
from pfms_ha_tui.worker.protocol import Order, OrderKind

FIRST, SECOND = "20261128T021500Z-node2-into-node1", "20261129T101500Z-node2-into-node1"


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    for name in (FIRST, SECOND):
        empty_archive(tmp_path / "archive" / name)
    return tmp_path / "archive"


def test_a_merge_is_found_by_its_name_and_by_the_beginning_that_no_other_has(archives: Path) -> None:
    assert find(FIRST, [archives]) == archives / FIRST
    assert find("20261129", [archives / "nowhere", archives, archives]) == archives / SECOND
    assert find(f"{archives}/{FIRST}", []) == archives / FIRST
    (archives / f"{FIRST}-2").mkdir()
    assert find(FIRST, [archives]) == archives / FIRST, "the whole name is no beginning of another"


@pytest.mark.parametrize(
    ("text", "words"),
    [("2026112", "2 merges begin"), ("2025", "no merge named"), ("", "no merge named"), ("..", "no merge")],
)
def test_a_name_that_no_merge_has_or_several_begin_with_is_refused(
    archives: Path, text: str, words: str
) -> None:
    with pytest.raises(ArchiveError, match=words) as caught:
        find(text, [archives])
    assert caught.value.hint is not None


def test_the_command_line_sends_a_path_in_full_and_a_name_as_it_is(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archives.parent)
    assert place_of("20261129") == "20261129"
    assert place_of("archive") == str(archives)
    assert place_of(f"archive/{FIRST}") == str(archives / FIRST)
    assert place_of(None) is None


def test_what_is_listed_is_found_by_its_name(archives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = argparse.Namespace(dir=archives, cluster=None, json=False, config=None)
    assert listing(asked) == Exit.OK
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"in {archives}"
    assert [line.split()[0] for line in told[1:]] == ["name", SECOND, FIRST]
    named = argparse.Namespace(
        archive=str(archives / FIRST), configuration=False, json=False, no_check=False, config=None
    )
    assert show(named) == Exit.OK
    assert "its checksum is right" in capsys.readouterr().out


def order(**more: str) -> Order:
    return Order(cluster="pandora", kind=OrderKind.MERGE, **more)  # type: ignore[arg-type]


def test_a_merge_that_stopped_after_its_archive_goes_on_by_its_name(archives: Path) -> None:
    found = read_merge(order(resume="20261128"), settings(), "node1", archives)
    assert isinstance(found, MergeParams)
    assert (found.losing, found.master, found.start, found.end) == ("node2", "node1", 100, 200)
    assert found.directory == str(archives / FIRST)
    assert found.archives == str(archives)
    restored = read_merge(order(restore=SECOND), settings(), "node1", archives)
    assert isinstance(restored, MergeParams)
    assert restored.restore == str(archives / SECOND / "rows.sql.gz")


def ways(archives: Path, directory: Path) -> tuple[str, ...]:
    context = Context(
        cluster=settings(), records=Records(Ledger(archives / "operations.db"), "pandora"), worker="w"
    )
    asked = MergeParams(
        master="node1",
        losing="node2",
        start=100,
        end=200,
        archives=str(archives),
        mappings={"tevento": TableMapping(drop=("a b",), rename={"old": "new"})},
    )
    return MergeBack(context, asked).ways_on(directory)


def test_a_failed_merge_names_the_commands_that_work(archives: Path) -> None:
    directory = archives / FIRST
    assert ways(archives, archives / "nothing") == ()
    assert ways(archives, directory) == (f"to go on: pfms-ha-tui merge --resume {directory}",)
    begun = MergeState(merge=FIRST, archive="rows.sql.gz", master="node1", started_at=1.0)
    save_state(directory, begun)
    (directory / "undo.gz").touch()
    going_on, back = ways(archives, directory)
    assert "--resume" in going_on
    assert back == f"to take it back: pfms-ha-tui merge --undo {directory}"
    assert read_merge(order(undo=str(directory)), settings(), None, archives) == MergeUndoParams(
        directory=str(directory), master="node1"
    )


def test_of_a_merge_that_added_everything_the_proof_is_made_by_merging_again(archives: Path) -> None:
    directory = archives / FIRST
    done = MergeState(merge=FIRST, archive="rows.sql.gz", master="node1", started_at=1.0, finished_at=2.0)
    save_state(directory, done)
    (told,) = ways(archives, directory)
    assert "--resume" not in told, "there is nothing to go on with"
    assert told.endswith(
        "pfms-ha-tui merge --from node2 --into node1 --start @100 --end @200"
        " --drop-column 'tevento.a b' --rename-column tevento.old=new"
    )


def test_a_command_is_one_for_the_shell_whatever_the_names_hold() -> None:
    told = merge_command(losing="a b", into="$(x)", start=1, end=2, tables=("t", "u"))
    assert told == "pfms-ha-tui merge --from 'a b' --into '$(x)' --start @1 --end @2 --tables t,u"

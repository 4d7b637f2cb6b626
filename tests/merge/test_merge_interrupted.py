"""Killed at any moment, cancelled, or cut off from a server: once resumed, nothing is doubled or missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.divergence import BASE, Divergence, event, insert, rows_of, start, union

import pfms_ha_tui
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.operations.merge import reading, side, throttle
from pfms_ha_tui.operations.merge.control import Control, MergeProgress, Phase
from pfms_ha_tui.operations.merge.errors import ArchiveError, MergeCancelled, MergeError
from pfms_ha_tui.operations.merge.ledger import load_state
from pfms_ha_tui.operations.merge.merging import list_archives, new_directory, undo_directory
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.window import Window
from pfms_ha_tui.sandbox import Flavor

WINDOW = Window(BASE, BASE + 3600)
TABLES = ("tagente_datos", "tagente_datos_string", "tevento", "tevent_comment")
ROOT = Path(pfms_ha_tui.__file__).parent.parent


def fill(divergence: Divergence, rows: int = 90) -> None:
    """Some common history, and rows of both sides' own."""
    chance = random.Random(5)  # noqa: S311

    def numbers(count: int) -> list[dict[str, object]]:
        return [
            {
                "id_agente_modulo": chance.randint(1, 3),
                "datos": chance.randint(0, 3),
                "utimestamp": BASE + chance.randint(0, 50),
            }
            for _ in range(count)
        ]

    divergence.both("tagente_datos", numbers(rows // 3))
    for node in (divergence.losing, divergence.master):
        insert(node, "tagente_datos", numbers(rows))
        insert(
            node,
            "tagente_datos_string",
            [
                {"id_agente_modulo": 10, "datos": f"line {n % 7}", "utimestamp": BASE + n % 5}
                for n in range(rows // 2)
            ],
        )
        events = [
            {**event(BASE + n % 9, evento=f"of {node.label} {n % 4}"), "id_evento": n + 1}
            for n in range(rows // 2)
        ]
        insert(node, "tevento", events)
        insert(
            node,
            "tevent_comment",
            [
                {"id_event": n + 1, "utimestamp": BASE, "comment": f"c{n % 3}", "id_user": "a", "action": ""}
                for n in range(rows // 4)
            ],
        )


def everything(divergence: Divergence) -> dict[str, Counter[tuple[Any, ...]]]:
    return {table: rows_of(divergence.master, table) for table in TABLES}


@pytest.fixture
def expected(divergence: Divergence) -> dict[str, Counter[tuple[Any, ...]]]:
    """What an uninterrupted merge gives, and what the definition asks for."""
    fill(divergence)
    wanted = {
        table: union(rows_of(divergence.master, table), rows_of(divergence.losing, table)) for table in TABLES
    }
    # No event is on both sides here, so every comment of the losing side is added.
    wanted["tevent_comment"] = rows_of(divergence.master, "tevent_comment") + rows_of(
        divergence.losing, "tevent_comment"
    )
    return wanted


def run(divergence: Divergence, directory: Path, point: str, nth: int, *, undo: bool = False) -> int:
    """The exit status of a merge in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    environment["MERGE_PROCESS"] = "--undo" if undo else ""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "support.merge_process",
            str(divergence.sandbox.config_path),
            str(directory),
            point,
            str(nth),
        ],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ("archive member", 1),
        ("archive member", 6),
        ("archive synced", 1),
        ("state saved", 2),
        ("state saved", 4),
        ("mark placed", 1),
        ("inserted", 2),
        ("before undo", 3),
        ("after undo", 1),
        ("after undo", 4),
        ("before commit", 1),
        ("before commit", 5),
        ("after commit", 1),
        ("after commit", 3),
        ("after commit", 7),
        ("state saved", 6),
    ],
)
def test_a_merge_killed_at_any_point_is_resumed_to_the_same_end(
    divergence: Divergence,
    expected: dict[str, Counter[tuple[Any, ...]]],
    tmp_path: Path,
    point: str,
    nth: int,
) -> None:
    before = everything(divergence)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    assert run(divergence, directory, point, nth) == -signal.SIGKILL
    assert run(divergence, directory, "nowhere", 0) == 0
    assert everything(divergence) == expected

    job = divergence.job(WINDOW)
    result = job.apply(directory, Control())
    assert result.added == sum(sum((expected[table] - before[table]).values()) for table in TABLES)
    assert all(one.rows == one.there + one.added for one in result.tables)
    assert job.verify(directory, result, Control()).good

    undone = undo_directory(divergence.cluster, directory, Control())
    assert (undone.removed, undone.gone) == (result.added, 0)
    assert everything(divergence) == before


@pytest.mark.parametrize("chance", range(4))
def test_a_merge_killed_again_and_again_still_comes_to_its_end(
    divergence: Divergence, expected: dict[str, Counter[tuple[Any, ...]]], tmp_path: Path, chance: int
) -> None:
    pick = random.Random(chance)  # noqa: S311
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    points = ["inserted", "before undo", "after undo", "before commit", "after commit", "state saved"]
    for _ in range(6):
        if run(divergence, directory, pick.choice(points), pick.randint(1, 3)) == 0:
            break
    assert run(divergence, directory, "nowhere", 0) == 0
    assert everything(divergence) == expected


@pytest.mark.parametrize(("point", "nth"), [("before commit", 2), ("after commit", 2), ("taken back", 3)])
def test_an_undo_that_is_killed_is_resumed_and_takes_back_exactly_what_was_added(
    divergence: Divergence,
    expected: dict[str, Counter[tuple[Any, ...]]],
    tmp_path: Path,
    point: str,
    nth: int,
) -> None:
    before = everything(divergence)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    assert run(divergence, directory, "nowhere", 0) == 0
    assert everything(divergence) == expected
    assert run(divergence, directory, point, nth, undo=True) == -signal.SIGKILL
    undo_directory(divergence.cluster, directory, Control())
    assert everything(divergence) == before
    with pytest.raises(MergeError):
        undo_directory(divergence.cluster, directory, Control())
    with pytest.raises(MergeError):
        divergence.job(WINDOW).apply(directory, Control())


def test_an_unfinished_merge_can_be_taken_back(
    divergence: Divergence, expected: dict[str, Counter[tuple[Any, ...]]], tmp_path: Path
) -> None:
    before = everything(divergence)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    assert run(divergence, directory, "after commit", 3) == -signal.SIGKILL
    assert everything(divergence) != before
    undo_directory(divergence.cluster, directory, Control())
    assert everything(divergence) == before


def test_undo_leaves_equal_rows_that_the_master_had_by_itself(divergence: Divergence, tmp_path: Path) -> None:
    row = {"id_agente_modulo": 1, "datos": 5, "utimestamp": BASE + 1}
    insert(divergence.master, "tagente_datos", [row])
    insert(divergence.losing, "tagente_datos", [row, row, row])
    result, _ = divergence.merge(tmp_path, WINDOW)
    assert result.added == 2
    undo_directory(divergence.cluster, result.directory, Control())
    assert sum(rows_of(divergence.master, "tagente_datos").values()) == 1


def test_undo_tells_of_rows_that_are_gone_already(divergence: Divergence, tmp_path: Path) -> None:
    insert(
        divergence.losing,
        "tagente_datos",
        [{"id_agente_modulo": 1, "datos": n, "utimestamp": BASE + 1} for n in range(4)],
    )
    result, _ = divergence.merge(tmp_path, WINDOW)
    divergence.master.client.query("DELETE FROM tagente_datos WHERE datos > 2", database="pandora")
    undone = undo_directory(divergence.cluster, result.directory, Control())
    assert (undone.removed, undone.gone) == (3, 1)


def test_cancelling_stops_between_batches_and_the_merge_can_go_on(
    divergence: Divergence,
    expected: dict[str, Counter[tuple[Any, ...]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 10)
    monkeypatch.setattr(throttle, "_LARGEST", 10)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job = divergence.job(WINDOW)
    job.archive(directory, Control())

    def stop(progress: MergeProgress) -> None:
        if progress.phase is Phase.APPLY and progress.added >= 20:
            control.cancel()

    control = Control(stop, every=0.0)
    with pytest.raises(MergeCancelled):
        job.apply(directory, control)
    assert everything(divergence) != expected
    job.apply(directory, Control())
    assert everything(divergence) == expected


def test_cancelling_the_archive_leaves_nothing_behind(divergence: Divergence, tmp_path: Path) -> None:
    fill(divergence)
    control = Control()
    control.cancel()
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    with pytest.raises(MergeCancelled):
        divergence.job(WINDOW).archive(directory, control)
    assert list(directory.iterdir()) == []


def test_two_merges_into_one_master_do_not_run_at_a_time(
    divergence: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "_LOCK_WAIT", 1.0)
    fill(divergence, 10)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job = divergence.job(WINDOW)
    job.archive(directory, Control())
    with Side.writer(job.master, divergence.cluster) as other:
        other.session.execute("SELECT GET_LOCK('pfms_ha_merge pandora', 1)")
        with pytest.raises(MergeError) as caught:
            job.apply(directory, Control())
    assert caught.value.code == "locked"


@pytest.fixture
def breakable(flavor: Flavor) -> Iterator[Divergence]:
    one = start(flavor)
    try:
        yield one
    finally:
        one.sandbox.stop_now()


async def test_a_master_killed_in_a_batch_loses_and_doubles_nothing(
    breakable: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_FIRST_BATCH", 25)
    monkeypatch.setattr(throttle, "_LARGEST", 25)
    fill(breakable, 600)
    wanted = union(rows_of(breakable.master, "tagente_datos"), rows_of(breakable.losing, "tagente_datos"))
    events = rows_of(breakable.master, "tevento") + rows_of(breakable.losing, "tevento")
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job = breakable.job(WINDOW)
    job.archive(directory, Control())

    for after in (100, 400):
        killer: list[threading.Timer] = []

        def kill(progress: MergeProgress, after: int = after, killer: list[threading.Timer] = killer) -> None:
            if progress.added >= after and not killer:
                # From another thread, so that it hits the next batches wherever they are.
                killer.append(threading.Timer(0.02, breakable.master.kill))
                killer[0].start()

        with pytest.raises(PfmsError):
            job.apply(directory, Control(kill, every=0.0))
        killer[0].join()
        await breakable.master.wait_gone()
        await breakable.master.start()
        breakable.split()
    result = job.apply(directory, Control())
    assert rows_of(breakable.master, "tagente_datos") == wanted
    assert rows_of(breakable.master, "tevento") == events
    assert job.verify(directory, result, Control()).good


async def test_a_losing_side_killed_while_it_is_archived_leaves_no_half_archive(
    breakable: Divergence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SLICE_ROWS", 20)
    fill(breakable, 600)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job = breakable.job(WINDOW)
    killed = False

    def kill(progress: MergeProgress) -> None:
        nonlocal killed
        if progress.done >= 60 and not killed:
            killed = True
            breakable.losing.kill()

    with pytest.raises(PfmsError):
        job.archive(directory, Control(kill, every=0.0))
    assert list(directory.iterdir()) == []
    assert list_archives(tmp_path) == ()
    await breakable.losing.wait_gone()
    await breakable.losing.start()
    breakable.split()
    job.archive(directory, Control())
    # From here on the losing side is not needed any more.
    breakable.losing.kill()
    result = job.apply(directory, Control())
    assert result.added > 0
    assert job.verify(directory, result, Control()).good


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_stops_the_archive_before_anything_is_written(
    divergence: Divergence, tmp_path: Path
) -> None:
    fill(divergence, 60)
    chance = random.Random(1)  # noqa: S311
    insert(
        divergence.losing,
        "tagente_datos_string",
        [
            {"id_agente_modulo": 10, "datos": chance.randbytes(60_000).hex(), "utimestamp": BASE + n}
            for n in range(12)
        ],
    )
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=True)
    try:
        directory = new_directory(small, "node2", "node1", 0.0)
        job = divergence.job(WINDOW)
        before = everything(divergence)
        with pytest.raises(ArchiveError) as caught:
            job.archive(directory, Control())
        assert caught.value.code == "disk_full"
        assert "archive_dir" in str(caught.value.hint)
        assert list(directory.iterdir()) == []
        assert everything(divergence) == before
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_fills_up_while_adding_stops_the_merge_and_it_can_go_on(
    divergence: Divergence, expected: dict[str, Counter[tuple[Any, ...]]], tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], check=True)
    try:
        directory = new_directory(small, "node2", "node1", 0.0)
        job = divergence.job(WINDOW)
        job.archive(directory, Control())
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 512):
                    pass
            except OSError:
                pass
        with pytest.raises(ArchiveError) as caught:
            job.apply(directory, Control())
        assert caught.value.code == "disk_full"
        filler.unlink()
        result = job.apply(directory, Control())
        assert everything(divergence) == expected
        assert job.verify(directory, result, Control()).good
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_merge_of_a_directory_that_has_none_is_refused(divergence: Divergence, tmp_path: Path) -> None:
    fill(divergence, 5)
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    with pytest.raises(PfmsError):
        divergence.job(WINDOW).apply(directory, Control())
    assert load_state(directory) is None

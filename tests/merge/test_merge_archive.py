"""The archive: whole, documented, checked, readable by the plain client, and mergeable again."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.divergence import BASE, Divergence, event, insert, make_everything_tiny, rows_of

from pfms_ha_tui.operations.merge.archive import Archive
from pfms_ha_tui.operations.merge.container import File
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import ArchiveError
from pfms_ha_tui.operations.merge.merging import (
    apply_directory,
    list_archives,
    new_directory,
    start_restore,
)
from pfms_ha_tui.operations.merge.window import Window

WINDOW = Window(BASE, BASE + 600)
NASTY = ["'", "\\", "a\nb\r\nc", "nul\0nul", "\x1a", "');\n-- x", "💥", "", "&#x20;&lt;", "\\n"]


def fill(divergence: Divergence) -> None:
    insert(
        divergence.losing,
        "tagente_datos",
        [
            {"id_agente_modulo": n % 3 + 1, "datos": n / 7 if n % 5 else None, "utimestamp": BASE + n}
            for n in range(60)
        ],
    )
    insert(
        divergence.losing,
        "tagente_datos_string",
        [{"id_agente_modulo": 10, "datos": text, "utimestamp": BASE + 3} for text in NASTY],
    )
    insert(
        divergence.losing,
        "tevento",
        [
            {**event(BASE - 50, evento="from before"), "id_evento": 1},
            {**event(BASE + 1, evento=NASTY[2]), "id_evento": 2},
            {**event(BASE + 2, evento=NASTY[5]), "id_evento": 3},
        ],
    )
    insert(
        divergence.losing,
        "tevent_comment",
        [
            {"id_event": n, "utimestamp": BASE + n, "comment": NASTY[n], "id_user": "admin", "action": ""}
            for n in (1, 2, 3)
        ],
    )


def archived(divergence: Divergence, tmp_path: Path) -> Path:
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    divergence.job(WINDOW).archive(directory, Control())
    return directory


@pytest.mark.parametrize("tiny", [False, True])
def test_the_plain_client_restores_an_archive_into_an_empty_database(
    divergence: Divergence, tmp_path: Path, tiny: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiny:
        make_everything_tiny(monkeypatch)
    fill(divergence)
    archive = archived(divergence, tmp_path) / "rows.sql.gz"
    client = shutil.which("mariadb") or shutil.which("mysql")
    if client is None:
        pytest.skip("no mysql client")
    node, login = divergence.losing, divergence.sandbox.accounts.admin
    node.client.query("DROP DATABASE IF EXISTS scratch")
    node.client.query("CREATE DATABASE scratch")
    text = subprocess.run(["gzip", "-dc", str(archive)], capture_output=True, check=True).stdout
    done = subprocess.run(
        [client, "--no-defaults", f"--socket={node.files.socket}", f"--user={login.user}", "scratch"],
        input=text,
        env={"MYSQL_PWD": login.password},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()

    def read(database: str, table: str, where: str = "") -> Counter[tuple[Any, ...]]:
        rows = node.client.query(f"SELECT * FROM {database}.{table} {where}")
        return Counter(tuple(map(repr, row.values())) for row in rows)

    for table in ("tagente_datos", "tagente_datos_string", "tevento", "tevent_comment"):
        assert read("scratch", table) == read("pandora", table), table
    node.client.query("DROP DATABASE scratch")


def test_an_archive_says_what_it_is_and_how_to_use_it(divergence: Divergence, tmp_path: Path) -> None:
    fill(divergence)
    directory = archived(divergence, tmp_path)
    path = directory / "rows.sql.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    head = text[: text.index("SET NAMES")]
    assert all(line.startswith("--") for line in head.splitlines())
    assert "Rows of node2" in head
    assert "2025-10-09 08:53:20" in head
    assert "zcat THIS_FILE | mysql" in head
    told = (directory / "rows.sql.gz.sha256").read_text()
    assert told == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  rows.sql.gz\n"
    assert (path.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)
    with Archive(path) as archive:
        archive.check()
        assert archive.head.window == WINDOW
        assert {table: sums.rows for table, sums in archive.summary.tables.items()} == {
            "tagente_datos": 60,
            "tagente_datos_string": 10,
            "tevento": 2,
            "tevent_comment": 3,
        }


def test_a_cut_or_changed_archive_is_never_trusted(divergence: Divergence, tmp_path: Path) -> None:
    fill(divergence)
    path = archived(divergence, tmp_path) / "rows.sql.gz"
    whole = path.read_bytes()
    with File(path) as file:
        last = [member.offset for member in file.members()][-1]
    path.write_bytes(whole[:-20])
    with pytest.raises(ArchiveError):
        Archive(path)
    for place in range(0, last, 17):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ArchiveError), Archive(path) as archive:
            archive.check()
    with pytest.raises(ArchiveError):
        divergence.job(WINDOW).archive(path.parent, Control())
    assert sum(rows_of(divergence.master, "tagente_datos").values()) == 0


def test_the_list_shows_whole_archives_and_broken_ones_newest_first(
    divergence: Divergence, tmp_path: Path
) -> None:
    fill(divergence)
    assert list_archives(tmp_path / "nothing") == ()
    first = archived(divergence, tmp_path)
    second = new_directory(tmp_path, "node2", "node1", 1_800_000_000.0)
    shutil.copytree(first, second, dirs_exist_ok=True)
    (second / "rows.sql.gz").write_bytes(b"")
    (tmp_path / "unrelated").mkdir()
    entries = list_archives(tmp_path)
    assert [entry.directory for entry in entries] == [second, first]
    assert entries[0].summary is None
    assert entries[0].problem is not None
    assert entries[1].summary is not None
    assert entries[1].summary.tables["tagente_datos"].rows == 60


def test_an_archive_is_merged_again_into_a_master_that_lost_the_rows(
    divergence: Divergence, tmp_path: Path
) -> None:
    fill(divergence)
    result, _ = divergence.merge(tmp_path, WINDOW)
    after = rows_of(divergence.master, "tagente_datos")
    divergence.master.client.query("DELETE FROM tagente_datos WHERE id_agente_modulo = 2", database="pandora")
    divergence.losing.client.query("DELETE FROM tagente_datos", database="pandora")

    directory = new_directory(tmp_path, "node2", "node1", 5.0)
    start_restore(result.directory, directory)
    restored = apply_directory(divergence.cluster, divergence.job(WINDOW).master, directory, Control())

    assert restored.added == 20
    assert rows_of(divergence.master, "tagente_datos") == after


def test_the_archive_of_another_window_is_not_taken_for_this_merges(
    divergence: Divergence, tmp_path: Path
) -> None:
    fill(divergence)
    directory = archived(divergence, tmp_path)
    with pytest.raises(ArchiveError):
        divergence.job(Window(BASE, BASE + 5)).archive(directory, Control())


def test_directories_of_the_same_second_are_kept_apart(tmp_path: Path) -> None:
    names = [new_directory(tmp_path / "new", "a/b", "c d", 0.0).name for _ in range(2)]
    assert names == ["19700101T000000Z-a_b-into-c_d", "19700101T000000Z-a_b-into-c_d-2"]

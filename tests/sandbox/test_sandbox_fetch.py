"""The cache and the way to a MySQL server: whole or not at all, one builder at a time, a clear reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import Flavor, cache, fetch, programs
from pfms_ha_tui.sandbox.fetch import archives
from pfms_ha_tui.sandbox.programs import find_program

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(folder))
    return folder


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "chosen"))
    assert cache.cache_directory() == tmp_path / "chosen"
    monkeypatch.delenv(cache.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_directory() == tmp_path / "xdg" / "pfms-ha-tui"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_directory() == tmp_path / "home" / ".cache" / "pfms-ha-tui"


def test_an_entry_is_built_once_however_many_want_it(own_cache: Path) -> None:
    built = []

    def build(directory: Path) -> None:
        built.append(directory)
        time.sleep(0.2)
        (directory / "file").write_text("whole")

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.ensure("entry", build, timeout=30)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert found == [own_cache / "entry"] * 5
    assert (own_cache / "entry" / "file").read_text() == "whole"


def test_a_failed_build_leaves_no_entry_and_can_be_tried_again(own_cache: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise SandboxError("no network")

    with pytest.raises(SandboxError, match="no network"):
        cache.ensure("entry", fail, timeout=5)
    assert sorted(path.name for path in own_cache.iterdir()) == ["entry.lock"]
    assert cache.ensure("entry", lambda directory: None, timeout=5).is_dir()


def test_what_a_killed_builder_left_is_removed(own_cache: Path) -> None:
    left = own_cache / ".entry.killed.new"
    left.mkdir(parents=True)
    cache.ensure("entry", lambda directory: None, timeout=5)
    assert not left.exists()


def test_a_builder_that_hangs_is_waited_for_no_longer_than_said(own_cache: Path) -> None:
    release = threading.Event()
    started = threading.Event()

    def build(directory: Path) -> None:
        started.set()
        release.wait(30)

    builder = threading.Thread(target=lambda: cache.ensure("entry", build, timeout=5))
    builder.start()
    assert started.wait(10)
    with pytest.raises(SandboxError, match="another process"):
        cache.ensure("entry", build, timeout=0.3)
    release.set()
    builder.join()


def _apt_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, one_line: str = "", deb822: str = ""
) -> None:
    """Make apt read sources of this test's instead of the machine's."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(one_line)
    (parts / "test.sources").write_text(deb822)
    settings = f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{parts}";\n'
    (tmp_path / "apt.conf").write_text(settings)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


@needs_apt
def test_the_archive_is_the_one_of_the_machines_one_line_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _apt_with(
        tmp_path,
        monkeypatch,
        one_line="# a comment\ndeb [arch=amd64] http://mirror.invalid/debian bookworm main contrib\n"
        "deb http://security.invalid/debian-security bookworm-security main\n"
        "deb-src http://sources.invalid/debian bookworm main\n",
    )
    assert archives() == ["http://mirror.invalid/debian"]


@needs_apt
def test_the_archive_is_the_one_of_the_machines_deb822_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _apt_with(
        tmp_path,
        monkeypatch,
        deb822="Types: deb deb-src\nURIs: http://one.invalid/debian/ https://two.invalid/debian\n"
        "Suites: trixie trixie-updates\nComponents: main\n\n"
        "Types: deb\nURIs: http://off.invalid/debian\nSuites: trixie\nComponents: main\nEnabled: no\n",
    )
    assert sorted(archives()) == ["http://one.invalid/debian", "https://two.invalid/debian"]


@needs_apt
def test_an_archive_that_cannot_be_reached_is_told_with_what_else_to_do(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _apt_with(tmp_path, monkeypatch, one_line="deb file:///nonexistent/archive bookworm main\n")
    with pytest.raises(SandboxError) as caught:
        fetch.fetch_mysql()
    assert "no MySQL server could be fetched" in caught.value.reason
    assert "file:/nonexistent/archive" in caught.value.reason
    assert "mysql-server" in str(caught.value.hint)
    assert [path.name for path in own_cache.iterdir()] == ["mysql-sid.lock"]


@needs_apt
def test_an_archive_without_a_good_signature_is_refused(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = tmp_path / "forged"
    release = forged / "dists" / fetch.SUITE
    (release / "main" / "binary-amd64").mkdir(parents=True)
    (release / "main" / "binary-amd64" / "Packages").write_text("")
    (release / "Release").write_text(
        f"Origin: Debian\nSuite: unstable\nCodename: {fetch.SUITE}\nComponents: main\n"
    )
    _apt_with(tmp_path, monkeypatch, one_line=f"deb [trusted=yes] file://{forged} bookworm main\n")
    with pytest.raises(SandboxError, match="not signed"):
        fetch.fetch_mysql()


def test_a_machine_without_mariadb_is_told_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_SEARCH_PATH", "/nonexistent")
    with pytest.raises(SandboxError) as caught:
        find_program(Flavor.MARIADB)
    assert "mariadb-server-core" in str(caught.value.hint)


@pytest.mark.mysql
@pytest.mark.usefixtures("mysql_server")
def test_the_fetch_command_prints_where_the_server_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui.sandbox", "fetch"],
        capture_output=True,
        text=True,
        timeout=700,
        check=True,
    )
    path, version = done.stdout.split()
    assert os.access(path, os.X_OK)
    assert int(version.split(".")[0]) >= 8


def test_the_fetch_command_fails_in_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, cache.CACHE_VARIABLE: "/proc/nowhere", "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui.sandbox", "fetch"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert cache.CACHE_VARIABLE in done.stderr

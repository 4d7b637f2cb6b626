"""pandora_ha_hosts.conf: what its readers see, and that it is never seen half-written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pfms_ha_tui.pandora import hosts_file
from pfms_ha_tui.pandora.hosts_file import HostsFileError


@pytest.mark.parametrize(
    ("content", "server", "console", "agreed"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1\n", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1,10.0.0.2\n", "10.0.0.1,10.0.0.2", "10.0.0.1", None),
        ("  node1 \n", "  node1 ", "node1", None),
        ("node1\nnode2\n", "node1", "node1\nnode2", None),
        ("", "", "", None),
    ],
)
def test_both_readers_rules_are_applied(
    tmp_path: Path, content: str, server: str, console: str, agreed: str | None
) -> None:
    path = tmp_path / "hosts.conf"
    path.write_text(content)
    seen = hosts_file.read(path)
    assert seen is not None
    assert (seen.server_reads, seen.console_reads, seen.agreed) == (server, console, agreed)


def test_a_missing_file_is_none_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert hosts_file.read(tmp_path / "none.conf") is None
    with pytest.raises(HostsFileError, match="cannot be read"):
        hosts_file.read(tmp_path)


@pytest.mark.parametrize(
    "host", ["", "a,b", "a b", "a\n", "a\x00", "\u200bnode", "node\u2028", "a\tb", "x" * 256, "\ud800"]
)
def test_a_host_that_a_reader_would_misread_is_refused(tmp_path: Path, host: str) -> None:
    path = tmp_path / "hosts.conf"
    path.write_text("node1\n")
    with pytest.raises(HostsFileError):
        hosts_file.replace(path, host)
    assert path.read_text() == "node1\n"


def test_owner_and_mode_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "hosts.conf"
    path.write_text("node1\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    hosts_file.replace(path, "node2")
    after = path.stat()
    assert path.read_text() == "node2\n"
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino


def test_a_new_file_can_be_read_by_the_web_server(tmp_path: Path) -> None:
    path = tmp_path / "hosts.conf"
    hosts_file.replace(path, "10.0.0.2")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_text("node1\n")
    link = tmp_path / "hosts.conf"
    link.symlink_to(real)
    hosts_file.replace(link, "node2")
    assert link.is_symlink()
    assert real.read_text() == "node2\n"


def test_a_failed_replacement_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hosts.conf"
    path.write_text("node1\n")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(HostsFileError, match="No space left"):
        hosts_file.replace(path, "node2")
    assert path.read_text() == "node1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_anything_but_one_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "hosts.conf"
    names = ["a" * 200, "b"]
    hosts_file.replace(path, names[0])
    stop = threading.Event()
    seen: set[bytes] = set()

    def look() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for turn in range(100):
            hosts_file.replace(path, names[turn % 2])
    finally:
        stop.set()
        reader.join()
    assert seen <= {f"{name}\n".encode() for name in names}


def test_what_would_prevent_it_is_told_beforehand(tmp_path: Path) -> None:
    assert hosts_file.why_not_writable(tmp_path / "hosts.conf") is None
    assert "not a directory" in (hosts_file.why_not_writable(tmp_path / "nowhere" / "hosts.conf") or "")
    assert "not a file" in (hosts_file.why_not_writable(tmp_path) or "")

"""Files of gzip members: readable by any gzip, cut off where they tore, checked by their sums."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from pfms_ha_tui.operations.merge.container import File, Writer, replace_file
from pfms_ha_tui.operations.merge.errors import ArchiveError


def write(path: Path) -> list[int]:
    """Three members; their ends."""
    with Writer(path) as writer:
        ends = []
        for number in range(3):
            member = writer.add([b"text %d\n" % number] * 100, k="rows", n=number, name="é")
            ends.append(member.offset + member.length)
        writer.sync()
    return ends


def test_any_gzip_reads_the_text(tmp_path: Path) -> None:
    write(tmp_path / "f.gz")
    text = gzip.decompress((tmp_path / "f.gz").read_bytes())
    assert text == b"".join(b"text %d\n" % number * 100 for number in range(3))


def test_members_are_found_with_what_they_say_of_themselves(tmp_path: Path) -> None:
    ends = write(tmp_path / "f.gz")
    with File(tmp_path / "f.gz") as file:
        members = list(file.members())
        assert [member.offset + member.length for member in members] == ends
        assert [member.number("n") for member in members] == [0, 1, 2]
        assert members[0].text("name") == "é"
        assert file.read(members[1]) == b"text 1\n" * 100


def test_a_torn_file_ends_with_its_last_whole_member(tmp_path: Path) -> None:
    ends = write(tmp_path / "f.gz")
    whole = (tmp_path / "f.gz").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "f.gz").write_bytes(whole[:length])
        with File(tmp_path / "f.gz") as file:
            assert len(list(file.members())) == sum(end <= length for end in ends)


def test_a_writer_goes_on_where_it_is_told(tmp_path: Path) -> None:
    ends = write(tmp_path / "f.gz")
    with Writer(tmp_path / "f.gz", append_at=ends[1]) as writer:
        writer.add([b"new"], k="rows", n=9)
        assert writer.length > ends[1]
    with File(tmp_path / "f.gz") as file:
        assert [member.number("n") for member in file.members()] == [0, 1, 9]


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    ends = write(tmp_path / "f.gz")
    data = bytearray((tmp_path / "f.gz").read_bytes())
    data[ends[1] - 12] ^= 1
    (tmp_path / "f.gz").write_bytes(data)
    with File(tmp_path / "f.gz") as file:
        members = list(file.members())
        file.read(members[0])
        with pytest.raises(ArchiveError):
            file.read(members[1])


def test_the_checksum_is_of_what_is_on_the_disk(tmp_path: Path) -> None:
    with Writer(tmp_path / "f.gz") as writer:
        writer.add([b"x"], k="a")
        told = writer.sha256
    data = (tmp_path / "f.gz").read_bytes()
    assert told == hashlib.sha256(data).hexdigest()
    with File(tmp_path / "f.gz") as file:
        assert file.sha256(len(data)) == told


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"something else" * 100))
    with File(tmp_path / "f.gz") as file, pytest.raises(ArchiveError):
        list(file.members())


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    replace_file(tmp_path / "state.json", b"one")
    replace_file(tmp_path / "state.json", b"two")
    assert (tmp_path / "state.json").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    with pytest.raises(ArchiveError):
        replace_file(tmp_path / "nowhere" / "state.json", b"three")

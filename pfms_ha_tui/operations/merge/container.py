"""Files of gzip members that can be found without reading them all, and cut off where they tore.

Any gzip reader sees one compressed text. Each member also carries, in an extra field of its gzip header
(RFC 1952, subfield ``PF``), its own length and a small JSON object that tells what it holds.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from pfms_ha_tui.operations.merge.errors import ArchiveError

_HEAD = struct.Struct("<4sIBBH")
_SUBFIELD = struct.Struct("<2sHQ")
_MAGIC = b"\x1f\x8b\x08\x04"
_LEVEL = 1
"""Measurements shrink to a sixth already at the fastest level; the next ones cost more than the disk does."""
_MOST_META = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member: where it is, and what it says of itself."""

    offset: int
    length: int
    meta: dict[str, object]

    def number(self, key: str) -> int:
        """A whole number of the JSON object; 0 when there is none."""
        value = self.meta.get(key)
        return value if isinstance(value, int) else 0

    def text(self, key: str) -> str:
        """A text of the JSON object; empty when there is none."""
        value = self.meta.get(key)
        return value if isinstance(value, str) else ""


class Writer:
    """Writes members to the end of a file; every failure is an :class:`ArchiveError`.

    Args:
        path: The file.
        append_at: Length up to which an existing file is kept; ``None`` = a new, empty file.
    """

    def __init__(self, path: Path, *, append_at: int | None = None) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self.length = append_at or 0
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as error:
            raise failure(path, error) from error
        try:
            self._file.truncate(self.length)
            self._file.seek(self.length)
        except OSError as error:
            self._file.close()
            raise failure(path, error) from error

    @property
    def sha256(self) -> str:
        """Of everything written since the writer was opened."""
        return self._hash.hexdigest()

    def add(self, parts: Iterable[bytes], **meta: object) -> Member:
        """Append one member; it is on the disk only after :meth:`sync`.

        Args:
            parts: The text.
            meta: What it says of itself; JSON of at most 60 kB.

        Raises:
            ArchiveError: the disk is full, or broken.
        """
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        body: list[bytes] = []
        checksum = size = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
            size += len(part)
            body.append(compressor.compress(part))
        body.append(compressor.flush())
        described = msgspec.json.encode(meta)
        if len(described) > _MOST_META:
            raise ArchiveError("a member's description is too long")
        extra = _SUBFIELD.size + len(described)
        length = _HEAD.size + extra + sum(map(len, body)) + 8
        head = _HEAD.pack(_MAGIC, 0, 0, 255, extra)
        head += _SUBFIELD.pack(b"PF", 8 + len(described), length) + described
        data = b"".join((head, *body, struct.pack("<II", checksum, size & 0xFFFFFFFF)))
        member = Member(offset=self.length, length=length, meta=meta)
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise failure(self.path, error) from error
        self._hash.update(data)
        self.length += length
        return member

    def sync(self) -> None:
        """Have it on the disk.

        Raises:
            ArchiveError: the disk is full, or broken.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise failure(self.path, error) from error

    def cut(self, length: int) -> None:
        """Forget what was written after ``length``.

        Raises:
            ArchiveError: it cannot be cut.
        """
        try:
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise failure(self.path, error) from error
        self.length = length
        self.sync()

    def close(self) -> None:
        """Close the file; never fails."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class File:
    """A file of members, for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise failure(path, error) from error

    def members(self) -> Iterator[Member]:
        """All whole members, in order; ends silently where the file tore.

        Raises:
            ArchiveError: it cannot be read, or is not such a file.
        """
        offset = 0
        while offset < self.size:
            member = self._member(offset)
            if member is None:
                return
            yield member
            offset += member.length

    def read(self, member: Member) -> bytes:
        """The text of a member.

        Raises:
            ArchiveError: it is damaged.
        """
        try:
            self._file.seek(member.offset)
            data = self._file.read(member.length)
            return zlib.decompress(data, 31)
        except OSError as error:
            raise failure(self.path, error) from error
        except zlib.error as error:
            raise ArchiveError(
                f"{self.path.name} is damaged: {error}", hint="use another copy of the file"
            ) from error

    def sha256(self, length: int) -> str:
        """Of the first ``length`` bytes.

        Raises:
            ArchiveError: it cannot be read.
        """
        total = hashlib.sha256()
        try:
            self._file.seek(0)
            while length > 0:
                data = self._file.read(min(length, 1 << 20))
                if not data:
                    break
                total.update(data)
                length -= len(data)
        except OSError as error:
            raise failure(self.path, error) from error
        return total.hexdigest()

    def close(self) -> None:
        """Close the file; never fails."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _member(self, offset: int) -> Member | None:
        fixed = _HEAD.size + _SUBFIELD.size
        try:
            self._file.seek(offset)
            head = self._file.read(fixed)
            if len(head) < fixed:
                return None
            magic, _, _, _, extra = _HEAD.unpack(head[: _HEAD.size])
            mark, size, length = _SUBFIELD.unpack(head[_HEAD.size :])
            if magic != _MAGIC or mark != b"PF" or extra != size + 4 or size < 8:
                raise ArchiveError(f"{self.path.name} was not written by this program, or is damaged")
            described = self._file.read(size - 8)
        except OSError as error:
            raise failure(self.path, error) from error
        if offset + length > self.size:
            return None
        try:
            meta = msgspec.json.decode(described, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{self.path.name} is damaged") from error
        return Member(offset=offset, length=length, meta=meta)


def failure(path: Path, error: OSError) -> ArchiveError:
    """What went wrong with a file, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ArchiveError(
            f"no space left for {path.name}",
            code="disk_full",
            hint=f"free some space in {path.parent}, or set merge.archive_dir to a larger disk",
        )
    return ArchiveError(f"{path}: {error.strerror or error}")


def sync_directory(directory: Path) -> None:
    """Have a directory's entries on the disk.

    Raises:
        ArchiveError: it cannot be done.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure(directory, error) from error


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file as a whole, on the disk when this returns.

    Raises:
        ArchiveError: the disk is full, or broken; the old file is still there.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise failure(path, error) from error
    sync_directory(path.parent)

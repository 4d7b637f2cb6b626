"""A small file system for a node's datadir."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pfms_ha_tui.sandbox import SandboxNode


@contextlib.asynccontextmanager
async def datadir_on_small_disk(node: SandboxNode, *, spare: int) -> AsyncIterator[Path]:
    """Move a node's datadir to a file system in memory with ``spare`` bytes free; stopped after it."""
    place = node.directory / "small"
    await node.stop()
    used = sum(path.stat().st_blocks * 512 for path in node.datadir.rglob("*"))
    await asyncio.to_thread(_mount, place, used + spare)
    try:
        await asyncio.to_thread(shutil.move, node.datadir, place / "data")
        config = node.files.config
        old, new = f"datadir = {node.datadir}", f"datadir = {place / 'data'}"
        config.write_text(config.read_text().replace(old, new))
        await node.start()
        yield place
        await node.stop()
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(place)], check=True)


def _mount(place: Path, size: int) -> None:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode()}")

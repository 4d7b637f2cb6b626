"""Every state on every size, as plain text. ``UPDATE_SNAPSHOTS=1`` writes what the console shows now."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.console_app import Stage, console
from support.console_states import STATES

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 40), (200, 60))


async def compare(stage: Stage, name: str) -> None:
    """Hold the screen against the stored one, but for the line of keys, which has tests of its own.

    A screen settles over several passes of layout: what counts is what it comes to.
    """
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        await stage.pilot.pause(0.5)
        path.parent.mkdir(exist_ok=True)
        path.write_text(without_keys(stage), encoding="utf-8")
        return
    assert path.exists(), f"no snapshot {path.name}: look at the screen, then UPDATE_SNAPSHOTS=1"
    expected = path.read_text(encoding="utf-8")
    deadline = time.monotonic() + 10
    while without_keys(stage) != expected and time.monotonic() < deadline:
        await stage.pilot.pause(0.1)
    assert without_keys(stage) == expected, f"{path.name} differs"


def without_keys(stage: Stage) -> str:
    """The screen but for its last line."""
    return "".join(f"{one}\n" for one in stage.text().splitlines()[:-1])


async def sized(stage: Stage, width: int, height: int) -> None:
    """Give the terminal that size, and wait until the screen fits it."""
    await stage.pilot.resize_terminal(width, height)

    def drawn() -> bool:
        lines = stage.text().splitlines()
        return len(lines) == height and all(cell_len(one) <= width for one in lines)

    await stage.until(drawn, f"a screen of {width}x{height}")


@pytest.mark.parametrize("name", sorted(STATES))
async def test_dashboard(name: str, folder: Path) -> None:
    async with console(folder, STATES[name]()) as stage:
        for width, height in SIZES:
            await sized(stage, width, height)
            await compare(stage, f"{name}-{width}x{height}")


@pytest.mark.parametrize("name", ["dead-master", "nasty", "unknown", "three-nodes"])
async def test_node_screen(name: str, folder: Path) -> None:
    async with console(folder, STATES[name]()) as stage:
        await stage.press("down", "enter")
        await stage.until_text("As the server says it · 10:32:59 CET")
        for width, height in ((200, 60), (120, 40), (80, 24)):
            await sized(stage, width, height)
            await compare(stage, f"node-{name}-{width}x{height}")


async def test_timeline_evidence_and_help(folder: Path) -> None:
    async with console(folder, STATES["dead-master"]()) as stage:
        stage.app.link.socket = Path("/run/pfms-ha-tui/worker.sock")
        for key, name in (("t", "timeline"), ("e", "evidence"), ("question_mark", "help")):
            await stage.press(key)
            for width, height in ((120, 40), (80, 24)):
                await sized(stage, width, height)
                await compare(stage, f"{name}-{width}x{height}")
            await stage.press("escape")


async def test_several_clusters(folder: Path) -> None:
    other = replace(STATES["dead-master"](), name="pandora-dr")
    async with console(folder, STATES["healthy"](), other) as stage:
        for width, height in ((120, 40), (80, 24)):
            await sized(stage, width, height)
            await compare(stage, f"tabs-{width}x{height}")


async def test_ascii(folder: Path) -> None:
    async with console(folder, STATES["nasty"](), ascii_only=True) as stage:
        for width, height in ((120, 40), (80, 24)):
            await sized(stage, width, height)
            await compare(stage, f"ascii-{width}x{height}")
            assert {char for char in stage.text() if not char.isascii()} == set()


async def test_palette(folder: Path) -> None:
    async with console(folder, STATES["healthy"]()) as stage:
        await stage.press("colon", *"theme")
        await compare(stage, "palette-theme-120x40")

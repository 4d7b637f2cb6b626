"""Pictures of the console: SVG and PNG, from a running worker or from the states the tests use.

    python tools/render.py --socket PATH --size 120x40 --keys "" --out screenshots/dashboard.png
    python tools/render.py --state dead-master --size 80x24 --keys "e" --out evidence.png

The console runs without a terminal, through Textual's pilot, on the real socket. ``rsvg-convert`` and a
monospaced font with box drawing (DejaVu Sans Mono) make the PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import console_past as past  # noqa: E402
from support.console_merge import MergeScript  # noqa: E402
from support.console_states import STATES  # noqa: E402
from support.console_story import StillClock  # noqa: E402
from support.scripted import ScriptedWorker  # noqa: E402

from pfms_ha_tui.config.settings import ConsoleSettings  # noqa: E402
from pfms_ha_tui.console.app import Console  # noqa: E402
from pfms_ha_tui.console.scene import Clock  # noqa: E402

FONT = "DejaVu Sans Mono"
CELL = 12.2
"""Width of a cell in Textual's SVG."""
FONT_SIZE = 20.265
"""At which a character of the font is exactly one cell wide."""


def main() -> int:
    """Parse, render, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--socket", type=Path, help="of a running worker")
    source.add_argument("--state", help="of the tests, several separated by commas for several clusters")
    parser.add_argument("--size", default="120x40", help="columns x lines")
    parser.add_argument("--keys", default="", help="keys to press first, separated by blanks; wait:2 = 2 s")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--lost", type=float, help="the worker went away so many seconds ago (with --state)")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--out", type=Path, required=True, help="name of the PNG; the SVG stands beside it")
    arguments = parser.parse_args()
    columns, lines = (int(part) for part in arguments.size.split("x"))
    settings = ConsoleSettings(theme=arguments.theme)
    if arguments.socket is not None:
        svg = asyncio.run(
            from_worker(arguments.socket, settings, (columns, lines), arguments.keys.split(), Clock())
        )
    else:
        svg = asyncio.run(from_states(arguments, settings, (columns, lines)))
    write_png(svg, arguments.out)
    return 0


async def from_worker(
    socket: Path,
    settings: ConsoleSettings,
    size: tuple[int, int],
    keys: list[str],
    clock: Clock,
    *,
    ascii_only: bool = False,
    before: asyncio.Event | None = None,
    after_loss: asyncio.Event | None = None,
) -> str:
    """The screen as SVG after the first state of the worker and ``keys``."""
    app = Console(socket, settings, clock=clock, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        deadline = time.monotonic() + 20
        while not app.board.clusters or not app.board.lags or app.link.busy:
            if time.monotonic() > deadline:
                break
            await pilot.pause(0.05)
        if before is not None and after_loss is not None:
            before.set()
            await after_loss.wait()
            while app.board.phase.value == "up":
                await pilot.pause(0.05)
        for key in keys:
            if key.startswith("wait:"):
                await pilot.pause(float(key.removeprefix("wait:")))
                continue
            await pilot.press(key)
            await pilot.pause(0.1)
        await pilot.pause(0.3)
        return app.export_screenshot(title="pfms-ha-tui")


async def from_states(arguments: argparse.Namespace, settings: ConsoleSettings, size: tuple[int, int]) -> str:
    """The same with a scripted worker that holds one of the states of the tests."""
    clock = StillClock()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "worker.sock"
        async with ScriptedWorker(socket, version="0.1.0") as worker:
            fill(worker, arguments.state.split(","))
            MergeScript().offer(worker.methods)
            if arguments.lost is None:
                return await from_worker(
                    socket, settings, size, arguments.keys.split(), clock, ascii_only=arguments.ascii
                )
            before, after = asyncio.Event(), asyncio.Event()
            drawing = asyncio.create_task(
                from_worker(
                    socket, settings, size, arguments.keys.split(), clock,
                    ascii_only=arguments.ascii, before=before, after_loss=after,
                )
            )  # fmt: skip
            await before.wait()
            await worker.server.close()
            clock.forward(arguments.lost)
            after.set()
            return await drawing


def fill(worker: ScriptedWorker, names: list[str]) -> None:
    """Let the scripted worker tell the states of those names and the past of the tests."""
    for number, name in enumerate(names):
        state = STATES[name]()
        if number:
            state = replace(state, name=f"pandora-{name}")
        worker.publish(state)
        worker.events += [replace(event, cluster=state.name) for event in past.past_events()]
        for node in state.snapshot.nodes:
            if node.replication is not None:
                worker.lag[(state.name, node.label)] = past.lag_history()
            worker.details[(state.name, node.label)] = past.details(node.label)


def write_png(svg: str, out: Path) -> None:
    """Write the SVG, without its web fonts, and convert it."""
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: (Fira Code|arial)[^;]*;", f'font-family: "{FONT}", monospace;', svg)
    svg = re.sub(r"font-size: 20px;", f"font-size: {FONT_SIZE}px;", svg)
    svg = re.sub(r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)" ([^>]*)>((?:&#160;)+)', _without_lead, svg)
    source = out.with_suffix(".svg")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(svg, encoding="utf-8")
    subprocess.run(["rsvg-convert", "--zoom", "1", str(source), "-o", str(out)], check=True)


def _without_lead(match: re.Match[str]) -> str:
    """The text moved to where its first visible character stands: rsvg drops blanks at the start."""
    shift = CELL * (len(match[5]) // len("&#160;"))
    x, length = float(match[1]) + shift, float(match[3]) - shift
    return f'x="{x:.1f}" y="{match[2]}" textLength="{length:.1f}" {match[4]}>'


if __name__ == "__main__":
    sys.exit(main())

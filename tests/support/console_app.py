"""The console without a terminal, on a scripted worker behind a real socket, and its screen as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from support import console_past as past
from support.console_story import WALL, StillClock
from support.scripted import ScriptedWorker
from textual.pilot import Pilot

from pfms_ha_tui.config.settings import ConsoleSettings
from pfms_ha_tui.console.app import Console
from pfms_ha_tui.worker.peer import Peer
from pfms_ha_tui.worker.protocol import ClusterState, Rights, Welcome

DEADLINE = 30.0


class NamedWorker(ScriptedWorker):
    """A scripted worker that says the same of itself on every machine."""

    def _hello(self, peer: Peer) -> Welcome:
        return replace(
            super()._hello(peer), pid=4121, started_at=WALL - 12 * 86400, version="0.1.0", actor="carol"
        )


@dataclass
class Stage:
    """A console at work, and what stands behind it."""

    app: Console
    pilot: Pilot[int]
    worker: NamedWorker
    clock: StillClock

    async def until(self, holds: Callable[[], object], what: str = "the condition") -> None:
        """Wait until ``holds()``."""
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, f"{what} did not come about; the screen:\n{self.text()}"
            await self.pilot.pause(0.02)
        await self.pilot.pause()

    async def until_text(self, words: str) -> None:
        """Wait until the screen shows ``words``."""
        await self.until(lambda: words in self.text(), repr(words))

    async def press(self, *keys: str) -> None:
        """Press keys and let the console answer."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def text(self) -> str:
        """The screen, line by line, without blanks at the ends."""
        return screen_text(self.app)


def screen_text(app: Console) -> str:
    """What a person reads: the cells of the screen as plain text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def tell(worker: ScriptedWorker, states: Sequence[ClusterState]) -> None:
    """Let the worker have these states, and the past of the tests for each."""
    for state in states:
        worker.events += [replace(event, cluster=state.name) for event in past.past_events()]
        for node in state.snapshot.nodes:
            if node.replication is not None:
                worker.lag[(state.name, node.label)] = past.lag_history()
            worker.details[(state.name, node.label)] = past.details(node.label)
        worker.publish(state)


@asynccontextmanager
async def console(
    folder: Path,
    *states: ClusterState,
    size: tuple[int, int] = (120, 40),
    settings: ConsoleSettings | None = None,
    rights: Rights = Rights.FULL,
    read_only: bool = False,
    ascii_only: bool = False,
    few_colours: bool = False,
    started_worker: bool = False,
) -> AsyncIterator[Stage]:
    """A console that has caught up with a worker that published ``states``."""
    socket = folder / "w.sock"
    clock = StillClock()
    worker = NamedWorker(socket, rights=rights)
    async with worker:
        tell(worker, states)
        app = Console(
            socket,
            settings,
            read_only=read_only,
            ascii_only=ascii_only,
            few_colours=few_colours,
            started_worker=started_worker,
            clock=clock,
        )
        async with app.run_test(size=size, notifications=True) as pilot:
            stage = Stage(app, pilot, worker, clock)
            await stage.until(
                lambda: len(app.board.clusters) >= len(states) and not app.link.busy, "the first state"
            )
            await asyncio.sleep(0)
            yield stage

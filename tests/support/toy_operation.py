"""An operation on a file instead of a cluster, and a program that runs it and dies where it is told.

The "world" is a JSON file with the set of effects in force. It is replaced atomically, so that a kill between
two system calls shows what a kill between two SQL statements would.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.engine import Engine
from pfms_ha_tui.operations.ledger import Change, Ledger
from pfms_ha_tui.operations.step import OnFailure, Operation, Recovery, Step, StepRun
from pfms_ha_tui.operations.view import StepState

T = TypeVar("T")


class World:
    """Effects in force."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def effects(self) -> set[str]:
        return set(json.loads(self.path.read_text())) if self.path.exists() else set()

    def put(self, effect: str) -> None:
        self._replace(self.effects() | {effect})

    def take(self, effect: str) -> None:
        self._replace(self.effects() - {effect})

    def _replace(self, effects: set[str]) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(sorted(effects)))
        new.replace(self.path)


class ToyStep(Step):
    """Puts one effect into the world; may be told to fail before or after it did."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        fail: str | None = None,
        on_failure: OnFailure = OnFailure.UNDO,
        undo_fails: Callable[[], bool] = lambda: False,
        cancel_before: bool = False,
    ) -> None:
        self.world, self.name, self.title = world, name, f"put {name}"
        self.fail, self.on_failure, self.undo_fails = fail, on_failure, undo_fails
        self.cancel_before = cancel_before

    def preview(self) -> tuple[str, ...]:
        return (f"PUT {self.name} IDENTIFIED BY 'geheim'",)

    async def rehearse(self, run: StepRun) -> str | None:
        if self.fail is not None:
            raise OperationError(f"{self.name} would fail")
        return "would be put"

    async def run(self, run: StepRun) -> str | None:
        if self.fail == "early":
            raise OperationError(f"{self.name} failed early")
        await run.note(**{f"saw_{self.name}": sorted(self.world.effects())})
        self.world.put(self.name)
        if self.fail == "late":
            raise OperationError(f"{self.name} failed late")
        if self.fail == "bug":
            raise KeyError("no such thing")
        return "put"

    async def verify(self, run: StepRun) -> None:
        if self.fail == "verify":
            raise OperationError(f"{self.name} is not really there")

    async def undo(self, run: StepRun) -> str | None:
        if self.undo_fails():
            raise OperationError(f"{self.name} sticks")
        if self.name not in self.world.effects():
            return None
        self.world.take(self.name)
        return "taken away"


class Toy(Operation):
    """Steps a, b, commit, d."""

    kind = "toy"
    title = "toy operation"
    cluster = "c"
    commit = "commit"

    def __init__(self, world: World, steps: list[ToyStep] | None = None, fail_at: str | None = None) -> None:
        super().__init__()
        self.world = world
        self.fail_at = fail_at
        names = ["a", "b", "commit", "d"]
        self.steps = list(
            steps or [ToyStep(world, name, fail="late" if name == fail_at else None) for name in names]
        )
        self.opened = self.closed = 0

    @property
    def params(self) -> Mapping[str, object]:
        return {"fail_at": self.fail_at}

    async def open(self, run: StepRun) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def recovery(self, states: Mapping[str, StepState], run: StepRun) -> Recovery:
        if states["commit"] is StepState.RUNNING and "commit" in self.world.effects():
            return Recovery.RESUME
        return await super().recovery(states, run)


class DyingLedger(Ledger):
    """Kills its process at the n-th transition, before or after it is on the disk."""

    def __init__(self, path: Path, *, at: int, after: bool) -> None:
        super().__init__(path)
        self.left = at
        self.after = after

    def begin(self, **columns: object) -> int:
        return self._dying(lambda: super(DyingLedger, self).begin(**columns))  # type: ignore[arg-type]

    def write(self, operation: int, change: Change) -> None:
        self._dying(lambda: super(DyingLedger, self).write(operation, change))

    def _dying(self, job: Callable[[], T]) -> T:
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = job()
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return result


async def main(folder: Path, at: int, after: bool, fail_at: str | None, recover: bool) -> None:
    """Run (or recover) the toy with a ledger that dies; ends normally when it outlives the operation."""
    ledger = DyingLedger(folder / "ledger.db", at=at, after=after)
    engine = Engine(ledger)
    toy = Toy(World(folder / "world.json"), fail_at=fail_at)
    unfinished = ledger.unfinished("c")
    if not recover:
        await engine.run(toy, actor="test")
    elif unfinished is not None:
        await engine.recover(toy, unfinished)


if __name__ == "__main__":
    asyncio.run(
        main(
            Path(sys.argv[1]),
            int(sys.argv[2]),
            sys.argv[3] == "after",
            sys.argv[4] or None,
            sys.argv[5] == "recover",
        )
    )

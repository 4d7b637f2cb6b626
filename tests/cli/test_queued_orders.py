"""An order that has to wait for its turn: followed to its end, refused aloud, never a silent success."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import msgspec
import pytest

from pfms_ha_tui.cli import following, orders
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.orders import order
from pfms_ha_tui.cli.parser import build_parser
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.errors import OperationError, WorkerError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.client import EventsUpdate, Update, WorkerClient
from pfms_ha_tui.worker.protocol import Plan

TITLE = "resync of node2 from node1"


def view(number: int, state: OperationState, started_at: float | None = None) -> OperationView:
    return OperationView(
        id=number,
        kind="clone",
        title=TITLE,
        state=state,
        actor="carol",
        dry_run=state is OperationState.PLANNED,
        steps=(),
        started_at=started_at,
    )


class Busy:
    """A worker that is busy: what is ordered waits; then it ends so, or is refused."""

    def __init__(self, end: OperationState | None) -> None:
        self.welcome = SimpleNamespace(clusters=("sandbox",))
        self._end = end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, method: str, _params: object, _result: object, *, timeout: float = 0) -> object:
        planned = view(0, OperationState.PLANNED)
        if method == "plan":
            return Plan(operation=planned, confirm="node2")
        if method == "start":
            return planned
        earlier = view(7, OperationState.DONE, time.time() - 60)
        return [view(8, self._end, time.time()), earlier] if self._end is not None else [earlier]

    async def subscribe(self) -> AsyncGenerator[Update, None]:
        if self._end is None:
            text = "the resync of node2 did not begin: node2 is the master"
            told = Event(
                id=1, at=0, cluster="sandbox", node=None, severity=Severity.CRITICAL,
                kind="operation_failed", text=text, actor="carol",
            )  # fmt: skip
            yield EventsUpdate((told,))
        await asyncio.Event().wait()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(following, "QUIET_FOR", 0.05)
    monkeypatch.setattr(orders, "console_access", lambda _: SimpleNamespace(socket=Path("worker.sock")))
    return monkeypatch


class Dying(Busy):
    """A worker that is killed while what was ordered runs, or waits."""

    def __init__(self, state: OperationState) -> None:
        super().__init__(None)
        self._state = state

    async def call(self, method: str, params: object, result: object, *, timeout: float = 0) -> object:
        if method == "start":
            return view(0, self._state)
        return await super().call(method, params, result, timeout=timeout)

    async def subscribe(self) -> AsyncGenerator[Update, None]:
        if self._state is not OperationState.DONE:
            raise WorkerError("the connection to the worker was lost", code="lost")
        yield EventsUpdate(())


def ordered(worker: pytest.MonkeyPatch, end: OperationState | None, dying: Dying | None = None) -> int:
    async def connect(*_: object, **__: object) -> Busy:
        return dying or Busy(end)

    worker.setattr(WorkerClient, "connect", connect)
    arguments = build_parser().parse_args(["lock", "node2", "--yes", "--json"])
    arguments.kind = "clone"
    return order(arguments)


@pytest.mark.parametrize(
    ("end", "status"), [(OperationState.DONE, Exit.OK), (OperationState.FAILED, Exit.FAILED)]
)
def test_an_order_that_waits_is_followed_to_its_end(
    worker: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: OperationState, status: Exit
) -> None:
    assert ordered(worker, end) == status
    told = capsys.readouterr()
    assert msgspec.json.decode(told.out, type=OperationView).id == 8
    assert "queued" in told.err


def test_an_order_that_is_refused_when_its_turn_comes_has_failed(worker: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationError, match="node2 is the master"):
        ordered(worker, None)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (OperationState.RUNNING, "it rests until a worker runs"),
        (OperationState.PLANNED, "order it again"),
    ],
)
def test_a_worker_that_is_lost_on_the_way_leaves_word_of_what_to_do(
    worker: pytest.MonkeyPatch, state: OperationState, words: str
) -> None:
    with pytest.raises(WorkerError) as lost:
        ordered(worker, None, Dying(state))
    assert words in (lost.value.hint or "")
    assert TITLE in lost.value.reason


@pytest.mark.parametrize(
    ("kind", "may_be_locked"),
    [("failover", True), ("switchover", True), ("lock", True), ("clone", False), ("merge", False)],
)
def test_only_what_moves_roles_may_leave_nobody_able_to_write(kind: str, may_be_locked: bool) -> None:
    lost = orders._out_of_sight(replace(view(1, OperationState.RUNNING), kind=kind))
    assert ("nobody may be able to write" in (lost.hint or "")) is may_be_locked


def test_on_a_terminal_the_plan_is_shown_before_the_label_is_asked_for_whatever_the_output(
    worker: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    async def connect(*_: object, **__: object) -> Busy:
        return Busy(OperationState.DONE)

    worker.setattr(WorkerClient, "connect", connect)
    worker.setattr("sys.stdin", Terminal("node2\n"))
    arguments = build_parser().parse_args(["lock", "node2", "--json"])
    arguments.kind = "clone"
    assert order(arguments) == Exit.OK
    told = capsys.readouterr()
    assert told.err.index(TITLE) < told.err.index("Type node2 to go on")
    assert msgspec.json.decode(told.out, type=OperationView).id == 8


class Refusing(Busy):
    """A worker that would refuse what every step of it could do."""

    async def call(self, method: str, params: object, result: object, *, timeout: float = 0) -> object:
        if method == "plan":
            return Plan(
                operation=view(0, OperationState.PLANNED), confirm="node2", why_not="node2 is the master"
            )
        return view(0, OperationState.DONE)


def test_a_rehearsal_of_what_would_be_refused_fails(
    worker: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def connect(*_: object, **__: object) -> Busy:
        return Refusing(None)

    worker.setattr(WorkerClient, "connect", connect)
    arguments = build_parser().parse_args(["resync", "node2", "--dry-run"])
    assert arguments.run(arguments) == Exit.FAILED
    told = capsys.readouterr()
    assert "failed: dry run: it would not work: node2 is the master" in told.out
    assert "it would work" not in told.out


class ByName(Busy):
    """A worker that would promote the only node left, if a person names it."""

    async def call(self, method: str, params: object, result: object, *, timeout: float = 0) -> object:
        assert method == "plan"
        return Plan(operation=view(0, OperationState.PLANNED), confirm="node2", by_name=True)


def test_yes_does_not_stand_for_a_name_that_nobody_gave(worker: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> Busy:
        return ByName(None)

    worker.setattr(WorkerClient, "connect", connect)
    arguments = build_parser().parse_args(["failover", "--yes", "--json"])
    with pytest.raises(OperationError, match="by its name only") as refused:
        arguments.run(arguments)
    assert "failover node2 --yes" in (refused.value.hint or "")

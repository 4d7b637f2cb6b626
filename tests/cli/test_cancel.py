"""``cancel``: what is meant is found or said, what cannot be cancelled is refused, the end is waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import msgspec
import pytest
from support import console_states as states

from pfms_ha_tui.cli import cancel
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.parser import build_parser
from pfms_ha_tui.cluster.snapshot import Sync, SyncState
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.client import StateUpdate, Update, WorkerClient
from pfms_ha_tui.worker.protocol import Cancel, ClusterState

RUNNING = OperationView(
    id=12,
    kind="clone",
    title="resync of node2 from node1 (stream)",
    state=OperationState.RUNNING,
    actor="carol",
    dry_run=False,
    steps=(),
    cancellable=True,
)


class Worker:
    """Shows one state; what was cancelled ends so."""

    def __init__(self, state: ClusterState, end: OperationState = OperationState.CANCELLED) -> None:
        self.welcome = SimpleNamespace(clusters=(state.name,))
        self.state = state
        self.end = end
        self.cancelled: list[Cancel] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, method: str, params: object = None, result: object = None) -> object:
        if method == "state":
            return [self.state]
        assert method == "cancel"
        assert isinstance(params, Cancel)
        self.cancelled.append(params)
        return None

    async def subscribe(self) -> AsyncGenerator[Update, None]:
        ended = replace(RUNNING, state=self.end, text="cancelled by carol")
        yield StateUpdate(replace(self.state, operation=ended))


def with_operation(view: OperationView | None) -> ClusterState:
    return replace(states.healthy(), operation=view)


def queued(*labels: str) -> ClusterState:
    state = states.healthy()
    nodes = tuple(
        replace(node, sync=Sync(state=SyncState.QUEUED)) if node.label in labels else node
        for node in state.snapshot.nodes
    )
    return replace(state, snapshot=replace(state.snapshot, nodes=nodes))


def run(monkeypatch: pytest.MonkeyPatch, worker: Worker, *words: str) -> int:
    async def connect(*_: object, **__: object) -> Worker:
        return worker

    monkeypatch.setattr(WorkerClient, "connect", connect)
    monkeypatch.setattr(cancel, "console_access", lambda _: SimpleNamespace(socket=Path("worker.sock")))
    arguments = build_parser().parse_args(["cancel", *words])
    status: int = arguments.run(arguments)
    return status


@pytest.mark.parametrize("words", [(), ("12",)])
def test_what_runs_is_cancelled_and_its_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    worker = Worker(with_operation(RUNNING))
    assert run(monkeypatch, worker, *words) == Exit.OK
    assert worker.cancelled == [Cancel(cluster=worker.state.name, id=12)]
    told = capsys.readouterr()
    assert "ends at its next safe point; what it did so far is undone" in told.err
    assert told.out == "cancelled: cancelled by carol\n"


def test_what_ended_otherwise_was_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Worker(with_operation(RUNNING), OperationState.DONE)) == Exit.FAILED


@pytest.mark.parametrize(
    ("state", "words", "refused"),
    [
        (with_operation(None), (), "no operation is running"),
        (with_operation(replace(RUNNING, state=OperationState.DONE)), (), "no operation is running"),
        (with_operation(replace(RUNNING, dry_run=True)), (), "no operation is running"),
        (with_operation(RUNNING), ("13",), "operation 13 is not running.*operation 12 is"),
        (with_operation(replace(RUNNING, cancellable=False)), (), "no longer be cancelled.*last safe point"),
        (with_operation(replace(RUNNING, state=OperationState.INTERRUPTED)), (), "to an end by itself"),
        (queued("node1", "node2"), (), "the resyncs of node1 and node2 wait.*--queued NODE"),
    ],
)
def test_what_cannot_be_cancelled_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, state: ClusterState, words: tuple[str, ...], refused: str
) -> None:
    worker = Worker(state)
    with pytest.raises(OperationError, match=refused):
        run(monkeypatch, worker, *words)
    assert worker.cancelled == []


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (queued("node2"), ()),
        (replace(queued("node2"), operation=RUNNING), ("--queued", "node2")),
    ],
)
def test_a_resync_that_waits_is_cancelled_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: ClusterState,
    words: tuple[str, ...],
) -> None:
    worker = Worker(state)
    assert run(monkeypatch, worker, *words, "--json") == Exit.OK
    assert worker.cancelled == [Cancel(cluster=state.name, queued="node2")]
    assert "which waits for its turn" in msgspec.json.decode(capsys.readouterr().out)["text"]


def test_a_dry_run_says_what_is_meant_and_cancels_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(with_operation(RUNNING))
    assert run(monkeypatch, worker, "--dry-run") == Exit.OK
    assert "operation 12" in (said := capsys.readouterr().out)
    assert "nothing was changed" in said
    assert worker.cancelled == []

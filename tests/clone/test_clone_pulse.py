"""Whom a clone watches while it copies: the master, for a failover's sake, and the server it reads from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from pfms_ha_tui.errors import OperationError, ShellError
from pfms_ha_tui.operations.clone import CloneParams
from pfms_ha_tui.operations.clone.base import CloneOperation, Pulse

MANY = 50


class Session:
    async def query(self, _sql: str, *, timeout: float) -> list[dict[str, object]]:
        return [{"1": timeout}]


def operation(*dead: str) -> CloneOperation:
    """A clone of a slave, some of whose servers do not answer."""

    async def link(label: str) -> Session:
        if label in dead:
            raise ShellError("connection refused", node=label)
        return Session()

    asked = CloneParams(target="node2", source="node3", master="node1")
    return cast(CloneOperation, SimpleNamespace(asked=asked, link=link))


async def beats(pulse: Pulse) -> tuple[int, OperationError | None]:
    """How many times it can be asked before it gives up, and why it does."""
    for count in range(MANY):
        try:
            await pulse.check()
        except OperationError as error:
            return count, error
    return MANY, None


async def test_a_dead_source_ends_the_copy_and_is_named() -> None:
    _, error = await beats(Pulse(operation("node3"), reads=True))
    assert error is not None
    assert (error.node, error.code) == ("node3", "source_lost")
    assert "the source does not answer: connection refused" in str(error)


async def test_a_dead_master_ends_it_sooner() -> None:
    master, error = await beats(Pulse(operation("node1"), reads=True))
    source, _ = await beats(Pulse(operation("node3"), reads=True))
    assert master < source < MANY
    assert error is not None
    assert error.code == "master_lost"


async def test_once_the_data_is_read_the_source_may_go() -> None:
    assert await beats(Pulse(operation("node3"))) == (MANY, None)

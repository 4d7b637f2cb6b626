"""The counts per span of time: a person who goes away lets the nodes be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from support.fake_senses import settings

from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.errors import MergeCancelled
from pfms_ha_tui.operations.merge.merging import Merge
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.tables import TableSchema, choose
from pfms_ha_tui.worker.protocol_merge import MergeQuery
from pfms_ha_tui.worker.splits import histogram_of

QUERY = MergeQuery(cluster="pandora", losing="node2", into="node1", start=0, end=3600)


class FakeSide:
    """A server whose tables are all empty and indexed; tells of each query."""

    def __init__(self, asked: Callable[[], None]) -> None:
        self.session = self
        self._asked = asked

    def schema_of(self, tables: list[str]) -> dict[str, TableSchema]:
        return {
            name: TableSchema(name=name, columns=(), leading={"utimestamp": "PRIMARY"}) for name in tables
        }

    def query(self, sql: str, *, timeout: float) -> list[dict[str, object]]:
        self._asked()
        return []


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens at each query that is sent to either side."""
    hooks: list[Callable[[], None]] = []

    def asked() -> None:
        for hook in hooks:
            hook()

    @contextlib.contextmanager
    def sides(_: Merge) -> Iterator[tuple[Side, Side]]:
        fake = cast("Side", FakeSide(asked))
        yield fake, fake

    monkeypatch.setattr(Merge, "_sides", sides)
    return hooks


def test_a_histogram_that_nobody_waits_for_ends_after_the_table_it_is_at(
    queries: list[Callable[[], None]],
) -> None:
    control, sent = Control(), list[None]()

    def ask() -> None:
        sent.append(None)
        if len(sent) == 2:
            control.cancel()

    queries.append(ask)
    with pytest.raises(MergeCancelled):
        histogram_of(settings(), QUERY, control)
    assert len(sent) == 2


def test_both_sides_are_counted_when_nobody_stops_it(queries: list[Callable[[], None]]) -> None:
    sent = list[None]()
    queries.append(lambda: sent.append(None))
    assert all((one.losing, one.master) == (0, 0) for one in histogram_of(settings(), QUERY, Control()))
    assert len(sent) == 2 * len(choose(QUERY.tables, settings().merge.tables))

"""One pair of servers of each kind that went separate ways, for all tests of the merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.divergence import Divergence, start

from pfms_ha_tui.sandbox import Flavor


@pytest.fixture(scope="session")
def divergences() -> Iterator[Callable[[Flavor], Divergence]]:
    """Starts a pair when it is first asked for."""
    started: dict[Flavor, Divergence] = {}

    def get(flavor: Flavor) -> Divergence:
        if flavor not in started:
            started[flavor] = start(flavor)
        return started[flavor]

    yield get
    for one in started.values():
        one.sandbox.stop_now()


@pytest.fixture
def divergence(flavor: Flavor, divergences: Callable[[Flavor], Divergence]) -> Divergence:
    """node1 is the master, node2 lost; both are writable, nothing replicates, the merged tables are empty."""
    one = divergences(flavor)
    one.clear()
    return one

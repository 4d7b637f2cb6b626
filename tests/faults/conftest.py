"""Clusters that the faults share, and how often each fault happens (``--repeat``, for the soak)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faultlab import Pool


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often each fault is to happen."""
    parser.addoption("--repeat", type=int, default=1, help="how often each fault happens")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each time, one after the other on what the one before left; what is long once."""
    times: int = metafunc.config.getoption("--repeat", 1)
    if times > 1 and metafunc.definition.get_closest_marker("soak") is None:
        metafunc.fixturenames.append("time")
        metafunc.parametrize("time", range(1, times + 1))


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Healthy clusters, started when they are first asked for."""
    kept = Pool()
    yield kept
    kept.close()

"""Clusters that the faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faultlab import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Healthy clusters, started when they are first asked for."""
    kept = Pool()
    yield kept
    kept.close()

"""How long an action of the worker's own that failed waits for its next attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfms_ha_tui.cluster.decision import Action

FIRST_RETRY = 10.0
LONGEST_RETRY = 300.0
"""Seconds between two attempts of the same action that failed; doubled each time."""

Key = tuple[Action, str | None]
"""An action and the node it is about."""


@dataclass(frozen=True, slots=True)
class _Retry:
    wait: float
    not_before: float


class Retries:
    """Which actions failed, and when each may be tried again."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._failed: dict[Key, _Retry] = {}

    def waits(self, key: Key) -> bool:
        """Whether it failed a moment ago."""
        retry = self._failed.get(key)
        return retry is not None and self._mono() < retry.not_before

    def failed(self, key: Key) -> float:
        """Note a failure; seconds until the next attempt."""
        before = self._failed.get(key)
        wait = FIRST_RETRY if before is None else min(before.wait * 2, LONGEST_RETRY)
        self._failed[key] = _Retry(wait=wait, not_before=self._mono() + wait)
        return wait

    def succeeded(self, key: Key) -> None:
        """Begin anew with the shortest wait."""
        self._failed.pop(key, None)

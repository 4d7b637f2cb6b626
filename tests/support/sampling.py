"""Eyes that never blink: what every node and the hosts file are, some milliseconds apart, during faults.

Each node is asked over its own Unix socket by a thread of its own, past every network fault, and also while
another node hangs. What was seen is judged afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pymysql

from pfms_ha_tui.sandbox import Sandbox, SandboxNode

EVERY = 0.004
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """One answer: at some moment between ``begin`` and ``end`` (monotonic) it was so."""

    begin: float
    end: float
    writable: bool


@dataclass(frozen=True, slots=True)
class Open:
    """A time in which a node was seen writable at every look."""

    label: str
    first: Look
    last: Look

    def overlaps(self, other: Open) -> bool:
        """Whether both were writable at one moment, for certain."""
        begin = max(self.first.end, other.first.end)
        end = min(self.last.begin, other.last.begin)
        if begin <= end:
            return True
        # a single look is a moment somewhere within it
        return self._holds(other) or other._holds(self)

    def _holds(self, other: Open) -> bool:
        return self.first.end <= other.first.begin and other.last.end <= self.last.begin


def opens(label: str, looks: Iterable[Look | None]) -> list[Open]:
    """The times in which a node was writable; ``None`` (no answer) ends one."""
    found: list[Open] = []
    first: Look | None = None
    last: Look | None = None
    for look in (*looks, None):
        if look is not None and look.writable:
            first, last = first or look, look
        elif first is not None and last is not None:
            found.append(Open(label, first, last))
            first = last = None
    return found


class Sampler:
    """Looks from :meth:`start` to :meth:`stop`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.looks: dict[str, list[Look | None]] = {node.label: [] for node in sandbox.nodes}
        self.hosts: list[tuple[float, str | None]] = []
        """What the hosts file held, whenever that changed; ``None``: it was not there."""
        self.promoted: set[str] = set()
        """Nodes that were opened for certain, though they died before anybody could look."""
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(node,), name=f"look at {node.label}", daemon=True)
            for node in sandbox.nodes
        ]
        self._threads.append(threading.Thread(target=self._watch_hosts, name="look at hosts", daemon=True))

    def start(self) -> Sampler:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE + 10)

    def __enter__(self) -> Sampler:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def open_times(self, labels: Collection[str] | None = None) -> list[Open]:
        """When which node was writable."""
        return [
            one
            for label, looks in self.looks.items()
            if labels is None or label in labels
            for one in opens(label, list(looks))
        ]

    def opened(self, label: str, since: float) -> float | None:
        """When (monotonic) a node was first seen writable after a moment."""
        return next(
            (look.end for look in list(self.looks[label]) if look and look.writable and look.begin > since),
            None,
        )

    def closed(self, label: str, since: float) -> float | None:
        """When (monotonic) a node was first seen read-only after a moment."""
        return next(
            (
                look.end
                for look in list(self.looks[label])
                if look and not look.writable and look.begin > since
            ),
            None,
        )

    def complaints(self, *, not_ours: Sequence[str] = ()) -> list[str]:
        """What must never be: two writable nodes at a moment, or a hosts file that is no line of a master.

        Args:
            not_ours: Nodes that nobody could close (cut off, and the policy accepts it): they may be writable
                beside another one.
        """
        labels = [label for label in self.looks if label not in not_ours]
        times = self.open_times(labels)
        found = [
            f"{one.label} and {other.label} were both writable at {max(one.first.end, other.first.end):.3f}"
            for one, other in combinations(times, 2)
            if one.label != other.label and one.overlaps(other)
        ]
        return found + self._hosts_complaints()

    def _hosts_complaints(self) -> list[str]:
        by_host = {node.host: node.label for node in self.sandbox.nodes}
        found: list[str] = []
        for at, text in list(self.hosts):
            label = by_host.get((text or "").removesuffix("\n"))
            if label is None:
                found.append(f"the hosts file held {text!r} at {at:.3f}")
            elif not self._was_master(label, at):
                found.append(f"the hosts file named {label} at {at:.3f}, which had never been master")
        return found

    def _was_master(self, label: str, at: float) -> bool:
        looks = [look for look in list(self.looks[label]) if look is not None]
        if not looks or label in self.promoted:
            return bool(looks)
        # The looks at the node and those at the file take turns: it was opened between two of them if the
        # next look finds it open.
        after = next((one for one in looks if one.begin > at), None)
        opened = any(one.writable and one.begin <= at for one in looks)
        # the first master was one before anybody looked
        return looks[0].writable or opened or (after is not None and after.writable)

    def _watch(self, node: SandboxNode) -> None:
        looks = self.looks[node.label]
        while not self._stop.is_set():
            try:
                with (
                    closing(node.client.connect(database=None, timeout=_PATIENCE)) as connection,
                    connection.cursor() as cursor,
                ):
                    while not self._stop.is_set():
                        begin = time.monotonic()
                        cursor.execute("SELECT @@GLOBAL.read_only AS r")
                        row = cursor.fetchone()
                        writable = row is not None and not int(str(row["r"]))
                        looks.append(Look(begin, time.monotonic(), writable))
                        self._stop.wait(EVERY)
            except (pymysql.MySQLError, OSError):
                looks.append(None)
                self._stop.wait(EVERY)

    def _watch_hosts(self) -> None:
        path: Path = self.sandbox.hosts_file
        while not self._stop.is_set():
            text: str | None = None
            with suppress(FileNotFoundError):
                text = path.read_text(encoding="utf-8")
            at = time.monotonic()
            if not self.hosts or self.hosts[-1][1] != text:
                self.hosts.append((at, text))
            self._stop.wait(EVERY / 2)

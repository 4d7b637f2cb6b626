"""The loss meter: what a failover would lose now. Shown before a person confirms one."""

from __future__ import annotations

import asyncio
import base64
import shlex
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import ServerFacts
from pfms_ha_tui.cluster.snapshot import Snapshot
from pfms_ha_tui.errors import NodeError, PfmsError
from pfms_ha_tui.nodes.parsing import binlog_sizes
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.binlog_events import events_of, has_checksums
from pfms_ha_tui.operations.context import NOWHERE, Context
from pfms_ha_tui.operations.divergence import Survey, Surveyor, survey
from pfms_ha_tui.operations.drain import bytes_between

_MOST_BYTES = 8 * 1024 * 1024
"""More than this is not fetched to count rows."""
_FETCH = 20.0
_WITHIN = 3.0
"""Seconds for the old master to answer, and then for its host: a person waits for the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the candidate has not received, as far as it can be known. ``None`` = not known, never zero."""

    candidate: str
    received: BinlogPosition | None
    master_at: BinlogPosition | None
    """Where the old master's binary log ends, or where it was last seen."""
    exact: bool = False
    """Whether ``master_at`` is the true end, read from the old master or its host, not the last probe's."""
    bytes: int | None = None
    seconds: float | None = None
    """From the first to the last of the missing transactions; unless exact, the age of the last probe."""
    transactions: int | None = None
    tables: Mapping[str, int | None] = field(default_factory=dict)
    """Rows per table, where the old master's log could be read."""
    how: str = ""
    """Where the figures come from, one clause."""

    def sentence(self) -> str:
        """For a person, before the confirmation."""
        if self.exact and 0 in (self.bytes, self.transactions):
            return f"{self.candidate} has received everything ({self.how})."
        if self.exact:
            return f"{self._counted()} ({self.how})."
        text = f"How many transactions {self.candidate} has not received is unknown"
        if self.bytes is not None:
            seen = "none" if self.bytes == 0 else f"at least {words.size(self.bytes)}"
            ago = "" if self.seconds is None else f", {words.seconds(self.seconds)} ago"
            text += f": {seen} up to the last probe{ago}"
        return f"{text} ({self.how})."

    def _counted(self) -> str:
        size = "an unknown amount" if self.bytes is None else words.size(self.bytes)
        if self.transactions is None:
            return f"{self.candidate} has not received {size} of changes; how many transactions is unknown"
        many = words.plural(self.transactions, "transaction")
        time = ""
        if self.seconds is not None and self.transactions > 1:
            time = " of less than a second" if self.seconds < 1 else f" of {words.seconds(self.seconds)}"
        rows = ", ".join(f"{table} {'?' if rows is None else rows}" for table, rows in self.tables.items())
        return f"{self.candidate} has not received {many}{time}, {size}" + (
            f": rows of {rows}" if rows else ""
        )


async def measure_loss(snapshot: Snapshot, old_master: str, candidate: str, context: Context) -> Loss:
    """Compare what the candidate received with the end of the old master's binary log.

    The old master is asked itself, else its host (the size of its newest binary log file, and the part that
    is missing), else the last probe that saw it. Never raises: what cannot be known is ``None``.
    """
    slave, master = snapshot.node(candidate), snapshot.node(old_master)
    state = slave.replication if slave is not None else None
    received = await _received(candidate, context) or (state.read if state is not None else None)
    if received is None:
        return Loss(candidate=candidate, received=None, master_at=None, how="its coordinates are not known")
    try:
        return await _soon(_from_server(old_master, candidate, received, context))
    except PfmsError as error:
        reasons = [error.reason]
    facts = master.facts if master is not None else None
    shell = context.shells(old_master)
    base = _log_base(facts, received, context.host_facts.get(old_master, NOWHERE).datadir)
    if shell is not None and base is not None:
        try:
            return await _soon(_from_host(shell, candidate, received, base, context))
        except PfmsError as error:
            reasons.append(error.reason)
    seen = facts.binlog if facts is not None else None
    if seen is None or not received.comparable(seen):
        why = "its end was never seen" if seen is None else f"it was last seen at {seen}, not comparable"
        return Loss(
            candidate=candidate,
            received=received,
            master_at=seen,
            how=f"{old_master}'s binary log cannot be read now ({'; '.join(reasons)}), and {why}",
        )
    return Loss(
        candidate=candidate,
        received=received,
        master_at=seen,
        bytes=bytes_between(received, seen, facts.binlog_sizes if facts is not None else {}),
        seconds=master.age(snapshot.mono) if master is not None else None,
        how=f"{old_master}'s binary log cannot be read now: {'; '.join(reasons)}",
    )


async def _soon(look: Awaitable[Loss]) -> Loss:
    """A look that takes too long has failed.

    Raises:
        PfmsError: it failed.
    """
    try:
        async with asyncio.timeout(_WITHIN):
            return await look
    except TimeoutError as error:
        raise NodeError("it did not answer in time") from error


async def _received(candidate: str, context: Context) -> BinlogPosition | None:
    """Up to where a slave has received now; ``None`` when it cannot be asked."""
    try:
        async with asyncio.timeout(_WITHIN):
            link = await Link.open(context.node(candidate), context.cluster)
            try:
                state = await link.replication()
            finally:
                await link.close()
    except (PfmsError, TimeoutError):
        return None
    return state.read if state is not None else None


def _log_base(facts: ServerFacts | None, received: BinlogPosition, datadir: str | None) -> str | None:
    """Path of the old master's binary log files without their numbers."""
    named = facts.variables.get("log_bin_basename") if facts is not None else None
    if named:
        return named
    return f"{datadir.rstrip('/')}/{received.base}" if datadir is not None else None


async def _from_server(old_master: str, candidate: str, received: BinlogPosition, context: Context) -> Loss:
    node = context.node(old_master)
    link = await Link.open(node, context.cluster)
    try:
        sizes = binlog_sizes(await link.query(link.dialect.show_binary_logs))
        end = await link.coordinates()
    finally:
        await link.close()
    left = bytes_between(received, end, sizes)
    if left is None or left > _MOST_BYTES:
        return Loss(
            candidate=candidate,
            received=received,
            master_at=end,
            exact=True,
            bytes=left,
            how=f"read from {old_master}",
        )
    found = await survey(node, context.cluster, received)
    return Loss(
        candidate=candidate,
        received=received,
        master_at=found.end,
        exact=True,
        bytes=found.size,
        seconds=_seconds(found),
        transactions=found.count,
        tables=found.tables,
        how=f"read from {old_master}'s binary log",
    )


async def _from_host(
    shell: NodeShell, candidate: str, received: BinlogPosition, base: str, context: Context
) -> Loss:
    """The binary log files of a dead server, through its host's SSH."""
    label = shell.node.label
    sizes = await _sizes(shell, base, context)
    ends = [BinlogPosition(name, size) for name, size in sizes.items()]
    newest = max((end for end in ends if end.comparable(received)), default=None)
    if newest is None:
        raise NodeError("its binary log was not found on its host", node=label)
    if newest < received:
        raise NodeError(f"its binary log ends at {newest}, before what was received", node=label)
    left = bytes_between(received, newest, sizes)
    counted: Survey | None = None
    if left is not None and left <= _MOST_BYTES:
        counted = await _count(shell, base, received, sorted(end for end in ends if end.comparable(received)))
    return Loss(
        candidate=candidate,
        received=received,
        master_at=newest,
        exact=True,
        bytes=left if counted is None else counted.size,
        seconds=_seconds(counted) if counted is not None else None,
        transactions=counted.count if counted is not None else None,
        tables=counted.tables if counted is not None else {},
        how=f"read from the files on {label}'s host",
    )


def _seconds(found: Survey) -> float | None:
    if found.first_at is None or found.last_at is None:
        return None
    return float(found.last_at - found.first_at)


async def _sizes(shell: NodeShell, base: str, context: Context) -> dict[str, int]:
    """File name → bytes of every binary log file."""
    command = f"for f in {shlex.quote(base)}.[0-9]*; do stat -c '%s %n' \"$f\"; done"
    listing = await shell.run(shell.elevated(command), timeout=context.limits.shell)
    sizes: dict[str, int] = {}
    for line in listing.stdout.splitlines():
        size, _, path = line.partition(" ")
        if size.isdigit():
            sizes[path.rsplit("/", 1)[-1]] = int(size)
    return sizes


async def _count(
    shell: NodeShell, base: str, received: BinlogPosition, files: list[BinlogPosition]
) -> Survey:
    """Whole transactions behind ``received``; one that the crash cut off does not count."""
    surveyor = Surveyor(received)
    folder = base.rsplit("/", 1)[0]
    for file in files:
        if file.number < received.number:
            continue
        path = f"{folder}/{file.file}"
        first = file.number == received.number
        checksum = True
        if first:
            head = await _fetch(shell, path, 4, 1024)
            description = next(iter(events_of(head, checksum=True)), None)
            checksum = description is None or has_checksums(description)
        start = received.pos if first else 4
        data = await _fetch(shell, path, start, file.pos - start)
        for event in events_of(data, checksum=checksum):
            surveyor.see(file.file, event)
    return surveyor.done(whole_only=True)


async def _fetch(shell: NodeShell, path: str, start: int, length: int) -> bytes:
    """A part of a file, through a text channel.

    Raises:
        ShellError: it cannot be read.
    """
    if length <= 0:
        return b""
    command = f"tail -c +{start + 1:d} {shlex.quote(path)} | head -c {length:d} | base64"
    result = await shell.run(shell.elevated(command), timeout=_FETCH, limit=2 * _MOST_BYTES)
    try:
        return base64.b64decode(result.stdout)
    except ValueError as error:
        raise NodeError(f"{path} cannot be read: {result.said}", node=shell.node.label) from error

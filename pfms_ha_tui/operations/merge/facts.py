"""What the first two pages of the wizard need: who lost, with the evidence, and which window to propose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.cluster.sides import LoserProposal, SideEvidence, propose_loser, wrong_direction
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import binlog_position, is_on, replication
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.merging import Merge, MergeRequest, node_of
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.window import Proposal, SplitTimes, Window, propose
from pfms_ha_tui.pandora import hosts_file
from pfms_ha_tui.pandora.epoch import read_epoch

T = TypeVar("T")

_KEEPALIVE = (
    "SELECT UNIX_TIMESTAMP(CONVERT_TZ(MAX(keepalive), @@GLOBAL.time_zone, @@SESSION.time_zone)) AS at"
    " FROM tserver"
)
"""A DATETIME, which Pandora's servers write in the servers' own zone; this session is in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the caller knows besides the two servers."""

    journal_master: str | None = None
    """Label of the master by the journal: of its last promotion, or as it was last seen."""
    hosts_file_host: str | None = None
    """Host that Pandora is sent to."""
    split: SplitTimes = field(default_factory=SplitTimes)

    @classmethod
    def of(cls, cluster: ClusterSettings, journal_master: str | None, began: float | None = None) -> Self:
        """With what Pandora's hosts file says, if it can be read; blocks for as long as that takes.

        Args:
            cluster: The cluster.
            journal_master: See :attr:`journal_master`.
            began: Wall time at which the sides were last in step.
        """
        return cls(
            journal_master=journal_master,
            hosts_file_host=_named_in(cluster.pandora.hosts_file),
            split=SplitTimes(began=began),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """Who lost, and from when to when."""

    sides: tuple[SideEvidence, SideEvidence]
    proposal: LoserProposal
    window: Proposal | None
    """``None`` when neither the journal nor the data tell a window."""
    skew: float
    """Seconds that the second side's clock is ahead of the first's."""


def gather(
    cluster: ClusterSettings,
    one: str,
    other: str,
    known: Known,
    control: Control,
    *,
    now: float | None = None,
) -> SplitFacts:
    """Ask both nodes; nothing is changed.

    Args:
        cluster: The cluster.
        one: Label of a node.
        other: Label of another one.
        known: What the caller knows besides.
        control: Cancelling.
        now: Wall time.

    Raises:
        SqlError: a node cannot be asked.
        MergeError: there is no such node.
        MergeCancelled: somebody asked to stop.
    """
    now = time.time() if now is None else now
    first, ahead = _look(cluster, one, known)
    second, ahead_too = _look(cluster, other, known)
    proposal = propose_loser(first, second)
    skew = ahead_too - ahead
    request = MergeRequest(losing=proposal.losing, master=proposal.master, window=Window(0, 0))
    found = Merge(cluster, request).first_difference(control, int(now))
    window = propose(now, known.split, skew=skew, differing=found)
    return SplitFacts(sides=(first, second), proposal=proposal, window=window, skew=skew)


def warning(facts: SplitFacts, losing: str, master: str) -> str | None:
    """Why this direction looks wrong (see :func:`wrong_direction`)."""
    by_label = {side.label: side for side in facts.sides}
    return wrong_direction(by_label[losing], by_label[master])


def why_wrong_way(cluster: ClusterSettings, losing: str, master: str, known: Known) -> str | None:
    """Why merging ``losing`` into ``master`` looks wrong (see :func:`wrong_direction`); asks both nodes.

    Raises:
        SqlError: a node cannot be asked.
        MergeError: there is no such node.
    """
    return wrong_direction(_look(cluster, losing, known)[0], _look(cluster, master, known)[0])


def _named_in(path: Path | None) -> str | None:
    """The host that Pandora is sent to."""
    try:
        found = hosts_file.read(path) if path is not None else None
    except PfmsError:
        return None
    return found.agreed if found is not None else None


def _look(cluster: ClusterSettings, label: str, known: Known) -> tuple[SideEvidence, float]:
    """A node's evidence, and how far its clock is ahead of ours, seconds."""
    node = node_of(cluster, label)
    with Side.reader(node, cluster) as side:
        session = side.session
        before = time.time()
        row = session.query("SELECT @@GLOBAL.read_only AS closed, UNIX_TIMESTAMP(NOW(6)) AS clock")[0]
        ahead = float(str(row["clock"])) - (before + time.time()) / 2
        record = _or_none(lambda: read_epoch(session))
        keepalive = _or_none(lambda: session.query(_KEEPALIVE)[0]["at"])
        channels = _or_none(lambda: session.query(session.dialect.show_replica_status)) or []
        binlog = _or_none(lambda: binlog_position(session.query(session.dialect.show_binlog_status)))
    follows: str | None = None
    for channel in channels:
        state = replication(channel)
        if state.io is IoState.NO and not state.sql:
            # What is left of an old configuration says nothing about now.
            continue
        for candidate in cluster.nodes:
            if (candidate.host, candidate.port) == (state.source_host, state.source_port):
                follows = candidate.label
    evidence = SideEvidence(
        label=label,
        order=node.order,
        writable=not is_on(row["closed"]),
        epoch=record.epoch if record is not None else None,
        keepalive=float(str(keepalive)) if keepalive is not None else None,
        follows=follows,
        named_by_hosts_file=known.hosts_file_host == node.host,
        named_by_journal=known.journal_master == label,
        position=f"{binlog.file}:{binlog.pos}" if binlog is not None else None,
    )
    return evidence, ahead


def _or_none(ask: Callable[[], T]) -> T | None:
    """What may not be read, or is not there, is not known."""
    try:
        return ask()
    except SqlError as error:
        if error.ends_session:
            raise
        return None

"""Transactions that a node holds and its master does not: what GTIDs can prove, and nothing else.

Without GTIDs there is no telling from two positions; comparing the binary logs is then the work of
the rejoin. "No proof" therefore never means "nothing extra".
"""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.gtid import GtidSet, MariadbPosition
from pfms_ha_tui.cluster.observation import Flavor, NodeObservation, ServerFacts
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.topology import channel


def own_transactions(history: Sequence[Snapshot], node: NodeState, master: NodeState) -> str | None:
    """What the node holds beyond its master, as one clause; ``None`` when nothing is proven.

    The node's look must be older than the master's, else a transaction that was written between the
    two would count. What the master itself wrote never counts: a slave may well be told of it first.
    """
    theirs = master.last_good
    if theirs is None or theirs.facts is None:
        return None
    ours = _newest_before(history, node.label, theirs.mono) if master.answers else node.last_good
    if ours is None or ours.facts is None:
        return None
    try:
        return _extra(ours.facts, theirs.facts)
    except ValueError:
        return None


def _newest_before(history: Sequence[Snapshot], label: str, mono: float) -> NodeObservation | None:
    for snapshot in reversed(history):
        node = snapshot.node(label)
        if node is not None and node.last_good is not None and node.last_good.mono < mono:
            return node.last_good
    return None


def _extra(ours: ServerFacts, theirs: ServerFacts) -> str | None:
    if ours.flavor is not theirs.flavor or ours.gtid_executed is None or theirs.gtid_executed is None:
        return None
    if ours.flavor is Flavor.MYSQL:
        if not (ours.gtid_mode and theirs.gtid_mode) or theirs.server_uuid is None:
            return None
        extra = GtidSet.parse(ours.gtid_executed).subtract(GtidSet.parse(theirs.gtid_executed))
        extra = extra.without(theirs.server_uuid)
        if not extra:
            return None
        many = words.plural(extra.count, "transaction")
        return f"{many} that the master does not have ({words.quoted(str(extra))})"
    replication = channel(ours)
    if replication is None or not replication.gtid or theirs.server_id is None:
        return None
    position = MariadbPosition.parse(ours.gtid_executed).subtract(MariadbPosition.parse(theirs.gtid_executed))
    position = position.without(theirs.server_id)
    return f"transactions that the master does not have (up to {position})" if position else None

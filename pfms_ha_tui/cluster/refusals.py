"""For every order and every node: why a person may not give it now. One table for keys and wizards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pfms_ha_tui.cluster.diagnosis import Diagnosis
from pfms_ha_tui.cluster.masters import rightful_writers
from pfms_ha_tui.cluster.permits import (
    why_not_change,
    why_not_failover,
    why_not_rejoin,
    why_not_reopen,
    why_not_resync,
    why_not_switchover,
)
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, Snapshot
from pfms_ha_tui.cluster.topology import writers

ANYBODY = ""
"""Instead of a label: the order leaves the choice of the node to the worker."""
MOST_NODES = 16
"""In larger clusters the table would cost more than it is worth each second; the plan says it then."""

Refusals = Mapping[str, Mapping[str, str]]
"""kind of order → label (or :data:`ANYBODY`) → reason, one clause; what may be ordered is missing."""


def why_not_lock(target: str, history: Sequence[Snapshot], policy: Policy, facts: JournalFacts) -> str | None:
    """Why ``target`` may not be made read-only: only one of several writable nodes may."""
    why = why_not_change(history, policy, facts)
    if why is not None:
        return why
    node = history[-1].node(target)
    if node is None or not node.answers:
        return f"{target} does not answer"
    if node.writable is not True:
        return f"{target} is read-only already"
    if all(writer.label == target for writer in writers(history[-1], policy)):
        return f"{target} is the only writable node"
    return None


def why_not_name(target: str, history: Sequence[Snapshot], policy: Policy) -> str | None:
    """Why a person may not say that ``target`` is the master: another node plainly is."""
    rightful = rightful_writers(history[-1], policy) if history else []
    if len(rightful) != 1 or rightful[0].label == target:
        return None
    return f"{rightful[0].label} takes writes and is the master; a switchover makes {target} the master"


def refusals(
    history: Sequence[Snapshot], diagnosis: Diagnosis, policy: Policy, facts: JournalFacts
) -> Refusals:
    """The whole table for the newest snapshot."""
    if not history or len(history[-1].nodes) > MOST_NODES:
        return {}
    table: dict[str, dict[str, str]] = {"failover": {}}
    anybody = why_not_failover(history, diagnosis, policy, facts)
    if anybody is not None:
        table["failover"][ANYBODY] = anybody
    nothing = why_not_change(history, policy, facts)
    if nothing is not None:
        table["merge"] = {ANYBODY: nothing}
    for node in history[-1].nodes:
        label = node.label
        reasons = {
            "failover": why_not_failover(history, diagnosis, policy, facts, target=label),
            "switchover": why_not_switchover(label, history, diagnosis, policy, facts),
            "rejoin": why_not_rejoin(label, history, diagnosis, policy, facts),
            "reopen": why_not_reopen(label, history, policy, facts),
            "lock": why_not_lock(label, history, policy, facts),
            "clone": why_not_resync(label, history, diagnosis, policy, facts),
        }
        for kind, reason in reasons.items():
            if reason is not None:
                table.setdefault(kind, {})[label] = reason
    return table

"""Clocks that differ: merges, tokens and timelines of the nodes rest on them."""

from __future__ import annotations

from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity, finding
from pfms_ha_tui.cluster.observation import NodeObservation
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.topology import current, in_order


def clock_findings(history: Sequence[Snapshot], policy: Policy) -> list[Finding]:
    """Server clocks that differ from this host's by more than the tolerance, twice in a row."""
    snapshot = history[-1]
    skews: dict[str, float] = {}
    for node in in_order(snapshot.nodes):
        skew = clock_skew(history, node, policy)
        if skew is not None and abs(skew) > policy.clock_tolerance:
            skews[node.label] = skew
    asked = [node for node in snapshot.nodes if current(node, snapshot, policy) is not None]
    if len(skews) > 1 and len(skews) == len(asked):
        values = list(skews.values())
        if max(values) - min(values) <= policy.clock_tolerance:
            direction = "behind" if values[0] > 0 else "ahead"
            text = f"The clock of this host is {words.seconds(abs(values[0]))} {direction} of every node's"
            return [
                finding(DiagnosisKind.CLOCK_SKEW, Severity.WARNING, None, text, "Check NTP on this host.")
            ]
    return [
        finding(
            DiagnosisKind.CLOCK_SKEW,
            Severity.WARNING,
            name,
            f"The clock of {name} is {words.seconds(abs(skew))} {_side(skew)} this host's",
            f"Check NTP on {name} and on this host.",
        )
        for name, skew in skews.items()
    ]


def clock_skew(history: Sequence[Snapshot], node: NodeState, policy: Policy) -> float | None:
    """Seconds the node's clock is ahead of this host's; ``None`` = not known.

    The smaller of the last two looks (one may have been late on a busy host), less the time the probe
    itself took.
    """
    if current(node, history[-1], policy) is None or node.observation is None:
        return None
    now = _skew(node.observation)
    for snapshot in reversed(history[:-1]):
        earlier = snapshot.node(node.label)
        if (
            earlier is None
            or earlier.observation is None
            or earlier.observation.mono >= node.observation.mono
        ):
            continue
        before = _skew(earlier.observation)
        return now if now is None or before is None or abs(now) <= abs(before) else before
    return now


def _skew(seen: NodeObservation) -> float | None:
    if seen.facts is None or seen.facts.clock is None:
        return None
    skew = seen.facts.clock - seen.at
    allowance = seen.latency or 0.0
    return max(0.0, skew - allowance) if skew > 0 else min(0.0, skew + allowance)


def _side(skew: float) -> str:
    return "ahead of" if skew > 0 else "behind"

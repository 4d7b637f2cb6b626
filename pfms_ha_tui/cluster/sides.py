"""The two sides of a split-brain: which one lost, and the warning when a person picks the other one.

The one judge of the direction of a merge: of the proposal, of the plan, and of the operation itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.cluster.snapshot import JournalFacts

_KEEPALIVE_GAP = 60.0
"""Seconds between two newest keepalives that mean more than chance and clock skew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEvidence:
    """What is known of one of the two nodes; ``None`` = not known."""

    label: str
    order: int
    """Place in ``ha_hosts``, from 0."""
    writable: bool | None = None
    epoch: int | None = None
    """Of the promotion record in its own data."""
    keepalive: float | None = None
    """Newest ``tserver.keepalive``, wall time."""
    follows: str | None = None
    """Label of the node it replicates from."""
    named_by_hosts_file: bool = False
    """Whether Pandora is sent to it."""
    named_by_journal: bool = False
    """Whether the journal has it as the master: by its last promotion, or as it was last seen."""
    position: str | None = None
    """Its own coordinates, for the screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoserProposal:
    """Which node's rows go into which, and what that rests on."""

    losing: str
    master: str
    reasons: tuple[str, ...]
    """Strongest first, one short sentence each."""
    certain: bool
    """Whether something better than the order in ``ha_hosts`` decided."""


def known_master(facts: JournalFacts) -> str | None:
    """Label of the master by what is remembered: as the roles are known, else of the last promotion."""
    return facts.master if facts.roles_known and facts.master is not None else facts.epoch_master


def propose_loser(one: SideEvidence, other: SideEvidence) -> LoserProposal:
    """The losing side: by epoch, journal, newest keepalive, then ``ha_hosts`` order (DESIGN section 4)."""
    reasons: list[str] = []
    master: SideEvidence | None = None

    def say(winner: SideEvidence, reason: str) -> None:
        nonlocal master
        if master is None:
            master = winner
        if winner is master:
            reasons.append(reason)

    if one.follows == other.label and other.follows != one.label:
        say(other, f"{one.label} replicates from {other.label}")
    elif other.follows == one.label and one.follows != other.label:
        say(one, f"{other.label} replicates from {one.label}")
    if one.epoch is not None and other.epoch is not None and one.epoch != other.epoch:
        newer, older = (one, other) if one.epoch > other.epoch else (other, one)
        say(
            newer,
            f"{newer.label} was promoted later (epoch {newer.epoch}, {older.label} has {older.epoch})",
        )
    if one.named_by_journal != other.named_by_journal:
        named = one if one.named_by_journal else other
        say(named, f"the journal has {named.label} as the master")
    gap = round((one.keepalive or 0.0) - (other.keepalive or 0.0))
    if one.keepalive is not None and other.keepalive is not None and abs(gap) >= _KEEPALIVE_GAP:
        fresh, stale = (one, other) if gap > 0 else (other, one)
        gap = abs(gap)
        say(fresh, f"Pandora's servers reported to {fresh.label} {gap} s later than to {stale.label}")
    if one.named_by_hosts_file != other.named_by_hosts_file:
        named = one if one.named_by_hosts_file else other
        say(named, f"Pandora is sent to {named.label}")
    certain = master is not None
    if master is None:
        master = one if one.order <= other.order else other
        reasons.append(f"{master.label} stands first in the list of hosts; nothing better is known")
    losing = other if master is one else one
    return LoserProposal(losing=losing.label, master=master.label, reasons=tuple(reasons), certain=certain)


def wrong_direction(losing: SideEvidence, master: SideEvidence) -> str | None:
    """Why merging ``losing`` into ``master`` looks like the wrong way round; ``None`` if it does not.

    It can still be what a person wants; then the label of the node that would lose is to be typed.
    """
    proposal = propose_loser(losing, master)
    if proposal.losing == losing.label or not proposal.certain:
        if losing.writable and master.writable is False:
            return f"{losing.label} takes writes and {master.label} does not: {losing.label} is the master"
        return None
    why = "; ".join(proposal.reasons)
    return (
        f"{losing.label} looks like the master: {why}. After this merge {losing.label} would be rebuilt"
        f" from {master.label}"
    )

"""From single observations to the snapshot of a cluster: what is seen now, and what must be remembered.

Everything here is carried from one snapshot to the next, so that a single look at the newest snapshot
tells since when a master is silent and what its slaves did at that moment. A node that does not
answer keeps its last role and its last facts, but nothing derived from them (bytes behind, write
rate) survives its last answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pfms_ha_tui.cluster.coordinates import BinlogPosition, bytes_between
from pfms_ha_tui.cluster.observation import (
    IoState,
    NodeObservation,
    Opinion,
    Replication,
    Says,
    ServerFacts,
    ShellObservation,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot, Sync
from pfms_ha_tui.cluster.topology import source_labels

_STREAMING_WINDOW = 15.0
"""Seconds: a slave last seen receiving longer than this before the master's last answer is not known to
have been receiving when the fault began."""
UPTIME_JITTER = 1.5
"""Seconds: uptime is a whole number, so two readings place the start of a server up to one second apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node as the settings name it."""

    label: str
    host: str
    port: int = 3306
    order: int = 0
    disabled: bool = False


def assemble(
    previous: Snapshot | None,
    *,
    cluster: str,
    at: float,
    mono: float,
    nodes: Sequence[NodeSpec],
    observations: Mapping[str, NodeObservation],
    shells: Mapping[str, ShellObservation],
    opinions: Sequence[Opinion],
    syncs: Mapping[str, Sync],
) -> Snapshot:
    """The snapshot at ``mono``, following ``previous``.

    Args:
        previous: The snapshot before, of the same cluster; ``None`` after a start.
        cluster: Name of the cluster.
        at: Wall time now.
        mono: Monotonic time now.
        nodes: The nodes of the settings. A node whose address changed starts from nothing.
        observations: label → newest observation. One that is missing, or older than the one already
            known, changes nothing.
        shells: label → newest look through SSH, likewise.
        opinions: Every second opinion the worker holds; the newest of each (kind, by, about) is kept.
        syncs: label → state of its resync; a missing label is in order.
    """
    before = {node.label: node for node in previous.nodes} if previous is not None else {}
    states: list[NodeState] = []
    for spec in nodes:
        old = before.get(spec.label)
        if old is not None and (old.host, old.port) != (spec.host, spec.port):
            del before[spec.label]
            old = None
        state = _observed(spec, old, observations.get(spec.label), shells.get(spec.label))
        states.append(replace(state, sync=syncs.get(spec.label, Sync())))
    kept = _newest(opinions)
    sources = source_labels(states)
    states = [
        _with_stream(replace(state, source=sources[state.label]), before.get(state.label)) for state in states
    ]
    signs = _signs_of_life(states, before, kept)
    states = [replace(state, seen_at=signs.get(state.label)) for state in states]
    by_label = {state.label: state for state in states}
    states = [_related(state, by_label, before) for state in states]
    disabled = _disabled_hosts(states)
    states = [replace(state, disabled=state.disabled or _names(state, disabled)) for state in states]
    return Snapshot(cluster=cluster, at=at, mono=mono, nodes=tuple(states), opinions=kept)


def _observed(
    spec: NodeSpec, old: NodeState | None, seen: NodeObservation | None, shell: ShellObservation | None
) -> NodeState:
    """What follows from this node's own observations."""
    if old is None:
        old = NodeState(label=spec.label, host=spec.host, port=spec.port, order=spec.order, role=Role.UNKNOWN)
    state = replace(old, order=spec.order, disabled=spec.disabled)
    if shell is not None and (old.shell is None or shell.mono >= old.shell.mono):
        state = replace(state, shell=_with_right_to_fence(shell, old.shell))
    if seen is None or (old.observation is not None and seen.mono <= old.observation.mono):
        return state
    same = old.observation is not None and old.observation.reach is seen.reach
    state = replace(
        state,
        observation=seen,
        reach_since=old.reach_since if same and old.reach_since is not None else seen.mono,
        pandora_seen=seen if seen.pandora is not None else old.pandora_seen,
    )
    if not seen.reach.answers:
        since = old.fault_since if old.fault_since is not None else seen.mono
        return replace(state, fault_since=since, standing_since=None, write_rate=None)
    state = replace(state, answered_at=seen.mono, fault_since=None)
    if seen.facts is None:
        return replace(state, write_rate=None)
    role = _role(seen.facts)
    same = old.role is role and old.facts is not None and old.facts.read_only is seen.facts.read_only
    return replace(
        state,
        last_good=seen,
        role=role,
        standing_since=old.standing_since if same and old.standing_since is not None else seen.mono,
        write_rate=_write_rate(old.last_good, seen),
        restarted_readonly=_restarted_readonly(old, seen.facts, seen.mono),
    )


def _with_right_to_fence(shell: ShellObservation, old: ShellObservation | None) -> ShellObservation:
    """A quick look need not check again what the account may do: while SSH works the last answer holds."""
    if old is None or shell.can_fence is not None or not (shell.state is old.state is SshState.UP):
        return shell
    return replace(shell, can_fence=old.can_fence)


def _role(facts: ServerFacts) -> Role:
    if facts.replication:
        return Role.SLAVE
    if facts.replication is None or facts.read_only is None:
        return Role.UNKNOWN
    return Role.NONE if facts.read_only else Role.MASTER


def _write_rate(old: NodeObservation | None, new: NodeObservation) -> float | None:
    if old is None or old.facts is None or new.facts is None:
        return None
    before, after = old.facts, new.facts
    if before.writes is None or after.writes is None or after.writes < before.writes:
        return None
    if before.uptime is not None and after.uptime is not None and after.uptime < before.uptime:
        return None
    return (after.writes - before.writes) / (new.mono - old.mono) if new.mono > old.mono else None


def _restarted_readonly(old: NodeState, facts: ServerFacts, mono: float) -> bool:
    if facts.read_only is not True:
        return False
    last = old.last_good
    if last is None or last.facts is None:
        return False
    if last.facts.read_only is not False:
        return old.restarted_readonly
    if facts.uptime is None or last.facts.uptime is None:
        return False
    return (mono - facts.uptime) - (last.mono - last.facts.uptime) > UPTIME_JITTER or (
        facts.uptime < last.facts.uptime
    )


def _newest(opinions: Iterable[Opinion]) -> tuple[Opinion, ...]:
    newest: dict[tuple[Witness, str, str], Opinion] = {}
    for opinion in opinions:
        key = (opinion.kind, opinion.by, opinion.about)
        if key not in newest or opinion.mono >= newest[key].mono:
            newest[key] = opinion
    return tuple(sorted(newest.values(), key=lambda one: (one.about, one.kind, one.by)))


def _with_stream(state: NodeState, old: NodeState | None) -> NodeState:
    """When this slave was last seen receiving, and when it was first seen not to."""
    replication = state.replication
    seen = state.last_good
    if replication is None or seen is None:
        return replace(state, streamed_at=None, stream_lost_at=None, streamed_lag=None)
    if old is not None and old.last_good == seen:
        return state
    if old is None or old.replication is None or not _same_source(old.replication, replication):
        state = replace(state, streamed_at=None, stream_lost_at=None, streamed_lag=None)
    if replication.io is IoState.YES:
        lag = replication.seconds_behind
        return replace(state, streamed_at=seen.mono, stream_lost_at=None, streamed_lag=lag)
    if state.streamed_at is not None and state.stream_lost_at is None:
        return replace(state, stream_lost_at=seen.mono)
    return state


def _same_source(one: Replication, other: Replication) -> bool:
    return (one.source_host, one.source_port) == (other.source_host, other.source_port)


def _signs_of_life(
    states: Sequence[NodeState], before: Mapping[str, NodeState], opinions: Iterable[Opinion]
) -> dict[str, float]:
    """label → when anybody last saw that node live."""
    signs: list[tuple[str, float | None]] = []
    for state in states:
        signs += [(state.label, state.seen_at), (state.label, state.answered_at)]
        if state.source is not None and _received_more(before.get(state.label), state):
            signs.append((state.source, state.last_good.mono if state.last_good else None))
    for opinion in opinions:
        if opinion.says is Says.SEES and opinion.kind in (Witness.VIA_SSH, Witness.SLAVE_IO):
            signs.append((opinion.about, opinion.mono))
    newest: dict[str, float] = {}
    for label, moment in signs:
        if moment is not None:
            newest[label] = max(moment, newest.get(label, moment))
    return newest


def _received_more(old: NodeState | None, new: NodeState) -> bool:
    """Whether the newest look at a slave shows more received than the look before."""
    if old is None or old.replication is None or new.replication is None or old.last_good == new.last_good:
        return False
    return _same_source(old.replication, new.replication) and _is_past(
        new.replication.read, old.replication.read
    )


def _is_past(one: BinlogPosition | None, other: BinlogPosition | None) -> bool:
    return one is not None and other is not None and one.comparable(other) and one > other


def _related(
    state: NodeState, by_label: Mapping[str, NodeState], before: Mapping[str, NodeState]
) -> NodeState:
    """What follows from a slave and the node it follows."""
    replication = state.replication
    master = by_label.get(state.source) if state.source is not None else None
    if replication is None or master is None:
        return replace(state, streaming_at_fault=None, bytes_behind=None)
    return replace(
        state,
        streaming_at_fault=_streaming_at_fault(state, master, before),
        bytes_behind=_bytes_behind(state, replication, master),
    )


def _streaming_at_fault(slave: NodeState, master: NodeState, before: Mapping[str, NodeState]) -> bool | None:
    """Judged once, when the master's fault begins, and kept until the master answers again.

    The fault began somewhere after the master's last answer. A slave that was seen not receiving
    before that answer had lost it for another reason; one that was first seen so after it lost it
    in the fault.
    """
    if master.fault_since is None:
        return None
    old_master, old_slave = before.get(master.label), before.get(slave.label)
    if old_master is not None and old_master.fault_since is not None:
        return old_slave.streaming_at_fault if old_slave is not None else None
    if slave.last_good is None or master.answered_at is None:
        return None
    if slave.streamed_at is None:
        return False
    if slave.streamed_at < master.answered_at - _STREAMING_WINDOW:
        return None
    return slave.stream_lost_at is None or slave.stream_lost_at > master.answered_at


def _bytes_behind(slave: NodeState, replication: Replication, master: NodeState) -> int | None:
    here, there = slave.observation, master.observation
    if here is None or there is None or here.facts is None or there.facts is None:
        return None
    if not (here.reach.answers and there.reach.answers):
        return None
    executed, own = replication.executed, there.facts.binlog
    if executed is None or own is None:
        return None
    if here.mono > there.mono and (executed == own or _is_past(executed, own)):
        # The master was asked first and has written since: the slave holds all that it had then.
        return 0
    return bytes_between(executed, own, there.facts.binlog_sizes)


def _disabled_hosts(states: Sequence[NodeState]) -> frozenset[str]:
    """Hosts disabled in ``tdatabase``, as the master's copy of it says; without one, the newest copy.

    An old master that never comes back must not disable its successors for ever with a stale copy.
    """
    copies = [state for state in states if state.pandora_seen is not None]
    copies.sort(key=lambda state: (state.role is Role.MASTER and state.answers, _pandora_time(state)))
    seen = copies[-1].pandora_seen if copies else None
    if seen is None or seen.pandora is None:
        return frozenset()
    return frozenset(host.casefold() for host in seen.pandora.disabled_hosts)


def _pandora_time(state: NodeState) -> float:
    return state.pandora_seen.mono if state.pandora_seen is not None else 0.0


def _names(state: NodeState, hosts: frozenset[str]) -> bool:
    names = {state.host.casefold()}
    if state.facts is not None:
        names |= {name.casefold() for name in (state.facts.report_host, state.facts.hostname) if name}
    names.discard("localhost")
    return bool(names & hosts)

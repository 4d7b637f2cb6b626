"""Second opinions about a master that does not answer us: who says what, and whether it counts.

What counts must be newer than the master's last answer. A slave's own IO thread testifies only if it
was receiving when the fault began, and only by a connect-class error: a slave that was stopped,
cloning or broken says nothing, and an open connection that brings nothing says nothing either (a
frozen source shows IO=Yes and lag 0 for a whole net time-out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import (
    IoState,
    NodeObservation,
    Opinion,
    ProcessState,
    Replication,
    Says,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.topology import answers, slaves_of

OPINION_FRESH = 15.0
"""Seconds: an opinion older than this no longer says how the master is."""
_SETTLING = 0.5
"""Seconds after the fault began in which a slave may still take in what was under way."""
_RECEIVING_WINDOW = 10.0
"""Seconds: a slave receives if its coordinates moved within this."""

CONNECT_ERRORS = frozenset({2002, 2003, 2006, 2013, 2055, 1158, 1159, 1160, 1161})
"""The slave could not reach its master, or lost it: client errors CR_CONNECTION_ERROR, CR_CONN_HOST_ERROR,
CR_SERVER_GONE_ERROR, CR_SERVER_LOST(_EXTENDED); server errors ER_NET_*."""
ANSWERED_ERRORS = frozenset({1040, 1045, 1129, 1130, 1203, 1226, 1227, 1236, 2059, 2061})
"""The master itself said no: it lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """One voice about the master."""

    kind: Witness
    by: str
    says: Says
    text: str
    """What it saw, as a clause: "node2 lost node1 (error 2003)"."""
    mono: float | None
    """When it saw that; ``None`` when it was not asked since the master's last answer."""
    bound: bool = False
    """A slave that was receiving when the fault began and answers us now: its word is required."""


def testimonies(history: Sequence[Snapshot], master: NodeState, policy: Policy) -> tuple[Testimony, ...]:
    """Every voice about ``master``, which does not answer: its slaves, their hosts, its own host."""
    snapshot = history[-1]
    voices = [_of_slave(history, slave, master, policy) for slave in slaves_of(snapshot, master)]
    voices += [_of_opinion(opinion, master, snapshot) for opinion in _about(snapshot, master)]
    voices.append(_of_process(master))
    return tuple(voices)


def process_state(master: NodeState) -> ProcessState:
    """The server process as its own host saw it since the master's last answer; ``UNKNOWN`` otherwise."""
    shell = master.shell
    if shell is None or shell.state is not SshState.UP or shell.mono <= _last_answer(master):
        return ProcessState.UNKNOWN
    return shell.process


def ssh_up(node: NodeState, snapshot: Snapshot, limit: float) -> bool | None:
    """Whether commands can be run on the node's host, by a look at most ``limit`` seconds old."""
    shell = node.shell
    if shell is None or shell.state is SshState.UNKNOWN or snapshot.mono - shell.mono > limit:
        return None
    return shell.state is SshState.UP


def witnesses(snapshot: Snapshot) -> list[Opinion]:
    """What the configured addresses say about our own connectivity, fresh ones only."""
    return [
        opinion
        for opinion in snapshot.opinions
        if opinion.kind is Witness.WITNESS and snapshot.mono - opinion.mono <= OPINION_FRESH
    ]


def _last_answer(master: NodeState) -> float:
    if master.answered_at is not None:
        return master.answered_at
    return master.fault_since if master.fault_since is not None else float("inf")


def _about(snapshot: Snapshot, master: NodeState) -> list[Opinion]:
    return [
        opinion
        for opinion in snapshot.opinions
        if opinion.kind is Witness.VIA_SSH and opinion.about == master.label
    ]


def _of_opinion(opinion: Opinion, master: NodeState, snapshot: Snapshot) -> Testimony:
    age = snapshot.mono - opinion.mono
    # Good news must be from within the fault; bad news also counts from between the last sign of life
    # and the probe that noticed the fault.
    begin = master.fault_since if opinion.says is Says.SEES else master.seen_at
    counts = begin is not None and opinion.mono >= begin and age <= OPINION_FRESH
    if not counts:
        text = f"no look at {master.label} through {opinion.by}'s host since the fault began"
        return Testimony(kind=opinion.kind, by=opinion.by, says=Says.SILENT, text=text, mono=None)
    verb = {Says.SEES: "reaches", Says.LOST: "does not reach", Says.SILENT: "cannot tell about"}[opinion.says]
    said = words.quoted(opinion.text)
    text = f"{opinion.by}'s host {verb} {master.label}" + (f" ({said})" if said else "")
    return Testimony(kind=opinion.kind, by=opinion.by, says=opinion.says, text=text, mono=opinion.mono)


def _of_process(master: NodeState) -> Testimony:
    shell = master.shell
    host = f"{master.label}'s host"
    says, text, mono = Says.SILENT, f"no look at {host} through SSH since the fault began", None
    if shell is not None and shell.state is SshState.OFF:
        text = f"SSH to {host} is not configured"
    elif shell is not None and shell.mono > _last_answer(master):
        mono = shell.mono
        if shell.state is SshState.UP:
            says, text = {
                ProcessState.NONE: (Says.LOST, f"{host} runs no database process"),
                ProcessState.FROZEN: (Says.LOST, f"the database process on {host} is frozen"),
                ProcessState.RUNNING: (Says.SEES, f"the database process on {host} runs"),
                ProcessState.UNKNOWN: (Says.SILENT, f"{host} could not tell about the database process"),
            }[shell.process]
        else:
            why = words.quoted(shell.failure or "")
            text = f"no SSH to {host}" + (f" ({why})" if why else "")
    return Testimony(kind=Witness.PROCESS, by=master.label, says=says, text=text, mono=mono)


def _of_slave(history: Sequence[Snapshot], slave: NodeState, master: NodeState, policy: Policy) -> Testimony:
    snapshot = history[-1]
    name, about = slave.label, master.label

    def voice(says: Says, text: str, *, mono: float | None = None, bound: bool = False) -> Testimony:
        return Testimony(kind=Witness.SLAVE_IO, by=name, says=says, text=text, mono=mono, bound=bound)

    if not answers(slave, snapshot, policy):
        return voice(Says.SILENT, f"{name} does not answer us itself")
    if slave.streaming_at_fault is not True:
        return voice(Says.SILENT, f"{name} was not receiving from {about} when the fault began")
    seen, replication = slave.last_good, slave.replication
    if seen is None or replication is None or seen.mono <= _last_answer(master):
        return voice(Says.SILENT, f"{name} was not asked again since the fault began", bound=True)
    says, text = _by_io(replication, name, about, _receives(history, slave, master))
    return voice(says, text, mono=seen.mono, bound=True)


def _by_io(replication: Replication, name: str, about: str, receives: bool) -> tuple[Says, str]:
    if replication.io is IoState.YES:
        if receives:
            return Says.SEES, f"{name} still receives from {about}"
        return Says.SILENT, f"{name} has its connection to {about} open, but nothing arrives"
    errno = replication.io_errno
    if errno in CONNECT_ERRORS:
        return Says.LOST, f"{name} lost {about} too (error {errno})"
    if errno in ANSWERED_ERRORS:
        return Says.SEES, f"{about} answers {name} with error {errno}"
    if errno:
        return Says.SILENT, f"{name} stopped receiving for a reason of its own (error {errno})"
    if replication.io is IoState.CONNECTING:
        return Says.SILENT, f"{name} is connecting to {about} again, without a result yet"
    return Says.SILENT, f"receiving was stopped on {name}"


def _receives(history: Sequence[Snapshot], slave: NodeState, master: NodeState) -> bool:
    """Whether the slave's received coordinates moved lately, well after the fault began."""
    if slave.last_good is None or master.fault_since is None or slave.replication is None:
        return False
    now = slave.replication.read
    begin = max(master.fault_since + _SETTLING, slave.last_good.mono - _RECEIVING_WINDOW)
    earlier = [seen for seen in _looks(history, slave.label) if begin <= seen.mono < slave.last_good.mono]
    for seen in earlier:
        channels = seen.facts.replication if seen.facts is not None else None
        then = channels[0].read if channels else None
        if now is not None and then is not None and now.comparable(then):
            return now > then
    return False


def _looks(history: Sequence[Snapshot], label: str) -> list[NodeObservation]:
    """The answering probes of a node in the history, oldest first, without repetitions."""
    found: list[NodeObservation] = []
    for snapshot in history:
        node = snapshot.node(label)
        if (
            node is not None
            and node.last_good is not None
            and (not found or found[-1].mono < node.last_good.mono)
        ):
            found.append(node.last_good)
    return found

"""Who sees whom, and how old that knowledge is: the rows of the evidence matrix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Reach, Says, SshState, Witness
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.testimony import OPINION_FRESH
from pfms_ha_tui.cluster.topology import in_order, source_of, stale_after

_DEFAULT = Policy()
_SHELL_FRESH = 2 * OPINION_FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One line: somebody, about somebody."""

    observer: str
    """``worker``, a label, ``ssh``, ``via node2``, or the address of a witness."""
    about: str
    """A label, or ``this host`` for a witness."""
    says: Says
    text: str
    """What was seen, one short clause."""
    age: float | None
    """Seconds; ``None`` = never asked."""
    fresh: bool
    """Whether it is young enough to count."""


def matrix(snapshot: Snapshot, mono: float, policy: Policy = _DEFAULT) -> tuple[EvidenceRow, ...]:
    """Every row, by the node it is about, in the configured order; witnesses last.

    Args:
        snapshot: The newest snapshot.
        mono: Monotonic time now: ages go on growing while no snapshot arrives.
        policy: For the age that counts as fresh.
    """
    rows: list[EvidenceRow] = []
    for node in in_order(snapshot.nodes):
        rows.append(_of_worker(node, mono, policy))
        rows += _of_slaves(snapshot, node, mono, policy)
        rows.append(_of_ssh(node, mono))
        rows += _of_hosts(snapshot, node, mono)
    rows += _of_witnesses(snapshot, mono)
    return tuple(rows)


_REACH = {
    Reach.UNKNOWN: (Says.SILENT, "nothing is known"),
    Reach.ALIVE: (Says.SEES, "answers"),
    Reach.IMPAIRED: (Says.SEES, "answers with an error"),
    Reach.REFUSED: (Says.LOST, "refuses the connection"),
    Reach.HUNG: (Says.LOST, "accepts the connection, says nothing"),
    Reach.UNREACHABLE: (Says.LOST, "gives no sign of life"),
    Reach.FAULT: (Says.SILENT, "cannot be asked"),
}


def _of_worker(node: NodeState, mono: float, policy: Policy) -> EvidenceRow:
    seen = node.observation
    if seen is None:
        return EvidenceRow(
            observer="worker", about=node.label, says=Says.SILENT, text="not asked yet", age=None, fresh=False
        )
    says, text = _REACH[seen.reach]
    if seen.reach is Reach.ALIVE and seen.latency is not None:
        text += f" in {seen.latency * 1000:.1f} ms"
    elif seen.failure is not None:
        text += f": {words.quoted(seen.failure.text)}"
    age = max(0.0, mono - seen.mono)
    return EvidenceRow(
        observer="worker", about=node.label, says=says, text=text, age=age, fresh=age <= stale_after(policy)
    )


def _of_slaves(snapshot: Snapshot, node: NodeState, mono: float, policy: Policy) -> Iterable[EvidenceRow]:
    for slave in in_order(snapshot.nodes):
        source, seen, replication = source_of(snapshot, slave), slave.last_good, slave.replication
        if source is None or source.label != node.label or seen is None or replication is None:
            continue
        error = f", error {replication.io_errno}" if replication.io_errno else ""
        says, text = {
            IoState.YES: (Says.SEES, "receives from it"),
            IoState.CONNECTING: (Says.LOST if replication.io_errno else Says.SILENT, f"is connecting{error}"),
            IoState.NO: (Says.LOST if replication.io_errno else Says.SILENT, f"does not receive{error}"),
        }[replication.io]
        age = max(0.0, mono - seen.mono)
        fresh = age <= stale_after(policy) and slave.answers
        yield EvidenceRow(observer=slave.label, about=node.label, says=says, text=text, age=age, fresh=fresh)


def _of_ssh(node: NodeState, mono: float) -> EvidenceRow:
    shell = node.shell
    if shell is None:
        return EvidenceRow(
            observer="ssh", about=node.label, says=Says.SILENT, text="not asked yet", age=None, fresh=False
        )
    age = max(0.0, mono - shell.mono)
    if shell.state is SshState.UP:
        says, text = {
            ProcessState.RUNNING: (Says.SEES, "the database process runs"),
            ProcessState.FROZEN: (Says.LOST, "the database process is frozen"),
            ProcessState.NONE: (Says.LOST, "there is no database process"),
            ProcessState.UNKNOWN: (Says.SILENT, "the host answers, its database process is not known"),
        }[shell.process]
    else:
        says = Says.SILENT
        text = {SshState.OFF: "not configured", SshState.DOWN: "no SSH"}.get(shell.state, "nothing is known")
        if shell.failure:
            text += f": {words.quoted(shell.failure)}"
    return EvidenceRow(
        observer="ssh", about=node.label, says=says, text=text, age=age, fresh=age <= _SHELL_FRESH
    )


def _of_hosts(snapshot: Snapshot, node: NodeState, mono: float) -> Iterable[EvidenceRow]:
    for opinion in snapshot.opinions:
        if opinion.kind is Witness.VIA_SSH and opinion.about == node.label:
            age = max(0.0, mono - opinion.mono)
            yield EvidenceRow(
                observer=f"via {opinion.by}",
                about=node.label,
                says=opinion.says,
                text=words.quoted(opinion.text),
                age=age,
                fresh=age <= OPINION_FRESH,
            )


def _of_witnesses(snapshot: Snapshot, mono: float) -> Iterable[EvidenceRow]:
    for opinion in snapshot.opinions:
        if opinion.kind is Witness.WITNESS:
            age = max(0.0, mono - opinion.mono)
            yield EvidenceRow(
                observer=opinion.by,
                about="this host",
                says=opinion.says,
                text=words.quoted(opinion.text),
                age=age,
                fresh=age <= OPINION_FRESH,
            )

"""How the roles become known, and how a change that another worker or a person made is adopted."""

from __future__ import annotations

from dataclasses import replace

from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind
from pfms_ha_tui.cluster.masters import newest_record, own_epoch, rightful_writers
from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Snapshot
from pfms_ha_tui.cluster.topology import channel, current, slaves_of

_DEFAULT = Policy()


def learn(
    snapshot: Snapshot, diagnosis: Diagnosis, facts: JournalFacts, policy: Policy = _DEFAULT
) -> JournalFacts:
    """The facts with what this snapshot teaches about the roles.

    The roles become known when the only rightful writer is confirmed by a slave that replicates from
    it, or by its own promotion record, or because the cluster has no other node. They become unknown
    again when another node than the known master writes and nothing confirms it. An older picture
    (its copy of the record is older than the journal) teaches nothing, nor does any picture while an
    operation is changing the roles.
    """
    if facts.operation is not None or diagnosis.kind is DiagnosisKind.SPLIT_BRAIN:
        return facts
    rightful = rightful_writers(snapshot, policy)
    if len(rightful) != 1:
        return facts
    master = rightful[0]
    own, record = own_epoch(master), newest_record(snapshot)
    if facts.epoch > 0 and master.label != facts.epoch_master and (own is None or own < facts.epoch):
        return facts
    promoted = (
        record is not None
        and record.master == master.label
        and record.epoch == own
        and record.epoch >= facts.epoch
    )
    if promoted and record is not None and record.epoch > facts.epoch:
        facts = replace(facts, epoch=record.epoch, epoch_master=record.master)
    if promoted or len(snapshot.nodes) == 1 or _followed(snapshot, master, policy):
        return replace(facts, roles_known=True, master=master.label)
    if facts.roles_known and facts.master != master.label:
        return replace(facts, roles_known=False)
    return facts


def _followed(snapshot: Snapshot, master: NodeState, policy: Policy) -> bool:
    for slave in slaves_of(snapshot, master):
        replication = channel(current(slave, snapshot, policy))
        if replication is not None and replication.io is IoState.YES and replication.sql:
            return True
    return False

"""What operations left behind becomes facts of the next judgement: promotions, and marks on nodes."""

from __future__ import annotations

import logging

from pfms_ha_tui.cluster.snapshot import Sync, SyncState
from pfms_ha_tui.config.settings import ClusterSettings
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.records import MarkKind, Records
from pfms_ha_tui.worker.memory import ClusterMemory
from pfms_ha_tui.worker.store import Epoch
from pfms_ha_tui.worker.threads import in_thread

log = logging.getLogger(__name__)

_BAD = {MarkKind.NEEDS_RESYNC, MarkKind.UNRESOLVED}


async def take_over(memory: ClusterMemory, records: Records, cluster: ClusterSettings) -> None:
    """Read the ledger's records into the journal's memory."""
    promotions, marks = await in_thread(lambda: (records.promotions(), records.marks()), name="ledger")
    last_failover = await in_thread(records.last_failover_at, name="ledger")
    known = memory.journal.epochs(memory.name)
    if promotions and (not known or promotions[0].promotion.epoch > known[-1].epoch):
        newest = promotions[0].promotion
        epoch = Epoch(
            epoch=newest.epoch,
            master=newest.master,
            previous=newest.old_master,
            worker=newest.worker,
            at=newest.at,
            reason="failover" if promotions[0].automatic else "switchover",
        )
        try:
            await memory.promoted(epoch)
        except WorkerError as error:
            log.warning("%s", error)
    if last_failover is not None:
        memory.failed_over(last_failover)
    failed = {mark.node: mark.reason for mark in marks if mark.kind in _BAD}
    untouched = {mark.node for mark in marks if mark.kind is MarkKind.UNTOUCHED}
    untouched -= {mark.node for mark in marks if mark.kind is MarkKind.UNRESOLVED}
    diverged = {mark.node: mark.reason for mark in marks if mark.kind is MarkKind.DIVERGED}
    for node in cluster.nodes:
        label = node.label
        now = memory.syncs.get(label, Sync())
        if label in failed:
            memory.set_sync(
                label,
                Sync(state=SyncState.FAILED, reason=failed[label], untouched=label in untouched),
            )
        elif now.state is SyncState.FAILED:
            memory.set_sync(label, Sync())
        memory.set_diverged(label, diverged.get(label))
        if label not in failed:
            # Whoever rebuilt it: a permission to do so must not outlive what it was given for.
            memory.may_resync(label, None)

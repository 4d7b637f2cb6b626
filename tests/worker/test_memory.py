"""The facts of a decision: what people, operations and observations put into them, and what expires."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.snapshot import Maintenance, Sync, SyncState
from pfms_ha_tui.config.settings import (
    Account,
    ClusterSettings,
    NodeSettings,
    SshSettings,
    WitnessSettings,
)
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.operations.view import OperationState, OperationView
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.memory import ClusterMemory, Preflight
from pfms_ha_tui.worker.protocol import EventsQuery
from pfms_ha_tui.worker.store import Epoch

CLUSTER = ClusterSettings(
    name="pandora",
    nodes=(NodeSettings(label="node1", host="127.0.0.1", ssh=SshSettings(host="127.0.0.1")),),
    admin=Account(user="root", password=Secret("")),
    replication=Account(user="slaveuser", password=Secret("")),
    policy=Policy(mode=Mode.AUTOMATIC),
    witnesses=(WitnessSettings(host="10.0.0.1", port=53),),
)


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def memory(tmp_path: Path, clock: Clock) -> AsyncIterator[ClusterMemory]:
    journal = Journal(tmp_path / "journal.db", now=clock)
    await journal.open()
    yield ClusterMemory(CLUSTER, journal, now=clock)
    await journal.close()


async def after_restart(memory: ClusterMemory, clock: Clock) -> ClusterMemory:
    await memory.journal.close()
    journal = Journal(memory.journal.path, now=clock)
    await journal.open()
    return ClusterMemory(CLUSTER, journal, now=clock)


async def kinds(memory: ClusterMemory) -> list[str]:
    return [event.kind for event in reversed(await memory.journal.events(EventsQuery()))]


async def test_nothing_is_known_at_first(memory: ClusterMemory) -> None:
    facts = memory.facts()
    assert (facts.epoch, facts.roles_known, facts.master, facts.maintenance) == (0, False, None, None)
    assert facts.preflight_at is None


async def test_the_policy_counts_the_witnesses(memory: ClusterMemory) -> None:
    assert memory.policy.witnesses == 1


async def test_maintenance_holds_over_a_restart_expires_by_itself_and_says_so_once(
    memory: ClusterMemory, clock: Clock
) -> None:
    pause = Maintenance(until=clock.at + 600, reason="disk change", by="carol")
    memory.pause(pause)
    again = await after_restart(memory, clock)
    assert again.facts().maintenance == pause
    clock.at += 601
    assert again.facts().maintenance is None
    assert again.expire()
    assert not again.expire()
    assert await kinds(again) == ["maintenance_started", "maintenance_ended"]
    await again.journal.close()


async def test_resume_ends_the_maintenance_with_its_actor(memory: ClusterMemory, clock: Clock) -> None:
    memory.pause(Maintenance(until=clock.at + 600, reason="", by="carol"))
    memory.resume("dave")
    assert memory.facts().maintenance is None
    (ended,) = await memory.journal.events(EventsQuery(limit=1))
    assert (ended.kind, ended.actor) == ("maintenance_ended", "dave")


async def test_a_mode_chosen_at_run_time_holds_over_a_restart(memory: ClusterMemory, clock: Clock) -> None:
    memory.set_mode(Mode.MANUAL, "carol")
    again = await after_restart(memory, clock)
    modes = [again.policy.mode]
    again.set_mode(Mode.AUTOMATIC, "carol")
    modes.append(again.policy.mode)
    assert modes == [Mode.MANUAL, Mode.AUTOMATIC]
    assert await kinds(again) == ["mode_changed", "mode_changed"]
    await again.journal.close()


async def test_a_promotion_is_remembered_but_roles_are_not_known_after_a_restart(
    memory: ClusterMemory, clock: Clock
) -> None:
    await memory.promoted(
        Epoch(epoch=3, master="node2", previous="node1", worker="w", at=clock.at, reason="r")
    )
    assert (memory.facts().epoch, memory.facts().master, memory.facts().roles_known) == (3, "node2", True)
    again = await after_restart(memory, clock)
    facts = again.facts()
    assert (facts.epoch, facts.epoch_master, facts.roles_known) == (3, "node2", False)
    await again.journal.close()


async def test_an_epoch_found_in_the_data_is_new_only_above_the_known_ones(memory: ClusterMemory) -> None:
    learnt = replace(memory.facts(), roles_known=True, master="node2", epoch=5, epoch_master="node2")
    found = memory.learn(learnt)
    assert found is not None
    assert (found.epoch, found.master) == (5, "node2")
    await memory.promoted(found)
    assert memory.learn(learnt) is None
    assert memory.learn(replace(learnt, epoch=4)) is None


async def test_the_last_failover_blocks_until_it_is_acknowledged(memory: ClusterMemory, clock: Clock) -> None:
    memory.failed_over(clock.at)
    again = await after_restart(memory, clock)
    assert again.facts().last_failover_at == clock.at
    assert again.acknowledge("carol")
    assert again.facts().last_failover_at is None
    assert not again.acknowledge("carol")
    await again.journal.close()


async def test_failed_resyncs_and_divergence_stay_until_they_are_lifted(
    memory: ClusterMemory, clock: Clock
) -> None:
    memory.set_sync("node2", Sync(state=SyncState.FAILED, reason="disk full"))
    memory.set_sync("node3", Sync(state=SyncState.RUNNING, percent=10.0))
    memory.set_diverged("node1", "2 transactions")
    again = await after_restart(memory, clock)
    assert again.facts().failed_resync == ("node2",)
    assert again.facts().diverged == {"node1": "2 transactions"}
    assert again.syncs["node3"].percent == 10.0
    again.set_sync("node2", Sync())
    again.set_diverged("node1", None)
    assert again.facts().failed_resync == ()
    assert again.facts().diverged == {}
    await again.journal.close()


def view(state: OperationState, *, dry_run: bool = False) -> OperationView:
    return OperationView(
        id=1,
        kind="failover",
        title="failover to node2",
        state=state,
        actor="carol",
        dry_run=dry_run,
        steps=(),
    )


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (view(OperationState.RUNNING), "failover to node2 is running, started by carol"),
        (view(OperationState.RUNNING, dry_run=True), None),
        (view(OperationState.DONE), None),
        (None, None),
    ],
)
async def test_only_a_real_running_operation_blocks_another(
    memory: ClusterMemory, operation: OperationView | None, expected: str | None
) -> None:
    memory.operation = operation
    assert memory.facts().operation == expected


async def test_what_is_wrong_with_the_ledger_is_a_fact_of_every_judgement(memory: ClusterMemory) -> None:
    assert memory.facts().ledger_fault is None
    memory.ledger_fault = "the ledger is damaged"
    assert memory.facts().ledger_fault == "the ledger is damaged"


async def test_a_journal_that_cannot_be_written_turns_the_preflight_red(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path / "nowhere" / "journal.db", now=clock)
    await journal.open()
    memory = ClusterMemory(CLUSTER, journal, now=clock)
    memory.preflight = Preflight((), 1.0)
    (complaint,) = memory.facts().preflight
    assert "the journal cannot be written" in complaint
    await journal.close()


async def test_a_node_that_needs_a_resync_needs_it_also_while_the_next_one_waits(
    memory: ClusterMemory,
) -> None:
    memory.set_sync("node1", Sync(state=SyncState.FAILED, reason="disk full"))
    for state in (SyncState.QUEUED, SyncState.RUNNING):
        memory.resyncs["node1"] = Sync(state=state)
        assert memory.syncs["node1"].state is state
        assert memory.facts().failed_resync == ("node1",)

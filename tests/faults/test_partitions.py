"""Real packets dropped between the worker and the nodes: short cuts, long ones, healed before and after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.faultlab import FaultLab, Pool, fault_lab
from support.operating import is_writable, until

from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import SandboxOptions

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

PAIR = SandboxOptions(netns=True, writer_rate=50)
THREE = SandboxOptions(netns=True, nodes=3, writer_rate=50)
HOLD = 6.0


def cuts(lab: FaultLab, which: str) -> Sequence[tuple[str, str]]:
    master, slave = lab.master.label, lab.slave.label
    return {
        "worker from master": [("worker", master)],
        "master from slave": [(master, slave)],
        "master from both": [("worker", master), (master, slave)],
    }[which]


@pytest.mark.parametrize(
    ("which", "hold"), [("worker from master", 5), ("master from slave", 5), ("master from both", 60)]
)
async def test_a_cut_of_ten_seconds_is_no_failover(which: str, hold: int, pool: Pool, tmp_path: Path) -> None:
    """A cut between two, longer than the hold; one from everybody, shorter than it."""
    async with fault_lab(tmp_path, await pool.cluster(PAIR), isolation_hold=hold) as lab:
        await lab.rows(5)
        partitions = lab.sandbox.partitions
        begun = time.monotonic()
        for one, other in cuts(lab, which):
            partitions.cut(one, other)
        if "worker" in cuts(lab, which)[0]:
            await lab.worker.until_state(lambda state: state.diagnosis.kind != "Healthy", "a diagnosis")
        await asyncio.sleep(max(0.0, begun + 10 - time.monotonic()))
        for one, other in cuts(lab, which):
            partitions.heal(one, other)
        await lab.worker.ready(90)
        await lab.no_failover()
        await lab.rows(5)
        await lab.caught_up()


async def test_a_master_cut_off_from_everybody_is_replaced_after_the_hold_and_locked_when_it_is_back(
    pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR), isolation_hold=HOLD) as lab:
        await lab.rows(5)
        lab.not_ours = (lab.master.label,)
        partitions = lab.sandbox.partitions
        begun = time.monotonic()
        for one, other in cuts(lab, "master from both"):
            partitions.cut(one, other)
        await lab.becomes_writable(lab.slave)
        await until(lambda: lab.sampler.opened(lab.slave.label, begun), "the eyes to see it")
        assert (lab.sampler.opened(lab.slave.label, begun) or begun) - begun >= HOLD
        done = await lab.worker.operation("failover")
        assert any("not fenced, which the policy accepts" in (step.text or "") for step in done.steps)
        await lab.hosts_file_names(lab.slave)
        await lab.rows(10)
        assert await is_writable(lab.master)
        for one, other in cuts(lab, "master from both"):
            partitions.heal(one, other)
        healed = time.monotonic()
        await lab.becomes_locked(lab.master)
        ended = await lab.worker.operation("rejoin", state=None)
        assert ended.state in (OperationState.DONE, OperationState.FAILED)
        assert lab.sampler.opened(lab.master.label, healed + 10) is None


async def test_a_worker_cut_off_from_everybody_does_nothing(pool: Pool, tmp_path: Path) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR), isolation_hold=5) as lab:
        partitions = lab.sandbox.partitions
        for node in lab.sandbox.nodes:
            partitions.cut("worker", node.label)
        begun = time.monotonic()
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "NoConnection" and time.monotonic() - begun > 8,
            "a diagnosis",
        )
        for node in lab.sandbox.nodes:
            partitions.heal("worker", node.label)
        await lab.worker.ready(60)
        await lab.no_failover()


async def test_held_policy_never_replaces_a_master_that_is_only_unreachable(
    pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR), isolation_hold=5, on_isolation="hold") as lab:
        partitions = lab.sandbox.partitions
        for one, other in cuts(lab, "master from both"):
            partitions.cut(one, other)
        begun = time.monotonic()
        await lab.worker.until_state(
            lambda state: state.diagnosis.kind == "MasterUnreachable" and time.monotonic() - begun > 8,
            "a verdict",
        )
        for one, other in cuts(lab, "master from both"):
            partitions.heal(one, other)
        await lab.worker.ready(90)
        await lab.no_failover()


async def test_two_workers_on_two_hosts_never_both_promote(pool: Pool, tmp_path: Path) -> None:
    """Each has a journal and a ledger of its own; three nodes, two of which could be promoted."""
    async with fault_lab(tmp_path, await pool.cluster(THREE)) as lab:
        await lab.add_worker("another host", place=lab.others[0]).ready()
        await lab.rows(10)
        lab.master.kill()

        async def one_writes() -> bool:
            return any([await is_writable(node) for node in lab.sandbox.nodes if node is not lab.master])

        await until(one_writes, "a new master")
        await lab.rows(10)
        for worker in lab.workers:
            await worker.until_state(
                lambda state: (
                    state.roles_known
                    and state.diagnosis.master not in (None, lab.master.label)
                    and state.epoch > 0
                ),
                "the roles to be known by both",
            )
        masters = {
            (state.diagnosis.master, state.epoch) for worker in lab.workers if (state := await worker.state())
        }
        assert len(masters) == 1
        done = [
            one.title
            for worker in lab.workers
            for one in await worker.operations()
            if one.kind == "failover" and one.state is OperationState.DONE
        ]
        assert len(done) == 1, done

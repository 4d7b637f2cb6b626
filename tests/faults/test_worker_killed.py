"""The worker is killed by SIGKILL in every step of an operation, and another one takes over its journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faultlab import FaultLab, LabWorker, Pool, fault_lab, writable_ones
from support.operating import until

from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, SandboxOptions
from pfms_ha_tui.worker.protocol import OrderKind

pytestmark = pytest.mark.timeout(170)

WHENS = ("before", "after")
SWITCHOVER = (
    "check",
    "catch_up",
    "lock",
    "reach",
    "detach",
    "promote",
    "hosts_file",
    "follow",
    "pandora",
    "event",
)
FAILOVER = ("guards", "fence", "choose", "drain", "detach", "promote", "hosts_file", "pandora", "event")
REJOIN = ("lock", "compare", "follow", "event")
OF_EACH = {"switchover": SWITCHOVER, "failover": FAILOVER, "rejoin": REJOIN}

PAIR = SandboxOptions(writer_rate=50, semi_sync=True)


def moments(kind: str, *, every: bool = False) -> list[str]:
    """In the suite each step once, before it or after it in turns; in the soak both."""
    return [
        f"{step}:{when}"
        for place, step in enumerate(OF_EACH[kind])
        for number, when in enumerate(WHENS)
        if every or (place + number) % 2 or step == "follow"
    ]


async def die(lab: FaultLab, kind: str, moment: str) -> LabWorker:
    """The worker dies at that moment of an operation; a new one on the same journal, which is ready."""
    worker = lab.worker
    await worker.stop()
    worker.start(doom=f"{kind}:{moment}")
    await worker.ready()
    if kind == "switchover":
        try:
            await worker.order(OrderKind.SWITCHOVER, lab.slave.label, lab.slave.label)
        except (PfmsError, OSError):
            assert True  # it may die before it can answer
    else:
        await lab.caught_up()
        lab.master.kill()
        if kind == "rejoin":
            await lab.becomes_writable(lab.slave)
            await worker.operation("failover")
            await lab.master.start()
    await worker.dead()
    worker.start()
    return worker


async def settle(lab: FaultLab, worker: LabWorker) -> None:
    """The operation is brought to an end, one node writes, the other one follows it, and no row is lost."""

    async def ended() -> bool:
        return all(one.finished_at is not None for one in await worker.operations())

    await until(ended, "the end of every operation", 60)
    await lab.sandbox.writer.resume()
    if not await writable_ones(lab.sandbox):
        # undone before the master was fenced; a worker that has never seen it alive asks a person
        assert next(one.state for one in await worker.operations()) is OperationState.FAILED
        await worker.until_state(
            lambda state: (
                not state.roles_known
                and (state.operation is None or state.operation.state is not OperationState.RUNNING)
            ),
            "a worker that asks for the master",
        )
        await worker.order(OrderKind.FAILOVER, lab.slave.label, lab.slave.label)
        await lab.becomes_writable(lab.slave)
        await until(ended, "the end of the failover", 60)
    for node in lab.sandbox.nodes:
        if not node.running:
            await node.start()
    await worker.ready(60)
    (master,) = await writable_ones(lab.sandbox)
    await lab.hosts_file_names(master)
    await lab.rows(10)
    await lab.assert_nothing_lost(master)
    lab.turn(master)
    await lab.caught_up()
    await lab.assert_nothing_lost(lab.slave)


async def story(lab: FaultLab, kind: str, which: list[str]) -> None:
    """One moment after the other, on one cluster whose roles change."""
    for moment in which:
        worker = await die(lab, kind, moment)
        try:
            await settle(lab, worker)
        except BaseException as error:
            error.add_note(f"--- the worker had been killed at {kind} {moment}")
            raise


@pytest.mark.parametrize("kind", ["switchover", "failover", "rejoin"])
async def test_a_worker_killed_in_any_step_is_succeeded_and_the_operation_ends(
    kind: str, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(PAIR)) as lab:
        await story(lab, kind, moments(kind))


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["switchover", "failover", "rejoin"])
async def test_soak_of_a_worker_killed_in_any_step(
    kind: str, flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    options = SandboxOptions(flavor=flavor, writer_rate=50, semi_sync=True)
    async with fault_lab(tmp_path, await pool.cluster(options)) as lab:
        for _ in range(3):
            await story(lab, kind, moments(kind, every=True))

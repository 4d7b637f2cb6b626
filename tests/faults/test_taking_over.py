"""What goes wrong while another node takes over: it dies itself, the old master wakes up, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faultlab import FaultLab, Pool, fault_lab, writable_ones
from support.latewrite import LateWrite
from support.operating import is_writable, until

from pfms_ha_tui.operations.view import OperationState, StepState
from pfms_ha_tui.sandbox import Flavor, SandboxOptions
from pfms_ha_tui.worker.protocol import OrderKind

pytestmark = pytest.mark.timeout(150)


def pair(flavor: Flavor = Flavor.MARIADB) -> SandboxOptions:
    """Semi-synchronous: whatever was acknowledged had been received, so nothing at all may be missing."""
    return SandboxOptions(flavor=flavor, writer_rate=100, semi_sync=True)


async def test_a_switchover_loses_nothing_and_tells_its_pause(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair(flavor))) as lab:
        await lab.rows(30)
        await lab.worker.order(OrderKind.SWITCHOVER, lab.slave.label, lab.slave.label)
        done = await lab.worker.operation("switchover")
        assert "writes paused for" in (done.text or ""), done
        await lab.rows(30)
        assert await writable_ones(lab.sandbox) == [lab.slave]
        await lab.hosts_file_names(lab.slave)
        await lab.comes_to_follow(lab.master, lab.slave)
        lab.turn(lab.slave)
        await lab.caught_up()
        for node in lab.sandbox.nodes:
            await lab.assert_nothing_lost(node)


@pytest.mark.parametrize(
    "moment", [pytest.param("detach:after", marks=pytest.mark.soak), "promote:before", "promote:after"]
)
async def test_a_slave_that_is_killed_while_it_is_promoted_leaves_one_master_at_most(
    moment: str, pool: Pool, tmp_path: Path
) -> None:
    async with fault_lab(tmp_path, await pool.cluster(pair())) as lab:
        await lab.caught_up()
        await lab.worker.stop()
        pid = lab.slave.mysqld_pid
        lab.worker.start(doom=f"failover:{moment}:{lab.slave.directory / 'main.pid'}")
        await lab.worker.ready()
        lab.master.kill()
        ended = await lab.worker.operation("failover", state=None)
        if any(step.name == "promote" and step.state is StepState.DONE for step in ended.steps):
            lab.sampler.promoted.add(lab.slave.label)
        assert lab.slave.mysqld_pid != pid
        assert not await writable_ones(lab.sandbox)
        for node in (lab.slave, lab.master):
            if not node.running:
                await node.start()
        await until(lambda: _one_writes_the_other_follows(lab), "one master", 60)
        await lab.sandbox.writer.resume()
        await lab.rows(20)
        (master,) = await writable_ones(lab.sandbox)
        await lab.hosts_file_names(master)
        await lab.assert_nothing_lost(master)


async def _one_writes_the_other_follows(lab: FaultLab) -> bool:
    if len(masters := await writable_ones(lab.sandbox)) != 1:
        return False
    state = await lab.worker.state()
    idle = state is not None and (state.operation is None or state.operation.state in _ENDED)
    return idle and state is not None and state.diagnosis.master == masters[0].label


_ENDED = (OperationState.DONE, OperationState.FAILED)


@pytest.mark.parametrize(
    "flavor",
    [Flavor.MARIADB, pytest.param(Flavor.MYSQL, marks=[pytest.mark.mysql, pytest.mark.soak])],
    indirect=True,
)
async def test_an_unfenced_zombie_is_locked_when_it_wakes_up_and_none_of_its_writes_survives(
    flavor: Flavor, pool: Pool, tmp_path: Path
) -> None:
    """Frozen and without SSH it cannot be fenced: the worker does nothing by itself, a person may."""
    options = SandboxOptions(flavor=flavor, writer_rate=50)
    sandbox = await pool.cluster(options)
    async with fault_lab(tmp_path, sandbox, on_isolation="hold", isolation_hold=5) as lab:
        await lab.rows(10)
        waiting = LateWrite(lab.sandbox, lab.master)
        await lab.caught_up()
        pid = lab.master.mysqld_pid
        await lab.master.ssh.stop()
        await lab.worker.until_state(lambda state: not state.readiness.ready, "the guard to be red")
        lab.master.freeze()
        waiting.send()
        state = await lab.worker.until_state(
            lambda state: state.diagnosis.kind in ("MasterHung", "MasterUnreachable"), "a verdict"
        )
        assert not state.readiness.ready
        assert not await lab.worker.operations()
        lab.not_ours = (lab.master.label,)  # nobody can close it
        await lab.worker.order(OrderKind.FAILOVER, lab.slave.label, lab.slave.label)
        done = await lab.worker.operation("failover")
        assert any("not fenced, which the policy accepts" in (step.text or "") for step in done.steps), done
        await lab.hosts_file_names(lab.slave)
        await lab.sandbox.writer.resume()
        await lab.rows(20)
        lab.master.thaw()
        await lab.becomes_locked(lab.master)
        assert lab.master.mysqld_pid == pid
        await until(lambda: not waiting.alive, "the end of the write that was waiting")
        assert not await waiting.is_on(lab.slave)
        await lab.master.ssh.start()
        ended = await lab.worker.operation("rejoin", state=None)
        if await waiting.is_on(lab.master):
            assert ended.state is OperationState.FAILED
            assert "diverged" in (ended.text or "")
            assert "tagente_datos" in (ended.text or "")
        else:
            assert ended.state is OperationState.DONE, ended
            assert not waiting.acknowledged
        assert not await is_writable(lab.master)
        await lab.rows(10)
        await lab.assert_nothing_lost(lab.slave)
        assert not await waiting.is_on(lab.slave)

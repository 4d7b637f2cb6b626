"""The worker is killed at every transition of an operation on real servers; a new one brings it to an end.

After each kill: the operation ends, exactly one node is writable, the other one follows it, and the hosts
file is one whole line that names a node. All the time: never two writable nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from support import dying_worker
from support.operating import Surgery, all_rows_on, follows, is_writable, surgery, until

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.view import OperationState
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

pytestmark = pytest.mark.timeout(1200)


async def run_and_die(kit: Surgery, ledger: Path, kind: str, params: object, at: int, when: str) -> bool:
    """Whether the worker was killed (else it brought the operation to its end)."""
    order = {
        "config": str(kit.sandbox.config_path),
        "ledger": str(ledger),
        "kind": kind,
        "params": params,
        "at": at,
        "when": when,
        "host_facts": {
            label: {"pid_file": facts.pid_file, "datadir": facts.datadir}
            for label, facts in kit.context.host_facts.items()
        },
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        dying_worker.__file__,
        json.dumps(order),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(dying_worker.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode in (0, -signal.SIGKILL), (out, err)
    return process.returncode != 0


@contextlib.asynccontextmanager
async def never_two_masters(sandbox: Sandbox) -> AsyncIterator[None]:
    """Sample both nodes all the time."""
    seen: list[str] = []

    async def watch() -> None:
        while True:
            # read-only looked at one after the other: the second answer is not older than the first
            with contextlib.suppress(SandboxError):
                first = await is_writable(sandbox.nodes[0])
                second = await is_writable(sandbox.nodes[1])
                if first and second and await is_writable(sandbox.nodes[0]):
                    seen.append("two writable nodes")
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert not seen


async def bring_to_an_end(kit: Surgery) -> OperationState | None:
    """What a worker does when it starts."""
    view = None
    for _ in range(20):
        entry = kit.ledger.unfinished(kit.cluster.name)
        if entry is None:
            break
        view = await kit.engine.recover(rebuild(entry.kind, entry.params, kit.context), entry)
        if view.state is not OperationState.INTERRUPTED:
            break
        await asyncio.sleep(0.5)
    assert kit.ledger.unfinished(kit.cluster.name) is None, view
    return view.state if view is not None else None


async def whole_pair(sandbox: Sandbox) -> tuple[SandboxNode, SandboxNode]:
    """(master, slave) of a pair in order."""
    writable = [node for node in sandbox.nodes if await is_writable(node)]
    assert len(writable) == 1
    master = writable[0]
    slave = next(node for node in sandbox.nodes if node is not master)
    await until(lambda: follows(slave, master), f"{slave.label} follows {master.label}", 90)
    line = sandbox.hosts_file.read_text().removesuffix("\n")
    assert line in {node.host for node in sandbox.nodes}
    return master, slave


def killed_when(flavor: Flavor, at: int) -> str | None:
    """In the suite before one transition and after the next; on MySQL, which starts slowly, every third."""
    if flavor is Flavor.MYSQL and at % 3:
        return None
    return "after" if at % 2 else "before"


async def switchovers(sandbox: Sandbox, ledger: Path, when: Callable[[int], str | None]) -> None:
    """One switchover after the other, each killed at the next transition, until one outlives it."""
    async with surgery(sandbox, ledger) as kit, never_two_masters(sandbox):
        new_master = sandbox.nodes[0]
        for at in range(60):
            moment = when(at)
            if moment is None:
                continue
            master, slave = await whole_pair(sandbox)
            params = {"master": master.label, "target": slave.label}
            killed = await run_and_die(kit, ledger, "switchover", params, at, moment)
            state = await bring_to_an_end(kit)
            new_master, _ = await whole_pair(sandbox)
            if state is OperationState.DONE:
                assert new_master is slave
                assert sandbox.hosts_file.read_text() == f"{slave.host}\n"
            if not killed:
                assert at > 20, "it must have been killed at many transitions"
                break
        else:
            pytest.fail("it never outlived its kills")
        await sandbox.writer.retarget(new_master.host)
        await sandbox.writer.wait_for_rows(10)
        await sandbox.writer.pause()
        await all_rows_on(sandbox, *sandbox.nodes)
        assert not kit.context.records.marks()


async def failovers(sandbox: Sandbox, ledger: Path, when: Callable[[int], str | None]) -> None:
    """One failover and rejoin after the other, each killed at the next transition, until both outlive it."""
    async with surgery(sandbox, ledger) as kit, never_two_masters(sandbox):
        outlived = {"failover": False, "rejoin": False}
        for at in range(60):
            moment = when(at)
            if moment is None:
                continue
            master, slave = await whole_pair(sandbox)
            await sandbox.writer.retarget(master.host)
            await sandbox.writer.resume()
            await sandbox.writer.wait_for_rows(5)
            await sandbox.writer.pause()
            await all_rows_on(sandbox, slave)
            master.kill()
            await master.wait_gone()
            params = {"old_master": master.label, "candidates": [slave.label], "by_person": True}
            outlived["failover"] |= not await run_and_die(kit, ledger, "failover", params, at, moment)
            await bring_to_an_end(kit)
            if not await is_writable(slave):
                # rolled back: what the worker decides again
                view = await kit.engine.run(rebuild("failover", params, kit.context), actor="worker")
                assert view.state is OperationState.DONE, view
            await sandbox.writer.retarget(slave.host)
            await sandbox.writer.resume()
            await sandbox.writer.wait_for_rows(5)
            await master.start()
            back = {"node": master.label, "master": slave.label}
            outlived["rejoin"] |= not await run_and_die(kit, ledger, "rejoin", back, at, moment)
            await bring_to_an_end(kit)
            if not await follows(master, slave):
                view = await kit.engine.run(rebuild("rejoin", back, kit.context), actor="worker")
                assert view.state is OperationState.DONE, view
            if all(outlived.values()):
                assert at > 15, "it must have been killed at many transitions"
                break
        else:
            pytest.fail("it never outlived its kills")
        await sandbox.writer.pause()
        await all_rows_on(sandbox, *sandbox.nodes)
        assert not kit.context.records.marks()


STORIES = pytest.mark.parametrize("story", [switchovers, failovers])
Story = Callable[[Sandbox, Path, Callable[[int], str | None]], Awaitable[None]]


@STORIES
async def test_killed_at_its_transitions_it_is_brought_to_an_end(
    flavor: Flavor, story: Story, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=50))
    await story(sandbox, tmp_path / "ledger.db", lambda at: killed_when(flavor, at))


@pytest.mark.soak
@STORIES
@pytest.mark.parametrize("when", ["before", "after"])
async def test_soak_of_kills_at_every_transition(
    flavor: Flavor, story: Story, when: str, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, writer_rate=50))
    await story(sandbox, tmp_path / "ledger.db", lambda _: when)

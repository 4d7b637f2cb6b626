"""The checks of a clone by themselves, on one cluster that they leave as it is: every obstacle, every way."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.cloning import nothing_left
from support.operating import Surgery, surgery

from pfms_ha_tui.config.settings import CloneMethod, Compression, Transfer
from pfms_ha_tui.nodes.shell import NodeShell, Process
from pfms_ha_tui.operations.clone import Clone, CloneParams, checking, peer
from pfms_ha_tui.operations.clone.checking import check
from pfms_ha_tui.operations.clone.host import Host
from pfms_ha_tui.operations.clone.proof import insane, look
from pfms_ha_tui.operations.view import CloneCheck
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions

pytestmark = pytest.mark.timeout(120)
PARAMS = CloneParams(target="node2", source="node1", master="node1")


class OldTools(NodeShell):
    """A host whose backup tool is of another series than its server."""

    programs: Path

    async def open_process(self, command: str) -> Process:
        return await super().open_process(f"export PATH={self.programs}:$PATH; {command}")


def old_tools(kit: Surgery, folder: Path) -> dict[str, NodeShell]:
    """A shell of such a host for each node."""
    for name in ("mariadb-backup", "mariabackup"):
        program = folder / name
        program.write_text("#!/bin/sh\necho 'mariadb-backup based on MariaDB server 10.4.1-MariaDB Linux'\n")
        program.chmod(0o755)
    shells: dict[str, NodeShell] = {}
    for label in kit.shells:
        shells[label] = shell = OldTools(kit.context.node(label), kit.cluster)
        shell.programs = folder
    return shells


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    sandbox = Sandbox(SandboxOptions())
    sandbox.start_now()
    yield sandbox
    sandbox.stop_now()


@pytest.fixture
async def kit(cluster: Sandbox, tmp_path: Path) -> AsyncIterator[Surgery]:
    async with surgery(cluster, tmp_path / "ledger.db") as found:
        yield found
        assert found.context.records.marks() == ()
    nothing_left(cluster)


async def checked(kit: Surgery, **asked: object) -> CloneCheck:
    params = CloneParams(**{"target": "node2", "source": "node1", "master": "node1", **asked})  # type: ignore[arg-type]
    return await check(Clone(kit.context, params))


async def test_what_is_possible_is_told_for_each_method_with_the_exact_commands(kit: Surgery) -> None:
    found = await checked(kit, method=CloneMethod.STREAM, bandwidth=20 * 2**20, threads=3)
    assert found.problems == ()
    assert {choice.method: choice.why_not is None for choice in found.methods} == {
        CloneMethod.STREAM: True,
        CloneMethod.STAGED: True,
        CloneMethod.PLUGIN: False,
        CloneMethod.SCRIPT: False,
    }
    commands = [line for step in found.steps for line in step.preview]
    assert any("--parallel=3" in line for line in commands)
    assert any("in 3 threads" in line and "at most 21.0 MB/s" in line for line in found.passed)
    password = kit.cluster.replication.password.reveal()
    assert not any(password in line for line in commands)


@pytest.mark.parametrize(("limit", "compressed"), [(1, False), (2**50, True)], ids=["faster", "slower"])
async def test_a_copy_is_compressed_only_where_the_link_was_found_slower_than_that(
    kit: Surgery, monkeypatch: pytest.MonkeyPatch, limit: int, compressed: bool
) -> None:
    for module in (peer, checking):
        monkeypatch.setattr(module, "FAST_LINK", limit)
    found = await checked(kit, method=CloneMethod.STREAM)
    commands = [line for step in found.steps for line in step.preview]
    assert any("zstd" in line for line in commands) == compressed
    told = "compressed by zstd" if compressed else "not compressed: the link carries"
    assert any(told in line for line in found.passed), found.passed
    demanded = await checked(kit, method=CloneMethod.STREAM, compression=Compression.ZSTD)
    assert any("zstd" in line for step in demanded.steps for line in step.preview)


async def test_obstacles_of_every_kind_are_named_at_once(kit: Surgery, tmp_path: Path) -> None:
    shells = old_tools(kit, tmp_path)
    kit.context = replace(kit.context, shells=shells.get)
    left = kit.sandbox.nodes[1].datadir
    leftover = left.parent / f"{left.name}.pfms-ha-old-000000000000"
    leftover.mkdir()
    try:
        found = await checked(kit, method=CloneMethod.STREAM, threads=99, bandwidth=1000)
    finally:
        leftover.rmdir()
        for shell in shells.values():
            await shell.close()
    for words in ("cannot copy a server", "99 threads", "would never end", "an earlier clone left"):
        assert any(words in problem for problem in found.problems), (words, found.problems)
    assert found.steps == ()
    assert {choice.method for choice in found.methods if choice.why_not is None} == set()


async def test_the_sites_script_needs_no_backup_tool(kit: Surgery, tmp_path: Path) -> None:
    script = tmp_path / "resync.sh"
    script.write_text("#!/bin/sh\n")
    settings = replace(kit.cluster, pandora=replace(kit.cluster.pandora, resync_script=str(script)))
    shells = old_tools(kit, tmp_path)
    kit.context = replace(kit.context, shells=shells.get, cluster=settings)
    try:
        found = await checked(kit, method=CloneMethod.SCRIPT)
        assert any("make it executable" in problem for problem in found.problems)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        found = await checked(kit, method=CloneMethod.SCRIPT)
    finally:
        for shell in shells.values():
            await shell.close()
    assert found.problems == ()
    assert any(str(script) in line for step in found.steps for line in step.preview)


async def test_what_speaks_against_it_from_outside_is_an_obstacle_too(kit: Surgery) -> None:
    found = await check(Clone(kit.context, PARAMS), "node2 is being resynced already")
    assert "node2 is being resynced already" in found.problems
    assert found.steps == ()


async def test_a_path_of_the_bytes_that_is_demanded_and_not_there_is_an_obstacle(kit: Surgery) -> None:
    node2 = replace(
        kit.context.node("node2"), ssh=replace(kit.context.node("node2").ssh, host="127.255.255.254")
    )
    nodes = tuple(node2 if node.label == "node2" else node for node in kit.cluster.nodes)
    kit.context = replace(kit.context, cluster=replace(kit.cluster, nodes=nodes))
    found = await checked(kit, method=CloneMethod.STREAM, transfer=Transfer.DIRECT)
    assert any("node1 cannot log in to node2 by SSH" in problem for problem in found.problems)
    found = await checked(kit, method=CloneMethod.STREAM)
    assert any("through this host" in line for line in found.passed)


async def test_a_path_that_a_method_cannot_go_is_refused_and_never_replaced_by_another(kit: Surgery) -> None:
    found = await checked(kit, method=CloneMethod.STAGED, transfer=Transfer.RELAY)
    assert any("never through this host" in problem for problem in found.problems)
    found = await checked(kit, transfer=Transfer.RELAY)
    assert found.problems == ()
    staged = next(choice for choice in found.methods if choice.method is CloneMethod.STAGED)
    assert "never through this host" in (staged.why_not or ""), "the list says what the checks would"
    assert any("through this host" in line for line in found.passed)


async def test_a_staged_copy_is_shown_to_be_prepared_once(kit: Surgery) -> None:
    found = await checked(kit, method=CloneMethod.STAGED)
    prepared = [line for step in found.steps for line in step.preview if "--prepare" in line]
    assert [line for line in prepared if "pfms-ha-backup-" not in line] == []
    assert len(prepared) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
async def test_a_datadir_that_is_a_mount_point_is_refused_with_the_way_out(
    kit: Surgery, tmp_path: Path
) -> None:
    place = tmp_path / "var" / "lib" / "mysql"
    place.mkdir(parents=True)
    if await _run("mount", "-t", "tmpfs", "tmpfs", str(place)) != 0:
        pytest.skip("cannot mount")
    try:
        (place / "ibdata1").touch()
        (place / "mysql").mkdir()
        found = await look(Host(kit.shells["node2"], "t0"), str(place))
    finally:
        assert await _run("umount", "-l", str(place)) == 0
    assert any(
        "is a mount point" in one and "a directory below the mount point" in one for one in insane(found)
    )


async def _run(*words: str) -> int:
    process = await asyncio.create_subprocess_exec(*words)
    return await process.wait()

"""Addresses that never clash, and partitions between network namespaces."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.network import LoopbackNetwork

SandboxFactory = Callable[[SandboxOptions], Awaitable[Sandbox]]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_two_networks_never_share_an_address(tmp_path: Path) -> None:
    first, second = LoopbackNetwork(tmp_path, 5), LoopbackNetwork(tmp_path, 5)
    assert len({*first.addresses, *second.addresses}) == 10
    taken = first.addresses[0]
    first.close()
    third = LoopbackNetwork(tmp_path, 1)
    assert third.addresses[0] not in second.addresses
    assert taken not in second.addresses
    second.close()
    third.close()


@needs_root
def test_a_server_on_all_addresses_is_told_as_the_reason(tmp_path: Path) -> None:
    script = (
        "import socket, sys; from pathlib import Path; from pfms_ha_tui.errors import SandboxError\n"
        "from pfms_ha_tui.sandbox.network import LoopbackNetwork\n"
        "server = socket.create_server(('0.0.0.0', 3306))\n"
        "try: LoopbackNetwork(Path(sys.argv[1]), 2)\n"
        "except SandboxError as error: print(error)\n"
    )
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            'ip link set lo up; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            script,
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "0.0.0.0:3306" in done.stdout


async def test_without_namespaces_there_are_no_partitions(sandbox_factory: SandboxFactory) -> None:
    sandbox = await sandbox_factory(SandboxOptions(nodes=1, rows=0, writer=False))
    assert sandbox.exec_prefix == ()
    with pytest.raises(SandboxError, match="netns"):
        _ = sandbox.partitions


@pytest.fixture
async def partitioned(sandbox_factory: SandboxFactory) -> Sandbox:
    """Two nodes and a worker in namespaces."""
    return await sandbox_factory(SandboxOptions(rows=10, netns=True))


def _namespace(process: int | str | None) -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


_PROBE = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], 3306), 1) as probe:
        probe.settimeout(2)
        print("answers" if probe.recv(1) else "closed")
except ConnectionRefusedError:
    print("refuses")
except OSError:
    print("silent")
"""


async def _seen(sandbox: Sandbox, label: str, *, through: str | None = None) -> str:
    """What a probe of a node sees from the worker, or from another node."""
    prefix = sandbox.exec_prefix if through is None else sandbox.node(through).prefix
    process = await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-c", _PROBE, sandbox.node(label).host, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode().strip()


@needs_root
@pytest.mark.netns
async def test_a_cut_parts_two_members_and_nobody_else(partitioned: Sandbox) -> None:
    network = partitioned.partitions
    assert await _seen(partitioned, "node1") == "answers"
    network.cut("worker", "node1")
    assert await _seen(partitioned, "node1") == "silent"
    assert await _seen(partitioned, "node2") == "answers"
    assert await _seen(partitioned, "node1", through="node2") == "answers"
    network.heal("node1", "worker")
    assert await _seen(partitioned, "node1") == "answers"
    network.cut("node1", "node2", one_way=True)
    assert await _seen(partitioned, "node1", through="node2") == "silent"
    network.heal("node1", "node2")
    network.cut("worker", "node1", how="reject")
    assert await _seen(partitioned, "node1") == "refuses"
    network.heal("worker", "node1")
    assert await _seen(partitioned, "node1") == "answers"
    with pytest.raises(SandboxError, match="node9"):
        network.cut("worker", "node9")


@needs_root
@pytest.mark.netns
async def test_a_cut_also_stops_what_is_already_connected(partitioned: Sandbox) -> None:
    await partitioned.writer.wait_for_rows(3)
    partitioned.partitions.cut("worker", "node1")
    before = (await partitioned.writer.stats()).acknowledged
    await asyncio.sleep(0.7)
    assert (await partitioned.writer.stats()).acknowledged <= before + 1
    partitioned.partitions.heal("worker", "node1")
    await partitioned.writer.wait_for_rows(3)


@needs_root
@pytest.mark.netns
async def test_a_blocked_node_is_alone_and_still_ours(partitioned: Sandbox) -> None:
    node1, node2 = partitioned.nodes
    await node2.block()
    assert await _seen(partitioned, "node2") == "silent"
    assert await _seen(partitioned, "node1", through="node2") == "silent"
    assert await node2.sql("SELECT 1 AS one") == [{"one": 1}]
    await node2.unblock()
    assert await _seen(partitioned, "node2") == "answers"
    await partitioned.writer.wait_for_rows(1)
    await partitioned.wait_for_slaves()
    assert node1.running


@needs_root
@pytest.mark.netns
async def test_this_process_can_enter_the_workers_place_and_comes_back(partitioned: Sandbox) -> None:
    before = _namespace("thread-self")
    with partitioned.partitions.entered():
        assert _namespace("thread-self") != before
        reader, writer = await asyncio.open_connection(partitioned.master.host, 3306)
    assert len(await asyncio.wait_for(reader.read(4), 20)) == 4
    writer.close()
    await writer.wait_closed()
    assert _namespace("thread-self") == before


@needs_root
@pytest.mark.netns
async def test_a_restarted_server_is_in_its_own_namespace_again(partitioned: Sandbox) -> None:
    node = partitioned.nodes[1]
    before = _namespace(node.mysqld_pid)
    await node.restart()
    assert _namespace(node.mysqld_pid) == before
    assert _namespace("self") != before

"""The nodes' SSH servers: key only, real commands, service control, forwarding, gigabytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from pfms_ha_tui.sandbox import Sandbox, SandboxNode, SandboxOptions

SandboxFactory = Callable[[SandboxOptions], Awaitable[Sandbox]]


async def _connect(
    sandbox: Sandbox, node: SandboxNode, *, user: str = "pandora", key: Path | None = None
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        node.host,
        node.ssh_port,
        username=user,
        client_keys=[str(key or sandbox.paths.ssh_key)],
        known_hosts=str(sandbox.paths.known_hosts),
        config=None,
        agent_path=None,
        login_timeout=20,
    )


@pytest.fixture
async def connection(shared_sandbox: Sandbox) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Logged in to node2."""
    connection = await _connect(shared_sandbox, shared_sandbox.nodes[1])
    yield connection
    connection.close()
    await connection.wait_closed()


def _pid(node: SandboxNode) -> int | None:
    return node.mysqld_pid


async def _run(connection: asyncssh.SSHClientConnection, command: str) -> tuple[int | None, str, str]:
    done = await connection.run(command)
    return done.exit_status, str(done.stdout), str(done.stderr)


async def test_a_command_has_its_output_and_its_exit_status(connection: asyncssh.SSHClientConnection) -> None:
    assert await _run(connection, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    killed = await connection.run("kill -9 $$")
    assert killed.exit_signal is not None
    assert killed.exit_signal[0] == "KILL"


async def test_service_control_is_that_of_the_nodes_own_server(
    shared_sandbox: Sandbox, connection: asyncssh.SSHClientConnection
) -> None:
    node1, node2 = shared_sandbox.nodes
    unit = node2.service
    master_pid = node1.mysqld_pid
    assert await _run(connection, f"systemctl is-active {unit}") == (0, "active\n", "")
    assert await _run(connection, f"systemctl show -p MainPID,ActiveState {unit}.service") == (
        0,
        f"MainPID={node2.mysqld_pid}\nActiveState=active\n",
        "",
    )
    assert (await _run(connection, f"systemctl status {unit}"))[0] == 0
    assert (await _run(connection, f"sudo -n systemctl stop {unit}"))[0] == 0
    assert _pid(node2) is None
    assert await _run(connection, f"systemctl is-active {unit}") == (3, "inactive\n", "")
    assert (await _run(connection, f"service {unit} start"))[0] == 0
    before = _pid(node2)
    assert before is not None
    assert (await _run(connection, f"systemctl restart {unit}"))[0] == 0
    assert _pid(node2) not in (None, before)
    assert node1.mysqld_pid == master_pid


async def test_a_server_killed_through_service_control_has_failed(
    shared_sandbox: Sandbox, connection: asyncssh.SSHClientConnection
) -> None:
    node = shared_sandbox.nodes[1]
    assert (await _run(connection, f"systemctl kill -s KILL {node.service}"))[0] == 0
    await node.wait_gone()
    command = f"for i in $(seq 200); do s=$(systemctl is-active {node.service}); "
    status, said, _ = await _run(
        connection, f'{command} [ "$s" = failed ] && break; sleep 0.05; done; echo $s'
    )
    assert (status, said) == (0, "failed\n")
    assert (await _run(connection, f"systemctl start {node.service}"))[0] == 0
    assert (await node.sql("SELECT 1 AS one"))[0]["one"] == 1


async def test_an_unknown_unit_is_answered_as_systemd_does(connection: asyncssh.SSHClientConnection) -> None:
    assert (await _run(connection, "systemctl is-active nginx"))[:2] == (4, "inactive\n")
    assert (await _run(connection, "systemctl start nginx"))[0] == 5
    status, said, _ = await _run(connection, "systemctl show -p LoadState,MainPID nginx")
    assert (status, said) == (0, "LoadState=not-found\nMainPID=0\n")


async def test_only_the_right_key_user_and_host_key_are_accepted(
    shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    node = shared_sandbox.nodes[1]
    with pytest.raises(asyncssh.PermissionDenied):
        await _connect(shared_sandbox, node, user="mallory")
    with pytest.raises(asyncssh.PermissionDenied):
        await _connect(shared_sandbox, node, key=node.directory / "ssh_host_key")
    other = tmp_path / "known_hosts"
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    other.write_text(f"[{node.host}]:{node.ssh_port} {key}")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect(node.host, node.ssh_port, known_hosts=str(other), config=None, agent_path=None)


async def test_a_connection_forwarded_through_a_node_leaves_from_that_node(
    shared_sandbox: Sandbox, connection: asyncssh.SSHClientConnection
) -> None:
    node1, node2 = shared_sandbox.nodes
    peers: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        writer.close()

    reader, writer = await connection.open_connection(node1.host, node1.port)
    assert len(await asyncio.wait_for(reader.read(4), 20)) == 4
    writer.close()
    async with await asyncio.start_server(note, node1.host, 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await connection.open_connection(node1.host, port)
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
    assert peers == [node2.host]
    with pytest.raises(asyncssh.ChannelOpenError):
        await connection.open_connection(node1.host, port)


async def test_much_data_passes_in_both_directions_unharmed(connection: asyncssh.SSHClientConnection) -> None:
    block = os.urandom(1024 * 1024)
    expected = hashlib.sha256(block * 64)
    async with connection.create_process("cat", encoding=None) as process:

        async def send() -> None:
            for _ in range(64):
                process.stdin.write(block)
                await process.stdin.drain()
            process.stdin.write_eof()

        sending = asyncio.create_task(send())
        received = hashlib.sha256()
        while data := await process.stdout.read(1024 * 1024):
            received.update(data)
        await sending
    assert received.hexdigest() == expected.hexdigest()


@pytest.mark.skipif(
    shutil.which("rsync") is None or shutil.which("ssh") is None, reason="needs rsync and ssh"
)
async def test_nodes_reach_each_other_by_ssh_and_rsync(
    shared_sandbox: Sandbox, connection: asyncssh.SSHClientConnection
) -> None:
    node1, node2 = shared_sandbox.nodes
    assert (await _run(connection, f"ssh {node1.host} systemctl is-active {node1.service}"))[1] == "active\n"
    (node2.directory / "home" / "file").write_text("content")
    assert (await _run(connection, f"rsync -a file {node1.host}:copy"))[0] == 0
    assert (node1.directory / "home" / "copy").read_text() == "content"


async def test_files_pass_by_sftp(
    shared_sandbox: Sandbox, connection: asyncssh.SSHClientConnection, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("content")
    target = shared_sandbox.nodes[1].directory / "home" / "by-sftp"
    async with connection.start_sftp_client() as sftp:
        await sftp.put(str(tmp_path / "file"), str(target))
    assert target.read_text() == "content"


async def test_a_stopped_ssh_server_refuses_and_comes_back_as_the_same_host(shared_sandbox: Sandbox) -> None:
    node = shared_sandbox.nodes[1]
    await node.ssh.stop()
    assert node.ssh.pid is None
    with pytest.raises(ConnectionRefusedError):
        await _connect(shared_sandbox, node)
    assert node.running
    await node.ssh.start()
    connection = await _connect(shared_sandbox, node)
    assert (await _run(connection, "echo back"))[1] == "back\n"
    connection.close()
    await connection.wait_closed()


async def test_a_frozen_ssh_server_says_nothing(shared_sandbox: Sandbox) -> None:
    node = shared_sandbox.nodes[1]
    node.ssh.freeze()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_connect(shared_sandbox, node), 0.5)
    finally:
        node.ssh.thaw()
    connection = await _connect(shared_sandbox, node)
    connection.close()
    await connection.wait_closed()


async def test_a_lost_connection_does_not_end_the_command(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    connection = await _connect(shared_sandbox, shared_sandbox.nodes[1])
    process = await connection.create_process(f"echo begun; sleep 0.5; echo ended > {tmp_path / 'mark'}")
    assert await process.stdout.readline() == "begun\n"
    connection.abort()
    for _ in range(600):
        if (tmp_path / "mark").exists():
            break
        await asyncio.sleep(0.05)
    assert (tmp_path / "mark").read_text() == "ended\n"


async def test_banner_and_message_of_the_day(sandbox_factory: SandboxFactory) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(
            nodes=1, rows=0, writer=False, ssh_banner="Authorised use only\n", ssh_motd="Welcome!\n"
        )
    )
    connection = await _connect(sandbox, sandbox.master)
    assert await _run(connection, "echo out") == (0, "Welcome!\nout\n", "")
    connection.close()
    await connection.wait_closed()

"""SSH to real hosts: commands, evidence, service control, and every way a login fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from support.fakeserver import Behaviour, FakeServer, eventually
from support.nodekit import client_key, locked_key, sandbox_cluster

from pfms_ha_tui.cluster.observation import ProcessState, Says, SshState
from pfms_ha_tui.config.settings import ClusterSettings, HostKeys, NodeSettings
from pfms_ha_tui.errors import ShellError
from pfms_ha_tui.nodes.service import NodeService
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.sandbox import Sandbox, SandboxNode, SandboxOptions


@pytest.fixture(scope="module")
def talkative() -> object:
    """One cluster whose hosts have a banner and a chatty login shell."""
    sandbox = Sandbox(
        SandboxOptions(
            rows=200, writer=False, ssh_banner="Authorised use only\n", ssh_motd="Welcome!\nload 0.1\n"
        )
    )
    sandbox.start_now()
    yield sandbox
    sandbox.stop_now()


@pytest.fixture
def sandbox(talkative: Sandbox) -> Sandbox:
    return talkative


@pytest.fixture
def cluster(sandbox: Sandbox) -> ClusterSettings:
    return sandbox_cluster(sandbox)


@pytest.fixture
async def shell(cluster: ClusterSettings) -> AsyncIterator[NodeShell]:
    opened = NodeShell(cluster.nodes[1], cluster)
    yield opened
    await opened.close()


def server(sandbox: Sandbox) -> SandboxNode:
    return sandbox.nodes[1]


def paths(sandbox: Sandbox) -> tuple[str, str]:
    """Pid file and datadir of the second node, as the server says them."""
    node = server(sandbox)
    return str(node.directory / "mysqld.pid"), f"{node.datadir}/"


async def login_error(cluster: ClusterSettings, **changes: object) -> ShellError:
    node = cluster.nodes[1]
    changed: NodeSettings = replace(node, ssh=replace(node.ssh, **changes))  # type: ignore[arg-type]
    shell = NodeShell(changed, cluster)
    try:
        with pytest.raises(ShellError) as caught:
            await shell.run("true", timeout=20)
    finally:
        await shell.close()
    return caught.value


async def test_a_commands_own_output_comes_without_banner_and_motd(shell: NodeShell) -> None:
    result = await shell.run("cat; echo err >&2; exit 3", timeout=20, input=b"in\xffput")
    assert (result.exit_status, result.stdout, result.stderr) == (3, "in\ufffdput", "err\n")
    assert not result.ok
    assert result.said == "err"


async def test_a_stream_begins_with_the_commands_first_byte(shell: NodeShell) -> None:
    process = await shell.open_process("head -c 100000 /dev/zero")
    try:
        data = await process.stdout.read()
    finally:
        process.close()
    assert data == bytes(100000)


async def test_a_signal_is_a_status_as_shells_say_it(shell: NodeShell) -> None:
    assert (await shell.run("kill -9 $$", timeout=20)).exit_status == 137


async def test_many_commands_share_one_connection(shell: NodeShell) -> None:
    results = await asyncio.gather(*(shell.run(f"echo {n}", timeout=30) for n in range(8)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(8)]


async def test_slow_and_talkative_commands_are_given_up_and_the_connection_stays(shell: NodeShell) -> None:
    process = await shell.open_process("sleep 0.1; echo still here")
    with pytest.raises(ShellError, match="did not end within") as slow:
        await shell.run("sleep 30", timeout=0.3)
    assert slow.value.code == "timeout"
    with pytest.raises(ShellError, match="printed more than 5000 bytes") as loud:
        await shell.run("yes", timeout=20, limit=5000)
    assert loud.value.code == "output"
    assert await process.stdout.read() == b"still here\n"
    process.close()


async def test_the_host_is_observed_in_one_look(sandbox: Sandbox, shell: NodeShell) -> None:
    seen = await shell.observe(*paths(sandbox))
    assert seen.state is SshState.UP
    assert seen.process is ProcessState.RUNNING
    assert seen.pid == server(sandbox).mysqld_pid
    assert seen.clock is not None
    assert abs(seen.clock - seen.at) < 5.0
    assert seen.disk_free is not None
    assert seen.disk_total is not None
    assert 0 < seen.disk_free <= seen.disk_total
    assert seen.can_fence is True
    assert seen.failure is None


async def test_a_frozen_server_is_told_from_a_running_one_and_from_none(
    sandbox: Sandbox, shell: NodeShell
) -> None:
    node = server(sandbox)
    node.freeze()
    try:
        assert (await shell.observe(*paths(sandbox))).process is ProcessState.FROZEN
    finally:
        node.thaw()
    node.kill()
    await node.wait_gone()
    try:
        gone = await shell.observe(*paths(sandbox))
        assert (gone.process, gone.pid) == (ProcessState.NONE, None)
    finally:
        await node.start()
    assert (await shell.observe(*paths(sandbox))).process is ProcessState.RUNNING


async def test_another_server_on_the_same_host_is_never_taken_for_ours(
    sandbox: Sandbox, shell: NodeShell
) -> None:
    other = sandbox.nodes[0]
    found = await shell.find_process(str(other.directory / "mysqld.pid"), str(other.datadir))
    assert found.pid == other.mysqld_pid
    nowhere = await shell.find_process("/nonexistent.pid", str(sandbox.root))
    assert (nowhere.state, nowhere.proved) == (ProcessState.NONE, False)


async def test_fencing_kills_a_running_and_a_frozen_server_and_proves_it(
    sandbox: Sandbox, shell: NodeShell
) -> None:
    node, service = server(sandbox), NodeService(shell)
    for frozen in (False, True):
        if frozen:
            node.freeze()
        pid = node.mysqld_pid
        found = await service.kill(*paths(sandbox))
        assert found.pid == pid
        assert not node.running
        assert not (await service.status()).running
        again = await service.kill(*paths(sandbox))
        assert again.state is ProcessState.NONE
        await service.start()
        status = await service.status()
        assert (status.active, status.main_pid) == ("active", node.mysqld_pid)


async def test_a_process_that_is_not_proved_ours_is_not_killed(sandbox: Sandbox, shell: NodeShell) -> None:
    with pytest.raises(ShellError, match="not killed") as caught:
        await NodeService(shell).kill(None, None)
    assert caught.value.code == "not_proved"
    assert all(node.running for node in sandbox.nodes)


async def test_a_service_is_stopped_for_certain_and_started(sandbox: Sandbox, shell: NodeShell) -> None:
    service = NodeService(shell)
    assert await service.name() == "mariadb"
    await service.stop(*paths(sandbox))
    assert not server(sandbox).running
    assert (await service.status()).active == "inactive"
    await service.start()
    assert server(sandbox).running


async def test_an_unknown_service_is_told_with_advice(cluster: ClusterSettings) -> None:
    node = replace(cluster.nodes[1], service="postgresql")
    shell = NodeShell(node, cluster)
    try:
        with pytest.raises(ShellError, match="knows no service postgresql"):
            await NodeService(shell).status()
        with pytest.raises(ShellError, match="failed"):
            await NodeService(shell).start()
    finally:
        await shell.close()


async def test_a_service_name_is_never_a_command(cluster: ClusterSettings, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    shell = NodeShell(replace(cluster.nodes[1], service=f"x; touch {evil}"), cluster)
    try:
        with pytest.raises(ShellError, match="is no name of a service"):
            await NodeService(shell).start()
    finally:
        await shell.close()
    assert not evil.exists()


async def test_a_second_pair_of_eyes_sees_what_there_is_to_see(sandbox: Sandbox, shell: NodeShell) -> None:
    master = sandbox.nodes[0]
    says, text = await shell.probe_through(master.host, master.port, 10.0)
    assert (says, "greets as" in text, "seen from node2" in text) == (Says.SEES, True, True)
    master.freeze()
    try:
        says, text = await shell.probe_through(master.host, master.port, 0.5)
        assert (says, "does not greet" in text) == (Says.LOST, True)
    finally:
        master.thaw()
    master.kill()
    await master.wait_gone()
    try:
        says, text = await shell.probe_through(master.host, master.port, 10.0)
        assert (says, "cannot be reached" in text) == (Says.LOST, True)
    finally:
        await master.start()
    with FakeServer(Behaviour(hang_up=True)) as closing:
        says, text = await shell.probe_through("127.0.0.1", closing.port, 10.0)
        assert (says, "closes the connection" in text) == (Says.LOST, True)


async def test_a_look_ends_as_a_proper_login(sandbox: Sandbox, cluster: ClusterSettings) -> None:
    """A connection dropped after its greeting counts as an error of the looker's host; 100 shut it out."""
    behaviour = Behaviour()
    with FakeServer(behaviour) as fake:
        target = replace(cluster.nodes[0], label="node3", host="127.0.0.1", port=fake.port)
        wider = replace(cluster, nodes=(*cluster.nodes, target))
        shell = NodeShell(cluster.nodes[1], wider)
        try:
            for _ in range(3):
                says, text = await shell.probe_through("127.0.0.1", fake.port, 10.0)
                assert (says, "greets" in text) == (Says.SEES, True), text
            assert await asyncio.to_thread(eventually, lambda: behaviour.logins == 3)
            assert await asyncio.to_thread(eventually, lambda: fake.connections == 0)
        finally:
            await shell.close()


async def test_without_ssh_the_second_pair_of_eyes_says_nothing(cluster: ClusterSettings) -> None:
    node = cluster.nodes[1]
    shell = NodeShell(replace(node, ssh=replace(node.ssh, port=1)), cluster)
    says, text = await shell.probe_through(cluster.nodes[0].host, 3306, 10.0)
    assert (says, "no SSH to node2" in text) == (Says.SILENT, True)
    seen = await shell.observe(None, None)
    assert (seen.state, seen.process) == (SshState.DOWN, ProcessState.UNKNOWN)
    assert seen.failure is not None
    off = NodeShell(replace(node, ssh=replace(node.ssh, enabled=False)), cluster)
    assert (await off.observe(None, None)).state is SshState.OFF


async def test_a_port_without_ssh_refuses(cluster: ClusterSettings) -> None:
    error = await login_error(cluster, port=1)
    assert (error.code, error.node) == ("refused", "node2")


async def test_a_port_with_another_service_is_no_ssh(cluster: ClusterSettings) -> None:
    error = await login_error(cluster, port=3306)
    assert error.code in ("protocol", "timeout", "closed")


async def test_a_name_that_does_not_exist(cluster: ClusterSettings) -> None:
    assert (await login_error(cluster, host="no-such-host.invalid")).code == "name_not_resolved"


async def test_a_frozen_ssh_server_times_out(sandbox: Sandbox, cluster: ClusterSettings) -> None:
    server(sandbox).ssh.freeze()
    try:
        error = await login_error(cluster, connect_timeout=0.5)
    finally:
        server(sandbox).ssh.thaw()
    assert error.code == "timeout"


async def test_a_key_that_the_host_does_not_know(cluster: ClusterSettings, tmp_path: Path) -> None:
    error = await login_error(cluster, key=client_key(tmp_path))
    assert error.code == "denied"
    assert error.hint is not None


async def test_a_key_that_cannot_be_read_or_is_none(cluster: ClusterSettings, tmp_path: Path) -> None:
    absent = await login_error(cluster, key=tmp_path / "absent")
    assert (absent.code, "cannot be read" in absent.reason) == ("key", True)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("not a key")
    assert "not a private key" in (await login_error(cluster, key=nonsense)).reason
    assert "passphrase" in (await login_error(cluster, key=locked_key(tmp_path))).reason


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(
    cluster: ClusterSettings, tmp_path: Path
) -> None:
    error = await login_error(cluster, known_hosts=tmp_path / "known_hosts")
    assert error.code == "host_key_unknown"
    assert "SHA256:" in error.reason
    assert error.hint is not None
    assert "ssh-keyscan" in error.hint
    assert not (tmp_path / "known_hosts").exists()


async def test_the_first_key_is_remembered_where_configured_and_a_changed_one_is_refused(
    sandbox: Sandbox, cluster: ClusterSettings, tmp_path: Path
) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    node = cluster.nodes[1]
    trusting = replace(node, ssh=replace(node.ssh, known_hosts=known, host_keys=HostKeys.FIRST_USE))
    for _ in range(2):
        shell = NodeShell(trusting, cluster)
        assert (await shell.run("echo in", timeout=20)).stdout == "in\n"
        await shell.close()
    assert len(known.read_text().splitlines()) == 1
    assert known.stat().st_mode & 0o077 == 0
    strict = NodeShell(replace(node, ssh=replace(node.ssh, known_hosts=known)), cluster)
    assert (await strict.run("echo in", timeout=20)).ok
    await strict.close()

    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    known.write_text(f"[{node.ssh.host}]:{node.ssh.port} {other}\n")
    for policy in HostKeys:
        error = await login_error(cluster, known_hosts=known, host_keys=policy)
        assert error.code == "host_key_changed", policy
    assert other in known.read_text()


async def test_a_known_hosts_file_that_cannot_be_read_or_understood(
    cluster: ClusterSettings, tmp_path: Path
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    assert (await login_error(cluster, known_hosts=directory)).code == "known_hosts"
    broken = tmp_path / "broken"
    broken.write_text("host with a line that is not one\n")
    assert (await login_error(cluster, known_hosts=broken)).code in ("known_hosts", "host_key_unknown")


async def test_a_lost_connection_is_made_anew(sandbox: Sandbox, shell: NodeShell) -> None:
    assert (await shell.run("echo one", timeout=20)).ok
    await server(sandbox).ssh.stop()
    with pytest.raises(ShellError):
        await shell.run("echo two", timeout=20)
    await server(sandbox).ssh.start()
    for _ in range(50):
        with contextlib.suppress(ShellError):
            assert (await shell.run("echo three", timeout=20)).stdout == "three\n"
            return
        await asyncio.sleep(0.1)
    pytest.fail("the connection did not come back")

"""A started sandbox is what a site has: servers that replicate, the accounts, a Pandora database."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pymysql
import pytest

from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxNode, SandboxOptions
from pfms_ha_tui.sandbox.guardian import processes_of
from pfms_ha_tui.sandbox.schema import SEQUENCE_MODULE

SandboxFactory = Callable[[SandboxOptions], Awaitable[Sandbox]]
TABLES = (
    "tagente",
    "tagente_modulo",
    "tagente_datos",
    "tagente_datos_string",
    "tagente_datos_inc",
    "tagente_datos_log4x",
    "tevento",
    "tevent_comment",
    "tevent_extended",
    "tdatabase",
    "tgrupo",
)


async def test_rows_written_on_the_master_reach_the_slave(shared_sandbox: Sandbox) -> None:
    node1, node2 = shared_sandbox.nodes
    await node1.sql("INSERT INTO tconfig (token, value) VALUES ('hello', 'there')", database="pandora")
    await shared_sandbox.wait_for_slaves()
    rows = await node2.sql("SELECT value FROM tconfig WHERE token = %s", ("hello",), database="pandora")
    assert rows == [{"value": "there"}]


async def test_both_nodes_hold_the_same_seed(shared_sandbox: Sandbox) -> None:
    await shared_sandbox.writer.pause()
    await shared_sandbox.wait_for_slaves()
    sums: list[dict[str, object]] = []
    for node in shared_sandbox.nodes:
        rows = await node.sql(f"CHECKSUM TABLE {', '.join(TABLES)}", database="pandora")
        sums.append({str(row["Table"]): row["Checksum"] for row in rows})
    await shared_sandbox.writer.resume()
    assert sums[0] == sums[1]
    assert None not in sums[0].values()


async def test_the_seed_has_the_wanted_size_and_is_recent(shared_sandbox: Sandbox) -> None:
    counted = "SELECT COUNT(*) AS n, UNIX_TIMESTAMP() - MAX(utimestamp) AS age FROM tagente_datos"
    row = (await shared_sandbox.master.sql(counted, database="pandora"))[0]
    assert row["n"] >= 20_000
    assert 0 <= row["age"] < 3600
    texts = await shared_sandbox.master.sql("SELECT evento FROM tevento LIMIT 1", database="pandora")
    assert "&#x20;" in texts[0]["evento"]


async def test_only_the_master_is_writable(shared_sandbox: Sandbox) -> None:
    node1, node2 = shared_sandbox.nodes
    assert (await node1.sql("SELECT @@read_only AS ro"))[0]["ro"] == 0
    assert (await node2.sql("SELECT @@read_only AS ro"))[0]["ro"] == 1


def _login(node: SandboxNode, user: str, password: str) -> str:
    connection = pymysql.connect(
        host=node.host, port=node.port, user=user, password=password, connect_timeout=10, read_timeout=10
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        return "\n".join(str(row[0]) for row in cursor.fetchall())


async def test_the_manuals_accounts_can_log_in_over_the_network(shared_sandbox: Sandbox) -> None:
    accounts = shared_sandbox.accounts
    for node in shared_sandbox.nodes:
        assert "REPLICATION SLAVE" in _login(node, accounts.replication.user, accounts.replication.password)
        assert "`pandora`.*" in _login(node, accounts.pandora.user, accounts.pandora.password)
        _login(node, accounts.admin.user, accounts.admin.password)
        with pytest.raises(pymysql.err.OperationalError):
            _login(node, accounts.admin.user, "wrong")
        with pytest.raises(pymysql.err.OperationalError):
            _login(node, "root", "")


async def test_no_secret_stands_in_a_process_list_or_a_readable_file(shared_sandbox: Sandbox) -> None:
    accounts = shared_sandbox.accounts
    secrets = [account.password for account in (accounts.admin, accounts.pandora, accounts.replication)]
    for pid in processes_of(shared_sandbox.root):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        assert not any(secret in command for secret in secrets)
    assert stat.S_IMODE(shared_sandbox.root.stat().st_mode) == 0o700
    for path in (shared_sandbox.config_path, shared_sandbox.pandora_conf, shared_sandbox.paths.ssh_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert repr(accounts).find(secrets[0]) == -1


async def test_the_generated_files_describe_the_cluster(shared_sandbox: Sandbox) -> None:
    config = tomllib.loads(shared_sandbox.config_path.read_text())
    cluster = config["clusters"]["sandbox"]
    assert [node["host"] for node in cluster["nodes"]] == [node.host for node in shared_sandbox.nodes]
    lines = Path(cluster["pandora_conf"]).read_text().splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert settings["ha_hosts"] == ", ".join(node.host for node in shared_sandbox.nodes)
    assert settings["ha_dbpass"] == shared_sandbox.accounts.admin.password
    assert Path(settings["ha_hosts_file"]).read_text() == shared_sandbox.master.host
    described = json.loads(json.dumps(shared_sandbox.describe()))
    assert [node["mysqld_pid"] for node in described["nodes"]] == [
        node.mysqld_pid for node in shared_sandbox.nodes
    ]


async def test_the_server_pid_is_where_the_server_says(shared_sandbox: Sandbox) -> None:
    for node in shared_sandbox.nodes:
        row = (await node.sql("SELECT @@pid_file AS pid_file, @@datadir AS datadir"))[0]
        assert int(Path(row["pid_file"]).read_text()) == node.mysqld_pid
        assert Path(row["datadir"]) == node.datadir


async def test_replication_is_by_position_as_the_manual_has_it(shared_sandbox: Sandbox) -> None:
    node2 = shared_sandbox.nodes[1]
    status = await node2.replication()
    assert status is not None
    if node2.flavor is Flavor.MARIADB:
        assert status["Using_Gtid"] == "No"
        assert status["Replicate_Do_DB"] == "pandora"
    else:
        assert status["Auto_Position"] == 0
        assert (await node2.sql("SELECT @@gtid_mode AS mode"))[0]["mode"] == "OFF"
    row = (await node2.sql("SELECT @@binlog_format AS format, @@sync_binlog AS sync, @@log_bin AS log_bin"))[
        0
    ]
    assert row == {"format": "ROW", "sync": 1, "log_bin": 1}


async def test_servers_have_identities_of_their_own(shared_sandbox: Sandbox) -> None:
    column = "@@server_uuid" if shared_sandbox.options.flavor is Flavor.MYSQL else "@@server_id"
    found = [(await node.sql(f"SELECT {column} AS identity"))[0]["identity"] for node in shared_sandbox.nodes]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("semi_sync", [False, True], ids=["asynchronous", "semi-synchronous"])
async def test_gtid_replication(sandbox_factory: SandboxFactory, flavor: Flavor, semi_sync: bool) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, gtid=True, semi_sync=semi_sync, rows=100))
    await sandbox.writer.wait_for_rows(5)
    await sandbox.writer.pause()
    await sandbox.wait_for_slaves()
    node1, node2 = sandbox.nodes
    assert await sandbox.writer.lost_on(node2) == []
    status = await node2.replication()
    assert status is not None
    if flavor is Flavor.MARIADB:
        assert status["Using_Gtid"] == "Slave_Pos"
        assert status["Gtid_IO_Pos"]
    else:
        assert status["Auto_Position"] == 1
        assert status["Executed_Gtid_Set"]
    clients = "Rpl_semi_sync_master_clients" if flavor is Flavor.MARIADB else "Rpl_semi_sync_source_clients"
    rows = await node1.sql(f"SHOW GLOBAL STATUS LIKE '{clients}'")
    assert [row["Value"] for row in rows if row["Value"] != "0"] == (["1"] if semi_sync else [])


async def test_three_nodes_and_settings_of_ones_own(sandbox_factory: SandboxFactory, flavor: Flavor) -> None:
    sandbox = await sandbox_factory(
        SandboxOptions(
            nodes=3,
            flavor=flavor,
            rows=0,
            writer=False,
            boot_read_only=False,
            variables={"max_connections": "33"},
            node_variables={"node3": {"max_connections": "44"}},
        )
    )
    found = [(await node.sql("SELECT @@max_connections AS n"))[0]["n"] for node in sandbox.nodes]
    assert found == [33, 33, 44]
    await sandbox.master.sql(
        "INSERT INTO tagente_datos VALUES (%s, 1, 1)", (SEQUENCE_MODULE,), database="pandora"
    )
    await sandbox.wait_for_slaves()
    for node in sandbox.nodes:
        assert (await node.sql("SELECT COUNT(*) AS n FROM tagente_datos", database="pandora"))[0]["n"] == 1
    await sandbox.nodes[2].restart()
    assert (await sandbox.nodes[2].sql("SELECT @@read_only AS ro"))[0]["ro"] == 0

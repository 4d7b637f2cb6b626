"""``pandora_server.conf`` is read as Pandora's own server reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.config import SettingsError, load
from pfms_ha_tui.config.pandora_conf import HostEntry, labels, parse

PATH = Path("/etc/pandora/pandora_server.conf")
FULL = """\
# Pandora FMS server
servername pandora-server-1
dbhost 10.0.0.1
dbport 3307
dbname pandora
dbuser pandora
dbpass of the server
ha_mode pandora
ha_hosts 10.0.0.1, 10.0.0.2
ha_dbuser root
ha_dbpass of the admin
repl_dbuser slaveuser
repl_dbpass of the slave
ha_sshuser operator
ha_sshport 2222
ha_resync /opt/resync.sh
ha_resync_log /var/log/resync.log
ha_connect_retries 4
ha_connect_delay 1
ha_interval 30
splitbrain_autofix 1
ha_max_splitbrain_retries 5
ha_max_resync_wait_retries 6
ha_resync_sleep 7
server_threshold 40
pandora_service_cmd /etc/init.d/pandora_server
"""


def conf(text: str | bytes) -> dict[str, str]:
    data = text.encode() if isinstance(text, str) else text
    return {key: entry.value for key, entry in parse(PATH, data).entries.items()}


def write(folder: Path, text: str | bytes, name: str = "pandora_server.conf") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dbhost 10.0.0.1", {"dbhost": "10.0.0.1"}),
        ("dbhost \t 10.0.0.1 \t", {"dbhost": "10.0.0.1"}),
        ("dbpass with some  blanks", {"dbpass": "with some  blanks"}),
        ("dbpass a#b", {"dbpass": "a#b"}),
        ("# dbhost a\n#dbhost b\ndbhost c", {"dbhost": "c"}),
        ("dbhost a\ndbhost b", {"dbhost": "b"}),
        ("DBHost a", {"dbhost": "a"}),
        ("dbhost a\r\ndbname b\r\n", {"dbhost": "a", "dbname": "b"}),
        ("dbhost", {}),
        ("dbhost\n\n", {}),
        ("  dbhost a", {}),
        ("1dbhost a", {}),
        ("\ufeffdbhost a", {"dbhost": "a"}),
        (b"dbpass caf\xe9", {"dbpass": "café"}),
        ("dbpass café", {"dbpass": "café"}),
        (b"\xff\xfe\x00\x00", {}),
        ("", {}),
    ],
)
def test_lines_are_taken_as_pandora_takes_them(text: str | bytes, expected: dict[str, str]) -> None:
    assert conf(text) == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_accepted(data: bytes) -> None:
    parse(PATH, data)


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("10.0.0.1", ["10.0.0.1"]),
        ("10.0.0.1,10.0.0.2", ["10.0.0.1", "10.0.0.2"]),
        (" 10.0.0.1 , db2.example.org ", ["10.0.0.1", "db2.example.org"]),
        ("10.0.0.1,#10.0.0.2,10.0.0.3", ["10.0.0.1", "10.0.0.3"]),
        ("10.0.0.1, # 10.0.0.2 ,10.0.0.3", ["10.0.0.1", "10.0.0.3"]),
        (",,10.0.0.1,,", ["10.0.0.1"]),
        ("#10.0.0.1", []),
    ],
)
@pytest.mark.parametrize("key", ["ha_hosts", "ha_host"])
def test_hosts_stand_in_order_without_those_commented_out(key: str, value: str, hosts: list[str]) -> None:
    assert [entry.host for entry in parse(PATH, f"{key} {value}".encode()).hosts()] == hosts


def test_the_right_spelling_of_ha_hosts_counts_before_the_manuals_other_one() -> None:
    both = parse(PATH, b"ha_hosts 10.0.0.1\nha_host 10.0.0.9")
    assert [entry.host for entry in both.hosts()] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "/var/spool/pandora/data_in/conf/pandora_ha_hosts.conf"),
        ("incomingdir /data/in", "/data/in/conf/pandora_ha_hosts.conf"),
        ("incomingdir /data/in/", "/data/in/conf/pandora_ha_hosts.conf"),
        ("incomingdir /data/in\nha_hosts_file /elsewhere/hosts", "/elsewhere/hosts"),
    ],
)
def test_the_hosts_file_lies_by_the_incoming_directory_unless_it_is_named(text: str, path: str) -> None:
    assert parse(PATH, text.encode()).hosts_file().value == path


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["10.0.0.1", "10.0.0.2"], ("node1", "node2")),
        (["db-a.example.org", "db-b.example.org"], ("db-a", "db-b")),
        (["db-a.one.org", "db-a.two.org"], ("node1", "node2")),
        (["db-a.example.org", "10.0.0.2"], ("db-a", "node2")),
        (["node2.example.org", "10.0.0.2"], ("node1", "node2")),
        (["fe80::1", "2001:db8::2"], ("node1", "node2")),
        ([f"{'x' * 40}.org", "b"], ("node1", "b")),
    ],
)
def test_labels_come_from_names_where_those_are_clear(hosts: list[str], expected: tuple[str, ...]) -> None:
    assert labels(tuple(HostEntry(host, at) for at, host in enumerate(hosts, 1))) == expected


def test_commenting_out_a_host_does_not_rename_the_others() -> None:
    assert labels(parse(PATH, b"ha_hosts #10.0.0.1,10.0.0.2").hosts()) == ("node2",)


def test_every_key_reaches_the_settings(tmp_path: Path) -> None:
    settings = load(write(tmp_path, FULL), environ={})
    (cluster,) = settings.clusters
    assert cluster.name == cluster.database == "pandora"
    assert [(node.label, node.host, node.port, node.order) for node in cluster.nodes] == [
        ("node1", "10.0.0.1", 3307, 0),
        ("node2", "10.0.0.2", 3307, 1),
    ]
    assert [(node.ssh.host, node.ssh.port, node.ssh.user) for node in cluster.nodes] == [
        ("10.0.0.1", 2222, "operator"),
        ("10.0.0.2", 2222, "operator"),
    ]
    assert (cluster.admin.user, cluster.admin.password.reveal()) == ("root", "of the admin")
    assert (cluster.replication.user, cluster.replication.password.reveal()) == ("slaveuser", "of the slave")
    assert cluster.policy.mode is Mode.MANUAL
    assert cluster.policy.connect_retries == 4
    assert cluster.policy.splitbrain_autofix
    pandora = cluster.pandora
    assert pandora.service_cmd == "/etc/init.d/pandora_server"
    assert (pandora.resync_script, str(pandora.resync_log)) == ("/opt/resync.sh", "/var/log/resync.log")
    assert (pandora.max_splitbrain_retries, pandora.max_resync_wait_retries) == (5, 6)
    assert (pandora.resync_sleep, pandora.server_threshold) == (7.0, 40.0)
    assert settings.warnings == ()


def test_pandoras_own_loop_does_not_slow_this_program_down(tmp_path: Path) -> None:
    (cluster,) = load(write(tmp_path, FULL), environ={}).clusters
    assert (cluster.policy.interval, cluster.policy.retry_gap) == (1.0, 0.1)


def test_pandoras_defaults_hold_for_what_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, "dbuser pandora\ndbpass p4ssw\nha_hosts 10.0.0.1\n")
    (cluster,) = load(path, environ={}).clusters
    assert cluster.name == "pandora"
    assert (cluster.admin.user, cluster.admin.password.reveal()) == ("pandora", "p4ssw")
    assert cluster.replication == cluster.admin
    assert cluster.nodes[0].port == 3306
    assert (cluster.nodes[0].ssh.user, cluster.nodes[0].ssh.port) == ("pandora", 22)
    assert str(cluster.pandora.hosts_file) == "/var/spool/pandora/data_in/conf/pandora_ha_hosts.conf"
    assert cluster.pandora.service_cmd == "service pandora_server"
    assert cluster.pandora.resync_script == "/usr/share/pandora_server/util/pandora_ha_resync_slave.sh"


def test_an_empty_value_counts_as_absent(tmp_path: Path) -> None:
    path = write(tmp_path, "dbuser a\ndbpass b\nha_hosts h\nha_dbuser \nha_dbpass \t\nha_sshport \n")
    (cluster,) = load(path, environ={}).clusters
    assert (cluster.admin.user, cluster.admin.password.reveal()) == ("a", "b")
    assert cluster.nodes[0].ssh.port == 22


def test_a_file_readable_by_everybody_is_warned_about(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    path.chmod(0o644)
    assert any("chmod o-r" in warning for warning in load(path, environ={}).warnings)


def test_a_file_that_everybody_can_change_is_warned_about(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    path.chmod(0o602)
    assert any("chmod o-w" in warning for warning in load(path, environ={}).warnings)


def test_what_pandora_ignores_is_said(tmp_path: Path) -> None:
    settings = load(
        write(tmp_path, f"{FULL}\n ha_dbport 1\n  dbpass other\nha_hosts 10.0.0.1,#10.0.0.2"), environ={}
    )
    assert any("dbpass begins with a blank" in warning for warning in settings.warnings)
    assert any("skips #10.0.0.2" in warning for warning in settings.warnings)
    assert settings.clusters[0].replication.password.reveal() == "of the slave"


def test_another_cluster_manager_is_warned_about(tmp_path: Path) -> None:
    settings = load(write(tmp_path, FULL.replace("ha_mode pandora", "ha_mode pacemaker")), environ={})
    assert any("pacemaker" in warning for warning in settings.warnings)


def test_a_host_named_twice_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"10\.0\.0\.1:3306 is already node1"):
        load(write(tmp_path, "dbuser a\ndbpass b\nha_hosts 10.0.0.1,10.0.0.1"), environ={})


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ("dbuser a\ndbpass b\n", None, "ha_hosts", "names no database node"),
        ("dbuser a\ndbpass b\nha_hosts #10.0.0.1", None, "ha_hosts", "names no database node"),
        ("dbuser a\ndbpass b\nha_hosts 10.0.0.1:3306", 3, "ha_hosts", "expects a host name"),
        ("dbpass b\nha_hosts 10.0.0.1", None, "ha_dbuser", "is missing"),
        ("dbuser a\nha_hosts 10.0.0.1", None, "ha_dbpass", "is missing"),
        ("dbuser a\ndbpass b\nha_hosts h\ndbport x", 4, "dbport", "expects a whole number"),
        ("dbuser a\ndbpass b\nha_hosts h\nha_sshport 70000", 4, "ha_sshport", "expects a whole number"),
        (
            "dbuser a\ndbpass b\nha_hosts h\nsplitbrain_autofix maybe",
            4,
            "splitbrain_autofix",
            "expects 0 or 1",
        ),
    ],
)
def test_a_fault_names_pandoras_own_key_and_line(
    tmp_path: Path, text: str, line: int | None, key: str, reason: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environ={})
    (fault,) = caught.value.found
    assert (fault.file, fault.line, fault.key) == (str(path), line, key)
    assert fault.reason.startswith(reason)


def test_the_cluster_is_named_after_the_database_where_that_is_a_label(tmp_path: Path) -> None:
    good = write(tmp_path, FULL.replace("dbname pandora", "dbname pandora_prod"))
    assert load(good, environ={}).clusters[0].name == "pandora_prod"
    odd = write(tmp_path, FULL.replace("dbname pandora", f"dbname {'x' * 50}"))
    assert load(odd, environ={}).clusters[0].name == "pandora"

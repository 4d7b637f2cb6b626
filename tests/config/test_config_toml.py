"""``config.toml``: every kind of value, what overrides what, and every fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.policy import Mode, OnIsolation
from pfms_ha_tui.config import Fault, SettingsError, load
from pfms_ha_tui.config.settings import (
    CloneMethod,
    ClusterSettings,
    Compression,
    ExtraTable,
    HostKeys,
    Settings,
    TlsMode,
    Transfer,
    WitnessSettings,
)
from pfms_ha_tui.masking import MASK

HEAD = '[clusters.c]\nadmin_user = "root"\nadmin_password = "hunter-two"\nreplication_user = "repl"\n'
HEAD += 'replication_password = "repl-secret"\n'
NODES = '[[clusters.c.nodes]]\nhost = "10.0.0.1"\n[[clusters.c.nodes]]\nhost = "10.0.0.2"\n'


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load(write(folder, text), environ=environ or {})


def cluster(folder: Path, settings: str = "", tables: str = NODES) -> ClusterSettings:
    return read(folder, f"{HEAD}{settings}\n{tables}").clusters[0]


def faults(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[Fault]:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, environ)
    return list(caught.value.found)


def fault(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Fault:
    (found,) = faults(folder, text, environ)
    return found


def test_a_minimal_file_has_every_default(tmp_path: Path) -> None:
    settings = read(tmp_path, HEAD + NODES)
    (found,) = settings.clusters
    assert found.policy.mode is Mode.MANUAL
    assert [node.label for node in found.nodes] == ["node1", "node2"]
    assert found.pandora.hosts_file is None
    assert found.pandora.service_cmd is None
    assert settings.source == tmp_path / "config.toml"
    assert settings.warnings == ()


def test_every_option_of_a_cluster_is_read(tmp_path: Path) -> None:
    found = cluster(
        tmp_path,
        """
        database = "pandora_prod"
        mode = "automatic"
        interval = "2s"
        connect_retries = 3
        retry_gap = "200ms"
        unresponsive_after = 6
        isolation_hold = "90s"
        on_isolation = "hold"
        require_fencing = false
        max_lag = "1m"
        warn_lag = 15.5
        recovery_block = "1h"
        clock_tolerance = "2s"
        stale_after = 8
        stall_after = "20s"
        splitbrain_autofix = true
        connect_timeout = "1s"
        read_timeout = 4
        statement_timeout = "1m"
        tls_mode = "verify-identity"
        hosts_file = "/srv/hosts.conf"
        service_cmd = "systemctl"
        resync_script = "/opt/resync"
        resync_log = "/var/log/resync"
        max_splitbrain_retries = 4
        max_resync_wait_retries = 5
        resync_sleep = "20s"
        honour_web_resync = true
        server_threshold = 60
        clone_method = "staged"
        clone_transfer = "relay"
        clone_compression = "off"
        clone_bandwidth = "50 MB/s"
        clone_threads = 8
        clone_staging_dir = "/backup"
        clone_catch_up_timeout = "2h"
        clone_stall_timeout = "1m"
        merge_archive_dir = "/archive"
        merge_batch_time = "1s"
        merge_max_rows_per_second = 5000
        merge_max_slave_lag = "5s"
        """,
        tables="""
        [[clusters.c.nodes]]
        label = "a"
        host = "db-a.example.org"
        port = 3307
        service = "mysql"
        disabled = true
        ssh_host = "10.1.1.1"
        [[clusters.c.nodes]]
        label = "b"
        host = "2001:db8::1"
        [[clusters.c.witnesses]]
        host = "10.0.0.254"
        port = 22
        ssh = true
        [[clusters.c.merge_tables]]
        table = "tagente_datos_log4x"
        key = ["id_agente_modulo", "utimestamp"]
        new_id = "id_tagente_datos_log4x"
        [clusters.c.hooks]
        any = "logger"
        failover_finished = "mail -s failover root"
        """,
    )
    policy = found.policy
    assert (policy.mode, policy.on_isolation) == (Mode.AUTOMATIC, OnIsolation.HOLD)
    assert (policy.interval, policy.connect_retries, policy.retry_gap) == (2.0, 3, 0.2)
    assert (policy.unresponsive_after, policy.isolation_hold) == (6.0, 90.0)
    assert (policy.max_lag, policy.warn_lag, policy.recovery_block) == (60.0, 15.5, 3600.0)
    assert (policy.clock_tolerance, policy.stale_after, policy.stall_after) == (2.0, 8.0, 20.0)
    assert policy.splitbrain_autofix
    assert not policy.require_fencing
    assert policy.witnesses == 1
    assert (found.timeouts.connect, found.timeouts.read, found.timeouts.statement) == (1.0, 4.0, 60.0)
    assert found.tls.mode is TlsMode.VERIFY_IDENTITY
    assert found.database == "pandora_prod"
    pandora = found.pandora
    assert (pandora.hosts_file, pandora.resync_log) == (Path("/srv/hosts.conf"), Path("/var/log/resync"))
    assert (pandora.service_cmd, pandora.resync_script) == ("systemctl", "/opt/resync")
    assert (pandora.max_splitbrain_retries, pandora.max_resync_wait_retries) == (4, 5)
    assert (pandora.resync_sleep, pandora.server_threshold) == (20.0, 60.0)
    assert pandora.honour_web_resync
    clone = found.clone
    assert (clone.method, clone.transfer, clone.compression) == (
        CloneMethod.STAGED,
        Transfer.RELAY,
        Compression.OFF,
    )
    assert (clone.bandwidth, clone.threads, clone.staging_dir) == (50_000_000, 8, Path("/backup"))
    assert (clone.catch_up_timeout, clone.stall_timeout) == (7200.0, 60.0)
    merge = found.merge
    assert (merge.archive_dir, merge.batch_time) == (Path("/archive"), 1.0)
    assert (merge.max_rows_per_second, merge.max_slave_lag) == (5000, 5.0)
    assert merge.tables == (
        ExtraTable(
            table="tagente_datos_log4x",
            key=("id_agente_modulo", "utimestamp"),
            new_id="id_tagente_datos_log4x",
        ),
    )
    first, second = found.nodes
    assert (first.label, first.host, first.port, first.order) == ("a", "db-a.example.org", 3307, 0)
    assert (first.service, first.disabled, first.ssh.host) == ("mysql", True, "10.1.1.1")
    assert (second.label, second.host, second.port, second.order) == ("b", "2001:db8::1", 3306, 1)
    assert (second.service, second.disabled, second.ssh.host) == (None, False, "2001:db8::1")
    assert found.witnesses == (WitnessSettings(host="10.0.0.254", port=22, ssh=True),)
    assert found.hooks == {"any": "logger", "failover_finished": "mail -s failover root"}


def test_a_node_overrides_the_ssh_settings_of_its_cluster(tmp_path: Path) -> None:
    key, other = write(tmp_path, "k", "key"), write(tmp_path, "k", "other-key")
    known = write(tmp_path, "", "known_hosts")
    first, second = cluster(
        tmp_path,
        f'ssh_key = "key"\nssh_known_hosts = "{known}"\nssh_port = 2200\nssh_user = "ops"\n'
        'ssh_host_keys = "first-use"\nssh_sudo = true\nssh_connect_timeout = 3',
        NODES
        + 'ssh_key = "other-key"\nssh_port = 2201\nssh_user = "root"\n'
        + "ssh_sudo = false\nssh_enabled = false\n",
    ).nodes
    assert (first.ssh.key, first.ssh.known_hosts, first.ssh.host_keys) == (key, known, HostKeys.FIRST_USE)
    assert (first.ssh.port, first.ssh.user, first.ssh.sudo) == (2200, "ops", True)
    assert (first.ssh.connect_timeout, first.ssh.enabled) == (3.0, True)
    assert (second.ssh.key, second.ssh.known_hosts) == (other, known)
    assert (second.ssh.port, second.ssh.user, second.ssh.sudo) == (2201, "root", False)
    assert not second.ssh.enabled


def test_several_clusters_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "".join((HEAD + NODES).replace("clusters.c", f"clusters.{name}") for name in ("b", "a", "c"))
    settings = read(tmp_path, text)
    assert [found.name for found in settings.clusters] == ["b", "a", "c"]


def test_the_worker_and_the_console_are_read(tmp_path: Path) -> None:
    text = """
    [worker]
    state_dir = "state"
    socket = "/run/x.sock"
    log_file = "log/worker.log"
    log_bytes = "1 MiB"
    admin_group = "dba"
    read_group = ""
    event_days = 30
    lag_days = 7
    [console]
    theme = "nord"
    [console.keys]
    quit = "q,f10"
    """
    settings = read(tmp_path, text + HEAD + NODES)
    worker = settings.worker
    assert (worker.state_dir, worker.socket) == (tmp_path / "state", Path("/run/x.sock"))
    assert (worker.log_file, worker.log_bytes) == (tmp_path / "log" / "worker.log", 2**20)
    assert (worker.admin_group, worker.read_group) == ("dba", None)
    assert (worker.event_days, worker.lag_days) == (30, 7)
    assert (settings.console.theme, settings.console.keys) == ("nord", {"quit": "q,f10"})


PANDORA = """
dbname pandora
dbuser pandora
dbpass of-the-server
ha_hosts 10.0.0.1,10.0.0.2
ha_sshuser ops
ha_connect_retries 9
splitbrain_autofix 1
ha_hosts_file /srv/hosts.conf
"""


def test_pandoras_file_gives_what_is_not_set(tmp_path: Path) -> None:
    write(tmp_path, PANDORA, "pandora_server.conf")
    text = '[clusters.c]\npandora_conf = "pandora_server.conf"\nconnect_retries = 3\nssh_port = 2222\n'
    (found,) = read(tmp_path, text).clusters
    assert found.name == "c"
    assert [node.host for node in found.nodes] == ["10.0.0.1", "10.0.0.2"]
    assert found.admin.password.reveal() == "of-the-server"
    assert (found.policy.connect_retries, found.policy.splitbrain_autofix) == (3, True)
    assert {(node.ssh.user, node.ssh.port) for node in found.nodes} == {("ops", 2222)}
    assert found.pandora.hosts_file == Path("/srv/hosts.conf")


def test_what_pandoras_file_gives_can_be_switched_off(tmp_path: Path) -> None:
    write(tmp_path, PANDORA, "pandora_server.conf")
    text = '[clusters.c]\npandora_conf = "pandora_server.conf"\nhosts_file = ""\nservice_cmd = ""\n'
    text += "splitbrain_autofix = false\n"
    (found,) = read(tmp_path, text).clusters
    assert (found.pandora.hosts_file, found.pandora.service_cmd) == (None, None)
    assert not found.policy.splitbrain_autofix


def test_nodes_of_the_file_replace_those_of_pandoras(tmp_path: Path) -> None:
    write(tmp_path, PANDORA + "dbport 3310\n", "pandora_server.conf")
    text = '[clusters.c]\npandora_conf = "pandora_server.conf"\n'
    text += '[[clusters.c.nodes]]\nlabel = "x"\nhost = "10.9.9.9"\n'
    (found,) = read(tmp_path, text).clusters
    assert [(node.label, node.host, node.port) for node in found.nodes] == [("x", "10.9.9.9", 3310)]


def test_the_administrators_account_stands_in_for_a_missing_replication_account(tmp_path: Path) -> None:
    settings = read(tmp_path, '[clusters.c]\nadmin_user = "root"\nadmin_password = "hunter-two"\n' + NODES)
    assert settings.clusters[0].replication == settings.clusters[0].admin
    assert any("replication" in warning for warning in settings.warnings)


# -- secrets


@pytest.mark.parametrize(
    "content", ["from a file", "from a file\n", "from a file\r\n", "from a file\nnot this\n"]
)
def test_a_password_is_the_first_line_of_its_file(tmp_path: Path, content: str) -> None:
    write(tmp_path, content, "secret")
    text = HEAD.replace('admin_password = "hunter-two"', 'admin_password_file = "secret"') + NODES
    settings = read(tmp_path, text)
    assert settings.clusters[0].admin.password.reveal() == "from a file"
    assert tmp_path / "secret" in settings.files


def test_a_password_is_taken_from_a_variable_of_the_environment(tmp_path: Path) -> None:
    text = HEAD.replace('admin_password = "hunter-two"', 'admin_password_env = "DB_PW"') + NODES
    settings = read(tmp_path, text, {"DB_PW": "from the environment"})
    assert settings.clusters[0].admin.password.reveal() == "from the environment"
    assert fault(tmp_path, text).reason == "there is no environment variable DB_PW"


def test_a_file_with_a_password_must_not_be_readable_by_everybody(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + NODES)
    path.chmod(0o604)
    with pytest.raises(
        SettingsError, match=rf"config.toml:3: clusters.c.admin_password: .*\(chmod o-rwx {path}\)"
    ):
        load(path, environ={})


def test_a_file_without_a_password_may_be_readable_by_everybody(tmp_path: Path) -> None:
    write(tmp_path, PANDORA, "pandora_server.conf")
    path = write(tmp_path, '[clusters.c]\npandora_conf = "pandora_server.conf"\n')
    path.chmod(0o644)
    assert load(path, environ={}).warnings == ()


def test_a_password_file_readable_by_everybody_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "open secret", "secret").chmod(0o644)
    text = HEAD.replace('admin_password = "hunter-two"', 'admin_password_file = "secret"') + NODES
    found = fault(tmp_path, text)
    assert found.key == "clusters.c.admin_password_file"
    assert found.hint == f"chmod o-rwx {tmp_path / 'secret'}"


def test_a_file_that_everybody_can_change_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + NODES)
    path.chmod(0o602)
    with pytest.raises(SettingsError, match="can be changed by everybody"):
        load(path, environ={})


@pytest.mark.parametrize("value", ["5", "true", "[]", '"\\u0000"'])
def test_a_wrong_password_value_is_not_repeated(tmp_path: Path, value: str) -> None:
    found = fault(tmp_path, HEAD.replace('"hunter-two"', value) + NODES)
    assert (found.line, found.key) == (3, "clusters.c.admin_password")
    assert " not " not in found.reason


def test_a_password_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    found = fault(tmp_path, HEAD + 'database = "hunter-two !"\n' + NODES)
    assert "hunter-two" not in str(found)
    assert MASK in str(found)


def test_two_ways_to_give_one_password_are_one_too_many(tmp_path: Path) -> None:
    found = fault(tmp_path, HEAD + 'admin_password_env = "X"\n' + NODES)
    assert (found.key, found.line) == ("clusters.c.admin_password_env", 6)


def test_no_secret_is_in_the_settings_as_text(tmp_path: Path) -> None:
    settings = read(tmp_path, HEAD + NODES)
    assert "hunter-two" not in repr(settings)
    assert MASK in repr(settings)


# -- the environment


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    text = '[worker]\nstate_dir = "a"\n[console]\ntheme = "light"\n' + HEAD + 'mode = "automatic"\n' + NODES
    environ = {
        "PFMS_HA_TUI_STATE_DIR": "/srv/state",
        "PFMS_HA_TUI_LOG_FILE": "/srv/log",
        "PFMS_HA_TUI_THEME": "colour-blind",
        "PFMS_HA_TUI_MODE": "observe",
        "PFMS_HA_TUI_ADMIN_PASSWORD": "another secret",
        "PFMS_HA_TUI_REPLICATION_PASSWORD": "a third secret",
    }
    settings = read(tmp_path, text, environ)
    assert (settings.worker.state_dir, settings.worker.log_file) == (Path("/srv/state"), Path("/srv/log"))
    assert settings.worker.socket == Path("/srv/state/worker.sock")
    assert settings.console.theme == "colour-blind"
    assert settings.clusters[0].policy.mode is Mode.OBSERVE
    assert settings.clusters[0].admin.password.reveal() == "another secret"
    assert settings.clusters[0].replication.password.reveal() == "a third secret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PFMS_HA_TUI_MODE", "auto"),
        ("PFMS_HA_TUI_THEME", "pink"),
        ("PFMS_HA_TUI_SOCKET", "/" + "x" * 107),
        ("PFMS_HA_TUI_STATE_DIR", "a\nb"),
        ("PFMS_HA_TUI_ADMIN_PASSWORD", "\udcff"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    found = fault(tmp_path, HEAD + NODES, {name: value})
    assert (found.file, found.key, found.line) == ("environment", name, None)


def test_an_almost_right_variable_is_warned_about(tmp_path: Path) -> None:
    settings = read(tmp_path, HEAD + NODES, {"PFMS_HA_TUI_STATEDIR": "x", "PFMS_HA_TUI_CACHE": "y"})
    (warning,) = settings.warnings
    assert "PFMS_HA_TUI_STATEDIR is not read (did you mean PFMS_HA_TUI_STATE_DIR?)" in warning


# -- faults


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("interval = true", "expects seconds"),
        ("interval = 0", "expects seconds"),
        ("interval = -1", "expects seconds"),
        ("interval = nan", "expects seconds"),
        ("interval = inf", "expects seconds"),
        ("interval = 1" + "0" * 400, "expects seconds"),
        ('interval = "soon"', "expects seconds"),
        ('interval = "5 parsec"', "expects seconds"),
        ('interval = ""', "expects seconds"),
        ('interval = "1s 5"', "expects seconds"),
        ("interval = 1979-05-27", "expects seconds"),
        ("connect_retries = 2.0", "expects a whole number"),
        ("connect_retries = true", "expects a whole number"),
        ("connect_retries = 0", "expects a whole number"),
        ('mode = "Automatic"', "expects one of"),
        ("mode = 1", "expects one of"),
        ("splitbrain_autofix = 1", "expects true or false"),
        ('database = "a b"', "expects a plain name"),
        ('database = ""', "expects a plain name"),
        ('clone_bandwidth = "5 furlongs"', "expects bytes"),
        ("clone_bandwidth = 1.5", "expects bytes"),
        ('clone_bandwidth = "20 kB"', "expects bytes"),
        ('tls_ca = "a\\nb"', "is not a usable path"),
        ("tls_ca = 1", "expects a path"),
        ('tls_ca = "~no-such-account/x"', "names the home of an account"),
        ('ssh_user = ""', "is empty"),
        ('ssh_user = "a\\tb"', "is longer than"),
        ("nodes = 1", "expects tables"),
        ("nodes = [1]", "expects a table"),
        ("nodes = [{}, 0, {}]", "expects a table"),
        ("hooks = 1", "expects a table"),
        ("merge_tables = [{}]", "is missing"),
        ('witnesses = [{ host = "a" }]', "is missing"),
        ('merge_tables = [{ table = "t", key = "k" }]', "expects a list"),
        ('merge_tables = [{ table = "t", key = ["k", 1] }]', "expects a plain name"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(tmp_path: Path, line: str, reason: str) -> None:
    nodes = "" if line.startswith("nodes") else NODES
    found = faults(tmp_path, f"{HEAD}{line}\n{nodes}")
    assert found[0].line == 6
    assert found[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("2.5", 2.5),
        ('"30"', 30.0),
        ('"500 ms"', 0.5),
        ('"1m"', 60.0),
        ('"1m 30s"', 90.0),
        ('"1M30S"', 90.0),
    ],
)
def test_durations_are_numbers_or_text(tmp_path: Path, text: str, seconds: float) -> None:
    assert cluster(tmp_path, f"interval = {text}").policy.interval == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("200000", 200_000),
        ('"200000"', 200_000),
        ('"1.5 MB"', 1_500_000),
        ('"64KiB"', 65_536),
        ('"1 g/s"', 10**9),
        ('""', None),
    ],
)
def test_sizes_are_numbers_or_text(tmp_path: Path, text: str, size: int | None) -> None:
    assert cluster(tmp_path, f"clone_bandwidth = {text}").clone.bandwidth == size


@pytest.mark.parametrize(
    ("text", "line", "key", "nearest"),
    [
        ("intervall = 1", 6, "clusters.c.intervall", "clusters.c.interval"),
        ("max-lag = 1", 6, "clusters.c.max-lag", "clusters.c.max_lag"),
        ("ha_sshuser = 1", 6, "clusters.c.ha_sshuser", "clusters.c.ssh_user"),
        ("repl_dbuser = 1", 6, "clusters.c.repl_dbuser", "clusters.c.replication_user"),
        ("zzzzzz = 1", 6, "clusters.c.zzzzzz", None),
        ('"" = 1', 6, 'clusters.c.""', None),
        ("node = []", 6, "clusters.c.node", "clusters.c.nodes"),
        ("ssh.key = 1", 6, "clusters.c.ssh.key", "clusters.c.ssh_key"),
        ("[clusters.c.tls]\nmode = 1", 7, "clusters.c.tls.mode", "clusters.c.tls_mode"),
        ("[clusters.c.policy]\nmax_lag = 1", 6, "clusters.c.policy", None),
        (
            "[[clusters.c.nodes]]\nhost = 'x'\nlable = 'y'",
            8,
            "clusters.c.nodes[1].lable",
            "clusters.c.nodes[1].label",
        ),
        (
            "[clusters.c.hooks]\nfailover_finish = ''",
            7,
            "clusters.c.hooks.failover_finish",
            "failover_finished",
        ),
        ("[wroker]", 6, "wroker", "worker"),
        ("[console]\ncolour = 'x'", 7, "console.colour", None),
        ("[console]\ntheme = 'solarised-dark'", 7, "console.theme", "solarized-dark"),
        ("mode = 'automatik'", 6, "clusters.c.mode", "automatic"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_valid_one(
    tmp_path: Path, text: str, line: int, key: str, nearest: str | None
) -> None:
    found = fault(tmp_path, f"{HEAD}{text}\n{NODES}")
    assert (found.line, found.key, found.nearest) == (line, key, nearest)


def test_a_key_of_a_cluster_at_the_top_is_sent_where_it_belongs(tmp_path: Path) -> None:
    found = fault(tmp_path, f"max_lag = 1\n{HEAD}{NODES}")
    assert (found.line, found.nearest) == (1, "clusters.NAME.max_lag")


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """
[worker]
state_dri = "x"
[console]
theme = "pink"
[clusters.c]
admin_user = 5
mode = "auto"
max_lag = 5
warn_lag = 6
ssh_key = "missing"
[[clusters.c.nodes]]
label = "no blanks"
host = "10.0.0.1:3306"
[[clusters.c.nodes]]
host = "a"
[[clusters.c.nodes]]
host = "A"
[clusters.d]
"""
    found = faults(tmp_path, text)
    assert [(fault.line, fault.key) for fault in found] == [
        (3, "worker.state_dri"),
        (5, "console.theme"),
        (6, "clusters.c.admin_password"),
        (7, "clusters.c.admin_user"),
        (8, "clusters.c.mode"),
        (10, "clusters.c.warn_lag"),
        (11, "clusters.c.ssh_key"),
        (13, "clusters.c.nodes[1].label"),
        (14, "clusters.c.nodes[1].host"),
        (18, "clusters.c.nodes[3].host"),
        (19, "clusters.d.nodes"),
        (19, "clusters.d.admin_user"),
        (19, "clusters.d.admin_password"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            '[[clusters.c.nodes]]\nlabel = "A"\nhost = "x"\n[[clusters.c.nodes]]\nlabel = "a"\nhost = "y"',
            "a is already the label",
        ),
        (
            '[[clusters.c.nodes]]\nhost = "x"\n[[clusters.c.nodes]]\nlabel = "b"\nhost = "x"',
            "x:3306 is already node1",
        ),
        ("nodes = []", "no node is named"),
        ("", "no node is named"),
        ('[[clusters.c.nodes]]\nlabel = "a"', "is missing"),
        ('tls_key = "config.toml"\n' + NODES, "is given without tls_cert"),
        ('tls_ca = "."\n' + NODES, " is not a regular file"),
        ('tls_ca = "nowhere"\n' + NODES, "/nowhere does not exist"),
        (NODES + 'ssh_key = "nowhere"', "/nowhere does not exist"),
        ('pandora_conf = "nowhere"\n' + NODES, "/nowhere does not exist"),
        ("warn_lag = 40\n" + NODES, "is 40s, more than max_lag (30s)"),
        ("unresponsive_after = 70\nisolation_hold = 60\n" + NODES, "is 70s, more than isolation_hold (1m)"),
        ("interval = 3\nstale_after = 5\n" + NODES, "is 3s, more than 1/2 of stale_after (5s)"),
        ("retry_gap = 8\nunresponsive_after = 5\n" + NODES, "is 8s, more than unresponsive_after"),
        ("read_timeout = 8\nunresponsive_after = 5\n" + NODES, "is 8s, more than unresponsive_after"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in fault(tmp_path, f"{HEAD}{text}\n").reason


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("interval = 10", "stale_after", 20.0),
        ("stale_after = 90", "isolation_hold", 90.0),
        ("unresponsive_after = 2", "isolation_hold", 60.0),
        ("unresponsive_after = 120", "isolation_hold", 120.0),
        ("max_lag = 5", "warn_lag", 5.0),
        ("retry_gap = 10", "unresponsive_after", 10.0),
        ("interval = 1", "stale_after", 5.0),
    ],
)
def test_a_default_is_fitted_to_what_was_chosen(tmp_path: Path, line: str, name: str, value: float) -> None:
    assert getattr(cluster(tmp_path, line).policy, name) == value


def test_the_time_out_of_a_read_is_fitted_to_a_quicker_judgement(tmp_path: Path) -> None:
    found = cluster(tmp_path, "unresponsive_after = 2\nread_timeout = 2")
    assert (found.policy.unresponsive_after, found.timeouts.read) == (2.0, 2.0)
    assert cluster(tmp_path, "unresponsive_after = 2").timeouts.read == 2.0


def test_a_missing_known_hosts_file_is_warned_about_unless_the_first_use_makes_it(tmp_path: Path) -> None:
    strict = read(tmp_path, f'{HEAD}ssh_known_hosts = "nowhere"\n{NODES}')
    assert any("nowhere" in warning for warning in strict.warnings)
    first_use = read(tmp_path, f'{HEAD}ssh_known_hosts = "nowhere"\nssh_host_keys = "first-use"\n{NODES}')
    assert first_use.warnings == ()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[clusters.c\n", 1, "is not valid TOML"),
        ("a = 1\na = 2\n", 2, "is not valid TOML"),
        ("a = 1\n\n[x]\ny = \n", 4, "is not valid TOML"),
        ('a = """\n\n', 3, "is not valid TOML"),
        ("a = 1979-99-99\n", 1, "is not valid TOML"),
        ("a = " + "[" * 5000, None, "is nested too deeply"),
        ("a = " + "9" * 5000 + "\n", None, "is not valid TOML"),
        ("", None, "no cluster is described"),
        ("clusters = 1", 1, "expects a table"),
        ("clusters = {}", 1, "no cluster is described"),
        ("[clusters]\nmode = 'manual'", 2, "expects a table"),
        ("[clusters.'a b']\n", 1, "the name of a cluster"),
    ],
)
def test_a_broken_file_is_told_with_the_line(
    tmp_path: Path, text: str, line: int | None, reason: str
) -> None:
    found = faults(tmp_path, text)[0]
    assert (found.line, found.file) == (line, str(tmp_path / "config.toml"))
    assert found.reason.startswith(reason)


def test_a_file_that_is_no_text_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"config.toml:2: is not UTF-8 text"):
        load(path, environ={})


def test_lines_are_counted_in_files_of_other_systems_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes((HEAD + "intervall = 1\n" + NODES).replace("\n", "\r\n").encode())
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"config.toml:6: "):
        load(path, environ={})


def test_a_missing_pandora_file_hides_no_other_fault_and_makes_none_up(tmp_path: Path) -> None:
    head = '[clusters.c]\npandora_conf = "absent.conf"\n'
    assert fault(tmp_path, head).reason.endswith("does not exist")
    found = faults(tmp_path, f'{head}mode = "automatik"\n[[clusters.c.nodes]]\nhost = "a"\nport = 99999\n')
    assert [one.line for one in found] == [2, 3, 6]

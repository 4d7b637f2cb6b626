"""Where settings, state and socket are looked for."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pfms_ha_tui.config import SettingsError, console_access, find_config, load, loading, places, processes

FILE = '[clusters.c]\nadmin_user = "a"\nadmin_password = "secret-word"\n[[clusters.c.nodes]]\nhost = "h"\n'


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of its own: /etc and /var/lib below a temporary folder, whose path is short (sockets)."""
    folder = tempfile.TemporaryDirectory(prefix="pfms-")
    tmp_path = Path(folder.name)
    monkeypatch.setattr(places, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    monkeypatch.setattr(places, "USUAL_PATH", tmp_path / "etc" / "pandora_server.conf")
    monkeypatch.setattr(loading, "USUAL_PATH", tmp_path / "etc" / "pandora_server.conf")
    monkeypatch.setattr(places, "SYSTEM_STATE", tmp_path / "var")
    monkeypatch.setattr(processes, "SYSTEM_STATE", tmp_path / "var")
    (tmp_path / "etc").mkdir()
    with folder:
        yield tmp_path


def put(path: Path, text: str = FILE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_the_first_place_that_exists_counts(machine: Path) -> None:
    environ = {"HOME": str(machine / "home")}
    assert find_config(environ=environ) is None
    pandora = put(machine / "etc" / "pandora_server.conf")
    assert find_config(environ=environ) == pandora
    own = put(machine / "home" / ".config" / "pfms-ha-tui" / "config.toml")
    assert find_config(environ=environ) == own
    system = put(machine / "etc" / "config.toml")
    assert find_config(environ=environ) == system
    environ["PFMS_HA_TUI_CONFIG"] = "/named/by/environment.toml"
    assert find_config(environ=environ) == Path("/named/by/environment.toml")
    assert find_config(Path("/named.toml"), environ=environ) == Path("/named.toml")


def test_the_folder_of_the_xdg_variable_counts_before_the_home(machine: Path) -> None:
    environ = {"HOME": str(machine / "home"), "XDG_CONFIG_HOME": str(machine / "xdg")}
    put(machine / "home" / ".config" / "pfms-ha-tui" / "config.toml")
    own = put(machine / "xdg" / "pfms-ha-tui" / "config.toml")
    assert find_config(environ=environ) == own
    environ["XDG_CONFIG_HOME"] = "relative"
    assert find_config(environ=environ) == machine / "home" / ".config" / "pfms-ha-tui" / "config.toml"


def test_a_relative_name_becomes_absolute_because_the_worker_leaves_the_folder(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine)
    assert find_config(Path("x.toml"), environ={}) == machine / "x.toml"


@pytest.mark.timeout(30)
def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(SettingsError, match="is not a regular file"):
        load(tmp_path / "pipe.toml", environ={})


def test_without_any_file_the_places_are_named(machine: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings found: none of .*config.toml.*pandora_server.conf"):
        load(environ={"HOME": str(machine)})


def test_a_named_file_that_is_missing_is_not_replaced_by_another(machine: Path) -> None:
    put(machine / "etc" / "config.toml")
    with pytest.raises(SettingsError, match="does not exist"):
        load(machine / "nowhere.toml", environ={})


def test_a_file_without_clusters_takes_the_one_of_pandoras_file(machine: Path) -> None:
    put(machine / "etc" / "pandora_server.conf", "dbuser a\ndbpass b\nha_hosts 10.0.0.1\n")
    put(machine / "etc" / "config.toml", '[console]\ntheme = "light"\n')
    settings = load(environ={})
    assert [cluster.name for cluster in settings.clusters] == ["pandora"]
    assert settings.console.theme == "light"


@pytest.mark.parametrize(
    ("name", "text", "clusters"),
    [
        ("a.toml", FILE, ["c"]),
        ("a.conf", "dbuser a\ndbpass b\nha_hosts h\n", ["pandora"]),
        ("settings", FILE, ["c"]),
        ("settings", "dbuser a\ndbpass b\nha_hosts h\n", ["pandora"]),
    ],
)
def test_both_kinds_of_file_are_told_apart(tmp_path: Path, name: str, text: str, clusters: list[str]) -> None:
    assert [cluster.name for cluster in load(put(tmp_path / name, text), environ={}).clusters] == clusters


def test_the_state_of_root_is_the_systems_and_that_of_others_their_own(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.state_dir({"HOME": "/root"}) == machine / "var"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert places.state_dir({"HOME": "/home/x"}) == Path("/home/x/.local/state/pfms-ha-tui")
    assert places.state_dir({"HOME": "/home/x", "XDG_STATE_HOME": "/s"}) == Path("/s/pfms-ha-tui")
    assert places.state_dir({}) == Path("/var/tmp/pfms-ha-tui-1234")


@pytest.mark.parametrize("sign", ["a", "ä"])
@pytest.mark.parametrize("euid", [0, 1234])
def test_a_socket_path_is_never_too_long_and_always_the_same(
    monkeypatch: pytest.MonkeyPatch, euid: int, sign: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    for length in range(1, 300):
        state = Path("/") / (sign * length)
        path = places.socket_path(state)
        assert path == places.socket_path(state)
        assert len(os.fsencode(path)) <= 107
        assert (path.parent == state) == (len(os.fsencode(state / "worker.sock")) <= 107)
    assert places.socket_path(Path("/" + "a" * 200)) != places.socket_path(Path("/" + "b" * 200))


def test_the_longest_allowed_path_can_be_bound(tmp_path: Path) -> None:
    folder = Path(f"/tmp/{tmp_path.name[:8]}-{os.getpid()}")
    folder.mkdir()
    path = folder / ("x" * (places.LONGEST_SOCKET - len(str(folder)) - 1))
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            with pytest.raises(OSError, match="too long"):
                server.bind(f"{path}x")
    finally:
        path.unlink(missing_ok=True)
        folder.rmdir()


def test_a_named_socket_that_is_too_long_is_a_fault(tmp_path: Path) -> None:
    path = put(tmp_path / "config.toml", f'[worker]\nsocket = "/{"x" * 107}"\n{FILE}')
    with pytest.raises(SettingsError, match=r"config.toml:2: worker.socket: is longer than the 107 bytes"):
        load(path, environ={})


# -- what a console needs


def test_a_console_finds_the_socket_whatever_is_wrong_with_the_clusters(tmp_path: Path) -> None:
    path = put(
        tmp_path / "config.toml",
        '[worker]\nstate_dir = "s"\n[console]\ntheme = "nord"\n[clusters.c]\nx = 1\n',
    )
    access = console_access(path, environ={})
    assert access.socket == tmp_path / "s" / "worker.sock"
    assert access.console.theme == "nord"
    assert access.source == path


def test_a_console_is_told_what_is_wrong_with_its_own_part(tmp_path: Path) -> None:
    path = put(tmp_path / "config.toml", '[console]\ntheme = "pink"\n')
    with pytest.raises(SettingsError, match="no theme"):
        console_access(path, environ={})
    with pytest.raises(SettingsError, match="does not exist"):
        console_access(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(SettingsError, match="not valid TOML"):
        console_access(put(tmp_path / "broken.toml", "["), environ={})


def test_a_console_without_settings_looks_for_the_worker_of_the_system(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    environ = {"HOME": str(machine / "home")}
    own = machine / "home" / ".local" / "state" / "pfms-ha-tui" / "worker.sock"
    assert console_access(environ=environ).socket == own
    system = put(machine / "var" / "worker.sock", "")
    assert console_access(environ=environ).socket == system
    put(own, "")
    assert console_access(environ=environ).socket == own
    assert console_access(environ={**environ, "PFMS_HA_TUI_STATE_DIR": "/s"}).socket == Path("/s/worker.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another account")
def test_a_console_may_look_without_being_allowed_to_read_the_settings(machine: Path) -> None:
    path = put(machine / "etc" / "config.toml", '[worker]\nstate_dir = "/elsewhere"\n' + FILE)
    for folder in (machine, *machine.parents):
        if folder != Path("/tmp") and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        access = console_access(environ={"HOME": "/nonexistent"})
        with pytest.raises(SettingsError, match="may not be read by this account"):
            load(path, environ={})
    finally:
        os.seteuid(0)
    assert access.source is None
    assert access.socket.name == "worker.sock"

"""``config check``: what counts, where it came from, and no secret in it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pfms_ha_tui.config import SettingsError, load, render_check
from pfms_ha_tui.errors import ConfigError

TEXT = """\
[worker]
state_dir = "state"
[clusters.prod]
pandora_conf = "pandora_server.conf"
mode = "automatic"
interval = 10
admin_password = "canary-one"
[clusters.prod.hooks]
any = "/bin/tell"
[[clusters.prod.witnesses]]
host = "10.0.0.254"
port = 53
[[clusters.prod.nodes]]
label = "db-a"
host = "10.0.0.1"
service = "mysqld"
[[clusters.prod.nodes]]
host = "10.0.0.2"
ssh_enabled = false
disabled = true
"""
PANDORA = "dbuser pandora\ndbpass canary-two\nha_dbuser root\nha_sshuser ops\nha_hosts 10.0.0.1\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    conf = tmp_path / "pandora_server.conf"
    conf.write_text(PANDORA, encoding="utf-8")
    conf.chmod(0o640)
    path = tmp_path / "config.toml"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o600)
    return path


def rows(report: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.startswith("  ")}


def test_every_value_that_counts_is_shown_with_its_origin(config: Path) -> None:
    report = render_check(load(config, environ={"PFMS_HA_TUI_THEME": "nord"}))
    found = rows(report)
    assert found["state_dir"] == [str(config.parent / "state"), "config.toml:2"]
    assert found["mode"] == ["automatic", "config.toml:5"]
    assert found["interval"] == ["10s", "config.toml:6"]
    assert found["stale_after"] == ["20s", "fitted", "to", "the", "others"]
    assert found["max_lag"] == ["30s", "default"]
    assert found["admin_user"] == ["root", "pandora_server.conf:3", "ha_dbuser"]
    assert found["admin_password"] == ["••••", "config.toml:7"]
    assert found["replication_password"] == ["••••", "pandora_server.conf:2", "dbpass"]
    assert found["theme"] == ["nord", "environment", "PFMS_HA_TUI_THEME"]
    assert found["hooks.any"] == ["/bin/tell"]
    assert found["witness"] == ["10.0.0.254:53"]
    assert "node db-a" in report
    assert "ssh ops@10.0.0.1:22" in report
    assert "service mysqld" in report
    assert "no SSH" in report
    assert "disabled" in report
    for file in (config, config.parent / "pandora_server.conf"):
        assert f"  read {file}" in report.splitlines()


def test_no_secret_is_shown(config: Path) -> None:
    assert "canary" not in render_check(load(config, environ={}))


def test_warnings_are_shown(config: Path) -> None:
    (config.parent / "pandora_server.conf").chmod(0o644)
    assert "  ! " in render_check(load(config, environ={}))


def test_every_fault_is_a_line_and_the_files_read_are_named(config: Path) -> None:
    config.write_text(TEXT + 'x = 1\n[consol]\n[clusters."b\\u001b[2Jc"]\n', encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(config, environ={})
    report = render_check(caught.value)
    assert report.splitlines()[0] == f"{len(caught.value.found)} faults in the settings"
    assert len([line for line in report.splitlines() if line.startswith("  ✖ ")]) == len(caught.value.found)
    assert f"  read {config}" in report.splitlines()
    assert "\x1b" not in report
    assert report in (report, str(caught.value))
    assert len(str(caught.value).splitlines()) == len(caught.value.found) + 1
    assert "\n" not in caught.value.reason


def test_one_fault_is_one_sentence(config: Path) -> None:
    config.write_text(TEXT + "x = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(config, environ={})
    assert str(caught.value) == f"{config}:21: clusters.prod.nodes[2].x: is not a known key"


def test_many_faults_end_in_a_count(config: Path) -> None:
    config.write_text("".join(f"x{number} = 1\n" for number in range(50)) + TEXT, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(config, environ={})
    assert len(caught.value.faults) == 50
    assert caught.value.reason.endswith("and 30 more")


def test_thousands_of_faults_take_no_more_than_moments(config: Path) -> None:
    config.write_text(TEXT + "".join(f"x{number} = 1\n" for number in range(8000)), encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(SettingsError) as caught:
        load(config, environ={})
    assert time.monotonic() - started < 20
    assert len(caught.value.faults) == 201
    assert caught.value.faults[-1] == "many more faults"


def test_any_config_error_can_be_shown() -> None:
    assert "is odd" in render_check(ConfigError("this is odd"))


def test_reading_settings_stays_light() -> None:
    program = (
        "import sys; import pfms_ha_tui.config;"
        "heavy = {'asyncssh', 'pymysql', 'textual', 'msgspec', 'asyncio', 'sqlite3', 'ssl', 'logging'};"
        "print(','.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""What can be typed, and what comes back when it is not understood or goes wrong."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from pfms_ha_tui import __version__, cli
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.parser import build_parser, duration
from pfms_ha_tui.masking import Secret


def commands() -> list[str]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices)
    raise AssertionError("the parser has no commands")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pfms_ha_tui", *words],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"pfms-ha-tui {__version__}\n"


@pytest.mark.parametrize("words", [("bogus",), ("status", "--bogus"), ("demo", "--nodes", "0"), ("config",)])
def test_an_unknown_word_ends_with_the_usage_status_and_names_the_help(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == Exit.USAGE
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_command_is_answered_with_the_nearest_one() -> None:
    assert "did you mean 'status'?" in run("statsu").stderr


def test_a_choice_that_does_not_exist_is_answered_with_those_that_do() -> None:
    assert "there is auto, direct, relay" in run("resync", "node2", "--transfer", "pigeon").stderr
    assert "64 KiB/s is the least" in run("resync", "node2", "--bandwidth", "10 kB/s").stderr


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == Exit.OK
    assert "usage: pfms-ha-tui" in done.stdout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), ("1.5h", 5400)],
)
def test_a_duration_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-5m", "5 parsecs", "1e9"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str) -> None:
    script = run("completion", shell).stdout
    for command in commands():
        assert command in script


def test_bash_completes_commands_and_their_options() -> None:
    script = run("completion", "bash").stdout
    probe = (
        script + "COMP_WORDS=(pfms-ha-tui sta); COMP_CWORD=1; _pfms_ha_tui; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(pfms-ha-tui status --na); COMP_CWORD=2; _pfms_ha_tui; echo ${COMPREPLY[@]}\n"
    )
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["status", "--nagios"]
    assert done.stderr == ""


def test_wrong_settings_are_told_in_sentences_with_a_status_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[clusters.prod]\nmoode = "automatic"\nnodes = 7\n')
    config.chmod(0o600)
    done = run("config", "check", "--config", str(config))
    assert done.returncode == Exit.CONFIG
    assert "moode" in done.stderr
    assert "mode" in done.stderr
    assert "nodes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_our_own_is_one_sentence_and_a_masked_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Secret("hunter2-canary")

    def broken(arguments: argparse.Namespace) -> int:
        raise RuntimeError("lost hunter2-canary")

    class BrokenParser:
        def parse_args(self, argv: object) -> argparse.Namespace:
            return argparse.Namespace(run=broken)

    monkeypatch.setattr(cli, "build_parser", BrokenParser)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["status"]) == Exit.FAILED
    told = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert str(report) in told
    assert told.count("\n") == 1
    assert "Traceback" not in told
    assert "Traceback" in report.read_text()
    assert "hunter2-canary" not in told + report.read_text()

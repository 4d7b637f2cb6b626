"""The option table, the dataclasses and config.example.toml say the same."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES

from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.config import load
from pfms_ha_tui.config.checks import OWN_THEMES, TEXTUAL_THEMES
from pfms_ha_tui.config.kinds import (
    Duration,
    File,
    Flag,
    Host,
    Kind,
    Maybe,
    OneOf,
    Pattern,
    SecretText,
    Size,
    Text,
    Whole,
    Words,
)
from pfms_ha_tui.config.options import CLUSTER, CONSOLE, MERGE_TABLE, NODE, WITNESS, WORKER, Option, Section
from pfms_ha_tui.config.pandora_conf import DEFAULTS
from pfms_ha_tui.config.settings import (
    ClusterSettings,
    ConsoleSettings,
    ExtraTable,
    HookEvent,
    NodeSettings,
    WitnessSettings,
    WorkerSettings,
)
from pfms_ha_tui.masking import Secret

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
SECTIONS = [
    (WORKER, WorkerSettings),
    (CONSOLE, ConsoleSettings),
    (CLUSTER, ClusterSettings),
    (NODE, NodeSettings),
    (WITNESS, WitnessSettings),
    (MERGE_TABLE, ExtraTable),
]
NOT_FIELDS = {"pandora_conf", "admin_password_file", "admin_password_env"}
NOT_FIELDS |= {"replication_password_file", "replication_password_env"}
ELSEWHERE = {
    # Filled from other tables, or by what the program itself knows.
    *("name", "nodes", "witnesses", "hooks", "tables", "keys", "order", "policy.witnesses", "pandora.conf"),
    *("policy.resync_retries", "policy.resync_hold", "policy.server_threshold"),
    *("policy", "tls", "timeouts", "pandora", "clone", "merge", "admin", "replication", "ssh"),
}


def pairs() -> Iterator[tuple[Section, type, Option]]:
    for section, form in SECTIONS:
        for option in section.options:
            yield section, form, option


ALL = list(pairs())
IDS = [f"{section.name}.{option.key}" for section, _, option in ALL]


def field_of(form: type, into: str) -> tuple[object, object]:
    """Type and default of a field, dotted below ``form``."""
    # SSH stands in the cluster's table for all of its nodes.
    at: object = NodeSettings if into.startswith("ssh.") else form
    default: object = dataclasses.MISSING
    for name in into.split("."):
        assert isinstance(at, type)
        hints = typing.get_type_hints(at)
        default = {field.name: field.default for field in dataclasses.fields(at)}[name]
        at = hints[name]
    return at, default


def accepted(hint: object) -> set[object]:
    """The types of a union, without None."""
    return set(typing.get_args(hint)) - {type(None)} if isinstance(hint, types.UnionType) else {hint}


def given_by(kind: Kind) -> object:
    """The type a kind reads."""
    if isinstance(kind, OneOf):
        return kind.words
    if isinstance(kind, Maybe):
        return given_by(kind.of)
    if isinstance(kind, Words):
        return tuple[str, ...]
    for form, read in (
        (Flag, bool),
        (Whole, int),
        (Size, int),
        (Duration, float),
        (File, Path),
        (SecretText, Secret),
        (Text, str),
        (Pattern, str),
        (Host, str),
    ):
        if isinstance(kind, form):
            return read
    raise AssertionError(f"{kind} has no type here")


@pytest.mark.parametrize(("section", "form", "option"), ALL, ids=IDS)
def test_an_option_fills_a_field_of_its_own_type(section: Section, form: type, option: Option) -> None:
    if option.key in NOT_FIELDS:
        return
    hint, _ = field_of(form, option.into)
    assert accepted(hint) == {given_by(option.kind)}


@pytest.mark.parametrize(("section", "form", "option"), ALL, ids=IDS)
def test_an_option_that_may_be_none_fills_a_field_that_may_be_none(
    section: Section, form: type, option: Option
) -> None:
    if option.key in NOT_FIELDS or isinstance(option.kind, SecretText):
        return
    hint, _ = field_of(form, option.into)
    empties = isinstance(option.kind, Maybe) or getattr(option.kind, "empty", False)
    if empties:
        assert isinstance(hint, types.UnionType), f"{option.key} reads None"


@pytest.mark.parametrize(("section", "form"), SECTIONS, ids=lambda value: getattr(value, "name", ""))
def test_every_field_of_the_settings_can_be_set(section: Section, form: type) -> None:
    reached = {option.into for option in section.options}

    def walk(at: type, prefix: str) -> Iterator[str]:
        hints = typing.get_type_hints(at)
        for field in dataclasses.fields(at):
            name = f"{prefix}{field.name}"
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                assert isinstance(hint, type)
                yield from walk(hint, f"{name}.")
            else:
                yield name

    missing = {name for name in walk(form, "") if name not in reached}
    assert {
        name for name in missing if name.split(".")[-1] not in ELSEWHERE and name not in ELSEWHERE
    } == set()


def test_every_option_has_one_sentence_of_its_own() -> None:
    for section, _, option in ALL:
        assert re.fullmatch(r"[^\n]{8,100}[^.]\.", option.doc), f"{section.name}.{option.key}"


def test_every_key_of_pandora_with_a_default_is_used() -> None:
    used = {option.pandora for _, _, option in ALL}
    assert set(DEFAULTS) - {"incomingdir"} <= used


def uncommented(text: str) -> str:
    """The example with every line that shows a setting made active."""
    return re.sub(r"(?m)^#(?=[\[A-Za-z_])", "", text)


def test_every_line_of_the_example_is_prose_or_a_setting() -> None:
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        assert re.match(r"$|# |#$|#?\[|#?[a-z_]+ = ", line), line
        assert len(line) <= 110, line


@pytest.mark.parametrize(("section", "form", "option"), ALL, ids=IDS)
def test_the_example_documents_every_key_with_its_default(
    section: Section, form: type, option: Option
) -> None:
    data = tomllib.loads(uncommented(EXAMPLE.read_text(encoding="utf-8")))
    cluster = data["clusters"]["pandora"]
    table = {
        "worker": data["worker"],
        "console": data["console"],
        "clusters.NAME": cluster,
        "nodes": cluster["nodes"][0],
        "witnesses": cluster["witnesses"][0],
        "merge_tables": cluster["merge_tables"][0],
    }[section.name]
    assert option.key in table
    if option.key in NOT_FIELDS or option.key == "mode":
        return
    _, default = field_of(form, option.into)
    shown = option.kind.read(table[option.key])
    if default is not dataclasses.MISSING:
        assert shown == default


def test_the_example_documents_every_hook_event_and_every_word() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for event in HookEvent:
        root = re.sub(r"_(started|finished|failed)$", "", event.value)
        assert root in text, event
    for _, _, option in ALL:
        if isinstance(option.kind, OneOf):
            for word in option.kind.words:
                assert isinstance(word, StrEnum)
                assert re.search(rf"\b{re.escape(word.value)}\b", text), word
    for section in (CLUSTER, CONSOLE):
        for name in (*section.arrays, *section.maps):
            assert re.search(rf"(?m)^#\[+(clusters\.pandora|console)\.{name}\]", text), name


def write_example(folder: Path, text: str) -> Path:
    """The example beside files that it names, so that it can be loaded anywhere."""
    conf = folder / "pandora_server.conf"
    conf.write_text("dbuser pandora\ndbpass p4nd0ra-x\nha_hosts 10.0.0.1,10.0.0.2\n", encoding="utf-8")
    conf.chmod(0o600)
    text = text.replace("/etc/pandora/pandora_server.conf", str(conf))
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_the_example_as_it_is_loads_cleanly(tmp_path: Path) -> None:
    path = write_example(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    settings = load(path, environ={"HOME": str(tmp_path)})
    assert settings.warnings == ()
    (cluster,) = settings.clusters
    assert cluster.policy == Policy(mode=Mode.AUTOMATIC)
    assert [node.host for node in cluster.nodes] == ["10.0.0.1", "10.0.0.2"]


def test_the_example_with_everything_switched_on_loads_cleanly(tmp_path: Path) -> None:
    text = uncommented(EXAMPLE.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^(admin|replication)_password_(file|env) = .*$", "", text)
    settings = load(write_example(tmp_path, text), environ={"HOME": str(tmp_path)})
    assert settings.warnings == ()
    (cluster,) = settings.clusters
    assert [node.label for node in cluster.nodes] == ["node1", "node2"]
    assert cluster.hooks
    assert cluster.merge.tables
    assert cluster.witnesses
    assert settings.console.keys


def test_the_themes_listed_here_are_those_of_textual() -> None:
    assert set(TEXTUAL_THEMES) == set(BUILTIN_THEMES)
    assert not set(OWN_THEMES) & set(TEXTUAL_THEMES)

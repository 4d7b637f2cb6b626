"""The text of ``pfms-ha-tui config check``: what was read from where, what counts, what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

from pfms_ha_tui.cluster.words import plural
from pfms_ha_tui.config.faults import SettingsError, clean
from pfms_ha_tui.config.kinds import Duration, Kind, Size, spell
from pfms_ha_tui.config.options import CLUSTER, CONSOLE, WORKER, Option
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, Settings
from pfms_ha_tui.errors import ConfigError
from pfms_ha_tui.masking import MASK, Secret

_NONE = "—"
_KEY = 28
_VALUE = 34


def render_check(outcome: Settings | ConfigError) -> str:
    """A report for people: several lines, each clean, secrets masked.

    Of wrong settings every fault; of good ones every value that counts, with the file and line it
    came from.
    """
    lines = _faulty(outcome) if isinstance(outcome, ConfigError) else _sound(outcome)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _faulty(error: ConfigError) -> Iterator[str]:
    yield f"{plural(len(error.faults), 'fault')} in the settings"
    for fault in error.faults:
        yield f"  ✖ {clean(fault)}"
    if isinstance(error, SettingsError):
        yield from _warnings(error.warnings)
        yield from _files(error.files)


def _sound(settings: Settings) -> Iterator[str]:
    nodes = sum(len(cluster.nodes) for cluster in settings.clusters)
    yield f"The settings are sound: {plural(len(settings.clusters), 'cluster')}, {plural(nodes, 'node')}."
    yield from _warnings(settings.warnings)
    yield from _files(settings.files)
    yield from ("", "[worker]")
    yield from _options(WORKER.options, settings.worker, "worker", settings.origins)
    yield from ("", "[console]")
    yield from _options(CONSOLE.options, settings.console, "console", settings.origins)
    for name, keys in settings.console.keys.items():
        yield _line(f"keys.{clean(name)}", clean(keys), None)
    for cluster in settings.clusters:
        yield from _cluster(cluster, settings.origins)


def _cluster(cluster: ClusterSettings, origins: Mapping[str, str]) -> Iterator[str]:
    prefix = f"clusters.{cluster.name}"
    yield from ("", f"[{prefix}]")
    yield from _options(CLUSTER.options, cluster, prefix, origins)
    for event, command in cluster.hooks.items():
        yield _line(f"hooks.{event}", clean(command), None)
    for witness in cluster.witnesses:
        yield _line("witness", f"{witness.host}:{witness.port}{' by SSH' if witness.ssh else ''}", None)
    for table in cluster.merge.tables:
        yield _line("merge table", f"{table.table} by {table.time_column}", None)
    for node in cluster.nodes:
        yield from _node(node)


def _node(node: NodeSettings) -> Iterator[str]:
    notes = [f"service {clean(node.service)}"] if node.service else []
    notes += ["disabled"] if node.disabled else []
    yield _line(f"node {node.label}", f"{node.host}:{node.port}", ", ".join(notes))
    ssh = node.ssh
    if not ssh.enabled:
        yield _line("", "no SSH", None)
        return
    key = f"key {clean(str(ssh.key))}" if ssh.key is not None else "key of the agent or the account"
    sudo = ", sudo" if ssh.sudo else ""
    yield _line("", f"ssh {clean(ssh.user)}@{ssh.host}:{ssh.port}", f"{key}, host keys {ssh.host_keys}{sudo}")


def _options(
    options: Iterable[Option], owner: object, prefix: str, origins: Mapping[str, str]
) -> Iterator[str]:
    for option in options:
        found, default = _field(owner, option.into)
        if found is _ABSENT:
            continue  # a default of the nodes, which have their own lines, or where a value is taken from
        origin = origins.get(f"{prefix}.{option.key}")
        if origin is None:
            origin = "default" if default is _ABSENT or found == default else "fitted to the others"
        yield _line(option.key, _value(found, option.kind), origin)


class _Absent(Enum):
    ABSENT = "absent"


_ABSENT = _Absent.ABSENT


def _field(owner: object, into: str) -> tuple[object, object]:
    """The value of a field and its default, each ``_ABSENT`` if there is none."""
    found, default = owner, None
    for name in into.split("."):
        fields = (
            {field.name: field for field in dataclasses.fields(found)}
            if dataclasses.is_dataclass(found)
            else {}
        )
        if name not in fields:
            return _ABSENT, _ABSENT
        found, default = getattr(found, name), fields[name].default
    return found, _ABSENT if default is dataclasses.MISSING else default


def _value(value: object, kind: Kind) -> str:
    if value is None:
        return _NONE
    if isinstance(value, Secret):
        return MASK if value else "(empty)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(kind, Duration) and isinstance(value, float):
        return spell(value)
    if isinstance(kind, Size):
        return f"{value} bytes"
    if isinstance(value, str | Path):
        return clean(str(value))
    return str(value)


def _warnings(warnings: Iterable[str]) -> Iterator[str]:
    for warning in warnings:
        yield f"  ! {clean(warning)}"


def _files(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        yield f"  read {clean(str(file))}"


def _line(key: str, value: str, note: str | None) -> str:
    return f"  {key:<{_KEY}} {value:<{_VALUE}} {note or ''}"

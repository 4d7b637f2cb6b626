"""The settings of the two processes: ``[worker]``, ``[console]``, and what a console needs of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.config.checks import unknown_theme
from pfms_ha_tui.config.faults import SettingsError
from pfms_ha_tui.config.files import UnreadableError, exists, read
from pfms_ha_tui.config.options import CONSOLE, WORKER
from pfms_ha_tui.config.places import (
    LOG_NAME,
    LONGEST_SOCKET,
    SOCKET_NAME,
    SYSTEM_STATE,
    find_config,
    socket_path,
    state_dir,
)
from pfms_ha_tui.config.reading import Document, Reading, Value, Values, fields, is_toml, make
from pfms_ha_tui.config.settings import ConsoleSettings, WorkerSettings


def worker_settings(reading: Reading, document: Document | None) -> WorkerSettings:
    """The worker's settings, by default in the folder of the system or of this account."""
    values: Values = {}
    if document is not None:
        table = reading.table(document, document.data, ("worker",))
        values = reading.section(document, WORKER, table, ("worker",))
    for key in ("state_dir", "socket", "log_file"):
        option = WORKER.option(key)
        if option and (found := reading.environment(f"PFMS_HA_TUI_{key.upper()}", option.kind)):
            values[key] = found
    reading.note_origins(WORKER, values, "worker")
    state = _path(values.get("state_dir")) or state_dir(reading.environ)
    socket = _path(values.get("socket"))
    if socket is not None and len(os.fsencode(socket)) > LONGEST_SOCKET:
        reason = f"is longer than the {LONGEST_SOCKET} bytes a Unix socket may have"
        if document is not None and values["socket"].origin.startswith(document.path.name):
            reading.fault_at(document, ("worker", "socket"), reason)
        else:
            reading.fault(reason, file="environment", key="PFMS_HA_TUI_SOCKET")
    known: dict[str, object] = {
        **fields(values),
        "state_dir": state,
        "socket": socket or socket_path(state),
        "log_file": _path(values.get("log_file")) or state / LOG_NAME,
    }
    return make(WorkerSettings, known)


def console_settings(reading: Reading, document: Document | None) -> ConsoleSettings:
    """The console's settings."""
    values: Values = {}
    keys: dict[str, str] = {}
    if document is not None:
        table = reading.table(document, document.data, ("console",))
        values = reading.section(document, CONSOLE, table, ("console",))
        keys = reading.mapping(document, table, ("console", "keys"), CONSOLE.maps["keys"])
    option = CONSOLE.option("theme")
    named = reading.environment("PFMS_HA_TUI_THEME", option.kind) if option else None
    theme = named or values.get("theme")
    if theme is not None and (unknown := unknown_theme(str(theme.value))) is not None:
        if named is not None or document is None:
            reading.fault(unknown[0], file="environment", key="PFMS_HA_TUI_THEME", meant=unknown[1])
        else:
            reading.fault_at(document, ("console", "theme"), unknown[0], meant=unknown[1])
    if theme is not None:
        values["theme"] = theme
    reading.note_origins(CONSOLE, values, "console")
    return make(ConsoleSettings, {**fields(values), "keys": keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleAccess:
    """What a console needs of the settings, and no more."""

    socket: Path
    console: ConsoleSettings
    source: Path | None
    """``None`` when no settings were found, or none that this account may read."""


def console_access(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> ConsoleAccess:
    """Where the worker is and how the console looks, also for an account that may not read passwords.

    Clusters are not looked at: a fault there is the worker's business. Without a socket in the
    settings, the system's worker is preferred to one of this account's own that is not running.

    Raises:
        SettingsError: a fault in ``[worker]`` or ``[console]``, or text that is no TOML.
    """
    reading = Reading(environ)
    source = find_config(path, environ=environ)
    document: Document | None = None
    try:
        content = read(source) if source is not None else None
    except UnreadableError as error:
        content = None
        if not error.forbidden:
            reading.fault(error.reason, file=source, hint=error.hint)
        source = None
    if content is not None and is_toml(content):
        document = reading.document(content)
    worker, console = worker_settings(reading, document), console_settings(reading, document)
    if reading.faults:
        raise SettingsError(reading.faults, warnings=reading.warnings, files=reading.files)
    socket = worker.socket
    system = SYSTEM_STATE / SOCKET_NAME
    named = {"worker.socket", "worker.state_dir"} & reading.origins.keys()
    if not named and not exists(socket) and exists(system):
        socket = system
    return ConsoleAccess(socket=socket, console=console, source=source)


def _path(value: Value | None) -> Path | None:
    return Path(str(value.value)) if value is not None else None

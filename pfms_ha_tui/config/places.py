"""Where settings, state and socket are when nobody says: the same answer for worker and console."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pfms_ha_tui.config.files import exists
from pfms_ha_tui.config.pandora_conf import USUAL_PATH

SYSTEM_CONFIG = Path("/etc/pfms-ha-tui/config.toml")
SYSTEM_STATE = Path("/var/lib/pfms-ha-tui")
SOCKET_NAME = "worker.sock"
LOG_NAME = "worker.log"

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path: ``sun_path`` holds 108, one of them a NUL (unix(7))."""


def usual_configs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where settings are looked for, in this order, when none are named."""
    own = _folder(environ, "XDG_CONFIG_HOME", ".config")
    return (SYSTEM_CONFIG, *((own / "pfms-ha-tui" / "config.toml",) if own else ()), USUAL_PATH)


def find_config(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file the settings are read from: the named one, whether it exists or not, else the first that does.

    Named by ``path`` (``--config``) or ``PFMS_HA_TUI_CONFIG``; absolute, as the worker leaves the
    current folder. ``None`` when there is none at all.
    """
    if path is not None:
        return _absolute(path)
    if named := environ.get("PFMS_HA_TUI_CONFIG"):
        return _absolute(Path(named))
    return next((usual for usual in usual_configs(environ) if exists(usual)), None)


def state_dir(environ: Mapping[str, str]) -> Path:
    """The worker's folder: the system's for root, this account's own for anybody else."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    own = _folder(environ, "XDG_STATE_HOME", ".local/state")
    return own / "pfms-ha-tui" if own else Path(f"/var/tmp/pfms-ha-tui-{os.geteuid()}")  # noqa: S108 - checked by the worker


def socket_path(state: Path) -> Path:
    """The socket in the state folder, or where its path is too long, one of a short path.

    The short one depends on the state folder and the account alone, not on a login session or an
    environment, so that a worker and a console started in different ways meet.
    """
    plain = state / SOCKET_NAME
    if len(os.fsencode(plain)) <= LONGEST_SOCKET:
        return plain
    import hashlib  # seldom needed, and 3 ms to load

    user = os.geteuid()
    folder = Path("/run/pfms-ha-tui") if user == 0 else Path(f"/tmp/pfms-ha-tui-{user}")  # noqa: S108 - checked by the worker
    return folder / f"{hashlib.sha256(os.fsencode(state)).hexdigest()[:16]}.sock"


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:
        return path  # the current folder is gone; reading the file will say so


def _folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    # The XDG base directory specification: a relative path in the variable is invalid and ignored.
    if (named := environ.get(variable, "")) and Path(named).is_absolute():
        return Path(named)
    home = environ.get("HOME", "")
    return Path(home) / below_home if home and Path(home).is_absolute() else None

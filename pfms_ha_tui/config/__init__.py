"""The settings: ``config.toml``, Pandora's own ``pandora_server.conf``, and what is wrong with them."""

from __future__ import annotations

from pfms_ha_tui.config.check_text import render_check
from pfms_ha_tui.config.faults import Fault, SettingsError
from pfms_ha_tui.config.loading import load
from pfms_ha_tui.config.places import find_config
from pfms_ha_tui.config.processes import ConsoleAccess, console_access

__all__ = [
    "ConsoleAccess",
    "Fault",
    "SettingsError",
    "console_access",
    "find_config",
    "load",
    "render_check",
]

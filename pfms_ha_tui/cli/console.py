"""``pfms-ha-tui`` without a command: the full-screen console."""

from __future__ import annotations

import argparse

from pfms_ha_tui.config import load


def console(arguments: argparse.Namespace) -> int:
    """Open the console; it starts a worker by itself unless told not to."""
    settings = load(arguments.config)
    from pfms_ha_tui.console.run import run_console

    return run_console(settings, read_only=arguments.read_only, spawn=not arguments.no_spawn)

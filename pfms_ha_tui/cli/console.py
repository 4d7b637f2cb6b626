"""``pfms-ha-tui`` without a command: the full-screen console."""

from __future__ import annotations

import argparse

from pfms_ha_tui.config import console_access, load


def console(arguments: argparse.Namespace) -> int:
    """Open the console; it starts a worker by itself unless told not to."""
    access = console_access(arguments.config)
    spawn = not arguments.no_spawn
    if spawn and not access.socket.exists():
        # A worker will have to be started: what is wrong with its settings is best told before the
        # screen is taken over.
        load(arguments.config)
    from pfms_ha_tui.console.run import run_console

    return run_console(access, read_only=arguments.read_only, spawn=spawn, config=arguments.config)

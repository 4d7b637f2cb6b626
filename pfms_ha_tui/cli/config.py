"""``pfms-ha-tui config check``: what was read from where, what counts, and every fault."""

from __future__ import annotations

import argparse
import sys

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.config import load, render_check
from pfms_ha_tui.errors import ConfigError


def check(arguments: argparse.Namespace) -> int:
    """Print the settings that count, secrets masked; faults end in :attr:`Exit.CONFIG`."""
    try:
        settings = load(arguments.config)
    except ConfigError as error:
        sys.stderr.write(render_check(error))
        return Exit.CONFIG
    sys.stdout.write(render_check(settings))
    return Exit.OK

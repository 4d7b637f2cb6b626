"""``pfms-ha-tui worker``: the worker in the foreground, for systemd and for containers."""

from __future__ import annotations

import argparse

from pfms_ha_tui.config import load


def worker(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    settings = load(arguments.config)
    from pfms_ha_tui.worker.main import run_worker
    from pfms_ha_tui.worker.orders import make_hands

    return run_worker(settings, hands=make_hands)

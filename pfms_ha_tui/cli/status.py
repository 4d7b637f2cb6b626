"""``status`` and ``nodes``: how every cluster is, asked of the worker once."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from pfms_ha_tui.cli.exits import OF_SEVERITY, Exit
from pfms_ha_tui.cli.report import nagios_line, nodes_table, status_report
from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.config import console_access
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import ClusterState

WORST_FIRST = (Severity.CRITICAL, Severity.UNKNOWN, Severity.WARNING, Severity.INFO, Severity.OK)


def status(arguments: argparse.Namespace) -> int:
    """Print how the clusters are; the exit status is that of the worst."""
    states = _states(arguments)
    worst = min((state.diagnosis.severity for state in states), key=WORST_FIRST.index)
    if arguments.nagios:
        sys.stdout.write(nagios_line(states, worst) + "\n")
    elif arguments.json:
        _write_json(states)
    else:
        sys.stdout.write("\n".join("\n".join(status_report(state)) + "\n" for state in states))
    return OF_SEVERITY[worst]


def nodes(arguments: argparse.Namespace) -> int:
    """Print the table of nodes."""
    states = _states(arguments)
    if arguments.json:
        _write_json([node for state in states for node in state.snapshot.nodes])
        return Exit.OK
    for state in states:
        title = f"{state.name}\n" if len(states) > 1 else ""
        sys.stdout.write(title + "\n".join(nodes_table(state)) + "\n")
    return Exit.OK


def _states(arguments: argparse.Namespace) -> list[ClusterState]:
    """The states asked for, in the order of the settings.

    Raises:
        WorkerError: no worker, no data yet, or no such cluster.
    """
    states = asyncio.run(_ask(arguments, console_access(arguments.config).socket))
    if arguments.cluster is not None:
        names = ", ".join(state.name for state in states)
        states = [state for state in states if state.name == arguments.cluster]
        if not states:
            raise WorkerError(f"the worker knows no cluster {arguments.cluster!r}", hint=f"it knows {names}")
    if not states:
        raise WorkerError("the worker has no data yet", hint="ask again in a second")
    return states


async def _ask(arguments: argparse.Namespace, socket: Path) -> list[ClusterState]:
    async with await WorkerClient.connect(socket, client=f"cli {arguments.command}") as client:
        return await client.call("state", result=list[ClusterState])


def _write_json(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

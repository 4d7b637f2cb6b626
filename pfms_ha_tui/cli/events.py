"""``events``: the timeline as lines, and live with ``--follow``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import msgspec

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.config import console_access
from pfms_ha_tui.console.format import full_moment
from pfms_ha_tui.console.glyphs import SEVERITY
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.worker.client import EventsUpdate, WorkerClient
from pfms_ha_tui.worker.protocol import EventsQuery


def events(arguments: argparse.Namespace) -> int:
    """Print events, oldest first, and with ``--follow`` whatever comes after them."""
    asyncio.run(_events(arguments))
    return Exit.OK


async def _events(arguments: argparse.Namespace) -> None:
    socket = console_access(arguments.config).socket
    since = None if arguments.since is None else time.time() - arguments.since
    query = EventsQuery(cluster=arguments.cluster, limit=arguments.limit, since=since)
    async with await WorkerClient.connect(socket, client="cli events") as client:
        updates = client.subscribe() if arguments.follow else None
        past = await client.call("events", query, list[Event])
        for event in reversed(past):
            _print(event, as_json=arguments.json)
        newest = max((event.id for event in past), default=0)
        if updates is None:
            return
        async for update in updates:
            if not isinstance(update, EventsUpdate):
                continue
            for event in update.events:
                if event.id > newest and arguments.cluster in (None, event.cluster):
                    _print(event, as_json=arguments.json)


def _print(event: Event, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    else:
        sign = SEVERITY[event.severity].glyph
        what = f"{sign} {clean(event.cluster)}  {clean(event.text)}  [{clean(event.actor)}]"
        sys.stdout.write(f"{full_moment(event.at)}  {what}\n")
        for line in (event.details or "").splitlines():
            sys.stdout.write(f"    {clean(line)}\n")
    sys.stdout.flush()

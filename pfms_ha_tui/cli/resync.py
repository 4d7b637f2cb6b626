"""``resync``: the checks of the hosts and every command first; a second yes if the old data goes before."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace

from pfms_ha_tui.cli.orders import Ordering, typed
from pfms_ha_tui.config.settings import CloneMethod, Transfer
from pfms_ha_tui.operations.view import CloneCheck
from pfms_ha_tui.worker.client import WorkerClient
from pfms_ha_tui.worker.protocol import CLONE_CHECK_WITHIN, Order, Plan

_GIVE_UP = "remove"
"""Typed a second time where old data goes before the new is there."""


def resync(arguments: argparse.Namespace) -> int:
    """Rebuild a slave."""
    return asyncio.run(_Resync(arguments).run())


class _Resync(Ordering):
    """A resync, from what was typed to its verified end."""

    _found: CloneCheck | None = None
    """What the hosts told."""

    async def order(self, client: WorkerClient) -> Order:
        """What was typed."""
        typed_in = self._arguments
        return replace(
            await super().order(client),
            source=typed_in.source,
            method=CloneMethod(typed_in.method) if typed_in.method is not None else None,
            transfer=Transfer(typed_in.transfer) if typed_in.transfer is not None else None,
            bandwidth=typed_in.bandwidth,
            threads=typed_in.threads,
            give_up_old=typed_in.give_up_old,
        )

    async def plan(self, client: WorkerClient, order: Order) -> Plan:
        """With the exact commands, or everything that stands against it: only the hosts know."""
        plan = await super().plan(client, order)
        if plan.why_not is not None:
            return plan
        self._found = await client.call("clone_check", order, CloneCheck, timeout=CLONE_CHECK_WITHIN)
        return plan.checked(self._found)

    def agreed(self, order: Order, plan: Plan) -> Order:  # noqa: ARG002
        """By the very method that was shown."""
        return order.settled(self._found) if self._found is not None else order

    async def confirmed(self, plan: Plan) -> str:
        """The label; and a second word where the old data may go first."""
        label = await super().confirmed(plan)
        if self._arguments.give_up_old and not self._arguments.yes:
            await typed(
                f"If there is no room for both, the old data of {label} is removed BEFORE the copy;"
                f" should the copy fail, {label} has no data.\nType {_GIVE_UP} if that is meant: ",
                _GIVE_UP,
            )
        return label

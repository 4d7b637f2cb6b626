"""The demo's incidents come about for real; split and failover are told with the merge and the faults."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from pfms_ha_tui.sandbox import Sandbox, SandboxNode, SandboxOptions
from pfms_ha_tui.sandbox.scenarios import Scenario, play

DEADLINE = 30.0


async def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.1)


def applied(node: SandboxNode, number: int) -> bool:
    rows = node.client.query("SELECT COUNT(*) AS n FROM pandora.tconfig WHERE token = %s", (f"mark{number}",))
    return bool(rows[0]["n"])


async def test_a_report_holds_the_slave_up_and_a_foreign_row_breaks_it() -> None:
    async with Sandbox.start(SandboxOptions(rows=200)) as sandbox:
        master, slave = sandbox.nodes
        told: list[str] = []

        acting = asyncio.create_task(play(Scenario.LAG, sandbox, told.append))
        await until(lambda: told, "the first act")
        holds = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"
        await until(lambda: slave.client.query(holds)[0]["n"], "the wait for the lock")
        await master.sql("INSERT INTO pandora.tconfig (token, value) VALUES ('mark1', '')")
        assert not applied(slave, 1)
        acting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acting
        await until(lambda: applied(slave, 1), "the row, once the report is gone")

        await play(Scenario.BROKEN_REPLICATION, sandbox, told.append)

        async def stopped() -> object:
            state = await slave.replication()
            assert state is not None
            return state["Last_SQL_Errno"]

        deadline = time.monotonic() + DEADLINE
        while await stopped() != 1062:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert "the SQL thread of node2 stops" in told[-1]

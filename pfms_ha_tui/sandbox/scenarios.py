"""Incidents to practise on: each is brought about for real on a running sandbox, as it comes about at a site.

What is written during a split is dated back, so that the two sides look as if they had been apart for
twenty minutes; everything else happens when it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from enum import StrEnum

import pymysql

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox.namespaces import WORKER
from pfms_ha_tui.sandbox.node import SandboxNode
from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.sandbox import Sandbox
from pfms_ha_tui.sandbox.schema import AGENTS, DATABASE, MODULES_PER_AGENT, STRING_MODULE_KIND, entities
from pfms_ha_tui.sandbox.seed import Statement

APART = 20 * 60
"""Seconds that the two sides of a split look as if they had been apart."""
CUT_FOR = 8.0
"""Seconds the network is really cut: long enough for the worker to see it and tell of it."""
DEAD_FOR = 45.0
"""Seconds until the old master of a failover is started again."""
LOCKED_FOR, FREE_FOR = 50.0, 25.0
"""Seconds that the slave cannot apply, and that it may catch up, again and again."""
_PER_MINUTE = 60
_AT_ONCE = 400
_EVENT = 9_000_001
"""An id that no Pandora gives before long."""

Say = Callable[[str], None]


class Scenario(StrEnum):
    """What can be practised."""

    SPLIT_BRAIN = "split-brain"
    """The link between the sites fails, both take writes, the link is back: two masters to be merged."""
    FAILOVER = "failover"
    """The master's server process dies under writes; a while later it is started again."""
    BROKEN_REPLICATION = "broken-replication"
    """Somebody wrote on the slave: its SQL thread stops at a duplicate key."""
    LAG = "lag"
    """A long report holds a lock on the slave: it falls behind, catches up, falls behind."""

    @property
    def before_the_console(self) -> bool:
        """Whether it is over before anybody looks; the others happen under one's eyes."""
        return self is Scenario.SPLIT_BRAIN


async def play(scenario: Scenario, sandbox: Sandbox, say: Say) -> None:
    """Bring it about; returns when it is, a lag never.

    Args:
        scenario: Which.
        sandbox: At least two nodes, healthy, with its writer running.
        say: Told each act in a sentence.

    Raises:
        SandboxError: a server refused something.
    """
    if len(sandbox.nodes) < 2:
        raise SandboxError(f"{scenario} needs two nodes", hint="--nodes 2")
    match scenario:
        case Scenario.SPLIT_BRAIN:
            await split_brain(sandbox, say)
        case Scenario.FAILOVER:
            await failover(sandbox, say)
        case Scenario.BROKEN_REPLICATION:
            await broken_replication(sandbox, say)
        case Scenario.LAG:
            await lag(sandbox, say)


async def split_brain(sandbox: Sandbox, say: Say) -> None:
    """Partition, both sides written, healed."""
    here, there = sandbox.nodes[:2]
    real = bool(sandbox.exec_prefix)
    await sandbox.wait_for_slaves()
    if real:
        say(f"the link to the site of {there.label} fails")
        sandbox.partitions.cut(here.label, there.label)
        sandbox.partitions.cut(WORKER, there.label)
    say(f"there somebody opens {there.label}, so that monitoring goes on")
    words = "SLAVE" if there.flavor is Flavor.MARIADB else "REPLICA"
    await there.sql(f"STOP {words}", timeout=60)
    await _writable(there, True)
    say("both sides write")
    now = int(time.time())
    await _written(there, _lost_side(now))
    await _written(here, _master_side(now))
    if real:
        await asyncio.sleep(CUT_FOR)
        sandbox.partitions.heal(WORKER, there.label)
        sandbox.partitions.heal(here.label, there.label)
    say(f"the link is back: {here.label} and {there.label} are both masters. Press m for the merge wizard")


async def failover(sandbox: Sandbox, say: Say) -> None:
    """The master dies, and comes back."""
    master = sandbox.master
    say(f"the server process of {master.label} dies")
    master.kill()
    await master.wait_gone()
    await asyncio.sleep(DEAD_FOR)
    say(f"somebody starts {master.label} again")
    if not master.running:
        await master.start()


async def broken_replication(sandbox: Sandbox, say: Say) -> None:
    """A row that somebody wrote on the slave meets the same key from the master."""
    master, slave = sandbox.nodes[:2]
    await sandbox.wait_for_slaves()
    say(f"somebody writes an event on {slave.label}")
    now = int(time.time())
    closed = slave.flavor is Flavor.MYSQL
    if closed:
        await slave.sql("SET GLOBAL super_read_only = 0")
    try:
        await _written(slave, [_event(_EVENT, now, "On the slave")], logged=False)
    finally:
        if closed:
            await slave.sql("SET GLOBAL super_read_only = 1")
    say(f"{master.label} writes one of the same id: the SQL thread of {slave.label} stops")
    await _written(master, [_event(_EVENT, now, "On the master")])


async def lag(sandbox: Sandbox, say: Say) -> None:
    """A lock on the slave, taken and let go until the task is cancelled."""
    slave = sandbox.nodes[1]
    while True:
        say(f"a report locks a table on {slave.label} for {LOCKED_FOR:.0f} s")
        try:
            connection = await asyncio.to_thread(slave.client.connect, database=DATABASE, timeout=120.0)
            with contextlib.closing(connection):
                with connection.cursor() as cursor:
                    await asyncio.to_thread(cursor.execute, "LOCK TABLES tagente_datos READ, tevento READ")
                await asyncio.sleep(LOCKED_FOR)
        except pymysql.MySQLError as error:
            say(f"{slave.label} could not be locked: {error.args[-1]}")
        say(f"the report is done: {slave.label} catches up")
        await asyncio.sleep(FREE_FOR)


async def _writable(node: SandboxNode, writable: bool) -> None:
    if node.flavor is Flavor.MYSQL:
        await node.sql(f"SET GLOBAL super_read_only = {0 if writable else 1}")
    await node.sql(f"SET GLOBAL read_only = {0 if writable else 1}")


async def _written(node: SandboxNode, statements: Sequence[Statement], *, logged: bool = True) -> None:
    """One transaction; unlogged it stays out of the binary log, as a slave's own one has to."""
    script = [
        (f"SET SESSION sql_log_bin = {int(logged)}", None),
        ("START TRANSACTION", None),
        *statements,
        ("COMMIT", None),
    ]
    await asyncio.to_thread(node.client.script, script, database=DATABASE, timeout=60)


def _lost_side(now: int) -> list[Statement]:
    """A third of the agents reach this side only; some write to both; somebody configures things."""
    begin = now - APART
    apart = _numbers(begin, now, agents=range(1, AGENTS // 3 + 1), offset=0.25)
    agent, module = AGENTS + 501, (AGENTS + 50) * MODULES_PER_AGENT
    unknown = [(module + at % 2, 20 + at, begin + 60 + at * 10) for at in range(60)]
    texts = [
        (agent_number * MODULES_PER_AGENT - MODULES_PER_AGENT + STRING_MODULE_KIND + 1,
         entities(f"Accepted publickey for user{at} from 10.1.0.{at} (site B), “ünïcode” & <tags>"),
         begin + at * 30)
        for at, agent_number in ((at, 1 + at % (AGENTS // 3)) for at in range(APART // 30))
    ]  # fmt: skip
    events: list[Statement] = []
    for at in range(24):
        number = _EVENT + at
        events.append(_event(number, begin + at * 50, f"Module 'CPU Load' is going to CRITICAL ({at})"))
        if at % 4 == 0:
            events.append(
                (
                    "INSERT INTO tevent_comment (id_event, utimestamp, comment, id_user, action)"
                    " VALUES (%s, %s, %s, 'operator-b', %s)",
                    (number, begin + at * 50 + 20, entities("Seen at site B"), entities("Added comment")),
                )
            )
    return [
        *_rows("tagente_datos", [*apart, *_both_sides(begin, now)]),
        *_rows("tagente_datos_string", texts),
        *events,
        (
            "INSERT INTO tagente (id_agente, nombre, alias, direccion, id_grupo) VALUES (%s, %s, %s, %s, 2)",
            (agent, "new-at-site-b", "new-at-site-b", "10.9.0.1"),
        ),
        *(
            (
                "INSERT INTO tagente_modulo (id_agente_modulo, id_agente, id_tipo_modulo, nombre)"
                " VALUES (%s, %s, 1, %s)",
                (module + at, agent, entities(name)),
            )
            for at, name in enumerate(("CPU Load", "Disk /data"))
        ),
        *_rows("tagente_datos", unknown),
        ("UPDATE tagente SET alias = %s WHERE id_agente = 2", (entities("renamed at site B"),)),
    ]


def _master_side(now: int) -> list[Statement]:
    """The other agents, and those that write to both."""
    begin = now - APART
    apart = _numbers(begin, now, agents=range(AGENTS // 3 + 1, AGENTS + 1), offset=0.75)
    return [*_rows("tagente_datos", [*apart, *_both_sides(begin, now)])]


_Number = tuple[int, float | str, int]


def _numbers(begin: int, end: int, *, agents: range, offset: float) -> list[_Number]:
    """One measurement of each agent every few seconds."""
    return [
        ((agent - 1) * MODULES_PER_AGENT + 1, round(offset + at % 97, 2), at)
        for at in range(begin, end, 3)
        for agent in agents
    ]


def _both_sides(begin: int, end: int) -> list[_Number]:
    """Agents with two servers in their configuration: the same row on either side."""
    return [(AGENTS * MODULES_PER_AGENT - 5, 42.0, at) for at in range(begin, end, _PER_MINUTE // 4)]


def _rows(table: str, rows: Sequence[_Number]) -> list[Statement]:
    statements: list[Statement] = []
    for first in range(0, len(rows), _AT_ONCE):
        chunk = rows[first : first + _AT_ONCE]
        places = ", ".join(["(%s, %s, %s)"] * len(chunk))
        values = [value for row in chunk for value in row]
        # The table is one of this module's own words.
        statement = f"INSERT INTO {table} (id_agente_modulo, datos, utimestamp) VALUES {places}"  # noqa: S608
        statements.append((statement, values))
    return statements


def _event(number: int, moment: int, text: str) -> Statement:
    agent = 1 + number % (AGENTS // 3)
    unused = ("tags", "id_extra", "critical_instructions", "warning_instructions", "unknown_instructions")
    values: dict[str, object] = {
        "id_evento": number,
        "id_agente": agent,
        "id_grupo": 2,
        "evento": entities(text),
        "utimestamp": moment,
        "event_type": "going_up_critical",
        "id_agentmodule": (agent - 1) * MODULES_PER_AGENT + 1,
        "criticity": 4,
        "source": "monitoring_server",
        **dict.fromkeys((*unused, "custom_data", "data", "event_custom_id"), ""),
        "timestamp": moment,
    }
    places = ["%s"] * (len(values) - 1) + ["FROM_UNIXTIME(%s)"]
    # The names are this module's own words.
    statement = f"INSERT INTO tevento ({', '.join(values)}) VALUES ({', '.join(places)})"  # noqa: S608
    return statement, tuple(values.values())

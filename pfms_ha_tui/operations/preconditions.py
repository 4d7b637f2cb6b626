"""What speaks against a planned change of master: named, all at once, before anything changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.observation import IoState
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import integer
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.pandora import hosts_file
from pfms_ha_tui.pandora.databases import read_databases

_LONG = """
SELECT trx_mysql_thread_id AS id, trx_rows_modified AS changed,
       TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS seconds
  FROM information_schema.innodb_trx
 WHERE trx_mysql_thread_id <> 0 AND TIMESTAMPDIFF(SECOND, trx_started, NOW()) >= %s
"""


async def switchover_complaints(
    operation: ClusterOperation,
    master_label: str,
    target_label: str,
    *,
    others: Sequence[str] = (),
    kill_long: bool = False,
) -> list[str]:
    """One sentence for each thing that speaks against it; empty when nothing does.

    Raises:
        SqlError: a node cannot be asked.
    """
    if master_label == target_label:
        return [f"{target_label} is the master already"]
    master, target = await asyncio.gather(operation.link(master_label), operation.link(target_label))
    found = await asyncio.gather(
        _master(master),
        _slave(operation, master, target),
        _eligible(operation, master, target),
        _transactions(operation, master, kill_long=kill_long),
        _account(operation, target_label),
        _hosts_file(operation),
        *(_other(operation, label) for label in others),
    )
    return [complaint for part in found for complaint in part]


async def _master(link: Link) -> list[str]:
    complaints = []
    if await link.is_read_only():
        complaints.append(f"{link.label} is read-only: it is not the master")
    state = await link.replication_row()
    if state is not None:
        complaints.append(f"{link.label} is a slave itself")
    return complaints


async def _slave(operation: ClusterOperation, master: Link, target: Link) -> list[str]:
    label, policy = target.label, operation.context.cluster.policy
    state = await target.replication()
    if state is None:
        return [f"{label} is nobody's slave"]
    complaints = []
    server_id = integer((await master.query("SELECT @@server_id AS id"))[0], "id")
    if state.source_server_id != server_id:
        complaints.append(f"{label} follows another server than {master.label}")
    if state.io is not IoState.YES:
        why = f": {state.io_error}" if state.io_error else ""
        complaints.append(f"{label} does not receive{why}")
    if not state.sql:
        why = f": {state.sql_errno} {state.sql_error}" if state.sql_errno else ""
        complaints.append(f"{label} does not apply{why}")
    elif state.seconds_behind is None:
        complaints.append(f"how far {label} is behind is not known")
    elif state.seconds_behind > policy.max_lag:
        complaints.append(f"{label} is {state.seconds_behind} s behind, more than {policy.max_lag:g} s")
    if state.sql_delay:
        complaints.append(f"{label} is delayed by {state.sql_delay} s on purpose")
    if state.channel:
        complaints.append(f"{label} follows through the named channel {state.channel!r}")
    return complaints


async def _other(operation: ClusterOperation, label: str) -> list[str]:
    """A slave that is far behind would keep the old master from following; a broken one does not count."""
    link = await operation.try_link(label)
    state = await link.replication() if link is not None else None
    if state is None or not state.sql or state.seconds_behind is None:
        return []
    limit = operation.context.cluster.policy.max_lag
    if state.seconds_behind > limit:
        return [
            f"{label} is {state.seconds_behind} s behind, more than {limit:g} s: it could not be repointed"
        ]
    return []


async def _eligible(operation: ClusterOperation, master: Link, target: Link) -> list[str]:
    label, complaints = target.label, []
    if not await target.is_read_only():
        complaints.append(f"{label} is writable: look for a split-brain first")
    try:
        await target.coordinates()
    except OperationError as error:
        complaints.append(f"{label}: {error.reason}")
    if operation.context.node(label).disabled:
        complaints.append(f"{label} is disabled in the configuration")
    marks = await operation.record(lambda records: records.marks())
    complaints += [f"{mark.node}: {mark.kind}: {mark.reason}" for mark in marks if mark.node == label]
    try:
        rows = await master.call(read_databases)
    except SqlError as error:
        if error.ends_session:
            raise
        rows = ()
    host = target.node.host
    complaints += [
        f"{label} is disabled in Pandora (tdatabase)" for row in rows if row.host == host and row.disabled
    ]
    return complaints


async def _transactions(operation: ClusterOperation, master: Link, *, kill_long: bool) -> Sequence[str]:
    if kill_long:
        return ()
    limit = operation.context.limits.long_transaction
    rows = await master.query(_LONG, (int(limit),))
    spared = {*operation.spared(master.label), master.connection_id}
    return [
        f"session {row['id']} on {master.label} has had a transaction open for {row['seconds']} s"
        f" ({words.plural(integer(row, 'changed') or 0, 'row')} changed), which would be rolled back"
        for row in rows
        if integer(row, "id") not in spared
    ]


async def _account(operation: ClusterOperation, label: str) -> list[str]:
    """MariaDB does not replicate accounts under ``binlog-do-db``: the old master must be able to log in."""
    context = operation.context
    node, account = context.node(label), context.cluster.replication

    def log_in() -> None:
        SqlSession.open(node, context.cluster, account=account).close()

    try:
        await asyncio.to_thread(log_in)
    except SqlError as error:
        return [f"the replication account cannot log in to {label}: {error.reason}"]
    return []


async def _hosts_file(operation: ClusterOperation) -> list[str]:
    path = operation.context.cluster.pandora.hosts_file
    if path is None:
        return []
    why_not = await asyncio.to_thread(hosts_file.why_not_writable, path)
    return [f"Pandora's hosts file could not be written: {why_not}"] if why_not is not None else []

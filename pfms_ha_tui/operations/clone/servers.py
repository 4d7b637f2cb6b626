"""What a server says of itself that speaks against a clone of it, or to it."""

from __future__ import annotations

from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.nodes.parsing import integer, slaves_seen, text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone.proof import Place
from pfms_ha_tui.operations.context import ClusterOperation


async def applies_in_parallel(link: Link) -> bool:
    """Whether a slave has several appliers, or one that is run like several.

    Its position is then only written down at checkpoints (MySQL manual, "Replication and Transaction
    Inconsistencies"; Percona XtraBackup and mariadb-backup refuse ``--slave-info`` for the same reason).
    """
    for name in ("replica_parallel_workers", "slave_parallel_workers", "slave_parallel_threads"):
        value = await link.variable(name)
        if value is not None:
            return value != "0"
    return False


async def kept_outside(link: Link, place: Place) -> str | None:
    """What InnoDB keeps outside of the datadir."""
    names = ("innodb_data_home_dir", "innodb_log_group_home_dir", "innodb_undo_directory")
    for name in names:
        try:
            value = await link.variable(name)
        except SqlError:
            continue
        if (
            value
            and value.startswith("/")
            and not f"{value.rstrip('/')}/".startswith(
                (f"{place.path}/", f"{(await _said_datadir(link)).rstrip('/')}/")
            )
        ):
            return f"{name} is {clean(value)}, outside of the datadir"
    return None


async def _said_datadir(link: Link) -> str:
    return text((await link.query("SELECT @@datadir AS d"))[0], "d")


async def has_slaves(link: Link, operation: ClusterOperation) -> bool:
    """Whether anybody follows this server.

    It lists a slave for a while after that has gone, until it finds the connection closed: so after a change
    of roles an old master seems to be followed by the new one. Who says itself that it follows somebody else,
    or nobody, does not count.
    """
    listed = {slave.server_id for slave in slaves_seen(await link.query(link.dialect.show_replicas))}
    if not listed:
        return False
    own = integer((await link.query("SELECT @@server_id AS id"))[0], "id")
    for label in operation.labels:
        other = await operation.try_link(label) if label != link.label else None
        if other is None:
            continue
        state = await other.replication()
        here = (link.node.host, link.node.port)
        if state is None or (
            state.source_server_id != own and (state.source_host, state.source_port) != here
        ):
            listed.discard(integer((await other.query("SELECT @@server_id AS id"))[0], "id") or 0)
    return bool(listed)

"""What a server says of itself that speaks against a clone of it, or to it."""

from __future__ import annotations

from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.nodes.parsing import integer, slaves_seen, text
from pfms_ha_tui.nodes.service import NodeService
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone.host import Host
from pfms_ha_tui.operations.clone.proof import Place
from pfms_ha_tui.operations.context import ClusterOperation

_ANCESTORS = """
p={pid}
while [ "$p" -gt 1 ] 2>/dev/null; do
  echo "$p"
  p=$(awk '$1 == "PPid:" {{ print $2 }}' "/proc/$p/status" 2>/dev/null)
done
"""


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


async def why_not_service(host: Host, pid: int | None) -> str | None:
    """Why the node's service is not what starts and stops its server, as one sentence; ``None`` when it is.

    A name that belongs to another server of the same host would stop that one, perhaps the master.

    Args:
        host: The target's.
        pid: Its server's process, proved; ``None`` when it does not run.

    Raises:
        ShellError: the host knows no such service, or cannot be asked.
    """
    status = await NodeService(host.shell).status()
    wrong = "set service to the one of this node"
    if status.main_pid is None:
        if pid is None or status.running:
            return None
        return (
            f"its server is process {pid}, but its service {status.name} is {status.active}: start it by its"
            f" service, or {wrong}"
        )
    if pid is None:
        return (
            f"its server does not run, but its service {status.name} has process {status.main_pid}: {wrong}"
        )
    said = await host.run(_ANCESTORS.format(pid=pid), "looking who started its server")
    if str(status.main_pid) in said.split():
        return None
    return f"its server is process {pid}, its service {status.name} is process {status.main_pid}: {wrong}"

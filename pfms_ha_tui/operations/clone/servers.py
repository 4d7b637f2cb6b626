"""What a server says of itself that speaks against a copy of its datadir alone."""

from __future__ import annotations

from pfms_ha_tui.nodes.failures import SqlError, clean
from pfms_ha_tui.nodes.parsing import text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone.proof import Place


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

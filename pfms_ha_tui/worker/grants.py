"""Whether the administrator's account may do all that operations need, by the server's own SHOW GRANTS.

Sources: "Privileges Provided by MySQL" of the MySQL reference manual; "GRANT" of the MariaDB server
documentation (global privileges split from SUPER in 10.5.2, no longer implied by it since 10.11.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pfms_ha_tui.nodes.dialect import Dialect

_GRANT = re.compile(r"^GRANT (?P<what>.+) ON (?P<where>\S+) TO ", re.IGNORECASE)
_COLUMNS = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True)
class _Need:
    purpose: str
    one_of: tuple[str, ...]


def missing_privileges(grants: Iterable[str], dialect: Dialect, database: str) -> tuple[str, ...]:
    """One clause for each thing the account may not do; empty when it may do everything.

    Args:
        grants: The lines of SHOW GRANTS, those of active roles included.
        dialect: The server's words.
        database: Pandora's database, in which events and the promotion record are written.
    """
    everywhere: set[str] = set()
    in_database: set[str] = set()
    for line in grants:
        match = _GRANT.match(line)
        if match is None:
            continue
        held = {word.strip().upper().replace("_", " ") for word in _COLUMNS.sub("", match["what"]).split(",")}
        if match["where"] == "*.*":
            everywhere |= held
        elif _is_all_of(match["where"], database):
            in_database |= held
    if "ALL PRIVILEGES" in everywhere:
        return ()
    missing = [need for need in _global_needs(dialect) if not _holds(everywhere, need)]
    if "ALL PRIVILEGES" not in in_database:
        missing += [need for need in _DATABASE_NEEDS if not _holds(everywhere | in_database, need)]
    return tuple(f"{' or '.join(need.one_of)} (to {need.purpose})" for need in missing)


def _holds(held: set[str], need: _Need) -> bool:
    return any(name.replace("_", " ") in held for name in need.one_of)


def _is_all_of(where: str, database: str) -> bool:
    """Whether ``where`` is the whole database; the server may quote it and escape ``_`` and ``%``."""
    name, dot, table = where.rpartition(".")
    plain = name.strip("`").replace("\\_", "_").replace("\\%", "%")
    return bool(dot) and table == "*" and plain == database


def _global_needs(dialect: Dialect) -> Sequence[_Need]:
    if dialect.mariadb and dialect.version >= (10, 5, 2):
        also = ("SUPER",) if dialect.version < (10, 11, 0) else ()
        return (
            _Need("make a server read-only", ("READ ONLY ADMIN", *also)),
            _Need("change replication", ("REPLICATION SLAVE ADMIN", *also)),
            _Need("end sessions", ("CONNECTION ADMIN", *also)),
            _Need("read replication", ("REPLICA MONITOR", "SLAVE MONITOR", *also)),
            _Need("read the binary log", ("BINLOG MONITOR", "REPLICATION CLIENT", *also)),
            _Need("reset replication", ("RELOAD",)),
            _Need("see sessions", ("PROCESS",)),
        )
    split = not dialect.mariadb and dialect.version >= (8, 0, 0)
    return (
        _Need("make a server read-only", ("SYSTEM_VARIABLES_ADMIN", "SUPER") if split else ("SUPER",)),
        _Need("change replication", ("REPLICATION_SLAVE_ADMIN", "SUPER") if split else ("SUPER",)),
        _Need("end sessions", ("CONNECTION_ADMIN", "SUPER") if split else ("SUPER",)),
        _Need("read replication", ("REPLICATION CLIENT", "SUPER")),
        _Need("read the binary log", ("REPLICATION SLAVE",)),
        _Need("reset replication", ("RELOAD",)),
        _Need("see sessions", ("PROCESS",)),
    )


_DATABASE_NEEDS = (
    _Need("read Pandora's tables", ("SELECT",)),
    _Need("write events and the promotion record", ("INSERT",)),
    _Need("renew the promotion record", ("UPDATE",)),
)

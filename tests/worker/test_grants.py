"""What the account may do, by the lines real servers print."""

from __future__ import annotations

import pytest

from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.worker.grants import missing_privileges

MYSQL = Dialect.of("8.0.36")
MYSQL57 = Dialect.of("5.7.44")
MARIADB = Dialect.of("10.11.6-MariaDB")
MARIADB_OLD = Dialect.of("10.6.16-MariaDB")

MARIADB_SPLIT = (
    "GRANT RELOAD, PROCESS, BINLOG MONITOR, CONNECTION ADMIN, READ ONLY ADMIN, REPLICATION SLAVE ADMIN,"
    " SLAVE MONITOR ON *.* TO `ha`@`%` IDENTIFIED BY PASSWORD '*X'"
)
MYSQL_SPLIT = (
    "GRANT RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `ha`@`%`",
    "GRANT CONNECTION_ADMIN,REPLICATION_SLAVE_ADMIN,SYSTEM_VARIABLES_ADMIN ON *.* TO `ha`@`%`",
)
DATABASE = "GRANT SELECT, INSERT, UPDATE ON `pandora`.* TO `ha`@`%`"


@pytest.mark.parametrize(
    ("dialect", "grants"),
    [
        (MYSQL, ("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION",)),
        (
            MARIADB,
            ("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` IDENTIFIED BY PASSWORD '*X' WITH GRANT OPTION",),
        ),
        (MARIADB, (MARIADB_SPLIT, DATABASE)),
        (MYSQL, (*MYSQL_SPLIT, DATABASE)),
        (MYSQL, (*MYSQL_SPLIT, "GRANT ALL PRIVILEGES ON `pandora`.* TO `ha`@`%`")),
        (
            MYSQL57,
            (
                "GRANT SELECT, INSERT, UPDATE, RELOAD, PROCESS, SUPER, REPLICATION SLAVE, REPLICATION CLIENT"
                " ON *.* TO 'ha'@'%'",
            ),
        ),
        (
            MARIADB_OLD,
            ("GRANT SELECT, INSERT, UPDATE, RELOAD, PROCESS, SUPER ON *.* TO `ha`@`%`",),
        ),
    ],
)
def test_enough_privileges_give_no_complaint(dialect: Dialect, grants: tuple[str, ...]) -> None:
    assert missing_privileges(grants, dialect, "pandora") == ()


@pytest.mark.parametrize(
    ("dialect", "grants", "word"),
    [
        (MARIADB, (MARIADB_SPLIT.replace("READ ONLY ADMIN, ", ""), DATABASE), "READ ONLY ADMIN"),
        (MARIADB, (MARIADB_SPLIT.replace("READ ONLY ADMIN, ", "SUPER, "), DATABASE), "READ ONLY ADMIN"),
        (MYSQL, (MYSQL_SPLIT[0], DATABASE), "SYSTEM_VARIABLES_ADMIN or SUPER"),
        (MYSQL, (*MYSQL_SPLIT,), "SELECT"),
        (MYSQL, (*MYSQL_SPLIT, DATABASE.replace("pandora", "other")), "SELECT"),
        (MYSQL, (*MYSQL_SPLIT, DATABASE.replace("INSERT, ", "")), "INSERT"),
        (MYSQL, (*MYSQL_SPLIT, "GRANT SELECT, INSERT, UPDATE ON `pandora`.`tconfig` TO `ha`@`%`"), "SELECT"),
        (MYSQL57, ("GRANT USAGE ON *.* TO 'ha'@'%'",), "SUPER"),
    ],
)
def test_a_missing_privilege_is_named(dialect: Dialect, grants: tuple[str, ...], word: str) -> None:
    complaints = missing_privileges(grants, dialect, "pandora")
    assert any(complaint.startswith(word) for complaint in complaints), complaints


def test_an_escaped_database_name_is_the_same_database() -> None:
    grants = (*MYSQL_SPLIT, DATABASE.replace("`pandora`", r"`pandora\_prod`"))
    assert missing_privileges(grants, MYSQL, "pandora_prod") == ()

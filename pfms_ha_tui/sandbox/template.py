"""Template datadirs: a server initialised once with the Pandora database in it, so that a node is a copy.

A template holds no account but an unprotected ``root@localhost`` that nobody can reach: it never runs with a
network or a socket. A node's accounts are made at its first start, before it accepts a connection. The
server's own identity (``auto.cnf``) is not part of it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pfms_ha_tui.sandbox import cache, schema, shell
from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.programs import ServerProgram, install_db_command, server_options

_REVISION = 1
"""Raise it when a template is made differently though the schema is the same."""
REDO_SIZE = "16M"


def template_datadir(program: ServerProgram) -> Path:
    """The template for this server, made first if the cache has none.

    Raises:
        SandboxError: it could not be made.
    """
    script = schema.script()
    recipe = "\n".join([str(_REVISION), REDO_SIZE, *program.command, *script])
    fingerprint = hashlib.sha256(recipe.encode()).hexdigest()[:10]
    name = f"template-{program.flavor}-{program.series}-{fingerprint}"
    build = _build_mariadb if program.flavor is Flavor.MARIADB else _build_mysql

    def build_and_prune(directory: Path) -> None:
        build(program, script, directory)
        cache.prune(f"template-{program.flavor}-*")

    return cache.ensure(name, build_and_prune, timeout=180) / "data"


def copy_datadir(template: Path, datadir: Path) -> None:
    """Make a node's datadir: a copy that shares blocks where the file system can.

    Raises:
        SandboxError: it could not be copied, a full disk for one.
    """
    shell.run(
        ["cp", "-a", "--reflink=auto", "--sparse=always", template, datadir],
        what="copying the template",
        timeout=120,
    )


def _build_mariadb(program: ServerProgram, script: list[str], directory: Path) -> None:
    datadir = directory / "data"
    common = [
        "--no-defaults",
        f"--datadir={datadir}",
        f"--innodb-log-file-size={REDO_SIZE}",
        *server_options(),
    ]
    shell.run(
        [install_db_command(), *common, "--skip-test-db", "--auth-root-authentication-method=normal"],
        what="initialising a MariaDB datadir",
        timeout=120,
    )
    accounts = ["DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');"]
    shell.run(
        [*program.command, *common, "--bootstrap", "--skip-log-bin"],
        what="creating the Pandora database",
        timeout=120,
        text_input="\n".join([*accounts, *script, ""]),
    )


def _build_mysql(program: ServerProgram, script: list[str], directory: Path) -> None:
    datadir = directory / "data"
    init_file = directory / "schema.sql"
    init_file.write_text("\n".join([*script, ""]), encoding="utf-8")
    settings = [f"--{name}={value}" for name, value in program.settings.items()]
    shell.run(
        [
            *program.command,
            "--no-defaults",
            "--initialize-insecure",
            f"--datadir={datadir}",
            f"--innodb-redo-log-capacity={REDO_SIZE}",
            "--skip-log-bin",
            f"--init-file={init_file}",
            *settings,
            *server_options(),
        ],
        what="initialising a MySQL datadir",
        timeout=300,
    )
    (datadir / "auto.cnf").unlink(missing_ok=True)

"""The server programs a sandbox runs: where they are, which version, and how they are started."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import shell
from pfms_ha_tui.sandbox.options import Flavor

_SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), shell.SYSTEM_PATH, "/usr/libexec", "/usr/local/mysql/bin"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """One installed or unpacked server."""

    flavor: Flavor
    version: tuple[int, int, int]
    command: tuple[str, ...]
    """Argument list that runs the server; options follow it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """``[mysqld]`` entries without which it does not find its own files."""
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Programs to put on a node's PATH under these names: they are not where the system looks."""

    @property
    def series(self) -> str:
        """Version as text, ``10.11.6``."""
        return ".".join(map(str, self.version))

    @property
    def service_names(self) -> tuple[str, ...]:
        """Unit names on a node; the first is the one the packages of this flavor use."""
        if self.flavor is Flavor.MARIADB:
            return ("mariadb", "mysql", "mysqld")
        return ("mysqld", "mysql")


def server_options() -> list[str]:
    """Options every start of a server needs here: root may run it only if told so."""
    return ["--user=root"] if os.geteuid() == 0 else []


def find_program(flavor: Flavor) -> ServerProgram:
    """The server to run: an installed one; for MySQL else the unpacked one of the cache, fetched if need be.

    Raises:
        SandboxError: there is none; the hint names the packages.
    """
    if flavor is Flavor.MARIADB:
        return _installed_mariadb()
    from pfms_ha_tui.sandbox.fetch import fetch_mysql

    return _installed_mysql() or fetch_mysql()


def read_version(command: tuple[str, ...]) -> tuple[str, tuple[int, int, int]]:
    """What ``--version`` says, and the three numbers in it.

    Raises:
        SandboxError: the program does not run or says no version.
    """
    said = shell.run(
        [*command, "--no-defaults", "--version"], what=f"asking {command[-1]} for its version", timeout=20
    )
    numbers = re.search(r"\bVer\s+(\d+)\.(\d+)\.(\d+)", said)
    if not numbers:
        raise SandboxError(f"{command[-1]} does not tell its version: {said.strip()[:200]}")
    return said, (int(numbers[1]), int(numbers[2]), int(numbers[3]))


def _installed_mariadb() -> ServerProgram:
    needed = ("mariadb-install-db", "bash", "setsid", "flock")
    server = shutil.which("mariadbd", path=_SEARCH_PATH)
    missing = [name for name in needed if not shutil.which(name, path=_SEARCH_PATH)]
    if server is None or missing:
        what = "mariadbd" if server is None else ", ".join(missing)
        raise SandboxError(
            f"{what} is not installed on this machine",
            hint="apt-get install mariadb-server-core mariadb-client-core, or dnf install mariadb-server",
        )
    _, version = read_version((server,))
    return ServerProgram(flavor=Flavor.MARIADB, version=version, command=(server,))


def _installed_mysql() -> ServerProgram | None:
    server = shutil.which("mysqld", path=_SEARCH_PATH)
    if server is None:
        return None
    said, version = read_version((server,))
    if "mariadb" in said.lower() or version < (8, 0, 0):
        return None
    return ServerProgram(
        flavor=Flavor.MYSQL,
        version=version,
        command=(str(Path(server).resolve()),),
        settings={"secure-file-priv": "NULL"},
    )


def install_db_command() -> str:
    """Path of MariaDB's ``mariadb-install-db``."""
    return shutil.which("mariadb-install-db", path=_SEARCH_PATH) or "mariadb-install-db"

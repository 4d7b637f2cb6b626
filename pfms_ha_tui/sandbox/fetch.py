"""A MySQL server where the distribution has none: fetched from Debian, unpacked into the cache folder.

Debian's unstable suite carries MySQL, the stable ones do not. The packages are for a newer system than this
one, so they are not installed but unpacked into one folder, together with every library down to the C
library, and started through that folder's own program loader. Nothing on the machine changes, and root is not
needed.

The work is apt's, with lists, cache and sources of its own and a package status that is empty, so that its
answer holds every dependency. The archive's address is the one the machine already uses, whatever format its
sources have; what comes from it is checked by apt with the machine's Debian keyring.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import cache, shell
from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.programs import ServerProgram, read_version

PACKAGES = ("mysql-server-core", "mysql-client-core")
SUITE = "sid"
_KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("gpg", "pgp"))
_NOT_NEEDED = re.compile(r"^(perl|libperl|perl-base|perl-modules|libdbi-perl|debconf|libgdbm)")
_HINT = "or install MySQL 8 or later: mysql-server-core-8.0 on Ubuntu, mysql-server on RHEL"
_FETCH_TIMEOUT = 600.0


def fetch_mysql() -> ServerProgram:
    """The unpacked server of the cache, fetched first if it is not there: about 10 s and 54 MB.

    Raises:
        SandboxError: it cannot be had; the reason says why, the hint what else to do.
    """
    try:
        folder = cache.ensure(f"mysql-{SUITE}", _fetch_into, timeout=_FETCH_TIMEOUT + 60)
    except SandboxError as error:
        hint = f"{error.hint}, {_HINT}" if error.hint else _HINT
        raise SandboxError(f"no MySQL server could be fetched: {error.reason}", hint=hint) from error
    return unpacked_program(folder)


def unpacked_program(folder: Path) -> ServerProgram:
    """How the server in an unpacked folder is run.

    Raises:
        SandboxError: it does not run.
    """
    libraries = _loader(folder).parent
    # The kernel names a process after the file it starts, here the loader: tools shall find a mysqld.
    loader = folder / "run" / "mysqld"
    command = (*_through(loader, libraries, "mysqld"), str(folder / "usr" / "sbin" / "mysqld"))
    _, version = read_version(command)
    clients = {
        program.name: (*_through(_loader(folder), libraries, program.name), str(program))
        for program in sorted((folder / "usr" / "bin").glob("mysql*"))
        if program.read_bytes()[:4] == b"\x7fELF"
    }
    usr = folder / "usr"
    return ServerProgram(
        flavor=Flavor.MYSQL,
        version=version,
        command=command,
        settings={
            "basedir": str(usr),
            "plugin-dir": str(usr / "lib" / "mysql" / "plugin"),
            "lc-messages-dir": str(usr / "share" / "mysql"),
            "character-sets-dir": str(usr / "share" / "mysql" / "charsets"),
            "secure-file-priv": "NULL",
        },
        commands={"mysqld": command, **clients},
    )


def archives() -> list[str]:
    """Addresses of the archives that the machine's apt uses for a whole suite, without updates and security.

    Raises:
        SandboxError: there is no apt, or it cannot read its sources.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SandboxError("this machine has no apt-get and dpkg-deb")
    said = shell.run(
        ["apt-get", "update", "--print-uris", "-o", "Debug::NoLocking=1"],
        what="reading apt's sources",
        timeout=30,
    )
    found = re.findall(r"^'(\S+?)/dists/[a-z]+/main/binary-[a-z0-9]+/Packages", said, flags=re.MULTILINE)
    return list(dict.fromkeys(found))


def _fetch_into(folder: Path) -> None:
    keyring = next((path for path in _KEYRINGS if path.exists()), None)
    if keyring is None:
        raise SandboxError("this machine has no keyring of the Debian archive to check the packages with")
    candidates = archives()
    if not candidates:
        raise SandboxError("apt's sources name no archive")
    reasons = []
    for base in candidates:
        work = folder / "apt"
        try:
            packages = _download(base, keyring, work)
            for package in packages:
                shell.run(["dpkg-deb", "-x", package, folder], what=f"unpacking {package.name}", timeout=120)
            _make_runnable(folder)
            return
        except SandboxError as error:
            reasons.append(error.reason)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise SandboxError("; ".join(reasons))


def _download(base: str, keyring: Path, work: Path) -> Iterable[Path]:
    """Packages with all they depend on, checked, as files."""
    for name in ("lists/partial", "archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {base} {SUITE} main\n", encoding="utf-8")
    settings = {
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": work / "parts",
        "Dir::Etc::Preferences": work / "parts" / "none",
        "Dir::Etc::PreferencesParts": work / "parts",
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Log": work,
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "0",
        "APT::Update::Error-Mode": "any",
        "APT::Get::AllowUnauthenticated": "0",
        "Acquire::AllowInsecureRepositories": "0",
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", "-q", "-y"]
    for name, value in settings.items():
        apt += ["-o", f"{name}={value}"]
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    shell.run(
        [*apt, "update"], what=f"asking the archive for its suite {SUITE}", timeout=180, env=environment
    )
    shell.run(
        [*apt, "install", "--download-only", *PACKAGES],
        what="downloading the packages",
        timeout=_FETCH_TIMEOUT,
        env=environment,
    )
    packages = [path for path in (work / "archives").glob("*.deb") if not _NOT_NEEDED.match(path.name)]
    if not packages:
        raise SandboxError("apt downloaded no packages")
    return sorted(packages)


def _make_runnable(folder: Path) -> None:
    loader = _loader(folder)
    (folder / "run").mkdir(exist_ok=True)
    shutil.copy2(loader.resolve(), folder / "run" / "mysqld")
    for unused in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(folder / unused, ignore_errors=True)
    unpacked_program(folder)


def _loader(folder: Path) -> Path:
    for loader in sorted((folder / "usr" / "lib").glob("*-linux-gnu*/ld-linux*.so.*")):
        return loader
    raise SandboxError(f"the unpacked server in {folder} has no program loader")


def _through(loader: Path, libraries: Path, name: str) -> tuple[str, ...]:
    return (str(loader), "--argv0", name, "--library-path", str(libraries))

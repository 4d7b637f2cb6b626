"""Which directory on which host is a node's data: proved, not believed.

A label, an address, an SSH alias may point to the wrong machine. So a word that nobody can guess is written
into a temporary table through SQL, and looked for through SSH in the open files of the process that runs in
the datadir: only then is *this* SQL server *that* process in *that* directory. From then on the directory is
known by device and inode, which a rename keeps, so the proof holds while the server is stopped.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass

from pfms_ha_tui.errors import OperationError, ShellError
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.nodes.parsing import text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone.host import Host

_DATA_FILES = (
    *("*.ibd", "*.ibu", "ibdata*", "undo*", "*.MYD", "*.MYI", "*.MAD", "*.MAI", "*.frm", "*.par"),
    *("*.CSV", "*.CSM", "*.sdi", "*.ARM", "*.ARZ", "*.isl", "*.opt"),
)
_TOP = frozenset(
    {"bin", "boot", "dev", "etc", "home", "lib", "opt", "proc", "root", "run", "sys", "usr", "var"}
)

_LOOK = """
say() {{ printf '%s=%s\\n' "$1" "$2"; }}
cd {datadir} || exit 1
D=$(pwd -P)
say real "$D"
say inode "$(stat -c %d:%i "$D")"
say device "$(stat -c %d "$D")"
say parent "$(stat -c %d "$D/..")"
say owner "$(stat -c %U:%G "$D")"
[ -f "$D/ibdata1" ] && [ -d "$D/mysql" ] && say data yes
say mounts "$(awk -v d="$D/" 'index($5, d) == 1' /proc/self/mountinfo | wc -l)"
say free "$(df -PB1 "$D/.." | awk 'NR > 1 {{ print $(NF-2) }}')"
say memory "$(awk '$1 == "MemAvailable:" {{ print $2 }}' /proc/meminfo)"
say boot "$(cat /proc/sys/kernel/random/boot_id)"
say links "$(find "$D" -maxdepth 2 -type l | head -n 3 | tr '\\n' ' ')"
say left "$(ls -d "$D".pfms-ha-* 2>/dev/null | tr '\\n' ' ')"
[ -w "$D/.." ] && [ "$(id -u)" = 0 ] && say root yes
say whole "$(du -sxB1 "$D" | cut -f1)"
say size "$({size})"
say end yes
"""
_OPEN_FILES = """
for f in /proc/{pid}/fd/*; do
  case $(readlink "$f") in
    *'#sql'*) if grep -qaF {word} "$f" 2>/dev/null; then echo proved; exit 0; fi ;;
  esac
done
echo unproved
"""


def size_script(directory: str) -> str:
    """Shell text that prints the bytes of the data files in a directory: what a backup copies.

    The same measure serves for the source (the total) and for the copy (how far it is).
    """
    names = " -o ".join(f"-name {shlex.quote(name)}" for name in _DATA_FILES)
    return (
        f"find {shlex.quote(directory)} -type f \\( {names} \\) ! -path '*/#innodb_temp/*' -printf '%s\\n'"
        " 2>/dev/null | awk '{ s += $1 } END { printf \"%.0f\", s }'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A datadir on its host."""

    path: str
    """Real, without symbolic links."""
    inode: str
    """``device:inode``."""
    boot: str
    """The running kernel's own id: two hosts never share it, two nodes on one host do."""
    owner: str
    free: int | None
    """Bytes free where a new datadir beside this one would be."""
    memory: int | None
    """Bytes of memory that are to be had."""
    size: int
    """Bytes of data files."""
    whole: int
    """Bytes that all of it takes on its disk, logs included."""
    own_mount: bool
    """It is a mount point itself, or has one below it: it cannot be renamed."""
    is_data: bool
    links: str
    """Symbolic links in it, blank between them."""
    left: str
    """What earlier clones left beside it."""
    may_rename: bool


async def look(host: Host, datadir: str) -> Place:
    """A datadir as its host sees it.

    Raises:
        ShellError: the host cannot be asked, or there is no such directory.
    """
    script = _LOOK.format(datadir=shlex.quote(datadir), size=size_script(datadir.rstrip("/") + "/"))
    said = await host.run(script, f"looking at {clean(datadir)}", timeout=120.0)
    pairs = (line.partition("=") for line in said.splitlines())
    values = {key: value.strip() for key, found, value in pairs if found}
    if "end" not in values or not values.get("real", "").startswith("/"):
        raise ShellError("the host's answer is incomplete", node=host.label, code="protocol")
    memory = values.get("memory", "")
    return Place(
        path=values["real"],
        inode=values["inode"],
        boot=values.get("boot", ""),
        owner=values.get("owner", ""),
        free=int(values["free"]) if values.get("free", "").isdigit() else None,
        memory=int(memory) * 1024 if memory.isdigit() else None,
        size=int(values["size"]) if values.get("size", "").isdigit() else 0,
        whole=int(values["whole"]) if values.get("whole", "").isdigit() else 0,
        own_mount=values.get("device") != values.get("parent") or values.get("mounts") != "0",
        is_data=values.get("data") == "yes",
        links=values.get("links", ""),
        left=values.get("left", ""),
        may_rename=values.get("root") == "yes",
    )


def insane(place: Place) -> list[str]:
    """Why a directory must not be taken for a datadir, whatever the server says; empty = it may."""
    parts = [part for part in place.path.split("/") if part]
    complaints = []
    if len(parts) < 2 or (len(parts) == 2 and parts[0] in _TOP - {"opt", "home", "run"}):
        complaints.append(f"its datadir {place.path} is a directory of the system itself")
    if not place.is_data:
        complaints.append(f"{place.path} does not hold a database server's data (ibdata1, mysql/)")
    if place.own_mount:
        complaints.append(
            f"{place.path} is a mount point, or has one below it, and cannot be renamed aside:"
            " put the datadir into a directory below the mount point"
        )
    if place.links:
        complaints.append(f"there are symbolic links in {place.path} ({place.links}): data is kept elsewhere")
    return complaints


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A running server, its process and its datadir, proved to belong together."""

    place: Place
    pid: int
    command: tuple[str, ...]
    """The program's path and its arguments."""
    pid_file: str | None


async def prove(link: Link, host: Host) -> Proved:
    """Prove which process and datadir a server is.

    Raises:
        PfmsError: it cannot be proved.
    """
    row = (await link.query("SELECT @@datadir AS datadir, @@pid_file AS pid_file"))[0]
    datadir, pid_file = text(row, "datadir"), text(row, "pid_file") or None
    place = await look(host, datadir)
    found = await host.shell.find_process(pid_file, datadir)
    if found.pid is None or not found.proved:
        raise OperationError(f"its server process is not proved on its host: {found.text}", node=link.label)
    word = secrets.token_hex(16)
    # a session of its own: what it sets, and its temporary table, end with it
    writing = await Link.open(link.node, link.cluster)
    try:
        await writing.call(lambda session: _write(session, word))
        said = await host.run(_OPEN_FILES.format(pid=found.pid, word=word), "looking at the server's files")
    finally:
        await writing.close()
    if said.strip() != "proved":
        raise OperationError(
            f"process {found.pid} on its host is not the server that answers at"
            f" {link.node.host}:{link.node.port}",
            node=link.label,
            code="identity",
            hint="host and ssh_host of this node must be the same machine",
        )
    if not link.dialect.mariadb:
        await _same_uuid(link, host, place)
    return Proved(
        place=place,
        pid=found.pid,
        command=await _command(host, found.pid),
        pid_file=_absolute(pid_file, place),
    )


async def _same_uuid(link: Link, host: Host, place: Place) -> None:
    uuid = await link.identity()
    said = await host.run(f"cat {shlex.quote(place.path + '/auto.cnf')}", "reading auto.cnf")
    if f"server-uuid={uuid}" not in said.replace(" ", "").splitlines():
        raise OperationError(
            f"auto.cnf in {place.path} names another server", node=link.label, code="identity"
        )


async def _command(host: Host, pid: int) -> tuple[str, ...]:
    said = await host.run(
        f"readlink /proc/{pid:d}/exe; tr '\\000\\n' '\\n ' </proc/{pid:d}/cmdline", "reading its command line"
    )
    program, *arguments = said.splitlines()
    return (program.removesuffix(" (deleted)"), *arguments[1:])


def _absolute(pid_file: str | None, place: Place) -> str | None:
    if pid_file is None or pid_file.startswith("/"):
        return pid_file
    return f"{place.path}/{pid_file}"


def _write(session: SqlSession, word: str) -> None:
    """A temporary table of an engine that writes at once; allowed on a read-only server, never logged."""
    session.execute("SET SESSION sql_log_bin = 0")
    session.execute("CREATE TEMPORARY TABLE pfms_ha_proof (word CHAR(40) CHARACTER SET latin1) ENGINE=MyISAM")
    session.execute("INSERT INTO pfms_ha_proof VALUES (%s)", (word,))

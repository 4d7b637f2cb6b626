"""Which process on a node's host is its server, and whether that is proved.

One small script (POSIX sh, no more than coreutils, grep and /proc) collects facts; :func:`judge` decides
here, where it can be tested. A process is *proved* to be the node's when the server's own pid file names it,
when it runs in (or was started with) the server's own datadir, or when it is the only server process of the
host and systemd runs it as the node's service (an account without rights can read neither pid file nor
working directory of another's process, but every process's control group). Only a proved process is ever
killed.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass

from pfms_ha_tui.cluster.observation import ProcessState

SERVER_NAMES = frozenset({"mysqld", "mariadbd", "mysqld-debug", "mariadbd-debug"})
_DEAD = frozenset("ZXx")
_STOPPED = frozenset("Tt")

_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
say clock "$(date +%s.%N)"
say uid "$(id -u)"
if { read -r line </proc/1/stat; } 2>/dev/null; then say visible yes; else say visible no; fi
if [ -n "$SUDO" ]; then if $SUDO true 2>/dev/null; then say sudo yes; else say sudo no; SUDO=; fi; fi
pid=
if [ -n "$PID_FILE" ]; then
  if { read -r pid <"$PID_FILE"; } 2>/dev/null; then :
  elif [ -n "$SUDO" ]; then pid=$($SUDO cat "$PID_FILE" 2>/dev/null | head -n 1); fi
fi
say pidfile "$pid"
if [ -n "$DATADIR" ]; then
  say datadir "$(readlink -f "$DATADIR" 2>/dev/null)"
  say df "$(df -Pk "$DATADIR" 2>/dev/null | tail -n 1)"
fi
for file in $(grep -lasE 'mysqld|mariadbd' /proc/[0-9]*/cmdline); do
  pid=${file#/proc/} pid=${pid%/cmdline} unit=
  { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
  cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null)
  [ -n "$cwd" ] || [ -z "$SUDO" ] || cwd=$($SUDO readlink "/proc/$pid/cwd" 2>/dev/null)
  { while read -r line; do case $line in *.service) unit=${line##*/} ;; esac; done
  } 2>/dev/null <"/proc/$pid/cgroup"
  say process "$pid"
  say stat "${stat##*) }"
  say exe "$(readlink "/proc/$pid/exe" 2>/dev/null)"
  say cwd "$cwd"
  say unit "$unit"
  say args "$(tr '\000\n' '\t ' <"/proc/$pid/cmdline" 2>/dev/null)"
  if kill -0 "$pid" 2>/dev/null; then say signal yes
  elif [ -n "$SUDO" ] && $SUDO kill -0 "$pid" 2>/dev/null; then say signal yes
  else say signal no; fi
done
say end yes
"""


def script(pid_file: str | None, datadir: str | None, *, sudo: bool) -> str:
    """The shell text that collects the facts.

    Args:
        pid_file: ``@@pid_file``; relative to the datadir unless absolute.
        datadir: ``@@datadir``.
        sudo: Whether the account may use ``sudo -n``.
    """
    if pid_file and not pid_file.startswith("/"):
        pid_file = f"{datadir.rstrip('/')}/{pid_file}" if datadir else None
    head = (
        f"PID_FILE={shlex.quote(pid_file or '')} DATADIR={shlex.quote(datadir or '')}"
        f" SUDO={shlex.quote('sudo -n' if sudo else '')}"
    )
    return f"{head}\n{_SCRIPT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProcess:
    """A process whose command line mentions a server."""

    pid: int
    state: str
    """The letter of ``/proc/PID/stat``."""
    exe: str = ""
    cwd: str = ""
    args: tuple[str, ...] = ()
    unit: str = ""
    """The systemd unit of its control group."""
    may_signal: bool = False

    @property
    def is_server(self) -> bool:
        """Whether the program itself is a server, not an editor or script that mentions one."""
        if self.state in _DEAD:
            return False
        started_as = self.args[0].rsplit("/", 1)[-1] if self.args else ""
        return started_as in SERVER_NAMES or self.exe.rsplit("/", 1)[-1] in SERVER_NAMES

    @property
    def started_with_datadir(self) -> str | None:
        """The ``--datadir`` of its command line."""
        for index, argument in enumerate(self.args):
            name, given, value = argument.partition("=")
            if name.replace("_", "-") in ("--datadir", "-h"):
                return value if given else next(iter(self.args[index + 1 : index + 2]), None)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the script found."""

    clock: float | None = None
    uid: int | None = None
    visible: bool = False
    """Whether processes of other accounts can be seen (``hidepid`` hides them)."""
    pid_file_says: int | None = None
    real_datadir: str | None = None
    disk_free: int | None = None
    """Bytes."""
    disk_total: int | None = None
    sudo: bool | None = None
    processes: tuple[HostProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProcess:
    """The node's server process."""

    state: ProcessState
    pid: int | None = None
    proved: bool = False
    may_signal: bool | None = None
    text: str = ""
    """Why, in one sentence."""


def parse(output: str) -> HostFacts | None:
    """The script's output as facts; ``None`` when it did not run to its end."""
    single: dict[str, str] = {}
    processes: list[dict[str, str]] = []
    for line in output.splitlines():
        key, found, value = line.partition("=")
        if not found:
            continue
        if key == "process":
            processes.append({})
        if processes and key in ("process", "stat", "exe", "cwd", "unit", "args", "signal"):
            processes[-1][key] = value
        else:
            single[key] = value
    if "end" not in single:
        return None
    total, free = _disk(single.get("df", ""))
    return HostFacts(
        clock=_number(single.get("clock", "").removesuffix(".%N").removesuffix(".N")),
        uid=_whole(single.get("uid")),
        visible=single.get("visible") == "yes",
        pid_file_says=_whole(single.get("pidfile")),
        real_datadir=single.get("datadir") or None,
        disk_free=free,
        disk_total=total,
        sudo=single["sudo"] == "yes" if "sudo" in single else None,
        processes=tuple(process for process in map(_process, processes) if process is not None),
    )


def judge(facts: HostFacts, datadir: str | None, services: Collection[str] = ()) -> FoundProcess:
    """The node's server process, as far as the facts go.

    Args:
        datadir: ``@@datadir`` as the server last said it.
        services: Names of systemd services that may be the node's.

    "None" is testimony that a master is gone, so it is only said where other accounts' processes can be
    seen; a server process that may be the node's, but is not proved to be, makes the answer uncertain.
    """
    servers = [process for process in facts.processes if process.is_server]
    known = {path.rstrip("/") for path in (datadir, facts.real_datadir) if path}
    proved = [process for process in servers if _is_proved(process, facts, known)]
    if len(proved) == 1:
        return _found(proved[0], proved=True, text=f"server process {proved[0].pid}")
    if len(proved) > 1:
        pids = ", ".join(str(process.pid) for process in proved)
        return FoundProcess(state=ProcessState.UNKNOWN, text=f"several processes claim this datadir: {pids}")
    open_ones = [process for process in servers if not _is_foreign(process, known, facts)]
    if len(open_ones) == 1:
        only = open_ones[0]
        if len(servers) == 1 and only.unit.removesuffix(".service") in services:
            return _found(only, proved=True, text=f"server process {only.pid}")
        return _found(only, proved=False, text=f"server process {only.pid}, not proved to be this node's")
    if open_ones:
        return FoundProcess(
            state=ProcessState.UNKNOWN, text="several server processes, none proved to be this node's"
        )
    if not facts.visible:
        return FoundProcess(
            state=ProcessState.UNKNOWN, text="the account cannot see the processes of other accounts"
        )
    return FoundProcess(state=ProcessState.NONE, text="no server process")


def can_fence(facts: HostFacts, found: FoundProcess) -> bool | None:
    """Whether the account may stop the server: shown by signal 0, or by being root; ``None`` if untested."""
    if found.may_signal is not None:
        return found.may_signal
    if facts.uid == 0 or facts.sudo:
        return True
    return False if facts.sudo is False else None


def _found(process: HostProcess, *, proved: bool, text: str) -> FoundProcess:
    frozen = process.state in _STOPPED
    return FoundProcess(
        state=ProcessState.FROZEN if frozen else ProcessState.RUNNING,
        pid=process.pid,
        proved=proved,
        may_signal=process.may_signal,
        text=f"{text}, stopped by a signal" if frozen else text,
    )


def _is_proved(process: HostProcess, facts: HostFacts, known: set[str]) -> bool:
    if _is_foreign(process, known, facts):
        return False
    started_with = process.started_with_datadir
    return (
        process.pid == facts.pid_file_says
        or process.cwd.rstrip("/") in known
        or (started_with is not None and started_with.rstrip("/") in known)
    )


def _is_foreign(process: HostProcess, known: set[str], facts: HostFacts) -> bool:
    """Whether it demonstrably serves another datadir.

    A server changes into its datadir early in its start (before that it is in ``/``, which says nothing).
    The working directory is a real path, so it speaks against a process only if ours is known as one too.
    """
    if not known or process.cwd.rstrip("/") in known:
        return False
    started_with = process.started_with_datadir
    if started_with is not None and started_with.startswith("/"):
        return started_with.rstrip("/") not in known
    return facts.real_datadir is not None and process.cwd not in ("", "/")


def _process(values: dict[str, str]) -> HostProcess | None:
    pid = _whole(values.get("process"))
    if pid is None or not values.get("stat"):
        return None
    return HostProcess(
        pid=pid,
        state=values["stat"][0],
        exe=values.get("exe", "").removesuffix(" (deleted)"),
        cwd=values.get("cwd", "").removesuffix(" (deleted)"),
        unit=values.get("unit", ""),
        args=tuple(values.get("args", "").rstrip("\t").split("\t")),
        may_signal=values.get("signal") == "yes",
    )


def _disk(line: str) -> tuple[int | None, int | None]:
    """Total and free bytes out of a line of ``df -Pk``; the device's name may hold blanks."""
    words = line.rsplit(None, 5)
    if len(words) < 6:
        return None, None
    total, free = _whole(words[1]), _whole(words[3])
    return (None if total is None else total * 1024), (None if free is None else free * 1024)


def _whole(value: str | None) -> int | None:
    try:
        return int((value or "").strip())
    except ValueError:
        return None


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None

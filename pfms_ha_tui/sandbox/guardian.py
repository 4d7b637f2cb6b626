"""The guardian: a small process that outlives the owner of a sandbox and clears the sandbox away.

Run by file (``python -I guardian.py ROOT LIFELINE_FD OWNER_PID``), in a session of its own, with nothing but
the standard library, so that it starts fast, stays small, and no signal sent to the owner's group reaches it.
It waits until the owner closes its end of the lifeline pipe or is gone, in whatever way (``kill -9``
included), and then does what :func:`clear_away` does. The same function serves the orderly stop, so there is
one way to clean up.

Every process of a sandbox carries :data:`MARKER` in its environment, and nothing else is ever signalled: a
pid alone proves nothing, it may have been reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARKER = "PFMS_SANDBOX"
"""Name of the environment variable that says to which sandbox root a process belongs."""

ROOT_PREFIX = "pfms-sandbox-"
LOCK_NAME = "lifeline.lock"
FIREWALL_NAME = "firewall.rules"
"""One ``iptables`` argument list a line: the rules this sandbox added to the machine's own tables."""

_CLEAR_DEADLINE = 20.0
_STARTING_GRACE = 60.0


def processes_of(root: Path) -> list[int]:
    """Pids of the living processes of the sandbox at ``root``; zombies have no environment left."""
    marker = f"{MARKER}={root}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            environment = Path(f"/proc/{entry.name}/environ").read_bytes()
        except OSError:
            continue
        if marker in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def clear_away(root: Path) -> bool:
    """Kill the sandbox's processes, take back its firewall rules, remove its directory; say if all is gone.

    The data of a sandbox is disposable, so everything gets SIGKILL at once: it also ends frozen processes.
    Network namespaces have no name and end with their last process.
    """
    deadline = time.monotonic() + _CLEAR_DEADLINE
    while processes := processes_of(root):
        for pid in processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    _take_back_firewall_rules(root)
    while root.exists():
        shutil.rmtree(root, ignore_errors=True)
        if time.monotonic() > deadline:
            return False
    return True


def _take_back_firewall_rules(root: Path) -> None:
    try:
        rules = (root / FIREWALL_NAME).read_text().splitlines()
    except OSError:
        return
    for rule in reversed(rules):
        subprocess.run(["iptables", "-w", "-D", *rule.split()], capture_output=True, timeout=10, check=False)


def clear_abandoned(parent: Path) -> list[Path]:
    """Clear away the sandboxes under ``parent`` whose owner *and* guardian are dead.

    The lifeline lock is held by both for as long as either lives; who can take it has found a dead sandbox.
    """
    cleared = []
    for root in parent.glob(f"{ROOT_PREFIX}*"):
        with contextlib.suppress(OSError):
            details = root.stat()
            if details.st_uid != os.geteuid() or not root.is_dir():
                continue
            try:
                lock = os.open(root / LOCK_NAME, os.O_RDWR)
            except FileNotFoundError:
                if time.time() - details.st_mtime > _STARTING_GRACE and clear_away(root):
                    cleared.append(root)
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if clear_away(root):
                    cleared.append(root)
            finally:
                os.close(lock)
    return cleared


def wait_for_end_of(lifeline: int, owner: int) -> None:
    """Return when the other end of the pipe is closed, or the owner is no longer this process's parent."""
    while os.getppid() == owner:
        readable, _, _ = select.select([lifeline], [], [], 1.0)
        if readable and not os.read(lifeline, 1):
            return


def main(arguments: list[str]) -> int:
    """Entry point of the process."""
    root, lifeline, owner = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.chdir(tempfile.gettempdir())
    wait_for_end_of(lifeline, owner)
    return 0 if clear_away(root) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Running programs for the sandbox: with a deadline and a clear error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox.guardian import MARKER

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL = 600


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text_input: str | None = None,
    node: str | None = None,
) -> str:
    """Run a program to its end and return what it wrote to stdout.

    Args:
        what: The sentence's subject if it fails, as in "creating the template failed".

    Raises:
        SandboxError: it is not there, failed, or did not end within ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            input=text_input,
            stdin=subprocess.DEVNULL if text_input is None else None,
            capture_output=True,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            timeout=timeout,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise SandboxError(f"{what} failed: {command[0]} is not installed", node=node) from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{what} did not end within {timeout:g} s", node=node) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-_TAIL:]
        raise SandboxError(f"{what} failed with exit status {done.returncode}: {said}", node=node)
    return done.stdout


def python_environment(root: Path) -> dict[str, str]:
    """Environment for a Python process of the sandbox: this one's, the marker, the way to this package."""
    package_home = str(Path(__file__).resolve().parents[2])
    existing = os.environ.get("PYTHONPATH")
    path = package_home if not existing else f"{package_home}{os.pathsep}{existing}"
    return {**os.environ, MARKER: str(root), "PYTHONPATH": path}


def node_environment(root: Path, directory: Path) -> dict[str, str]:
    """Environment for whatever runs on a node: nothing of this process's, the node's own PATH first."""
    environment = {
        MARKER: str(root),
        "PATH": f"{directory / 'bin'}:{SYSTEM_PATH}",
        "HOME": str(directory / "home"),
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "USER": "pandora",
        "LOGNAME": "pandora",
    }
    if zone := os.environ.get("TZ"):
        environment["TZ"] = zone
    return environment


def is_alive(pid: int) -> bool:
    """Whether the process exists, and is no mere zombie.

    A killed server is a zombie at once, but holds its files until the last of its threads has ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    if stat.rpartition(")")[2].split()[0] != "Z":
        return True
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > 1
    except OSError:
        return False

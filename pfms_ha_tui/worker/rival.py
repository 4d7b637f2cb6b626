"""Another failover manager on this host: pandora_ha, serving the same databases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_INTERPRETERS = re.compile(r"^perl[\d.]*$")


def find_rival(proc: Path = Path("/proc")) -> str | None:
    """One sentence naming a running pandora_ha in ``ha_mode pandora``; ``None`` without one.

    Its mode stands in the pandora_server.conf it was started with. If that file cannot be read, the
    mode is taken for ``pandora``: two managers that fight cost more than an automatic mode refused.
    """
    for pid, arguments in _processes(proc):
        if not _is_pandora_ha(arguments):
            continue
        config = _config_of(arguments, proc / pid / "cwd")
        if config is None:
            mode: str | None = None
        else:
            mode = _ha_mode(config)
        if mode is None or mode == "pandora":
            known = "" if mode else " (its configuration cannot be read from here)"
            return f"pandora_ha runs on this host as process {pid}{known}"
    return None


def _processes(proc: Path) -> Iterator[tuple[str, Sequence[str]]]:
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            raw = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        arguments = raw.decode("utf-8", "replace").rstrip("\0").split("\0")
        if arguments != [""]:
            yield entry.name, arguments


def _is_pandora_ha(arguments: Sequence[str]) -> bool:
    """The program itself, or Perl running it; not an editor or a grep that names it."""
    program = Path(arguments[0]).name
    if program.split()[0:1] == ["pandora_ha"]:
        return True
    if not _INTERPRETERS.match(program):
        return False
    script = next((word for word in arguments[1:] if not word.startswith("-")), "")
    return Path(script).name in ("pandora_ha", "pandora_ha.pl")


def _config_of(arguments: Sequence[str], directory: Path) -> Path | None:
    named = [word for word in arguments[1:] if word.endswith(".conf")]
    return directory / named[-1] if named else None


def _ha_mode(config: Path) -> str | None:
    """``ha_mode`` as pandora_server.conf says it, ``pacemaker`` when it does not; ``None`` = unreadable."""
    try:
        lines = config.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    mode = "pacemaker"
    for line in lines:
        match = re.match(r"^\s*ha_mode\s+(\S+)", line)
        if match:
            mode = match[1]
    return mode

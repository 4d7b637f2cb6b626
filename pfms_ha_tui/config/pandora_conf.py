"""``pandora_server.conf`` as Pandora's own server reads it.

Pandora takes a line only if it begins with a letter, splits it at the first run of blanks, compares
keys without regard to case, trims the value, and lets a later line win; everything else it skips
without a word. Any bytes are accepted: UTF-8, and Latin-1 where they are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pfms_ha_tui.config.files import text_of
from pfms_ha_tui.config.kinds import LABEL, Host, WrongValueError

USUAL_PATH = Path("/etc/pandora/pandora_server.conf")

DEFAULTS: Mapping[str, str] = {
    "dbport": "3306",
    "dbname": "pandora",
    "ha_sshuser": "pandora",
    "ha_sshport": "22",
    "incomingdir": "/var/spool/pandora/data_in",
    "ha_resync": "/usr/share/pandora_server/util/pandora_ha_resync_slave.sh",
    "ha_resync_log": "/var/log/pandora/pandora_ha_resync.log",
    "ha_connect_retries": "2",
    "splitbrain_autofix": "0",
    "ha_max_splitbrain_retries": "2",
    "ha_max_resync_wait_retries": "3",
    "ha_resync_sleep": "10",
    "server_threshold": "30",
    "pandora_service_cmd": "service pandora_server",
}
"""What Pandora assumes for a key that is not in the file (of those used here)."""

_FALLBACKS: Mapping[str, str] = {
    "ha_dbuser": "dbuser",
    "ha_dbpass": "dbpass",
    "repl_dbuser": "dbuser",
    "repl_dbpass": "dbpass",
    "ha_hosts": "ha_host",
}
KEYS = frozenset((*DEFAULTS, *_FALLBACKS, *_FALLBACKS.values(), "dbhost", "ha_hosts_file", "ha_mode"))
"""The keys that are used here."""

_LINE = re.compile(r"([A-Za-z]\S*)\s+(.*)", re.DOTALL)
_INDENTED = re.compile(r"\s+([A-Za-z]\S*)\s")


@dataclass(frozen=True, slots=True)
class Entry:
    """The value that won, and its line (counted from 1); ``line`` None = Pandora's own default."""

    key: str
    value: str
    line: int | None


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One entry of ``ha_hosts``."""

    host: str
    position: int
    """Counted from 1 over all entries, the skipped ones too: a label made of it stays when one is
    commented out."""


@dataclass(frozen=True, slots=True)
class PandoraConf:
    """A read file."""

    path: Path
    entries: Mapping[str, Entry]
    indented: Mapping[str, int] = field(default_factory=dict)
    """key → line of lines that Pandora skips because they begin with a blank."""

    def get(self, key: str) -> Entry | None:
        """What Pandora would use for ``key``: the file's, that of the key it falls back to, the default."""
        for name in (key, _FALLBACKS.get(key)):
            if name and (entry := self.entries.get(name)) and entry.value:
                return entry
        default = DEFAULTS.get(key)
        return None if default is None else Entry(key, default, None)

    def hosts(self) -> tuple[HostEntry, ...]:
        """The entries of ``ha_hosts`` in order of priority, without those commented out by ``#``."""
        listed = enumerate(self._listed_hosts(), start=1)
        return tuple(HostEntry(word, at) for at, word in listed if not word.startswith("#"))

    def skipped_hosts(self) -> tuple[str, ...]:
        """The entries of ``ha_hosts`` that are commented out."""
        return tuple(word for word in self._listed_hosts() if word.startswith("#"))

    def _listed_hosts(self) -> tuple[str, ...]:
        entry = self.get("ha_hosts")
        words = (word.strip() for word in entry.value.split(",")) if entry is not None else ()
        return tuple(word for word in words if word)

    def hosts_file(self) -> Entry:
        """``ha_hosts_file``, or where it lies by the incoming directory."""
        named = self.entries.get("ha_hosts_file")
        if named is not None and named.value:
            return named
        incoming = self.get("incomingdir") or Entry("incomingdir", DEFAULTS["incomingdir"], None)
        value = f"{incoming.value.rstrip('/')}/conf/pandora_ha_hosts.conf"
        return Entry("ha_hosts_file" if incoming.line is None else "incomingdir", value, incoming.line)


def parse(path: Path, data: bytes) -> PandoraConf:
    """The settings in ``data``, the bytes of the file at ``path``. Never fails."""
    entries: dict[str, Entry] = {}
    indented: dict[str, int] = {}
    for number, raw in enumerate(text_of(data).split("\n"), start=1):
        line = raw.rstrip("\r")
        if found := _LINE.match(line):
            key = found[1].lower()
            entries[key] = Entry(key, found[2].strip(), number)
        elif found := _INDENTED.match(line):
            indented[found[1].lower()] = number
    return PandoraConf(path, entries, indented)


def labels(hosts: tuple[HostEntry, ...]) -> tuple[str, ...]:
    """A label for each host: the first part of its name, or ``node`` and its number if that is not clear."""
    numbered = tuple(f"node{entry.position}" for entry in hosts)
    named = tuple(_short_name(entry.host) or number for entry, number in zip(hosts, numbered, strict=True))
    return named if len({name.lower() for name in named}) == len(named) else numbered


def _short_name(host: str) -> str | None:
    try:
        name = Host().read(host).split(".")[0]
    except WrongValueError:
        return None
    return name if LABEL.fullmatch(name) and not name.isdigit() and ":" not in host else None

"""The settings of the whole program, from the file that was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pfms_ha_tui.config.clusters import Source, read_cluster
from pfms_ha_tui.config.faults import Fault, SettingsError, nearest
from pfms_ha_tui.config.files import exists
from pfms_ha_tui.config.kinds import LABEL, File, WrongValueError, shown
from pfms_ha_tui.config.options import CLUSTER
from pfms_ha_tui.config.pandora_conf import USUAL_PATH, PandoraConf
from pfms_ha_tui.config.places import find_config, usual_configs
from pfms_ha_tui.config.processes import console_settings, worker_settings
from pfms_ha_tui.config.reading import Document, Reading, Table, dotted, is_toml
from pfms_ha_tui.config.settings import ClusterSettings, Settings

ENVIRONMENT = (
    "PFMS_HA_TUI_CONFIG",
    "PFMS_HA_TUI_STATE_DIR",
    "PFMS_HA_TUI_SOCKET",
    "PFMS_HA_TUI_LOG_FILE",
    "PFMS_HA_TUI_THEME",
    "PFMS_HA_TUI_MODE",
    "PFMS_HA_TUI_ADMIN_PASSWORD",
    "PFMS_HA_TUI_REPLICATION_PASSWORD",
)
"""Variables that override the file. The mode and the passwords are those of every cluster."""

_TOP = ("worker", "console", "clusters")


def load(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings, complete and checked.

    ``path`` is a ``config.toml`` or a ``pandora_server.conf``; without it the usual places are
    searched (:func:`find_config`).

    Raises:
        SettingsError: a ConfigError with every fault, each with file, line where known, and key.
    """
    source = find_config(path, environ=environ)
    if source is None:
        places = ", ".join(str(place) for place in usual_configs(environ))
        hint = "name a file with --config, or try pfms-ha-tui demo"
        raise SettingsError([Fault(reason=f"no settings found: none of {places} exists", hint=hint)])
    reading = Reading(environ)
    settings = _Loader(reading, source).load()
    if settings is None or reading.faults:
        faults = sorted(reading.faults, key=lambda fault: (fault.file or "", fault.line or 0))
        if reading.dropped:
            faults.append(Fault(reason="many more faults"))
        raise SettingsError(faults, warnings=reading.warnings, files=reading.files)
    return settings


class _Loader:
    def __init__(self, reading: Reading, source: Path):
        self._reading = reading
        self._path = source

    def load(self) -> Settings | None:
        """Everything, or ``None`` when the file cannot be read at all."""
        content = self._reading.read_file(self._path)
        if content is None:
            return None
        if is_toml(content):
            if content.others_write:
                hint = f"chmod o-w {self._path}"
                self._reading.fault(
                    "can be changed by everybody, and its commands are run", file=self._path, hint=hint
                )
            document = self._reading.document(content)
            if document is None:
                return None
            clusters = self._clusters(document)
        else:
            document = None
            self._reading.files.remove(self._path)
            conf = self._reading.pandora(self._path)
            clusters = self._pandora_alone(conf) if conf is not None else ()
        worker, console = worker_settings(self._reading, document), console_settings(self._reading, document)
        self._misspelt_variables()
        return Settings(
            clusters=clusters,
            worker=worker,
            console=console,
            source=self._path,
            warnings=tuple(self._reading.warnings),
            files=tuple(self._reading.files),
            origins=dict(self._reading.origins),
        )

    def _clusters(self, document: Document) -> tuple[ClusterSettings, ...]:
        reading = self._reading
        for key in document.data:
            if key not in _TOP:
                in_cluster = CLUSTER.option(key) is not None
                meant = f"clusters.NAME.{key}" if in_cluster else reading.nearest(key, _TOP)
                reading.fault_at(document, (key,), "is not a known key", meant=meant)
        tables = reading.table(document, document.data, ("clusters",))
        if "clusters" not in document.data and exists(USUAL_PATH):
            conf = reading.pandora(USUAL_PATH)
            return self._pandora_alone(conf) if conf is not None else ()
        if not document.data.get("clusters"):
            hint = f"add a [clusters.NAME] table; {USUAL_PATH} would do too, but does not exist"
            reading.fault_at(document, ("clusters",), "no cluster is described", hint=hint)
        found = [None if reading.enough else self._cluster(document, tables, name) for name in tables]
        return tuple(cluster for cluster in found if cluster is not None)

    def _cluster(self, document: Document, tables: Table, name: str) -> ClusterSettings | None:
        reading, path = self._reading, ("clusters", name)
        if not LABEL.fullmatch(name):
            reason = "the name of a cluster is 1 to 32 letters, digits, dots, underscores or hyphens"
            reading.fault_at(document, path, reason)
        raw = tables[name]
        if not isinstance(raw, dict):
            option = CLUSTER.option(name)
            meant = f"clusters.NAME.{name}" if option is not None else None
            reading.fault_at(
                document, path, f"expects a table [{dotted(path)}], not {shown(raw)}", meant=meant
            )
            return None
        secret = next((option.key for option in CLUSTER.options if option.secret and option.key in raw), None)
        if secret is not None and document.others_read:
            reason = "is a password in a file that everybody can read"
            reading.fault_at(document, (*path, secret), reason, hint=f"chmod o-rwx {document.path}")
        conf: PandoraConf | None = None
        named = self._named_pandora_conf(document, raw)
        if named is not None:
            conf = reading.pandora(named, key=(document, (*path, "pandora_conf")))
        return read_cluster(
            reading, Source(name, document, raw, conf, unread=named is not None and conf is None)
        )

    @staticmethod
    def _named_pandora_conf(document: Document, table: Table) -> Path | None:
        try:
            named = File().read(table["pandora_conf"])
        except (KeyError, WrongValueError):
            return None  # absent, or a fault when the whole table is read
        return None if named is None else document.path.parent / named

    def _pandora_alone(self, conf: PandoraConf) -> tuple[ClusterSettings, ...]:
        database = conf.get("dbname")
        name = database.value if database is not None and LABEL.fullmatch(database.value) else "pandora"
        cluster = read_cluster(self._reading, Source(name, None, {}, conf))
        return () if cluster is None else (cluster,)

    def _misspelt_variables(self) -> None:
        """Say so when a variable is named almost like one that counts."""
        for name in self._reading.environ:
            if not name.startswith("PFMS_HA_TUI_") or name in ENVIRONMENT:
                continue
            if meant := nearest(name, ENVIRONMENT, cutoff=0.9):
                self._reading.warn(f"environment variable {name} is not read (did you mean {meant}?)")

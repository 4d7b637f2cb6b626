"""One run of reading the settings: what was found, where it came from, and everything that is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pfms_ha_tui.config import files, toml_lines
from pfms_ha_tui.config.faults import Fault, clean, nearest
from pfms_ha_tui.config.kinds import Kind, OneOf, WrongValueError, shown
from pfms_ha_tui.config.options import Option, Section
from pfms_ha_tui.config.pandora_conf import KEYS, PandoraConf, parse
from pfms_ha_tui.masking import Secret

_TOML_LINE = re.compile(rb"^\s*\[{1,2}\s*[\"'A-Za-z]", re.MULTILINE)
_MOST_FAULTS = 200
_ENDLESS_NAME = re.compile(r"(?:[\w\"'-]{1,200}[ \t]*\.[ \t]*){51}")
Made = TypeVar("Made")
KeyPath = toml_lines.Path
Table = Mapping[str, object]

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the program uses it, and where it came from."""

    value: object
    origin: str


Values = dict[str, Value]
"""Field (:attr:`Option.into`) → value; a field that is not there has its default."""


@dataclass(frozen=True, slots=True)
class Document:
    """A read ``config.toml``."""

    path: Path
    data: Table
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    others_read: bool = False

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of the innermost table around it that has one."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None


class Reading:
    """Collects faults, warnings and origins while the settings are read."""

    def __init__(self, environ: Mapping[str, str]):
        self.environ = environ
        self.faults: list[Fault] = []
        self.dropped = 0
        """Faults beyond those that anybody would read."""
        self.warnings: list[str] = []
        self.files: list[Path] = []
        self.origins: dict[str, str] = {}

    @property
    def enough(self) -> bool:
        """Whether so much is wrong that looking for more is a waste of time."""
        return len(self.faults) >= _MOST_FAULTS

    def nearest(self, word: str, valid: Iterable[str]) -> str | None:
        """The one of ``valid`` that was probably meant."""
        return None if self.enough else nearest(word, valid)

    def fault(
        self,
        reason: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        key: str | None = None,
        meant: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Remember one thing that is wrong, unless enough is."""
        if self.enough:
            self.dropped += 1
            return
        where = str(file) if file is not None else None
        self.faults.append(Fault(reason=reason, file=where, line=line, key=key, nearest=meant, hint=hint))

    def fault_at(
        self,
        document: Document,
        path: KeyPath,
        reason: str,
        *,
        meant: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Remember one thing that is wrong with a key of ``document``."""
        line = document.line(path)
        self.fault(reason, file=document.path, line=line, key=dotted(path), meant=meant, hint=hint)

    def warn(self, text: str) -> None:
        """Remember something that is not wrong, but worth a sentence."""
        if (line := clean(text)) not in self.warnings:
            self.warnings.append(line)

    def read_file(self, path: Path, *, key: tuple[Document, KeyPath] | None = None) -> files.Content | None:
        """The content of a file; why it cannot be read becomes a fault, of the ``key`` that names it."""
        try:
            content = files.read(path)
        except files.UnreadableError as error:
            if key is None:
                self.fault(error.reason, file=path, hint=error.hint)
            else:
                self.fault_at(*key, f"{path} {error.reason}", hint=error.hint)
            return None
        if path not in self.files:
            self.files.append(path)
        return content

    def document(self, content: files.Content) -> Document | None:
        """The TOML in ``content``."""
        path = content.path
        try:
            text = content.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.fault("is not UTF-8 text", file=path, line=content.data.count(b"\n", 0, error.start) + 1)
            return None
        # TOML's own newlines only: tomllib refuses a lone carriage return, and counts lines after this.
        text = text.replace("\r\n", "\n")
        if (endless := _ENDLESS_NAME.search(text)) is not None:
            # tomllib takes the square of the parts in time: minutes for a file of 100 kB.
            reason = "holds a name of more than 50 parts, which no settings have"
            self.fault(reason, file=path, line=text.count("\n", 0, endless.start()) + 1)
            return None
        try:
            data = tomllib.loads(text)
            lines = toml_lines.key_lines(text)
        except RecursionError:
            self.fault("is nested too deeply", file=path)
            return None
        except ValueError as error:
            reason, line = _syntax(str(error), text)
            self.fault(reason, file=path, line=line)
            return None
        return Document(path, data, lines, content.others_read)

    def pandora(self, path: Path, *, key: tuple[Document, KeyPath] | None = None) -> PandoraConf | None:
        """Pandora's own file, with the warnings it deserves."""
        content = self.read_file(path, key=key)
        if content is None:
            return None
        conf = parse(path, content.data)
        secrets = [name for name in ("dbpass", "ha_dbpass", "repl_dbpass") if name in conf.entries]
        if content.others_read and secrets:
            self.warn(f"{path} holds passwords and is readable by everybody (chmod o-r {path})")
        if content.others_write:
            self.warn(f"{path} can be changed by everybody, and its commands are run (chmod o-w {path})")
        for name, line in conf.indented.items():
            if name in KEYS:
                self.warn(f"{path}:{line}: {name} begins with a blank, so Pandora ignores this line")
        mode = conf.entries.get("ha_mode")
        if mode is not None and mode.value.lower() == "pacemaker":
            self.warn(f"{path}:{mode.line}: ha_mode is pacemaker, and two managers must not share the nodes")
        return conf

    def section(self, document: Document, section: Section, table: Table, path: KeyPath) -> Values:
        """The values of one table; unknown keys and wrong values become faults."""
        values: Values = {}
        for key, raw in table.items():
            option = section.option(key)
            if option is not None:
                if (value := self._value(document, option, raw, (*path, key))) is not None:
                    values[option.into] = value
            elif key not in section.arrays and key not in section.maps:
                self._unknown(document, section, table, (*path, key))
        return values

    def mapping(
        self,
        document: Document,
        table: Table,
        path: KeyPath,
        kind: Kind,
        *,
        valid: Iterable[str] | None = None,
    ) -> dict[str, str]:
        """A table whose keys are free, or one of ``valid``; its values are texts of ``kind``."""
        found: dict[str, str] = {}
        valid = None if valid is None else tuple(valid)
        for key, raw in self.table(document, table, path).items():
            at = (*path, key)
            if valid is not None and key not in valid:
                self.fault_at(document, at, "is not known", meant=self.nearest(key, valid))
                continue
            try:
                found[key] = str(kind.read(raw))
            except WrongValueError as error:
                self.fault_at(document, at, f"{error}, not {shown(raw)}")
        return found

    def table(self, document: Document, parent: Table, path: KeyPath) -> Table:
        """The table at the end of ``path``; an absent one is empty, anything else a fault."""
        raw = parent.get(str(path[-1]), {})
        if isinstance(raw, dict):
            return raw
        self.fault_at(document, path, f"expects a table [{dotted(path)}], not {shown(raw)}")
        return {}

    def tables(self, document: Document, parent: Table, path: KeyPath) -> list[tuple[Table, KeyPath]]:
        """The array of tables at the end of ``path``, each with its own path."""
        raw = parent.get(str(path[-1]), [])
        if not isinstance(raw, list):
            self.fault_at(document, path, f"expects tables [[{dotted(path)}]], not {shown(raw)}")
            return []
        found: list[tuple[Table, KeyPath]] = []
        for place, element in enumerate(raw):
            if isinstance(element, dict):
                found.append((element, (*path, place)))
            else:
                self.fault_at(document, (*path, place), f"expects a table, not {shown(element)}")
        return found

    def pandora_values(self, options: Iterable[Option], conf: PandoraConf) -> Values:
        """What Pandora's own file gives for these options."""
        values: Values = {}
        for option in options:
            if option.pandora is None:
                continue
            entry = conf.hosts_file() if option.pandora == "ha_hosts_file" else conf.get(option.pandora)
            if entry is None:
                continue
            origin = f"{conf.path.name}, Pandora's default"
            if entry.line is not None:
                origin = f"{conf.path.name}:{entry.line} {entry.key}"
            try:
                value = option.kind.parse(entry.value)
            except WrongValueError as error:
                reason = str(error) if option.secret else f"{error}, not {shown(entry.value)}"
                self.fault(reason, file=conf.path, line=entry.line, key=entry.key)
                continue
            values[option.into] = Value(Secret(str(value)) if option.secret else value, origin)
        return values

    def environment(self, name: str, kind: Kind, *, secret: bool = False) -> Value | None:
        """The value of an environment variable; an empty one counts as absent."""
        text = self.environ.get(name, "")
        if not text:
            return None
        try:
            value = kind.parse(text)
        except WrongValueError as error:
            self.fault(str(error) if secret else f"{error}, not {shown(text)}", file="environment", key=name)
            return None
        return Value(Secret(str(value)) if secret else value, f"environment {name}")

    def note_origins(self, section: Section, values: Values, prefix: str) -> None:
        """Remember where the values of a table came from."""
        for option in section.options:
            if option.into in values:
                self.origins[f"{prefix}.{option.key}"] = values[option.into].origin

    def _value(self, document: Document, option: Option, raw: object, path: KeyPath) -> Value | None:
        try:
            value = option.kind.read(raw)
        except WrongValueError as error:
            reason = str(error) if option.secret else f"{error}, not {shown(raw)}"
            words = option.kind.words if isinstance(option.kind, OneOf) else ()
            meant = nearest(raw, words) if isinstance(raw, str) else None
            hint = None if meant else option.doc.removesuffix(".")
            self.fault_at(document, path, reason, meant=meant, hint=hint)
            return None
        if isinstance(value, Path):
            value = document.path.parent / value
        line = document.line(path)
        where = document.path.name if line is None else f"{document.path.name}:{line}"
        return Value(Secret(str(value)) if option.secret else value, where)

    def _unknown(self, document: Document, section: Section, table: Table, path: KeyPath) -> None:
        key = str(path[-1])
        by_pandora = {option.pandora: option.key for option in section.options if option.pandora}
        inner = table[key]
        if isinstance(inner, dict):
            # A table where this file has flat keys: [clusters.x.ssh] key = … is meant as ssh_key.
            prefix = f"{key}_"
            flat = [name for name in section.names if name.startswith(prefix)]
            if flat:
                for below in inner:
                    meant = self.nearest(prefix + below, flat)
                    self.fault_at(
                        document, (*path, below), "is not a known key", meant=self._beside(path, meant)
                    )
                if inner:
                    return
        meant = by_pandora.get(key.lower()) or self.nearest(key, section.names)
        self.fault_at(document, path, "is not a known key", meant=self._beside(path, meant))

    @staticmethod
    def _beside(path: KeyPath, key: str | None) -> str | None:
        return dotted((*path[:-1], key)) if key else None


def dotted(path: KeyPath) -> str:
    """A path as a person would write it: ``clusters.pandora.nodes[2].port``, counted from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            plain = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{clean(part, longest=60)}"'
            text += f".{plain}" if text else plain
    return text


def fields(values: Values, prefix: str = "") -> dict[str, object]:
    """The fields below ``prefix`` (``policy`` → ``max_lag`` …), or those of the section itself."""
    if not prefix:
        return {name: value.value for name, value in values.items() if "." not in name}
    start = f"{prefix}."
    return {name.removeprefix(start): value.value for name, value in values.items() if name.startswith(start)}


def is_toml(content: files.Content) -> bool:
    """Whether a file is a ``config.toml``, not a ``pandora_server.conf``: by its name, else by its look."""
    if content.path.suffix in (".toml", ".conf"):
        return content.path.suffix == ".toml"
    return bool(_TOML_LINE.search(content.data)) or not parse(content.path, content.data).entries


def make(form: Callable[..., Made], values: Mapping[str, object]) -> Made:
    """A dataclass of the settings; the kinds of the option table give what its fields want (tested)."""
    return form(**values)


def _syntax(message: str, text: str) -> tuple[str, int | None]:
    found = _POSITION.search(message)
    line: int | None = None
    reason = message
    if found is not None:
        line = int(found[1]) if found[1] else text.count("\n") + 1
        column = f" in column {found[2]}" if found[2] else ""
        reason = f"{message[: found.start()]}{column}"
    return f"is not valid TOML: {reason[:1].lower()}{reason[1:]}", line

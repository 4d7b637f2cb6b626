"""One cluster's settings out of its table in ``config.toml`` and Pandora's own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.config.checks import Complaint, doubles, doubtful, in_order, unreadable
from pfms_ha_tui.config.files import text_of
from pfms_ha_tui.config.kinds import Host, SecretText, WrongValueError, shown
from pfms_ha_tui.config.options import CLUSTER, HOOK_EVENTS, MERGE_TABLE, NODE, WITNESS, Section
from pfms_ha_tui.config.pandora_conf import HostEntry, PandoraConf, labels
from pfms_ha_tui.config.reading import Document, KeyPath, Reading, Table, Value, Values, dotted, fields, make
from pfms_ha_tui.config.settings import (
    Account,
    CloneSettings,
    ClusterSettings,
    ExtraTable,
    MergeSettings,
    NodeSettings,
    PandoraSettings,
    SshSettings,
    Timeouts,
    Tls,
    WitnessSettings,
)
from pfms_ha_tui.masking import Secret


@dataclass(frozen=True, slots=True)
class Source:
    """Where one cluster is described: a table of ``config.toml``, Pandora's own file, or both."""

    name: str
    document: Document | None
    table: Table
    pandora: PandoraConf | None
    unread: bool = False
    """Pandora's file is named but cannot be read, which is a fault already: nothing counts as missing."""

    @property
    def path(self) -> KeyPath:
        """Of its table."""
        return ("clusters", self.name)


def read_cluster(reading: Reading, source: Source) -> ClusterSettings | None:
    """The cluster; ``None`` when a fault, noted in ``reading``, leaves it incomplete."""
    return _ClusterReader(reading, source).read()


class _ClusterReader:
    def __init__(self, reading: Reading, source: Source):
        self._reading = reading
        self._source = source

    def read(self) -> ClusterSettings | None:
        before = len(self._reading.faults)
        values = self._values()
        nodes = self._nodes(values)
        admin = self._account("admin", values)
        replication = self._account("replication", values)
        if replication is None and admin is not None and "replication.user" not in values:
            self._reading.warn(
                f"cluster {self._source.name}: no replication account is set, so {admin.user} is it"
            )
            replication = admin
        tls = make(Tls, fields(values, "tls"))
        witnesses = self._array("witnesses", WITNESS, "host", "port")
        policy = make(Policy, fields(values, "policy") | {"witnesses": len(witnesses)})
        policy, timeouts, complaints = in_order(
            policy, make(Timeouts, fields(values, "timeouts")), self._chosen(values)
        )
        for complaint in (*complaints, *doubles(nodes), *unreadable(tls, nodes)):
            self._complain(complaint)
        for warning in doubtful(nodes):
            self._reading.warn(warning)
        merge = fields(values, "merge") | {
            "tables": tuple(
                make(ExtraTable, table) for table in self._array("merge_tables", MERGE_TABLE, "table")
            )
        }
        settings: dict[str, object] = fields(values) | {
            "name": self._source.name,
            "nodes": nodes,
            "admin": admin,
            "replication": replication,
            "tls": tls,
            "timeouts": timeouts,
            "policy": policy,
            "pandora": make(PandoraSettings, {**fields(values, "pandora"), "conf": self._conf()}),
            "witnesses": tuple(make(WitnessSettings, witness) for witness in witnesses),
            "hooks": self._hooks(),
            "clone": make(CloneSettings, fields(values, "clone")),
            "merge": make(MergeSettings, merge),
        }
        settings.pop("pandora_conf", None)
        incomplete = self._source.unread or len(self._reading.faults) > before
        return None if incomplete else make(ClusterSettings, settings)

    def _conf(self) -> Path | None:
        return self._source.pandora.path if self._source.pandora is not None else None

    def _values(self) -> Values:
        reading, source = self._reading, self._source
        values: Values = {}
        if source.pandora is not None:
            values |= reading.pandora_values(CLUSTER.options, source.pandora)
        if source.document is not None:
            values |= reading.section(source.document, CLUSTER, source.table, source.path)
        mode = CLUSTER.option("mode")
        if mode and (found := reading.environment("PFMS_HA_TUI_MODE", mode.kind)):
            values[mode.into] = found
        reading.note_origins(CLUSTER, values, dotted(source.path))
        return values

    def _chosen(self, values: Values) -> frozenset[str]:
        """The keys that were set, rightly or not: a default is never fitted to a value that is wrong."""
        set_somewhere = (option.key for option in CLUSTER.options if option.into in values)
        return frozenset((*set_somewhere, *self._source.table))

    def _account(self, name: str, values: Values) -> Account | None:
        user, password = values.get(f"{name}.user"), self._password(name, values)
        for key, found in (("user", user), ("password", password)):
            ways = _ways(name) if key == "password" else (f"{name}_user",)
            given = f"{name}.{key}" in values or any(way in self._source.table for way in ways)
            if found is None and not given and not self._source.unread and self._needs(name):
                self._fault(f"{name}_{key}", "is missing", hint=self._other_way(key))
        if user is None or password is None:
            return None
        return Account(user=str(user.value), password=password)

    def _needs(self, name: str) -> bool:
        """Whether an account must be complete: one for replication only when it is named at all."""
        if name == "admin" or f"{name}_user" in self._source.table:
            return True
        named = self._source.pandora.get("repl_dbuser") if self._source.pandora is not None else None
        return named is not None and named.key == "repl_dbuser"

    def _other_way(self, key: str) -> str:
        word = "dbuser" if key == "user" else "dbpass"
        return (
            f"{word} would do too"
            if self._source.document is None
            else f"pandora_conf with {word} would do too"
        )

    def _password(self, name: str, values: Values) -> Secret | None:
        reading, source = self._reading, self._source
        given = [way for way in _ways(name) if way in source.table]
        if len(given) > 1:
            self._fault(given[1], f"is given beside {given[0]}: one of them is enough")
            return None
        found = reading.environment(f"PFMS_HA_TUI_{name.upper()}_PASSWORD", SecretText(), secret=True)
        if found is None:
            inline = not given or given[0] == f"{name}_password"
            found = values.get(f"{name}.password") if inline else self._password_elsewhere(name, values)
        if found is None or not isinstance(found.value, Secret):
            return None
        reading.origins[f"{dotted(source.path)}.{name}_password"] = found.origin
        return found.value

    def _password_elsewhere(self, name: str, values: Values) -> Value | None:
        reading, source = self._reading, self._source
        path, variable = values.get(f"{name}.password_file"), values.get(f"{name}.password_env")
        if path is not None and source.document is not None:
            at = (*source.path, f"{name}_password_file")
            content = reading.read_file(Path(str(path.value)), key=(source.document, at))
            if content is None:
                return None
            if content.others_read:
                hint = f"chmod o-rwx {content.path}"
                reading.fault_at(source.document, at, f"{content.path} is readable by everybody", hint=hint)
                return None
            line = text_of(content.data.split(b"\n")[0].rstrip(b"\r"))
            return Value(Secret(line), str(content.path))
        if variable is not None:
            found = reading.environment(str(variable.value), SecretText(), secret=True)
            if found is None and not reading.environ.get(str(variable.value)):
                self._fault(f"{name}_password_env", f"there is no environment variable {variable.value}")
            return found
        return None

    def _nodes(self, values: Values) -> tuple[NodeSettings, ...]:
        source = self._source
        ssh, defaults = fields(values, "ssh"), self._pandora_port()
        found = self._array("nodes", NODE, "host") if "nodes" in source.table else self._pandora_hosts()
        names = labels(
            tuple(HostEntry(str(own.get("host", "")), at) for at, own in enumerate(found, start=1))
        )
        nodes: list[NodeSettings] = []
        for order, (own, name) in enumerate(zip(found, names, strict=True)):
            plain = {key: value for key, value in own.items() if "." not in key}
            its_ssh = {key.removeprefix("ssh."): value for key, value in own.items() if "." in key}
            host = plain.get("host", "")
            settings = {"host": host, **ssh, **its_ssh}
            known = {"host": host, "label": name, "order": order, **defaults, **plain}
            nodes.append(make(NodeSettings, known | {"ssh": make(SshSettings, settings)}))
        return tuple(nodes)

    def _pandora_hosts(self) -> list[dict[str, object]]:
        conf, reading = self._source.pandora, self._reading
        entry = conf.get("ha_hosts") if conf is not None else None
        if conf is None or entry is None:
            self._no_nodes()
            return []
        listed = conf.hosts()
        found: list[dict[str, object]] = []
        for host, label in zip(listed, labels(listed), strict=True):
            try:
                found.append({"host": Host().read(host.host), "label": label})
            except WrongValueError as error:
                reason = f"{error}, not {shown(host.host)}"
                reading.fault(reason, file=conf.path, line=entry.line, key=entry.key)
        for word in conf.skipped_hosts():
            reading.warn(f"{conf.path}:{entry.line}: {entry.key} skips {word}")
        if not listed:
            self._no_nodes()
        return found

    def _no_nodes(self) -> None:
        source = self._source
        if source.pandora is not None:
            hint = "ha_hosts 192.0.2.1,192.0.2.2, first the one preferred as MASTER"
            self._reading.fault("names no database node", file=source.pandora.path, key="ha_hosts", hint=hint)
        elif not source.unread:
            self._fault(
                "nodes",
                "no node is named",
                hint=f"add a [[{dotted((*source.path, 'nodes'))}]] table for each",
            )

    def _pandora_port(self) -> dict[str, object]:
        port = NODE.option("port")
        if self._source.pandora is None or port is None:
            return {}
        return fields(self._reading.pandora_values((port,), self._source.pandora))

    def _array(self, name: str, section: Section, *required: str) -> list[dict[str, object]]:
        """The values of each table of an array; a missing key that is required is a fault."""
        document, reading = self._source.document, self._reading
        if document is None:
            return []
        path = (*self._source.path, name)
        found: list[dict[str, object]] = []
        for table, at in reading.tables(document, self._source.table, path):
            values = reading.section(document, section, table, at)
            reading.note_origins(section, values, dotted(at))
            for key in required:
                if key not in table:
                    reading.fault_at(document, (*at, key), "is missing")
            if all(key in values for key in required) or section is NODE:
                found.append({field: value.value for field, value in values.items()})
        if name == "nodes" and not found:
            self._no_nodes()
        return found

    def _hooks(self) -> Mapping[str, str]:
        document = self._source.document
        if document is None:
            return {}
        path = (*self._source.path, "hooks")
        return self._reading.mapping(
            document, self._source.table, path, CLUSTER.maps["hooks"], valid=HOOK_EVENTS
        )

    def _complain(self, complaint: Complaint) -> None:
        source, place = self._source, complaint.node
        if place is None or "nodes" not in source.table:
            self._fault(complaint.key, complaint.reason, hint=complaint.hint)
            return
        raw = source.table["nodes"]
        node = raw[place] if isinstance(raw, list) and place < len(raw) else None
        own = isinstance(node, Mapping) and complaint.key in node
        if own or complaint.key not in source.table:
            self._fault(complaint.key, complaint.reason, hint=complaint.hint, below=("nodes", place))
        else:
            self._fault(complaint.key, complaint.reason, hint=complaint.hint)

    def _fault(self, key: str, reason: str, *, hint: str | None = None, below: KeyPath = ()) -> None:
        source = self._source
        path = (*source.path, *below, key)
        if source.document is not None:
            self._reading.fault_at(source.document, path, reason, hint=hint)
        elif source.pandora is not None:
            option = CLUSTER.option(key)
            name = option.pandora if option is not None and option.pandora else key
            entry = source.pandora.entries.get(name)
            line = entry.line if entry is not None else None
            self._reading.fault(reason, file=source.pandora.path, line=line, key=name, hint=hint)


def _ways(name: str) -> tuple[str, ...]:
    return (f"{name}_password", f"{name}_password_file", f"{name}_password_env")

"""Settings of the servers that will hurt at the next failover, although all looks well today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pfms_ha_tui.cluster import words
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity, finding
from pfms_ha_tui.cluster.observation import Flavor, ServerFacts
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.cluster.snapshot import NodeState, Snapshot
from pfms_ha_tui.cluster.topology import current, in_order

_SAME_EVERYWHERE = {
    "binlog_format": "a change of master changes what the binary log holds",
    "binlog_row_image": "a change of master changes what the binary log holds",
}
"""variable → what follows when it differs between the nodes."""


def drift_findings(snapshot: Snapshot, master: NodeState | None, policy: Policy) -> list[Finding]:
    """Every setting that stands against a safe change of master, of the nodes that can be read now."""
    facts: dict[str, ServerFacts] = {}
    for node in in_order(snapshot.nodes):
        now = current(node, snapshot, policy)
        if now is not None:
            facts[node.label] = now
    found = list(_identities(facts))
    found += _single(facts)
    found += _differences(facts)
    found += _handed_on(facts)
    if master is not None and master.label in facts:
        found += _versions(facts, master.label)
    return found


def _drift(node: str | None, text: str, hint: str, severity: Severity = Severity.WARNING) -> Finding:
    return finding(DiagnosisKind.CONFIG_DRIFT, severity, node, text, hint)


def _identities(facts: Mapping[str, ServerFacts]) -> Iterable[Finding]:
    for number, names in _grouped({name: one.server_id for name, one in facts.items()}).items():
        if len(names) > 1:
            text = f"{words.labels(names)} have the same server_id {number}"
            yield _drift(None, text, "Give every node a server_id of its own.", Severity.CRITICAL)
    uuids = {name: one.server_uuid for name, one in facts.items() if one.flavor is Flavor.MYSQL}
    for names in _grouped(uuids).values():
        if len(names) > 1:
            text = f"{words.labels(names)} have the same server_uuid"
            hint = "Remove auto.cnf from the datadir of the copy and restart it."
            yield _drift(None, text, hint, Severity.CRITICAL)


def _single(facts: Mapping[str, ServerFacts]) -> Iterable[Finding]:
    for name, one in facts.items():
        if one.log_bin is False:
            text = f"{name} writes no binary log: nobody could follow it as master"
            yield _drift(name, text, f"Set log_bin on {name}.")
        if one.variables.get("binlog_format", "").upper() == "STATEMENT":
            text = f"{name} logs statements, not rows: slaves may drift apart unnoticed"
            yield _drift(name, text, "Set binlog_format=ROW.")
        if one.variables.get("innodb_flush_log_at_trx_commit") == "0":
            text = f"{name} may lose committed rows in a crash that its binary log still has"
            hint = (
                f"Set innodb_flush_log_at_trx_commit to 1 or 2 on {name}; until then a crash needs a resync."
            )
            yield _drift(name, text, hint, Severity.INFO)


def _differences(facts: Mapping[str, ServerFacts]) -> Iterable[Finding]:
    if len({one.flavor for one in facts.values()}) > 1:
        text = "The nodes are of different families: " + _listed(
            {name: one.flavor.value for name, one in facts.items()}
        )
        yield _drift(None, text, "Run the same server everywhere.")
        return
    modes = {name: one.gtid_mode for name, one in facts.items() if one.flavor is Flavor.MYSQL}
    if len({mode for mode in modes.values() if mode is not None}) > 1:
        shown = {name: "on" if mode else "off" for name, mode in modes.items() if mode is not None}
        yield _drift(None, f"gtid_mode differs: {_listed(shown)}", "Set the same gtid_mode everywhere.")
    for variable, consequence in _SAME_EVERYWHERE.items():
        values = {name: one.variables[variable] for name, one in facts.items() if variable in one.variables}
        if len({value.upper() for value in values.values()}) > 1:
            text = f"{variable} differs: {_listed(values)}; {consequence}"
            yield _drift(None, text, f"Set the same {variable} everywhere.")


def _handed_on(facts: Mapping[str, ServerFacts]) -> Iterable[Finding]:
    """With three nodes and more, a promoted slave must be able to hand on what the others still lack."""
    if len(facts) < 3:
        return
    for name, one in facts.items():
        logged = one.variables.get("log_replica_updates") or one.variables.get("log_slave_updates")
        if logged is not None and logged.upper() in ("OFF", "0"):
            text = f"{name} does not log what it replicates: as master it could not serve slaves that lag"
            yield _drift(name, text, f"Set log_slave_updates on {name}.", Severity.INFO)


def _versions(facts: Mapping[str, ServerFacts], master: str) -> Iterable[Finding]:
    leading = _series(facts[master].version)
    for name, one in facts.items():
        own = _series(one.version)
        if own is None or leading is None or one.flavor is not facts[master].flavor or own >= leading:
            continue
        text = f"{name} runs {words.quoted(one.version)}, older than its master's {facts[master].version}"
        yield _drift(name, text, f"Upgrade {name} first, the master last.")


def _series(version: str) -> tuple[int, int] | None:
    parts = version.split("-")[0].split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])


def _grouped(values: Mapping[str, int | str | None]) -> Mapping[int | str, Sequence[str]]:
    groups: dict[int | str, list[str]] = defaultdict(list)
    for name, value in values.items():
        if value is not None and value != "":
            groups[value].append(name)
    return groups


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {words.quoted(value)}" for name, value in values.items())

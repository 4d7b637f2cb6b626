"""Everything about one node, as sections of a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pfms_ha_tui.cluster.observation import PandoraFacts, Replication, ServerFacts
from pfms_ha_tui.cluster.snapshot import NodeState
from pfms_ha_tui.cluster.topology import source_of
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import IO, PROCESS, REACH, SEVERITY, SQL_THREAD, SSH
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, clean_lines, line, width_of, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.cells import lag_ink, sync_cell
from pfms_ha_tui.console.widgets.evidence import evidence_lines
from pfms_ha_tui.console.widgets.topology import role_words
from pfms_ha_tui.worker.protocol import NodeDetails

_LABEL = 16


def heading(text: str) -> list[Line]:
    """The heading of a section, with a blank line before it."""
    return [EMPTY, line((text, Ink.HEAD))]


def fact(label: str, value: str | Line, width: int, ink: Ink = Ink.PLAIN) -> list[Line]:
    """``label`` in a column of its own, the value wrapped beside it."""
    content = line((value, ink)) if isinstance(value, str) else value
    if not content:
        return []
    gap = max(_LABEL, width_of(line(clean(label))) + 1)
    first, *rest = wrap(content, max(20, width - gap))
    out = [line((clean(label).ljust(gap), Ink.DIM)) + first]
    return out + [line(" " * gap) + more for more in rest]


def node_lines(scene: Scene, node: NodeState, width: int) -> list[Line]:
    """What the worker knows of the node."""
    lines: list[Line] = []
    findings = [f for f in scene.state.diagnosis.findings if f.node == node.label] if scene.state else []
    for finding in findings:
        lines += wrap(
            line(SEVERITY[finding.severity].dot, " ", (clean(finding.text), Ink.STRONG)), width, indent=2
        )
        if finding.hint:
            lines += wrap(line("  ", ("→ ", Ink.KEY), clean(finding.hint)), width, indent=4)
    lines += [*heading("Now"), *_now(scene, node, width)]
    replication, facts = node.replication, node.facts
    if facts is not None:
        age = scene.node_age(node)
        old = (
            f" · as of {fmt.age(age)} ago" if scene.node_stale(node) and age is not None and age >= 2 else ""
        )
        if replication is not None:
            lines += [*heading(f"Replication{old}"), *_replication(scene, node, replication, width)]
        elif facts.replication is None:
            lines += [*heading("Replication"), line(("not known: the account may not read it", Ink.UNKNOWN))]
        lines += [*heading(f"Server{old}"), *_server(node, facts, width)]
    lines += [*heading("Who sees whom"), *evidence_lines(scene, width, None, node.label)]
    pandora = node.pandora_seen.pandora if node.pandora_seen else None
    if pandora is not None:
        lines += [*heading("Pandora’s data on it"), *_pandora(pandora, _silent_after(scene), width)]
    if facts is not None and facts.variables:
        lines += heading("Variables that matter")
        lines += table(facts.variables.items(), width)
    missing = node.last_good.missing if node.last_good else {}
    if missing:
        lines += heading("Could not be read")
        for name, why in missing.items():
            lines += fact(name, clean(why), width, Ink.WARN)
    return lines[1:] if lines and lines[0] == EMPTY else lines


def _now(scene: Scene, node: NodeState, width: int) -> list[Line]:
    seen, shell = node.observation, node.shell
    address = f"{clean(node.host)}:{node.port}"
    lines = fact("Address", address, width)
    lines += fact("Role", role_words(scene, node), width)
    lines += fact("Resync", sync_cell(scene, node), width)
    if node.sync.reason:
        lines += fact("", clean(node.sync.reason), width)
    if node.disabled:
        lines += fact("Disabled", "never chosen as master", width, Ink.WARN)
    if seen is None:
        lines += fact("SQL", "not asked yet", width, Ink.UNKNOWN)
    else:
        sign = REACH[seen.reach]
        trips = f", {fmt.plural(seen.round_trips, 'round trip')}" if seen.round_trips else ""
        quick = f" {fmt.latency(seen.latency)}{trips}" if seen.latency is not None else ""
        if node.reach_since is not None:
            quick += f", for {fmt.span(int(scene.mono - node.reach_since))}"
        lines += fact("SQL", line(sign.both, quick), width)
        if seen.failure is not None:
            failure = seen.failure
            code = f" (error {failure.errno})" if failure.errno else ""
            again = f", {seen.attempts} times in a row" if seen.attempts > 1 else ""
            lines += fact("Last error", f"{clean(failure.text)}{code}{again}", width, Ink.BAD)
            if failure.hint:
                lines += fact("", line(("→ ", Ink.KEY), clean(failure.hint)), width)
    age = scene.node_age(node)
    lines += fact(
        "Last answer", "never" if age is None else fmt.age(age) if age < 2 else f"{fmt.age(age)} ago", width
    )
    if shell is not None:
        says = line(SSH[shell.state].both)
        if shell.failure:
            says += line(" ", clean(shell.failure))
        lines += fact("SSH", says, width)
        if shell.hint:
            lines += fact("", line(("→ ", Ink.KEY), clean(shell.hint)), width)
        pid = f" pid {shell.pid}" if shell.pid is not None else ""
        lines += fact("Server process", line(PROCESS[shell.process].both, pid), width)
        if shell.can_fence is not None:
            word = ("yes", Ink.OK) if shell.can_fence else ("no", Ink.BAD)
            lines += fact("Can be fenced", line(word), width)
        if shell.disk_free is not None:
            total = f" of {fmt.size(shell.disk_total)}" if shell.disk_total is not None else ""
            lines += fact("Disk free", f"{fmt.size(shell.disk_free)}{total}", width)
    return lines


def _replication(scene: Scene, node: NodeState, replication: Replication, width: int) -> list[Line]:
    known = source_of(scene.state.snapshot, node) if scene.state else None
    source = f"{clean(replication.source_host)}:{replication.source_port}"
    lines = fact(
        "Follows",
        line((clean(known.label), Ink.STRONG), f"  {source}")
        if known
        else line(f"{source}  ", ("not in this cluster", Ink.WARN)),
        width,
    )
    lines += fact(
        "IO thread", line(IO[replication.io].both, "  ", (clean(replication.io_state), Ink.DIM)), width
    )
    lines += fact(
        "SQL thread",
        line(SQL_THREAD[replication.sql].both, "  ", (clean(replication.sql_state), Ink.DIM)),
        width,
    )
    if replication.io_errno or replication.io_error:
        lines += fact("IO error", f"{replication.io_errno} {clean(replication.io_error)}", width, Ink.BAD)
    if replication.sql_errno or replication.sql_error:
        lines += fact("SQL error", f"{replication.sql_errno} {clean(replication.sql_error)}", width, Ink.BAD)
    lag = (
        line(("not known (the server says NULL)", Ink.UNKNOWN))
        if replication.seconds_behind is None
        else line((fmt.behind(replication.seconds_behind), lag_ink(scene, node)))
    )
    if node.bytes_behind is not None:
        lag += line(f", {fmt.size(node.bytes_behind)} not applied")
    lines += fact("Behind", lag, width)
    lines += fact("Received up to", clean(fmt.position(replication.read)), width)
    lines += fact("Applied up to", clean(fmt.position(replication.executed)), width)
    if replication.drained is not None:
        word = "everything received is applied" if replication.drained else "not all that was received"
        lines += fact("Relay log", f"{word}, {fmt.size(replication.relay_log_space)} on disk", width)
    lines += fact("GTID", "follows by GTID" if replication.gtid else "follows by file and position", width)
    if replication.gtid:
        lines += fact("Retrieved GTID", clean(replication.retrieved_gtid or fmt.NOTHING), width)
        lines += fact("Executed GTID", clean(replication.executed_gtid or fmt.NOTHING), width)
    if replication.sql_delay:
        lines += fact("Delayed by", fmt.span(replication.sql_delay), width, Ink.WARN)
    if replication.replicate_do_db:
        lines += fact("Only database", clean(replication.replicate_do_db), width)
    return lines


def _yes_no(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"


def _server(node: NodeState, facts: ServerFacts, width: int) -> list[Line]:
    comment = f"  {clean(facts.version_comment)}" if facts.version_comment else ""
    lines = fact("Version", f"{clean(facts.version)}{comment}", width)
    names = [clean(name) for name in (facts.hostname, facts.report_host) if name]
    lines += fact("Calls itself", ", ".join(dict.fromkeys(names)), width)
    identity = [
        f"server_id {facts.server_id}" if facts.server_id is not None else "",
        facts.server_uuid or "",
    ]
    lines += fact("Identity", "  ".join(clean(part) for part in identity if part), width)
    only = "" if facts.super_read_only is None else f", super_read_only {_yes_no(facts.super_read_only)}"
    lines += fact("Read-only", f"{_yes_no(facts.read_only)}{only}", width)
    if facts.log_bin is False:
        lines += fact("Binary log", "off", width, Ink.WARN)
    else:
        lines += fact("Binary log", clean(fmt.position(facts.binlog)), width)
    if facts.binlog_sizes:
        total = sum(facts.binlog_sizes.values())
        lines += fact("", f"{fmt.plural(len(facts.binlog_sizes), 'file')}, {fmt.size(total)}", width)
    if facts.gtid_mode is not None:
        lines += fact("GTID mode", "on" if facts.gtid_mode else "off", width)
    if facts.gtid_mode and facts.gtid_executed:
        lines += fact("GTID executed", clean(facts.gtid_executed), width)
    lines += fact("Semi-sync", clean(facts.semi_sync or "off"), width)
    if facts.uptime is not None:
        lines += fact("Running for", fmt.span(facts.uptime), width)
    if facts.threads_connected is not None:
        most = f" of {facts.max_connections}" if facts.max_connections is not None else ""
        lines += fact("Clients", f"{facts.threads_connected}{most}", width)
    if node.write_rate is not None:
        lines += fact("Writes", f"{fmt.number(round(node.write_rate))} statements/s", width)
    if facts.clock is not None and node.last_good is not None:
        skew = facts.clock - node.last_good.at
        word = (
            "same as here"
            if abs(skew) < 0.5
            else f"{fmt.span(abs(skew))} {'ahead' if skew > 0 else 'behind'}"
        )
        lines += fact("Clock", word, width)
    lines += fact("Data", clean(facts.datadir or ""), width)
    return lines


def _silent_after(scene: Scene) -> float | None:
    """Seconds after which a Pandora server that was not heard is down."""
    policy = scene.state.policy if scene.state is not None else None
    return 2 * policy.server_threshold if policy is not None else None


def _pandora(pandora: PandoraFacts, silent_after: float | None, width: int) -> list[Line]:
    lines = fact("Schema", clean(pandora.schema_release or "not known"), width)
    if pandora.epoch is not None:
        epoch = pandora.epoch
        when = fmt.full_moment(epoch.at)
        said = f"{epoch.epoch}: {clean(epoch.master)} made master {when} by {clean(epoch.worker)}"
        lines += fact("Epoch", said, width)
    for server in pandora.servers:
        state = {1: ("up", Ink.OK), 0: ("down", Ink.BAD)}.get(server.status, ("crashed", Ink.BAD))
        age = server.keepalive_age
        if server.status == 1 and silent_after is not None and age is not None and age > silent_after:
            state = ("down", Ink.BAD)
        chief = " master" if server.master else ""
        contact = f", heard {fmt.age(server.keepalive_age)}" if server.keepalive_age is not None else ""
        ago = " ago" if server.keepalive_age is not None and server.keepalive_age >= 2 else ""
        lines += fact(
            "Server",
            line(clean(server.name), f"  type {server.server_type}{chief}  ", state, contact, ago),
            width,
        )
    return lines


def table(items: Iterable[tuple[str, str | None]], width: int) -> list[Line]:
    """Names and values, the values in one column; what is NULL says so, what is empty stays empty."""
    rows = [(clean(name), value) for name, value in items]
    gap = min(34, max((len(name) for name, _ in rows), default=0)) + 2
    lines: list[Line] = []
    for name, value in rows:
        shown = [("NULL", Ink.DIM)] if value is None else [(part, Ink.PLAIN) for part in clean_lines(value)]
        first = len(name) < gap - 1
        if not first:
            lines.append(line((name, Ink.DIM)))
        for text, ink in shown or [("", Ink.PLAIN)]:
            for part in wrap(line((text, ink)), max(20, width - gap)):
                lines.append(line(((name if first else "").ljust(gap), Ink.DIM)) + part)
                first = False
    return lines


def raw_lines(details: NodeDetails | None, problem: str | None, width: int) -> list[Line]:
    """What the server itself answered, in its own spelling."""
    if problem is not None:
        return wrap(line(("✖ ", Ink.BAD), clean(problem)), width, indent=2)
    if details is None:
        return [line(("asking the server…", Ink.DIM))]
    lines: list[Line] = []
    for number, status in enumerate(details.replica_status, 1):
        count = f" {number}" if len(details.replica_status) > 1 else ""
        lines += [*heading(f"Replica status{count}"), *table(status.items(), width)]
    lines += _named("Variables", details.variables, width)
    lines += _named("Status", details.status, width)
    if details.processlist:
        lines += [*heading("Connections"), *_processes(details.processlist, width)]
    if details.missing:
        lines += heading("Could not be read")
        for name, why in details.missing.items():
            lines += fact(name, clean(why), width, Ink.WARN)
    return lines[1:] if lines else [line(("the server told nothing", Ink.DIM))]


def _named(title: str, values: Mapping[str, str], width: int) -> list[Line]:
    return [*heading(title), *table(values.items(), width)] if values else []


def _processes(processes: Sequence[Mapping[str, str | None]], width: int) -> list[Line]:
    lines: list[Line] = []
    for process in processes:
        folded = {name.casefold(): value for name, value in process.items()}
        who = f"{clean(folded.get('user') or '?')}@{clean(folded.get('host') or '?')}"
        what = [clean(folded.get(key) or "") for key in ("command", "state", "db")]
        head = f"{clean(folded.get('id') or '?')}  {who}  {'  '.join(part for part in what if part)}"
        took = folded.get("time")
        lines += wrap(line(head, (f"  {clean(took)} s" if took else "", Ink.DIM)), width, indent=2)
        if folded.get("info"):
            lines += wrap(line("  ", (clean(folded["info"] or ""), Ink.DIM)), width, indent=4, most=3)
    return lines

"""The cells of the nodes table: one fact each, with its glyph, its word and its ink."""

from __future__ import annotations

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind
from pfms_ha_tui.cluster.observation import IoState, Reach, SshState
from pfms_ha_tui.cluster.snapshot import NodeState, Role, SyncState
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import MASTER, REACH, SSH, SYNC
from pfms_ha_tui.console.ink import Ink, Line, clean, line, text_of
from pfms_ha_tui.console.scene import Scene

_IMPAIRED = {
    "too_many_connections": "full",
    "access_denied": "denied",
    "host_blocked": "blocked",
    "write_probe": "no writes",
}
_OURS = {"name_not_resolved": "no such name", "tls": "TLS", "config": "config", "protocol": "protocol"}
_NONE = line((fmt.NOTHING, Ink.DIM))
_NOT_KNOWN = line((fmt.UNKNOWN, Ink.UNKNOWN))


def lag_ink(scene: Scene, node: NodeState) -> Ink:
    """How bad the lag is, by the worker's own limits."""
    replication = node.replication
    if replication is None or replication.seconds_behind is None:
        return Ink.UNKNOWN
    policy = scene.state.policy if scene.state else None
    if policy is not None:
        if replication.seconds_behind > policy.max_lag:
            return Ink.BAD
        if replication.seconds_behind > policy.warn_lag:
            return Ink.WARN
    findings = scene.state.diagnosis.findings if scene.state else ()
    lagging = any(f.kind is DiagnosisKind.SLAVE_LAGGING and f.node == node.label for f in findings)
    return Ink.WARN if lagging else Ink.OK


def split(scene: Scene) -> bool:
    """Whether two masters stand against each other, so that the word itself is bad news."""
    return scene.state is not None and scene.state.diagnosis.kind is DiagnosisKind.SPLIT_BRAIN


def remembered(scene: Scene, node: NodeState) -> bool:
    """Whether the node's facts are memories: it does not answer now, or what it said is old."""
    return not node.answers or scene.node_stale(node) or scene.stale


def faded(scene: Scene, node: NodeState, value: Line) -> Line:
    """``value`` in grey when it is a memory of a node that no longer answers."""
    if not remembered(scene, node):
        return value
    return tuple(span._replace(ink=Ink.DIM) for span in value)


def past(scene: Scene, node: NodeState, value: Line) -> Line:
    """As :func:`faded`, and in words too: "was running"."""
    if not remembered(scene, node):
        return value
    words = text_of(value)
    bare = words[2:] if words[1:2] == " " and not words[0].isalnum() else words
    return line((f"was {bare}", Ink.DIM))


def sync_cell(scene: Scene, node: NodeState) -> Line:
    """The resync icon. "ok" is said only of a node that answers, has not diverged and, if a slave, runs."""
    sign = SYNC[node.sync.state]
    if node.sync.state is SyncState.RUNNING:
        far = fmt.share(node.sync.percent) if node.sync.percent is not None else sign.word
        return line((f"{sign.glyph} {far}", sign.ink))
    if node.sync.state is not SyncState.OK:
        return line(sign.both)
    if node.role is Role.UNKNOWN or remembered(scene, node):
        return _NOT_KNOWN
    findings = scene.state.diagnosis.findings if scene.state else ()
    if any(f.kind is DiagnosisKind.DIVERGED and f.node == node.label for f in findings):
        return line(("✖ diverged", Ink.BAD))
    replication = node.replication
    if replication is None:
        return line(sign.both)
    if replication.sql_errno:
        return line(("✖ broken", Ink.BAD))
    # A slave that does not receive may miss anything or nothing: nobody can say.
    return line(sign.both) if replication.io is IoState.YES and replication.sql else _NOT_KNOWN


def label_cell(_scene: Scene, node: NodeState) -> Line:
    """The node's label."""
    return line((clean(node.label), Ink.STRONG))


def address_cell(_scene: Scene, node: NodeState) -> Line:
    """The node's host, and its port when it is not the usual one."""
    return line(clean(f"{node.host}:{node.port}" if node.port != 3306 else node.host))


def role_cell(scene: Scene, node: NodeState) -> Line:
    """The role; "was" for the last one of a node that does not answer; "rw" for a slave that takes writes."""
    if node.role is Role.UNKNOWN:
        return _NOT_KNOWN
    if not node.answers or scene.stale:
        word = {Role.MASTER: "was MASTER", Role.SLAVE: "was SLAVE", Role.NONE: "was no one's"}[node.role]
        return line((word, Ink.DIM))
    off = line((" off", Ink.WARN)) if node.disabled else line()
    if node.role is Role.MASTER:
        return line((f"{MASTER} MASTER", Ink.BAD if split(scene) else Ink.MASTER)) + off
    if node.role is Role.NONE:
        return line(("read-only", Ink.WARN)) + off
    bad = Ink.BAD if split(scene) else Ink.WARN
    return (line(("SLAVE rw", bad)) if node.writable else line("SLAVE")) + off


def sql_cell(scene: Scene, node: NodeState) -> Line:
    """What the last probe saw."""
    observation = node.observation
    if observation is None:
        return line(("? not asked", Ink.UNKNOWN))
    sign = REACH[observation.reach]
    failure = observation.failure
    if scene.stale:
        return line((f"was {sign.word}", Ink.DIM))
    if observation.reach is Reach.ALIVE:
        return line((f"{sign.glyph} up ", sign.ink), fmt.latency(observation.latency))
    if observation.reach is Reach.IMPAIRED and failure is not None:
        word = _IMPAIRED.get(failure.code, f"error {failure.errno}" if failure.errno else sign.word)
        return line((f"{sign.glyph} {word}", sign.ink))
    if observation.reach is Reach.FAULT and failure is not None:
        return line((f"{sign.glyph} {_OURS.get(failure.code, sign.word)}", sign.ink))
    return line(sign.both)


def ssh_cell(scene: Scene, node: NodeState) -> Line:
    """Whether commands can be run on the node's host."""
    if node.shell is None:
        return _NOT_KNOWN
    if node.shell.state is SshState.UNKNOWN:
        return _NOT_KNOWN
    sign = SSH[node.shell.state]
    return line((f"was {sign.word}", Ink.DIM)) if scene.stale else line(sign.both)


def replication_cell(scene: Scene, node: NodeState) -> Line:
    """How the node follows its master."""
    if node.sync.state is SyncState.RUNNING:
        return line(("⟳ cloning", Ink.BUSY))
    facts = node.facts
    if facts is None:
        return _NOT_KNOWN
    if facts.replication is None:
        return line(("? no right", Ink.UNKNOWN))
    replication = node.replication
    if replication is None:
        return _NONE
    match replication.io, replication.sql:
        case IoState.YES, True:
            value = line(("● running", Ink.OK))
        case IoState.YES, False:
            value = line(("✖ SQL stopped", Ink.BAD))
        case IoState.CONNECTING, True:
            value = line(("▲ connecting", Ink.WARN))
        case IoState.NO, True:
            value = line(("✖ IO stopped", Ink.BAD))
        case _:
            value = line(("✖ stopped", Ink.BAD))
    return past(scene, node, value)


def behind_cell(scene: Scene, node: NodeState) -> Line:
    """Seconds behind as the server says it; bytes too when they tell more."""
    facts = node.facts
    if facts is None or (facts.replication is None and node.role is not Role.MASTER):
        return _NOT_KNOWN
    replication = node.replication
    if replication is None:
        return _NONE
    if replication.seconds_behind is None:
        return faded(scene, node, _NOT_KNOWN)
    big = node.bytes_behind if node.bytes_behind and node.bytes_behind >= 1_000_000 else None
    value = line((fmt.behind(replication.seconds_behind, big), lag_ink(scene, node)))
    return past(scene, node, value)


def position_cell(scene: Scene, node: NodeState) -> Line:
    """A master's own coordinates; a slave's applied coordinates in its master's log."""
    facts = node.facts
    if facts is None:
        return _NOT_KNOWN
    replication = node.replication
    position = replication.executed if replication is not None else facts.binlog
    if position is None:
        return line(("off", Ink.WARN)) if replication is None and facts.log_bin is False else _NOT_KNOWN
    return faded(scene, node, line(clean(fmt.position(position, short=True))))


def version_cell(scene: Scene, node: NodeState) -> Line:
    """The server's version."""
    return faded(scene, node, line(clean(node.facts.version))) if node.facts else _NOT_KNOWN


def schema_cell(scene: Scene, node: NodeState) -> Line:
    """The release of Pandora's schema (``MR 60``)."""
    seen = node.pandora_seen
    release = seen.pandora.schema_release if seen is not None and seen.pandora is not None else None
    return faded(scene, node, line(clean(release))) if release else _NOT_KNOWN


def seen_cell(scene: Scene, node: NodeState) -> Line:
    """How long ago the node last answered."""
    age = scene.node_age(node)
    if age is None:
        return line(("never", Ink.UNKNOWN))
    if scene.node_stale(node) or scene.stale:
        return line((fmt.age(age), Ink.BAD))
    return line(fmt.age(age))


def writes_cell(scene: Scene, node: NodeState) -> Line:
    """Row-changing statements per second."""
    if node.write_rate is None:
        return _NONE if node.answers else _NOT_KNOWN
    return faded(scene, node, line(f"{fmt.number(round(node.write_rate))}/s"))


def clients_cell(scene: Scene, node: NodeState) -> Line:
    """Connections now, of those allowed."""
    facts = node.facts
    if facts is None or facts.threads_connected is None:
        return _NOT_KNOWN
    most = f" of {facts.max_connections}" if facts.max_connections is not None else ""
    return faded(scene, node, line(f"{facts.threads_connected}{most}"))


def disk_cell(_scene: Scene, node: NodeState) -> Line:
    """Free space for the data, of the whole file system."""
    shell = node.shell
    if shell is None or shell.disk_free is None:
        return _NOT_KNOWN
    tight = shell.disk_total is not None and shell.disk_free < shell.disk_total * 0.1
    return line((f"{fmt.size(shell.disk_free)}", Ink.WARN if tight else Ink.PLAIN))


def uptime_cell(scene: Scene, node: NodeState) -> Line:
    """How long the server has been running."""
    facts = node.facts
    if facts is None or facts.uptime is None:
        return _NOT_KNOWN
    return faded(scene, node, line(fmt.age(max(2, facts.uptime))))

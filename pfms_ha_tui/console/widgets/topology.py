"""The topology pane: who follows whom, drawn as a tree."""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.cluster.observation import IoState, Reach, Replication
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot, SyncState
from pfms_ha_tui.cluster.topology import source_of
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import IO, MASTER, REACH, SQL_THREAD, SYNC
from pfms_ha_tui.console.ink import Ink, Line, clean, crop, line, width_of
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.cells import lag_ink, split


@dataclass(frozen=True, slots=True)
class Branch:
    """A node and those that follow it."""

    node: NodeState
    followers: tuple[Branch, ...]


def tree(snapshot: Snapshot) -> list[Branch]:
    """The roots of the cluster with their followers; masters that answer first. A circle is cut once."""
    nodes = snapshot.nodes
    found = {node.label: source_of(snapshot, node) for node in nodes}
    sources = {label: source.label if source is not None else None for label, source in found.items()}
    placed: set[str] = set()

    def grow(node: NodeState) -> Branch:
        placed.add(node.label)
        below = (other for other in nodes if sources[other.label] == node.label)
        return Branch(node, tuple(grow(other) for other in below if other.label not in placed))

    roots = [node for node in nodes if sources[node.label] is None]
    roots.sort(key=lambda node: (node.role is not Role.MASTER, not node.answers))
    branches = [grow(node) for node in roots]
    branches.extend(grow(node) for node in nodes if node.label not in placed)
    return branches


def topology_lines(scene: Scene, width: int, height: int) -> list[Line]:
    """The tree; with two lines a node when there is room, else one."""
    if scene.state is None:
        return []
    roots = tree(scene.state.snapshot)
    for detailed in (True, False):
        lines: list[Line] = []
        for root in roots:
            lines += _branch(scene, root, "", "", detailed=detailed, width=width)
        if len(lines) <= height or not detailed:
            if len(lines) > height:
                hidden = len(lines) - height + 1
                lines = [*lines[: height - 1], line((f"… {hidden} more below, see Nodes", Ink.DIM))]
            return [crop(value, width) for value in lines]
    return []


def _branch(scene: Scene, branch: Branch, lead: str, below: str, *, detailed: bool, width: int) -> list[Line]:
    node = branch.node
    root = not lead
    start = line(_head(scene, node)) if root else line((lead, _link_ink(scene, node)))
    first = start + line(" ") + _name(scene, node, detailed)
    if width_of(first) > width:
        first = start + line(" ") + _name(scene, node, False)
    if not detailed and not root:
        first += line("  ") + _thread_words(scene, node)
    lines = [first]
    if detailed:
        pipe = line((f"{below}{'  ' if root else ''}{'│ ' if branch.followers else '  '}", Ink.DIM))
        lines.append(pipe + _detail(scene, node, width - width_of(pipe)))
    indent = below + "  " if root else below
    for number, follower in enumerate(branch.followers):
        last = number == len(branch.followers) - 1
        corner = "└" if last else "├"
        arrow = f"{corner}{'▶' if _flows(follower.node) else '✖'}"
        lines += _branch(
            scene,
            follower,
            f"{indent}{arrow}",
            f"{indent}{' ' if last else '│'}  ",
            detailed=detailed,
            width=width,
        )
    return lines


def _flows(node: NodeState) -> bool:
    replication = node.replication
    return node.answers and replication is not None and replication.io is IoState.YES


def _link_ink(scene: Scene, node: NodeState) -> Ink:
    if scene.node_stale(node):
        return Ink.BAD if not node.answers else Ink.UNKNOWN
    return Ink.OK if _flows(node) else Ink.BAD


def _head(scene: Scene, node: NodeState) -> tuple[str, Ink]:
    if not node.answers:
        sign = REACH[node.observation.reach] if node.observation else REACH[Reach.UNKNOWN]
        return sign.glyph, sign.ink
    if node.role is Role.MASTER:
        return MASTER, Ink.BAD if split(scene) else Ink.MASTER
    return "○", Ink.UNKNOWN if scene.node_stale(node) else Ink.DIM


def _name(scene: Scene, node: NodeState, detailed: bool) -> Line:
    address = f"{node.host}:{node.port}" if node.port != 3306 else node.host
    name = line((clean(node.label), Ink.STRONG))
    if detailed:
        name += line("  ", clean(address))
    return name + line("  ") + role_words(scene, node)


def role_words(scene: Scene, node: NodeState) -> Line:
    """The role in a word, and "was" when the node is not there to fill it."""
    if node.role is Role.UNKNOWN:
        return line(("role ?", Ink.UNKNOWN))
    word = {Role.MASTER: "MASTER", Role.SLAVE: "SLAVE", Role.NONE: "read-only, follows no one"}[node.role]
    if not node.answers or scene.stale:
        return line((f"was {word}", Ink.DIM))
    if node.role is Role.MASTER:
        return line((word, Ink.BAD if split(scene) else Ink.MASTER))
    if node.role is Role.SLAVE and node.writable:
        return line((f"writable {word}", Ink.BAD if split(scene) else Ink.WARN))
    return line((word, Ink.PLAIN))


def _detail(scene: Scene, node: NodeState, room: int) -> Line:
    observation = node.observation
    if observation is None:
        return line(("not asked yet", Ink.UNKNOWN))
    if not node.answers:
        sign = REACH[observation.reach]
        if node.reach_since is None:
            return line((sign.word, sign.ink))
        since = int(scene.mono - node.reach_since)
        return line((sign.word, sign.ink), f" for {fmt.span(since)}" if since >= 1 else " just now")
    if node.replication is not None:
        return _thread_words(scene, node)
    facts = node.facts
    if facts is None:
        return line(("answers, but tells nothing of itself", Ink.WARN))
    if facts.log_bin is False:
        return line(("no binary log", Ink.WARN))
    if facts.binlog is None:
        return line(("binary log not known", Ink.UNKNOWN))
    writes = "" if node.write_rate is None else f" · {fmt.number(round(node.write_rate))} writes/s"
    position = clean(fmt.position(facts.binlog))
    return line((f"{position}{writes}" if len(position) + len(writes) <= room else position, Ink.DIM))


def _thread_words(scene: Scene, node: NodeState) -> Line:
    if not node.answers:
        sign = REACH[node.observation.reach] if node.observation else REACH[Reach.UNKNOWN]
        return line((sign.word, sign.ink))
    if node.sync.state is not SyncState.OK:
        sign = SYNC[node.sync.state]
        percent = f" {fmt.share(node.sync.percent)}" if node.sync.percent is not None else ""
        return line((f"{sign.glyph} resync {sign.word}{percent}", sign.ink))
    replication = node.replication
    if replication is None:
        return line(("follows no one", Ink.WARN))
    text = line("IO ", IO[replication.io].dot, " SQL ", SQL_THREAD[replication.sql].dot)
    trouble = _trouble(replication)
    if trouble:
        return text + line("  ", (trouble, Ink.BAD))
    behind = fmt.behind(replication.seconds_behind)
    lag = "lag not known" if replication.seconds_behind is None else f"{behind} behind"
    text += line("  ", (lag, lag_ink(scene, node)))
    if scene.state is not None and source_of(scene.state.snapshot, node) is None:
        text += line((f"  of {clean(replication.source_host)}, not in this cluster", Ink.WARN))
    return text


def _trouble(replication: Replication) -> str:
    if not replication.sql and (replication.sql_errno or replication.sql_error):
        return f"error {replication.sql_errno} {clean(replication.sql_error)}"
    if replication.io is not IoState.YES and (replication.io_errno or replication.io_error):
        return f"error {replication.io_errno} {clean(replication.io_error)}"
    if not replication.sql and replication.io is IoState.NO:
        return "replication stopped"
    if not replication.sql:
        return "SQL thread stopped"
    if replication.io is IoState.NO:
        return "IO thread stopped"
    return "connecting to its master" if replication.io is IoState.CONNECTING else ""

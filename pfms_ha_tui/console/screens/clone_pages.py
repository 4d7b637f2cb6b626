"""The clone wizard's pages that choose: target, source, method, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pfms_ha_tui.cluster.snapshot import NodeState, Role, SyncState
from pfms_ha_tui.config.settings import MOST_THREADS, CloneMethod, Transfer
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.ink import Ink, Line, clean, glue, line, pad, width_of
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.clone_parts import METHODS, ChoicePage
from pfms_ha_tui.console.screens.dialogs import LineOfText
from pfms_ha_tui.console.widgets import cells
from pfms_ha_tui.worker.protocol import OrderKind

_CHOSEN_BY_WORKER = "·worker"
"""No label looks like it."""
_AS_CONFIGURED = "·configured"


class TargetPage(ChoicePage):
    """Which node is rebuilt."""

    TITLE = "Target"
    LIST = "Which node is rebuilt?"

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        return "Its data is replaced by a fresh copy. The old data stays until the new has proved itself."

    def enter(self) -> None:
        super().enter()
        if self.wanted.target is not None:
            self.listing.choose_key(self.wanted.target)

    def header(self, scene: Scene) -> Line | None:
        return _node_table(scene, _nodes(scene), lambda _: True)[0]

    def rows(self, scene: Scene) -> Sequence[tuple[str, Line]]:
        return _node_table(scene, _nodes(scene), lambda node: _refusal(scene, node.label) is None)[1]

    def meaning(self, scene: Scene, key: str) -> Sequence[Line]:
        why = _refusal(scene, key)
        if why is not None:
            return [line(("✖ ", Ink.BAD), clean(f"{key} cannot be rebuilt: {why}"))]
        return [line(("● ", Ink.OK), clean(f"{key} can be rebuilt from another node."))]

    def chosen(self, key: str) -> None:
        why = _refusal(self.clone.scene, key)
        if why is not None:
            self.clone.console.say(f"{key} cannot be rebuilt: {why}", "warning")
            return
        source = self.wanted.source if self.wanted.source != key else None
        self.clone.choose(replace(self.wanted, target=key, source=source))
        self.proceed()

    def why_not_next(self) -> str | None:
        return None if self.wanted.target is not None else "choose the node that is rebuilt"


class SourcePage(ChoicePage):
    """Whose data it gets."""

    TITLE = "Source"
    LIST = "Whose data does it get?"

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        return f"A copy for {self.wanted.target}. The source stays in service; reading it costs some speed."

    def enter(self) -> None:
        super().enter()
        self.listing.choose_key(self.wanted.source or _CHOSEN_BY_WORKER)

    def _others(self, scene: Scene) -> Sequence[NodeState]:
        return [node for node in _nodes(scene) if node.label != self.wanted.target]

    def header(self, scene: Scene) -> Line | None:
        return _node_table(scene, self._others(scene), lambda _: True)[0]

    def rows(self, scene: Scene) -> Sequence[tuple[str, Line]]:
        choice = line(("✔ ", Ink.OK), ("The worker chooses", Ink.STRONG), ("  recommended", Ink.OK))
        nodes = _node_table(scene, self._others(scene), lambda node: _doubt(node) is None)[1]
        return [(_CHOSEN_BY_WORKER, choice), *nodes]

    def meaning(self, scene: Scene, key: str) -> Sequence[Line]:
        if key == _CHOSEN_BY_WORKER:
            return [line("A healthy slave if there is one, as that loads the master less; else the master.")]
        node = next((node for node in _nodes(scene) if node.label == key), None)
        if node is None:
            return []
        doubt = _doubt(node)
        if doubt is not None:
            return [line(("✖ ", Ink.BAD), clean(f"{key} {doubt}"))]
        if node.role is Role.MASTER:
            return [line(("● ", Ink.OK), clean(f"{key} is the master: the copy is read beside its writes."))]
        behind = node.replication.seconds_behind if node.replication is not None else None
        limit = scene.state.policy.max_lag if scene.state and scene.state.policy else None
        if behind is None or (limit is not None and behind > limit):
            far = "an unknown time" if behind is None else fmt.span(behind)
            words = f"{key} is {far} behind: chosen by name it is taken all the same, the copy catches up."
            return [line(("▲ ", Ink.WARN), clean(words))]
        return [line(("● ", Ink.OK), clean(f"{key} is a healthy slave: the master is spared."))]

    def chosen(self, key: str) -> None:
        node = next((node for node in _nodes(self.clone.scene) if node.label == key), None)
        doubt = _doubt(node) if node is not None else None
        if doubt is not None:
            self.clone.console.say(f"{key} {doubt}", "warning")
            return
        self.clone.choose(replace(self.wanted, source=None if key == _CHOSEN_BY_WORKER else key))
        self.proceed()


class MethodPage(ChoicePage):
    """By what means."""

    TITLE = "Method"
    LIST = "How is it copied?"
    KEYS = ("back", "wizard.next", "order.rehearse", "copy", "help", "quit")

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        if self.clone.checking:
            return "Asking both hosts what they have …"
        if self.clone.fault is not None:
            return f"What is possible could not be told: {self.clone.fault}"
        return "The old data stays aside until the new slave has caught up; only a script does as it pleases."

    def enter(self) -> None:
        super().enter()
        self.listing.choose_key(self.wanted.method or _AS_CONFIGURED)
        self.clone.check()

    def rehearse(self) -> None:
        self.clone.check(again=True)

    def rows(self, scene: Scene) -> Sequence[tuple[str, Line]]:  # noqa: ARG002
        found = self.clone.found
        here = ""
        if found is not None and found.method is not None and self.wanted.method is None:
            here = f", here: {METHODS[found.method].name.lower()}"
        first = line((_name("As configured"), Ink.STRONG), ("✔ recommended", Ink.OK), (here, Ink.OK))
        known = {choice.method: choice.why_not for choice in found.methods} if found is not None else {}
        return [
            (_AS_CONFIGURED, first),
            *((one.value, self._row(one, known)) for one in METHODS),
        ]

    def _row(self, method: CloneMethod, known: Mapping[CloneMethod, str | None]) -> Line:
        words = METHODS[method]
        why = known.get(method)
        if why is not None:
            return line((_name(words.name), Ink.DIM), ("✖ ", Ink.BAD), (clean(why), Ink.DIM))
        sign = line(("✔ ", Ink.OK) if method in known else ("? ", Ink.UNKNOWN))
        return line((_name(words.name), Ink.STRONG)) + sign + line(words.short)

    def meaning(self, scene: Scene, key: str) -> Sequence[Line]:  # noqa: ARG002
        if key == _AS_CONFIGURED:
            return [
                line(
                    "As clone_method in the settings says; “auto” takes the CLONE plugin where MySQL has it,"
                    " else a stream."
                )
            ]
        method = CloneMethod(key)
        paragraphs = [line(METHODS[method].long)]
        why = self._why_not(method)
        if why is not None:
            paragraphs.append(line(("✖ ", Ink.BAD), clean(why)))
        return paragraphs

    def _why_not(self, method: CloneMethod) -> str | None:
        found = self.clone.found
        choices = found.methods if found is not None else ()
        return next((choice.why_not for choice in choices if choice.method is method), None)

    def chosen(self, key: str) -> None:
        method = None if key == _AS_CONFIGURED else CloneMethod(key)
        why = self._why_not(method) if method is not None else None
        if why is not None:
            self.clone.console.say(f"{METHODS[CloneMethod(key)].name}: {why}", "warning")
            return
        self.clone.choose(replace(self.wanted, method=method))
        self.proceed()


_GO, _TRANSFER, _BANDWIDTH, _THREADS, _OLD = "go", "transfer", "bandwidth", "threads", "old"


class OptionsPage(ChoicePage):
    """How fast, by which path, and what becomes of the old data."""

    TITLE = "Options"
    LIST = "Details; enter changes the line under the cursor"

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        return "Everything here may stay as it is: enter on the first line goes on."

    def enter(self) -> None:
        super().enter()
        self.listing.choose_key(_GO)

    def advance(self) -> None:
        """Its lines are not alternatives: Next leaves them as they are."""
        self.proceed()

    def rows(self, scene: Scene) -> Sequence[tuple[str, Line]]:  # noqa: ARG002
        wanted = self.wanted
        limit = "as configured" if wanted.bandwidth is None else _rate(wanted.bandwidth)
        path = {
            None: "as configured",
            Transfer.AUTO: "node to node if they have keys for each other, else through this host",
            Transfer.DIRECT: "node to node",
            Transfer.RELAY: "through this host",
        }[wanted.transfer]
        threads = "as configured" if wanted.threads is None else str(wanted.threads)
        script, plugin = wanted.method is CloneMethod.SCRIPT, wanted.method is CloneMethod.PLUGIN
        old = (
            line(("removed BEFORE the copy if there is no room for both", Ink.BAD))
            if wanted.give_up_old
            else line("kept until the new slave has caught up")
        )
        own = line(("up to your script", Ink.DIM))
        does_not_apply = line(("— the plugin has its own way", Ink.DIM))
        return [
            (_GO, line(("Go on to the checks", Ink.STRONG))),
            (_TRANSFER, _option("Path", own if script else does_not_apply if plugin else line(path))),
            (_BANDWIDTH, _option("Bandwidth", own if script else line(limit))),
            (_THREADS, _option("Threads", own if script else does_not_apply if plugin else line(threads))),
            (_OLD, _option("Old data", own if script else old)),
        ]

    def meaning(self, scene: Scene, key: str) -> Sequence[Line]:  # noqa: ARG002
        target = clean(self.wanted.target or "")
        return [
            line(
                {
                    _GO: "The checks change nothing.",
                    _TRANSFER: "Node to node is faster; through this host works without keys between the"
                    " nodes. Enter changes it.",
                    _BANDWIDTH: "The most that the copy may take of the network, such as 20 MB/s; 0 = no"
                    " limit.",
                    _THREADS: "How many files the backup tool reads at a time, 1 to"
                    f" {MOST_THREADS}. More is faster and loads the source more.",
                    _OLD: f"Only for when {target}’s disk has no room for both: removed first, there is no"
                    " way back if the copy fails.",
                }[key]
            )
        ]

    def chosen(self, key: str) -> None:
        wanted = self.wanted
        if key == _GO:
            self.proceed()
        elif wanted.method is CloneMethod.SCRIPT:
            self.clone.console.say("the script decides about it", "warning")
        elif key == _BANDWIDTH:
            self._ask_bandwidth()
        elif key == _OLD:
            self.clone.ask_give_up_old()
        elif wanted.method is CloneMethod.PLUGIN:
            self.clone.console.say("the CLONE plugin has its own way", "warning")
        elif key == _TRANSFER:
            ways = (None, Transfer.AUTO, Transfer.DIRECT, Transfer.RELAY)
            following = ways[(ways.index(wanted.transfer) + 1) % len(ways)]
            self.clone.choose(replace(wanted, transfer=following))
        else:
            self._ask_threads()

    def _ask_bandwidth(self) -> None:
        def answered(text: str | None) -> None:
            if text is None:
                return
            try:
                bandwidth = fmt.parse_bandwidth(text) if text.strip() else None
            except ValueError as exc:
                self.clone.console.say(f"{exc}; nothing was changed", "error")
                return
            self.clone.choose(replace(self.wanted, bandwidth=bandwidth))

        present = self.wanted.bandwidth
        value = "" if present is None else "0" if present == 0 else f"{present / 1e6:g} MB/s"
        self.app.push_screen(
            LineOfText("Bandwidth", "At most, such as 20 MB/s; 0 = no limit; empty = as configured.", value),
            answered,
        )

    def _ask_threads(self) -> None:
        def answered(text: str | None) -> None:
            if text is None:
                return
            words = text.strip()
            if words and not (words.isdecimal() and 1 <= int(words) <= MOST_THREADS):
                self.clone.console.say(
                    f"{words!r} is not from 1 to {MOST_THREADS}; nothing was changed", "error"
                )
                return
            self.clone.choose(replace(self.wanted, threads=int(words) if words else None))

        present = self.wanted.threads
        self.app.push_screen(
            LineOfText(
                "Threads",
                f"Of the backup tool, 1 to {MOST_THREADS}; empty = as configured.",
                str(present or ""),
            ),
            answered,
        )


def _nodes(scene: Scene) -> Sequence[NodeState]:
    return scene.state.snapshot.nodes if scene.state else ()


def _refusal(scene: Scene, label: str) -> str | None:
    """Why a node cannot be the target, by the worker's own table."""
    if scene.state is None:
        return "nothing is known of the cluster yet"
    return scene.state.refusals.get(OrderKind.CLONE, {}).get(label)


def _doubt(node: NodeState) -> str | None:
    """Why a node cannot be the source, as far as one can see from here; the worker checks it properly."""
    if not node.answers:
        return "does not answer"
    if node.sync.state is not SyncState.OK:
        return "needs a resync itself"
    if node.role is Role.MASTER:
        return None
    return None if node.replication is not None else "follows nobody and is no master"


_COLUMNS = (
    ("Node", cells.label_cell),
    ("Role", cells.role_cell),
    ("Sync", cells.sync_cell),
    ("Replication", cells.replication_cell),
    ("Behind", cells.behind_cell),
    ("Disk free", cells.disk_cell),
)


def _node_table(
    scene: Scene, nodes: Sequence[NodeState], possible: Callable[[NodeState], bool]
) -> tuple[Line, list[tuple[str, Line]]]:
    """The headings, and one line a node: whether it can be chosen, what it is and how it stands."""
    table = [(node, [cell(scene, node) for _, cell in _COLUMNS]) for node in nodes]
    widths = [
        max(len(title), *(width_of(row[index]) for _, row in table), 0)
        for index, (title, _) in enumerate(_COLUMNS)
    ]
    gap = line("  ")
    header = line("  ") + glue(
        (line((title.ljust(width), Ink.HEAD)) for (title, _), width in zip(_COLUMNS, widths, strict=True)),
        gap,
    )
    rows = []
    for node, row in table:
        able = possible(node)
        sign = line(("✔ ", Ink.OK) if able else ("✖ ", Ink.BAD))
        value = glue((pad(cell, width) for cell, width in zip(row, widths, strict=True)), gap)
        rows.append(
            (node.label, sign + (value if able else tuple(span._replace(ink=Ink.DIM) for span in value)))
        )
    return header, rows


def _name(name: str) -> str:
    return name.ljust(15)


def _option(name: str, value: Line) -> Line:
    return line((name.ljust(12), Ink.DIM)) + value


def _rate(bandwidth: int) -> str:
    return "no limit" if bandwidth == 0 else f"at most {fmt.rate(bandwidth, 'bytes')}"

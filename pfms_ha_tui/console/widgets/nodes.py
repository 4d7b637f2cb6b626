"""The nodes table: one row a node, columns dropped by priority when the terminal is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pfms_ha_tui.cluster.snapshot import NodeState
from pfms_ha_tui.console.ink import Ink, Line, glue, line, pad, text_of, width_of
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets import cells
from pfms_ha_tui.console.widgets.pane import Page


class Column(NamedTuple):
    """One fact of every node."""

    title: str
    keep: int
    """Lower stays longer when the terminal is narrow."""
    least: int
    """Cells reserved even when the values are shorter, so that the table does not jump."""
    cell: Callable[[Scene, NodeState], Line]


COLUMNS = (
    Column("Sync", 2, 6, cells.sync_cell),
    Column("Label", 0, 5, cells.label_cell),
    Column("IP", 8, 9, cells.address_cell),
    Column("Role", 1, 8, cells.role_cell),
    Column("SQL", 4, 11, cells.sql_cell),
    Column("SSH", 7, 4, cells.ssh_cell),
    Column("Replication", 5, 11, cells.replication_cell),
    Column("Behind", 3, 6, cells.behind_cell),
    Column("Position", 9, 17, cells.position_cell),
    Column("Writes", 12, 8, cells.writes_cell),
    Column("Clients", 13, 9, cells.clients_cell),
    Column("Disk free", 14, 9, cells.disk_cell),
    Column("Uptime", 15, 6, cells.uptime_cell),
    Column("Version", 10, 9, cells.version_cell),
    Column("DB", 11, 5, cells.schema_cell),
    Column("Seen", 6, 5, cells.seen_cell),
)


def nodes_page(scene: Scene, width: int, _height: int, words: str = "") -> Page:
    """The table; ``words`` keeps only the rows that contain all of them."""
    if scene.state is None:
        return Page(())
    nodes = scene.state.snapshot.nodes
    table = {node.label: [column.cell(scene, node) for column in COLUMNS] for node in nodes}
    widths = [
        max(column.least, len(column.title), *(width_of(row[index]) for row in table.values()))
        for index, column in enumerate(COLUMNS)
    ]
    order, gap = _fit(widths, width)
    between = line(" " * gap)
    header = glue((line((COLUMNS[index].title.ljust(widths[index]), Ink.HEAD)) for index in order), between)
    rows = {
        label: glue((pad(row[index], widths[index]) for index in order), between)
        for label, row in table.items()
    }
    shown = [label for label in rows if matches(text_of(glue(table[label], line(" "))), words)]
    return Page([rows[label] for label in shown], header, shown)


def _fit(widths: Sequence[int], width: int) -> tuple[list[int], int]:
    """Which columns fit into ``width``, and the gap between them: a narrow gap before a lost column."""
    kept = set(range(len(widths)))
    while True:
        cells = sum(widths[index] for index in kept)
        gap = (width - cells) // max(1, len(kept) - 1)
        if gap >= 1 or len(kept) <= 2:
            return sorted(kept), max(1, min(gap, 4 if len(kept) == len(widths) else 2))
        kept.remove(max(kept, key=lambda index: COLUMNS[index].keep))


def matches(text: str, words: str) -> bool:
    """Whether ``text`` contains every one of ``words``, in any order and case."""
    folded = text.casefold()
    return all(word in folded for word in words.casefold().split())

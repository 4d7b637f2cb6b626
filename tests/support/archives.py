"""Archives of merges that no server ever saw: whole, and empty."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pfms_ha_tui.operations.merge.archive import FORMAT, ArchiveHead
from pfms_ha_tui.operations.merge.container import Writer
from pfms_ha_tui.operations.merge.side import Server


def empty_archive(directory: Path, *, losing: str = "node2", master: str = "node1") -> Path:
    """An archive of the window [100, 200) without a table, in a merge's directory."""
    directory.mkdir(parents=True)
    one, other = (
        Server(label=label, host="10.0.0.1", port=3306, identity=label, version="10.11")
        for label in (losing, master)
    )
    head = ArchiveHead(
        format=FORMAT, cluster="pandora", losing=one, master=other, start=100, end=200, made=1000.0
    )
    path = directory / "rows.sql.gz"
    with Writer(path) as writer:
        writer.add([b"-- an archive\n"], k="head", head=msgspec.to_builtins(head))
        writer.add([b"-- end\n"], k="end", sha256=writer.sha256)
    return path

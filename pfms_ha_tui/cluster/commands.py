"""Commands that a person can copy: what the console or an operation says in words, for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

_PROGRAM = "pfms-ha-tui"


def merge_command(
    *,
    losing: str,
    into: str,
    start: int,
    end: int,
    tables: Sequence[str] | None = None,
    drop: Iterable[str] = (),
    rename: Iterable[str] = (),
) -> str:
    """The merge of a window.

    Args:
        losing: Label of the node whose rows are recovered.
        into: Label of the node they go into.
        start: Seconds since 1970, inclusive.
        end: Exclusive.
        tables: Only these.
        drop: ``table.column``, archived but not merged.
        rename: ``table.column=column of the master``.
    """
    words = [_PROGRAM, "merge", "--from", losing, "--into", into, "--start", f"@{start}", "--end", f"@{end}"]
    if tables is not None:
        words += ["--tables", ",".join(tables)]
    for option, columns in (("--drop-column", drop), ("--rename-column", rename)):
        for column in columns:
            words += [option, column]
    return shlex.join(words)


def archived_command(option: str, directory: str) -> str:
    """``--resume``, ``--restore`` or ``--undo`` of a merge by its directory."""
    return shlex.join([_PROGRAM, "merge", option, directory])

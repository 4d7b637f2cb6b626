"""``pfms-ha-tui archive``: what merges saved. Reads files only; no worker needs to run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.config import load
from pfms_ha_tui.console.format import NOTHING, full_moment, number, size
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.worker.archives import (
    ArchiveFacts,
    archive_facts,
    archives_in,
    configuration_sql,
    directories,
    find,
    is_path,
)


def listing(arguments: argparse.Namespace) -> int:
    """Every archive, newest first."""
    places = (
        (arguments.dir,)
        if arguments.dir is not None
        else directories(load(arguments.config), arguments.cluster)
    )
    found = [
        one
        for place in places
        for one in archives_in(place)
        if arguments.cluster in (None, one.cluster) or one.cluster is None
    ]
    if arguments.json:
        _write_json(found)
    elif found:
        sys.stdout.write("\n".join(_listed(found)) + "\n")
    else:
        sys.stdout.write(f"no archives in {', '.join(map(str, places))}\n")
    return Exit.OK


def show(arguments: argparse.Namespace) -> int:
    """What one archive holds."""
    path = _meant(arguments)
    if arguments.configuration:
        for text in configuration_sql(path):
            sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return Exit.OK
    facts = archive_facts(path, check=not arguments.no_check)
    if arguments.json:
        _write_json(facts)
    else:
        sys.stdout.write("\n".join(_described(facts, checked=not arguments.no_check)) + "\n")
    return Exit.OK


def _meant(arguments: argparse.Namespace) -> Path:
    """The archive that is meant; the settings are read only where a name is to be found."""
    text: str = arguments.archive
    if is_path(text) or Path(text).exists():
        return Path(text).expanduser()
    return find(text, directories(load(arguments.config), None))


def _listed(found: Sequence[ArchiveFacts]) -> Iterator[str]:
    places: dict[Path, list[ArchiveFacts]] = {}
    for one in found:
        places.setdefault(Path(one.directory).parent, []).append(one)
    for place, there in places.items():
        yield f"in {clean(str(place))}"
        yield from _table(there)


def _table(found: Sequence[ArchiveFacts]) -> Iterator[str]:
    heads = ("name", "made", "from", "into", "window", "rows", "size", "merge")
    rows = [heads, *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    right = {5, 6}
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(one: ArchiveFacts) -> tuple[str, ...]:
    rows = sum(one.tables.values()) if one.tables is not None else None
    return (
        clean(Path(one.directory).name),
        full_moment(one.made) if one.made is not None else NOTHING,
        clean(one.losing or NOTHING),
        clean(one.master or NOTHING),
        _window(one),
        number(rows),
        size(one.size),
        f"unusable: {clean(one.problem)}" if one.problem is not None else one.merge,
    )


def _described(one: ArchiveFacts, *, checked: bool) -> Iterator[str]:
    yield clean(one.directory)
    for name, value in (
        ("cluster", clean(one.cluster or NOTHING)),
        ("rows of", clean(one.losing or NOTHING)),
        ("into", clean(one.master or NOTHING)),
        ("window", _window(one)),
        ("saved", full_moment(one.made) if one.made is not None else NOTHING),
        ("size", size(one.size)),
        ("whole", "yes, its checksum is right" if checked else "not checked"),
        ("sha256", (one.sha256 or NOTHING) + " (of what precedes the last section)"),
        ("merge", one.merge),
    ):
        yield f"  {name:8} {value}"
    yield "rows saved"
    yield from _counted(one.tables or {})
    yield "configuration saved, not merged (archive show --configuration prints it as SQL)"
    yield from _counted(one.configuration or {})
    if one.refused:
        yield "refused by the master, set aside in quarantine.sql.gz"
        for text in one.refused:
            yield f"  {clean(text)}"


def _counted(counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        yield "  none"
    widest = max((len(table) for table in counts), default=0)
    for table, rows in counts.items():
        yield f"  {clean(table).ljust(widest)}  {number(rows).rjust(12)}"


def _window(one: ArchiveFacts) -> str:
    if one.start is None or one.end is None:
        return NOTHING
    return span(one.start, one.end)


def span(start: int, end: int) -> str:
    """A window in local time, with the offset of either end."""
    return f"{_moment(start)} … {_moment(end)}"


def _moment(at: int) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (OverflowError, ValueError, OSError):
        return f"@{at}"


def _write_json(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

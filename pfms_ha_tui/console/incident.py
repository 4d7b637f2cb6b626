"""An incident as a Markdown file: how the cluster stands, and what happened, for the ticket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import GUARD, kind_words
from pfms_ha_tui.console.ink import Line, clean, clean_lines, text_of
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.widgets.evidence import sights
from pfms_ha_tui.console.widgets.nodes import COLUMNS
from pfms_ha_tui.errors import PfmsError


def default_name(cluster: str, wall: float) -> str:
    """``incident-pandora-prod-20251128-1032.md``."""
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in cluster)
    return f"incident-{safe}-{datetime.fromtimestamp(wall):%Y%m%d-%H%M}.md"


def incident(scene: Scene, events: Sequence[Event]) -> str:
    """The report. ``events``: newest first, as they are shown; written oldest first."""
    state = scene.state
    name = state.name if state else "no cluster"
    out = [f"# Incident report: {_text(name)}", ""]
    welcome = scene.board.welcome
    by = f" by pfms-ha-tui {welcome.version} (worker pid {welcome.pid})" if welcome else ""
    out += [f"Written {fmt.full_moment(scene.wall)}{by}.", ""]
    if state is not None:
        age = scene.data_age
        stale = f" The data is {fmt.age(age)} old: the worker does not answer." if scene.stale else ""
        out += [
            "## How the cluster stands", "",
            f"**{kind_words(state.diagnosis.kind)}**: {_text(state.diagnosis.text)}{stale}", "",
            _text(state.readiness.sentence), "",
            *(f"- {_text(sentence)}" for sentence in state.diagnosis.evidence), "",
            *_table([column.title for column in COLUMNS],
                    [[column.cell(scene, node) for column in COLUMNS] for node in state.snapshot.nodes]), "",
            "### Checks before an automatic failover", "",
            *(f"- {GUARD[guard.ok].glyph} {_text(guard.title)}: {_text(guard.reason)}"
              for guard in state.readiness.guards), "",
            "### Who sees whom", "",
            *_table(["who", "about", "says", "what", "age"],
                    [[row.observer, row.about, row.says.value, row.text, fmt.age(row.age)]
                     for row in sights(scene)]),
            "",
        ]  # fmt: skip
    out += [f"## What happened ({fmt.plural(len(events), 'event')}, oldest first)", ""]
    for event in reversed(events):
        what = f"**{event.severity.value}** {_text(event.text)} ({_text(event.actor)})"
        out.append(f"- `{fmt.full_moment(event.at)}` {what}")
        out += [f"    - {_text(detail)}" for detail in clean_lines(event.details or "") if detail.strip()]
    return "\n".join(out) + "\n"


def write_new(path: Path, text: str) -> None:
    """Write ``text`` to a file that does not exist yet, whole or not at all, readable by its owner only.

    Raises:
        PfmsError: the file exists, or cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(part, path)  # unlike a rename it never replaces a file
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError as exc:
        raise PfmsError(f"{path} exists already", hint="choose another name", code="exists") from exc
    except (OSError, ValueError) as exc:
        raise PfmsError(
            f"{path} cannot be written: {exc.strerror if isinstance(exc, OSError) else exc}"
        ) from exc


def _text(text: str) -> str:
    """Text from outside, inert in Markdown."""
    out = clean(text)
    for char in "\\`*_[]<>|#":
        out = out.replace(char, f"\\{char}")
    return out


def _table(heads: Sequence[str], rows: Sequence[Sequence[Line | str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = (_text(cell if isinstance(cell, str) else text_of(cell)) for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines

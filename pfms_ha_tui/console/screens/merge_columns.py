"""Columns that stop a merge: left out or mapped, in the wizard or by the command that does the same."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from pfms_ha_tui.cluster.commands import merge_command
from pfms_ha_tui.console.ink import clean
from pfms_ha_tui.console.screens.dialogs import LineOfText, Question
from pfms_ha_tui.worker.protocol_merge import DryRun, MergeQuery

if TYPE_CHECKING:
    from pfms_ha_tui.console.screens.merge import MergeWizard

_UNKNOWN = "NAME"
"""Where nobody can guess the master's name of a column."""


def columns_unfit(found: DryRun | None) -> tuple[str, ...]:
    """``table.column`` that stops the merge, and could be left out."""
    problems = found.problems if found is not None else ()
    return tuple(one.where for one in problems if one.blocking and "." in one.where)


def guesses(found: DryRun | None) -> dict[str, str]:
    """``table.column`` that may have another name on the master → that name, if one alone is possible."""
    problems = found.problems if found is not None else ()
    return {
        one.where: one.names[0] if len(one.names) == 1 else _UNKNOWN
        for one in problems
        if one.blocking and one.names is not None
    }


def command_for(query: MergeQuery, found: DryRun | None) -> str | None:
    """What merges with every column mapped or left out; ``None`` while none stands in the way."""
    unfit, names = columns_unfit(found), guesses(found)
    if query.into is None or not unfit:
        return None
    return merge_command(
        losing=query.losing,
        into=query.into,
        start=query.start,
        end=query.end,
        tables=query.tables,
        drop=(*query.drop_columns, *(where for where in unfit if where not in names)),
        rename=(*query.rename_columns, *(f"{where}={name}" for where, name in names.items())),
    )


def settle(wizard: MergeWizard) -> None:
    """Ask what becomes of the columns that do not fit, and keep the answer."""
    unfit = wizard.unfit
    if not unfit:
        wizard.console.say("no column stands in the way", "warning")
        return

    def answered(answer: str | None) -> None:
        if answer == "leave-out":
            wizard.choose(replace(wizard.wanted, left_out=(*wizard.wanted.left_out, *unfit)))
        elif answer == "map":
            _map(wizard)

    answers = [("stay", "Leave it: the tables are repaired first"), ("leave-out", "Merge without them")]
    if guesses(wizard.found):
        answers.append(("map", "They have other names on the master"))
    wizard.app.push_screen(
        Question(
            "Columns that do not fit",
            [
                f"{', '.join(map(clean, unfit))}: left out, what is in there is archived, not merged.",
                "Repairing the master's table instead loses nothing.",
            ],
            answers,
        ),
        answered,
    )


def _map(wizard: MergeWizard) -> None:
    """Ask for the master's names."""
    names, found = guesses(wizard.found), wizard.found

    def typed(answer: str | None) -> None:
        if answer is None:
            return
        pairs = tuple(answer.replace(",", " ").split())
        wrong = next((pair for pair in pairs if not _maps(pair, names)), None)
        if wrong is not None or not pairs:
            wizard.console.say(f"“{wrong or ''}” is not one of these columns with its name", "warning")
            return
        wizard.choose(replace(wizard.wanted, renamed=(*wizard.wanted.renamed, *pairs)))

    only_there = sorted({name for one in (found.problems if found else ()) for name in one.names or ()})
    known = f" Only there: {', '.join(map(clean, only_there))}." if only_there else ""
    text = f"table.column=its name on the master, separated by blanks.{known}"
    shown = " ".join(f"{where}={'' if name == _UNKNOWN else name}" for where, name in names.items())
    wizard.app.push_screen(LineOfText("Map the columns", text, shown), typed)


def _maps(pair: str, unfit: Container[str]) -> bool:
    where, sign, name = pair.partition("=")
    return where in unfit and bool(sign) and bool(name)

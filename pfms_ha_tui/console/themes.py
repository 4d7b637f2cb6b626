"""The looks: dark, light and colour-blind, each also in the sixteen colours of plain terminals.

The style sheet only names inks; a theme gives each its colour. No state is told by colour alone, and the
colour-blind theme uses the blue and orange of Okabe and Ito's palette where the others use green and red.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rich.style import Style
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from pfms_ha_tui.console.ink import Ink


def _theme(
    name: str,
    *,
    dark: bool,
    background: str,
    surface: str,
    foreground: str,
    faint: str,
    line: str,
    accent: str,
    ok: str,
    info: str,
    busy: str,
    warn: str,
    bad: str,
    on_shout: str,
    cursor: str,
    ansi: bool = False,
) -> Theme:
    return Theme(
        name=name,
        dark=dark,
        ansi=ansi,
        primary=accent,
        secondary=info,
        accent=accent,
        success=ok,
        warning=warn,
        error=bad,
        foreground=foreground,
        background=background,
        surface=surface,
        panel=surface,
        boost=surface,
        variables=(dict(BUILTIN_THEMES["ansi-dark" if dark else "ansi-light"].variables) if ansi else {})
        | {
            "ink-dim": faint,
            "ink-ok": ok,
            "ink-info": info,
            "ink-busy": busy,
            "ink-warn": warn,
            "ink-bad": bad,
            "ink-on-shout": on_shout,
            "pane-line": line,
            "pane-cursor": cursor,
            "border": accent,
            "border-blurred": line,
            "scrollbar": line,
            "scrollbar-hover": accent,
            "scrollbar-active": accent,
            "scrollbar-background": background,
            "scrollbar-background-hover": background,
            "scrollbar-background-active": background,
            "scrollbar-corner-color": background,
            "input-cursor-background": foreground,
            "input-cursor-foreground": background,
        },
    )


THEMES = {
    theme.name: theme
    for theme in (
        _theme(
            "dark", dark=True, background="#101418", surface="#1a2027", foreground="#d8dee6",
            faint="#8494a4", line="#3a4652", accent="#5fb3f3", ok="#56d364", info="#58a6ff",
            busy="#e3c550", warn="#f0a93b", bad="#ff6b63", on_shout="#101418", cursor="#243447",
        ),
        _theme(
            "light", dark=False, background="#fbfbf8", surface="#eeeeea", foreground="#1f2328",
            faint="#5c6670", line="#b4bac1", accent="#0550ae", ok="#116329", info="#0550ae",
            busy="#7d5a00", warn="#8a4600", bad="#b00020", on_shout="#ffffff", cursor="#d9e6f5",
        ),
        _theme(
            "colour-blind", dark=True, background="#101418", surface="#1a2027", foreground="#e2e6ea",
            faint="#8c99a6", line="#3a4652", accent="#f0e442", ok="#56b4e9", info="#9ecfee",
            busy="#f0e442", warn="#e69f00", bad="#ff7a3c", on_shout="#101418", cursor="#243447",
        ),
        _theme(
            "dark-16", ansi=True, dark=True, background="ansi_default", surface="ansi_default",
            foreground="ansi_default", faint="ansi_bright_black", line="ansi_bright_black",
            accent="ansi_bright_cyan", ok="ansi_green", info="ansi_bright_blue", busy="ansi_bright_yellow",
            warn="ansi_yellow", bad="ansi_bright_red", on_shout="ansi_black", cursor="ansi_blue",
        ),
        _theme(
            "light-16", ansi=True, dark=False, background="ansi_default", surface="ansi_default",
            foreground="ansi_default", faint="ansi_bright_black", line="ansi_bright_black",
            accent="ansi_blue", ok="ansi_green", info="ansi_blue", busy="ansi_magenta", warn="ansi_yellow",
            bad="ansi_red", on_shout="ansi_bright_white", cursor="ansi_white",
        ),
        _theme(
            "colour-blind-16", ansi=True, dark=True, background="ansi_default", surface="ansi_default",
            foreground="ansi_default", faint="ansi_bright_black", line="ansi_bright_black",
            accent="ansi_bright_yellow", ok="ansi_bright_blue", info="ansi_cyan", busy="ansi_bright_yellow",
            warn="ansi_bright_yellow", bad="ansi_bright_magenta", on_shout="ansi_black", cursor="ansi_blue",
        ),
    )
}  # fmt: skip

_INKS: dict[Ink, tuple[str, str]] = {
    Ink.PLAIN: ("foreground", ""),
    Ink.DIM: ("ink-dim", ""),
    Ink.STRONG: ("foreground", "bold"),
    Ink.HEAD: ("ink-dim", "bold"),
    Ink.KEY: ("accent", "bold"),
    Ink.OK: ("ink-ok", ""),
    Ink.INFO: ("ink-info", ""),
    Ink.BUSY: ("ink-busy", ""),
    Ink.WARN: ("ink-warn", ""),
    Ink.BAD: ("ink-bad", "bold"),
    Ink.UNKNOWN: ("ink-warn", "italic"),
    Ink.MASTER: ("accent", "bold"),
}
"""Ink → variable of the theme, text style."""
_SHOUTS = {
    Ink.SHOUT_OK: "ink-ok",
    Ink.SHOUT_WARN: "ink-warn",
    Ink.SHOUT_BAD: "ink-bad",
    Ink.SHOUT_UNKNOWN: "ink-busy",
}
"""Ink → variable of the theme for the block behind the word."""
_KEEP = frozenset({Ink.HEAD, Ink.KEY, Ink.DIM})
"""What does not fade: it tells nothing about the nodes."""


def ink_style(
    variables: Mapping[str, str], ink: Ink, *, faded: bool = False, no_color: bool = False
) -> Style:
    """How ``ink`` looks, as a style to lay over the pane's own.

    Args:
        variables: the theme's.
        ink: what it means.
        faded: the pane shows a memory, which is grey as a whole.
        no_color: the terminal shall have no colours: blocks are drawn in reverse.
    """
    if ink in _SHOUTS:
        if no_color:
            return Style(bold=True, reverse=True)
        back, front = _colour(variables[_SHOUTS[ink]]), _colour(variables["ink-on-shout"])
        return Style(color=front.rich_color, bgcolor=back.rich_color, bold=True)
    variable, text = _INKS[ink]
    if faded and ink not in _KEEP:
        variable, text = "ink-dim", ""
    return Style(
        color=_colour(variables[variable]).rich_color,
        bold="bold" in text or None,
        italic="italic" in text or None,
    )


@lru_cache(maxsize=256)
def _colour(value: str) -> Color:
    return Color.parse(value)


def background_style(variables: Mapping[str, str], *, focused: bool) -> Style:
    """What lies under the cursor's line."""
    return Style(bgcolor=_colour(variables["pane-cursor" if focused else "surface"]).rich_color)


CHOICES = ("dark", "light", "colour-blind")
"""What the config and the command palette offer; each has a variant of sixteen colours."""


def theme_for(choice: str, *, few_colours: bool) -> str:
    """The name of the theme for ``choice`` on this terminal.

    Args:
        choice: ``dark``, ``light``, ``colour-blind``, or any theme of Textual.
        few_colours: whether the terminal has sixteen colours at most.
    """
    if few_colours:
        return f"{choice}-16" if choice in CHOICES else "dark-16"
    return choice

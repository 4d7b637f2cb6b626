"""The looks: dark, light and colour-blind, each also in the sixteen colours of plain terminals.

The style sheet only names inks; a theme gives each its colour. No state is told by colour alone, and the
colour-blind theme uses the blue and orange of Okabe and Ito's palette where the others use green and red.
"""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme


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

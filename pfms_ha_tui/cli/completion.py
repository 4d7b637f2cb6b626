"""Completion scripts, made from the parser itself so that they never lag behind it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.cli.parser import build_parser


def completion(arguments: argparse.Namespace) -> int:
    """Print the script of the shell that was asked for."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell]
    sys.stdout.write(write())
    return Exit.OK


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action.choices, dict | list | tuple) and not action.option_strings:
            yield from (str(choice) for choice in action.choices)


def _helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {choice.dest: choice.help or "" for choice in action._choices_actions}
    return {}


def _bash() -> str:
    parser = build_parser()
    cases = "".join(
        f"    {name}) words={' '.join(_words(command))!r} ;;\n" for name, command in _commands(parser).items()
    )
    return (
        "# bash completion for pfms-ha-tui; load with: source <(pfms-ha-tui completion bash)\n"
        "_pfms_ha_tui() {\n"
        "  local word command words previous\n"
        "  word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
        "  case $previous in --config|--resume|--restore|--undo|--dir)\n"
        '    COMPREPLY=($(compgen -f -- "$word")); return ;;\n'
        "  esac\n"
        "  command=\n"
        f"  local known=' {' '.join(_commands(parser))} '\n"
        '  for previous in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n'
        '    [[ $known == *" $previous "* ]] && { command=$previous; break; }\n'
        "  done\n"
        "  case $command in\n"
        f"{cases}"
        f"    *) words={' '.join(_words(parser))!r} ;;\n"
        "  esac\n"
        '  COMPREPLY=($(compgen -W "$words" -- "$word"))\n'
        "}\n"
        "complete -F _pfms_ha_tui pfms-ha-tui\n"
    )


def _zsh() -> str:
    return (
        "#compdef pfms-ha-tui\n"
        "# zsh completion; load with: source <(pfms-ha-tui completion zsh)\n"
        "autoload -U +X bashcompinit && bashcompinit\n" + _bash()
    )


def _fish() -> str:
    parser = build_parser()
    helps = _helps(parser)
    lines = [
        "# fish completion; load with: pfms-ha-tui completion fish | source",
        "complete -c pfms-ha-tui -f",
    ]
    for name in _commands(parser):
        text = helps.get(name, "").replace("'", "")
        lines.append(f"complete -c pfms-ha-tui -n __fish_use_subcommand -a {name} -d '{text}'")
    for name, command in _commands(parser).items():
        for word in _words(command):
            seen = f"-n '__fish_seen_subcommand_from {name}'"
            if word.startswith("--"):
                lines.append(f"complete -c pfms-ha-tui {seen} -l {word[2:]}")
            elif not word.startswith("-"):
                lines.append(f"complete -c pfms-ha-tui {seen} -a {word}")
    return "\n".join(lines) + "\n"

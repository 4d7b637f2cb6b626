"""What can be typed."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from pfms_ha_tui import __version__
from pfms_ha_tui.cli.exits import Exit
from pfms_ha_tui.console.format import parse_bandwidth, parse_span

EXIT_STATUSES = """\
exit status:
  0   done and verified (status: healthy)
  1   status: warning            2   status: critical          3   status: unknown
  4   refused or failed, the reason is on stderr
  64  command line not understood     69  no worker reached     78  settings are wrong
"""


_INVALID_CHOICE = re.compile(r"invalid choice: '(?P<word>.*)' \(choose from (?P<known>.*)\)", re.DOTALL)

_MERGES = """\
MERGE is the name that 'archive list' shows, or a beginning of it that no other merge has
(20261128T0215), or the path of the merge's directory, or of its archive."""

_FEW = 8
"""So many choices are named in a line; more are in the help."""


class Parser(argparse.ArgumentParser):
    """argparse, with a usage status that cannot be taken for a monitoring result."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what may have been meant, and which command helps."""
        wrong = _INVALID_CHOICE.search(message)
        if wrong is not None:
            known = re.findall(r"[\w-]+", wrong["known"])
            near = difflib.get_close_matches(wrong["word"], known, n=1)
            message = f"unknown: {wrong['word']!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            if not near and len(known) <= _FEW:
                message += f"; there is {', '.join(known)}"
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def lazily(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """A command whose module is loaded when it runs."""

    def run(arguments: argparse.Namespace) -> int:
        command: Callable[[argparse.Namespace], int] = getattr(
            importlib.import_module(f"pfms_ha_tui.cli.{module}"), function
        )
        return command(arguments)

    return run


def duration(text: str) -> float:
    """``90``, ``90s``, ``30m``, ``2h``, ``7d`` in seconds.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """A whole number from 1.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def bandwidth(text: str) -> int:
    """``20 MB/s`` in bytes per second; 0 = no limit.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    try:
        return parse_bandwidth(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="pfms-ha-tui",
        description="Console and failover worker for the database high availability of Pandora FMS.\n"
        "Without a command: the full-screen console (a worker is started if none is running).",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pfms-ha-tui {__version__}")
    parser.set_defaults(run=lazily("console", "console"))
    _add_common(parser)
    parser.add_argument("--read-only", action="store_true", help="console: look, change nothing")
    parser.add_argument("--no-spawn", action="store_true", help="console: never start a worker")

    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=Parser)
    _add_looking(commands)
    _add_changing(commands)
    _add_running(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def _add_common(parser: argparse.ArgumentParser, *, default: object = None) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=default,
        help="config.toml or pandora_server.conf (default: the usual places, see 'config check')",
    )


def _command(
    commands: Commands, name: str, help_text: str, run: Callable[[argparse.Namespace], int]
) -> Parser:
    parser: Parser = commands.add_parser(name, help=help_text, description=help_text)
    # The option may stand before or behind the command; SUPPRESS keeps the one from overwriting the other.
    _add_common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def _add_looking(commands: Commands) -> None:
    status = _command(commands, "status", "how every cluster is, in one screen", lazily("status", "status"))
    status.add_argument("--cluster", metavar="NAME", help="only this cluster")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, as JSON")
    form.add_argument(
        "--nagios", action="store_true", help="one line of a monitoring plug-in with performance data"
    )

    nodes = _command(commands, "nodes", "a table of all nodes", lazily("status", "nodes"))
    nodes.add_argument("--cluster", metavar="NAME", help="only this cluster")
    nodes.add_argument("--json", action="store_true", help="as JSON")

    events = _command(commands, "events", "what happened, oldest first", lazily("events", "events"))
    events.add_argument("--cluster", metavar="NAME", help="only this cluster")
    events.add_argument("--since", type=duration, metavar="AGO", help="not older than this, e.g. 2h or 7d")
    events.add_argument("--limit", type=count, default=100, metavar="N", help="at most so many (default 100)")
    events.add_argument("--follow", action="store_true", help="stay and print new ones")
    events.add_argument("--json", action="store_true", help="one JSON object a line")

    config = _command(commands, "config", "look at the settings", lazily("config", "check"))
    checks = config.add_subparsers(metavar="check", dest="config_command", required=True, parser_class=Parser)
    _command(
        checks, "check", "read the settings, report every fault, show what counts", lazily("config", "check")
    )

    completion = _command(
        commands, "completion", "print the completion script of a shell", lazily("completion", "completion")
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _add_changing(commands: Commands) -> None:
    failover = _order(commands, "failover", "promote a slave because the master is dead", node="?")
    failover.add_argument(
        "node", nargs="?", metavar="NODE", help="who takes over (default: who received most)"
    )
    switchover = _order(commands, "switchover", "make another node the master, as planned; loses nothing")
    switchover.add_argument("--kill-long", action="store_true", help="also end transactions open for long")
    _order(commands, "rejoin", "let a returned old master follow the present one")
    _order(commands, "lock", "make one of several writable nodes read-only")
    _order(commands, "reopen", "make the unchanged master writable again after it restarted read-only")

    resync = _order(commands, "resync", "rebuild a slave from another node (clone)")
    resync.set_defaults(kind="clone", run=lazily("resync", "resync"))
    resync.add_argument("--from", dest="source", metavar="NODE", help="whose data it gets (default: chosen)")
    methods = ("auto", "stream", "staged", "plugin", "script")
    resync.add_argument("--method", choices=methods, help="how (default: as configured)")
    resync.add_argument(
        "--transfer",
        choices=("auto", "direct", "relay"),
        help="the path of the bytes: node to node, or through this host (default: as configured)",
    )
    resync.add_argument(
        "--bandwidth", type=bandwidth, metavar="RATE", help="at most, e.g. '20 MB/s'; 0 = no limit"
    )
    resync.add_argument("--threads", type=count, metavar="N", help="of the backup tool, 1 to 64")
    resync.add_argument(
        "--give-up-old",
        action="store_true",
        help="without room for both: remove the node's old data BEFORE the copy (asks a second time)",
    )

    _add_merge(commands)

    drill = _command(
        commands,
        "drill",
        "rehearse an operation on the live cluster, change nothing",
        lazily("orders", "drill"),
    )
    drill.add_argument(
        "kind",
        nargs="?",
        default="failover",
        choices=("failover", "switchover", "rejoin"),
        help="what to rehearse",
    )
    drill.add_argument("node", nargs="?", metavar="NODE", help="the node it is about")
    drill.add_argument("--cluster", metavar="NAME", help="which cluster, if there are several")
    drill.add_argument("--json", action="store_true", help="the outcome as JSON")

    cancel = _told(commands, "cancel", "end the operation that runs at its next safe point, undone", "cancel")
    cancel.set_defaults(run=lazily("cancel", "cancel"))
    which = cancel.add_mutually_exclusive_group()
    which.add_argument(
        "operation", nargs="?", type=count, metavar="OPERATION", help="its number (default: what runs)"
    )
    which.add_argument("--queued", metavar="NODE", help="the resync of that node, which waits for its turn")

    pause = _told(commands, "pause", "maintenance: suspend automatic actions for a while", "pause")
    pause.add_argument("duration", type=duration, metavar="FOR", help="30m, 2h, 1d")
    pause.add_argument("reason", nargs="?", default="", help="shown on every console")
    _told(commands, "resume", "end the maintenance", "resume")
    _told(commands, "ack", "acknowledge the last failover, so that another one may follow", "acknowledge")
    mode = _told(commands, "mode", "how much the worker does by itself; kept over its restarts", "mode")
    mode.add_argument("mode", choices=("observe", "manual", "automatic"))
    name = _told(commands, "name-master", "say which node is the master when nobody can know", "name_master")
    name.add_argument("node", metavar="NODE")


def _add_merge(commands: Commands) -> None:
    merge = _order(commands, "merge", "recover what the losing side of a split-brain wrote", node="?")
    merge.set_defaults(run=lazily("merge", "merge"), node=None)
    what = merge.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--from", dest="node", metavar="NODE", help="the node that lost: its rows are recovered"
    )
    what.add_argument("--resume", metavar="MERGE", help="go on with a merge that stopped; nothing is doubled")
    what.add_argument("--restore", metavar="MERGE", help="add what the master lacks of its archive")
    what.add_argument("--undo", metavar="MERGE", help="remove exactly the rows that a merge added")
    merge.epilog = _MERGES
    merge.formatter_class = argparse.RawDescriptionHelpFormatter
    merge.add_argument("--into", metavar="NODE", help="the node the rows go into (default: the master)")
    moment = "local time ('2026-11-28 02:00'), with an offset ('… +01:00'), or @seconds"
    proposed = "without both ends a window is proposed"
    merge.add_argument("--start", metavar="WHEN", help=f"first moment: {moment}; {proposed}")
    merge.add_argument("--end", metavar="WHEN", help="the moment after the last")
    merge.add_argument("--tables", metavar="T,T", help="only these tables")
    merge.add_argument(
        "--drop-column",
        action="append",
        default=[],
        metavar="T.C",
        help="that column is archived, not merged",
    )
    merge.add_argument(
        "--rename-column", action="append", default=[], metavar="T.C=N", help="the master calls that column N"
    )
    merge.add_argument("--anyway", action="store_true", help="although it looks like the wrong direction")

    archive = _command(commands, "archive", "look at what merges saved", lazily("archive", "listing"))
    archives = archive.add_subparsers(
        metavar="COMMAND", dest="archive_command", required=True, parser_class=Parser
    )
    listing = _command(archives, "list", "every merge's archive, newest first", lazily("archive", "listing"))
    listing.add_argument("--cluster", metavar="NAME", help="only this cluster's")
    listing.add_argument("--dir", type=Path, metavar="DIR", help="look here (default: as configured)")
    listing.add_argument("--json", action="store_true", help="as JSON")
    show = _command(
        archives, "show", "what an archive holds, and whether it is whole", lazily("archive", "show")
    )
    show.add_argument("archive", metavar="MERGE", help="its name, its directory, or the archive's file")
    show.epilog = _MERGES
    show.formatter_class = argparse.RawDescriptionHelpFormatter
    show.add_argument("--no-check", action="store_true", help="do not read it all to compare its checksum")
    show.add_argument(
        "--configuration",
        action="store_true",
        help="print the saved configuration rows as SQL",
    )
    show.add_argument("--json", action="store_true", help="as JSON")


def _order(commands: Commands, kind: str, help_text: str, *, node: str | None = None) -> Parser:
    parser = _simple(commands, kind, help_text, "order")
    parser.set_defaults(kind=kind)
    if node is None:
        parser.add_argument("node", metavar="NODE")
    parser.add_argument("--dry-run", action="store_true", help="every check and step, nothing changed")
    parser.add_argument("--yes", action="store_true", help="do not ask for the node's label")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    return parser


def _told(commands: Commands, name: str, help_text: str, function: str) -> Parser:
    parser = _simple(commands, name, help_text, function)
    parser.add_argument("--dry-run", action="store_true", help="say what it would come to, change nothing")
    parser.add_argument("--yes", action="store_true", help="for scripts: this command asks nothing anyway")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    return parser


def _simple(commands: Commands, name: str, help_text: str, function: str) -> Parser:
    parser = _command(commands, name, help_text, lazily("orders", function))
    parser.add_argument("--cluster", metavar="NAME", help="which cluster, if there are several")
    return parser


def _add_running(commands: Commands) -> None:
    _command(commands, "worker", "run the worker in the foreground (for systemd)", lazily("worker", "worker"))

    demo = _command(commands, "demo", "a real local cluster to look at and play with", lazily("demo", "demo"))
    demo.add_argument(
        "--headless", action="store_true", help="no console: print one JSON line when healthy, and stay"
    )
    demo.add_argument("--nodes", type=count, default=2, metavar="N", help="how many nodes (default 2)")
    demo.add_argument(
        "--flavor", choices=("mariadb", "mysql"), default="mariadb", help="which server (default mariadb)"
    )
    demo.add_argument("--gtid", action="store_true", help="replicate by GTID instead of file and position")
    demo.add_argument("--no-worker", action="store_true", help="start only the cluster")
    demo.add_argument(
        "--rows", type=count, default=20_000, metavar="N", help="rows of seed data (default 20000)"
    )
    demo.add_argument(
        "--scenario",
        choices=("split-brain", "failover", "broken-replication", "lag"),
        help="an incident to practise on, brought about for real",
    )

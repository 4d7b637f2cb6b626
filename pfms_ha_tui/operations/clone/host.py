"""One node's host during a clone: commands as root, marked so that none outlives its clone."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable

import asyncssh

from pfms_ha_tui.errors import OperationError, PfmsError, ShellError
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.nodes.shell import NodeShell, Process, ShellResult
from pfms_ha_tui.operations.clone import tools
from pfms_ha_tui.operations.context import ClusterOperation

_MARK = "PFMS_HA_CLONE"
QUICK = 30.0
"""Seconds for a command that only looks or renames."""
EVERY_FILE = 3600.0
"""Seconds for a command over every file of a datadir or a copy of it: there may be very many."""
_UNNAMED = (
    "umask 077; f=$(mktemp /dev/shm/pfms-ha-XXXXXX 2>/dev/null || mktemp) || exit 90; "
    'cat >"$f"; {own}exec 3<"$f"; rm -f "$f"; umask 022; '
)
_LEFT = """
left() {{
  for f in /proc/[0-9]*/environ; do
    grep -qzxF {mark} "$f" 2>/dev/null || continue
    f=${{f#/proc/}}; echo "${{f%/environ}}"
  done
}}
for signal in TERM TERM KILL KILL; do
  pids=$(left)
  [ -n "$pids" ] || exit 0
  kill -$signal $pids 2>/dev/null
  for i in 1 2 3 4 5 6 7 8 9 10; do [ -n "$(left)" ] || exit 0; sleep 0.2; done
done
echo "still there: $(left)" >&2
exit 1
"""


class Host:
    """The host of one node, for the clone of one token."""

    def __init__(self, shell: NodeShell, token: str) -> None:
        self.shell = shell
        self.token = token

    @property
    def label(self) -> str:
        """The node's label."""
        return self.shell.node.label

    async def ask(self, script: str, *, timeout: float = QUICK, given: bytes | None = None) -> ShellResult:
        """Run a script as root, whatever it ends with.

        Raises:
            ShellError: it could not be run to its end.
        """
        return await self.shell.run(self.shell.elevated(script), timeout=timeout, input=given)

    async def run(self, script: str, what: str, *, timeout: float = QUICK, given: bytes | None = None) -> str:
        """Run a script as root; what it printed.

        Args:
            what: For the error, as in "{what} failed: …".

        Raises:
            ShellError: it could not be run, or ended with another status than 0.
        """
        result = await self.ask(script, timeout=timeout, given=given)
        if not result.ok:
            said = result.said or f"exit status {result.exit_status}"
            raise ShellError(f"{what} failed: {said}", node=self.label)
        return result.stdout

    def marked(self, script: str) -> str:
        """A script whose programs :meth:`end_leftovers` finds."""
        return f"export {_MARK}={self.token}; {script}"

    async def open(self, script: str) -> Process:
        """Start a marked script as root and leave its streams to the caller.

        Raises:
            ShellError: it cannot be started.
        """
        return await self.shell.open_process(self.shell.elevated(self.marked(script)))

    async def follow(self, script: str, line: Callable[[str], None], *, given: bytes | None = None) -> int:
        """Run a marked script that may take hours, each line it says told; its exit status.

        Raises:
            ShellError: the connection broke.
        """
        process = await self.open(script)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(give(process, given))
                tasks.create_task(lines_of(process.stdout, line))
                tasks.create_task(lines_of(process.stderr, line))
            await process.wait_closed()
        except BaseExceptionGroup as group:
            raise broken(self.label, group.exceptions[0]) from None
        finally:
            process.close()
        if process.exit_status is None:
            raise ShellError("the connection broke before the command ended", node=self.label, code="lost")
        return process.exit_status

    async def end_leftovers(self) -> None:
        """End every program of this clone that still runs there.

        Raises:
            ShellError: the host cannot be asked, or one does not end.
        """
        mark = shlex.quote(f"{_MARK}={self.token}")
        await self.run(_LEFT.format(mark=mark), "ending the clone's programs", timeout=QUICK)


def unnamed(*, owner_of: str | None = None) -> str:
    """Shell text that puts stdin into a file without a name, to be read at ``/dev/fd/3``.

    No password is in a command line, and no file is left, however the command ends.

    Args:
        owner_of: The file gets the owner of this path, for a server that gives up being root.
    """
    own = f'chown --reference={shlex.quote(owner_of)} "$f"; ' if owner_of else ""
    return _UNNAMED.format(own=own)


def host_of(operation: ClusterOperation, label: str, token: str) -> Host:
    """The host of a node.

    Raises:
        OperationError: SSH is not configured for it.
    """
    shell = operation.context.shells(label)
    if shell is None or not operation.context.node(label).ssh.enabled:
        raise OperationError("a clone needs SSH to its host", node=label, hint="see ssh in the config")
    return Host(shell, token)


async def give(process: Process, given: bytes | None) -> None:
    """Write a command's input and end it; a command that does not read it is not an error here."""
    with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
        if given is not None:
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.write_eof()


async def lines_of(stream: asyncssh.SSHReader[bytes], line: Callable[[str], None]) -> None:
    """Tell each line of a stream, cleaned; one without an end is cut."""
    rest = b""
    while part := await stream.read(65536):
        *whole, rest = (rest + part).replace(b"\r", b"\n").split(b"\n")
        for one in whole:
            if one.strip():
                line(clean(one.decode("utf-8", "replace")))
        rest = rest[-65536:]
    if rest.strip():
        line(clean(rest.decode("utf-8", "replace")))


def broken(label: str, error: BaseException) -> BaseException:
    """What a broken connection is called; anything else stays what it is."""
    if isinstance(error, asyncssh.Error | OSError) and not isinstance(error, PfmsError):
        return ShellError(f"the connection broke: {clean(error)}", node=label, code="lost")
    return error


def client_check(user: str, password: str, host: str, port: int) -> tuple[str, bytes]:
    """Script and input that log in to a server with the client of the host it runs on.

    It ends with 127 where there is no client.
    """
    words = f"--defaults-file={tools.CREDENTIALS} --protocol=tcp --connect-timeout=5"
    script = (
        f"{unnamed()}c=$(command -v mariadb || command -v mysql) || exit 127; "
        f"exec $c {words} --host={shlex.quote(host)} --port={port:d} -e 'SHOW GRANTS' -N"
    )
    return script, tools.credentials(user, password, include=None)

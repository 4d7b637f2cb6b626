"""Pandora's service command: ``<pandora_service_cmd> restart-server <new db host>``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.masking import mask

_MOST_OUTPUT = 16_384
"""Bytes of output that are kept, from its end: the reason of a failure stands there."""


class CommandError(PfmsError):
    """A local command could not be run, failed, or did not end in time."""

    code = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a local command ended."""

    exit_status: int
    output: str
    """stdout and stderr as they came, the last 16 kB, secrets masked."""


def restart_argv(service_cmd: str, host: str) -> tuple[str, ...]:
    """The arguments of the restart.

    Raises:
        CommandError: the configured command cannot be split into words.
    """
    return (*split_command(service_cmd), "restart-server", host)


def split_command(command: str) -> tuple[str, ...]:
    """A configured command as arguments, by shell quoting rules but without a shell.

    Raises:
        CommandError: unbalanced quotes, or nothing in it.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise CommandError(f"the command {mask(command)!r} cannot be split: {error}") from error
    if not words:
        raise CommandError("the configured command is empty")
    return words


async def run_command(
    argv: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
) -> CommandResult:
    """Run a local command, in a process group of its own, and wait for its end.

    The output goes to an unnamed file, not a pipe: a daemon that the command leaves running would keep a
    pipe open for ever. At the deadline the whole group is killed.

    Raises:
        CommandError: it cannot be started, or did not end within ``timeout`` seconds.
    """
    shown = mask(shlex.join(argv))
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise CommandError(f"{shown} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(timeout):
                status = await process.wait()
        except TimeoutError:
            _kill_group(process.pid)
            await process.wait()
            said = _end_of(output).strip()[-400:]
            raise CommandError(
                f"{shown} did not end within {timeout:g} s and was killed" + (f": {said}" if said else "")
            ) from None
        except asyncio.CancelledError:
            _kill_group(process.pid)
            await process.wait()
            raise
        return CommandResult(exit_status=status, output=_end_of(output))


async def restart_pandora(service_cmd: str, host: str, *, timeout: float) -> CommandResult:
    """Let Pandora's servers use ``host`` from now on.

    Raises:
        CommandError: it cannot be run, does not end in time, or ends with an error.
    """
    argv = restart_argv(service_cmd, host)
    result = await run_command(argv, timeout=timeout)
    if result.exit_status != 0:
        said = result.output.strip()[-400:]
        raise CommandError(
            f"{mask(shlex.join(argv))} ended with {result.exit_status}" + (f": {said}" if said else "")
        )
    return result


def _end_of(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _MOST_OUTPUT))
    return mask(output.read(_MOST_OUTPUT).decode("utf-8", "replace"))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

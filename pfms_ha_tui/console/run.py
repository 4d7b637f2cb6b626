"""Running the console in this terminal, from the checks before it to the words after it."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

from pfms_ha_tui.config import ConsoleAccess
from pfms_ha_tui.console.terminal import (
    DEMO,
    Leaving,
    driver_class,
    few_colours,
    only_ascii,
    refuse_without_terminal,
)
from pfms_ha_tui.errors import PfmsError
from pfms_ha_tui.masking import mask


def run_console(
    access: ConsoleAccess,
    *,
    read_only: bool = False,
    spawn: bool = True,
    started_worker: bool = False,
    config: Path | None = None,
) -> int:
    """Show the console until it is left; the exit code.

    Args:
        access: the worker's socket, the theme and the keys.
        read_only: offer nothing that changes anything.
        spawn: start a detached worker if none is running.
        started_worker: whether the caller has started the worker for this console.
        config: the settings that were named, for what a person is told to type.

    Raises:
        PfmsError: there is no usable terminal, or the console failed (the details are in a file then).
    """
    refuse_without_terminal(os.environ)
    from pfms_ha_tui.console.app import HUNG_UP, Console

    source = access.source

    async def start() -> None:
        from pfms_ha_tui.worker.spawn import spawn_worker

        if source is not None:
            await spawn_worker(source)

    app = Console(
        access.socket,
        access.console,
        read_only=read_only,
        ascii_only=only_ascii(os.environ, sys.__stderr__.encoding if sys.__stderr__ else None),
        few_colours=few_colours(os.environ),
        start=start if spawn and source is not None else None,
        started_worker=started_worker,
        config=config,
        demo=bool(os.environ.get(DEMO)),
    )

    def leave(code: int) -> None:
        loop = app._loop
        if loop is not None:
            loop.call_soon_threadsafe(lambda: app.exit(code, return_code=code))

    with Leaving(leave) as leaving:
        app.driver_class = driver_class(lambda: leaving.now(HUNG_UP))
        result = app.run()
    if app.crash is not None:
        raise PfmsError(
            f"the console failed: {type(app.crash).__name__}: {mask(str(app.crash))}",
            hint=f"details in {_write_crash(app.crash, access.socket.parent)}; the worker is not affected",
            code="console",
        )
    if app.parting_words and sys.__stdout__ is not None:
        sys.__stdout__.write(f"pfms-ha-tui: {app.parting_words}\n")
    return result if result is not None else app.return_code or 0


def _write_crash(error: BaseException, state_dir: Path) -> str:
    """Keep the traceback for whoever mends the program; where it was written."""
    text = mask("".join(traceback.format_exception(error)))
    for directory in (state_dir, Path(tempfile.gettempdir())):
        try:
            descriptor, name = tempfile.mkstemp(prefix="console-crash-", suffix=".txt", dir=directory)
        except OSError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return name
    return "no file could be written"

"""Start a worker that outlives whoever started it.

The console starts ``python -m pfms_ha_tui.worker``, which leaves the session, forks, and waits: the
child becomes the worker, the parent ends with status 0 as soon as the socket answers, or with an
error and what the child said. So the console learns at once what became of it, and the worker belongs
to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from pfms_ha_tui.errors import WorkerError

START_TIMEOUT = 20.0
ALREADY_RUNNING = 3
"""The starter's exit status when another worker holds the state directory."""
_TAIL = 2000


async def spawn_worker(config: Path, *, timeout: float = START_TIMEOUT) -> None:
    """Start a detached worker with the settings in ``config``; its socket answers when this returns.

    Raises:
        WorkerError: with the last lines of what it said; ``code`` ``running`` when another worker holds
            the state directory.
    """
    with tempfile.TemporaryFile() as said:
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pfms_ha_tui.worker", "--config", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout):
                status = await starter.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                starter.kill()
            await starter.wait()
            status = None
        said.seek(0)
        text = said.read().decode("utf-8", "replace").strip()[-_TAIL:]
    if status == 0:
        return
    if status is None:
        raise WorkerError(
            f"the worker did not come up within {timeout:g} s" + (f": {text}" if text else ""),
            hint="its log says more",
            code="start",
        )
    reason = text.removeprefix("pfms-ha-tui worker: ") or f"it ended with status {status}"
    code = "running" if status == ALREADY_RUNNING else "start"
    raise WorkerError(f"the worker could not be started: {reason}", code=code)

"""The site's own resync script (``ha_resync``), called as Pandora calls it, and judged by what it leaves."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.masking import mask
from pfms_ha_tui.operations.clone.base import BEGAN, PLAN, CloneOperation, CloneStep
from pfms_ha_tui.operations.clone.preflight import Preflight
from pfms_ha_tui.operations.clone.swapping import answering
from pfms_ha_tui.operations.following import replicates
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.pandora.events import Criticity

_LOOK_EVERY = 0.5
_USUAL_CONF = Path("/etc/pandora/pandora_server.conf")


class ScriptCheck(CloneStep):
    """The same proofs as for every clone, and that there is a script."""

    name = "check"
    title = "check everything that could go wrong"

    async def rehearse(self, run: StepRun) -> str | None:
        """The same checks: they change nothing."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Look at all nodes and hosts, and at the script."""
        plan = await Preflight(self.operation, self.operation.asked).plan()
        await run.note(**{PLAN: plan})
        self.operation.plan = plan
        script = self.operation.context.cluster.pandora.resync_script
        return f"{script} can be run for {self.target}"


class RunScript(CloneStep):
    """Run it on this host; its output goes to the resync log."""

    name = "script"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = "run the site's resync script"

    def preview(self) -> Sequence[str]:
        """The command."""
        return (shlex.join(self._words()),)

    async def run(self, run: StepRun) -> str | None:
        """Run it to its end."""
        await run.note(**{BEGAN: True})
        await self.operation.mark(run, self.target, MarkKind.NEEDS_RESYNC, "its resync has not finished")
        await self.operation.tell(f"{self.operation.title} begins", Criticity.INFORMATIONAL, run)
        words = self._words()
        log = self.operation.context.cluster.pandora.resync_log
        last: deque[str] = deque(maxlen=5)
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        reading = asyncio.create_task(self._read(process, last, run))
        try:
            while not reading.done():
                run.checkpoint()
                await asyncio.wait((reading,), timeout=_LOOK_EVERY)
            status = await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if status != 0:
            where = f", see {log}" if log else ""
            raise OperationError(
                f"the script ended with {status}: {' / '.join(last)}{where}", node=self.target
            )
        return "it ended with 0"

    async def verify(self, run: StepRun) -> None:
        """It left a slave that follows the master, read-only."""
        await answering(self.operation, self.target, run)
        link = await self.operation.link(self.target)
        await link.execute_all(link.dialect.set_read_only(True))
        await replicates(self.operation, self.target, run)
        state = await link.replication()
        master = self.operation.context.node(self.master)
        if state is None or (state.source_host, state.source_port) != (master.host, master.port):
            raise OperationError(
                f"the script let it follow another node than {self.master}", node=self.target
            )

    async def undo(self, run: StepRun) -> str | None:
        """What a script did, only a script can undo: the node stays marked."""
        return None if run.fact(BEGAN, bool) is None else "the script's work cannot be taken back"

    async def _read(self, process: asyncio.subprocess.Process, last: deque[str], run: StepRun) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        while line := await process.stdout.readline():
            said = mask(line.decode("utf-8", "replace").rstrip())
            if said:
                last.append(said)
                run.say(said)
                await self.operation.write_log(said, run)

    def _words(self) -> list[str]:
        """As the manual calls it: the server's configuration, the MASTER, the SLAVE."""
        pandora = self.operation.context.cluster.pandora
        node = self.operation.context.node
        conf = pandora.conf or _USUAL_CONF
        return [str(pandora.resync_script or "…"), str(conf), node(self.master).host, node(self.target).host]

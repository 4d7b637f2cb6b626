"""Steps that tell the others who is MASTER now: the hosts file, Pandora, its events, the site's hooks.

None of them can take the promotion back, so each is reported when it fails, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence

from pfms_ha_tui.config.settings import HookEvent
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.step import OnFailure, Skip, Step, StepRun
from pfms_ha_tui.pandora import hosts_file
from pfms_ha_tui.pandora.events import Criticity, insert_event
from pfms_ha_tui.pandora.service import CommandResult, restart_argv, restart_pandora, split_command


class PandoraRestart:
    """One call of Pandora's service command, begun as early as possible and waited for later."""

    def __init__(self, operation: ClusterOperation) -> None:
        self._operation = operation
        self._task: asyncio.Task[CommandResult] | None = None

    def begin(self, host: str) -> None:
        """Start it, once."""
        command = self._operation.context.cluster.pandora.service_cmd
        if command is not None and self._task is None:
            timeout = self._operation.context.limits.service
            self._task = asyncio.create_task(restart_pandora(command, host, timeout=timeout))

    async def result(self, host: str) -> CommandResult | None:
        """How it ended; ``None`` when none is configured.

        Raises:
            CommandError: it failed or did not end in time.
        """
        self.begin(host)
        if self._task is None:
            return None
        return await asyncio.shield(self._task)

    async def abandon(self) -> None:
        """Do not leave it unwatched when the operation ends early; it is never broken off half-way."""
        if self._task is not None:
            with contextlib.suppress(PfmsError):
                await asyncio.shield(self._task)


def new_master(operation: ClusterOperation, label: str | None, run: StepRun) -> str:
    """The host of the promoted node."""
    return operation.context.node(label or run.need("candidate", str)).host


class HostsFileStep(Step):
    """Name the new MASTER in ``pandora_ha_hosts.conf``."""

    name = "hosts_file"
    title = "name the MASTER in Pandora's hosts file"
    on_failure = OnFailure.GO_ON

    def __init__(self, operation: ClusterOperation, label: str | None, restart: PandoraRestart) -> None:
        self.operation = operation
        self.master = label
        self.restart = restart

    def preview(self) -> Sequence[str]:
        """What the file will hold."""
        path = self.operation.context.cluster.pandora.hosts_file
        if path is None:
            return ()
        host = self.operation.context.node(self.master).host if self.master else "…"
        return (f"write {host} to {path} (atomically)",)

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Whether it could be written."""
        path = self.operation.context.cluster.pandora.hosts_file
        if path is None:
            raise Skip("no hosts file is configured")
        why_not = await asyncio.to_thread(hosts_file.why_not_writable, path)
        if why_not is not None:
            raise OperationError(f"the hosts file could not be written: {why_not}")
        return f"{path} would be replaced"

    async def run(self, run: StepRun) -> str | None:
        """Write it."""
        path = self.operation.context.cluster.pandora.hosts_file
        host = new_master(self.operation, self.master, run)
        if path is None:
            self.restart.begin(host)
            raise Skip("no hosts file is configured")
        try:
            await asyncio.to_thread(hosts_file.replace, path, host)
        finally:
            # Pandora restarts while the slaves are being repointed
            self.restart.begin(host)
        return f"{path} names {host}"

    async def verify(self, run: StepRun) -> None:
        """Both of Pandora's readers understand it."""
        path = self.operation.context.cluster.pandora.hosts_file
        host = new_master(self.operation, self.master, run)
        seen = await asyncio.to_thread(hosts_file.read, path) if path is not None else None
        if seen is None or seen.agreed != host:
            raise OperationError(f"{path} does not name {host}")


class PandoraStep(Step):
    """Let Pandora's servers use the new MASTER."""

    name = "pandora"
    title = "restart Pandora's servers on the new MASTER"
    on_failure = OnFailure.GO_ON

    def __init__(self, operation: ClusterOperation, label: str | None, restart: PandoraRestart) -> None:
        self.operation = operation
        self.master = label
        self.restart = restart

    def preview(self) -> Sequence[str]:
        """The command."""
        command = self.operation.context.cluster.pandora.service_cmd
        if command is None:
            return ()
        host = self.operation.context.node(self.master).host if self.master else "…"
        return (shlex.join(restart_argv(command, host)),)

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Whether the command exists."""
        command = self.operation.context.cluster.pandora.service_cmd
        if command is None:
            raise Skip("no service command is configured")
        return await asyncio.to_thread(_program_of, command)

    async def run(self, run: StepRun) -> str | None:
        """Wait for it."""
        result = await self.restart.result(new_master(self.operation, self.master, run))
        if result is None:
            raise Skip("no service command is configured")
        return "Pandora's servers were restarted"


class EventStep(Step):
    """An event in Pandora's own list, on the new MASTER."""

    name = "event"
    title = "add an event to Pandora's list"
    on_failure = OnFailure.GO_ON

    def __init__(
        self,
        operation: ClusterOperation,
        label: str | None,
        text: Callable[[StepRun], str],
        criticity: Criticity,
    ) -> None:
        self.operation = operation
        self.node = label
        self.text = text
        self.criticity = criticity

    async def run(self, run: StepRun) -> str | None:
        """Insert it."""
        label = self.node or run.need("candidate", str)
        text = self.text(run)
        await add_event(self.operation, label, text, self.criticity, run)
        return text


async def add_event(
    operation: ClusterOperation, label: str, text: str, criticity: Criticity, run: StepRun
) -> None:
    """Insert an event through a writable node.

    Raises:
        SqlError: it was refused.
    """
    link = await operation.link(label)
    at, key = run.clock.wall(), f"pfms-ha-{run.number}"
    await link.call(lambda session: insert_event(session, text, at=at, criticity=criticity, key=key))


async def add_event_somewhere(
    operation: ClusterOperation, labels: Sequence[str], text: str, criticity: Criticity, run: StepRun
) -> None:
    """Insert an event through the first of these nodes that is writable; none of them is no error.

    Our own account may write on a read-only MariaDB: an event there would be a transaction of its own.
    """
    for label in labels:
        try:
            link = await operation.link(label)
            if await link.is_read_only():
                continue
            await add_event(operation, label, text, criticity, run)
        except PfmsError as error:
            run.say(f"no event was added to {label}: {error.reason}")
        else:
            return


class HookStep(Step):
    """The site's own commands for the end of the operation."""

    name = "hooks"
    title = "run the site's hooks"
    on_failure = OnFailure.GO_ON

    def __init__(
        self,
        operation: ClusterOperation,
        event: HookEvent,
        facts: Callable[[StepRun], Mapping[str, object]],
    ) -> None:
        self.operation = operation
        self.event = event
        self.facts = facts

    def preview(self) -> Sequence[str]:
        """The commands."""
        return tuple(self.operation.hooks.commands(self.event))

    async def rehearse(self, run: StepRun) -> str | None:  # noqa: ARG002
        """Whether the commands exist."""
        commands = self.operation.hooks.commands(self.event)
        if not commands:
            raise Skip("no hook is configured")
        return "; ".join([await asyncio.to_thread(_program_of, command) for command in commands])

    async def run(self, run: StepRun) -> str | None:
        """Run them."""
        if not self.operation.hooks.commands(self.event):
            raise Skip("no hook is configured")
        complaints = await self.operation.hooks.run(self.event, self.facts(run))
        if complaints:
            raise OperationError("; ".join(complaints))
        return f"{self.event.value} told"


def _program_of(command: str) -> str:
    """A sentence about the program of a configured command."""
    program = split_command(command)[0]
    found = shutil.which(program)
    if found is None:
        raise OperationError(f"{program} is not a program that can be run")
    return f"{found} would be run"

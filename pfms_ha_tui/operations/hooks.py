"""The site's own commands, run when something happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from pfms_ha_tui.config.settings import ClusterSettings, HookEvent
from pfms_ha_tui.pandora.service import CommandError, run_command, split_command

log = logging.getLogger(__name__)


class Hooks:
    """The hooks of one cluster.

    A command is split like a shell does but run without one. Its environment has ``PFMS_EVENT``,
    ``PFMS_CLUSTER`` and what the caller adds (``old_master`` becomes ``PFMS_OLD_MASTER``); values are plain
    text, not quoted for a shell. One that fails or does not end in time changes nothing about the operation.
    """

    def __init__(self, cluster: ClusterSettings, *, timeout: float) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._background: set[asyncio.Task[list[str]]] = set()

    def commands(self, event: HookEvent) -> list[str]:
        """What is configured for an event."""
        hooks = self._cluster.hooks
        return [hooks[name] for name in (event.value, HookEvent.ANY.value) if name in hooks]

    async def run(self, event: HookEvent, facts: Mapping[str, object]) -> list[str]:
        """Run the commands of an event, at the same time; one sentence for each that did not end well."""
        environment = {
            "PFMS_EVENT": event.value,
            "PFMS_CLUSTER": self._cluster.name,
            **{
                f"PFMS_{name.upper()}": str(value).replace("\0", "")
                for name, value in facts.items()
                if value is not None
            },
        }
        results = await asyncio.gather(*(self._one(command, environment) for command in self.commands(event)))
        return [complaint for complaint in results if complaint is not None]

    def start(self, event: HookEvent, facts: Mapping[str, object]) -> None:
        """As :meth:`run`, without waiting for it."""
        if self.commands(event):
            task = asyncio.create_task(self.run(event, facts))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def settle(self, timeout: float) -> None:
        """Wait for what :meth:`start` began, but not for longer than ``timeout`` seconds."""
        if self._background:
            await asyncio.wait(set(self._background), timeout=timeout)

    async def _one(self, command: str, environment: Mapping[str, str]) -> str | None:
        try:
            result = await run_command(split_command(command), timeout=self._timeout, environment=environment)
        except CommandError as error:
            log.warning("hook: %s", error)
            return error.reason
        if result.exit_status == 0:
            return None
        said = result.output.strip()[-200:]
        complaint = f"the hook {command!r} ended with {result.exit_status}" + (f": {said}" if said else "")
        log.warning("%s", complaint)
        return complaint

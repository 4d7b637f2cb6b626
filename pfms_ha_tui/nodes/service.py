"""Service control of a node's server through SSH: find, ask, start, stop, and kill for fencing.

``systemctl`` first, ``service`` where there is none. Nothing is killed that was not proved to be this node's
server process (:mod:`pfms_ha_tui.nodes.processes`), and "stopped" means that no such process is left.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass

from pfms_ha_tui.cluster.observation import ProcessState
from pfms_ha_tui.errors import ShellError
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.nodes.processes import FoundProcess
from pfms_ha_tui.nodes.shell import SERVICE_NAMES, NodeShell, ShellResult

_NAME = re.compile(r"[A-Za-z0-9@._:-]+")
_QUICK = 10.0
_GONE_POLL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """A service as systemd sees it."""

    name: str
    active: str
    """``active`` ``inactive`` ``failed`` ``activating`` ``deactivating`` …"""
    main_pid: int | None = None

    @property
    def running(self) -> bool:
        """Whether it runs or is about to."""
        return self.active in ("active", "activating", "reloading", "deactivating")


class NodeService:
    """The service of one node's server."""

    def __init__(self, shell: NodeShell):
        self._shell = shell
        self._name = shell.node.service
        self._systemd: bool | None = None

    async def name(self) -> str:
        """The service's name: as configured, else the first one the host knows.

        Raises:
            ShellError: the host knows none of them, or cannot be asked.
        """
        if self._name is not None:
            if not _NAME.fullmatch(self._name):
                raise self._error(f"{clean(self._name)!r} is no name of a service", "service")
            return self._name
        if not await self._has_systemd():
            scripts = " ".join(f"/etc/init.d/{name}" for name in SERVICE_NAMES)
            result = await self._shell.run(f"ls -d {scripts} 2>/dev/null", timeout=_QUICK)
            found = next((line.rsplit("/", 1)[-1] for line in result.stdout.splitlines()), "")
        else:
            found = await self._known_unit()
        if not found:
            raise self._error(
                f"the host knows no service named {', '.join(SERVICE_NAMES)}",
                "service",
                hint="name the node's service in the config",
            )
        self._name = found
        return found

    async def status(self) -> ServiceStatus:
        """How the service stands.

        Raises:
            ShellError: the host cannot be asked, or knows no such service.
        """
        name = await self.name()
        if await self._has_systemd():
            shown = await self._show(name)
            if shown.get("LoadState") != "loaded":
                raise self._error(f"the host knows no service {name}", "service")
            pid = shown.get("MainPID", "")
            return ServiceStatus(
                name=name,
                active=clean(shown.get("ActiveState", "unknown")),
                main_pid=int(pid) if pid.isdigit() and int(pid) > 0 else None,
            )
        result = await self._shell.run(f"service {name} status", timeout=_QUICK)
        return ServiceStatus(name=name, active="active" if result.ok else "inactive")

    async def start(self, *, timeout: float = 120.0) -> None:
        """Start it; returns when the service manager says it is up.

        Raises:
            ShellError: it did not start; the text is the service manager's own.
        """
        await self._control("start", timeout)

    async def stop(self, pid_file: str | None, datadir: str | None, *, timeout: float = 120.0) -> None:
        """Stop it in the clean way and see that no server process is left.

        Raises:
            ShellError: it did not stop, or a server process is still there.
        """
        await self._control("stop", timeout)
        await self.wait_gone(pid_file, datadir, timeout=_QUICK)

    async def kill(self, pid_file: str | None, datadir: str | None, *, timeout: float = 10.0) -> FoundProcess:
        """End the proved server process at once, frozen or not; the fence of a failover.

        The service manager is told to leave it stopped (best effort: a host whose service manager hangs
        is fenced all the same); then the process is killed and seen to be gone.

        Returns:
            The process that was killed, or that there was none.

        Raises:
            ShellError: no process is proved to be this node's, it may not be killed, or it is still there.
        """
        found = await self._shell.find_process(pid_file, datadir)
        if found.state is ProcessState.NONE:
            return found
        if found.pid is None or not found.proved:
            raise self._error(f"not killed: {found.text}", "not_proved")
        # Signal 9 goes first: it is what ends the writes. The stop keeps systemd from starting it again.
        kill = self._shell.as_root("kill", "-9", str(found.pid))
        # It may have ended by itself meanwhile.
        result = await self._shell.run(f"{kill} || [ ! -e /proc/{found.pid:d} ]", timeout=timeout)
        if not result.ok:
            raise self._error(
                f"server process {found.pid} could not be killed: {result.said}",
                "fence",
                hint="the account needs the right to kill it (sudo = true, or the server's own account)",
            )
        await asyncio.gather(self._keep_stopped(timeout), self.wait_gone(pid_file, datadir, timeout=timeout))
        return found

    async def wait_gone(
        self,
        pid_file: str | None,
        datadir: str | None,
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return once the host has no server process of this node.

        Raises:
            ShellError: it is still there after ``timeout`` seconds, or nobody can tell.
        """
        deadline = clock() + timeout
        while True:
            found = await self._shell.find_process(pid_file, datadir)
            if found.state is ProcessState.NONE:
                return
            if clock() >= deadline:
                raise self._error(f"the server is not gone: {found.text}", "still_running")
            await asyncio.sleep(_GONE_POLL)

    async def _keep_stopped(self, timeout: float) -> None:
        try:
            name = await self.name()
            if await self._has_systemd():
                stop = self._shell.as_root("systemctl", "--no-block", "stop", name)
                await self._shell.run(stop, timeout=timeout)
        except ShellError:
            # The process is dead; the caller's check that it stays so decides.
            return

    async def _control(self, verb: str, timeout: float) -> None:
        name = await self.name()
        command = ("systemctl", verb, name) if await self._has_systemd() else ("service", name, verb)
        result = await self._shell.run(self._shell.as_root(*command), timeout=timeout)
        if not result.ok:
            raise self._error(f"{' '.join(command)} failed: {_why(result)}", "service")

    async def _known_unit(self) -> str:
        known: dict[str, dict[str, str]] = {}
        for name in SERVICE_NAMES:
            shown = await self._show(name)
            if shown.get("LoadState") == "loaded":
                known[name] = shown
        running = [name for name, shown in known.items() if shown.get("ActiveState") == "active"]
        return next(iter(running or known), "")

    async def _show(self, name: str) -> dict[str, str]:
        result = await self._shell.run(
            f"systemctl show -p LoadState -p ActiveState -p MainPID {shlex.quote(name)}", timeout=_QUICK
        )
        if not result.ok:
            raise self._error(f"systemctl show {name} failed: {_why(result)}", "service")
        pairs = (line.partition("=") for line in result.stdout.splitlines())
        return {key: value.strip() for key, found, value in pairs if found}

    async def _has_systemd(self) -> bool:
        if self._systemd is None:
            result = await self._shell.run("command -v systemctl", timeout=_QUICK)
            self._systemd = result.ok
        return self._systemd

    def _error(self, reason: str, code: str, *, hint: str | None = None) -> ShellError:
        return ShellError(reason, node=self._shell.node.label, code=code, hint=hint)


def _why(result: ShellResult) -> str:
    return result.said or f"exit status {result.exit_status}"

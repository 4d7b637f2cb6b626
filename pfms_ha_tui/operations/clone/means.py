"""By what means a clone can be made: the method, the tool, the path of the bytes, by what both hosts have."""

from __future__ import annotations

import asyncio
import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

import humanize

from pfms_ha_tui.config.settings import (
    LEAST_BANDWIDTH,
    MOST_THREADS,
    CloneMethod,
    CloneSettings,
    Compression,
    Transfer,
)
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.failures import clean
from pfms_ha_tui.operations.clone import peer, plugin, tools
from pfms_ha_tui.operations.clone.host import Host, host_of
from pfms_ha_tui.operations.clone.plan import CloneParams
from pfms_ha_tui.operations.clone.proof import Place, Proved
from pfms_ha_tui.operations.clone.room import room_for
from pfms_ha_tui.operations.clone.tools import Tool
from pfms_ha_tui.operations.context import ClusterOperation


@dataclass(slots=True)
class Findings:
    """What the checks found out, filled by those that run at the same time."""

    complaints: list[str] = field(default_factory=list)
    """Whatever the method."""
    of_copies: list[str] = field(default_factory=list)
    """Only where this program makes the copy: what the site's own script does is its own business."""
    warnings: list[str] = field(default_factory=list)
    source: Proved | None = None
    target: Place | None = None
    target_proved: Proved | None = None
    replicating: bool = False
    gtid: bool = False
    source_gtid: bool = False
    """The source is a slave that follows by GTID."""
    tls: bool = False
    cramped: str | None = None
    """There is room only without the old data: how much is missing, in one sentence."""
    programs: dict[str, dict[str, str]] = field(default_factory=dict)
    """label → program → what it says of its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the bytes travel."""

    zstd: bool
    ciphers: str = ""
    """For ssh from node to node; empty leaves it to the hosts."""
    rate: int | None = None
    """Bytes per second from node to node, if measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One method, by the means that these two hosts have."""

    method: CloneMethod
    tool: Tool | None
    direct: bool
    """The bytes can go from node to node."""
    bandwidth: int | None
    threads: int
    complaints: tuple[str, ...]
    """What speaks against it, be it that something demanded cannot be had; empty = it can be gone."""


def why_not_run(program: str) -> str | None:
    """Why a program on this host cannot be run, as one clause. Blocking."""
    path = Path(program)
    if not path.exists():
        return f"{program} is not there"
    if not path.is_file():
        return f"{program} is no file"
    if not os.access(program, os.X_OK):
        return f"{program} is not a program that can be run: make it executable"
    return None


class Means:
    """Judges and chooses, once everything was looked at: the only judge of what a method needs."""

    def __init__(self, operation: ClusterOperation, params: CloneParams, found: Findings, token: str) -> None:
        self._operation = operation
        self._params = params
        self._found = found
        self._token = token
        self._hardware_aes = False
        self._complaints: list[str] = []
        """Of the method that is judged."""

    @property
    def _settings(self) -> CloneSettings:
        return self._operation.context.cluster.clone

    def _host(self, label: str) -> Host:
        return host_of(self._operation, label, self._token)

    def _complain(self, *complaints: str) -> None:
        self._complaints += complaints

    async def choose(self, dialect: Dialect) -> Judged:
        """The method that was asked for or configured.

        Where that is left open, the plugin if nothing speaks against it: it is the fastest, and needs no
        tool; else a stream.
        """
        wanted = self._params.method or self._settings.method
        if wanted is not CloneMethod.AUTO:
            return await self.judge(wanted, dialect)
        by_plugin = await self.judge(CloneMethod.PLUGIN, dialect)
        if not by_plugin.complaints:
            return by_plugin
        stream = await self.judge(CloneMethod.STREAM, dialect)
        if not stream.complaints or not dialect.can_clone:
            return stream
        other = [why for why in by_plugin.complaints if why not in stream.complaints]
        return replace(
            stream, complaints=(*stream.complaints, *(f"or, by the CLONE plugin: {why}" for why in other))
        )

    async def judge(self, method: CloneMethod, dialect: Dialect) -> Judged:
        """One method by itself, whatever else speaks against the clone.

        Raises:
            PfmsError: a server or host did not tell what has to be known.
        """
        params, settings = self._params, self._settings
        self._complaints = []
        bandwidth = params.bandwidth if params.bandwidth is not None else settings.bandwidth
        threads = params.threads if params.threads is not None else settings.threads
        tool, direct = None, False
        if method is CloneMethod.SCRIPT:
            await self._script_fits()
        else:
            self._limits_fit(method, bandwidth or None, threads)
            self._path_fits(method)
        if method is CloneMethod.PLUGIN:
            self._complain(*await self._plugin_complaints(dialect))
        elif method is not CloneMethod.SCRIPT:
            tool = self.tool(dialect)
            direct = await self._direct(method, bandwidth or None)
            self._zstd_fits()
            if method is CloneMethod.STAGED and self._found.source is not None:
                await self._staging_room(room_for(self._found.source.place))
        return Judged(
            method=method,
            tool=tool,
            direct=direct,
            bandwidth=bandwidth or None,
            threads=threads,
            complaints=tuple(dict.fromkeys(self._complaints)),
        )

    def _limits_fit(self, method: CloneMethod, bandwidth: int | None, threads: int) -> None:
        least = plugin.LEAST_BANDWIDTH if method is CloneMethod.PLUGIN else LEAST_BANDWIDTH
        if bandwidth is not None and bandwidth < least:
            self._complain(
                f"at {humanize.naturalsize(bandwidth)} per second it would never end:"
                f" {humanize.naturalsize(least, binary=True)} is the least"
            )
        if not 1 <= threads <= MOST_THREADS:
            self._complain(f"{threads} threads are asked for: 1 to {MOST_THREADS} are possible")

    def _zstd_fits(self) -> None:
        wanted = self._params.compression or self._settings.compression
        if wanted is Compression.ZSTD:
            self._complain(*(f"{label} has no zstd: install it" for label in self._without_zstd))

    @property
    def _without_zstd(self) -> list[str]:
        return [label for label in (self._params.source, self._params.target) if not self._has(label, "zstd")]

    async def _script_fits(self) -> None:
        """Whether there is a script that can be run."""
        script = self._operation.context.cluster.pandora.resync_script
        if script is None:
            self._complain("no resync script is configured: set ha_resync")
            return
        why = await asyncio.to_thread(why_not_run, script)
        if why is not None:
            self._complain(why)

    async def _staging_room(self, needed: int) -> None:
        """Whether the backup has room on the source's host before it is sent."""
        source, wanted = self._params.source, self._settings.staging_dir
        free = self._found.source.place.free if self._found.source else None
        if wanted is not None:
            said = await self._host(source).ask(
                f"df -PB1 {shlex.quote(str(wanted))} | awk 'NR > 1 {{ print $(NF-2) }}'"
            )
            free = int(said.stdout) if said.stdout.strip().isdigit() else None
            if free is None:
                self._complain(
                    f"{source}: how much room {wanted} has cannot be told: {said.said or 'is it there?'}"
                )
                return
        if free is not None and free < needed:
            self._complain(
                f"{source} has {humanize.naturalsize(free)} free for the backup, it needs"
                f" {humanize.naturalsize(needed)}: set clone.staging_dir, or choose stream"
            )

    async def _plugin_complaints(self, dialect: Dialect) -> list[str]:
        params = self._params
        if not dialect.can_clone:
            return [f"{dialect.text} has no CLONE plugin: it came with MySQL 8.0.17"]
        target = await self._operation.try_link(params.target)
        if target is None:
            return [f"the CLONE plugin needs {params.target}'s server to say its version: start it"]
        complaints = []
        if target.dialect.version != dialect.version and (
            target.dialect.version[:2] != dialect.version[:2] or dialect.version < (8, 0, 37)
        ):
            complaints.append(
                f"the CLONE plugin needs the same version: {dialect.text} and {target.dialect.text}"
            )
        if self._found.target_proved is not None and await self._confined(self._found.target_proved.pid):
            complaints.append(
                f"AppArmor keeps the server of {params.target} within its datadir, so that a second one"
                " beside it cannot be filled: choose another method, or allow the directory in its profile"
            )
        return complaints

    async def _confined(self, pid: int) -> bool:
        said = await self._host(self._params.target).ask(f"cat /proc/{pid:d}/attr/current 2>/dev/null; true")
        return "(enforce)" in said.stdout

    async def way(self, method: CloneMethod, *, direct: bool, bandwidth: int | None) -> Way:
        """How the bytes are encrypted and compressed, for the path that was chosen.

        A link that is faster than the compression is measured, not guessed: compressing there would only
        take the processors from both servers. A bandwidth limit makes it a slow one.
        """
        params = self._params
        wanted = params.compression or self._settings.compression
        if method not in (CloneMethod.STREAM, CloneMethod.STAGED):
            return Way(zstd=False)
        ciphers, fast = "", None
        if direct and bandwidth is None:
            source = self._host(params.source)
            if self._hardware_aes:
                fast = await peer.rate(self._operation, source, params.target, peer.CIPHERS)
                ciphers = peer.CIPHERS if fast is not None else ""
            if fast is None:
                fast = await peer.rate(self._operation, source, params.target, "")
        slow = fast is None or fast < peer.FAST_LINK
        packed = not self._without_zstd and (
            wanted is Compression.ZSTD or (wanted is Compression.AUTO and slow)
        )
        return Way(zstd=packed, ciphers=ciphers, rate=fast)

    @property
    def _path(self) -> Transfer:
        return self._params.transfer or self._settings.transfer

    def _path_fits(self, method: CloneMethod) -> None:
        """Only a stream can go through this host; who asks for that path must not get another."""
        if self._path is not Transfer.RELAY:
            return
        how = {
            CloneMethod.STAGED: "a staged copy goes from node to node, by rsync",
            CloneMethod.PLUGIN: "the CLONE plugin copies from server to server",
        }
        if method in how:
            self._complain(f"{how[method]}, never through this host: choose stream, or another path")

    async def _direct(self, method: CloneMethod, bandwidth: int | None) -> bool:
        """Whether the bytes can go from node to node; why not is a complaint only if that was demanded."""
        params, wanted = self._params, self._path
        staged = method is CloneMethod.STAGED
        if wanted is Transfer.RELAY and not staged:
            return False
        why: str | None = None
        if not self._has(params.source, "ssh"):
            why = f"{params.source} has no ssh client"
        elif bandwidth is not None and not staged and not self._has(params.source, "pv"):
            why = f"limiting the bandwidth from node to node needs pv on {params.source}"
        elif staged and not (self._has(params.source, "rsync") and self._has(params.target, "rsync")):
            why = "rsync must be installed on both hosts"
        else:
            why = await self._login_between()
        if why is not None and (wanted is Transfer.DIRECT or staged):
            self._complain(why)
        return why is None

    async def _login_between(self) -> str | None:
        """Why the source's host cannot log in to the target's; it must be the very host we know."""
        source, target = self._params.source, self._params.target
        login = await peer.log_in(self._operation, self._host(source), target)
        known = self._found.target.boot if self._found.target else ""
        if login.why_not is None and known not in login.boot_id:
            return f"seen from {source}, {self._operation.context.node(target).ssh.host} is another host"
        self._hardware_aes = login.hardware_aes
        return login.why_not

    def tool(self, dialect: Dialect) -> Tool | None:
        """A tool that both hosts have in the same, fitting version."""
        params = self._params
        complaints: list[str] = []
        for tool in tools.tools_for(dialect):
            reasons = []
            for label in (params.source, params.target):
                said = self._found.programs.get(label, {}).get(tool)
                version = tools.tool_version(said) if said is not None else None
                if said is None:
                    reasons.append(f"{label} has no {tool}: install it")
                elif version is None:
                    reasons.append(f"{label}: the version of {tool} cannot be told from {clean(said)!r}")
                elif (why := tools.why_not_version(tool, version, dialect)) is not None:
                    reasons.append(f"{label}: {why}")
            if not self._has(params.target, tool.unpacker):
                reasons.append(f"{params.target} has no {tool.unpacker}, which belongs to {tool}")
            if not reasons:
                return tool
            complaints = complaints or reasons
        self._complain(*complaints)
        return None

    def _has(self, label: str, name: str) -> bool:
        return name in self._found.programs.get(label, {})

"""What speaks against a clone: everything at once, each with its fix, before anything is changed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import humanize

from pfms_ha_tui.cluster.observation import IoState, ProcessState
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.parsing import integer, is_on, text
from pfms_ha_tui.operations.clone.host import Host, client_check, host_of
from pfms_ha_tui.operations.clone.means import Findings, Means
from pfms_ha_tui.operations.clone.plan import CloneParams, ClonePlan
from pfms_ha_tui.operations.clone.proof import Place, insane, look, prove
from pfms_ha_tui.operations.clone.room import lack_of_room
from pfms_ha_tui.operations.clone.servers import (
    applies_in_parallel,
    has_slaves,
    kept_outside,
    why_not_service,
)
from pfms_ha_tui.operations.clone.tools import Tool
from pfms_ha_tui.operations.context import NOWHERE, ClusterOperation

T = TypeVar("T")

_SLOWEST = 10 * 2**20
"""Bytes per second that a clone is at least expected to make, for the question how long logs must be kept."""
_PROGRAMS = (*Tool, "mbstream", "xbstream", "zstd", "rsync", "ssh", "pv")


class Preflight:
    """The checks of one clone. :meth:`plan` runs them."""

    def __init__(self, operation: ClusterOperation, params: CloneParams, token: str | None = None) -> None:
        self._operation = operation
        self._params = params
        self._token = token or secrets.token_hex(6)
        self._found = Findings()

    @property
    def warnings(self) -> list[str]:
        """What is not in the way, but worth a sentence."""
        return self._found.warnings

    async def plan(self) -> ClonePlan:
        """The plan, if nothing speaks against it.

        Raises:
            OperationError: code ``precondition``, with every complaint.
        """
        await self.look()
        plan = await self.settle()
        if plan is None:
            complaints = "; ".join(dict.fromkeys(self._found.complaints))
            raise OperationError(complaints, code="precondition")
        return plan

    async def look(self) -> Findings:
        """Everything that is so whatever the method: what was found, and what speaks against a clone."""
        params, found = self._params, self._found
        labels = (params.target, params.source, params.master)
        for label in labels:
            self._operation.context.node(label)
        if params.target == params.master:
            found.complaints.append(f"{params.target} is the master: a clone would wipe it")
        if params.target == params.source:
            found.complaints.append(f"{params.target} cannot be cloned from itself")
        if found.complaints:
            return found
        await self._gather(self._master, self._source_state, self._source_place, self._target, self._programs)
        await self._gather(self._apart, self._replication_account, self._log_expiry)
        return found

    async def settle(self) -> ClonePlan | None:
        """What the means allow, after :meth:`look`; ``None`` if anything speaks against it."""
        plan = None
        try:
            plan = await self._settle()
        except PfmsError as error:
            self._complain(str(error))
        return None if self._found.complaints else plan

    async def _gather(self, *checks: Callable[[], Awaitable[None]]) -> None:
        """Run checks at the same time; what one raises is a complaint like any other."""
        for result in await asyncio.gather(*(check() for check in checks), return_exceptions=True):
            if isinstance(result, PfmsError):
                self._found.complaints.append(str(result))
            elif isinstance(result, BaseException):
                raise result

    def _complain(self, *complaints: str) -> None:
        self._found.complaints += complaints

    def _complain_of_copy(self, *complaints: str) -> None:
        self._found.of_copies += complaints

    def _host(self, label: str) -> Host:
        return host_of(self._operation, label, self._token)

    # Through SQL

    async def _master(self) -> None:
        link = await self._operation.link(self._params.master)
        if await link.is_read_only():
            self._complain(f"{link.label} is read-only: it is not the master")
        if await link.replication() is not None:
            self._complain(f"{link.label} follows another node: it is not the master")
        await link.coordinates()
        if not link.dialect.mariadb:
            self._found.gtid = is_on(await link.variable("gtid_mode"))

    async def _source_state(self) -> None:
        """A source that lags or is marked is only taken if a person insists; a broken one never is."""
        params = self._params
        if params.source == params.master:
            return
        link, master = await asyncio.gather(
            self._operation.link(params.source), self._operation.link(params.master)
        )
        state = await link.replication()
        doubts = [
            f"{mark.node}: {mark.kind}: {mark.reason}"
            for mark in await self._operation.record(lambda records: records.marks())
            if mark.node == params.source
        ]
        if state is None:
            self._complain(f"{params.source} follows nobody: choose the master as source")
            return
        server_id = integer((await master.query("SELECT @@server_id AS id"))[0], "id")
        if state.source_server_id != server_id:
            self._complain(f"{params.source} follows another node than {params.master}")
        self._found.source_gtid = state.gtid
        if not state.gtid and await applies_in_parallel(link):
            self._complain(
                f"{params.source} applies in parallel and without GTIDs: the position it gives may lie before"
                f" what it has applied, so that rows would come twice: choose {params.master} as source"
            )
        limit = self._operation.context.cluster.policy.max_lag
        if state.sql_errno:
            doubts.append(f"{params.source} does not apply: {state.sql_errno} {state.sql_error}")
        elif not state.sql or state.io is not IoState.YES:
            doubts.append(f"{params.source} does not replicate")
        elif state.seconds_behind is None or state.seconds_behind > limit:
            behind = "an unknown time" if state.seconds_behind is None else f"{state.seconds_behind} s"
            doubts.append(f"{params.source} is {behind} behind, more than {limit:g} s")
        if doubts and not params.force_source:
            self._complain(*doubts)
        self._found.warnings += doubts if params.force_source else []

    async def _log_expiry(self) -> None:
        """The master's log must still hold the backup's position when the copy is ready."""
        link = await self._operation.link(self._params.master)
        seconds = integer({"v": await link.variable("binlog_expire_logs_seconds")}, "v")
        if not seconds:
            days = await link.variable("expire_logs_days")
            seconds = int(float(days) * 86400) if days else 0
        size = self._found.source.place.size if self._found.source else 0
        needed = 600 + 2 * size // _SLOWEST
        if seconds and seconds < needed:
            self._complain(
                f"{link.label} keeps its binary logs for {humanize.precisedelta(seconds)}, the clone may take"
                f" {humanize.precisedelta(needed)}: raise binlog_expire_logs_seconds"
            )

    # Through SSH

    async def _source_place(self) -> None:
        link = await self._operation.link(self._params.source)
        self._found.source = proved = await prove(link, self._host(link.label))
        outside = await self._asked_of_copy(kept_outside(link, proved.place))
        if outside:
            text = f"{link.label}: {outside}: a copy of the datadir alone would not be complete"
            self._complain_of_copy(text)

    async def _asked_of_copy(self, question: Awaitable[T]) -> T | None:
        """The answer; that there is none matters only to a copy of our own."""
        try:
            return await question
        except PfmsError as error:
            self._complain_of_copy(str(error))
            return None

    async def _target(self) -> None:
        params, found = self._params, self._found
        host = self._host(params.target)
        link = await self._operation.try_link(params.target)
        if link is None:
            await self._dead_target(host)
        else:
            found.target_proved = proved = await prove(link, host)
            found.target = proved.place
            state = await link.replication()
            if state is not None:
                found.replicating = state.sql and state.io is not IoState.NO
                found.gtid = state.gtid
                row = await link.replication_row() or {}
                allowed = text(row, "Source_SSL_Allowed") or text(row, "Master_SSL_Allowed")
                found.tls = allowed.lower() == "yes"
            if not await link.is_read_only():
                self._complain(f"{params.target} is writable: it may serve Pandora; lock it first")
            if await has_slaves(link, self._operation):
                self._complain(
                    f"{params.target} has slaves of its own: let them follow {params.master} first"
                )
            outside = await self._asked_of_copy(kept_outside(link, proved.place))
            if outside:
                self._complain_of_copy(f"{params.target}: {outside}: only a site's own script can clone it")
        place = found.target
        if place is None:
            return
        self._complain_of_copy(*(f"{params.target}: {reason}" for reason in insane(place)))
        pid = found.target_proved.pid if found.target_proved else None
        service = await self._asked_of_copy(why_not_service(host, pid))
        if service is not None:
            self._complain_of_copy(f"{params.target}: {service}")
        if not place.may_rename:
            self._complain_of_copy(
                f"the account on {params.target} may not change {place.path}: use root, or sudo = true"
            )
        if place.left:
            self._complain_of_copy(
                f"an earlier clone left {place.left.strip()} on {params.target}:"
                " look whether it is still needed, then remove it"
            )

    async def _dead_target(self, host: Host) -> None:
        """Its server does not answer: it must not run at all, and its datadir must be known from before."""
        label = self._params.target
        facts = self._operation.context.host_facts.get(label, NOWHERE)
        if facts.datadir is None:
            self._complain(
                f"{label} does not answer and has not been seen since the worker started, so that its"
                " datadir is not known: start its server once"
            )
            return
        process = await host.shell.find_process(facts.pid_file, facts.datadir)
        if process.state is not ProcessState.NONE:
            self._complain(f"{label} does not let us in, but its server may run: {process.text}")
            return
        self._found.target = await look(host, facts.datadir)

    async def _apart(self) -> None:
        """The target's directory is not the master's nor the source's, whatever the names say."""
        found, params = self._found, self._params
        if found.target is None or found.source is None:
            return
        others = {params.source: found.source.place}
        if params.master != params.source:
            master = await self._operation.link(params.master)
            others[params.master] = (await prove(master, self._host(params.master))).place
        for label, place in others.items():
            if (place.boot, place.inode) == (found.target.boot, found.target.inode):
                self._complain(f"{params.target} and {label} are the same server: {place.path}")

    async def _programs(self) -> None:
        """What both hosts have."""
        names = " ".join(_PROGRAMS)
        script = (
            f'for p in {names}; do command -v "$p" >/dev/null 2>&1 || continue; '
            'v=; case $p in *backup) v=$("$p" --version 2>&1 | tr "\\n" " ");; esac; echo "$p=$v"; done'
        )
        for label in {self._params.source, self._params.target}:
            said = await self._host(label).run(script, "looking for its programs", timeout=60.0)
            pairs = (line.partition("=") for line in said.splitlines())
            self._found.programs[label] = {name: version for name, sign, version in pairs if sign}

    async def _replication_account(self) -> None:
        """The account must be able to log in to the master *from the target's host*."""
        context = self._operation.context
        account, master = context.cluster.replication, context.node(self._params.master)
        script, given = client_check(account.user, account.password.reveal(), master.host, master.port)
        result = await self._host(self._params.target).ask(script, given=given)
        if result.exit_status == 127:
            self._found.warnings.append(
                f"{self._params.target} has no mysql client: whether {account.user} can log in to"
                f" {master.label} from there shows only when it follows"
            )
        elif not result.ok:
            self._complain(
                f"{account.user} cannot log in to {master.label} from {self._params.target}: {result.said}"
            )
        elif not any(
            word in result.stdout for word in ("REPLICATION SLAVE", "REPLICATION REPLICA", "ALL PRIV")
        ):
            self._complain(f"{account.user} has no REPLICATION SLAVE privilege on {master.label}")

    # What follows from it

    async def _settle(self) -> ClonePlan | None:
        params, found = self._params, self._found
        if params.method is not CloneMethod.SCRIPT:
            self._complain(*found.of_copies)
        source, target = found.source, found.target
        if source is None or target is None:
            return None
        dialect = (await self._operation.link(params.source)).dialect
        means = Means(self._operation, params, found, self._token)
        judged = await means.choose(dialect)
        self._complain(*judged.complaints)
        method = judged.method
        way = await means.way(method, direct=judged.direct, bandwidth=judged.bandwidth)
        give_up = method is not CloneMethod.SCRIPT and self._room(target, source.place)
        proved = found.target_proved
        return ClonePlan(
            token=self._token,
            method=method,
            tool=judged.tool,
            direct=judged.direct,
            zstd=way.zstd,
            ciphers=way.ciphers,
            link_rate=way.rate,
            bandwidth=judged.bandwidth,
            threads=judged.threads,
            datadir=target.path,
            inode=target.inode,
            owner=target.owner.partition(":")[0],
            pid_file=proved.pid_file if proved else self._facts_pid_file(),
            was_running=proved is not None,
            was_replicating=found.replicating,
            source_datadir=source.place.path,
            source_tmpdir=await self._tmpdir(),
            source_command=source.command,
            target_command=proved.command if proved else (),
            total=source.place.size,
            gtid=found.gtid or found.source_gtid,
            tls=found.tls,
            staging=self._staging(source.place),
            give_up_old=give_up,
        )

    def _facts_pid_file(self) -> str | None:
        return self._operation.context.host_facts.get(self._params.target, NOWHERE).pid_file

    async def _tmpdir(self) -> str:
        link = await self._operation.link(self._params.source)
        said = text((await link.query("SELECT @@tmpdir AS t"))[0], "t").split(":")[0].rstrip("/")
        return said if said.startswith("/") else "/tmp"  # noqa: S108 - the server's own default

    def _staging(self, place: Place) -> str:
        settings = self._operation.context.cluster.clone
        parent = str(settings.staging_dir) if settings.staging_dir else place.path.rsplit("/", 1)[0]
        return f"{parent.rstrip('/')}/pfms-ha-backup-{self._token}"

    def _room(self, target: Place, source: Place) -> bool:
        """Whether there is room for the copy only without the old data, and that was confirmed."""
        params = self._params
        lack = lack_of_room(params, target, source)
        if lack is None or lack.hopeless:
            self._complain(*([lack.text] if lack is not None else []))
            return False
        self._found.cramped = f"{lack.text}; without the old data there is room"
        if not params.give_up_old:
            self._complain(
                f"{lack.text}: make room, or confirm that the old data of {params.target} is removed before"
                " the copy (--give-up-old)"
            )
        return params.give_up_old

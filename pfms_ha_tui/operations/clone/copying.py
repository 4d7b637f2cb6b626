"""Getting the data: the new directory, the copy by the chosen method, and its preparation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.config.settings import CloneMethod
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.operations.clone import plugin, staged, stream, tools
from pfms_ha_tui.operations.clone.base import (
    BEGAN,
    MARKED,
    PLAN,
    CloneOperation,
    CloneStep,
    keep_looking,
    patiently,
    watched,
)
from pfms_ha_tui.operations.clone.host import EVERY_FILE
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.clone.preflight import Preflight
from pfms_ha_tui.operations.step import StepRun
from pfms_ha_tui.pandora.events import Criticity

NEW_INODE = "new_inode"
"""Fact: ``device:inode`` of the new datadir."""
POSITION, GTIDS = "position", "gtids"
"""Facts: where the new slave follows from."""
_SMALLEST_MEMORY, _LARGEST_MEMORY = 100 * 2**20, 2**30
_INFO = ("binlog_info", "slave_info")


class Check(CloneStep):
    """Everything that speaks against it, before anything is changed."""

    name = "check"
    title = "check everything that could go wrong"

    async def rehearse(self, run: StepRun) -> str | None:
        """The same checks: they change nothing."""
        return await self.run(run)

    async def run(self, run: StepRun) -> str | None:
        """Look at all nodes and hosts."""
        preflight = Preflight(self.operation, self.operation.asked)
        try:
            plan = await preflight.plan()
        finally:
            for warning in preflight.warnings:
                run.say(warning)
        await run.note(**{PLAN: plan})
        self.operation.plan = plan
        path = "node to node" if plan.direct else "through this host"
        packed = "compressed" if plan.zstd else "not compressed"
        how = "" if plan.method is CloneMethod.PLUGIN else f", {path}, {packed}"
        return f"{plan.total / 2**20:.0f} MiB by {plan.method}{how}"


class MakeDirectory(CloneStep):
    """The new datadir, beside the old one."""

    name = "directory"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"make a new datadir on {self.target}"

    def preview(self) -> Sequence[str]:
        """The command."""
        plan = self.operation.plan
        return (f"mkdir -m 700 {plan.new if plan else '…'}",)

    async def run(self, run: StepRun) -> str | None:
        """Make it, and tell Pandora that a clone begins."""
        plan = self.operation.planned(run)
        marked = await self.operation.record(lambda records: records.distrusted(self.target))
        await run.note(**{BEGAN: True, MARKED: marked})
        await self.operation.tell(f"{self.operation.title} begins", Criticity.INFORMATIONAL, run)
        new = shlex.quote(plan.new)
        said = await self.operation.target_host(plan).run(
            f"mkdir -m 700 {new} 2>/dev/null || [ -d {new} ] || exit 1; stat -c %d:%i {new}",
            f"making {plan.new}",
        )
        await run.note(**{NEW_INODE: said.strip()})
        return plan.new

    async def undo(self, run: StepRun) -> str | None:
        """Remove it, and nothing else: by name and inode."""
        plan, inode = run.fact(PLAN, ClonePlan), run.fact(NEW_INODE, str)
        if plan is None:
            return None
        host = self.operation.target_host(plan)
        await patiently(run, host.end_leftovers)
        said = await patiently(
            run, lambda: host.run(_remove(plan.new, inode), f"removing {plan.new}", timeout=EVERY_FILE)
        )
        return f"{plan.new} removed" if said.strip() == "removed" else None


class Transfer(CloneStep):
    """The copy itself."""

    name = "transfer"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"copy the data of {self.source} to {self.target}"

    def preview(self) -> Sequence[str]:
        """The commands."""
        plan = self.operation.plan
        if plan is None:
            return ()
        if plan.method is CloneMethod.PLUGIN:
            return plugin.preview(plan, self.operation)
        if plan.method is CloneMethod.STAGED:
            return staged.preview(plan, self.operation)
        return stream.preview(plan, self.operation)

    async def run(self, run: StepRun) -> str | None:
        """Copy."""
        plan = self.operation.planned(run)
        began = run.clock.mono()
        if plan.method is CloneMethod.PLUGIN:
            await plugin.copy(plan, self.operation, run)
        elif plan.method is CloneMethod.STAGED:
            await staged.copy(plan, self.operation, run)
        else:
            await stream.copy(plan, self.operation, run)
        took = max(run.clock.mono() - began, 0.001)
        size = await stream.look_size(self.operation.target_host(plan), plan.new)
        return f"{size / 2**20:.0f} MiB in {took:.1f} s, {size / 2**20 / took:.0f} MiB/s"

    async def undo(self, run: StepRun) -> str | None:
        """End what still runs, and leave nothing on the source."""
        plan = run.fact(PLAN, ClonePlan)
        if plan is None:
            return None
        source = self.operation.source_host(plan)
        # The source's end first: with it gone, the pipe to the target dries up.
        await patiently(run, source.end_leftovers)
        await patiently(run, self.operation.target_host(plan).end_leftovers)
        places = f"{shlex.quote(plan.scratch)} {shlex.quote(plan.staging)}"
        await patiently(
            run, lambda: source.run(f"rm -rf {places}", "clearing the source", timeout=EVERY_FILE)
        )
        if plan.method is CloneMethod.PLUGIN:
            await plugin.clean_source(self.operation, run)
        return "nothing of it is left on either host"


class Prepare(CloneStep):
    """Bring the copied files to one instant, note its coordinates, give them to the server's account."""

    name = "prepare"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"prepare the copy on {self.target}"

    def preview(self) -> Sequence[str]:
        """The commands."""
        plan = self.operation.plan
        if plan is None:
            return ()
        # A staged copy was prepared on the source; the plugin's needs no preparation.
        applied = plan.tool if plan.method is CloneMethod.STREAM else None
        return (
            *([tools.prepare(applied, plan.new, _LARGEST_MEMORY)] if applied else []),
            "rm -f auto.cnf xtrabackup_* mariadb_backup_* backup-my.cnf  (of the copy)",
            f"chown -R --reference={plan.datadir} {plan.new}",
            f"chcon -R --reference={plan.datadir} {plan.new}  (SELinux enforcing)",
        )

    async def run(self, run: StepRun) -> str | None:
        """Prepare."""
        plan = self.operation.planned(run)
        text = "nothing to prepare"
        if plan.tool is not None and run.fact(GTIDS, str) is None:
            if plan.method is CloneMethod.STREAM:
                await self._apply(plan, run)
            position, gtids = await self._coordinates(plan)
            await run.note(**{POSITION: position, GTIDS: gtids})
            text = f"consistent at {position or gtids} of {self.master}"
        await self._give_to_server(plan)
        return text

    async def _apply(self, plan: ClonePlan, run: StepRun) -> None:
        host = self.operation.target_host(plan)
        log = stream.PipeLog(plan.token)
        tool = plan.tool
        assert tool is not None  # noqa: S101 - the caller looked
        command = tools.prepare(tool, plan.new, await self._memory(plan))
        working = host.follow(f"umask 077; {command} </dev/null", log.line)
        log.ends["prepare"] = await watched(working, keep_looking(self.operation, run))
        complaint = log.complaint(["prepare"])
        if complaint is not None:
            raise OperationError(f"preparing the copy failed: {complaint}", node=self.target, code="prepare")

    async def _memory(self, plan: ClonePlan) -> int:
        said = await self.operation.target_host(plan).run(
            "awk '$1 == \"MemAvailable:\" { print $2 }' /proc/meminfo", "asking for its memory"
        )
        free = int(said) * 1024 if said.strip().isdigit() else 0
        return max(_SMALLEST_MEMORY, min(_LARGEST_MEMORY, free // 4))

    async def _coordinates(self, plan: ClonePlan) -> tuple[BinlogPosition | None, str]:
        """The master's coordinates that the copy stands at; the log must still be there."""
        host = self.operation.target_host(plan)
        wanted = _INFO[1] if self.source != self.master else _INFO[0]
        names = " ".join(
            shlex.quote(f"{plan.new}/{prefix}_{wanted}") for prefix in ("xtrabackup", "mariadb_backup")
        )
        said = await host.run(f"cat {names} 2>/dev/null; true", "reading the backup's coordinates")
        position, gtids = tools.slave_info(said) if wanted == _INFO[1] else tools.binlog_info(said)
        if plan.gtid and not gtids:
            raise OperationError("the backup holds no GTIDs although they are in use", node=self.source)
        if not plan.gtid and position is None:
            raise OperationError("the backup holds no position in the master's log", node=self.source)
        await self._still_there(position)
        return position, gtids

    async def _still_there(self, position: BinlogPosition | None) -> None:
        if position is None:
            return
        master = await self.operation.link(self.master)
        rows = await master.query(master.dialect.show_binary_logs)
        if position.file not in {str(next(iter(row.values()))) for row in rows}:
            raise OperationError(
                f"it no longer has {position.file}, which the copy ends in",
                node=self.master,
                hint="keep its binary logs for longer",
            )

    async def _give_to_server(self, plan: ClonePlan) -> None:
        """Owner, mode, SELinux label as the old datadir has them; its keys and settings stay the target's.

        ``auto.cnf`` is never taken over: two nodes with one server_uuid do not replicate.
        """
        old, new = shlex.quote(plan.datadir), shlex.quote(plan.new)
        script = (
            f"set -e; cd {new}; rm -f auto.cnf xtrabackup_* mariadb_backup_* backup-my.cnf; "
            f"for f in mysqld-auto.cnf ca.pem ca-key.pem server-cert.pem server-key.pem client-cert.pem "
            f"client-key.pem private_key.pem public_key.pem; do "
            f'[ ! -f {old}/"$f" ] || cp -p {old}/"$f" .; done; '
            f"chown -R --reference={old} .; chmod --reference={old} .; "
            f'if [ "$(getenforce 2>/dev/null)" = Enforcing ]; then chcon -R --reference={old} .; fi; '
            "sync -f . 2>/dev/null || sync"
        )
        await self.operation.target_host(plan).run(
            script, "giving the copy to the server", timeout=EVERY_FILE
        )


def _remove(path: str, inode: str | None) -> str:
    """Remove a directory if it is the one that was made; says ``removed`` if it was there."""
    quoted = shlex.quote(path)
    same = f'[ "$(stat -c %d:%i {quoted})" = {shlex.quote(inode)} ] || exit 5; ' if inode else ""
    return (
        f"rm -f {quoted}.log; [ -d {quoted} ] || exit 0; "
        f"{same}rm -rf --one-file-system {quoted} && echo removed"
    )

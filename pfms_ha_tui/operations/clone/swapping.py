"""The swap: the old datadir waits aside until the new slave has proved itself.

Every look and every rename goes by device and inode, so that each of these steps can run again, or be undone,
after a crash in the middle of it, and can never take one directory for another.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence

from pfms_ha_tui.cluster.observation import ProcessState
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone.base import PLAN, CloneOperation, CloneStep, patiently
from pfms_ha_tui.operations.clone.copying import NEW_INODE
from pfms_ha_tui.operations.clone.host import EVERY_FILE
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.records import MarkKind
from pfms_ha_tui.operations.step import OnFailure, Skip, StepRun
from pfms_ha_tui.operations.waiting import await_progress

STOPPING = "stopping"
"""Fact: from here on the target is out of service."""
RUNS_AGAIN = "runs_again"
"""Fact: it was taken back into service, on its old data."""
GIVEN_UP = "given_up"
"""Fact: the old data was removed before the copy."""
_SERVICE_TIMEOUT = 600.0
"""Seconds: a server with much to flush, or to recover, takes its time."""
_ANSWER_TIMEOUT = 120.0

_SWAP = """
set -eu
at() {{ stat -c %d:%i "$1" 2>/dev/null || true; }}
D={datadir} N={new} A={aside}
if [ "$(at "$A")" != {old_inode} ]; then
  [ "$(at "$D")" = {old_inode} ] || {{ echo "$D is not the directory that was proved" >&2; exit 3; }}
  [ ! -e "$A" ] || {{ echo "$A is in the way" >&2; exit 4; }}
  mv -T -- "$D" "$A"
fi
if [ "$(at "$D")" != {new_inode} ]; then
  [ "$(at "$N")" = {new_inode} ] || {{ echo "$N is not the directory that was made" >&2; exit 5; }}
  [ ! -e "$D" ] || {{ echo "$D is in the way" >&2; exit 6; }}
  mv -T -- "$N" "$D"
fi
sync -f "$D" 2>/dev/null || sync
"""
_SWAP_BACK = """
set -eu
at() {{ stat -c %d:%i "$1" 2>/dev/null || true; }}
D={datadir} N={new} A={aside}
if [ "$(at "$D")" = {new_inode} ]; then
  [ ! -e "$N" ] || {{ echo "$N is in the way" >&2; exit 4; }}
  mv -T -- "$D" "$N"
fi
if [ "$(at "$A")" = {old_inode} ]; then
  [ ! -e "$D" ] || {{ echo "$D is in the way" >&2; exit 6; }}
  mv -T -- "$A" "$D"
  echo back
fi
[ "$(at "$D")" = {old_inode} ] || {{ echo "the old data is not at $D" >&2; exit 7; }}
sync -f "$D" 2>/dev/null || sync
"""


class GiveUpOld(CloneStep):
    """Without room for both, and after a second confirmation: the old data goes before the copy."""

    name = "give_up"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"if there is no room for both, remove the old data of {self.target} first"

    def preview(self) -> Sequence[str]:
        """The command, if it is to run at all."""
        plan = self.operation.plan
        if plan is None or not plan.give_up_old:
            return ()
        return (f"rm -rf --one-file-system {plan.datadir}/*  (the server stopped)",)

    async def rehearse(self, run: StepRun) -> str | None:
        """Whether it will be done."""
        if not run.need(PLAN, ClonePlan).give_up_old:
            raise Skip("there is room for both")
        return f"the old data of {self.target} would be removed before the copy"

    async def run(self, run: StepRun) -> str | None:
        """Stop the server and empty its datadir, known by its inode; its keys and own settings stay."""
        plan = self.operation.planned(run)
        if not plan.give_up_old:
            raise Skip("there is room for both")
        await out_of_service(self.operation, plan, run)
        await run.note(**{GIVEN_UP: True})
        datadir = shlex.quote(plan.datadir)
        script = (
            f'[ "$(stat -c %d:%i {datadir})" = {plan.inode} ] || exit 5; cd {datadir} || exit 6; '
            "find . -xdev -mindepth 1 -maxdepth 1 ! -name '*.pem' ! -name mysqld-auto.cnf"
            " -exec rm -rf --one-file-system {} +"
        )
        await self.operation.target_host(plan).run(script, f"emptying {plan.datadir}", timeout=EVERY_FILE)
        return "removed, as was confirmed"

    async def undo(self, run: StepRun) -> str | None:
        """It cannot be: that is what was confirmed."""
        return "the old data was removed, as was confirmed" if run.fact(GIVEN_UP, bool) else None


class StopTarget(CloneStep):
    """Take the old server out of service; the node is not to be trusted from here on."""

    name = "stop"
    cancel_before = True

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"stop the server of {self.target}"

    def preview(self) -> Sequence[str]:
        """The command."""
        return (f"systemctl stop {self.operation.context.node(self.target).service or '(its service)'}",)

    async def run(self, run: StepRun) -> str | None:
        """Stop it, and see that no process is left."""
        plan = self.operation.planned(run)
        await out_of_service(self.operation, plan, run)
        return "no server process is left" if plan.was_running else "it did not run"

    async def undo(self, run: StepRun) -> str | None:
        """Start the old server again, on its old data; that it does not start is said, no reason to stop."""
        plan = run.fact(PLAN, ClonePlan)
        if plan is None or run.fact(STOPPING, bool) is None or not plan.was_running:
            return None
        if run.fact(GIVEN_UP, bool):
            return f"{self.target} has no data: clone it again"
        service = self.operation.target_service(plan)
        try:
            await patiently(run, lambda: service.start(timeout=_SERVICE_TIMEOUT))
            link = await answering(self.operation, self.target, run)
            await link.execute_all(link.dialect.set_read_only(True))
            if plan.was_replicating:
                await link.execute(link.dialect.start_replica)
        except PfmsError as error:
            return f"the old data is in its place, but its server does not work: {error.reason}"
        with contextlib.suppress(PfmsError):
            await run.note(**{RUNS_AGAIN: True})  # a disk that is full must not stop the undoing
        return f"{self.target} runs again on its old data"


class Swap(CloneStep):
    """The old datadir aside, the new one in its place."""

    name = "swap"

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"put the new datadir of {self.target} in place, the old one aside"

    def preview(self) -> Sequence[str]:
        """The renames."""
        plan = self.operation.plan
        if plan is None:
            return ()
        return (f"mv {plan.datadir} {plan.aside}", f"mv {plan.new} {plan.datadir}")

    async def run(self, run: StepRun) -> str | None:
        """Rename both."""
        plan = self.operation.planned(run)
        await no_process(self.operation, plan)
        await self.operation.target_host(plan).run(_text(_SWAP, plan, run), "swapping the datadirs")
        return f"the old data waits in {plan.aside}"

    async def undo(self, run: StepRun) -> str | None:
        """Rename both back; the server must not run meanwhile."""
        plan = run.fact(PLAN, ClonePlan)
        if plan is None or run.fact(STOPPING, bool) is None:
            return None
        host = self.operation.target_host(plan)
        await patiently(run, lambda: no_process(self.operation, plan))
        said = await patiently(
            run, lambda: host.run(_text(_SWAP_BACK, plan, run), "putting the old data back")
        )
        return f"the old data is in {plan.datadir} again" if said.strip() == "back" else None


class StartTarget(CloneStep):
    """Start the server on the new data."""

    name = "start"

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"start the server of {self.target} on the new data"

    def preview(self) -> Sequence[str]:
        """The command."""
        return (f"systemctl start {self.operation.context.node(self.target).service or '(its service)'}",)

    async def run(self, run: StepRun) -> str | None:
        """Start it, and close it for writers at once."""
        plan = self.operation.planned(run)
        await self.operation.target_service(plan).start(timeout=_SERVICE_TIMEOUT)
        link = await answering(self.operation, self.target, run)
        await link.execute_all(link.dialect.set_read_only(True))
        return f"{self.target} answers, read-only"

    async def undo(self, run: StepRun) -> str | None:
        """Stop it: the new data is taken away from under it next."""
        plan = run.fact(PLAN, ClonePlan)
        if plan is None:
            return None
        service = self.operation.target_service(plan)
        await patiently(run, lambda: service.stop(plan.pid_file, plan.datadir, timeout=_SERVICE_TIMEOUT))
        return f"{self.target} stopped"


class RemoveOld(CloneStep):
    """The new slave is good: the old data goes."""

    name = "remove_old"
    on_failure = OnFailure.GO_ON

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"remove the old data of {self.target}"

    def preview(self) -> Sequence[str]:
        """The command."""
        plan = self.operation.plan
        return (f"rm -rf --one-file-system {plan.aside}",) if plan else ()

    async def run(self, run: StepRun) -> str | None:
        """Remove what was put aside, known by its inode."""
        plan = self.operation.planned(run)
        aside = shlex.quote(plan.aside)
        script = (
            f'[ -d {aside} ] || exit 0; [ "$(stat -c %d:%i {aside})" = {plan.inode} ] || exit 5; '
            f"rm -rf --one-file-system {aside}"
        )
        await self.operation.target_host(plan).run(script, f"removing {plan.aside}", timeout=EVERY_FILE)
        return f"{plan.aside} removed"


class KeepOld(CloneStep):
    """The new slave is good, but nobody said that the old data is of no use: it stays."""

    name = "keep_old"

    def __init__(self, operation: CloneOperation) -> None:
        super().__init__(operation)
        self.node = self.target
        self.title = f"keep the old data of {self.target} beside the new"

    async def run(self, run: StepRun) -> str | None:
        """Say where it is."""
        kept = self.operation.planned(run).aside
        return f"{kept} on {self.target} is kept; remove it when nobody needs what only it may hold"


async def out_of_service(operation: CloneOperation, plan: ClonePlan, run: StepRun) -> None:
    """Mark the target and stop its server, seeing that no process is left.

    Raises:
        ShellError: it did not stop.
    """
    await run.note(**{STOPPING: True})
    reason = f"its resync from {operation.asked.source} has not finished"
    await operation.mark(run, operation.asked.target, MarkKind.NEEDS_RESYNC, reason)
    service = operation.target_service(plan)
    await service.stop(plan.pid_file, plan.datadir, timeout=_SERVICE_TIMEOUT)


async def answering(operation: CloneOperation, label: str, run: StepRun) -> Link:
    """A new session with a server that was just started.

    Raises:
        OperationError: it does not let us in in time.
    """
    last: list[str] = []

    async def attempt() -> Link | None:
        try:
            return await operation.fresh_link(label)
        except SqlError as error:
            last[:] = [error.reason]
            return None

    try:
        link = await await_progress(
            attempt,
            lambda link: link is not None,
            what="its server to let us in",
            deadline=_ANSWER_TIMEOUT,
            clock=run.clock,
            interval=0.2,
            node=label,
        )
    except OperationError as error:
        raise OperationError(f"{error.reason}: {last[0] if last else ''}", node=label) from error
    assert link is not None  # noqa: S101 - that is what was waited for
    return link


async def no_process(operation: CloneOperation, plan: ClonePlan) -> None:
    """Nobody may have the datadir open when it is renamed.

    Raises:
        OperationError: a server process is there, or nobody can tell.
    """
    found = await operation.target_host(plan).shell.find_process(plan.pid_file, plan.datadir)
    if found.state is not ProcessState.NONE:
        raise OperationError(f"its server may still run: {found.text}", node=operation.asked.target)


def _text(script: str, plan: ClonePlan, run: StepRun) -> str:
    return script.format(
        datadir=shlex.quote(plan.datadir),
        new=shlex.quote(plan.new),
        aside=shlex.quote(plan.aside),
        old_inode=shlex.quote(plan.inode),
        new_inode=shlex.quote(run.need(NEW_INODE, str)),
    )

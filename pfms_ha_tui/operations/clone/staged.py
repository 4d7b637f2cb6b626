"""The manual's way, made safe: backup and prepare on the source, then rsync, which goes on where it broke."""

from __future__ import annotations

import shlex

from pfms_ha_tui.errors import OperationError, ShellError
from pfms_ha_tui.operations.clone import tools
from pfms_ha_tui.operations.clone.base import CloneOperation, keep_looking, watched
from pfms_ha_tui.operations.clone.host import EVERY_FILE, unnamed
from pfms_ha_tui.operations.clone.peer import peer_ssh
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.clone.stream import PipeLog, credentials_of, tool_of, watch_growth
from pfms_ha_tui.operations.step import StepRun

_ATTEMPTS = 5
_PAUSE = 5.0
_WORTH_ANOTHER = frozenset({10, 12, 23, 30, 35, 255})
"""rsync's exit statuses for a broken connection (its manual, "EXIT VALUES"), and ssh's own."""
_MEMORY = 256 * 2**20


def preview(plan: ClonePlan, operation: CloneOperation) -> list[str]:
    """What will run, for a person."""
    return [
        _backup(plan, operation),
        tools.prepare(tool_of(plan), plan.staging, _MEMORY),
        _rsync(plan, operation),
    ]


async def copy(plan: ClonePlan, operation: CloneOperation, run: StepRun) -> None:
    """Backup, prepare, rsync; the backup is removed from the source whatever comes.

    Raises:
        PfmsError: a part of it failed.
        Cancelled: a person asked for it.
    """
    source = operation.source_host(plan)
    staging = shlex.quote(plan.staging)
    try:
        script = f"{unnamed()}umask 077; {_backup(plan, operation)} </dev/null"
        await _tool_run(plan, operation, run, script, "backup", given=credentials_of(plan, operation))
        prepare = tools.prepare(tool_of(plan), plan.staging, _MEMORY)
        await _tool_run(plan, operation, run, f"umask 077; {prepare} </dev/null", "prepare", given=None)
        await _send(plan, operation, run)
    finally:
        await source.run(f"rm -rf --one-file-system {staging}", "removing the backup", timeout=EVERY_FILE)


async def _tool_run(
    plan: ClonePlan, operation: CloneOperation, run: StepRun, script: str, name: str, *, given: bytes | None
) -> None:
    source = operation.source_host(plan)
    log = PipeLog(plan.token)
    # Preparing needs the files alone; a backup needs the server to its last line.
    looking = keep_looking(operation, run, reads=name == "backup")
    log.ends[name] = await watched(source.follow(script, log.line, given=given), looking)
    complaint = log.complaint([name])
    if complaint is not None:
        raise OperationError(f"the copy failed: {complaint}", node=operation.asked.source, code="copy")
    run.say(f"{name} on {operation.asked.source}: completed")


async def _send(plan: ClonePlan, operation: CloneOperation, run: StepRun) -> None:
    """rsync with what has arrived already kept, tried again after a broken connection."""
    await watched(_tries(plan, operation, run), watch_growth(plan, operation, run, plan.new))


async def _tries(plan: ClonePlan, operation: CloneOperation, run: StepRun) -> None:
    said: list[str] = []
    for attempt in range(1, _ATTEMPTS + 1):
        said.clear()
        status = await _one_try(plan, operation, said, again=attempt > 1)
        if status == 0:
            return
        if status not in _WORTH_ANOTHER or attempt == _ATTEMPTS:
            last = " / ".join(said[-3:])
            raise OperationError(
                f"rsync ended with {status}: {last}", node=operation.asked.source, code="copy"
            )
        run.say(f"rsync broke off ({status}); it goes on where it was")
        await run.clock.sleep(_PAUSE)


async def _one_try(plan: ClonePlan, operation: CloneOperation, said: list[str], *, again: bool) -> int:
    command = _rsync(plan, operation, again=again)
    try:
        return await operation.source_host(plan).follow(f"{command} </dev/null", said.append)
    except ShellError as error:
        if error.code != "lost":
            raise
        said.append(error.reason)
        return 255


def _backup(plan: ClonePlan, operation: CloneOperation) -> str:
    node = operation.context.node(operation.asked.source)
    return tools.backup(
        tool_of(plan),
        host=node.host,
        port=node.port,
        scratch=plan.scratch,
        threads=plan.threads,
        slave=operation.asked.source != operation.asked.master,
        target=plan.staging,
    )


def _rsync(plan: ClonePlan, operation: CloneOperation, *, again: bool = False) -> str:
    """The first time whole files; after a broken line only what is missing of the file it broke off in."""
    *ssh, where = shlex.split(peer_ssh(operation, operation.asked.target, plan.ciphers))
    whole = "--no-whole-file" if again else "--whole-file"
    words = ["rsync", "-a", "--partial", "--inplace", whole, "-e", shlex.join(ssh)]
    if plan.zstd:
        words.append("--compress")
    if plan.bandwidth is not None:
        words.append(f"--bwlimit={max(1, plan.bandwidth // 1024)}")
    if operation.context.node(operation.asked.target).ssh.sudo:
        words.append("--rsync-path=sudo -n rsync")
    return shlex.join([*words, f"{plan.staging}/", f"{where}:{plan.new}/"])

"""The stream: backup tool → compression → the target's new datadir, without a file on the source.

Node to node over SSH, or read here and written there, block by block. Each program of the pipe says how it
ended on stderr, where the backup tool's own log comes through as well; the copy counts only if every one of
them ended with 0 *and* the log has the tool's last words.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import deque
from collections.abc import Callable, Sequence

from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.masking import mask
from pfms_ha_tui.nodes.shell import Process
from pfms_ha_tui.operations.clone import tools
from pfms_ha_tui.operations.clone.base import CloneOperation, Pulse, watched
from pfms_ha_tui.operations.clone.host import Host, broken, give, lines_of, unnamed
from pfms_ha_tui.operations.clone.peer import peer_ssh
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.clone.proof import size_script
from pfms_ha_tui.operations.clone.tools import Tool
from pfms_ha_tui.operations.step import StepRun

_BLOCK = 256 * 1024
_LOOK_EVERY = 1.0
_KEPT_LINES = 40
_TOLD_FAULTS = 3
_LONGEST_FAULT = 200
_FAULT = re.compile(r"error|fail|denied|no space|cannot|can't|unable|broken pipe", re.IGNORECASE)
_STAMP = re.compile(r"^(\[\d+\] )?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* )?")
"""What the backup tools put before each line: thread and time, so that a fault that repeats looks new."""

_FLUSHING = (
    "{{ trap 'kill $! 2>/dev/null; exit' TERM; "
    "while kill -0 $$ && sync -f {new}; do sleep 1 & wait $!; done; }} </dev/null >/dev/null 2>&1 & f=$!"
)
"""Has the disk take what has arrived while more arrives: else gigabytes wait in memory for the end."""


class PipeLog:
    """What the programs of a pipe say: their ends, the tool's last words, and what went wrong."""

    def __init__(self, token: str) -> None:
        self._mark = f"@{token} "
        self.ends: dict[str, int] = {}
        """program → exit status."""
        self.completed = False
        self._faults: deque[str] = deque(maxlen=6)
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)

    def line(self, line: str) -> None:
        """One line of stderr."""
        if line.startswith(self._mark):
            name, _, status = line.removeprefix(self._mark).partition(" ")
            if status.isdigit():
                self.ends[name] = int(status)
            return
        self._last.append(line)
        if line.endswith(tools.COMPLETED):
            self.completed = True
        elif _FAULT.search(line) and (fault := _STAMP.sub("", line)) not in self._faults:
            self._faults.append(fault[:_LONGEST_FAULT])

    def complaint(self, expected: Sequence[str]) -> str | None:
        """Why the pipe did not do its work; ``None`` when all of it did."""
        failed = [f"{name} ended with {status}" for name, status in self.ends.items() if status]
        missing = [f"{name} did not say how it ended" for name in expected if name not in self.ends]
        if not failed and not missing and self.completed:
            return None
        reasons = failed or missing or ["the backup's log does not end with “completed OK!”"]
        said = " / ".join(list(self._faults)[-_TOLD_FAULTS:]) or (self._last[-1] if self._last else "")
        return mask("; ".join(reasons) + (f": {said[-600:]}" if said else ""))


def pipe(token: str, commands: Sequence[tuple[str, str]]) -> str:
    """A shell pipe of named commands, each of which says on stderr how it ended."""
    return " | ".join(f'{{ {command}; echo "@{token} {name} $?" >&2; }}' for name, command in commands)


def receiver(plan: ClonePlan) -> tuple[str, list[str]]:
    """The receiving end, reading stdin: its script and the names of its programs."""
    tool = tool_of(plan)
    commands = [("unpack", tools.unpack(tool, plan.new, plan.threads))]
    if plan.zstd:
        commands.insert(0, ("decompress", "zstd -dc -q"))
    script = f"umask 077; {_FLUSHING.format(new=shlex.quote(plan.new))}; {pipe(plan.token, commands)}"
    return f"{script}; kill $f 2>/dev/null; :", [name for name, _ in commands]


def sender(plan: ClonePlan, operation: CloneOperation, onward: str | None) -> tuple[str, list[str]]:
    """The sending end, which reads the account from stdin: its script and the names of its programs.

    Args:
        onward: The command that carries the stream to the target; ``None`` leaves it on stdout.
    """
    node = operation.context.node(operation.asked.source)
    backup = tools.backup(
        tool_of(plan),
        host=node.host,
        port=node.port,
        scratch=plan.scratch,
        threads=plan.threads,
        slave=operation.asked.source != operation.asked.master,
    )
    commands = [("backup", f"{backup} </dev/null")]
    if plan.zstd:
        commands.append(("compress", "zstd -1 -T2 -q -c"))
    if onward is not None:
        if plan.bandwidth is not None:
            commands.append(("limit", f"pv -q -L {plan.bandwidth}"))
        commands.append(("ssh", onward))
    scratch = shlex.quote(plan.scratch)
    script = (
        f"{unnamed()}mkdir -m 700 {scratch} || exit 91; trap 'rm -rf {scratch}' EXIT; "
        f"trap 'exit 143' HUP INT TERM PIPE; {pipe(plan.token, commands)}"
    )
    return script, [name for name, _ in commands]


def preview(plan: ClonePlan, operation: CloneOperation) -> list[str]:
    """What will run, for a person."""
    node = operation.context.node(operation.asked.source)
    tool = tool_of(plan)
    parts = [
        tools.backup(
            tool,
            host=node.host,
            port=node.port,
            scratch=plan.scratch,
            threads=plan.threads,
            slave=operation.asked.source != operation.asked.master,
        )
    ]
    parts += ["zstd -1 -T2"] if plan.zstd else []
    parts += [f"pv -q -L {plan.bandwidth}"] if plan.bandwidth is not None and plan.direct else []
    parts.append(
        peer_ssh(operation, operation.asked.target, plan.ciphers) if plan.direct else "(relayed by this host)"
    )
    parts += ["zstd -dc"] if plan.zstd else []
    parts.append(tools.unpack(tool, plan.new, plan.threads))
    return [" | ".join(parts)]


async def copy(plan: ClonePlan, operation: CloneOperation, run: StepRun) -> None:
    """Bring the source's data into the target's new datadir.

    Raises:
        PfmsError: it failed; what is there is of no use.
        Cancelled: a person asked for it.
    """
    source, target = operation.source_host(plan), operation.target_host(plan)
    log = PipeLog(plan.token)
    received, receiving = receiver(plan)
    onward: str | None = None
    if plan.direct:
        remote = target.shell.elevated(target.marked(received))
        command = shlex.quote(f"exec /bin/sh -c {shlex.quote(remote)}")
        onward = f"{peer_ssh(operation, operation.asked.target, plan.ciphers)} {command}"
    sent, sending = sender(plan, operation, onward)
    given = credentials_of(plan, operation)
    if plan.direct:
        moving = _direct(source, sent, given, log.line)
    else:
        moving = _relay(source, sent, given, target, received, plan.bandwidth, log.line)
    await watched(moving, watch_growth(plan, operation, run, plan.new, reads=True))
    complaint = log.complaint([*sending, *receiving])
    if complaint is not None:
        raise OperationError(f"the copy failed: {complaint}", node=operation.asked.source, code="copy")
    size = await look_size(target, plan.new)
    run.progress(size, max(size, plan.total), "bytes")


async def watch_growth(
    plan: ClonePlan, operation: CloneOperation, run: StepRun, directory: str, *, reads: bool = False
) -> None:
    """Tell how much has arrived, for ever; ends with an error when nothing arrives or nobody wants it.

    Args:
        reads: The source's server is needed for it.

    Raises:
        OperationError: no byte for ``stall_timeout``, or the master (or the source) is gone.
        Cancelled: a person asked for it.
    """
    target, pulse = operation.target_host(plan), Pulse(operation, reads=reads)
    stall = operation.context.cluster.clone.stall_timeout
    size, moved = -1, run.clock.mono()
    while True:
        run.checkpoint()
        await pulse.check()
        newest = await look_size(target, directory)
        now = run.clock.mono()
        if newest != size:
            size, moved = newest, now
            run.progress(size, max(plan.total, size), "bytes")
        elif now - moved >= stall:
            raise OperationError(f"nothing has arrived for {stall:g} s", node=target.label, code="stalled")
        await run.clock.sleep(_LOOK_EVERY)


async def look_size(host: Host, directory: str) -> int:
    """Bytes of data files in a directory."""
    said = (await host.run(size_script(directory), "measuring the copy")).strip()
    return int(said) if said.isdigit() else 0


async def _direct(source: Host, script: str, given: bytes, line: Callable[[str], None]) -> None:
    await source.follow(script, line, given=given)


async def _relay(
    source: Host,
    sent: str,
    given: bytes,
    target: Host,
    received: str,
    bandwidth: int | None,
    line: Callable[[str], None],
) -> None:
    """Read here, write there. Not by asyncssh's redirection, which may drop the last bytes at the end."""
    reading = await source.open(sent)
    try:
        writing = await target.open(received)
    except BaseException:
        reading.close()
        raise
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(give(reading, given))
            tasks.create_task(lines_of(reading.stderr, line))
            tasks.create_task(lines_of(writing.stderr, line))
            tasks.create_task(_carry(reading, writing, bandwidth))
        await reading.wait_closed()
        await writing.wait_closed()
    except BaseExceptionGroup as group:
        raise broken(f"{source.label} or {target.label}", group.exceptions[0]) from None
    finally:
        reading.close()
        writing.close()


async def _carry(reading: Process, writing: Process, bandwidth: int | None) -> None:
    """Bytes from one command to another, never more than a block of them in this process's hands."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    try:
        while data := await reading.stdout.read(_BLOCK):
            writing.stdin.write(data)
            await writing.stdin.drain()
            if bandwidth is not None:
                due = max(due + len(data) / bandwidth, loop.time() - 1.0)
                await asyncio.sleep(max(0.0, due - loop.time()))
        writing.stdin.write_eof()
    except (BrokenPipeError, ConnectionError):
        # The other end has stopped reading; why, it says itself on its stderr. A signal would not do: a
        # backup tool that waits for its output to be read does not hear it.
        reading.close()


def tool_of(plan: ClonePlan) -> Tool:
    """The backup tool that was chosen."""
    if plan.tool is None:
        raise OperationError("no backup tool was chosen")
    return plan.tool


def credentials_of(plan: ClonePlan, operation: CloneOperation) -> bytes:
    """The backup tool's options file, with what the source's server was started with."""
    admin = operation.context.cluster.admin
    include = tools.defaults_file(plan.source_command)
    return tools.credentials(admin.user, admin.password.reveal(), include=include)

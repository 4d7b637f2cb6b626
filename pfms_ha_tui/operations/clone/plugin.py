"""MySQL's CLONE plugin: a copy into a freshly initialised datadir, so that the old one stays as it is.

``CLONE INSTANCE`` removes the data of the server it runs on first. So it runs on a second, short-lived
server of the target's, in the new directory, without a port: its whole work stands in its init file, read
from a nameless file. Without a supervisor it ends by itself with error 3707, its data complete; the next
plain start finishes the work (MySQL manual, "Cloning Remote Data").
"""

from __future__ import annotations

import shlex
from collections import deque

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.masking import MASK, mask
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.parsing import integer, is_on, text
from pfms_ha_tui.operations.access import Link
from pfms_ha_tui.operations.clone import tools
from pfms_ha_tui.operations.clone.base import CloneOperation, watched
from pfms_ha_tui.operations.clone.host import Host, unnamed
from pfms_ha_tui.operations.clone.plan import ClonePlan
from pfms_ha_tui.operations.clone.stream import watch_growth
from pfms_ha_tui.operations.step import StepRun

INSTALLED = "clone_installed"
"""Fact: the plugin was installed on the source by this clone, to be removed after it."""
POSITION, GTIDS = "position", "gtids"
LEAST_BANDWIDTH = 2**20
_NAME = "clone"
_LIBRARY = "mysql_clone.so"
_OURS = frozenset(
    {
        *("--datadir", "--init-file", "--socket", "--port", "--pid-file", "--log-error", "--mysqlx"),
        *("--skip-networking", "--daemonize", "--admin-port", "--user"),
    }
)
_SHUT_DOWN = "3707"
"""ER_RESTART_SERVER_FAILED, "mysqld is not managed by supervisor process": all was copied."""
_ENDED_WELL = "ended with 0"
_KEPT_LINES = 14
_ALREADY = 1125
"""ER_UDF_EXISTS: said for a plugin that is installed as well."""


def preview(plan: ClonePlan, operation: CloneOperation) -> list[str]:
    """What will run, for a person."""
    node = operation.context.node(operation.asked.source)
    user = operation.context.cluster.admin.user
    limit = [_limit(plan.bandwidth)] if plan.bandwidth is not None else []
    return [
        f"INSTALL PLUGIN clone SONAME '{_LIBRARY}'  (on {operation.asked.source}, unless it is there)",
        shlex.join([*_server(plan), "--initialize-insecure", f"--datadir={plan.new}"]),
        shlex.join([*_server(plan), f"--datadir={plan.new}", "--skip-networking", "--init-file=…"]),
        *limit,
        f"CLONE INSTANCE FROM '{user}'@'{node.host}':{node.port} IDENTIFIED BY '{MASK}'",
    ]


async def copy(plan: ClonePlan, operation: CloneOperation, run: StepRun) -> None:
    """Clone into the new datadir.

    Raises:
        PfmsError: it failed.
        Cancelled: a person asked for it.
    """
    if not plan.target_command:
        raise OperationError("how its server is started is not known", node=operation.asked.target)
    await _install(operation, run)
    target = operation.target_host(plan)
    await _initialise(target, plan)
    await watched(_clone(target, plan, operation), watch_growth(plan, operation, run, plan.new, reads=True))
    await clean_source(operation, run)


async def note_coordinates(link: Link, operation: CloneOperation, run: StepRun) -> None:
    """Note where the cloned server stands; it may be asked only once, before it follows anybody by our doing.

    Raises:
        OperationError: the server does not say, or says that the clone failed.
    """
    if run.fact(GTIDS, str) is not None:
        return
    position: BinlogPosition | None = None
    if operation.asked.source != operation.asked.master:
        # A slave's place in its master's log is kept in its own tables and came along with them.
        if await link.replication() is not None:
            await link.execute(link.dialect.stop_replica)
        state = await link.replication()
        position = state.executed if state is not None else None
    else:
        rows = await link.query(
            "SELECT state, error_no, error_message, binlog_file, binlog_position"
            " FROM performance_schema.clone_status"
        )
        if not rows:
            raise OperationError("it does not know that it was cloned", node=link.label)
        row = {name.lower(): value for name, value in rows[0].items()}
        if text(row, "state") != "Completed":
            raise OperationError(
                f"its clone is {text(row, 'state')!r}: {text(row, 'error_no')} {text(row, 'error_message')}",
                node=link.label,
            )
        file, pos = text(row, "binlog_file"), integer(row, "binlog_position")
        position = BinlogPosition(file, pos) if file and pos else None
    await run.note(**{POSITION: position, GTIDS: await link.gtid_executed()})


async def clean_source(operation: CloneOperation, run: StepRun) -> None:
    """Remove the plugin from the source if this clone installed it; that it cannot be is only said."""
    if not run.fact(INSTALLED, bool):
        return
    try:
        link = await operation.link(operation.asked.source)
        await _as_admin(link, f"UNINSTALL PLUGIN {_NAME}")
    except PfmsError as error:
        run.say(f"{operation.asked.source}: the CLONE plugin stays installed: {error.reason}")
        return
    await run.note(**{INSTALLED: False})


async def _install(operation: CloneOperation, run: StepRun) -> None:
    """The source needs the plugin, too. Installing is not written to its binary log."""
    link = await operation.link(operation.asked.source)
    rows = await link.query(
        "SELECT plugin_status AS status FROM information_schema.plugins WHERE plugin_name = %s", (_NAME,)
    )
    if rows and text(rows[0], "status") == "ACTIVE":
        return
    await run.note(**{INSTALLED: True})
    try:
        await _as_admin(link, f"INSTALL PLUGIN {_NAME} SONAME '{_LIBRARY}'")
    except SqlError as error:
        if error.errno == _ALREADY:
            return
        await run.note(**{INSTALLED: False})
        raise OperationError(
            f"the CLONE plugin cannot be installed: {error.reason}",
            node=link.label,
            hint="choose another method",
        ) from error


async def _as_admin(link: Link, statement: str) -> None:
    """Run a statement that super_read_only forbids; ordinary accounts stay locked out all the while."""

    def job(session: SqlSession) -> None:
        closed = is_on(session.query("SELECT @@GLOBAL.super_read_only AS v")[0]["v"])
        if closed:
            session.execute("SET GLOBAL super_read_only = 0")
        try:
            session.execute(statement)
        finally:
            if closed and not session.closed:
                session.execute("SET GLOBAL super_read_only = 1")

    await link.call(job)


async def _initialise(target: Host, plan: ClonePlan) -> None:
    log = f"{plan.new}.log"
    command = shlex.join(
        [*_server(plan), "--initialize-insecure", f"--datadir={plan.new}", f"--log-error={log}", *_QUIET]
    )
    owner, new = f"--reference={shlex.quote(plan.datadir)}", shlex.quote(plan.new)
    script = (
        f"set -e; chown {owner} {new}; : >{shlex.quote(log)}; chown {owner} {shlex.quote(log)}; "
        f"rm -rf --one-file-system {new}/* {new}/.[!.]*; "
        f"cd /; {command} </dev/null >/dev/null 2>&1 || {{ grep ERROR {shlex.quote(log)} | head -n 3 >&2; "
        f"rm -f {shlex.quote(log)}; exit 1; }}"
    )
    await target.run(target.marked(script), "initialising the new datadir", timeout=300.0)


async def _clone(target: Host, plan: ClonePlan, operation: CloneOperation) -> None:
    node = operation.context.node(operation.asked.source)
    admin = operation.context.cluster.admin
    limit = f"{_limit(plan.bandwidth)};\n" if plan.bandwidth is not None else ""
    statements = (
        f"{limit}SET GLOBAL clone_valid_donor_list = '{node.host}:{node.port:d}';\n"
        f"CLONE INSTANCE FROM {_sql(admin.user)}@{_sql(node.host)}:{node.port:d}"
        f" IDENTIFIED BY {_sql(admin.password.reveal())};\n"
    )
    said = await _serve(target, plan, statements, f"--plugin-load-add=clone={_LIBRARY}")
    if not any(_SHUT_DOWN in line for line in said):
        raise OperationError(
            f"the clone failed: {mask(' / '.join(said))[-600:]}", node=target.label, code="copy"
        )
    # Its last part (renaming files, recovery) knows the directory by name: it is done before that changes.
    # The plugin itself came along with the data.
    said = await _serve(target, plan, "SHUTDOWN;\n")
    if said[:1] != [_ENDED_WELL]:
        raise OperationError(
            f"the clone could not be finished: {mask(' / '.join(said))[-600:]}",
            node=target.label,
            code="copy",
        )


def _limit(bandwidth: int) -> str:
    """MySQL counts it in whole MiB per second."""
    return f"SET GLOBAL clone_max_data_bandwidth = {max(1, bandwidth // LEAST_BANDWIDTH):d}"


async def _serve(target: Host, plan: ClonePlan, statements: str, *options: str) -> list[str]:
    """Run a server on the new directory for its init file, to its own end; what its log says of it."""
    log = f"{plan.new}.log"
    command = shlex.join(
        [
            *_server(plan),
            f"--datadir={plan.new}",
            f"--log-error={log}",
            f"--socket={plan.new}/pfms-ha.sock",
            f"--pid-file={plan.new}/pfms-ha.pid",
            "--skip-networking",
            f"--init-file={tools.CREDENTIALS}",
            "--skip-replica-start",
            "--skip-log-bin",
            *_QUIET,
            *options,
        ]
    )
    # The server restarts itself only if it is told that somebody would start it again: nobody would.
    script = (
        f"{unnamed(owner_of=plan.datadir)}unset MYSQLD_PARENT_PID NOTIFY_SOCKET; cd /; "
        f": >{shlex.quote(log)}; chown --reference={shlex.quote(plan.datadir)} {shlex.quote(log)}; "
        f'{command} </dev/null >/dev/null 2>&1; echo "ended with $?"; '
        f"grep -E 'ERROR|Clone' {shlex.quote(log)} | tail -n {_KEPT_LINES}; "
        f"rm -f {shlex.quote(log)} {shlex.quote(plan.new)}/pfms-ha.*"
    )
    said: deque[str] = deque(maxlen=_KEPT_LINES + 1)
    await target.follow(script, said.append, given=statements.encode())
    return list(said)


_QUIET = ("--super-read-only=OFF", "--read-only=OFF", "--event-scheduler=OFF", "--mysqlx=OFF")


def _server(plan: ClonePlan) -> list[str]:
    """How the target's own server is started, without what must not be shared with a second one."""
    program, *arguments = plan.target_command
    kept = [word for word in arguments if word.partition("=")[0] not in _OURS]
    return [program, *kept, f"--user={plan.owner}"]


def _sql(value: str) -> str:
    """A string literal for an init file, whose session has the default sql_mode."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

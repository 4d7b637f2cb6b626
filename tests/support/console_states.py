"""States of clusters as a worker would publish them.

Observations are written by hand; the snapshot, the diagnosis and the readiness come from the very code
that the worker runs, so that the sentences on the screens are the real ones. What came of it is kept in
``kept_states/*.json``: a better word of the judge does not change what the console is tested with until
somebody says ``UPDATE_STATES=1``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path

import msgspec
from support.console_story import MONO, WALL, Story, bad, following, good, healthy_looks, server, shell

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import (
    Flavor,
    IoState,
    Opinion,
    ProcessState,
    Reach,
    Says,
    ServerFacts,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.snapshot import JournalFacts, Maintenance, Sync, SyncState
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.worker.protocol import ClusterState

KEPT = Path(__file__).parent / "kept_states"


def kept(build: Callable[[], ClusterState]) -> Callable[[], ClusterState]:
    """The state as it was when it was last written down."""
    path = KEPT / f"{build.__name__}.json"

    @wraps(build)
    def load() -> ClusterState:
        if os.environ.get("UPDATE_STATES"):
            KEPT.mkdir(exist_ok=True)
            text = msgspec.json.format(msgspec.json.encode(build()), indent=1)
            path.write_bytes(text + b"\n")
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)

    return load


@kept
def healthy() -> ClusterState:
    """node1 is master, node2 follows."""
    story = Story()
    healthy_looks(story)
    return story.state()


@kept
def three_nodes() -> ClusterState:
    """Two slaves, one of them a little behind."""
    story = Story(count=3)
    healthy_looks(story)
    behind = following(seconds_behind=4, executed=BinlogPosition("binlog.000018", 1_100_000))
    story.look(
        0.0,
        {
            "node1": good("node1", -0.01, server(1)),
            "node2": good("node2", -0.01, server(2, replication=(following(),))),
            "node3": good("node3", -0.01, server(3, replication=(behind,))),
        },
    )
    return story.state()


@kept
def dead_master() -> ClusterState:
    """The server process of node1 is gone."""
    story = Story()
    healthy_looks(story, until=6.0)
    lost = following(
        io=IoState.CONNECTING,
        io_errno=2003,
        io_error="error reconnecting to source 'repl@192.168.80.170:3306' - retry-time: 60 retries: 1 "
        "message: Can't connect to MySQL server on '192.168.80.170:3306' (111)",
        seconds_behind=None,
    )
    for ago, attempts in ((5.0, 1), (4.0, 2), (0.0, 6)):
        story.look(
            ago,
            {
                "node1": bad(
                    "node1", ago, Reach.REFUSED, "refused",
                    "192.168.80.170:3306 refuses the connection", attempts=attempts,
                    hint="the host answers, the server process does not: look at its error log",
                ),
                "node2": good("node2", ago, server(2, replication=(lost,))),
            },
            shells={
                "node1": shell("node1", ago, process=ProcessState.NONE, pid=None),
                "node2": shell("node2", ago),
            },
            opinions=[
                Opinion(
                    kind=Witness.VIA_SSH, by="node2", about="node1", says=Says.LOST,
                    text="connection refused", at=WALL - ago, mono=MONO - ago,
                )
            ],
        )  # fmt: skip
    return story.state()


@kept
def split_brain() -> ClusterState:
    """Two writable nodes."""
    story = Story()
    healthy_looks(story, until=3.0)
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1, writes=130_000 - int(ago * 180))),
                "node2": good(
                    "node2", ago,
                    server(2, read_only=False, super_read_only=False, writes=900 - int(ago * 12)),
                ),
            },
        )  # fmt: skip
    return story.state()


@kept
def lagging() -> ClusterState:
    """node2 is 47 seconds behind."""
    story = Story()
    healthy_looks(story, until=3.0)
    behind = following(
        seconds_behind=47,
        read=BinlogPosition("binlog.000018", 1_135_140),
        executed=BinlogPosition("binlog.000017", 61_000_000),
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1)),
                "node2": good("node2", ago, server(2, replication=(behind,))),
            },
        )
    return story.state()


@kept
def sql_stopped() -> ClusterState:
    """node2's SQL thread hit an error."""
    story = Story()
    healthy_looks(story, until=3.0)
    broken = following(
        sql=False,
        seconds_behind=None,
        sql_errno=1062,
        sql_error="Could not execute Write_rows event on table pandora.tagente_datos; Duplicate entry '77' "
        "for key 'PRIMARY', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY",
        sql_state="",
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "node1": good("node1", ago, server(1)),
                "node2": good("node2", ago, server(2, replication=(broken,))),
            },
        )
    return story.state()


@kept
def resync_running() -> ClusterState:
    """node2 is being cloned."""
    story = Story(facts=replace(Story().facts, operation="clone of node2 from node1"))
    healthy_looks(story, until=300.0)
    story.look(
        0.0,
        {
            "node1": good("node1", 0.0, server(1)),
            "node2": bad(
                "node2", 0.0, Reach.REFUSED, "refused", "192.168.80.172:3306 refuses the connection"
            ),
        },
        syncs={"node2": Sync(state=SyncState.RUNNING, percent=43.2)},
    )
    operation = OperationView(
        id=12, kind="clone", title="resync of node2 from node1", state=OperationState.RUNNING, actor="carol",
        dry_run=False, cancellable=True, started_at=WALL - 95,
        steps=(
            StepView(name="preflight", title="preflight", state=StepState.DONE),
            StepView(
                name="copy", title="copy the data to node2", state=StepState.RUNNING, node="node2",
                progress=Progress(done=7.9e9, total=18.3e9, unit="bytes", rate=74e6, eta=140),
            ),
            StepView(name="start", title="start node2", state=StepState.WAITING),
        ),
    )  # fmt: skip
    return replace(story.state(), operation=operation)


@kept
def resync_failed() -> ClusterState:
    """The clone of node2 failed; node3 waits for its turn."""
    story = Story(count=3, facts=replace(Story().facts, failed_resync=("node2",)))
    healthy_looks(story, until=300.0)
    stopped = following(io=IoState.NO, sql=False, seconds_behind=None, io_state="", sql_state="")
    story.look(
        0.0,
        {
            "node1": good("node1", 0.0, server(1)),
            "node2": good("node2", 0.0, server(2, replication=(stopped,))),
            "node3": good("node3", 0.0, server(3, replication=(following(),))),
        },
        syncs={
            "node2": Sync(state=SyncState.FAILED, reason="rsync ended with status 12 after 3.2 GB"),
            "node3": Sync(state=SyncState.QUEUED),
        },
    )
    return story.state()


@kept
def unknown_values() -> ClusterState:
    """The worker has just started: one node not asked yet, the other tells next to nothing."""
    story = Story(facts=JournalFacts())
    bare = ServerFacts(flavor=Flavor.MARIADB, version="10.11.19-MariaDB", replication=None)
    seen = replace(
        good("node1", 0.0, bare),
        pandora=None,
        facts=bare,
        missing={
            "replication": "the account lacks REPLICATION CLIENT",
            "binlog": "the account lacks BINLOG MONITOR",
        },
    )
    story.look(0.0, {"node1": seen}, shells={})
    return story.state()


@kept
def nobody_answers() -> ClusterState:
    """Neither node can be reached."""
    story = Story()
    healthy_looks(story, until=90.0)
    story.look(
        0.0,
        {
            "node1": bad(
                "node1", 0.0, Reach.UNREACHABLE, "timeout", "192.168.80.170:3306 did not answer within 2 s"
            ),
            "node2": bad("node2", 0.0, Reach.UNREACHABLE, "no_route", "no route to 192.168.80.172"),
        },
        shells={
            "node1": shell(
                "node1", 0.0, state=SshState.DOWN, process=ProcessState.UNKNOWN, pid=None, failure="time-out"
            ),
            "node2": shell(
                "node2", 0.0, state=SshState.DOWN, process=ProcessState.UNKNOWN, pid=None, failure="no route"
            ),
        },
    )
    return story.state()


@kept
def master_full() -> ClusterState:
    """The master's connection table is full: alive, never a reason to fail over."""
    story = Story()
    healthy_looks(story, until=8.0)
    for ago in (2.0, 0.0):
        story.look(
            ago,
            {
                "node1": bad(
                    "node1", ago, Reach.IMPAIRED, "too_many_connections", "Too many connections", errno=1040,
                    hint="raise max_connections or find out who holds them",
                ),
                "node2": good("node2", ago, server(2, replication=(following(),))),
            },
        )  # fmt: skip
    return story.state()


@kept
def maintenance() -> ClusterState:
    """A person suspended automatic actions."""
    pause = Maintenance(until=WALL + 29 * 60, reason="kernel update", by="carol")
    story = Story(facts=replace(Story().facts, maintenance=pause))
    healthy_looks(story)
    return story.state()


NASTY = (
    "[bold red]x[/bold red] [/foo] \x1b[31mred\x1b[0m \x07 \u202eevil\u202c 中文字 e\u0301 👩‍👩‍👧 \ud800 end"
)


@kept
def nasty() -> ClusterState:
    """Text from servers that would be markup, escapes or worse if it were not plain."""
    story = Story(labels=("[/x]", "nö 中", "node3"))
    story.facts = replace(story.facts, master="[/x]", epoch_master="[/x]")
    broken = following(
        sql=False,
        seconds_behind=None,
        sql_errno=1064,
        sql_error=_encodable(NASTY),
        sql_state=_encodable(NASTY),
    )
    for ago in (1.0, 0.0):
        story.look(
            ago,
            {
                "[/x]": good("[/x]", ago, server(1, version="8.0[/]", version_comment=_encodable(NASTY))),
                "nö 中": good("nö 中", ago, server(2, replication=(broken,))),
            },
        )
    return story.state()


def _encodable(text: str) -> str:
    """Without the lone surrogate, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


STATES: dict[str, Callable[[], ClusterState]] = {
    "healthy": healthy,
    "three-nodes": three_nodes,
    "dead-master": dead_master,
    "split-brain": split_brain,
    "lagging": lagging,
    "sql-stopped": sql_stopped,
    "resync-running": resync_running,
    "resync-failed": resync_failed,
    "unknown": unknown_values,
    "nobody-answers": nobody_answers,
    "master-full": master_full,
    "maintenance": maintenance,
    "nasty": nasty,
}

"""The rows of ``status`` and ``nodes``: nothing that is only remembered is told as the present."""

from __future__ import annotations

import time
from dataclasses import replace

from support import console_states as states

from pfms_ha_tui.cli.report import HEADINGS, nodes_table
from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity
from pfms_ha_tui.worker.protocol import ClusterState


def rows(state: ClusterState) -> dict[str, dict[str, str]]:
    head, *lines = nodes_table(state)
    starts = [head.index(title) for title in HEADINGS]
    ends = [*starts[1:], None]
    cut = [[line[start:end].strip() for start, end in zip(starts, ends, strict=True)] for line in lines]
    return {cells[0]: dict(zip(HEADINGS, cells, strict=True)) for cells in cut}


def test_a_dead_master_was_master_and_its_resync_is_not_known() -> None:
    dead = rows(states.dead_master())["node1"]
    assert dead["ROLE"] == "was MASTER"
    assert dead["SYNC"] == "?"


def test_a_node_that_was_never_seen_is_not_called_ok() -> None:
    assert {row["SYNC"] for row in rows(states.nobody_answers()).values()} == {"?"}


def test_a_healthy_node_is() -> None:
    assert {row["SYNC"] for row in rows(states.healthy()).values()} == {"ok"}


def test_a_slave_whose_sql_thread_failed_is_broken_as_on_the_console() -> None:
    assert rows(states.sql_stopped())["node2"]["SYNC"] == "broken"


def test_a_diverged_node_says_so() -> None:
    state = states.healthy()
    finding = Finding(
        kind=DiagnosisKind.DIVERGED, severity=Severity.CRITICAL, node="node2", text="x", hint=None
    )
    state = replace(state, diagnosis=replace(state.diagnosis, findings=(finding,)))
    assert rows(state)["node2"]["SYNC"] == "diverged"


def test_a_slave_stands_where_it_has_applied_not_in_its_own_log() -> None:
    state = states.healthy()
    slave = next(node for node in state.snapshot.nodes if node.label == "node2")
    assert slave.replication is not None
    assert rows(state)["node2"]["POSITION"] == str(slave.replication.executed)


def test_a_node_that_fell_silent_a_moment_ago_is_not_there_now() -> None:
    state = states.dead_master()
    (dead,) = (node for node in state.snapshot.nodes if node.label == "node1")
    assert dead.last_good is not None
    just_seen = replace(dead, last_good=replace(dead.last_good, mono=time.monotonic() - 0.1))
    nodes = tuple(just_seen if node is dead else node for node in state.snapshot.nodes)
    state = replace(state, snapshot=replace(state.snapshot, nodes=nodes))
    assert rows(state)["node1"]["SEEN"] == "< 2 s ago"

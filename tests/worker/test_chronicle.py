"""Which lines the timeline gets: every change once, nothing at a tick that brings nothing new, no floods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfms_ha_tui.cluster.diagnosis import Diagnosis, DiagnosisKind, Finding, Severity
from pfms_ha_tui.cluster.observation import (
    Failure,
    Flavor,
    IoState,
    NodeObservation,
    Reach,
    Replication,
    ServerFacts,
    ShellObservation,
    SshState,
)
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot, Sync, SyncState
from pfms_ha_tui.worker import chronicle as module
from pfms_ha_tui.worker.chronicle import Chronicle
from pfms_ha_tui.worker.protocol import ClusterState

HEALTHY = Diagnosis(kind=DiagnosisKind.HEALTHY, severity=Severity.OK, text="all well", master="node1")
DEAD = Diagnosis(
    kind=DiagnosisKind.MASTER_DEAD,
    severity=Severity.CRITICAL,
    text="node1 is dead",
    master="node1",
    evidence=("refused 3 times", "node2 lost it too"),
)


def facts(*, uptime: int = 1000, replication: Replication | None = None) -> ServerFacts:
    return ServerFacts(
        flavor=Flavor.MARIADB,
        version="10.11",
        read_only=replication is not None,
        uptime=uptime,
        replication=() if replication is None else (replication,),
    )


def follows(io: IoState = IoState.YES, *, sql: bool = True, errno: int = 0) -> Replication:
    return Replication(source_host="h1", source_port=3306, io=io, sql=sql, io_errno=errno)


def node(
    label: str = "node1",
    *,
    mono: float = 1.0,
    reach: Reach = Reach.ALIVE,
    role: Role = Role.MASTER,
    server: ServerFacts | None = None,
    failure: str | None = None,
    ssh: SshState | None = None,
) -> NodeState:
    why = None if failure is None else Failure(kind=reach, code="x", text=failure)
    seen = NodeObservation(label=label, at=mono, mono=mono, reach=reach, failure=why, facts=server)
    return NodeState(
        label=label,
        host=label,
        port=3306,
        order=0,
        role=role,
        observation=seen,
        last_good=seen if server is not None else None,
        shell=None if ssh is None else ShellObservation(label=label, at=mono, mono=mono, state=ssh),
    )


def state(*nodes: NodeState, mono: float = 1.0, diagnosis: Diagnosis = HEALTHY) -> ClusterState:
    return ClusterState(
        name="c",
        mode=Mode.MANUAL,
        interval=1.0,
        snapshot=Snapshot(cluster="c", at=mono, mono=mono, nodes=nodes),
        diagnosis=diagnosis,
        readiness=Readiness(guards=(), candidate=None, sentence=""),
        roles_known=True,
        epoch=0,
    )


def kinds(chronicle: Chronicle, seen: ClusterState) -> list[str]:
    return [draft.kind for draft in chronicle.news(seen)]


def test_what_a_resync_does_to_its_node_is_told_calmly() -> None:
    chronicle = Chronicle()
    resync = Sync(state=SyncState.RUNNING)
    before = node("node2", role=Role.SLAVE, server=facts(replication=follows()))
    chronicle.news(state(before))
    down = replace(
        node("node2", role=Role.SLAVE, reach=Reach.REFUSED, failure="connection refused", mono=2), sync=resync
    )
    (told,) = chronicle.news(state(down, mono=2))
    assert (told.kind, told.severity) == ("node_refused", Severity.INFO)
    assert told.text == "node2 is down: connection refused (expected: it is being resynced)"
    up = node("node2", role=Role.SLAVE, server=facts(replication=follows()), mono=3)
    assert kinds(chronicle, state(replace(up, sync=resync), mono=3)) == ["node_alive"]
    again = node("node2", role=Role.SLAVE, reach=Reach.REFUSED, failure="connection refused", mono=4)
    (told,) = chronicle.news(state(again, mono=4))
    assert told.severity is Severity.CRITICAL


def test_a_healthy_start_is_one_line_and_the_same_again_is_none() -> None:
    chronicle = Chronicle()
    unknown = Diagnosis(kind=DiagnosisKind.UNKNOWN, severity=Severity.UNKNOWN, text="starting", master=None)
    unasked = NodeState(label="node2", host="node2", port=3306, order=1, role=Role.UNKNOWN)
    assert kinds(chronicle, state(unasked, diagnosis=unknown)) == []
    assert kinds(chronicle, state(node(server=facts()), unasked, diagnosis=unknown)) == []
    assert kinds(chronicle, state(node(server=facts(), ssh=SshState.UP))) == ["Healthy"]
    for second in range(2, 30):
        assert kinds(chronicle, state(node(server=facts(), mono=second, ssh=SshState.UP), mono=second)) == []


def test_a_change_of_reach_is_told_with_its_reason_and_once() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node(server=facts())))
    down = node(reach=Reach.REFUSED, failure="connection refused by 10.0.0.1:3306", mono=2)
    (told,) = chronicle.news(state(down, mono=2))
    assert (told.kind, told.node, told.severity) == ("node_refused", "node1", Severity.CRITICAL)
    assert told.text == "node1 is down: connection refused by 10.0.0.1:3306"
    assert kinds(chronicle, state(down, mono=3)) == []
    assert kinds(chronicle, state(node(server=facts(), mono=4), mono=4)) == ["node_alive"]


def test_a_node_that_is_down_from_the_start_is_told() -> None:
    assert "node_unreachable" in kinds(Chronicle(), state(node(reach=Reach.UNREACHABLE, failure="no route")))


def test_a_new_diagnosis_carries_its_evidence_and_a_new_text_alone_is_no_news() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node(server=facts())))
    (told,) = chronicle.news(state(node(server=facts()), diagnosis=DEAD))
    assert (told.kind, told.text, told.details) == (
        "MasterDead",
        "node1 is dead",
        "refused 3 times\nnode2 lost it too",
    )
    assert (
        kinds(chronicle, state(node(server=facts()), diagnosis=replace(DEAD, text="still dead, 5 s"))) == []
    )
    assert kinds(chronicle, state(node(server=facts()), diagnosis=replace(DEAD, master="node2"))) == [
        "MasterDead"
    ]


def test_replication_that_stops_and_starts_is_told_with_the_servers_error() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node("node2", role=Role.SLAVE, server=facts(replication=follows()))))
    lost = replace(follows(IoState.CONNECTING, errno=2003), io_error="error connecting to master")
    (told,) = chronicle.news(
        state(node("node2", role=Role.SLAVE, server=facts(replication=lost), mono=2), mono=2)
    )
    assert told.kind == "replication_stopped"
    assert told.text == "node2 lost its connection to the master (error 2003)"
    assert told.details == "error connecting to master"
    again = replace(lost, io=IoState.NO)
    assert kinds(chronicle, state(node("node2", role=Role.SLAVE, server=facts(replication=again)))) == []
    well = node("node2", role=Role.SLAVE, server=facts(replication=follows()), mono=3)
    assert kinds(chronicle, state(well, mono=3)) == ["replication_started"]


def test_a_broken_sql_thread_is_told_as_such() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node("node2", role=Role.SLAVE, server=facts(replication=follows()))))
    broken = replace(follows(sql=False), sql_errno=1062)
    (told,) = chronicle.news(state(node("node2", role=Role.SLAVE, server=facts(replication=broken))))
    assert told.text == "node2 does not apply: its SQL thread is stopped (error 1062)"


def test_role_restart_and_ssh_changes_are_told() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node(server=facts(uptime=1000), ssh=SshState.UP, mono=1)))
    changed = node(server=facts(uptime=3, replication=follows()), role=Role.SLAVE, ssh=SshState.DOWN, mono=10)
    assert kinds(chronicle, state(changed, mono=10)) == ["node_restarted", "role_changed", "ssh_down"]
    assert kinds(chronicle, state(replace(changed, shell=node(ssh=SshState.UP).shell), mono=11)) == ["ssh_up"]


def test_a_finding_is_told_when_it_comes_and_when_it_has_been_gone_for_a_while() -> None:
    chronicle = Chronicle()
    lag = Finding(
        kind=DiagnosisKind.SLAVE_LAGGING, severity=Severity.WARNING, node="node2", text="node2 is 40 s behind"
    )
    with_lag = replace(HEALTHY, findings=(lag,))
    chronicle.news(state(mono=0))
    assert kinds(chronicle, state(mono=1, diagnosis=with_lag)) == ["SlaveLagging"]
    assert kinds(chronicle, state(mono=2)) == [], "it may come back in a moment"
    assert kinds(chronicle, state(mono=3, diagnosis=with_lag)) == []
    assert kinds(chronicle, state(mono=4)) == []
    (over,) = chronicle.news(state(mono=4 + module.SETTLE))
    assert (over.kind, over.severity) == ("SlaveLagging", Severity.OK)


def about_node2(kind: DiagnosisKind) -> Finding:
    return Finding(kind=kind, severity=Severity.CRITICAL, node="node2", text=f"node2: {kind}")


@pytest.mark.parametrize(
    ("diagnosis", "seen"),
    [
        pytest.param(HEALTHY, node("node2", reach=Reach.REFUSED, failure="refused"), id="silent"),
        pytest.param(
            replace(HEALTHY, kind=DiagnosisKind.DIVERGED, findings=(about_node2(DiagnosisKind.DIVERGED),)),
            node("node2", server=facts()),
            id="now the verdict",
        ),
        pytest.param(
            replace(HEALTHY, findings=(about_node2(DiagnosisKind.OLD_MASTER_RETURNED),)),
            node("node2", server=facts()),
            id="covered by a worse one",
        ),
        pytest.param(
            replace(HEALTHY, kind=DiagnosisKind.SPLIT_BRAIN), node("node2", server=facts()), id="split-brain"
        ),
    ],
)
def test_a_finding_that_is_covered_or_cannot_be_judged_is_not_over(
    diagnosis: Diagnosis, seen: NodeState
) -> None:
    chronicle = Chronicle()
    alive = node("node2", server=facts())
    diverged = replace(HEALTHY, findings=(about_node2(DiagnosisKind.DIVERGED),))
    chronicle.news(state(alive, mono=0, diagnosis=diverged))
    for mono in (1, 2 + module.SETTLE, 30):
        told = chronicle.news(state(seen, mono=mono, diagnosis=diagnosis))
        assert not [draft.text for draft in told if draft.text.startswith("no longer")]
    chronicle.news(state(alive, mono=31))
    told = chronicle.news(state(alive, mono=32 + module.SETTLE))
    assert "Diverged" in [draft.kind for draft in told if draft.text.startswith("no longer")]


def test_what_flaps_is_told_a_few_times_and_then_counted() -> None:
    chronicle = Chronicle()
    told: list[str] = []
    chronicle.news(state(node(server=facts())))
    for second in range(1, 301):
        up = second % 2 == 0
        seen = (
            node(server=facts(), mono=second)
            if up
            else node(reach=Reach.REFUSED, failure="refused", mono=second)
        )
        told += [draft.text for draft in chronicle.news(state(seen, mono=float(second)))]
    assert len(told) < module.BURST * 5 + 10, "a flood"
    counted = [text for text in told if "more times" in text]
    assert len(counted) >= 3
    assert "now: node1" in counted[0]


def test_a_verdict_that_was_counted_and_is_over_is_not_told_as_the_present_one() -> None:
    chronicle = Chronicle()
    sick = replace(DEAD, kind=DiagnosisKind.MASTER_SUSPECT)
    for second in range(50):
        chronicle.news(state(mono=float(second), diagnosis=HEALTHY if second % 2 else sick))
    told = [
        draft
        for second in range(50, 200)
        for draft in chronicle.news(state(mono=float(second), diagnosis=DEAD))
        if "more times" in draft.text
    ]
    assert len(told) == 2
    assert {draft.kind for draft in told} == {module.FLAPPED}
    assert all("now:" not in draft.text for draft in told)


def test_another_thing_is_told_at_once_while_one_flaps() -> None:
    chronicle = Chronicle()
    chronicle.news(state(node(server=facts())))
    for second in range(1, 40):
        seen = node(server=facts(), mono=second) if second % 2 else node(reach=Reach.REFUSED, mono=second)
        chronicle.news(state(seen, mono=float(second)))
    told = chronicle.news(state(node(reach=Reach.REFUSED, mono=41), mono=41.0, diagnosis=DEAD))
    assert [draft.kind for draft in told] == ["MasterDead"]

"""What is not known never counts as good: take any one input away, and nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.lab import Lab

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.decision import Action, decide
from pfms_ha_tui.cluster.evidence import matrix
from pfms_ha_tui.cluster.guards import readiness
from pfms_ha_tui.cluster.judge import ACTIONABLE, diagnose
from pfms_ha_tui.cluster.learning import learn
from pfms_ha_tui.cluster.observation import (
    EpochRecord,
    Failure,
    Flavor,
    IoState,
    NodeObservation,
    Opinion,
    PandoraFacts,
    ProcessState,
    Reach,
    Replication,
    Says,
    ServerFacts,
    ShellObservation,
    SlaveSeen,
    SshState,
    Witness,
)
from pfms_ha_tui.cluster.permits import (
    why_not_failover,
    why_not_rejoin,
    why_not_reopen,
    why_not_resync,
    why_not_switchover,
)
from pfms_ha_tui.cluster.policy import Mode, OnIsolation, Policy
from pfms_ha_tui.cluster.snapshot import JournalFacts, NodeState, Role, Snapshot, Sync

Without = Callable[[NodeState], NodeState]


def dead() -> Lab:
    lab = Lab().settle()
    lab.kill("node1")
    lab.ticks(2, 0.1)
    return lab


def with_node(lab: Lab, label: str, changed: Without) -> list[Snapshot]:
    """The history with one node of the newest snapshot changed."""
    nodes = tuple(changed(node) if node.label == label else node for node in lab.snapshot.nodes)
    return [*lab.history[:-1], replace(lab.snapshot, nodes=nodes)]


def action(history: list[Snapshot], lab: Lab) -> Action:
    diagnosis = diagnose(history, lab.policy, lab.facts)
    ready = readiness(history, diagnosis, lab.policy, lab.facts)
    return decide(history, diagnosis, ready, lab.policy, lab.facts).action


def without_fact(name: str) -> Without:
    nothing: dict[str, object] = {name: None}

    def apply(node: NodeState) -> NodeState:
        assert node.observation is not None
        assert node.observation.facts is not None
        seen = replace(node.observation, facts=replace(node.observation.facts, **nothing))  # type: ignore[arg-type]
        return replace(node, observation=seen, last_good=seen)

    return apply


def without_channel(name: str, value: object = None) -> Without:
    def apply(node: NodeState) -> NodeState:
        assert node.observation is not None
        assert node.observation.facts is not None
        assert node.observation.facts.replication is not None
        channel = replace(node.observation.facts.replication[0], **{name: value})  # type: ignore[arg-type]
        facts = replace(node.observation.facts, replication=(channel,))
        seen = replace(node.observation, facts=facts)
        return replace(node, observation=seen, last_good=seen)

    return apply


def test_the_situation_itself_is_a_failover() -> None:
    lab = dead()
    assert action(lab.history, lab) is Action.FAILOVER


@pytest.mark.parametrize(
    ("label", "without"),
    [
        pytest.param("node1", lambda node: replace(node, observation=None), id="master: probe"),
        pytest.param("node1", lambda node: replace(node, shell=None), id="master: ssh"),
        pytest.param("node1", lambda node: replace(node, reach_since=None), id="master: since when refused"),
        pytest.param("node2", lambda node: replace(node, observation=None), id="slave: probe"),
        pytest.param("node2", lambda node: replace(node, streaming_at_fault=None), id="slave: streaming"),
        pytest.param(
            "node2", lambda node: replace(node, streaming_at_fault=False), id="slave: not streaming"
        ),
        pytest.param("node2", lambda node: replace(node, streamed_lag=None), id="slave: lag"),
        pytest.param("node2", lambda node: replace(node, answered_at=None), id="slave: last answer"),
        pytest.param("node2", without_fact("read_only"), id="slave: read-only"),
        pytest.param("node2", without_fact("log_bin"), id="slave: binary log"),
        pytest.param("node2", without_fact("replication"), id="slave: replication"),
        pytest.param("node2", without_channel("read"), id="slave: received"),
        pytest.param("node2", without_channel("executed"), id="slave: applied"),
        pytest.param("node2", without_channel("sql", False), id="slave: sql thread"),
        pytest.param("node2", lambda node: replace(node, source=None), id="slave: source"),
    ],
)
def test_without_any_one_of_them_nothing_is_done(label: str, without: Without) -> None:
    lab = dead()
    assert action(with_node(lab, label, without), lab) is Action.NONE


@pytest.mark.parametrize(
    "facts",
    [
        {"roles_known": False},
        {"master": None},
        {"master": "node2"},
        {"preflight_at": None},
        {"preflight": ("anything",)},
        {"operation": "anything"},
        {"rival_manager": "anything"},
        {"ledger_fault": "anything"},
        {"failed_resync": ("node2",)},
    ],
)
def test_without_any_fact_of_the_journal_nothing_is_done(facts: dict[str, object]) -> None:
    lab = dead()
    lab.facts = replace(lab.facts, **facts)  # type: ignore[arg-type]
    assert action(lab.history, lab) is Action.NONE


LABELS = ("node1", "node2", "node3")
maybe_time = st.none() | st.floats(900, 1010, allow_nan=False)
texts = st.text(max_size=12)
positions = st.none() | st.builds(
    BinlogPosition,
    file=st.sampled_from(["binlog.000001", "binlog.1000000", "mysql-bin.000002", "", "nonsense"]),
    pos=st.integers(0, 9),
)
channels = st.builds(
    Replication,
    source_host=st.sampled_from(["10.0.0.1", "10.0.0.2", "db1", "8.8.8.8", ""]),
    source_port=st.sampled_from([3306, 3307]),
    io=st.sampled_from(list(IoState)),
    sql=st.booleans(),
    source_server_id=st.none() | st.integers(1, 3),
    source_uuid=st.none() | st.sampled_from(["a", "b"]),
    seconds_behind=st.none() | st.integers(0, 90),
    read=positions,
    executed=positions,
    io_errno=st.sampled_from([0, 2003, 1045, 1236]),
    io_error=texts,
    sql_errno=st.sampled_from([0, 1062]),
    sql_error=texts,
    gtid=st.booleans(),
    sql_delay=st.sampled_from([0, 60]),
)
servers = st.builds(
    ServerFacts,
    flavor=st.sampled_from(list(Flavor)),
    version=st.sampled_from(["10.11.6-MariaDB", "8.0.30-22", "", "9", "x.y"]),
    server_id=st.none() | st.integers(1, 3),
    server_uuid=st.none() | st.sampled_from(["a", "b"]),
    hostname=st.none() | st.sampled_from(["db1", "db1.example.org", "localhost", ""]),
    report_host=st.none() | st.just("db2"),
    read_only=st.none() | st.booleans(),
    binlog=positions,
    binlog_sizes=st.dictionaries(st.sampled_from(["binlog.000001", "x"]), st.integers(0, 9), max_size=2),
    log_bin=st.none() | st.booleans(),
    gtid_mode=st.none() | st.booleans(),
    gtid_executed=st.none() | st.sampled_from(["", "0-1-5", "0-2-9", "nonsense"]),
    replication=st.none() | st.lists(channels, max_size=2).map(tuple),
    slaves=st.lists(st.builds(SlaveSeen, server_id=st.integers(1, 3)), max_size=2).map(tuple),
    uptime=st.none() | st.integers(0, 99),
    clock=st.none() | st.floats(0, 2e9, allow_nan=False),
    writes=st.none() | st.integers(0, 99),
    variables=st.dictionaries(
        st.sampled_from(["binlog_format", "log_slave_updates"]), st.sampled_from(["ROW", "STATEMENT"])
    ),
)
pandora = st.builds(
    PandoraFacts,
    schema_release=st.none() | st.just("MR 60"),
    newest_keepalive=maybe_time,
    epoch=st.none()
    | st.builds(
        EpochRecord,
        epoch=st.integers(0, 4),
        master=st.sampled_from([*LABELS, "elsewhere"]),
        worker=texts,
        at=st.just(0.0),
    ),
    disabled_hosts=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=2).map(tuple),
)
failures = st.builds(
    Failure, kind=st.sampled_from(list(Reach)), code=texts, text=texts, hint=st.none() | texts
)
times = st.floats(900, 1000, allow_nan=False)


def observations(label: str) -> st.SearchStrategy[NodeObservation]:
    return st.builds(
        NodeObservation,
        label=st.just(label),
        at=times,
        mono=times,
        reach=st.sampled_from(list(Reach)),
        latency=st.none() | st.floats(0, 9, allow_nan=False),
        failure=st.none() | failures,
        facts=st.none() | servers,
        pandora=st.none() | pandora,
        missing=st.dictionaries(st.sampled_from(["epoch", "replication", "read_only"]), texts, max_size=1),
        attempts=st.integers(1, 5),
    )


def states(number: int) -> st.SearchStrategy[NodeState]:
    label = LABELS[number]
    seen = st.none() | observations(label)
    return st.builds(
        NodeState,
        label=st.just(label),
        host=st.just(f"10.0.0.{number + 1}"),
        port=st.just(3306),
        order=st.just(number),
        role=st.sampled_from(list(Role)),
        observation=seen,
        last_good=seen,
        pandora_seen=seen,
        shell=st.none()
        | st.builds(
            ShellObservation,
            label=st.just(label),
            at=times,
            mono=times,
            state=st.sampled_from(list(SshState)),
            process=st.sampled_from(list(ProcessState)),
            failure=st.none() | texts,
            can_fence=st.none() | st.booleans(),
        ),
        reach_since=maybe_time,
        disabled=st.booleans(),
        source=st.none() | st.sampled_from([one for one in LABELS if one != label]),
        sync=st.builds(Sync),
        streaming_at_fault=st.none() | st.booleans(),
        answered_at=maybe_time,
        standing_since=maybe_time,
        fault_since=maybe_time,
        seen_at=maybe_time,
        streamed_at=maybe_time,
        stream_lost_at=maybe_time,
        streamed_lag=st.none() | st.integers(0, 90),
        restarted_readonly=st.booleans(),
    )


opinions = st.builds(
    Opinion,
    kind=st.sampled_from(list(Witness)),
    by=st.sampled_from([*LABELS, "gateway"]),
    about=st.sampled_from([*LABELS, ""]),
    says=st.sampled_from(list(Says)),
    text=texts,
    at=times,
    mono=times,
)
snapshots = st.builds(
    Snapshot,
    cluster=st.just("pandora"),
    at=times,
    mono=times,
    nodes=st.tuples(states(0), states(1)) | st.tuples(states(0), states(1), states(2)),
    opinions=st.lists(opinions, max_size=4).map(tuple),
)
policies = st.builds(
    Policy,
    mode=st.sampled_from(list(Mode)),
    isolation_hold=st.sampled_from([0.0, 60.0]),
    on_isolation=st.sampled_from(list(OnIsolation)),
    require_fencing=st.booleans(),
    splitbrain_autofix=st.booleans(),
    witnesses=st.integers(0, 2),
)
journals = st.builds(
    JournalFacts,
    epoch=st.integers(0, 4),
    epoch_master=st.none() | st.sampled_from(LABELS),
    roles_known=st.booleans(),
    master=st.none() | st.sampled_from([*LABELS, "elsewhere"]),
    last_failover_at=maybe_time,
    operation=st.none() | texts,
    failed_resync=st.lists(st.sampled_from(LABELS), max_size=1).map(tuple),
    diverged=st.dictionaries(st.sampled_from(LABELS), texts, max_size=1),
    preflight_at=maybe_time,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(snapshots, min_size=1, max_size=3), policy=policies, facts=journals)
def test_no_picture_however_odd_breaks_the_judgement(
    history: list[Snapshot], policy: Policy, facts: JournalFacts
) -> None:
    diagnosis = diagnose(history, policy, facts)
    ready = readiness(history, diagnosis, policy, facts)
    decision = decide(history, diagnosis, ready, policy, facts)
    learn(history[-1], diagnosis, facts, policy)
    matrix(history[-1], history[-1].mono, policy)
    for label in LABELS:
        why_not_switchover(label, history, diagnosis, policy, facts)
        why_not_failover(history, diagnosis, policy, facts, target=label)
        why_not_resync(label, history, diagnosis, policy, facts)
        why_not_rejoin(label, history, diagnosis, policy, facts)
        why_not_reopen(label, history, policy, facts)
    for text in (diagnosis.text, *(one.text for one in diagnosis.findings)):
        assert text
        assert text == " ".join(text.split())
    if decision.action is not Action.NONE:
        assert policy.mode is Mode.AUTOMATIC
        assert facts.operation is None
        assert history[-1].node(decision.target or "") is not None
    if decision.action is Action.FAILOVER:
        master = history[-1].node(diagnosis.master or "")
        assert diagnosis.kind in ACTIONABLE
        assert ready.ready
        assert master is not None
        assert not master.answers

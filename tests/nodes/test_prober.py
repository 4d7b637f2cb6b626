"""The watching thread, against servers that misbehave on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakeserver import Behaviour, FakeServer, Refusal, eventually
from support.nodekit import Recorder, fake_cluster

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import NodeObservation, Reach
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.config.settings import ClusterSettings, Timeouts
from pfms_ha_tui.nodes import prober as prober_module
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.probe import Probe
from pfms_ha_tui.nodes.prober import NodeProber


@contextmanager
def probing(
    cluster: ClusterSettings, index: int = 0, **options: bool
) -> Iterator[tuple[NodeProber, Recorder]]:
    recorder = Recorder()
    prober = NodeProber(cluster.nodes[index], cluster, recorder, **options)
    prober.start()
    try:
        yield prober, recorder
    finally:
        assert prober.stop(10.0), "the prober did not stop"


def alive(observation: NodeObservation) -> bool:
    return observation.reach is Reach.ALIVE


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is reported sooner, so that the tests are quick."""
    monkeypatch.setattr(prober_module, "SILENCE", 0.3)
    monkeypatch.setattr(prober_module, "_REPORT_GAP", 0.2)


def test_a_healthy_node_is_read_whole_in_one_round_trip() -> None:
    with FakeServer() as server, probing(fake_cluster(server.port)) as (_, recorder):
        seen = recorder.wait_for(alive)
        assert seen.round_trips == 1
        assert seen.latency is not None
        assert seen.missing == {}
        facts = seen.facts
        assert facts is not None
        assert facts.version == "10.11.19-MariaDB"
        assert facts.binlog == BinlogPosition("binlog.000002", 328)
        assert facts.read_only is False
        assert facts.writes == 42
        assert facts.uptime == 1000
        assert facts.clock == 1_800_000_000.25
        assert facts.max_connections == 200
        assert facts.replication is not None
        assert facts.replication[0].source_host == "10.0.0.1"
        assert seen.pandora is not None
        assert seen.pandora.schema_release == "MR 60"
        later = recorder.wait_for(alive, after=1)
        assert later.pandora is None, "Pandora's tables are read on a slower beat"
        assert later.facts is not None
        assert later.facts.max_connections == 200, "what changes rarely is kept"


def test_refusals_are_counted_in_quick_succession() -> None:
    with FakeServer() as server:
        port = server.port
    with probing(fake_cluster(port, policy=Policy(interval=5.0))) as (_, recorder):
        second = recorder.wait_for(lambda seen: seen.attempts == 2)
        first = recorder.seen[0]
        assert (first.reach, first.attempts) == (Reach.REFUSED, 1)
        assert second.reach is Reach.REFUSED
        assert 0.09 <= second.mono - first.mono < 4.0


def test_a_dying_server_is_noticed_between_two_ticks() -> None:
    server = FakeServer()
    server.__enter__()
    with probing(fake_cluster(server.port, policy=Policy(interval=600.0))) as (_, recorder):
        recorder.wait_for(alive)
        server.close()
        recorder.wait_for(lambda seen: seen.reach is Reach.REFUSED and seen.attempts >= 2)


def test_a_killed_session_is_not_a_dead_server() -> None:
    with (
        FakeServer() as server,
        probing(fake_cluster(server.port, policy=Policy(interval=600.0))) as (_, recorder),
    ):
        recorder.wait_for(alive)
        server.drop()
        recorder.wait_for(alive, after=1)
        assert {seen.reach for seen in recorder.seen} == {Reach.ALIVE}


def test_a_server_that_does_not_greet_is_reported_again_and_again_over_one_connection() -> None:
    behaviour = Behaviour(silent=True)
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        third = recorder.wait_for(lambda seen: seen.attempts == 3)
        assert third.reach is Reach.HUNG
        assert third.failure is not None
        assert third.failure.code == "no_greeting"
        assert server.connections == 1
        behaviour.silent = False
        recorder.wait_for(alive)


def test_a_frozen_server_is_reported_hung_and_found_again_when_it_wakes() -> None:
    behaviour = Behaviour()
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_for(alive)
        behaviour.silent = True
        behaviour.stuck = {"SELECT"}
        hung = recorder.wait_for(lambda seen: seen.reach is Reach.HUNG and seen.attempts >= 3)
        assert hung.facts is None
        assert server.connections <= 2, "a frozen server's queue must not be filled"
        behaviour.silent = False
        behaviour.stuck = set()
        recorder.wait_for(alive, after=recorder.seen.index(hung))


def test_one_stuck_question_does_not_make_a_living_server_hung() -> None:
    """RESET MASTER holds SHOW MASTER STATUS up for minutes; the server is well otherwise."""
    behaviour = Behaviour()
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_for(alive)
        behaviour.stuck = {"MASTER STATUS"}
        seen = recorder.wait_for(lambda seen: alive(seen) and "binlog" in seen.missing)
        assert "did not answer" in seen.missing["binlog"]
        assert seen.facts is not None
        assert seen.facts.binlog is None
        assert seen.facts.replication is not None
        assert "KILL 1" in behaviour.statements, "no session is left behind"
        recorder.wait_for(lambda later: alive(later) and later.attempts > seen.attempts + 2)


def test_a_session_left_before_a_restart_is_not_killed_its_number_may_be_somebody_elses() -> None:
    behaviour = Behaviour()
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_for(alive)
        behaviour.answers["SHOW GLOBAL STATUS"] = (("Variable_name", "Value"), [("Uptime", "0")])
        behaviour.stuck = {"MASTER STATUS"}
        recorder.wait_for(lambda seen: alive(seen) and "binlog" in seen.missing)
        assert not any(sql.startswith("KILL") for sql in behaviour.statements)


@pytest.mark.parametrize(
    ("part", "fact", "grant"),
    [
        ("SLAVES STATUS", "replication", "REPLICA MONITOR"),
        ("MASTER STATUS", "binlog", "BINLOG MONITOR"),
        ("BINARY LOGS", "binlog_sizes", "BINLOG MONITOR"),
        ("SLAVE HOSTS", "slaves", "REPLICATION MASTER ADMIN"),
        ("tconfig", "pandora", "SELECT"),
        ("SHOW GLOBAL VARIABLES", "variables", ""),
        ("SHOW GLOBAL STATUS", "status", ""),
    ],
)
def test_a_missing_privilege_costs_one_fact_and_one_round_trip_once(part: str, fact: str, grant: str) -> None:
    behaviour = Behaviour(refused={part: Refusal(1227, "Access denied; you need some privilege")})
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        first = recorder.wait_for(alive)
        assert set(first.missing) == {fact}
        assert grant in first.missing[fact]
        assert first.round_trips == 2
        later = recorder.wait_for(lambda seen: seen.attempts >= 3)
        assert later.round_trips == 1
        assert set(later.missing) == {fact}
        facts = later.facts
        assert facts is not None
        assert (facts.replication is None) == (fact == "replication")
        assert (facts.binlog is None) == (fact == "binlog")
        assert facts.read_only is False


def test_everything_denied_still_says_alive() -> None:
    behaviour = Behaviour(refused={"SHOW": Refusal(1227, "no"), "FROM": Refusal(1142, "no")})
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        seen = recorder.wait_for(alive)
        assert seen.facts is not None
        assert seen.facts.server_id == 7
        assert seen.facts.replication is None
        assert seen.pandora is None


@pytest.mark.parametrize(
    ("behaviour", "reach", "code"),
    [
        (
            Behaviour(greeting_error=Refusal(1040, "Too many connections")),
            Reach.IMPAIRED,
            "too_many_connections",
        ),
        (Behaviour(login_error=Refusal(1045, "Access denied")), Reach.IMPAIRED, "access_denied"),
        (
            Behaviour(refused={"AS clock": Refusal(1820, "You must reset your password")}),
            Reach.IMPAIRED,
            "access_denied",
        ),
        (Behaviour(garbage=b"220 smtp ready\r\n"), Reach.FAULT, "protocol"),
        (Behaviour(hang_up=True), Reach.HUNG, "closed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_each_trouble_is_reported_for_what_it_is(behaviour: Behaviour, reach: Reach, code: str) -> None:
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        second = recorder.wait_for(lambda seen: seen.attempts == 2)
        assert second.failure is not None
        assert (second.reach, second.failure.code) == (reach, code)


def test_a_node_is_found_again_after_its_trouble() -> None:
    behaviour = Behaviour(greeting_error=Refusal(1040, "Too many connections"))
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_reach(Reach.IMPAIRED)
        behaviour.greeting_error = None
        recorder.wait_for(alive)


def test_a_kick_probes_at_once() -> None:
    with (
        FakeServer() as server,
        probing(fake_cluster(server.port, policy=Policy(interval=600.0))) as (prober, recorder),
    ):
        recorder.wait_for(alive)
        prober.kick()
        recorder.wait_for(alive, after=1)


def test_stopping_does_not_wait_for_a_hung_node() -> None:
    behaviour = Behaviour()
    timeouts = Timeouts(connect=60.0, read=60.0, statement=60.0)
    with FakeServer(behaviour) as server:
        with probing(fake_cluster(server.port, timeouts=timeouts)) as (_, recorder):
            recorder.wait_for(alive)
            behaviour.silent = True
            behaviour.stuck = {"SELECT"}
            recorder.wait_reach(Reach.HUNG)
        with probing(fake_cluster(server.port, timeouts=timeouts)) as (_, recorder):
            recorder.wait_reach(Reach.HUNG)
    names = {thread.name for thread in threading.enumerate()}
    assert "prober node1" not in names


def test_stopping_ends_a_login_that_hangs() -> None:
    """The greeting came, the rest of the login does not."""
    behaviour = Behaviour(stuck={"SET"})
    timeouts = Timeouts(connect=60.0, read=60.0, statement=60.0)
    with FakeServer(behaviour) as server:
        recorder = Recorder()
        cluster = fake_cluster(server.port, timeouts=timeouts)
        prober = NodeProber(cluster.nodes[0], cluster, recorder)
        prober.start()
        assert eventually(lambda: behaviour.logins == 1)
        assert prober.stop(10.0)
        assert recorder.seen == []


def test_a_callback_that_fails_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[NodeObservation] = []

    def broken(observation: NodeObservation) -> None:
        calls.append(observation)
        raise RuntimeError("not taken")

    with FakeServer() as server:
        cluster = fake_cluster(server.port)
        prober = NodeProber(cluster.nodes[0], cluster, broken)
        prober.start()
        assert eventually(lambda: len(calls) >= 3)
        assert prober.stop(10.0)
    assert "was not taken" in caplog.text


def test_a_hung_node_leaves_the_others_in_time() -> None:
    frozen = Behaviour()
    with FakeServer(frozen) as bad, FakeServer() as good:
        cluster = fake_cluster(bad.port, good.port)
        with probing(cluster, 0) as (_, sick), probing(cluster, 1) as (_, well):
            sick.wait_for(alive)
            frozen.silent = True
            frozen.stuck = {"SELECT"}
            sick.wait_reach(Reach.HUNG)
            start = well.count
            time.sleep(2.0)
            taken = well.count - start
            assert taken >= 10, "20 probes fit into two seconds"
            assert all(seen.reach is Reach.ALIVE for seen in well.seen)


def test_a_wrong_greeting_gives_way_to_what_the_server_says_of_itself() -> None:
    """A proxy greets with a version of its own."""
    behaviour = Behaviour(version="5.7.0-proxy")
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_for(
            lambda seen: seen.facts is not None and seen.facts.flavor == "mariadb" and seen.attempts > 1
        )
        assert any("SHOW ALL SLAVES STATUS" in sql for sql in behaviour.statements)


def test_a_writable_node_is_asked_to_write_and_a_full_disk_is_an_impairment() -> None:
    behaviour = Behaviour(refused={"UPDATE tconfig": Refusal(1114, "The table 'tconfig' is full")})
    with (
        FakeServer(behaviour) as server,
        probing(fake_cluster(server.port), write_probe=True) as (_, recorder),
    ):
        seen = recorder.wait_reach(Reach.IMPAIRED)
        assert seen.failure is not None
        assert seen.failure.code == "write_probe"
        assert seen.facts is not None, "it still answers, and its facts count"


def test_a_write_that_never_ends_is_an_impairment_and_the_probes_go_on() -> None:
    behaviour = Behaviour(stuck={"UPDATE tconfig"})
    hasty = Timeouts(connect=1.0, read=0.3, statement=0.3)
    with FakeServer(behaviour) as server:
        cluster = fake_cluster(server.port, timeouts=hasty)
        with probing(cluster, write_probe=True) as (_, recorder):
            seen = recorder.wait_reach(Reach.IMPAIRED)
            assert seen.failure is not None
            assert seen.failure.code == "write_probe"
            recorder.wait_for(lambda later: later.reach is Reach.IMPAIRED and later.attempts >= 3)
            assert eventually(lambda: any(sql.startswith("KILL") for sql in behaviour.statements))


def test_a_missing_table_is_our_lack_not_the_nodes_impairment() -> None:
    behaviour = Behaviour(refused={"UPDATE tconfig": Refusal(1146, "Table doesn't exist")})
    with (
        FakeServer(behaviour) as server,
        probing(fake_cluster(server.port), write_probe=True) as (_, recorder),
    ):
        recorder.wait_for(lambda seen: "write_probe" in seen.missing)
        assert all(seen.reach is Reach.ALIVE for seen in recorder.seen)


def test_nobody_writes_to_a_read_only_node_or_unasked() -> None:
    read_only = Behaviour()
    columns = ("clock", "server_id", "read_only", "connection_id", "super_read_only", "gtid_executed")
    read_only.answers = {"AS clock": (columns, [("1.5", 7, 1, 1, None, "")])}
    unasked = Behaviour()
    with FakeServer(read_only) as first, FakeServer(unasked) as second:
        cluster = fake_cluster(first.port, second.port)
        with probing(cluster, 0, write_probe=True) as (_, one), probing(cluster, 1) as (_, two):
            one.wait_for(lambda seen: seen.attempts >= 3)
            two.wait_for(lambda seen: seen.attempts >= 3)
    for behaviour in (read_only, unasked):
        assert not any("tconfig" in sql and not sql.startswith("SELECT") for sql in behaviour.statements)


def test_a_node_that_comes_back_is_not_written_to_before_somebody_says_so() -> None:
    behaviour = Behaviour()
    with FakeServer(behaviour) as server:
        cluster = fake_cluster(server.port)
        with probing(cluster, write_probe=True) as (prober, recorder):
            assert eventually(lambda: any("tconfig SET" in sql for sql in behaviour.statements))
            behaviour.greeting_error = Refusal(1040, "Too many connections")
            server.drop()
            recorder.wait_reach(Reach.IMPAIRED)
            assert prober.write_probe is False


@pytest.mark.parametrize(
    "answers",
    [
        {"AS clock": (("clock",), [])},
        {"AS clock": (("something", "else"), [("1", "2")])},
        {"SHOW GLOBAL STATUS": (("a", "b"), [("x", "y")])},
        {"SLAVES STATUS": (("Master_Host", "Master_Port"), [("m", "not a number")])},
        {"MASTER STATUS": (("File", "Position"), [("no number at all", "x")])},
        {"tdatabase": (("host",), [(None,)])},
        {"SHOW GLOBAL VARIABLES": (("Variable_name", "Value"), [("version", "\x1b[31mnonsense")])},
    ],
    ids=str,
)
def test_answers_that_make_no_sense_never_end_the_watch(answers: dict[str, object]) -> None:
    behaviour = Behaviour(answers=answers)  # type: ignore[arg-type]
    with FakeServer(behaviour) as server, probing(fake_cluster(server.port)) as (_, recorder):
        recorder.wait_for(lambda seen: seen.attempts >= 2)
        behaviour.answers = {}
        recorder.wait_for(alive, after=recorder.count)


@given(st.binary(min_size=1, max_size=60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_bytes_of_any_kind_are_only_ever_a_judgement(noise: bytes, later: bool) -> None:
    behaviour = Behaviour(garbage_answer=noise) if later else Behaviour(garbage=noise)
    hasty = Timeouts(connect=1.0, read=0.2, statement=0.2)
    with FakeServer(behaviour) as server:
        cluster = fake_cluster(server.port, timeouts=hasty)
        with (
            pytest.raises(SqlError) as caught,
            SqlSession.open(cluster.nodes[0], cluster, several=True) as session,
        ):
            Probe(session, cluster).ask(lambda _: None)
        assert caught.value.failure.text.isprintable()

"""The watching thread on real servers, and the faults it is there for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.nodekit import Recorder, sandbox_cluster

from pfms_ha_tui.cluster.observation import NodeObservation, Reach
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.config.settings import Account, ClusterSettings
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.nodes import probe as probe_module
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.prober import NodeProber
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions


@contextmanager
def probing(cluster: ClusterSettings, index: int = 0, *, write_probe: bool = False) -> Iterator[Recorder]:
    recorder = Recorder()
    prober = NodeProber(cluster.nodes[index], cluster, recorder, write_probe=write_probe)
    prober.start()
    try:
        yield recorder
    finally:
        assert prober.stop(10.0), "the prober did not stop"


def fill(cluster: ClusterSettings, account: Account, held: list[SqlSession]) -> None:
    """Take connections of the second node until there are no more."""
    while len(held) < 40:
        held.append(SqlSession.open(cluster.nodes[1], cluster, account=account))


def alive(observation: NodeObservation) -> bool:
    return observation.reach is Reach.ALIVE


@pytest.fixture
async def own_sandbox(
    flavor: Flavor, sandbox_factory: Callable[[SandboxOptions], Awaitable[Sandbox]]
) -> Sandbox:
    return await sandbox_factory(SandboxOptions(flavor=flavor, rows=200, writer=False))


def test_master_and_slave_are_read_whole(shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "SLOW_BEAT", 0.2)
    cluster = sandbox_cluster(shared_sandbox)
    with probing(cluster, 0) as master, probing(cluster, 1) as slave:
        first = master.wait_for(lambda seen: bool(seen.pandora and seen.facts and seen.facts.slaves))
        assert first.missing == {}
        assert first.round_trips == 1
        facts = first.facts
        assert facts is not None
        assert facts.read_only is False
        assert facts.replication == ()
        assert [one.server_id for one in facts.slaves] == [2]
        assert facts.binlog is not None
        assert facts.binlog.file in facts.binlog_sizes
        assert facts.log_bin is True
        assert facts.datadir == f"{shared_sandbox.nodes[0].datadir}/"
        assert facts.clock is not None
        assert abs(facts.clock - first.at) < 5.0
        assert first.pandora is not None
        assert first.pandora.schema_release is not None
        assert first.pandora.servers
        assert set(first.pandora.labels.values()) == {"node1", "node2"}

        second = slave.wait_for(
            lambda seen: bool(seen.facts and seen.facts.replication and seen.facts.replication[0].io == "Yes")
        )
        assert second.facts is not None
        assert second.facts.read_only is True
        assert second.facts.replication is not None
        channel = second.facts.replication[0]
        assert channel.source_host == cluster.nodes[0].host
        assert channel.source_server_id == 1
        assert channel.sql
        before = facts.binlog
        grown = master.wait_for(
            lambda seen: bool(seen.facts and seen.facts.binlog and seen.facts.binlog > before)
        )
        assert grown.facts is not None
        assert grown.facts.writes is not None
        assert facts.writes is not None
        assert grown.facts.writes > facts.writes


def test_a_wrong_password_is_reported_as_alive_but_impaired(shared_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(shared_sandbox)
    wrong = replace(cluster, admin=Account(user="root", password=Secret("wr0ng-secret")))
    with probing(wrong) as recorder:
        seen = recorder.wait_for(lambda seen: seen.attempts == 2)
    assert seen.reach is Reach.IMPAIRED
    assert seen.failure is not None
    assert (seen.failure.code, seen.failure.errno) == ("access_denied", 1045)


def test_an_account_with_few_privileges_costs_facts_not_the_node(shared_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(shared_sandbox)
    poor = Account(user="poor", password=Secret("poor-secret-1"))
    with SqlSession.open(cluster.nodes[0], cluster) as session:
        session.execute("CREATE USER poor IDENTIFIED BY %s", (poor.password.reveal(),))
    try:
        with probing(replace(cluster, admin=poor)) as recorder:
            seen = recorder.wait_for(alive)
            assert {"replication", "binlog", "binlog_sizes", "pandora", "pandora_servers"} <= set(
                seen.missing
            )
            assert "REPLICATION CLIENT" in seen.missing["replication"]
            assert seen.facts is not None
            assert seen.facts.server_id == 1
            assert seen.facts.read_only is False
            assert seen.facts.replication is None
            assert recorder.wait_for(lambda later: later.attempts == 3).round_trips == 1
    finally:
        with SqlSession.open(cluster.nodes[0], cluster) as session:
            session.execute("DROP USER poor")


def test_a_full_connection_table_is_an_impairment_for_newcomers_and_none_for_an_open_watch(
    shared_sandbox: Sandbox,
) -> None:
    cluster = sandbox_cluster(shared_sandbox)
    filler = Account(user="filler", password=Secret("filler-secret-1"))
    with SqlSession.open(cluster.nodes[1], cluster) as session, probing(cluster, 1) as watching:
        for statement in session.dialect.set_read_only(False):
            session.execute(statement)
        session.execute("CREATE USER filler IDENTIFIED BY %s", (filler.password.reveal(),))
        limit = session.query("SELECT @@GLOBAL.max_connections AS n")[0]["n"]
        watching.wait_for(alive)
        held: list[SqlSession] = []
        try:
            session.execute("SET GLOBAL max_connections = 20")
            with pytest.raises(SqlError) as caught:
                fill(cluster, filler, held)
            assert caught.value.errno == 1040
            with probing(replace(cluster, admin=filler), 1) as newcomer:
                seen = newcomer.wait_reach(Reach.IMPAIRED)
                assert seen.failure is not None
                assert seen.failure.code == "too_many_connections"
            watching.wait_for(alive, after=watching.count)
            assert {one.reach for one in watching.seen} == {Reach.ALIVE}
        finally:
            for one in held:
                one.close()
            session.execute(f"SET GLOBAL max_connections = {int(str(limit))}")
            session.execute("DROP USER filler")
            for statement in session.dialect.set_read_only(True):
                session.execute(statement)


def test_a_lock_that_keeps_writes_waiting_is_an_impairment_and_passes(
    shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pfms_ha_tui.nodes.writeprobe.BEAT", 0.2)
    cluster = sandbox_cluster(shared_sandbox)
    cluster = replace(cluster, timeouts=replace(cluster.timeouts, read=1.0))
    with SqlSession.open(cluster.nodes[0], cluster) as locker, probing(cluster, write_probe=True) as recorder:
        recorder.wait_for(lambda seen: alive(seen) and seen.attempts > 5)
        locker.execute("FLUSH TABLES WITH READ LOCK")
        try:
            seen = recorder.wait_reach(Reach.IMPAIRED)
            assert seen.failure is not None
            assert seen.failure.code == "write_probe"
            assert seen.facts is not None
        finally:
            locker.execute("UNLOCK TABLES")
        recorder.wait_for(alive, after=recorder.seen.index(seen))
    with SqlSession.open(cluster.nodes[0], cluster, database="pandora") as session:
        rows = session.query("SELECT token FROM tconfig WHERE token = 'pfms_ha_probe'")
        assert len(rows) == 1, "one row, however often it is written"
        session.execute("DELETE FROM tconfig WHERE token = 'pfms_ha_probe'")


def test_pandoras_epoch_is_read_on_the_slow_beat(
    shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "SLOW_BEAT", 0.2)
    cluster = sandbox_cluster(shared_sandbox)
    with (
        SqlSession.open(cluster.nodes[0], cluster, database="pandora") as session,
        probing(cluster, 1) as recorder,
    ):
        assert recorder.wait_for(lambda seen: seen.pandora is not None).pandora
        value = '{"epoch":4,"master":"node1","worker":"test","at":12.5}'
        session.execute("INSERT INTO tconfig (token, value) VALUES ('pfms_ha_epoch', %s)", (value,))
        try:
            seen = recorder.wait_for(lambda seen: bool(seen.pandora and seen.pandora.epoch))
            assert seen.pandora is not None
            assert seen.pandora.epoch is not None
            assert (seen.pandora.epoch.epoch, seen.pandora.epoch.master) == (4, "node1")
        finally:
            session.execute("DELETE FROM tconfig WHERE token = 'pfms_ha_epoch'")


async def test_a_thawed_node_tells_its_promotion_record_with_its_first_words(own_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(own_sandbox)
    node = own_sandbox.nodes[0]
    with probing(cluster, 0) as master:
        master.wait_for(lambda seen: seen.pandora is not None)
        node.freeze()
        master.wait_for(lambda seen: seen.reach is Reach.HUNG)
        asleep = len(master.seen)
        node.thaw()
        woken = master.wait_for(alive, after=asleep)
        assert woken.pandora is not None, "the next slow beat would come too late to lock an old master"


async def test_a_change_of_writability_is_looked_at_closely_at_once(own_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(own_sandbox)
    with probing(cluster, 1) as slave:
        slave.wait_for(lambda seen: seen.pandora is not None)
        await own_sandbox.nodes[1].sql("SET GLOBAL read_only = 0")
        changed = slave.wait_for(lambda seen: seen.facts is not None and seen.facts.read_only is False)
        assert changed.pandora is not None


async def test_a_killed_server_is_noticed_at_once_and_found_again(own_sandbox: Sandbox) -> None:
    """With an interval of a minute: it is the open socket that tells."""
    cluster = sandbox_cluster(own_sandbox, policy=Policy(interval=60.0))
    node = own_sandbox.nodes[0]
    with probing(cluster) as recorder:
        await asyncio.to_thread(recorder.wait_for, alive)
        killed_at = time.monotonic()
        node.kill()
        gone = await asyncio.to_thread(
            recorder.wait_for, lambda seen: seen.reach is Reach.REFUSED and seen.attempts >= 2
        )
        assert gone.mono - killed_at < 10.0
        assert {one.reach for one in recorder.seen} == {Reach.ALIVE, Reach.REFUSED}
        await node.wait_gone()
        await node.start()
        back = await asyncio.to_thread(recorder.wait_for, alive, after=1)
        assert back.facts is not None
        assert back.facts.uptime is not None
        assert back.facts.uptime < 60
        assert back.pandora is not None, "a new connection reads everything, the epoch among it"


async def test_a_frozen_server_is_hung_and_the_other_node_stays_in_time(own_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(own_sandbox)
    node = own_sandbox.nodes[0]
    with probing(cluster, 0) as frozen, probing(cluster, 1) as other:
        await asyncio.to_thread(frozen.wait_for, alive)
        await asyncio.to_thread(other.wait_for, alive)
        node.freeze()
        hung = await asyncio.to_thread(
            frozen.wait_for, lambda seen: seen.reach is Reach.HUNG and seen.attempts >= 3
        )
        assert hung.failure is not None
        start = other.count
        await asyncio.sleep(3.0)
        times = [seen.mono for seen in other.seen[start:]]
        assert len(times) >= 8, "15 probes fit into three seconds"
        assert {seen.reach for seen in other.seen} == {Reach.ALIVE}
        node.thaw()
        await asyncio.to_thread(frozen.wait_for, alive, after=frozen.seen.index(hung))


async def test_a_frozen_servers_death_is_noticed_without_its_waking(own_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(own_sandbox, policy=Policy(interval=1.0))
    node = own_sandbox.nodes[0]
    with probing(cluster) as recorder:
        await asyncio.to_thread(recorder.wait_for, alive)
        node.freeze()
        hung = await asyncio.to_thread(recorder.wait_reach, Reach.HUNG)
        node.kill()
        await asyncio.to_thread(
            recorder.wait_for,
            lambda seen: seen.reach is Reach.REFUSED and seen.attempts >= 2,
            after=recorder.seen.index(hung),
        )


@pytest.mark.netns
async def test_dropped_packets_are_unreachable_never_hung_for_good(own_sandbox: Sandbox) -> None:
    cluster = sandbox_cluster(own_sandbox)
    node = own_sandbox.nodes[0]
    with probing(cluster) as recorder:
        await asyncio.to_thread(recorder.wait_for, alive)
        await node.block()
        try:
            cut = await asyncio.to_thread(recorder.wait_reach, Reach.UNREACHABLE)
            assert cut.failure is not None
            assert cut.failure.code == "timeout"
            assert Reach.HUNG not in {one.reach for one in recorder.seen}
        finally:
            await node.unblock()
        await asyncio.to_thread(recorder.wait_for, alive, after=recorder.seen.index(cut))

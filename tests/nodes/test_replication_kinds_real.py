"""GTID, semi-synchronous replication and certificates, as real servers do them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.nodekit import Recorder, certificates, sandbox_cluster

from pfms_ha_tui.cluster.observation import NodeObservation, Reach, ServerFacts
from pfms_ha_tui.config.settings import ClusterSettings, Tls, TlsMode
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.failures import SqlError
from pfms_ha_tui.nodes.prober import NodeProber
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]


def facts_once(cluster: ClusterSettings, index: int, what: Callable[[ServerFacts], bool]) -> ServerFacts:
    """The facts of a node once they fit."""
    recorder = Recorder()
    prober = NodeProber(cluster.nodes[index], cluster, recorder)
    prober.start()

    def fits(seen: NodeObservation) -> bool:
        return seen.facts is not None and what(seen.facts)

    try:
        facts = recorder.wait_for(fits).facts
    finally:
        assert prober.stop(10.0)
    assert facts is not None
    return facts


async def test_gtids_and_semi_synchronous_replication_are_recognised(
    flavor: Flavor, sandbox_factory: Factory
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor, gtid=True, semi_sync=True, rows=200))
    cluster = sandbox_cluster(sandbox)
    master = await asyncio.to_thread(
        facts_once,
        cluster,
        0,
        lambda facts: facts.semi_sync == "master, 1 slave" and bool(facts.gtid_executed),
    )
    assert master.gtid_mode is (True if flavor is Flavor.MYSQL else None)
    slave = await asyncio.to_thread(
        facts_once, cluster, 1, lambda facts: bool(facts.replication and facts.replication[0].retrieved_gtid)
    )
    assert slave.semi_sync == "slave"
    assert slave.gtid_mode is True
    assert slave.replication is not None
    assert slave.replication[0].gtid
    assert slave.replication[0].executed_gtid


async def test_certificates_are_checked_as_far_as_the_mode_says(
    sandbox_factory: Factory, tmp_path: Path
) -> None:
    made = certificates(tmp_path, [f"127.0.0.{last}" for last in range(2, 250)])
    made.key.chmod(0o644)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other = certificates(stranger, ["127.0.0.1"])
    tmp_path.chmod(0o755)
    sandbox = await sandbox_factory(
        SandboxOptions(
            nodes=1,
            rows=10,
            writer=False,
            variables={
                "ssl-ca": str(made.ca),
                "ssl-cert": str(made.cert),
                "ssl-key": str(made.key),
                "require-secure-transport": "ON",
            },
        )
    )
    cluster = sandbox_cluster(sandbox)
    node = cluster.nodes[0]

    def cipher(tls: Tls, host: str = node.host) -> object:
        with SqlSession.open(replace(node, host=host), replace(cluster, tls=tls)) as session:
            return session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"]

    def refusal(tls: Tls) -> SqlError:
        with pytest.raises(SqlError) as caught:
            cipher(tls)
        return caught.value

    for good in (
        Tls(mode=TlsMode.PREFERRED),
        Tls(mode=TlsMode.REQUIRED),
        Tls(mode=TlsMode.VERIFY_CA, ca=made.ca),
        Tls(mode=TlsMode.VERIFY_IDENTITY, ca=made.ca),
    ):
        assert cipher(good), good
    # MariaDB words this refusal as "access denied"; MySQL has an error of its own for it.
    plain = refusal(Tls(mode=TlsMode.OFF))
    assert not plain.failure.kind.answers or "TLS" in str(plain.hint)
    for bad in (
        Tls(mode=TlsMode.VERIFY_CA, ca=other.ca),
        Tls(mode=TlsMode.VERIFY_IDENTITY),
    ):
        error = refusal(bad)
        assert (error.failure.kind, error.code) == (Reach.FAULT, "tls"), bad
        assert error.hint is not None

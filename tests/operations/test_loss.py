"""The loss meter on real servers: what a failover would lose, and where the figure comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.operating import Surgery, surgery, until

from pfms_ha_tui.cluster.coordinates import BinlogPosition
from pfms_ha_tui.cluster.observation import NodeObservation, Reach, ServerFacts
from pfms_ha_tui.cluster.snapshot import NodeState, Role, Snapshot
from pfms_ha_tui.operations.catalog import rebuild
from pfms_ha_tui.operations.loss import Loss, measure_loss
from pfms_ha_tui.operations.switchover import Switchover
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

Factory = Callable[[SandboxOptions], Awaitable[Sandbox]]

pytestmark = pytest.mark.timeout(300)

INSERT = (
    "INSERT INTO tagente_datos (id_agente_modulo, datos, utimestamp) VALUES (999999, 1, 1), (999999, 2, 2)"
)


async def snapshot_of(kit: Surgery) -> Snapshot:
    """What the last probe saw of both nodes, asked now."""
    helper = rebuild("switchover", {"master": "node1", "target": "node2"}, kit.context)
    assert isinstance(helper, Switchover)
    states = []
    for order, node in enumerate(kit.cluster.nodes):
        link = await helper.link(node.label)
        channel = await link.replication()
        facts = ServerFacts(
            flavor=link.dialect.flavor,
            version="x",
            binlog=await link.coordinates(),
            replication=(channel,) if channel is not None else (),
        )
        seen = NodeObservation(label=node.label, at=0.0, mono=100.0, reach=Reach.ALIVE, facts=facts)
        states.append(
            NodeState(
                label=node.label,
                host=node.host,
                port=node.port,
                order=order,
                role=Role.SLAVE if channel is not None else Role.MASTER,
                observation=seen,
                last_good=seen,
            )
        )
    await helper.close()
    return Snapshot(cluster=kit.cluster.name, at=0.0, mono=107.0, nodes=tuple(states))


async def stop_receiving(sandbox: Sandbox) -> None:
    """node2 has everything until now, and nothing of what comes."""
    node2 = sandbox.nodes[1]
    await sandbox.writer.pause()
    await until(lambda: _nothing_lost(sandbox), "node2 has everything")
    await node2.sql("STOP REPLICA IO_THREAD")


async def _nothing_lost(sandbox: Sandbox) -> bool:
    return not await sandbox.writer.lost_on(sandbox.nodes[1])


@pytest.mark.parametrize("master_lives", [True, False], ids=["server", "host"])
async def test_rows_that_were_not_received_are_counted_by_table(
    flavor: Flavor, master_lives: bool, sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions(flavor=flavor))
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await stop_receiving(sandbox)
        snapshot = await snapshot_of(kit)
        for _ in range(3):
            await node1.sql(INSERT, database="pandora")
        if not master_lives:
            node1.kill()
            await node1.wait_gone()
        loss = await measure_loss(snapshot, "node1", "node2", kit.context)
        assert loss.exact, loss
        assert loss.transactions == 3
        assert loss.tables == {"pandora.tagente_datos": 6}
        assert loss.bytes is not None
        assert loss.bytes > 0
        assert ("host" in loss.how) is not master_lives
        assert "has not received 3 transactions" in loss.sentence()
        assert "rows of pandora.tagente_datos 6" in loss.sentence()


async def test_where_nothing_can_be_read_the_last_probe_counts_and_says_so(
    sandbox_factory: Factory, tmp_path: Path
) -> None:
    sandbox = await sandbox_factory(SandboxOptions())
    node1 = sandbox.nodes[0]
    async with surgery(sandbox, tmp_path / "ledger.db") as kit:
        await stop_receiving(sandbox)
        await node1.sql(INSERT, database="pandora")
        snapshot = await snapshot_of(kit)
        node1.kill()
        await node1.wait_gone()
        await node1.ssh.stop()
        loss = await measure_loss(snapshot, "node1", "node2", kit.context)
        assert not loss.exact
        assert loss.bytes is not None
        assert loss.bytes > 0
        assert loss.seconds == pytest.approx(7.0)
        assert loss.transactions is None
        assert "unknown: at least" in loss.sentence()


def loss(**known: object) -> Loss:
    here = BinlogPosition("binlog.000001", 4)
    base = Loss(candidate="node2", received=here, master_at=here, how="somehow")
    return replace(base, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({}, "How many transactions node2 has not received is unknown (somehow)."),
        (
            {"bytes": 0, "seconds": 7.0},
            "How many transactions node2 has not received is unknown: none up to the last probe, 7 s ago"
            " (somehow).",
        ),
        (
            {"bytes": 4321, "seconds": 7.0},
            "How many transactions node2 has not received is unknown: at least 4.3 kB up to the last probe,"
            " 7 s ago (somehow).",
        ),
        (
            {"exact": True, "bytes": 2_500_000_000},
            "node2 has not received 2.5 GB of changes; how many transactions is unknown (somehow).",
        ),
        (
            {"exact": True},
            "node2 has not received an unknown amount of changes; how many transactions is unknown"
            " (somehow).",
        ),
        (
            {
                "exact": True,
                "bytes": 99,
                "transactions": 3,
                "seconds": 0.0,
                "tables": {"a.t": 6, "a.u": None},
            },
            "node2 has not received 3 transactions of less than a second, 99 B:"
            " rows of a.t 6, a.u ? (somehow).",
        ),
        (
            {"exact": True, "bytes": 99, "transactions": 1},
            "node2 has not received 1 transaction, 99 B (somehow).",
        ),
        ({"exact": True, "bytes": 0}, "node2 has received everything (somehow)."),
        # what follows is the beginning of a transaction that was never committed
        ({"exact": True, "bytes": 99, "transactions": 0}, "node2 has received everything (somehow)."),
    ],
)
def test_what_is_not_known_is_unknown_and_never_zero(known: dict[str, object], sentence: str) -> None:
    assert loss(**known).sentence() == sentence

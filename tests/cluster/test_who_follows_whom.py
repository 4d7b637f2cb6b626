"""Which node of the cluster a slave follows, by whatever name it calls its master."""

from __future__ import annotations

import pytest

from pfms_ha_tui.cluster.observation import (
    Flavor,
    IoState,
    NodeObservation,
    Reach,
    Replication,
    ServerFacts,
    SlaveSeen,
)
from pfms_ha_tui.cluster.snapshot import NodeState, Role
from pfms_ha_tui.cluster.topology import source_label, source_labels


def channel(
    host: str, *, port: int = 3306, uuid: str | None = None, number: int | None = None
) -> Replication:
    return Replication(
        source_host=host,
        source_port=port,
        io=IoState.YES,
        sql=True,
        source_uuid=uuid,
        source_server_id=number,
    )


def node(
    label: str,
    host: str,
    *,
    follows: Replication | None = None,
    hostname: str | None = None,
    report_host: str | None = None,
    uuid: str | None = None,
    number: int | None = None,
    slaves: tuple[SlaveSeen, ...] = (),
) -> NodeState:
    facts = ServerFacts(
        flavor=Flavor.MARIADB,
        version="10.11.6-MariaDB",
        server_id=number,
        server_uuid=uuid,
        hostname=hostname,
        report_host=report_host,
        replication=(follows,) if follows is not None else (),
        slaves=slaves,
    )
    seen = NodeObservation(label=label, at=0, mono=0, reach=Reach.ALIVE, facts=facts)
    return NodeState(label=label, host=host, port=3306, order=0, role=Role.UNKNOWN, last_good=seen)


def followed(slave: NodeState, *others: NodeState) -> str | None:
    replication = slave.replication
    assert replication is not None
    nodes = [slave, *others]
    labels = source_labels(nodes)
    assert labels[slave.label] == source_label(nodes, slave, replication)
    return labels[slave.label]


def test_by_its_configured_address_in_any_case() -> None:
    slave = node("b", "10.0.0.2", follows=channel("DB1.example.org"))
    assert followed(slave, node("a", "db1.example.org")) == "a"


def test_another_port_is_another_server() -> None:
    slave = node("b", "10.0.0.2", follows=channel("10.0.0.1", port=3307))
    assert followed(slave, node("a", "10.0.0.1")) is None


@pytest.mark.parametrize("name", ["db1", "db1.example.org", "DB1"])
def test_by_the_name_the_server_gives_itself(name: str) -> None:
    slave = node("b", "10.0.0.2", follows=channel(name))
    assert followed(slave, node("a", "10.0.0.1", hostname="db1.example.org")) == "a"
    assert followed(slave, node("a", "10.0.0.1", report_host="db1")) == "a"


def test_a_name_that_two_nodes_bear_names_neither() -> None:
    slave = node("c", "10.0.0.3", follows=channel("db"))
    one, other = node("a", "10.0.0.1", hostname="db"), node("b", "10.0.0.2", hostname="db")
    assert followed(slave, one, other) is None


def test_a_longer_name_with_the_same_beginning_is_another_one() -> None:
    slave = node("b", "10.0.0.2", follows=channel("db10"))
    assert followed(slave, node("a", "10.0.0.1", hostname="db1")) is None


def test_localhost_names_nobody() -> None:
    slave = node("b", "10.0.0.2", follows=channel("localhost"))
    assert followed(slave, node("a", "10.0.0.1", hostname="localhost")) is None


def test_by_uuid() -> None:
    slave = node("b", "10.0.0.2", follows=channel("alias", uuid="AA"))
    assert followed(slave, node("a", "10.0.0.1", uuid="aa")) == "a"
    assert followed(slave, node("a", "10.0.0.1", uuid="bb")) is None


def test_a_bare_server_id_is_no_identity() -> None:
    """A foreign master may be number 1 too; it counts only if the node lists the slave as its own."""
    slave = node("b", "10.0.0.2", follows=channel("alias", number=1), number=2)
    assert followed(slave, node("a", "10.0.0.1", number=1)) is None
    listed = (SlaveSeen(server_id=2, host="", port=3306),)
    assert followed(slave, node("a", "10.0.0.1", number=1, slaves=listed)) == "a"
    assert followed(slave, node("a", "10.0.0.1", number=9, slaves=listed)) is None


def test_unknown_server_ids_are_not_equal() -> None:
    slave = node("b", "10.0.0.2", follows=channel("alias"))
    assert followed(slave, node("a", "10.0.0.1")) is None


def test_nobody_follows_itself() -> None:
    assert followed(node("a", "10.0.0.1", follows=channel("10.0.0.1"))) is None

"""Everything that is wrong short of a silent master, each with a sentence and a severity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.lab import Lab

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Severity
from pfms_ha_tui.cluster.observation import EpochRecord, Flavor, IoState, Reach
from pfms_ha_tui.cluster.snapshot import JournalFacts, Sync, SyncState

Change = Callable[[Lab], None]


def settled(count: int = 2) -> Lab:
    return Lab(count).settle()


def change(**fields: object) -> Change:
    """Changes fields of node2."""

    def apply(lab: Lab) -> None:
        for name, value in fields.items():
            setattr(lab.servers["node2"], name, value)

    return apply


def test_a_healthy_pair_in_one_sentence() -> None:
    lab = settled()
    assert lab.kind() is DiagnosisKind.HEALTHY
    assert lab.diagnosis.severity is Severity.OK
    assert lab.diagnosis.text == "node1 is MASTER, node2 follows 0 s behind."
    assert lab.diagnosis.findings == ()


def test_a_healthy_three_in_one_sentence() -> None:
    lab = Lab(3)
    lab.servers["node3"].lag = 4
    lab.settle()
    assert lab.diagnosis.text == "node1 is MASTER, node2 and node3 follow at most 4 s behind."


def test_before_the_first_answer_nothing_is_known() -> None:
    lab = Lab()
    assert lab.kind() is DiagnosisKind.UNKNOWN
    for server in lab.servers.values():
        server.probed = False
    lab.tick()
    assert lab.kind() is DiagnosisKind.UNKNOWN
    assert lab.diagnosis.severity is Severity.UNKNOWN
    assert lab.diagnosis.text == "No node has been asked yet."


@pytest.mark.parametrize(
    ("fate", "kind", "severity", "text"),
    [
        pytest.param(
            change(io=IoState.CONNECTING, io_errno=1045),
            DiagnosisKind.REPLICATION_STOPPED,
            Severity.CRITICAL,
            "node2 receives nothing from node1: error 1045, error connecting to master.",
            id="io error",
        ),
        pytest.param(
            change(io=IoState.CONNECTING),
            DiagnosisKind.REPLICATION_STOPPED,
            Severity.CRITICAL,
            "node2 receives nothing from node1: it is still connecting.",
            id="io connecting",
        ),
        pytest.param(
            change(sql=False, sql_errno=1062),
            DiagnosisKind.REPLICATION_STOPPED,
            Severity.CRITICAL,
            "node2 applies nothing of what it receives: error 1062, Duplicate entry '1' for key 'PRIMARY'.",
            id="sql error",
        ),
        pytest.param(
            change(io=IoState.NO, sql=False),
            DiagnosisKind.REPLICATION_STOPPED,
            Severity.CRITICAL,
            "Replication is stopped on node2.",
            id="stopped",
        ),
        pytest.param(
            change(follows=None),
            DiagnosisKind.REPLICATION_STOPPED,
            Severity.CRITICAL,
            "node2 is read-only and follows nobody: it gets no data.",
            id="follows nobody",
        ),
        pytest.param(
            change(lag=12),
            DiagnosisKind.SLAVE_LAGGING,
            Severity.WARNING,
            "node2 is 12 s behind.",
            id="lag",
        ),
        pytest.param(
            change(lag=90),
            DiagnosisKind.SLAVE_LAGGING,
            Severity.WARNING,
            "node2 is 90 s behind, too far to take over (limit 30 s).",
            id="far behind",
        ),
        pytest.param(
            change(lag=None),
            DiagnosisKind.SLAVE_LAGGING,
            Severity.WARNING,
            "The lag of node2 is not known.",
            id="unknown lag",
        ),
        pytest.param(
            change(read_only=False),
            DiagnosisKind.SLAVE_WRITABLE,
            Severity.WARNING,
            "node2 is a slave, yet it accepts writes.",
            id="writable slave",
        ),
        pytest.param(
            change(follows="192.168.7.7"),
            DiagnosisKind.FOREIGN_MASTER,
            Severity.CRITICAL,
            "node2 follows 192.168.7.7:3306, which is no node of this cluster.",
            id="foreign master",
        ),
        pytest.param(
            change(reach=Reach.REFUSED),
            DiagnosisKind.SLAVE_DOWN,
            Severity.CRITICAL,
            "node2 is down: its host refuses the connection, for 2 s.",
            id="refused",
        ),
        pytest.param(
            change(reach=Reach.HUNG),
            DiagnosisKind.SLAVE_DOWN,
            Severity.CRITICAL,
            "node2 hangs: it accepts connections but gives no answer, for 3 s.",
            id="hung",
        ),
        pytest.param(
            change(reach=Reach.UNREACHABLE),
            DiagnosisKind.SLAVE_DOWN,
            Severity.CRITICAL,
            "node2 is unreachable, for 2 s.",
            id="unreachable",
        ),
        pytest.param(
            change(reach=Reach.FAULT),
            DiagnosisKind.UNKNOWN,
            Severity.WARNING,
            "node2 cannot be asked: the name cannot be resolved.",
            id="our fault",
        ),
        pytest.param(
            change(reach=Reach.IMPAIRED, readable=False),
            DiagnosisKind.SLAVE_DOWN,
            Severity.WARNING,
            "node2 answers, but cannot be read: too many connections (error 1040).",
            id="impaired",
        ),
        pytest.param(
            change(replication_readable=False, missing={"replication": "Access denied"}),
            DiagnosisKind.UNKNOWN,
            Severity.WARNING,
            "Whether node2 replicates may not be read: Access denied.",
            id="no privilege",
        ),
        pytest.param(
            change(sync=Sync(state=SyncState.RUNNING, percent=43.2)),
            DiagnosisKind.SLAVE_RESYNCING,
            Severity.WARNING,
            "node2 is being resynced (43 %): down or behind is expected until it ends.",
            id="resync",
        ),
        pytest.param(
            change(sync=Sync(state=SyncState.QUEUED)),
            DiagnosisKind.SLAVE_RESYNCING,
            Severity.WARNING,
            "node2 is waiting for its resync.",
            id="resync queued",
        ),
        pytest.param(
            change(sync=Sync(state=SyncState.FAILED, reason="disk full")),
            DiagnosisKind.NEEDS_RESYNC,
            Severity.CRITICAL,
            "node2 needs a resync: disk full.",
            id="resync failed",
        ),
        pytest.param(
            change(clock_ahead=3600.0),
            DiagnosisKind.CLOCK_SKEW,
            Severity.WARNING,
            "The clock of node2 is 60 min ahead of this host's.",
            id="clock",
        ),
        pytest.param(
            change(server_id=1),
            DiagnosisKind.CONFIG_DRIFT,
            Severity.CRITICAL,
            "node1 and node2 have the same server_id 1.",
            id="server id",
        ),
        pytest.param(
            change(log_bin=False),
            DiagnosisKind.CONFIG_DRIFT,
            Severity.WARNING,
            "node2 writes no binary log: nobody could follow it as master.",
            id="binary log off",
        ),
        pytest.param(
            change(version="10.6.1-MariaDB"),
            DiagnosisKind.CONFIG_DRIFT,
            Severity.WARNING,
            "node2 runs 10.6.1-MariaDB, older than its master's 10.11.6-MariaDB.",
            id="older server",
        ),
        pytest.param(
            change(flavor=Flavor.MYSQL, version="8.0.30-22"),
            DiagnosisKind.CONFIG_DRIFT,
            Severity.WARNING,
            "The nodes are of different families: node1 mariadb, node2 mysql.",
            id="families",
        ),
        pytest.param(
            change(variables={"binlog_format": "STATEMENT"}),
            DiagnosisKind.CONFIG_DRIFT,
            Severity.WARNING,
            "node2 logs statements, not rows: slaves may drift apart unnoticed.",
            id="binlog format",
        ),
    ],
)
def test_one_thing_wrong(fate: Change, kind: DiagnosisKind, severity: Severity, text: str) -> None:
    lab = settled()
    fate(lab)
    lab.ticks(3)
    found = [one for one in lab.diagnosis.findings if one.kind is kind and one.text == text]
    assert found, [one.text for one in lab.diagnosis.findings]
    assert found[0].severity is severity
    assert lab.kind() is kind
    assert lab.diagnosis.severity is severity
    assert lab.diagnosis.master == "node1"


@pytest.mark.parametrize(
    "fate",
    [
        pytest.param(change(reach=Reach.REFUSED), id="down"),
        pytest.param(change(reach=Reach.HUNG), id="hung"),
        pytest.param(change(reach=Reach.IMPAIRED, readable=False), id="starting"),
        pytest.param(change(follows=None), id="follows nobody yet"),
        pytest.param(change(io=IoState.CONNECTING), id="connecting"),
        pytest.param(change(sql=False, sql_errno=1062), id="broken, which is why"),
        pytest.param(change(lag=9000), id="catching up"),
    ],
)
def test_of_a_slave_that_is_being_resynced_nothing_else_is_said(fate: Change) -> None:
    lab = settled()
    lab.servers["node2"].sync = Sync(state=SyncState.RUNNING, percent=43.2)
    lab.facts = replace(lab.facts, failed_resync=("node2",))
    fate(lab)
    lab.ticks(3)
    assert [one.kind for one in lab.diagnosis.findings] == [DiagnosisKind.SLAVE_RESYNCING]
    said = "node1 is MASTER. node2 is being resynced (43 %): down or behind is expected until it ends."
    assert lab.diagnosis.text == said
    lab.servers["node2"].sync = Sync()
    lab.tick()
    assert lab.diagnosis.severity is not Severity.OK
    assert DiagnosisKind.SLAVE_RESYNCING not in [one.kind for one in lab.diagnosis.findings]


def test_a_slave_that_takes_writes_while_it_is_resynced_is_told() -> None:
    lab = settled()
    lab.servers["node2"].sync = Sync(state=SyncState.RUNNING)
    lab.servers["node2"].read_only = False
    lab.ticks(2)
    assert DiagnosisKind.SLAVE_WRITABLE in [one.kind for one in lab.diagnosis.findings]


def test_the_banner_says_first_that_the_master_is_well() -> None:
    lab = settled()
    lab.servers["node2"].lag = 12
    lab.tick()
    assert lab.diagnosis.text == "node1 is MASTER. node2 is 12 s behind."


def test_the_worst_is_on_the_banner_and_the_rest_is_counted() -> None:
    lab = settled(3)
    lab.servers["node2"].lag = 12
    lab.servers["node3"].sql, lab.servers["node3"].sql_errno = False, 1062
    lab.tick()
    assert lab.kind() is DiagnosisKind.REPLICATION_STOPPED
    assert lab.diagnosis.text.endswith("(and 1 more finding)")


@pytest.mark.parametrize("errno", [0, 1062], ids=["stopped", "broken"])
def test_nobody_is_told_to_start_replication_on_a_node_that_needs_a_resync(errno: int) -> None:
    lab = settled()
    change(io=IoState.NO, sql=False, sql_errno=errno)(lab)
    lab.servers["node2"].sync = Sync(state=SyncState.FAILED, reason="its rows were merged into node1")
    lab.ticks(3)
    hints = {one.hint for one in lab.diagnosis.findings if one.kind is DiagnosisKind.REPLICATION_STOPPED}
    assert hints == {"Resync node2."}


def test_a_side_that_a_person_locked_is_not_simply_to_be_started() -> None:
    lab = settled()
    change(io=IoState.NO, sql=False)(lab)
    lab.ticks(3)
    hint = next(one.hint for one in lab.diagnosis.findings if one.kind is DiagnosisKind.REPLICATION_STOPPED)
    assert hint is not None
    assert "no writes of its own" in hint


def test_a_hint_of_no_weight_leaves_the_cluster_healthy() -> None:
    lab = settled()
    lab.servers["node2"].variables = {"innodb_flush_log_at_trx_commit": "0"}
    lab.tick()
    assert lab.kind() is DiagnosisKind.HEALTHY
    assert [one.severity for one in lab.diagnosis.findings] == [Severity.INFO]


def test_a_slave_of_a_slave_is_named() -> None:
    lab = settled(3)
    lab.servers["node3"].follows = "10.0.0.2"
    lab.tick()
    assert [one.text for one in lab.findings(DiagnosisKind.FOREIGN_MASTER)] == [
        "node3 follows node2, not the master; the master is node1."
    ]


def test_while_we_move_roles_a_slave_that_still_follows_the_old_master_is_expected() -> None:
    lab = settled(3)
    lab.servers["node1"].reach = Reach.REFUSED
    lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
    lab.tick(0.1)
    lab.facts = replace(lab.facts, operation="failover to node2 is running", roles_moved_at=lab.mono)
    assert lab.findings(DiagnosisKind.FOREIGN_MASTER) == []
    lab.facts = replace(lab.facts, operation=None)
    assert lab.findings(DiagnosisKind.FOREIGN_MASTER) == [], "it was not asked again since"
    lab.tick(0.1)
    assert [one.node for one in lab.findings(DiagnosisKind.FOREIGN_MASTER)] == ["node3"]
    lab.servers["node3"].follows = "192.0.2.9"
    lab.tick(0.1)
    lab.facts = replace(lab.facts, roles_moved_at=lab.mono)
    (stranger,) = lab.findings(DiagnosisKind.FOREIGN_MASTER)
    assert "no node of this cluster" in stranger.text, "that is none of our doing"


def test_text_from_a_server_stays_plain_and_short() -> None:
    lab = settled()
    lab.servers["node2"].sync = Sync(state=SyncState.FAILED, reason="[red]\x1b[31m" + "x" * 4000 + "\nline")
    lab.tick()
    assert "\n" not in lab.diagnosis.text
    assert "\x1b" not in lab.diagnosis.text
    assert len(lab.diagnosis.text) < 500


class TestSplitBrain:
    def test_two_writable_nodes_without_an_epoch(self) -> None:
        lab = settled()
        lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN
        assert lab.diagnosis.text == (
            "node1 and node2 are both writable: their data drift apart "
            "(node1 10.0 writes/s, node2 10.0 writes/s)."
        )

    def test_the_evidence_tells_where_pandora_writes(self) -> None:
        lab = settled()
        lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
        lab.servers["node2"].keepalive = lab.at - 10
        lab.ticks(2)
        assert lab.diagnosis.evidence == (
            "node1 is writable: 10.0 writes/s, last contact of a Pandora server not known.",
            "node2 is writable: 10.0 writes/s, last contact of a Pandora server 12 s ago.",
        )

    def test_equal_epochs_are_a_true_split_brain(self) -> None:
        lab = settled()
        lab.promote("node2", 5)
        lab.servers["node1"].epoch = lab.servers["node2"].epoch
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_two_that_follow_each_other_and_write(self) -> None:
        lab = settled()
        lab.servers["node1"].follows = "10.0.0.2"
        lab.servers["node2"].read_only = False
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_a_writable_slave_whose_replication_was_stopped_writes_on_its_own(self) -> None:
        lab = settled()
        server = lab.servers["node2"]
        server.read_only, server.io, server.sql = False, IoState.NO, False
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_a_full_master_beside_a_writer_is_not_forgotten(self) -> None:
        lab = settled()
        master = lab.servers["node1"]
        master.reach, master.readable = Reach.IMPAIRED, False
        lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_a_dead_writer_is_no_side(self) -> None:
        lab = settled()
        lab.kill("node1")
        lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
        lab.ticks(2)
        assert lab.kind() is not DiagnosisKind.SPLIT_BRAIN
        assert lab.diagnosis.master == "node2"


class TestReturnedMaster:
    def returned(self, *, read_only: bool) -> Lab:
        lab = settled()
        lab.kill("node1")
        lab.ticks(2, 0.1)
        lab.promote("node2", 1)
        lab.ticks(2)
        lab.come_back("node1", read_only=read_only)
        lab.tick()
        return lab

    def test_writable_it_is_no_split_brain_but_an_old_master(self) -> None:
        lab = self.returned(read_only=False)
        assert lab.kind() is DiagnosisKind.OLD_MASTER_RETURNED
        assert lab.diagnosis.severity is Severity.CRITICAL
        assert lab.diagnosis.master == "node2"
        assert lab.diagnosis.text == (
            "node2 is MASTER. The old master node1 is back and still accepts writes "
            "(node1 carries no promotion record, node2 was made master in epoch 1)."
        )

    def test_locked_it_waits_for_its_rejoin(self) -> None:
        lab = self.returned(read_only=True)
        assert lab.kind() is DiagnosisKind.OLD_MASTER_RETURNED
        assert lab.diagnosis.severity is Severity.WARNING

    def test_until_its_record_is_read_it_is_a_split_brain(self) -> None:
        lab = self.returned(read_only=False)
        lab.servers["node1"].pandora = False
        lab.kill("node1")
        lab.tick()
        lab.come_back("node1", read_only=False)
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_a_record_that_could_not_be_read_proves_nothing(self) -> None:
        lab = self.returned(read_only=False)
        lab.servers["node1"].missing = {"pandora": "SELECT command denied"}
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN

    def test_it_is_told_from_the_data_alone_by_a_worker_without_a_journal(self) -> None:
        lab = self.returned(read_only=False)
        lab.facts = JournalFacts()
        assert lab.kind() is DiagnosisKind.OLD_MASTER_RETURNED
        assert lab.diagnosis.master == "node2"

    def test_the_lone_old_master_is_not_taken_for_the_master(self) -> None:
        lab = self.returned(read_only=False)
        lab.kill("node2")
        lab.ticks(2)
        assert lab.diagnosis.master == "node2"

    def test_nor_by_a_worker_that_knows_no_roles(self) -> None:
        lab = self.returned(read_only=False)
        lab.kill("node2")
        lab.ticks(2)
        lab.facts = JournalFacts()
        assert lab.diagnosis.master is None
        assert any(one.kind is DiagnosisKind.OLD_MASTER_RETURNED for one in lab.diagnosis.findings)

    def test_a_copy_of_the_record_from_before_it_became_writable_proves_nothing(self) -> None:
        """Another worker may have made it master in between, and its record is yet to be read."""
        lab = self.returned(read_only=True)
        lab.servers["node1"].pandora = False
        lab.servers["node1"].read_only = False
        lab.tick()
        assert lab.kind() is DiagnosisKind.SPLIT_BRAIN


class TestNoMaster:
    def test_a_known_master_that_somebody_locked(self) -> None:
        lab = settled()
        lab.servers["node1"].read_only = True
        lab.tick()
        assert lab.kind() is DiagnosisKind.NO_MASTER
        assert lab.diagnosis.master == "node1"
        assert lab.diagnosis.text == (
            "No node accepts writes: node1 is still the master, but somebody made it read-only."
        )

    def test_a_known_master_that_restarted_read_only(self) -> None:
        lab = settled()
        lab.kill("node1")
        lab.tick(0.05)
        lab.come_back("node1", read_only=True)
        lab.tick()
        assert lab.kind() is DiagnosisKind.NO_MASTER
        assert lab.diagnosis.text.endswith("but it restarted read-only.")

    def test_nobody_knows_who_was(self) -> None:
        lab = Lab()
        for server in lab.servers.values():
            server.follows, server.read_only = None, True
        lab.tick()
        assert lab.kind() is DiagnosisKind.NO_MASTER
        assert lab.diagnosis.master is None

    def test_with_a_node_down_it_is_unknown_not_absent(self) -> None:
        lab = Lab()
        lab.servers["node1"].reach = Reach.UNREACHABLE
        lab.servers["node2"].follows = None
        lab.tick()
        assert lab.kind() is DiagnosisKind.UNKNOWN
        assert lab.diagnosis.text.startswith("It is not known which node is the master: node1 is unreachable")

    def test_read_only_that_cannot_be_read_is_no_verdict(self) -> None:
        lab = settled()
        lab.servers["node1"].read_only = None
        lab.tick()
        assert lab.kind() is DiagnosisKind.UNKNOWN
        assert "whether it is writable cannot be read" in lab.diagnosis.text


class TestStalled:
    def test_nothing_arrives_although_the_master_writes(self) -> None:
        lab = settled()
        lab.servers["node2"].flows = False
        lab.ticks(9)
        assert lab.kind() is DiagnosisKind.HEALTHY
        lab.ticks(3)
        assert lab.kind() is DiagnosisKind.REPLICATION_STALLED
        assert "node2 says it receives, but got nothing for" in lab.diagnosis.text

    def test_nothing_is_applied_although_it_arrives(self) -> None:
        lab = settled()
        server = lab.servers["node2"]
        for _ in range(12):
            lab.mono += 1
            lab.servers["node1"].pos += 100
            server.read = lab.servers["node1"].pos
            for one in lab.servers.values():
                lab.probe(one)
            lab.snap()
        assert lab.kind() is DiagnosisKind.REPLICATION_STALLED
        assert "node2 says it applies, but has done nothing for" in lab.diagnosis.text

    def test_an_idle_master_stalls_nobody(self) -> None:
        lab = settled()
        for _ in range(30):
            lab.mono += 1
            for one in lab.servers.values():
                lab.probe(one)
            lab.snap()
        assert lab.kind() is DiagnosisKind.HEALTHY

    def test_a_slave_delayed_on_purpose_is_not_stalled(self) -> None:
        lab = Lab()
        lab.servers["node2"].sql_delay = 3600
        lab.settle()
        lab.ticks(20)
        assert not lab.findings(DiagnosisKind.REPLICATION_STALLED)

    def test_a_short_history_proves_nothing(self) -> None:
        lab = settled()
        lab.servers["node2"].flows = False
        lab.ticks(12)
        lab.history = lab.history[-3:]
        assert not lab.findings(DiagnosisKind.REPLICATION_STALLED)


class TestDiverged:
    UUID = "3e11fa47-71ca-11e1-9e33-c80aa942956"

    def mysql(self) -> Lab:
        lab = Lab()
        for number, server in enumerate(lab.servers.values(), 1):
            server.flavor, server.version, server.gtid_mode = Flavor.MYSQL, "8.4.0", True
            server.uuid, server.gtid = f"{self.UUID}{number}", f"{self.UUID}1:1-100"
        return lab.settle()

    def test_a_transaction_of_its_own_shows(self) -> None:
        lab = self.mysql()
        lab.servers["node2"].gtid = f"{self.UUID}1:1-100,\n{self.UUID}2:1-3"
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.DIVERGED
        assert "node2 has 3 transactions that the master does not have" in lab.diagnosis.text

    def test_a_transaction_of_the_master_that_the_slave_tells_first_is_none(self) -> None:
        lab = self.mysql()
        lab.servers["node2"].gtid = f"{self.UUID}1:1-107"
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.HEALTHY

    def test_what_came_between_the_two_looks_is_none(self) -> None:
        lab = self.mysql()
        lab.servers["node2"].gtid = f"{self.UUID}1:1-100,{self.UUID}9:1-3"
        lab.tick()
        assert lab.kind() is DiagnosisKind.HEALTHY

    @pytest.mark.parametrize("text", ["", "nonsense"])
    def test_a_set_that_cannot_be_read_proves_nothing(self, text: str) -> None:
        lab = self.mysql()
        lab.servers["node1"].gtid = text or None
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.HEALTHY

    def test_mariadb_by_domain(self) -> None:
        lab = Lab()
        lab.servers["node1"].gtid = "0-1-100"
        lab.servers["node2"].gtid = "0-1-100"
        lab.settle()
        lab.servers["node2"].gtid = "0-1-104"
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.HEALTHY
        lab.servers["node2"].gtid = "0-2-105"
        lab.ticks(2)
        assert lab.kind() is DiagnosisKind.DIVERGED

    def test_what_the_rejoin_found_is_remembered(self) -> None:
        lab = settled()
        lab.facts = replace(lab.facts, diverged={"node2": "2 transactions in binlog.000007"})
        assert lab.kind() is DiagnosisKind.DIVERGED
        assert "node2 has diverged: 2 transactions in binlog.000007" in lab.diagnosis.text


class TestClocks:
    def test_a_single_late_look_is_no_skew(self) -> None:
        lab = settled()
        lab.servers["node2"].clock_ahead = 30
        lab.tick()
        assert lab.kind() is DiagnosisKind.HEALTHY
        lab.tick()
        assert lab.kind() is DiagnosisKind.CLOCK_SKEW

    def test_when_every_node_differs_alike_it_is_this_host(self) -> None:
        lab = settled()
        for server in lab.servers.values():
            server.clock_ahead = -3600
        lab.ticks(2)
        assert (
            lab.diagnosis.text == "node1 is MASTER. The clock of this host is 60 min ahead of every node's."
        )

    def test_within_the_tolerance_nothing_is_said(self) -> None:
        lab = settled()
        lab.servers["node2"].clock_ahead = 0.9
        lab.ticks(3)
        assert lab.kind() is DiagnosisKind.HEALTHY


class TestDrift:
    def test_the_same_uuid_twice(self) -> None:
        lab = Lab()
        for server in lab.servers.values():
            server.flavor, server.version = Flavor.MYSQL, "8.4.0"
            server.uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
        lab.settle()
        assert lab.kind() is DiagnosisKind.CONFIG_DRIFT
        assert "the same server_uuid" in lab.diagnosis.text

    def test_gtid_mode_on_one_side_only(self) -> None:
        lab = Lab()
        for server in lab.servers.values():
            server.flavor, server.version = Flavor.MYSQL, "8.4.0"
            server.gtid_mode = server.label == "node1"
        lab.settle()
        assert "gtid_mode differs: node1 on, node2 off." in [one.text for one in lab.diagnosis.findings]

    def test_a_setting_that_must_be_the_same(self) -> None:
        lab = settled()
        lab.servers["node1"].variables = {"binlog_row_image": "FULL"}
        lab.servers["node2"].variables = {"binlog_row_image": "MINIMAL"}
        lab.tick()
        assert lab.kind() is DiagnosisKind.CONFIG_DRIFT

    def test_a_setting_known_of_one_node_only_differs_from_nothing(self) -> None:
        lab = settled()
        lab.servers["node1"].variables = {"binlog_row_image": "FULL"}
        lab.tick()
        assert lab.kind() is DiagnosisKind.HEALTHY


@pytest.mark.parametrize(("count", "told"), [(2, 0), (3, 1)])
def test_what_a_slave_does_not_log_matters_with_three_nodes(count: int, told: int) -> None:
    lab = settled(count)
    lab.servers["node2"].variables = {"log_slave_updates": "OFF"}
    lab.tick()
    assert lab.kind() is DiagnosisKind.HEALTHY
    assert len(lab.findings(DiagnosisKind.CONFIG_DRIFT)) == told


def test_a_locked_master_during_an_operation_is_no_riddle() -> None:
    lab = settled()
    lab.servers["node1"].read_only = True
    lab.facts = replace(lab.facts, operation="switchover to node2")
    lab.tick()
    assert lab.kind() is DiagnosisKind.NO_MASTER
    assert lab.diagnosis.severity is Severity.WARNING
    assert lab.diagnosis.text == "No node accepts writes while an operation runs: switchover to node2."


def test_unconfirmed_roles_are_said_as_soon_as_something_is_wrong() -> None:
    lab = Lab()
    lab.servers["node2"].reach = Reach.REFUSED
    lab.ticks(2)
    assert any("has not been confirmed" in one.text for one in lab.diagnosis.findings)


def test_another_writer_than_the_known_master_is_said() -> None:
    lab = settled()
    lab.kill("node1")
    lab.servers["node2"].follows, lab.servers["node2"].read_only = None, False
    lab.servers["node2"].epoch = EpochRecord(epoch=0, master="x", worker="y", at=0)
    lab.tick()
    assert any(
        one.text == "node2 is writable now, although node1 was known as the master."
        for one in lab.diagnosis.findings
    )


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ({}, "Rejoin node2 as a slave, or resync it."),
        ({"failed_resync": ("node2",)}, "Resync node2."),
        ({"diverged": {"node2": "2 rows"}}, "Save and merge what only node2 holds, then resync it."),
    ],
)
def test_a_rejoin_is_proposed_only_where_it_would_not_be_refused(known: dict[str, object], hint: str) -> None:
    lab = settled()
    lab.servers["node2"].follows = None
    lab.facts = replace(lab.facts, **known)  # type: ignore[arg-type]
    lab.tick(2)
    (stopped,) = (one for one in lab.diagnosis.findings if one.kind is DiagnosisKind.REPLICATION_STOPPED)
    assert stopped.hint == hint

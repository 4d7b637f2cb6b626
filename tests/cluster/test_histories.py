"""Random histories through the whole judgement: what must never happen, whatever happens."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.lab import Lab, Server

from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.evidence import matrix
from pfms_ha_tui.cluster.observation import IoState, ProcessState, Reach, Says, SshState
from pfms_ha_tui.cluster.policy import Mode, OnIsolation, Policy
from pfms_ha_tui.cluster.snapshot import Maintenance, Sync, SyncState

LABELS = st.sampled_from(["node1", "node2", "node3"])
BREAKS = ["io", "sql", "lag", "far", "sync", "disabled", "probed", "ssh"]
STEPS = st.sampled_from([0.05, 0.1, 0.1, 0.5, 1.0, 1.0, 2.5])


class Histories(RuleBasedStateMachine):
    """Servers die, freeze, return and break; a person meddles; the worker does what it decides.

    Held after every tick: no failover while the master answers, none to a slave that may not, none in
    maintenance, without known roles or beside an operation; one action has one target; a lock never
    hits the newest epoch's master; and at most one node is writable that the worker made writable.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab()
        self.opened = {"node1"}
        """Nodes that the worker (or the person who set the cluster up) made writable, and that were never
        restarted or locked since."""
        self.decided: Decision | None = None

    @initialize(
        count=st.sampled_from([2, 3]),
        autofix=st.booleans(),
        rule=st.sampled_from(list(OnIsolation)),
        start=st.sampled_from(["healthy", "failed over", "restarting", "split"]),
    )
    def begin(self, count: int, autofix: bool, rule: OnIsolation, start: str) -> None:
        policy = Policy(
            mode=Mode.AUTOMATIC,
            isolation_hold=8.0,
            recovery_block=20.0,
            splitbrain_autofix=autofix,
            on_isolation=rule,
        )
        self.lab = Lab(count, policy=policy).settle()
        second = self.lab.servers["node2"]
        match start:
            case "failed over":
                self.lab.kill("node1")
                self.lab.ticks(2)
                self.fail_over(second, self.lab.servers["node1"])
                self.lab.tick()
            case "restarting":
                self.lab.kill("node1")
                self.opened.discard("node1")
            case "split":
                # A person opened it, so it does not count among ours.
                second.follows, second.read_only = None, False

    def server(self, label: str) -> Server:
        return self.lab.servers.get(label, self.lab.servers["node2"])

    # fate

    @rule(label=LABELS)
    def a_server_is_killed(self, label: str) -> None:
        server = self.server(label)
        self.lab.kill(server.label)
        self.opened.discard(server.label)

    @rule(label=LABELS)
    def a_server_freezes(self, label: str) -> None:
        server = self.server(label)
        if server.reach is Reach.ALIVE:
            self.lab.freeze(server.label)

    @rule(label=LABELS)
    def a_host_is_cut_off(self, label: str) -> None:
        server = self.server(label)
        if server.reach is Reach.ALIVE:
            self.lab.cut(server.label)
            self.lab.lose(server.label)

    @rule(label=LABELS)
    def it_thaws_or_is_reachable_again(self, label: str) -> None:
        server = self.server(label)
        if server.reach in (Reach.HUNG, Reach.UNREACHABLE, Reach.IMPAIRED, Reach.FAULT):
            server.reach, server.ssh, server.readable = Reach.ALIVE, SshState.UP, True
            server.process = ProcessState.RUNNING
            self.reconnect(server.label)

    @rule(label=LABELS, read_only=st.booleans())
    def it_is_started_again(self, label: str, read_only: bool) -> None:
        server = self.server(label)
        if server.reach is Reach.REFUSED:
            self.lab.come_back(server.label, read_only=read_only)
            self.reconnect(server.label)

    def reconnect(self, label: str) -> None:
        for slave in self.lab.followers(label):
            if slave.io_errno == 2003:
                slave.io, slave.io_errno = IoState.YES, 0

    @rule(label=LABELS, reach=st.sampled_from([Reach.IMPAIRED, Reach.FAULT]), readable=st.booleans())
    def it_answers_with_an_error_or_we_are_at_fault(self, label: str, reach: Reach, readable: bool) -> None:
        server = self.server(label)
        if server.reach is Reach.ALIVE:
            server.reach, server.readable = reach, readable

    @rule(label=LABELS, what=st.sampled_from(BREAKS))
    def something_breaks(self, label: str, what: str) -> None:
        server = self.server(label)
        match what:
            case "io":
                server.io, server.io_errno = IoState.NO, 0
            case "sql":
                server.sql = False
            case "lag":
                server.lag = None
            case "far":
                server.lag = 5000
            case "sync":
                server.sync = Sync(state=SyncState.RUNNING)
            case "disabled":
                server.disabled = True
            case "probed":
                server.probed = False
            case "ssh":
                server.ssh = SshState.DOWN

    @rule()
    def everything_is_repaired(self) -> None:
        self.lab.policy = replace(self.lab.policy, mode=Mode.AUTOMATIC)
        self.lab.facts = replace(self.lab.facts, operation=None, maintenance=None)
        for server in self.lab.servers.values():
            server.io, server.io_errno, server.sql, server.lag = IoState.YES, 0, True, 0
            server.sync, server.disabled, server.probed, server.ssh = Sync(), False, True, SshState.UP

    @rule(by=LABELS, about=LABELS, honest=st.booleans())
    def somebody_gives_an_opinion(self, by: str, about: str, honest: bool) -> None:
        if self.server(by) is self.server(about):
            return
        alive = self.server(about).reach in (Reach.ALIVE, Reach.IMPAIRED, Reach.FAULT)
        self.lab.say(by, about, Says.SEES if alive is honest else Says.LOST)

    # people

    @rule(seconds=st.sampled_from([0.0, 5.0, 60.0]))
    def maintenance_is_asked_for(self, seconds: float) -> None:
        pause = Maintenance(until=self.lab.at + seconds, reason="work", by="carol")
        self.lab.facts = replace(self.lab.facts, maintenance=pause)

    @rule(mode=st.sampled_from([Mode.AUTOMATIC, Mode.AUTOMATIC, Mode.MANUAL, Mode.OBSERVE]))
    def the_mode_is_changed(self, mode: Mode) -> None:
        self.lab.policy = replace(self.lab.policy, mode=mode)

    @rule(text=st.sampled_from([None, None, "a clone of node2"]))
    def another_operation_begins_or_ends(self, text: str | None) -> None:
        self.lab.facts = replace(self.lab.facts, operation=text)

    @rule()
    def the_failover_is_acknowledged(self) -> None:
        self.lab.facts = replace(self.lab.facts, last_failover_at=None)

    # the worker

    @rule(step=STEPS, count=st.integers(1, 12))
    def time_passes(self, step: float, count: int) -> None:
        for _ in range(count):
            self.tick(step)

    @rule()
    def a_moment_passes(self) -> None:
        self.tick(0.15)

    def tick(self, step: float) -> None:
        self.lab.tick(step)
        self.lab.learn()
        self.decided = self.lab.decision
        self.check(self.decided)
        self.act(self.decided)

    def act(self, decision: Decision) -> None:
        """What the operations would do, fencing included."""
        if decision.action is Action.NONE:
            return
        target = self.lab.servers[decision.target or ""]
        match decision.action:
            case Action.FAILOVER:
                self.fail_over(target, self.lab.servers[decision.master or ""])
            case Action.LOCK:
                target.read_only = True
                self.opened.discard(target.label)
            case Action.REOPEN:
                target.read_only = False
                self.opened.add(target.label)
            case Action.REJOIN | Action.MERGE_AND_CLONE | Action.RESYNC:
                self.opened.discard(target.label)
                self.lab.follow(target.label, decision.master or "")

    def fail_over(self, target: Server, old: Server) -> None:
        if old.ssh is SshState.UP:
            old.reach, old.process = Reach.REFUSED, ProcessState.NONE
        # An unreachable master stays as it is: the isolation policy accepts that.
        self.opened.discard(old.label)
        self.lab.promote(target.label, self.lab.facts.epoch + 1)
        self.opened.add(target.label)
        for slave in self.lab.servers.values():
            if slave.follows == old.host and slave.reach is Reach.ALIVE:
                self.lab.follow(slave.label, target.label)

    def check(self, decision: Decision) -> None:
        lab, action = self.lab, decision.action
        if action is Action.NONE:
            return
        assert decision.target is not None
        assert decision.blocked_by == ()
        assert lab.policy.mode is Mode.AUTOMATIC
        assert lab.facts.operation is None
        assert lab.facts.maintenance is None or lab.facts.maintenance.until <= lab.at
        target = lab.servers[decision.target]
        if action is Action.FAILOVER:
            self.check_failover(target, lab.servers[decision.master or ""])
        else:
            assert target.last is not None
            assert target.last.reach.answers
        if action is Action.LOCK:
            newest = max((one.epoch.epoch for one in lab.servers.values() if one.epoch), default=0)
            assert target.epoch is None or target.epoch.epoch < newest
            assert target.read_only is False
        if action is Action.REOPEN:
            assert all(one.read_only for one in lab.servers.values())

    def check_failover(self, target: Server, master: Server) -> None:
        lab = self.lab
        assert lab.facts.roles_known
        assert lab.facts.master == master.label
        assert master.last is not None
        assert not master.last.reach.answers
        assert master.last.reach is not Reach.FAULT
        assert target.label != master.label
        fault = lab.node(master.label).fault_since
        assert target.last is not None
        assert target.last.reach is Reach.ALIVE
        assert target.last.facts is not None
        assert target.last.facts.replication is not None
        assert target.last.facts.replication[0].sql
        assert fault is not None
        assert target.last.mono >= fault
        assert not target.disabled
        assert target.sync.state is SyncState.OK
        lag = lab.node(target.label).streamed_lag
        assert lag is not None
        assert lag <= lab.policy.max_lag
        last = lab.facts.last_failover_at
        assert last is None or lab.at - last >= lab.policy.recovery_block

    @invariant()
    def at_most_one_node_is_writable_that_we_made_writable(self) -> None:
        writable = [
            label
            for label in self.opened
            if label in self.lab.servers and self.lab.servers[label].read_only is False
        ]
        assert len(writable) <= 1

    @precondition(lambda self: self.lab.history)
    @invariant()
    def everything_can_be_told_in_plain_words(self) -> None:
        diagnosis, ready = self.lab.diagnosis, self.lab.readiness
        assert diagnosis.text
        assert ready.sentence.endswith(".")
        assert len(ready.guards) == 7
        assert all(guard.reason for guard in ready.guards)
        for text in (diagnosis.text, ready.sentence, *(one.text for one in diagnosis.findings)):
            assert "None" not in text
            assert "\n" not in text
        assert all(row.text for row in matrix(self.lab.snapshot, self.lab.mono))


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)

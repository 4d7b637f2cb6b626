"""Resyncs that nobody at a console asked for: the web console's requests, and the limit a day."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.fake_senses import Watched, settings

from pfms_ha_tui.cluster.decision import Action, Decision
from pfms_ha_tui.cluster.observation import PandoraFacts
from pfms_ha_tui.config.settings import PandoraSettings
from pfms_ha_tui.errors import OperationError
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.protocol import EventsQuery, Order
from pfms_ha_tui.worker.resyncs import Resyncs

NOTHING = Decision(action=Action.NONE, reason="Nothing is to be done.")


@dataclass
class Office:
    """A watched pair, its requests, and what was begun for them."""

    watched: Watched
    begun: list[tuple[str | None, str]] = field(default_factory=list)
    why_not: str | None = None

    def __post_init__(self) -> None:
        self.resyncs = Resyncs(self.watched.monitor, self.begin)

    def begin(self, order: Order, *, actor: str, reason: str) -> None:
        if self.why_not is not None:
            raise OperationError(self.why_not)
        self.begun.append((order.target, actor))

    async def asked(self, *hosts: str, decision: Decision = NOTHING) -> None:
        """The master's table holds these requests; judged twice."""
        seen = self.watched.master()
        pandora = PandoraFacts(schema_release="MR 60", resync_requests=hosts)
        self.watched.tell(replace(seen, pandora=pandora), self.watched.slave())
        await self.watched.until(
            lambda state: any(
                node.pandora_seen is not None
                and node.pandora_seen.pandora is not None
                and node.pandora_seen.pandora.resync_requests == hosts
                and node.label == "node1"
                for node in state.snapshot.nodes
            )
        )
        for _ in range(2):
            self.resyncs.look(decision)

    async def told(self, kind: str) -> list[str]:
        events = await self.watched.memory.journal.events(EventsQuery())
        return [event.text for event in events if event.kind == kind]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched = Watched(settings(pandora=PandoraSettings(honour_web_resync=True)), journal)
    await watched.healthy()
    yield Office(watched)
    await watched.monitor.stop(1.0)
    await journal.close()


async def test_a_request_of_the_web_console_is_carried_out_once(office: Office) -> None:
    await office.asked("10.0.0.2")
    assert office.begun == [("node2", "web console")]
    await office.asked()
    await office.asked("10.0.0.2", "10.9.9.9")
    assert office.begun == [("node2", "web console")] * 2, "asked again after it was gone"


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(replace(NOTHING, action=Action.FAILOVER, target="node2"), id="a failover"),
        pytest.param(replace(NOTHING, proposal=Action.LOCK, target="node2"), id="a lock that is due"),
        pytest.param(replace(NOTHING, suspect=True), id="a master that may be dying"),
    ],
)
async def test_a_request_waits_while_there_is_something_more_urgent(
    office: Office, decision: Decision
) -> None:
    await office.asked("10.0.0.2", decision=decision)
    assert office.begun == []


async def test_a_request_that_is_refused_is_told_once_for_each_reason(office: Office) -> None:
    office.why_not = "node2 is the master"
    await office.asked("10.0.0.2")
    await office.asked("10.0.0.2")
    assert [text for text in await office.told("operation_refused") if "is the master" in text] == [
        "a resync of node2 was asked for in the web console: node2 is the master"
    ]


async def test_requests_are_left_alone_unless_the_settings_honour_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.open()
    watched = Watched(settings(), journal)
    await watched.healthy()
    office = Office(watched)
    await office.asked("10.0.0.2")
    assert office.begun == []
    await watched.monitor.stop(1.0)
    await journal.close()


async def test_only_so_many_resyncs_a_day_and_the_end_of_them_is_told_once(office: Office) -> None:
    memory = office.watched.memory
    refused = replace(NOTHING, proposal=Action.REJOIN, target="node3", left={"node2": "No resync: why"})
    office.resyncs.look(refused)
    assert await office.told("resync_given_up") == []
    for _ in range(memory.policy.resync_retries):
        memory.resynced_by_itself("node2")
    assert memory.facts().auto_resyncs == {"node2": 2}
    for _ in range(2):
        office.resyncs.look(refused)
    assert await office.told("resync_given_up") == ["No resync: why"]
    memory.resynced_by_person("node2")
    assert memory.facts().auto_resyncs == {}


async def test_a_resync_of_yesterday_does_not_count_any_more(office: Office) -> None:
    memory = office.watched.memory
    memory.journal.put_fact(
        memory.name, "auto_resyncs", {"node2": [time.time() - 90_000, time.time() - 5], "node1": [1.0]}
    )
    assert memory.facts().auto_resyncs == {"node2": 1}

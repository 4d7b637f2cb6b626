"""What the panes say about a cluster, line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from support import console_states as states
from support.console_past import lag_history, past_events
from support.console_story import (
    CLUSTER,
    MONO,
    WALL,
    Story,
    bad,
    following,
    good,
    healthy_looks,
    server,
    shell,
)

from pfms_ha_tui.cluster.diagnosis import DiagnosisKind, Finding, Severity
from pfms_ha_tui.cluster.event import LagSample
from pfms_ha_tui.cluster.observation import Reach, SshState
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.cluster.snapshot import Maintenance, Role
from pfms_ha_tui.console.actions import ACTIONS
from pfms_ha_tui.console.commands import Command
from pfms_ha_tui.console.glyphs import BARS
from pfms_ha_tui.console.ink import Ink, Line, as_text, text_of, width_of
from pfms_ha_tui.console.scene import Board, Phase, Scene
from pfms_ha_tui.console.widgets.banner import banner_lines
from pfms_ha_tui.console.widgets.details import node_lines, table
from pfms_ha_tui.console.widgets.evidence import evidence_lines
from pfms_ha_tui.console.widgets.keys import key_line
from pfms_ha_tui.console.widgets.lag import draw, in_buckets, lag_lines
from pfms_ha_tui.console.widgets.nodes import nodes_page
from pfms_ha_tui.console.widgets.readiness import readiness_lines, readiness_title
from pfms_ha_tui.console.widgets.timeline import Choice, chosen, timeline_page
from pfms_ha_tui.console.widgets.title import tab_line, title_line
from pfms_ha_tui.console.widgets.topology import topology_lines, tree
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.worker.protocol import ClusterState


def scene(state: ClusterState | None, *, phase: Phase = Phase.UP, later: float = 0.4) -> Scene:
    board = Board(phase=phase)
    if state is not None:
        board.clusters[state.name] = state
        board.events[state.name] = tuple(reversed(past_events(state.name)))
        board.lags[(state.name, "node2")] = lag_history()
    return Scene(board, state, MONO + later, WALL + later)


def text(lines: Sequence[Line]) -> str:
    return as_text(lines)


def row(state: ClusterState, label: str, *, width: int = 240, later: float = 0.4) -> dict[str, str]:
    """The cells of one node by their column, read off the table itself."""
    page = nodes_page(scene(state, later=later), width, 20)
    assert page.header is not None
    head = text_of(page.header)
    titles = [title for title in head.split("  ") if title.strip()]
    starts = [head.index(title) for title in titles]
    cells = text_of(page.lines[page.keys.index(label)])
    ends = [*starts[1:], len(cells) + 1]
    return {
        title.strip(): cells[start:end].strip()
        for title, start, end in zip(titles, starts, ends, strict=True)
    }


def inks(lines: Sequence[Line], words: str) -> set[Ink]:
    return {span.ink for value in lines for span in value if words in span.text}


class TestNodes:
    def test_a_healthy_pair(self) -> None:
        master, slave = row(states.healthy(), "node1"), row(states.healthy(), "node2")
        assert master["Role"] == "★ MASTER"
        assert master["Position"] == "binlog.18:1135140"
        assert (master["Replication"], master["Behind"]) == ("—", "—")
        assert slave["Role"] == "SLAVE"
        assert slave["SQL"] == "● up 1.2 ms"
        assert (slave["Replication"], slave["Behind"], slave["Sync"]) == ("● running", "0 s", "● ok")
        assert (slave["Version"], slave["DB"], slave["Seen"]) == ("8.0.30-22", "MR 60", "now")

    def test_a_dead_master_is_a_memory_and_its_slave_is_not_called_in_sync(self) -> None:
        dead, slave = row(states.dead_master(), "node1"), row(states.dead_master(), "node2")
        assert dead["Role"] == "was MASTER"
        assert dead["SQL"] == "✖ refused"
        assert dead["Sync"] == "?"
        assert dead["Seen"] == "6 s"
        assert (slave["Replication"], slave["Behind"], slave["Sync"]) == ("▲ connecting", "?", "?")

    def test_unknown_facts_are_question_marks_never_zeros(self) -> None:
        known, unasked = row(states.unknown_values(), "node1"), row(states.unknown_values(), "node2")
        assert known["Replication"] == "? no right"
        assert known["Position"] == "?"
        assert unasked["SQL"] == "? not asked"
        assert unasked["Seen"] == "never"
        for column in ("Sync", "Role", "SSH", "Behind", "Position", "Version", "DB", "Clients", "Disk free"):
            assert unasked[column] == "?", column

    def test_an_sql_error_is_alive_and_named(self) -> None:
        assert row(states.master_full(), "node1")["SQL"] == "▲ full"

    def test_resyncs_have_glyph_word_and_percentage(self) -> None:
        assert row(states.resync_running(), "node2")["Sync"] == "⟳ 43 %"
        assert row(states.resync_running(), "node2")["Replication"] == "⟳ cloning"
        assert row(states.resync_failed(), "node2")["Sync"] == "✖ failed"
        assert row(states.resync_failed(), "node3")["Sync"] == "◷ queued"

    def test_a_broken_sql_thread_is_not_in_sync(self) -> None:
        assert row(states.sql_stopped(), "node2")["Sync"] == "✖ broken"
        assert row(states.sql_stopped(), "node2")["Replication"] == "✖ SQL stopped"

    def test_a_writable_slave_and_a_disabled_one_are_marked(self) -> None:
        story = Story()
        facts = server(2, read_only=False, super_read_only=False, replication=(following(),))
        story.look(0.0, {"node1": good("node1", 0.0, server(1)), "node2": good("node2", 0.0, facts)})
        state = story.state()
        nodes = tuple(replace(node, disabled=node.label == "node2") for node in state.snapshot.nodes)
        state = replace(state, snapshot=replace(state.snapshot, nodes=nodes))
        assert row(state, "node2")["Role"] == "SLAVE rw off"

    def test_a_node_that_went_silent_fades_with_its_age_even_while_the_worker_talks(self) -> None:
        state = states.nobody_answers()
        assert row(state, "node2")["Seen"] == "1 min"
        assert row(state, "node2")["Replication"] == "was running"
        assert row(state, "node2")["Behind"] == "was 0 s"
        page = nodes_page(scene(state), 240, 20)
        assert inks(page.lines, "was 0 s") == {Ink.DIM}

    def test_everything_is_in_the_past_when_the_worker_is_lost(self) -> None:
        page = nodes_page(scene(states.healthy(), phase=Phase.LOST, later=12.0), 240, 20)
        shown = text(page.lines)
        for words in ("was MASTER", "was SLAVE", "was up", "was running", "was 0 s", "12 s"):
            assert words in shown
        assert "●" not in shown

    @pytest.mark.parametrize("name", sorted(states.STATES))
    @pytest.mark.parametrize("width", [75, 95, 115, 165, 195, 245])
    def test_rows_fit_and_the_vital_columns_stay(self, name: str, width: int) -> None:
        page = nodes_page(scene(states.STATES[name]()), width, 20)
        assert page.header is not None
        assert all(width_of(one) <= width for one in (page.header, *page.lines))
        for title in ("Sync", "Label", "Role", "SQL", "Behind"):
            assert title in text_of(page.header)

    def test_at_120_columns_the_table_is_as_drawn(self) -> None:
        page = nodes_page(scene(states.healthy()), 115, 20)
        assert page.header is not None
        titles = "Sync Label IP Role SQL SSH Replication Behind Position Version DB Seen"
        assert text_of(page.header).split() == titles.split()

    def test_a_filter_keeps_rows_that_have_all_words(self) -> None:
        assert nodes_page(scene(states.healthy()), 200, 20, "slave NODE2").keys == ["node2"]
        assert nodes_page(scene(states.healthy()), 200, 20, "slave node1").keys == []

    def test_the_table_does_not_move_when_a_latency_gets_a_digit(self) -> None:
        state = states.healthy()
        slow = state.snapshot.nodes[0]
        assert slow.observation is not None
        slow = replace(slow, observation=replace(slow.observation, latency=0.0123))
        other = replace(state, snapshot=replace(state.snapshot, nodes=(slow, state.snapshot.nodes[1])))
        assert nodes_page(scene(state), 115, 9).header == nodes_page(scene(other), 115, 9).header


class TestTopology:
    def test_slaves_hang_under_their_master(self) -> None:
        (root,) = tree(states.three_nodes().snapshot)
        assert root.node.label == "node1"
        assert [branch.node.label for branch in root.followers] == ["node2", "node3"]

    def test_two_masters_are_two_trees_and_the_word_is_red(self) -> None:
        state = states.split_brain()
        assert len(tree(state.snapshot)) == 2
        lines = topology_lines(scene(state), 50, 8)
        assert inks(lines, "MASTER") == {Ink.BAD}
        assert "180 writes/s" in text(lines)
        assert "12 writes/s" in text(lines)

    def test_a_slave_that_takes_writes_is_called_what_it_is(self) -> None:
        state = states.split_brain()
        first, second = state.snapshot.nodes
        assert second.last_good is not None
        assert second.last_good.facts is not None
        still = replace(second.last_good.facts, replication=(following(),), read_only=False)
        slave = replace(second, role=Role.SLAVE, last_good=replace(second.last_good, facts=still))
        shown = scene(replace(state, snapshot=replace(state.snapshot, nodes=(first, slave))))
        lines = topology_lines(shown, 38, 8)
        assert "node2  writable SLAVE" in text(lines)
        assert inks(lines, "writable SLAVE") == {Ink.BAD}

    def test_the_master_that_answers_stands_above_the_one_that_died(self) -> None:
        snapshot = states.split_brain().snapshot
        dead = replace(snapshot.nodes[0], observation=states.dead_master().snapshot.nodes[0].observation)
        drawn = tree(replace(snapshot, nodes=(dead, snapshot.nodes[1])))
        assert [branch.node.label for branch in drawn] == ["node2", "node1"]

    def test_a_circle_is_drawn_once(self) -> None:
        snapshot = states.healthy().snapshot
        nodes = snapshot.nodes
        back = replace(following(), source_host=nodes[1].host)
        assert nodes[0].last_good is not None
        facts = server(1, replication=(back,))
        first = replace(nodes[0], role=Role.SLAVE, last_good=replace(nodes[0].last_good, facts=facts))
        drawn = tree(replace(snapshot, nodes=(first, nodes[1])))
        assert [branch.node.label for branch in drawn] == ["node1"]
        assert [branch.node.label for branch in drawn[0].followers] == ["node2"]

    def test_a_broken_link_is_a_cross_and_a_flowing_one_an_arrow(self) -> None:
        assert "└▶ node2" in text(topology_lines(scene(states.healthy()), 60, 8))
        assert "└✖ node2" in text(topology_lines(scene(states.dead_master()), 60, 8))

    def test_a_source_outside_the_cluster_is_said(self) -> None:
        story = Story(count=1)
        foreign = following(source_host="10.0.0.9", source_uuid=None, source_server_id=77)
        story.look(0.0, {"node1": good("node1", 0.0, server(1, read_only=True, replication=(foreign,)))})
        assert "of 10.0.0.9, not in this cluster" in text(topology_lines(scene(story.state()), 90, 8))

    def test_many_nodes_fold_to_one_line_each(self) -> None:
        lines = topology_lines(scene(states.three_nodes()), 60, 3)
        assert len(lines) == 3
        assert "node3  SLAVE  IO ● SQL ●  4 s behind" in text(lines)

    def test_too_many_nodes_say_how_many_are_hidden(self) -> None:
        lines = topology_lines(scene(states.three_nodes()), 60, 2)
        assert "… 2 more below" in text(lines)

    @pytest.mark.parametrize("name", sorted(states.STATES))
    def test_it_fits(self, name: str) -> None:
        for width, height in ((34, 7), (46, 7), (70, 12)):
            lines = topology_lines(scene(states.STATES[name]()), width, height)
            assert len(lines) <= height
            assert all(width_of(one) <= width for one in lines)


class TestReadiness:
    def test_guards_that_hold_show_their_title_and_others_their_reason(self) -> None:
        shown = text(readiness_lines(scene(states.lagging()), 60, 7))
        assert "✖ node2 is 47 s behind, more than 30 s" in shown
        assert "✔ this host is not cut off" in shown
        assert readiness_title(scene(states.lagging())) == "Failover readiness 6/7"

    def test_what_is_not_known_is_neither_ticked_nor_crossed(self) -> None:
        assert "? no preflight has run yet" in text(readiness_lines(scene(states.unknown_values()), 60, 7))

    def test_a_memory_says_so(self) -> None:
        assert readiness_title(scene(states.healthy(), phase=Phase.LOST)) == "Failover readiness was 7/7"

    @pytest.mark.parametrize("name", sorted(states.STATES))
    def test_every_guard_has_a_line_in_seven(self, name: str) -> None:
        lines = readiness_lines(scene(states.STATES[name]()), 38, 7)
        assert len(lines) == 7
        assert all(width_of(one) <= 38 for one in lines)

    def test_room_to_spare_goes_to_the_reasons(self) -> None:
        narrow = readiness_lines(scene(states.sql_stopped()), 46, 7)
        wide = readiness_lines(scene(states.sql_stopped()), 46, 12)
        assert len(narrow) == 7
        assert len(wide) > 7


class TestLag:
    def test_nothing_observed_and_null_are_not_zero(self) -> None:
        buckets = in_buckets(
            [LagSample(at=595.0, seconds=0, bytes=0), LagSample(at=565.0, seconds=None, bytes=None)],
            599.0,
            20,
            1.0,
        )
        assert len(buckets) == 20
        assert buckets[-1] == 0
        assert buckets[-2] is None
        assert all(value is not None and math.isnan(value) for value in buckets[:-2])
        (bottom,) = draw(buckets, 1, 5.0, (10.0, 30.0))
        assert text_of(bottom) == "·" * 18 + "✖" + "▁"

    def test_the_worst_of_a_stretch_counts_and_null_is_the_worst(self) -> None:
        samples = [LagSample(at=590.0 + second, seconds=second, bytes=0) for second in range(5)]
        assert in_buckets(samples, 599.0, 20, 1.0)[-1] == 4
        samples.append(LagSample(at=596.0, seconds=None, bytes=None))
        assert in_buckets(samples, 599.0, 20, 1.0)[-1] is None

    def test_the_picture_stands_still_until_a_new_stretch_begins(self) -> None:
        samples = [LagSample(at=float(second), seconds=second % 7, bytes=0) for second in range(572)]
        before = in_buckets(samples, 571.0, 20, 1.0)
        assert in_buckets(samples, 599.0, 20, 1.0) == before
        assert in_buckets(samples, 605.0, 20, 1.0) != before

    def test_a_stretch_that_has_just_begun_is_no_gap(self) -> None:
        samples = [LagSample(at=float(second), seconds=0, bytes=0) for second in range(600)]
        assert in_buckets(samples, 600.5, 20, 1.0)[-1] == 0
        gap = in_buckets(samples, 603.0, 20, 1.0)[-1]
        assert gap is not None
        assert math.isnan(gap)

    def test_bars_grow_over_several_rows_and_take_the_colour_of_the_limits(self) -> None:
        top, bottom = draw([0.0, 5.0, 10.0], 2, 10.0, (4.0, 8.0))
        assert text_of(top) == "  █"
        assert text_of(bottom) == "▁██"
        assert [span.ink for span in bottom] == [Ink.OK, Ink.WARN, Ink.BAD]

    def test_one_second_of_lag_is_no_mountain(self) -> None:
        story = scene(states.healthy())
        story.board.lags[(CLUSTER, "node2")] = [LagSample(at=WALL - 5, seconds=1, bytes=0)]
        graph = lag_lines(story, 40, 7)
        assert sum(any(bar in text_of(one) for bar in BARS) for one in graph) == 1, "one row of five"

    def test_an_unknown_lag_is_said_in_words(self) -> None:
        assert "not known" in text(lag_lines(scene(states.sql_stopped()), 40, 7))

    def test_several_slaves_share_the_height(self) -> None:
        lines = lag_lines(scene(states.three_nodes()), 40, 8)
        assert len(lines) <= 8
        assert "node2" in text(lines[:1])
        assert any("node3" in text_of(one) for one in lines)

    def test_no_slave_is_no_graph(self) -> None:
        bare = scene(states.split_brain())
        bare.board.lags.clear()
        assert text(lag_lines(bare, 40, 7)) == "no slave"


class TestBanner:
    @pytest.mark.parametrize("shown", [states.split_brain(), states.dead_master()])
    def test_the_advice_is_whole_on_the_narrowest_screen(self, shown: ClusterState) -> None:
        hint = shown.diagnosis.hint
        assert hint is not None
        assert hint in text(banner_lines(scene(shown), 80))
        longer = replace(shown, diagnosis=replace(shown.diagnosis, hint=f"{hint} {hint} At last."))
        assert "At last." in text(banner_lines(scene(longer), 100))

    def test_health_and_readiness_share_a_line_when_there_is_room(self) -> None:
        lines = banner_lines(scene(states.healthy()), 120)
        assert len(lines) == 1
        assert "HEALTHY" in text(lines)
        assert "node2 would take over (7 of 7 checks pass)." in text(lines)

    def test_trouble_comes_with_what_to_do_and_what_would_happen(self) -> None:
        shown = text(banner_lines(scene(states.dead_master()), 80))
        assert "✖ MASTER DEAD" in shown
        assert "→ node2 can take over." in shown
        assert "node2 takes over now" in shown

    @pytest.mark.parametrize("name", sorted(states.STATES))
    def test_it_fits_and_is_never_empty(self, name: str) -> None:
        for width in (80, 120, 200):
            for most in (4, 6):
                lines = banner_lines(scene(states.STATES[name]()), width, most)
                assert 1 <= len(lines) <= most
                assert all(width_of(one) <= width for one in lines)

    def test_a_lost_worker_says_how_old_the_data_is_and_what_was_last_known(self) -> None:
        lost = scene(states.healthy(), phase=Phase.LOST, later=12.7)
        lost.board.problem = WorkerError("the connection to the worker was lost")
        shown = text(banner_lines(lost, 100))
        assert "WORKER LOST" in shown
        assert "data is 12 s old" in shown
        assert "last known: HEALTHY" in shown
        assert "would take over" not in shown

    def test_a_worker_that_says_nothing_new_is_not_believed(self) -> None:
        silent = scene(states.healthy(), later=9.0)
        assert silent.stale
        assert "WORKER SILENT" in text(banner_lines(silent, 100))
        assert "nothing for 9 s" in text(banner_lines(silent, 100))

    def test_before_the_first_word_it_says_what_it_waits_for(self) -> None:
        assert "CONNECTING" in text(banner_lines(scene(None, phase=Phase.CONNECTING), 80))
        assert "starting one" in text(banner_lines(scene(None, phase=Phase.STARTING), 80))
        assert "first look" in text(banner_lines(scene(None), 80))
        failed = scene(None, phase=Phase.FAILED)
        failed.board.problem = WorkerError(
            "no worker is running at w.sock", hint="start it with: pfms-ha-tui worker"
        )
        shown = text(banner_lines(failed, 120))
        assert "NO WORKER" in shown
        assert "start it with: pfms-ha-tui worker" in shown

    def test_maintenance_rivals_notes_and_operations_stand_under_it(self) -> None:
        state = replace(
            states.healthy(),
            maintenance=Maintenance(until=WALL + 1740, reason="kernel", by="carol"),
            rival_manager="pandora_ha runs on this host (pid 77)",
            notes=("the journal was corrupt, set aside",),
        )
        shown = text(banner_lines(scene(state), 120, 6))
        assert "‖ maintenance until 11:01 CET (29 min left): no automatic failover. kernel (carol)" in shown
        assert "pandora_ha runs on this host" in shown
        assert "the journal was corrupt" in shown
        assert "step 2 of 3: copy the data to node2 43 %" in text(
            banner_lines(scene(states.resync_running()), 120)
        )


class TestTitle:
    def test_it_says_cluster_mode_worker_and_time(self) -> None:
        shown = text_of(title_line(scene(states.healthy()), 120))
        assert "pandora-prod" in shown
        assert "automatic failover · every 1 s" in shown
        assert shown.rstrip().endswith("10:32:59 CET")

    @pytest.mark.parametrize("width", [80, 100, 120, 200])
    def test_it_fits(self, width: int) -> None:
        assert width_of(title_line(scene(states.healthy()), width)) <= width
        assert width_of(title_line(scene(states.nasty()), width, "nö 中")) <= width

    def test_modes_and_read_only_are_words(self) -> None:
        state = replace(states.healthy(), mode=Mode.OBSERVE)
        watching = replace(scene(state), read_only=True)
        assert "observes only" in text_of(title_line(watching, 120))
        assert "read-only" in text_of(title_line(watching, 120))

    def test_tabs_stand_worst_first_and_know_their_places(self) -> None:
        here = scene(states.healthy())
        dead = replace(states.dead_master(), name="pandora-dr")
        here.board.clusters["pandora-dr"] = dead
        drawn, places = tab_line(here, here.board.worst_first(), 120)
        assert text_of(drawn).split()[:3] == ["1", "pandora-dr", "✖"]
        for start, end, name in places:
            assert name in text_of(drawn)[start:end]


class TestEvidence:
    def test_it_says_who_sees_whom_and_how_old_that_is(self) -> None:
        shown = text(evidence_lines(scene(states.dead_master()), 90, None))
        assert "worker    → node1  ✖ refuses the connection" in shown
        assert "node2     → node1  ✖ is connecting, error 2003" in shown
        assert "via node2 → node1  ✖ connection refused" in shown
        assert "ssh       → node1  ✖ there is no database process" in shown

    def test_one_node_is_shown_with_what_it_sees_and_who_sees_it(self) -> None:
        lines = evidence_lines(scene(states.healthy()), 90, None, "node2")
        assert all("node2" in text_of(one) for one in lines)
        assert any("node2  → node1" in text_of(one) for one in lines)

    def test_an_old_look_is_marked(self) -> None:
        state = states.healthy()
        lines = evidence_lines(scene(state, later=400.0), 90, None)
        assert "6 min" in text(lines)
        assert inks(lines, "6 min") == {Ink.WARN}

    def test_what_does_not_fit_is_counted(self) -> None:
        lines = evidence_lines(scene(states.three_nodes()), 60, 4)
        assert len(lines) == 4
        assert "more: e" in text(lines[-1:])


class TestTimeline:
    def test_newest_first_with_time_sign_text_and_actor(self) -> None:
        here = scene(states.healthy())
        page = timeline_page(here, here.events, 110)
        first = text_of(page.lines[0])
        assert first.split()[:3] == ["10:32:41", "●", "resync"]
        assert first.endswith("carol")
        assert page.keys[0] == "6"
        assert all(width_of(one) <= 110 for one in page.lines)
        assert {text_of(one).index(sign) for one, sign in zip(page.lines, "●●✖▲●●", strict=True)} == {13}

    def test_words_and_severity_choose(self) -> None:

        events = past_events()
        assert [event.id for event in chosen(events, "node2 DEAD")] == [4]
        assert [event.id for event in chosen(events, "", Severity.WARNING)] == [3, 4]
        assert [event.id for event in chosen(events, "", Severity.CRITICAL)] == [4]
        assert [event.id for event in chosen(events, "error 2003")] == [4], "details are searched too"

    def test_a_choice_is_made_anew_only_when_something_changed(self) -> None:
        events, choice = past_events(), Choice()
        first = choice.of(events, "dead")
        assert choice.of(events, "dead") is first
        assert choice.of(events, "resync") is not first
        assert choice.of([*events], "resync") is not choice.of(events, "resync")

    def test_nothing_to_show_says_why(self) -> None:
        here = scene(states.healthy())
        assert "no event fits" in text(timeline_page(here, [], 80).lines)
        here.board.events.clear()
        assert "nothing has happened yet" in text(timeline_page(here, [], 80).lines)


def test_ssh_that_is_off_is_no_alarm() -> None:
    story = Story()
    looks = {
        "node1": good("node1", 0.0, server(1)),
        "node2": good("node2", 0.0, server(2, replication=(following(),))),
    }

    story.look(0.0, looks, shells={"node1": shell("node1", 0.0, state=SshState.OFF)})
    assert row(story.state(), "node1")["SSH"] == "○ off"
    assert row(story.state(), "node2")["SSH"] == "?"


class TestKeyLine:
    IDS = ("switchover", "details", "evidence", "timeline", "filter", "copy", "help", "commands", "quit")

    @pytest.mark.parametrize("width", [80, 60, 40, 20])
    def test_it_fits_and_leaves_out_what_matters_least(self, width: int) -> None:
        drawn, places = key_line(scene(states.healthy()), "node1", self.IDS, {}, width)
        assert width_of(drawn) <= width
        assert {"help", "quit"} <= {name for _, _, name in places}

    def test_every_place_is_where_the_words_stand(self) -> None:
        drawn, places = key_line(scene(states.healthy()), "node1", self.IDS, {}, 200)
        assert [name for _, _, name in places] == list(self.IDS)
        for start, end, name in places:
            assert text_of(drawn)[start:end].endswith(ACTIONS[name].title)

    def test_what_cannot_be_done_is_grey_and_a_remapped_key_is_shown(self) -> None:
        drawn, _ = key_line(scene(None), None, ("evidence", "help"), {"help": "f1"}, 80)
        assert text_of(drawn) == " e Evidence  f1 Help"
        assert inks([drawn], "e Evidence") == {Ink.DIM}
        assert inks([drawn], "f1") == {Ink.KEY}


def test_a_node_that_stopped_answering_was_running_from_the_first_moment_on() -> None:
    story = Story()
    healthy_looks(story, until=1.0)
    story.look(
        0.0, {"node1": good("node1", 0.0, server(1)), "node2": bad("node2", 0.0, Reach.HUNG, "hung", "x")}
    )
    cells = row(story.state(), "node2", later=0.0)
    assert cells["Replication"] == "was running"
    assert cells["Behind"] == "was 0 s"


def test_a_diverged_node_has_no_green_icon() -> None:
    state = states.healthy()
    finding = Finding(
        kind=DiagnosisKind.DIVERGED, severity=Severity.CRITICAL, node="node2", text="x", hint=None
    )
    state = replace(state, diagnosis=replace(state.diagnosis, findings=(finding,)))
    assert row(state, "node2")["Sync"] == "✖ diverged"
    assert row(state, "node1")["Sync"].endswith("● ok")


def test_the_longest_titles_and_names_keep_their_distance_from_what_follows() -> None:
    for action in ACTIONS.values():
        text_line = text_of(Command(id=action.id, title=action.title, about="About.").as_line(100))
        assert f" {action.title}  " in text_line
    name = "binlog_direct_non_transactional_updates"
    assert [text_of(one) for one in table([("x", "1"), (name, "OFF")], 58)] == [
        f"x{' ' * 35}1",
        name,
        f"{' ' * 36}OFF",
    ]


@pytest.mark.parametrize(("age", "word"), [(59.0, "up"), (61.0, "down")])
def test_a_pandora_server_that_was_silent_for_twice_the_threshold_is_down(age: float, word: str) -> None:
    state = states.healthy()
    assert state.policy is not None
    assert state.policy.server_threshold == 30.0
    (node, *rest) = state.snapshot.nodes
    seen = node.pandora_seen
    assert seen is not None
    assert seen.pandora is not None
    servers = tuple(replace(one, keepalive_age=age) for one in seen.pandora.servers)
    seen = replace(seen, pandora=replace(seen.pandora, servers=servers))
    nodes = (replace(node, pandora_seen=seen), *rest)
    shown = replace(state, snapshot=replace(state.snapshot, nodes=nodes))
    told = text(node_lines(scene(shown), shown.snapshot.nodes[0], 120))
    assert f"type 1 master  {word}, heard" in told

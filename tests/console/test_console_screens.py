"""The console under the fingers: every screen, every key, on a worker behind a real socket."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import console_states as states
from support.console_app import Stage, console
from support.console_story import CLUSTER, WALL
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Input

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.policy import Mode
from pfms_ha_tui.config.settings import ConsoleSettings
from pfms_ha_tui.console import link
from pfms_ha_tui.console.actions import ACTIONS, EVERYWHERE
from pfms_ha_tui.console.screens.base import ConsoleScreen
from pfms_ha_tui.console.screens.dashboard import Dashboard
from pfms_ha_tui.console.screens.dialogs import Palette, Question, TooSmall
from pfms_ha_tui.console.screens.evidence import EvidenceScreen
from pfms_ha_tui.console.screens.help import HelpScreen
from pfms_ha_tui.console.screens.node import NodeScreen
from pfms_ha_tui.console.screens.timeline import TimelineScreen
from pfms_ha_tui.console.themes import CHOICES, THEMES
from pfms_ha_tui.console.widgets.pane import Document, Listing
from pfms_ha_tui.worker.protocol import Rights


def cursor(stage: Stage, pane: str) -> str | None:
    return stage.app.screen.query_one(f"#{pane}", Listing).cursor_key


def on(stage: Stage, kind: type[Screen[Any]]) -> bool:
    return isinstance(stage.app.screen, kind)


def notices(stage: Stage) -> str:
    return "\n".join(notice.message for notice in stage.app._notifications)


class TestMoving:
    async def test_letters_and_arrows_move_through_the_nodes(self, folder: Path) -> None:
        async with console(folder, states.three_nodes()) as stage:
            seen = [cursor(stage, "nodes")]
            for key in ("j", "down", "down", "k", "up", "G", "g", "end", "home"):
                await stage.press(key)
                seen.append(cursor(stage, "nodes"))
            assert seen == [
                "node1", "node2", "node3", "node3", "node2", "node1", "node3", "node1", "node3", "node1",
            ]  # fmt: skip

    async def test_tab_goes_through_the_panes_and_enter_opens_what_the_cursor_is_on(
        self, folder: Path
    ) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("tab", "down", "down", "enter")
            assert on(stage, TimelineScreen)
            assert cursor(stage, "events") == "4"
            await stage.until_text("node1 lost it: error 2003")

    async def test_escape_goes_back_and_never_quits(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("down", "enter")
            assert on(stage, NodeScreen)
            await stage.press("escape", "escape", "escape")
            assert on(stage, Dashboard)
            assert cursor(stage, "nodes") == "node2", "the cursor is where it was left"
            assert stage.app.is_running

    async def test_a_click_chooses_and_a_double_click_opens(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.pilot.click("#nodes", offset=(10, 3))
            assert cursor(stage, "nodes") == "node2"
            await stage.pilot.click("#nodes", offset=(10, 3), times=2)
            await stage.pilot.pause()
            assert on(stage, NodeScreen)

    async def test_a_click_on_a_key_does_what_the_key_does(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            line = stage.text().splitlines()[-1]
            await stage.pilot.click("#keys", offset=(line.index("Help"), 0))
            await stage.pilot.pause()
            assert on(stage, HelpScreen)

    async def test_a_document_scrolls(self, folder: Path) -> None:
        async with console(folder, states.healthy(), size=(80, 24)) as stage:
            await stage.press("question_mark", "j", "j")
            pane = stage.app.screen.query_one("#help", Document)
            assert pane.scroll_offset.y == 2
            await stage.press("G")
            assert pane.scroll_offset.y == pane.max_scroll_y > 10
            await stage.press("b")
            assert pane.scroll_offset.y < pane.max_scroll_y
            await stage.press("g")
            assert pane.scroll_offset.y == 0


class TestScreens:
    async def test_node_details_are_asked_of_the_server_after_the_paint(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("down", "enter")
            await stage.until_text("Replica_IO_State")
            for words in (
                "As the server says it · 10:32:59 CET",
                "follows by file and position",
                "Seconds behind",
            ):
                assert words in stage.text()

    async def test_node_details_that_cannot_be_had_say_why_and_can_be_asked_again(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            kept = stage.worker.details.pop((CLUSTER, "node2"))
            await stage.press("down", "enter")
            await stage.until_text("there is no node 'node2'")
            stage.worker.details[(CLUSTER, "node2")] = kept
            await stage.press("f5")
            await stage.until_text("Replica_IO_State")

    async def test_at_80_columns_everything_of_a_node_is_in_one_document(self, folder: Path) -> None:
        async with console(folder, states.healthy(), size=(80, 24)) as stage:
            await stage.press("down", "enter")
            pane = stage.app.screen.query_one("#known", Document)
            await stage.until(lambda: "Replica_IO_State" in stage.app.screen.pane_text(pane))  # type: ignore[attr-defined]
            shown = stage.app.screen.pane_text(pane)  # type: ignore[attr-defined]
            for words in ("Who sees whom", "Seconds behind master", "Variables that matter", "SELECT * FROM"):
                assert words in shown

    async def test_evidence_names_findings_guards_and_who_sees_whom(self, folder: Path) -> None:
        async with console(folder, states.dead_master()) as stage:
            await stage.press("e")
            assert on(stage, EvidenceScreen)
            for words in ("What is wrong", "Would a failover work now?  7 of 7 checks pass", "Who sees whom"):
                assert words in stage.text()

    async def test_the_timeline_shows_details_and_chooses_by_severity(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("t", "down", "down")
            await stage.until_text("refused 3 times, 0.1 s apart")
            await stage.press("v")
            await stage.until_text("warning and worse")
            assert len(stage.app.screen.query_one("#events", Listing).lines) == 2
            await stage.press("v")
            await stage.until_text("critical only")
            assert len(stage.app.screen.query_one("#events", Listing).lines) == 1
            await stage.press("v")
            assert len(stage.app.screen.query_one("#events", Listing).lines) == 6

    async def test_older_events_come_when_the_end_is_reached(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link, "EVENTS_AT_ONCE", 4)
        async with console(folder, states.healthy()) as stage:
            await stage.press("t")
            assert len(stage.app.scene.events) == 4
            await stage.press("G")
            await stage.until(lambda: len(stage.app.scene.events) == 6, "the older ones")
            assert CLUSTER in stage.app.board.complete
            await stage.until_text("worker started: version 0.1.0")

    async def test_new_events_appear_and_the_cursor_stays_on_its_event(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("t", "down")
            assert cursor(stage, "events") == "5"
            stage.worker.happen(
                [
                    Event(
                        id=7, at=WALL, cluster=CLUSTER, node="node2", severity=Severity.WARNING, kind="note",
                        text="node2 stopped [/red] answering", actor="worker",
                    )
                ]
            )  # fmt: skip
            await stage.until_text("node2 stopped [/red] answering")
            assert cursor(stage, "events") == "5"
            await stage.press("g")
            stage.worker.happen([replace(stage.worker.events[-1], id=8, text="and is back")])
            await stage.until_text("and is back")
            assert cursor(stage, "events") == "8", "a cursor on the newest follows the newest"

    async def test_help_finds_a_word_and_names_the_ids_of_keys(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("question_mark", "slash", *"remap", "enter")
            await stage.until_text("[console.keys] in the settings")
            assert "Keys, signs and words" not in stage.text()

    async def test_several_clusters_have_tabs_the_worst_first_and_stay_when_they_change_places(
        self, folder: Path
    ) -> None:
        bad = replace(states.dead_master(), name="pandora-dr")
        async with console(folder, states.healthy(), bad) as stage:
            await stage.until_text("[1 pandora-dr ✖]")
            await stage.press("2")
            await stage.until_text("[2 pandora-prod ●]")
            assert "HEALTHY" in stage.text()
            stage.worker.publish(replace(states.healthy(), name="pandora-dr"))
            await stage.until_text("[2 pandora-prod ●]")
            stage.worker.publish(states.lagging())
            await stage.until_text("[1 pandora-prod ▲]")
            await stage.press("right_square_bracket")
            await stage.until_text("[2 pandora-dr ●]")
            await stage.pilot.click("#tabs", offset=(5, 0))
            await stage.until_text("[1 pandora-prod ▲]")


class TestFilter:
    async def test_it_is_live_visible_and_cleared_by_escape(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("slash", *"resync node2")
            await stage.until_text("Timeline · filter “resync node2” 1 of 6")
            assert "node1" in stage.text(), "two nodes are never hidden"
            await stage.press("enter")
            assert not isinstance(stage.app.focused, Input)
            assert "filter “resync node2”" in stage.text(), "it holds"
            await stage.press("escape")
            await stage.until(lambda: "filter" not in stage.text())
            assert on(stage, Dashboard)

    async def test_letters_typed_into_it_are_no_commands(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("slash", *"qet", "question_mark")
            assert stage.app.is_running
            assert on(stage, Dashboard)
            assert stage.app.screen.query_one("#filter", Input).value == "qet?"
            await stage.until_text("no event fits the filter")

    async def test_words_of_the_filter_are_never_markup(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("slash", *"[/x]")
            await stage.until_text("filter “[/x]” 0 of 6")

    async def test_an_empty_one_closes_itself(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("slash", "enter")
            assert not isinstance(stage.app.focused, Input)
            assert "words to look for" not in stage.text()


class TestCommands:
    @pytest.mark.parametrize("key", ["colon", "ctrl+p"])
    async def test_the_palette_finds_by_words_and_runs(self, folder: Path, key: str) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press(key, *"evid", "enter")
            await stage.pilot.pause()
            assert on(stage, EvidenceScreen)

    async def test_what_cannot_be_done_says_why_in_the_palette_and_when_asked(self, folder: Path) -> None:
        async with console(folder, states.healthy(), read_only=True) as stage:
            await stage.press("colon", *"stop")
            await stage.until_text("not now: this console was started with --read-only")
            await stage.press("enter")
            said = "Stop the worker: this console was started with --read-only"
            await stage.until(lambda: said in notices(stage))
            assert stage.worker.stop_asked_by == []

    async def test_rights_that_only_look_are_enough_to_look(self, folder: Path) -> None:
        async with console(folder, states.healthy(), rights=Rights.READ) as stage:
            assert "read-only" in stage.text().splitlines()[0]
            await stage.press("colon", *"stop", "enter")
            await stage.until(lambda: "the worker lets carol only look" in notices(stage))

    async def test_themes_change_at_once(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            for name in CHOICES:
                stage.app._chosen(f"theme:{name}")
                await stage.pilot.pause()
                assert stage.app.theme == name

    async def test_stopping_the_worker_is_asked_twice_and_warns_of_what_is_lost(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("colon", *"stop", "enter")
            await stage.until_text("will not fail over by itself any more")
            await stage.press("enter")
            assert stage.worker.stop_asked_by == [], "the first answer changes nothing"
            await stage.press("colon", *"stop", "enter", "down", "enter")
            await stage.until(lambda: stage.worker.stop_asked_by, "the request to stop")

    async def test_copies_go_to_the_terminal(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("down", "y")
            assert "Label: node2" in stage.app.clipboard
            assert "Behind: 0 s" in stage.app.clipboard
            assert "copied node node2" in notices(stage)
            await stage.press("tab", "down", "down", "y")
            assert stage.app.clipboard.startswith("2025-11-28 02:11:45 CET critical: node2 is dead")
            assert "error 2003" in stage.app.clipboard
            await stage.press("e", "y")
            assert "Who sees whom" in stage.app.clipboard

    async def test_text_from_servers_in_notices_is_never_markup(self, folder: Path) -> None:
        async with console(folder, states.nasty()) as stage:
            await stage.press("y")
            await stage.until_text("copied node [/x]")


class TestExport:
    async def test_an_incident_is_written_once_whole_and_private(self, folder: Path) -> None:
        async with console(folder, states.dead_master()) as stage:
            await stage.press("t", "x")
            field = stage.app.screen.query_one("#line", Input)
            field.value = str(folder / "incident.md")
            await stage.press("enter")
            await stage.until(lambda: (folder / "incident.md").exists(), "the file")
            text = (folder / "incident.md").read_text(encoding="utf-8")
            for words in (
                "# Incident report: pandora-prod",
                "**MASTER DEAD**",
                "| Sync | Label |",
                "✔ node1 can be fenced",
                "| via node2 | node1 | lost it | connection refused |",
                "(6 events, oldest first)",
            ):
                assert words in text, words
            assert text.index("switchover finished") < text.index("resync of node2 finished")
            assert stat.S_IMODE((folder / "incident.md").stat().st_mode) == 0o600
            await stage.press("x")
            stage.app.screen.query_one("#line", Input).value = str(folder / "incident.md")
            await stage.press("enter")
            await stage.until(lambda: "exists already" in notices(stage))
            assert (folder / "incident.md").read_text(encoding="utf-8") == text
            assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []

    async def test_a_filter_limits_it_and_is_said(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("t", "slash", *"dead", "enter", "x")
            await stage.until_text("Writes 1 event (of 6: the filter holds)")
            stage.app.screen.query_one("#line", Input).value = str(folder / "one.md")
            await stage.press("enter")
            await stage.until(lambda: (folder / "one.md").exists(), "the file")
            assert "resync of node2" not in (folder / "one.md").read_text(encoding="utf-8")

    async def test_a_place_that_cannot_be_written_is_one_sentence(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("t", "x")
            stage.app.screen.query_one("#line", Input).value = str(folder / "no" / "such.md")
            await stage.press("enter")
            await stage.until(lambda: "cannot be written: No such file" in notices(stage))

    async def test_text_from_servers_is_inert_in_markdown(self, folder: Path) -> None:
        async with console(folder, states.nasty()) as stage:
            await stage.press("t", "x")
            stage.app.screen.query_one("#line", Input).value = str(folder / "n.md")
            await stage.press("enter")
            await stage.until(lambda: (folder / "n.md").exists(), "the file")
            text = (folder / "n.md").read_text(encoding="utf-8")
            assert "\\[/x\\]" in text
            assert "\x1b" not in text


class TestLeaving:
    async def test_control_c_is_another_q(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("ctrl+c")
            assert stage.app._exit

    async def test_a_worker_that_was_there_before_is_left_alone_and_that_is_said(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("q")
            assert stage.app.parting_words == (
                "the worker (pid 4121) keeps running: automatic failover stays armed for pandora-prod"
            )
            assert stage.app._exit

    async def test_in_automatic_mode_nobody_is_asked(self, folder: Path) -> None:
        async with console(folder, states.healthy(), started_worker=True) as stage:
            await stage.press("q")
            assert stage.app._exit
            assert stage.worker.stop_asked_by == []

    async def test_otherwise_a_worker_that_this_console_started_is_asked_about(self, folder: Path) -> None:
        manual = replace(states.healthy(), mode=Mode.MANUAL)
        async with console(folder, manual, started_worker=True) as stage:
            await stage.press("q")
            assert on(stage, Question)
            await stage.press("escape")
            assert on(stage, Dashboard)
            await stage.press("q", "down", "enter")
            await stage.until(lambda: stage.app._exit, "the end")
            assert len(stage.worker.stop_asked_by) == 1
            assert stage.app.parting_words == "the worker was stopped: nothing watches the cluster now"

    async def test_keeping_it_is_the_first_answer(self, folder: Path) -> None:
        manual = replace(states.healthy(), mode=Mode.MANUAL)
        async with console(folder, manual, started_worker=True) as stage:
            await stage.press("q", "enter")
            assert stage.app._exit
            assert stage.worker.stop_asked_by == []
            assert stage.app.parting_words == "the worker (pid 4121) keeps running: it watches and proposes"

    async def test_a_running_operation_keeps_the_worker(self, folder: Path) -> None:
        running = replace(states.resync_running(), mode=Mode.MANUAL)
        async with console(folder, running, started_worker=True) as stage:
            await stage.press("q")
            assert stage.app._exit

    async def test_a_console_that_only_looks_never_stops_a_worker(self, folder: Path) -> None:
        manual = replace(states.healthy(), mode=Mode.MANUAL)
        async with console(folder, manual, started_worker=True, read_only=True) as stage:
            await stage.press("q")
            assert stage.app._exit


class TestKeys:
    async def test_keys_can_be_remapped_and_the_line_of_keys_shows_them(self, folder: Path) -> None:
        settings = ConsoleSettings(keys={"evidence": "i", "quit": "f10", "move.down": "n"})
        async with console(folder, states.healthy(), settings=settings) as stage:
            line = stage.text().splitlines()[-1]
            assert "i Evidence" in line
            assert "f10 Quit" in line
            await stage.press("q", "n")
            assert not stage.app._exit
            assert cursor(stage, "nodes") == "node2"
            await stage.press("i")
            assert on(stage, EvidenceScreen)

    async def test_an_unknown_id_is_said_with_its_name(self, folder: Path) -> None:
        settings = ConsoleSettings(keys={"evidnce": "i"})
        async with console(folder, states.healthy(), settings=settings) as stage:
            await stage.until(lambda: "'evidnce' is no action" in notices(stage))

    async def test_two_actions_on_one_key_are_said(self, folder: Path) -> None:
        settings = ConsoleSettings(keys={"evidence": "t"})
        async with console(folder, states.healthy(), settings=settings) as stage:
            await stage.press("t")
            await stage.until(lambda: "t is wanted for evidence and for timeline" in notices(stage))

    async def test_an_unknown_theme_falls_back_and_says_so(self, folder: Path) -> None:
        async with console(folder, states.healthy(), settings=ConsoleSettings(theme="pink")) as stage:
            assert stage.app.theme == "dark"
            await stage.until(lambda: "there is no theme 'pink'" in notices(stage))

    def test_no_key_is_one_that_terminals_eat_and_nothing_sits_on_k(self) -> None:
        eaten = {"k", "ctrl+i", "ctrl+m", "ctrl+h", "ctrl+s", "ctrl+q", "ctrl+a", "ctrl+b", "ctrl+enter"}
        keys = [key for action in ACTIONS.values() for key in action.keys.split(",")]
        assert not eaten & set(keys)

    @pytest.mark.parametrize("screen", [Dashboard, NodeScreen, TimelineScreen, EvidenceScreen, HelpScreen])
    def test_every_key_that_is_shown_is_bound(self, screen: type[ConsoleScreen]) -> None:
        bound = {binding.id for binding in screen.BINDINGS if isinstance(binding, Binding)}
        assert set(screen.KEYS) <= bound | set(EVERYWHERE) | {"details"}


class TestSizes:
    async def test_too_small_says_so_and_comes_back(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("e")
            await stage.pilot.resize_terminal(60, 20)
            await stage.until_text("terminal too small: 60x20, needs 80x24")
            assert on(stage, TooSmall)
            await stage.press("e", "escape", "slash")
            await stage.pilot.resize_terminal(79, 24)
            await stage.until_text("79x24")
            await stage.pilot.resize_terminal(80, 24)
            await stage.until(lambda: on(stage, EvidenceScreen))
            assert "too small" not in stage.text()

    async def test_it_can_be_left_when_too_small(self, folder: Path) -> None:
        async with console(folder, states.healthy(), size=(40, 10)) as stage:
            await stage.until_text("terminal too small")
            await stage.press("q")
            assert stage.app._exit

    async def test_panes_fold(self, folder: Path) -> None:
        async with console(folder, states.healthy(), size=(80, 24)) as stage:
            assert "Seconds behind master" not in stage.text()
            await stage.pilot.resize_terminal(80, 40)
            await stage.until_text("Seconds behind master")
            await stage.pilot.resize_terminal(250, 60)
            await stage.until_text("Who sees whom")
            await stage.pilot.resize_terminal(120, 30)
            await stage.until(lambda: "Who sees whom" not in stage.text())


class TestColours:
    async def test_few_colours_take_the_themes_of_sixteen(self, folder: Path) -> None:
        async with console(folder, states.healthy(), few_colours=True) as stage:
            assert stage.app.theme == "dark-16"
            assert stage.app.native_ansi_color

    def test_no_two_severities_of_a_theme_look_alike(self) -> None:
        for theme in THEMES.values():
            colours = [theme.variables[f"ink-{ink}"] for ink in ("ok", "warn", "bad")]
            assert len(set(colours)) == 3, theme.name


class TestPalettes:
    async def test_escape_closes_and_nothing_happens(self, folder: Path) -> None:
        async with console(folder, states.healthy()) as stage:
            await stage.press("colon", *"quit")
            assert on(stage, Palette)
            await stage.press("escape")
            assert on(stage, Dashboard)
            assert not stage.app._exit

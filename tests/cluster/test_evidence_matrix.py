"""Who sees whom, with ages that go on growing."""

from __future__ import annotations

from support.lab import Lab

from pfms_ha_tui.cluster.evidence import EvidenceRow, matrix
from pfms_ha_tui.cluster.observation import Says, SshState, Witness


def rows(lab: Lab, about: str, later: float = 0.0) -> dict[str, EvidenceRow]:
    return {row.observer: row for row in matrix(lab.snapshot, lab.mono + later) if row.about == about}


def test_a_healthy_pair() -> None:
    lab = Lab().settle()
    seen = rows(lab, "node1")
    assert set(seen) == {"worker", "node2", "ssh"}
    assert all(row.fresh and row.says is Says.SEES and row.age == 0 for row in seen.values())
    assert seen["worker"].text == "answers in 1.0 ms"
    assert seen["node2"].text == "receives from it"
    assert seen["ssh"].text == "the database process runs"
    assert set(rows(lab, "node2")) == {"worker", "ssh"}


def test_a_dead_master() -> None:
    lab = Lab().settle()
    lab.kill("node1")
    lab.tick()
    lab.say("node2", "node1", Says.LOST)
    lab.say("10.0.0.254:80", "", Says.SEES, Witness.WITNESS)
    lab.tick()
    seen = rows(lab, "node1")
    assert {row.says for row in seen.values()} == {Says.LOST}
    assert seen["node2"].text == "is connecting, error 2003"
    assert seen["via node2"].text == "no greeting"
    assert rows(lab, "this host")["10.0.0.254:80"].says is Says.SEES


def test_ages_grow_without_a_new_snapshot_and_stale_rows_are_not_fresh() -> None:
    lab = Lab().settle()
    lab.say("node2", "node1", Says.SEES)
    lab.tick()
    seen = rows(lab, "node1", later=20.0)
    assert seen["worker"].age == 20.0
    assert not seen["worker"].fresh
    assert not seen["node2"].fresh
    assert not seen["via node2"].fresh
    assert seen["ssh"].fresh


def test_a_slave_that_does_not_answer_gives_no_fresh_word() -> None:
    lab = Lab().settle()
    lab.cut("node2")
    lab.tick()
    row = rows(lab, "node1")["node2"]
    assert not row.fresh
    assert row.age == 1


def test_what_was_never_asked_is_said_so() -> None:
    lab = Lab()
    lab.servers["node1"].probed = False
    lab.servers["node1"].ssh = SshState.OFF
    lab.tick()
    seen = rows(lab, "node1")
    assert seen["worker"].age is None
    assert not seen["worker"].fresh
    assert seen["ssh"].text.startswith("not configured")

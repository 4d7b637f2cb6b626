"""Checksums instead of rows: what they may hide (nothing) and what they save (reading what is equal)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import pytest
from support.divergence import BASE, Divergence, insert, rows_of

from pfms_ha_tui.operations.merge import compare
from pfms_ha_tui.operations.merge.compare import MOST_KEYS
from pfms_ha_tui.operations.merge.container import File, Writer
from pfms_ha_tui.operations.merge.control import Control
from pfms_ha_tui.operations.merge.inventory import Inventory, Known, Owner, match
from pfms_ha_tui.operations.merge.lookahead import Lookahead
from pfms_ha_tui.operations.merge.merging import new_directory
from pfms_ha_tui.operations.merge.prepare import prepare
from pfms_ha_tui.operations.merge.reading import Reader, here
from pfms_ha_tui.operations.merge.side import Side
from pfms_ha_tui.operations.merge.sums import Sums, told, total
from pfms_ha_tui.operations.merge.tables import NUMBERS, STRINGS, Layout
from pfms_ha_tui.operations.merge.window import Window

WINDOW = Window(BASE, BASE + 600)
WINDOW_ENDS = (WINDOW.start, WINDOW.end)
LAYOUT = Layout(spec=NUMBERS, here=(), there=())


def row(module: int, value: object) -> bytes:
    return f"({module},{BASE},'{value}')".encode()


class FakeSide:
    """Rows by second; notes what it was asked."""

    def __init__(self, rows: dict[int, list[bytes]]) -> None:
        self.rows = rows
        self.asked: list[tuple[str, int]] = []
        self.shape = self

    new_id = False

    def count(self, start: int, end: int) -> int:
        return len(self._within(start, end))

    def sums(self, start: int, end: int) -> Sums | None:
        self.asked.append(("sums", start))
        return Sums().plus(self._within(start, end))

    def keys(self, start: int, end: int, *, limit: int) -> Iterator[list[bytes]]:
        assert limit == MOST_KEYS + 1
        self.asked.append(("rows", start))
        yield self._within(start, end)

    def _within(self, start: int, end: int) -> list[bytes]:
        return [one for at in range(start, end) for one in self.rows.get(at, [])]


class FakeSlice:
    """One second of a side."""

    def __init__(self, side: FakeSide, start: int, *, silent: bool = False) -> None:
        self._side = side
        self._silent = silent
        self.start, self.end = start, start + 1

    @property
    def rows(self) -> int:
        return self._side.count(self.start, self.end)

    def sums(self) -> Sums | None:
        return None if self._silent else self._side.sums(self.start, self.end)

    def chunks(self) -> Iterator[list[bytes]]:
        yield self._side.rows.get(self.start, [])

    def children(self, table: str) -> list[bytes]:
        raise AssertionError(table)


def look(
    losing: dict[int, list[bytes]],
    master: dict[int, list[bytes]],
    known: Known | None = None,
    *,
    silent: bool = False,
) -> tuple[dict[int, Counter[bytes] | int], list[tuple[str, int]]]:
    """second → rows of a slice that is the same, or what was read of the master; and what was asked."""
    there = FakeSide(master)
    known = known or Known(modules=frozenset(), agents=frozenset())
    slices = [FakeSlice(FakeSide(losing), at, silent=silent) for at in sorted(losing)]
    seen: dict[int, Counter[bytes] | int] = {}
    with Lookahead(cast(Reader, there), slices, LAYOUT, known) as looks:
        for one, found in looks:
            if found.same is not None:
                seen[one.start] = found.same
            else:
                assert found.found is not None
                seen[one.start] = found.found.counts
    return seen, there.asked


def test_what_is_equal_is_not_read_and_what_is_not_is() -> None:
    losing = {1: [row(1, 1), row(2, 2)], 2: [row(1, 1)], 3: [row(1, 1)], 4: []}
    master = {1: [row(2, 2), row(1, 1)], 2: [row(1, 2)], 3: [row(1, 1), row(1, 1)], 4: []}
    seen, asked = look(losing, master)
    assert seen == {1: 2, 2: Counter(master[2]), 3: Counter(master[3]), 4: Counter()}
    assert ("rows", 1) not in asked


def test_two_modules_that_swapped_their_values_differ() -> None:
    ours, theirs = [row(1006, 0), row(9818, 1)], [row(1006, 1), row(9818, 0)]
    assert sum(map(crc32, ours)) == sum(map(crc32, theirs)), "the reason for a better checksum"
    assert Sums().plus(ours) != Sums().plus(theirs)
    assert look({1: ours}, {1: theirs})[0] == {1: Counter(theirs)}


def test_equal_rows_do_not_cancel_each_other_out_and_their_order_does_not_matter() -> None:
    once, twice = [row(1, 1), row(2, 2), row(2, 2)], [row(1, 1), row(3, 3), row(3, 3)]
    assert Sums().plus(once) != Sums().plus(twice)
    shuffled = random.Random(5).sample(once, 3)  # noqa: S311
    assert total([Sums().plus(shuffled[:1]), Sums().plus(shuffled[1:])]) == Sums().plus(once)


def test_sums_that_a_side_cannot_make_are_not_taken_for_equal() -> None:
    assert told(3, None) is None
    assert told(3, 10**30 + 5) is None
    assert told(0, None) == Sums()
    rows = {1: [row(1, 1)]}
    assert look(rows, rows, silent=True)[0] == {1: Counter(rows[1])}


def test_where_both_sides_measured_the_same_modules_sums_are_soon_not_asked_for_any_more() -> None:
    losing = {at: [row(1, at)] for at in range(100)}
    master = {at: [row(1, -at if at < 60 else at)] for at in range(1, 100)} | {0: [row(1, 0)]}
    seen, asked = look(losing, master)
    assert [at for at, rows in seen.items() if rows == 1][:1] == [0]
    in_vain = [at for what, at in asked if what == "sums" and 0 < at < 60]
    assert len(in_vain) < 10
    again = [at for at in range(60, 100) if seen[at] == 1]
    assert again == list(range(again[0], 100)), "once they are equal again, sums are enough again"
    assert again[0] <= 76


def test_sums_are_not_compared_where_a_number_names_different_things() -> None:
    rows = {1: [row(5, 1)]}
    losing = Inventory(modules={5: b"(5,1,1,'Disk')"}, agents={1: b"(1,'a')"})
    master = Inventory(modules={5: b"(5,1,1,'Memory')"}, agents={1: b"(1,'a')"})
    known = match(losing, master, frozenset(), frozenset())
    assert known.taken_modules == {b"5"}
    assert not known.taken_agents
    assert look(rows, rows, known)[0] == {1: Counter(rows[1])}
    renamed = match(losing, master, frozenset({5}), frozenset({5}))
    assert renamed.distinct


def test_a_checksum_of_all_64_bits_comes_back_from_an_archive(tmp_path: Path) -> None:
    with Writer(tmp_path / "file") as writer:
        writer.add([b"text"], sum=(1 << 64) - 1)
    with File(tmp_path / "file") as file:
        assert [one.number("sum") for one in file.members()] == [(1 << 64) - 1]


# On the real servers

NUMBERS_OF_ALL_KINDS: Sequence[object] = [None, 0, -0.0, 0.1, 1e22, 5e-324, -1.7976931348623157e308, 1, 1]
TEXTS = ["", " ", "x ", "X", "x", "é", "e", None, "NULL", "'\\\n\r\0\x1a", "💥", "long " * 100, "💥" * 300]


def readers(divergence: Divergence, side: str) -> Iterator[Reader]:
    node = divergence.job(WINDOW).losing if side == "losing" else divergence.job(WINDOW).master
    with Side.reader(node, divergence.cluster) as session:
        schema = session.schema()
        for prepared in prepare([NUMBERS, STRINGS], schema, schema).tables:
            yield Reader(session, here(prepared.layout))


def test_the_server_makes_the_same_checksums_as_this_program(divergence: Divergence) -> None:
    for node in (divergence.losing, divergence.master):
        for table, values in (("tagente_datos", NUMBERS_OF_ALL_KINDS), ("tagente_datos_string", TEXTS)):
            rows = [{"id_agente_modulo": 1, "datos": one, "utimestamp": BASE + 1} for one in values]
            if table == "tagente_datos_string":
                rows = [one for one in rows if one["datos"] is not None]
            insert(node, table, rows)
    for side in ("losing", "master"):
        for reader in readers(divergence, side):
            literals = [one for chunk in reader.rows(*WINDOW_ENDS) for one in chunk]
            assert len(literals) >= 9
            assert reader.sums(*WINDOW_ENDS) == Sums().plus(literals)
            assert reader.sums(BASE + 500, BASE + 501) == Sums()


def value(module: int, number: object, at: int = BASE + 5) -> dict[str, object]:
    return {"id_agente_modulo": module, "datos": number, "utimestamp": at}


def test_rows_equal_in_number_but_not_in_content_are_added(divergence: Divergence, tmp_path: Path) -> None:
    divergence.both("tagente_datos", [value(1, n, BASE + 400) for n in range(20)])
    insert(divergence.losing, "tagente_datos", [value(1, 0), value(2, 1), value(3, 5), value(3, 5)])
    insert(divergence.master, "tagente_datos", [value(1, 1), value(2, 0), value(3, 6), value(3, 6)])
    before = rows_of(divergence.master, "tagente_datos")
    result, check = divergence.merge(tmp_path, WINDOW, ["tagente_datos"])
    assert (result.added, check.good) == (4, True)
    assert rows_of(divergence.master, "tagente_datos") == before + Counter(
        repr_of(value(*one)) for one in [(1, 0), (2, 1), (3, 5), (3, 5)]
    )


def test_the_proof_notices_a_row_that_was_replaced_by_another(divergence: Divergence, tmp_path: Path) -> None:
    insert(divergence.losing, "tagente_datos", [value(1, n, BASE + n) for n in range(50)])
    job = divergence.job(WINDOW, ["tagente_datos"])
    directory = new_directory(tmp_path, "node2", "node1", 0.0)
    job.archive(directory, Control())
    result = job.apply(directory, Control())
    assert job.verify(directory, result, Control()).good
    divergence.master.client.query(
        f"UPDATE tagente_datos SET datos = 7.5 WHERE utimestamp = {BASE + 20}", database="pandora"
    )
    check = job.verify(directory, result, Control())
    assert [(one.there, one.missing, one.good) for one in check.tables] == [(49, 1, False)]


def repr_of(values: dict[str, Any]) -> tuple[str, ...]:
    return (repr(values["id_agente_modulo"]), repr(float(values["datos"])), repr(values["utimestamp"]))


@pytest.mark.parametrize("most", [MOST_KEYS, 1])
def test_rows_too_long_for_the_server_to_render_are_compared_all_the_same(
    divergence: Divergence, tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_KEYS", most)
    nodes = (divergence.losing, divergence.master)
    usual = [node.client.query("SELECT @@GLOBAL.max_allowed_packet AS bytes")[0]["bytes"] for node in nodes]
    for node, letter in zip(nodes, "ab", strict=True):
        node.client.script(
            [
                (
                    "INSERT INTO tagente_datos_string VALUES"
                    f" (10, CONCAT('{letter}', REPEAT(CHAR(39), 100000)), {BASE + 5}),"
                    f" (10, REPEAT(CHAR(39), 100000), {BASE + 5}), (10, 'plain', {BASE + 5})",
                    None,
                ),
                # Quotes double in a literal: what the table holds, the server cannot render.
                ("SET GLOBAL max_allowed_packet = 131072", None),
            ],
            database="pandora",
        )
    try:
        assert [reader.sums(*WINDOW_ENDS) for reader in readers(divergence, "losing")][1] is None
        plan = divergence.job(WINDOW, ["tagente_datos_string"]).plan(Control())
        assert [(one.rows, one.there, one.to_add) for one in plan.tables] == [(3, 2, 1)]
        result, _ = divergence.merge(tmp_path, WINDOW, ["tagente_datos_string"])
        assert [(one.added, one.quarantined, one.there) for one in result.tables] == [(0, 1, 2)]
    finally:
        for node, size in zip(nodes, usual, strict=True):
            node.client.query(f"SET GLOBAL max_allowed_packet = {size}")


@pytest.fixture
def module_of_two_names(divergence: Divergence) -> Iterator[None]:
    names = {divergence.losing: "Disk", divergence.master: "Memory"}
    for node, name in names.items():
        insert(
            node,
            "tagente_modulo",
            [{"id_agente_modulo": 5001, "id_agente": 1, "nombre": name, "id_tipo_modulo": 1}],
        )
    yield
    for node in names:
        node.client.query("DELETE FROM tagente_modulo WHERE id_agente_modulo = 5001", database="pandora")


@pytest.mark.usefixtures("module_of_two_names")
def test_equal_values_of_different_modules_with_one_number_are_told_as_left_out(
    divergence: Divergence, tmp_path: Path
) -> None:
    divergence.both("tagente_datos", [value(1, 1), value(5001, 1), value(7777, 1)])
    plan = divergence.job(WINDOW, ["tagente_datos"]).plan(Control())
    assert [(one.rows, one.there, one.to_add, one.skipped) for one in plan.tables] == [(3, 2, 0, 1)]
    assert [(one.owner, one.id, rows) for one, rows in plan.skipped] == [(Owner.MODULE, 5001, 1)]
    result, check = divergence.merge(tmp_path, WINDOW, ["tagente_datos"])
    assert [(one.there, one.added, one.skipped) for one in result.tables] == [(2, 0, 1)]
    assert check.good

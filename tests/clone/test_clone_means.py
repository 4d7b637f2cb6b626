"""Which methods two hosts can go: one judge for the list of methods, the checks and the worker's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pfms_ha_tui.config.settings import CloneMethod, CloneSettings, Compression, Transfer
from pfms_ha_tui.nodes.dialect import Dialect
from pfms_ha_tui.nodes.shell import ShellResult
from pfms_ha_tui.operations.clone import means as module
from pfms_ha_tui.operations.clone.means import Findings, Means, why_not_run
from pfms_ha_tui.operations.clone.operation import _left_in_place
from pfms_ha_tui.operations.clone.plan import CloneParams
from pfms_ha_tui.operations.clone.proof import Place, Proved
from pfms_ha_tui.operations.context import ClusterOperation
from pfms_ha_tui.operations.step import StepRun

MYSQL, MARIADB = Dialect.of("8.0.36"), Dialect.of("10.11.6-MariaDB")
PARAMS = CloneParams(target="node2", source="node1", master="node1")
GB = 10**9
PLACE = Place(
    path="/var/lib/mysql", inode="1:2", boot="boot", owner="mysql:mysql", free=90 * GB, memory=None,
    size=20 * GB, whole=21 * GB, own_mount=False, is_data=True, links="", left="", may_rename=True,
)  # fmt: skip
EVERYTHING = {
    "mariadb-backup": "mariadb-backup based on MariaDB server 10.11.6-MariaDB Linux (x86_64)",
    "xtrabackup": "xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux (x86_64)",
    **dict.fromkeys(("mbstream", "xbstream", "zstd", "rsync", "ssh", "pv"), ""),
}


@dataclass
class Bench:
    """Two hosts that have everything, and servers of one version, until a test takes something away."""

    dialect: Dialect = MARIADB
    params: CloneParams = PARAMS
    settings: CloneSettings = field(default_factory=CloneSettings)
    found: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        self.found.source = cast("Proved", SimpleNamespace(place=PLACE, pid=7))
        self.found.target = PLACE
        self.found.programs = {label: dict(EVERYTHING) for label in ("node1", "node2")}

    def means(self) -> Means:
        async def try_link(label: str) -> object:
            return SimpleNamespace(label=label, dialect=self.dialect)

        ssh = SimpleNamespace(host="h", port=22, user="root", connect_timeout=5.0)
        cluster = SimpleNamespace(clone=self.settings, pandora=SimpleNamespace(resync_script=None))
        context = SimpleNamespace(cluster=cluster, node=lambda _: SimpleNamespace(ssh=ssh))
        operation = cast("ClusterOperation", SimpleNamespace(context=context, try_link=try_link))
        return Means(operation, self.params, self.found, "token")

    async def judged(self, method: CloneMethod) -> str:
        return "; ".join((await self.means().judge(method, self.dialect)).complaints)


@pytest.fixture(autouse=True)
def hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends well; the other host says that it is the one we know."""

    class Quiet:
        label = "node1"

        async def ask(self, _script: str, **_: object) -> ShellResult:
            return ShellResult(exit_status=0, stdout="boot\n", stderr="")

    monkeypatch.setattr(module, "host_of", lambda *_: Quiet())


Change = Callable[[Bench], None]


def lacks(*programs: str) -> Change:
    def change(bench: Bench) -> None:
        for label in bench.found.programs:
            bench.found.programs[label] = {
                name: said for name, said in EVERYTHING.items() if name not in programs
            }

    return change


def asked(**params: object) -> Change:
    def change(bench: Bench) -> None:
        given = {"target": "node2", "source": "node1", "master": "node1", **params}
        bench.params = CloneParams(**given)  # type: ignore[arg-type]

    return change


def configured(**settings: object) -> Change:
    def change(bench: Bench) -> None:
        bench.settings = replace(bench.settings, **settings)  # type: ignore[arg-type]

    return change


def little_room(bench: Bench) -> None:
    bench.found.source = cast("Proved", SimpleNamespace(place=replace(PLACE, free=GB), pid=7))


STREAM, STAGED, PLUGIN = CloneMethod.STREAM, CloneMethod.STAGED, CloneMethod.PLUGIN


@pytest.mark.parametrize(
    ("change", "method", "words"),
    [
        (asked(transfer=Transfer.RELAY), STAGED, "never through this host"),
        (configured(transfer=Transfer.RELAY), STAGED, "never through this host"),
        (configured(transfer=Transfer.RELAY), PLUGIN, "never through this host"),
        (little_room, STAGED, "set clone.staging_dir, or choose stream"),
        (lacks("rsync"), STAGED, "rsync must be installed"),
        (lacks("mariadb-backup"), STREAM, "has no mariadb-backup"),
        (asked(bandwidth=1000), STREAM, "would never end"),
        (asked(threads=99), STREAM, "99 threads"),
    ],
)
async def test_what_a_method_cannot_do_here_is_said_of_it_alone(
    change: Change, method: CloneMethod, words: str
) -> None:
    bench = Bench(dialect=MYSQL if method is PLUGIN else MARIADB)
    assert await bench.judged(method) == "", "nothing speaks against it before"
    change(bench)
    assert words in await bench.judged(method)
    assert bench.found.complaints == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((lacks("pv"), asked(bandwidth=10**6, transfer=Transfer.DIRECT)), "needs pv on node1"),
        ((lacks("zstd"), configured(compression=Compression.ZSTD)), "node1 has no zstd"),
    ],
)
async def test_what_is_demanded_and_missing_is_said(changes: tuple[Change, ...], words: str) -> None:
    bench = Bench()
    for change in changes:
        change(bench)
    assert words in await bench.judged(STREAM)


async def test_a_path_that_a_person_chose_counts_more_than_the_configured_one() -> None:
    bench = Bench()
    configured(transfer=Transfer.RELAY)(bench)
    asked(transfer=Transfer.AUTO)(bench)
    assert await bench.judged(STAGED) == ""


@pytest.mark.parametrize(
    ("change", "method"),
    [
        (lacks("xtrabackup"), PLUGIN),
        # the plugin's limit is in whole MB/s
        (asked(bandwidth=200_000), STREAM),
        (configured(transfer=Transfer.RELAY), STREAM),
        (asked(transfer=Transfer.RELAY), STREAM),
    ],
)
async def test_the_choice_is_a_method_that_can_be_gone(change: Change, method: CloneMethod) -> None:
    bench = Bench(dialect=MYSQL)
    # What speaks against every method must not be made worse by a method that does not fit.
    bench.found.complaints = ["node2 is writable"]
    change(bench)
    chosen = await bench.means().choose(MYSQL)
    assert (chosen.method, chosen.complaints) == (method, ())


async def test_where_neither_can_be_gone_both_ways_out_are_named() -> None:
    bench = Bench(dialect=MYSQL)
    lacks("xtrabackup")(bench)
    asked(threads=99, transfer=Transfer.RELAY)(bench)
    said = (await bench.means().choose(MYSQL)).complaints
    assert [why for why in said if "99 threads" in why] == ["99 threads are asked for: 1 to 64 are possible"]
    assert any("has no xtrabackup" in why for why in said)
    assert any(why.startswith("or, by the CLONE plugin: the CLONE plugin copies") for why in said)


def test_a_script_that_is_missing_is_told_from_one_that_may_not_be_run(tmp_path: Path) -> None:
    script = tmp_path / "resync.sh"
    assert why_not_run(str(script)) == f"{script} is not there"
    assert why_not_run(str(tmp_path)) == f"{tmp_path} is no file"
    script.write_text("#!/bin/sh\n")
    assert "make it executable" in (why_not_run(str(script)) or "")
    script.chmod(0o700)
    assert why_not_run(str(script)) is None


@pytest.mark.parametrize(
    ("facts", "whole"),
    [
        ({"marked": False}, True),
        ({"marked": True}, False),
        ({}, False),
        ({"marked": False, "stopping": True}, False),
        ({"marked": False, "stopping": True, "runs_again": True}, True),
        ({"marked": False, "stopping": True, "runs_again": True, "given_up": True}, False),
        ({"marked": True, "stopping": True, "runs_again": True}, False),
    ],
)
def test_a_failed_clone_vouches_for_the_old_data_only_when_it_knows(
    facts: dict[str, bool], whole: bool
) -> None:
    run = cast("StepRun", SimpleNamespace(fact=lambda key, _: facts.get(key)))
    assert _left_in_place(run) is whole

"""What the journal remembers, and through what: restarts, damage, a full disk, nonsense from servers."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.cluster.event import Event, LagSample
from pfms_ha_tui.cluster.snapshot import Maintenance
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.worker import backlog as backlog_module
from pfms_ha_tui.worker import journal as journal_module
from pfms_ha_tui.worker.journal import Journal
from pfms_ha_tui.worker.protocol import EventsQuery, LagQuery
from pfms_ha_tui.worker.store import LAG_POINTS, Epoch, Store

DEADLINE = 20.0
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_DELAY", 0.05)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    await opened.open()
    yield opened
    await opened.close()


async def reopened(path: Path) -> Journal:
    again = Journal(path)
    await again.open()
    return again


def happen(journal: Journal, text: str, **more: str) -> Event:
    return journal.add_event(
        cluster=more.get("cluster", "pandora"), severity=Severity.INFO, kind="test", text=text, at=NOW
    )


async def texts(journal: Journal, query: EventsQuery | None = None) -> list[str]:
    return [event.text for event in await journal.events(query or EventsQuery()) if event.kind == "test"]


async def settled(journal: Journal, *, trouble: bool) -> None:
    async with asyncio.timeout(DEADLINE):
        while (journal.trouble is not None) is not trouble:  # noqa: ASYNC110 - the journal has no event for it
            await asyncio.sleep(0.01)


async def test_events_survive_a_restart_in_order_and_ids_go_on(journal: Journal) -> None:
    first, second = happen(journal, "first"), happen(journal, "second")
    await journal.close()
    again = await reopened(journal.path)
    assert await again.events(EventsQuery()) == [second, first]
    assert happen(again, "third").id == second.id + 1
    await again.close()


async def test_an_event_is_found_before_it_is_written(journal: Journal) -> None:
    happen(journal, "just now")
    assert await texts(journal) == ["just now"]
    await journal.flush()
    assert await texts(journal) == ["just now"]


async def test_queries_filter_by_cluster_time_and_id_and_keep_the_workers_own_events(
    journal: Journal,
) -> None:
    for number in range(4):
        journal.add_event(
            cluster="a" if number % 2 else "b",
            severity=Severity.OK,
            kind="test",
            text=str(number),
            at=NOW + number,
        )
    own = happen(journal, "own", cluster="")
    for _ in ("in memory", "on disk"):
        assert await texts(journal, EventsQuery(cluster="a")) == ["own", "3", "1"]
        assert await texts(journal, EventsQuery(before_id=own.id, limit=2)) == ["3", "2"]
        assert await texts(journal, EventsQuery(since=NOW + 1, until=NOW + 3)) == ["2", "1"]
        await journal.flush()


async def test_every_event_is_told_to_the_listener(tmp_path: Path) -> None:
    told: list[Event] = []
    journal = Journal(tmp_path / "journal.db", on_event=told.append)
    await journal.open()
    event = happen(journal, "once")
    await journal.close()
    assert told == [event]


async def test_secrets_are_masked_before_they_are_kept(journal: Journal) -> None:
    Secret("s3cr3t-of-the-journal")
    event = happen(journal, "IDENTIFIED BY 'other-secret' and s3cr3t-of-the-journal")
    assert "s3cr3t" not in event.text
    assert "other-secret" not in event.text


async def test_facts_survive_a_restart_and_can_be_forgotten(journal: Journal) -> None:
    pause = Maintenance(until=NOW, reason="disk change", by="carol")
    journal.put_fact("pandora", "maintenance", pause)
    journal.put_fact("pandora", "gone", 1)
    journal.put_fact("pandora", "gone", None)
    await journal.close()
    again = await reopened(journal.path)
    assert again.fact("pandora", "maintenance", Maintenance) == pause
    assert again.fact("pandora", "gone", int) is None
    assert again.fact("other", "maintenance", Maintenance) is None
    await again.close()


async def test_a_fact_that_is_not_understood_is_not_known(journal: Journal) -> None:
    journal.put_fact("pandora", "maintenance", [1, 2])
    assert journal.fact("pandora", "maintenance", Maintenance) is None


async def test_an_epoch_is_on_the_disk_when_recorded_and_never_goes_back(journal: Journal) -> None:
    epoch = Epoch(epoch=4, master="node2", previous="node1", worker="w", at=NOW, reason="node1 is dead")
    await journal.add_epoch("pandora", epoch)
    with sqlite3.connect(journal.path) as raw:
        assert raw.execute("SELECT epoch, master FROM epoch").fetchall() == [(4, "node2")]
    raw.close()
    with pytest.raises(WorkerError, match="not above 4"):
        await journal.add_epoch("pandora", epoch)
    await journal.close()
    again = await reopened(journal.path)
    assert again.epochs("pandora") == (epoch,)
    await again.close()


async def test_lag_is_kept_with_unknown_as_unknown(journal: Journal) -> None:
    now = time.time()
    samples = [
        LagSample(at=float(int(now) - 3), seconds=0, bytes=5),
        LagSample(at=float(int(now) - 2), seconds=None, bytes=None),
        LagSample(at=float(int(now) - 1), seconds=7, bytes=0),
    ]
    for sample in samples:
        journal.add_lag("pandora", "node2", sample)
    query = LagQuery(cluster="pandora", node="node2", since=now - 100)
    assert await journal.lag(query) == samples
    await journal.flush()
    assert await journal.lag(query) == samples
    assert await journal.lag(LagQuery(cluster="pandora", node="node1", since=0)) == []


async def test_a_long_stretch_of_lag_is_thinned_out_without_losing_the_spike(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", now=lambda: NOW)
    await journal.open()
    for second in range(7000):
        lag = 99 if second == 4321 else 0
        journal.add_lag("c", "n", LagSample(at=NOW - 7000 + second, seconds=lag, bytes=None))
    await journal.flush()
    raw = await journal.lag(LagQuery(cluster="c", node="n", since=NOW - 7100))
    assert len(raw) <= LAG_POINTS + 1
    assert max(sample.seconds or 0 for sample in raw) == 99
    minutes = await journal.lag(LagQuery(cluster="c", node="n", since=NOW - 14 * 86400))
    assert len(minutes) < 120
    assert max(sample.seconds or 0 for sample in minutes) == 99
    assert all(sample.bytes is None for sample in raw + minutes)
    await journal.close()


async def lag_days(journal: Journal) -> list[int]:
    samples = await journal.lag(LagQuery(cluster="c", node="n", since=NOW - 30 * 86400))
    return [round((NOW - sample.at) / 86400) for sample in samples]


async def test_old_entries_are_forgotten_and_new_ones_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", event_days=10, lag_days=2, now=lambda: NOW)
    await journal.open()
    for days in (11, 9):
        journal.add_event(
            cluster="c", severity=Severity.OK, kind="test", text=f"{days} days", at=NOW - days * 86400
        )
    for age in (3 * 86400, 86400, 10):
        journal.add_lag("c", "n", LagSample(at=NOW - age, seconds=1, bytes=1))
    await journal.flush()
    journal._retain()
    async with asyncio.timeout(DEADLINE):
        while (await texts(journal), await lag_days(journal)) != (["9 days"], [1, 0]):  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.01)
    await journal.close()


@pytest.mark.parametrize("damage", [b"this is no database at all", b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_damaged_journal_is_set_aside_and_said_so(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(damage)
    journal = await reopened(path)
    (aside,) = tmp_path.glob("journal.db.corrupt-*")
    assert aside.read_bytes() == damage
    assert str(aside) in journal.notes[0]
    assert [event.kind for event in await journal.events(EventsQuery())] == ["journal_damaged"]
    assert journal.trouble is None
    await journal.close()


async def test_a_damaged_page_inside_is_found_at_the_start(journal: Journal, tmp_path: Path) -> None:
    for number in range(2000):
        happen(journal, f"event {number} " + "x" * 200)
    await journal.close()
    content = bytearray(journal.path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = os.urandom(8192)
    journal.path.write_bytes(content)
    again = await reopened(journal.path)
    assert len(again.notes) == 1
    assert len(list(tmp_path.glob("journal.db.corrupt-*"))) == 1
    await again.close()


async def test_damage_while_running_loses_neither_facts_nor_epochs(journal: Journal, tmp_path: Path) -> None:
    journal.put_fact("pandora", "master", "node1")
    epoch = Epoch(epoch=1, master="node1", previous=None, worker="w", at=NOW, reason="first")
    await journal.add_epoch("pandora", epoch)
    store = journal._store
    assert store is not None
    raised = sqlite3.DatabaseError("database disk image is malformed")
    raised.sqlite_errorname = "SQLITE_CORRUPT"

    def broken(entries: object) -> None:
        raise raised

    store.write = broken  # type: ignore[method-assign]
    happen(journal, "while damaged")
    await settled(journal, trouble=True)
    await settled(journal, trouble=False)
    assert len(list(tmp_path.glob("journal.db.corrupt-*"))) == 1
    assert "damaged and set aside" in journal.notes[0]
    assert "journal_damaged" in [event.kind for event in await journal.events(EventsQuery())]
    await journal.close()
    again = await reopened(journal.path)
    assert again.fact("pandora", "master", str) == "node1"
    assert again.epochs("pandora") == (epoch,)
    assert await texts(again) == ["while damaged"]
    await again.close()


async def test_a_journal_that_was_moved_away_is_begun_anew_and_said_so(
    journal: Journal, tmp_path: Path
) -> None:
    journal.put_fact("pandora", "master", "node1")
    await journal.flush()
    journal.path.rename(tmp_path / "moved.db")
    happen(journal, "after it")
    await journal.flush()
    assert "moved away" in journal.notes[0]
    await journal.close()
    again = await reopened(journal.path)
    assert again.fact("pandora", "master", str) == "node1"
    assert await texts(again) == ["after it"]
    await again.close()


@pytest.mark.parametrize("moved", [True, False])
async def test_a_journal_that_is_gone_is_begun_anew_also_when_it_cannot_be_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    epoch = Epoch(epoch=1, master="node1", previous=None, worker="w", at=NOW, reason="first")
    await journal.add_epoch("pandora", epoch)
    journal.put_fact("pandora", "mode", "automatic")
    happen(journal, "before it")
    await journal.flush()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(journal_module, "open_journal", full)
        if moved:
            journal.path.rename(journal.path.with_name("moved.db"))
        else:
            # as after an error of the disk that closed it
            await journal._disconnect()
            journal.path.unlink()
        happen(journal, "after it")
        await settled(journal, trouble=True)
    await settled(journal, trouble=False)
    assert [("moved away" in note) for note in journal.notes] == [True]
    await journal.close()
    again = await reopened(journal.path)
    assert again.fact("pandora", "mode", str) == "automatic"
    assert again.epochs("pandora") == (epoch,)
    assert "after it" in await texts(again)
    await again.close()


async def test_a_disk_that_fails_once_begins_no_journal_anew(journal: Journal) -> None:
    journal.put_fact("pandora", "mode", "automatic")
    happen(journal, "before it")
    await journal.flush()
    store = journal._store
    assert store is not None

    def broken(entries: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    store.write = broken  # type: ignore[method-assign]
    happen(journal, "after it")
    await settled(journal, trouble=True)
    await settled(journal, trouble=False)
    assert journal.notes == ()
    assert await texts(journal) == ["after it", "before it"]


async def test_damage_that_a_read_finds_is_told_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(journal, "written")
    await journal.flush()
    raised = sqlite3.DatabaseError("database disk image is malformed")
    raised.sqlite_errorname = "SQLITE_CORRUPT"

    def broken(self: object, query: object) -> list[Event]:
        raise raised

    monkeypatch.setattr(Store, "events", broken)
    for _ in range(2):
        await journal.events(EventsQuery())
    (note,) = journal.notes
    assert "cannot be shown" in note


async def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal) -> None:
    happen(journal, "kept")
    await journal.close()
    with sqlite3.connect(journal.path) as raw:
        raw.execute("UPDATE journal_schema SET version = 99")
    raw.close()
    newer = Journal(journal.path)
    with pytest.raises(WorkerError, match="newer version"):
        await newer.open()
    await newer.close()
    with sqlite3.connect(journal.path) as raw:
        assert raw.execute("SELECT version FROM journal_schema").fetchall() == [(99,)]
        assert raw.execute("SELECT text FROM event").fetchall() == [("kept",)]
    raw.close()
    assert list(journal.path.parent.glob("*corrupt*")) == []


async def test_tables_of_the_ledger_in_the_same_file_are_left_alone(journal: Journal) -> None:
    with sqlite3.connect(journal.path) as ledger:
        ledger.execute("CREATE TABLE operation (id INTEGER PRIMARY KEY, text TEXT)")
        ledger.execute("INSERT INTO operation VALUES (1, 'failover')")
        ledger.execute("PRAGMA user_version = 7")
    ledger.close()
    happen(journal, "beside it")
    await journal.close()
    again = await reopened(journal.path)
    assert await texts(again) == ["beside it"]
    await again.close()
    with sqlite3.connect(journal.path) as raw:
        assert raw.execute("SELECT text FROM operation").fetchall() == [("failover",)]
    raw.close()


async def test_a_lock_held_by_another_connection_only_delays_the_writing(journal: Journal) -> None:
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    happen(journal, "waits")
    assert await texts(journal) == ["waits"]
    other.execute("COMMIT")
    other.close()
    await journal.flush()
    assert journal.trouble is None
    with sqlite3.connect(journal.path) as raw:
        assert raw.execute("SELECT text FROM event").fetchall() == [("waits",)]
    raw.close()


async def test_nonsense_from_a_server_does_not_block_the_rest(journal: Journal) -> None:
    journal.add_lag("c", "n", LagSample(at=NOW, seconds=2**80, bytes=0))
    happen(journal, "lone surrogate \udce9 and NUL \x00")
    await journal.flush()
    assert journal.trouble is None
    assert await texts(journal) == ["lone surrogate ? and NUL \x00"]


async def test_memory_is_bounded_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "KEEP_EVENTS", 10)
    path = tmp_path / "nowhere" / "journal.db"
    journal = Journal(path)
    await journal.open()
    assert journal.trouble is not None
    assert not journal.loaded
    for number in range(30):
        happen(journal, str(number))
    assert await texts(journal) == [str(number) for number in range(29, 19, -1)]
    assert "10 events are kept in memory, 21 older ones had to be dropped" in journal.trouble
    path.parent.mkdir()
    await settled(journal, trouble=False)
    assert [journal.loaded] == [True]
    assert await texts(journal) == [str(number) for number in range(29, 19, -1)]
    (said,) = [event for event in await journal.events(EventsQuery()) if event.kind == "journal_recovered"]
    assert "21 events were lost" in said.text
    await journal.close()


async def test_what_happened_before_the_disk_could_be_read_gets_ids_after_the_old_ones(
    journal: Journal,
) -> None:
    happen(journal, "long ago")
    journal.put_fact("pandora", "kept", "old")
    journal.put_fact("pandora", "changed", "old")
    await journal.close()
    hidden = journal.path.parent / "hidden"
    journal.path.parent.joinpath("journal.db").rename(hidden)
    journal.path.mkdir()
    again = await reopened(journal.path)
    happen(again, "meanwhile")
    again.put_fact("pandora", "changed", "new")
    journal.path.rmdir()
    hidden.rename(journal.path)
    await settled(again, trouble=False)
    assert await texts(again) == ["meanwhile", "long ago"]
    assert again.fact("pandora", "kept", str) == "old"
    assert again.fact("pandora", "changed", str) == "new"
    await again.close()


async def test_an_epoch_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere" / "journal.db")
    await journal.open()
    epoch = Epoch(epoch=1, master="node2", previous=None, worker="w", at=NOW, reason="r")
    with pytest.raises(WorkerError, match="does not take the new epoch"):
        await journal.add_epoch("pandora", epoch)
    assert journal.epochs("pandora") == ()
    (tmp_path / "nowhere").mkdir()
    await settled(journal, trouble=False)
    assert journal.epochs("pandora") == ()
    await journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 65536
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    return ballast


async def test_on_a_full_disk_events_wait_in_memory_and_none_is_lost(small_disk: Path) -> None:
    journal = await reopened(small_disk / "journal.db")
    happen(journal, "before")
    await journal.flush()
    ballast = fill(small_disk)
    for number in range(50):
        happen(journal, f"{number} " + "x" * 2000)
    await settled(journal, trouble=True)
    assert journal.trouble is not None
    assert "the disk is full" in journal.trouble
    assert len(await texts(journal)) == 51
    ballast.unlink()
    await settled(journal, trouble=False)
    await journal.close()
    again = await reopened(small_disk / "journal.db")
    found = await texts(again)
    assert [text.split()[0] for text in found] == [str(number) for number in range(49, -1, -1)] + ["before"]
    kinds = [event.kind for event in await again.events(EventsQuery())]
    assert kinds.count("journal_failing") == kinds.count("journal_recovered") == 1
    await again.close()


async def test_a_worker_that_starts_on_a_full_disk_still_remembers_later(small_disk: Path) -> None:
    ballast = fill(small_disk)
    journal = await reopened(small_disk / "journal.db")
    assert journal.trouble is not None
    happen(journal, "from the start")
    assert await texts(journal) == ["from the start"]
    ballast.unlink()
    await settled(journal, trouble=False)
    await journal.close()
    again = await reopened(small_disk / "journal.db")
    assert await texts(again) == ["from the start"]
    await again.close()

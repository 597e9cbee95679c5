"""The journal as its owner sees it: finished means committed."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import InternalError, JournalBusyError, JournalError, UsageError
from apxm.journal import store
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Ended, Printed, Resumed, TimedRow
from apxm.journal.store import Store, Sync
from tests.journal.journals import HEADER, RUN_ID, STARTED, Watched, header, names, result, unexpected, write


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Those that journals open from now on."""
    opened: list[sqlite3.Connection] = []
    actual = sqlite3.connect

    def connect(database: str, **options: Any) -> sqlite3.Connection:
        opened.append(actual(database, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    return opened


class Gate:
    """Holds the writer before each of its commits until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self._open = threading.Semaphore(0)
        self._reached = threading.Semaphore(0)
        actual = Store.write

        def write(store: Store, records: Iterable[TimedRow]) -> None:
            batch = list(records)
            self._reached.release()
            assert self._open.acquire(timeout=60)
            self.batches.append(len(batch))
            actual(store, batch)

        monkeypatch.setattr(Store, "write", write)

    async def reached(self) -> None:
        """Returns when the writer stands before a commit."""
        assert await asyncio.to_thread(self._reached.acquire, timeout=60)

    def open(self, times: int = 1) -> None:
        self._open.release(times)


def test_callbacks_come_in_order_and_only_for_what_a_reader_can_see(tmp_path: Path) -> None:
    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            seen: list[tuple[int, int]] = []
            done = asyncio.get_running_loop().create_future()
            journal.start(done.set_exception)

            def committed(number: int) -> None:
                seen.append((number, len(read(journal.path).records)))
                if number == 29:
                    done.set_result(None)

            for number in range(30):
                journal.append(result(number), lambda number=number: committed(number))
                if number % 7 == 0:
                    await asyncio.sleep(0)
            assert not done.done(), "no callback comes from inside append"
            await done
            assert [number for number, _ in seen] == list(range(30))
            assert all(visible > number for number, visible in seen)

    asyncio.run(run())


def test_all_that_waits_is_committed_at_once_and_told_with_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        calls: list[object] = []
        actual = loop.call_soon_threadsafe
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0))
            await gate.reached()
            watched.append(*map(result, range(1, 65)))

            def call(callback: Callable[..., object], *arguments: object) -> asyncio.Handle:
                calls.append(callback)
                return actual(callback, *arguments)

            monkeypatch.setattr(loop, "call_soon_threadsafe", call)
            gate.open(2)
            await watched.all_told()
            assert gate.batches == [1, 64]
            assert sum("_tell" in repr(call) for call in calls) == 2
            assert watched.committed == list(range(65))

    asyncio.run(run())


def test_a_commit_close_behind_another_waits_for_more_rows_until_one_is_urgent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_GATHER_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr(store, "perf_counter", lambda: 0.0)
    batches: list[int] = []
    actual = Store.write

    def write(store: Store, records: Sequence[TimedRow]) -> None:
        batches.append(len(records))
        actual(store, records)

    monkeypatch.setattr(Store, "write", write)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0), result(1), result(2))
            watched.append(result(3), urgent=True)
            await watched.all_told()
            watched.append(result(4))

    asyncio.run(run())
    assert batches == [4, 1], "closing waits for nothing either"


def test_nothing_is_told_while_the_commit_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0))
            await gate.reached()
            await asyncio.sleep(0)
            assert watched.committed == []
            assert read(journal.path).records == []
            gate.open()
            await watched.all_told()

    asyncio.run(run())


def test_closing_writes_what_is_queued_and_leaves_one_file_and_a_free_lock(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal.create(tmp_path, HEADER, clock=lambda: STARTED + 1)
        journal.start(unexpected)
        for number in range(100):
            journal.append(result(number))
        journal.append(Ended("succeeded"))
        journal.close()
        journal.close()

    asyncio.run(run())
    assert names(tmp_path) == {f"{RUN_ID}.journal", f"{RUN_ID}.lock"}
    history = read(tmp_path, RUN_ID)
    assert len(history.results) == 100
    assert history.ended == Ended("succeeded")
    assert {record.time for record in history.records} == {STARTED + 1}


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path, HEADER)):
        assert len(names(tmp_path)) == 4
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(("sync", "expected"), [("full", 2), ("normal", 1)])
def test_a_commit_waits_for_the_disk_as_chosen(
    tmp_path: Path, sync: Sync, expected: int, connections: list[sqlite3.Connection]
) -> None:
    with closing(Journal.create(tmp_path, HEADER, sync=sync)):  # type: ignore[arg-type]
        assert connections[-1].execute("PRAGMA synchronous").fetchone() == (expected,)


def test_a_callback_that_fails_is_reported_and_the_others_come(tmp_path: Path) -> None:
    async def run() -> None:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            journal.append(result(0), lambda: 1 // 0)
            watched.append(result(1))
            await watched.all_told()
            assert isinstance(reported[0]["exception"], ZeroDivisionError)

    asyncio.run(run())


def test_rows_outlive_the_loop_that_they_were_appended_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    gate = Gate(monkeypatch)

    async def run() -> Journal:
        journal = Journal.create(tmp_path, HEADER)
        journal.start(unexpected)
        journal.append(result(0), partial(unexpected, None))
        await gate.reached()
        return journal

    journal = asyncio.run(run())
    gate.open()
    journal.close()
    assert raised == []
    assert len(read(journal.path).results) == 1


def test_a_journal_that_is_not_open_takes_no_row(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal.create(tmp_path, HEADER)
        with pytest.raises(InternalError):
            journal.append(result(0))
        journal.start(unexpected)
        journal.close()
        with pytest.raises(InternalError):
            journal.append(result(0))

    asyncio.run(run())


def test_a_run_is_taken_over_with_all_that_it_had(tmp_path: Path) -> None:
    write(tmp_path, [result(0), Printed(0, "line")])

    async def run() -> None:
        journal, history = Journal.reopen(tmp_path, RUN_ID)
        with closing(journal):
            assert history.header == HEADER
            assert set(history.results) == {"main/a0"}
            assert history.printed == {0: "line"}
            watched = Watched(journal)
            watched.append(Resumed("0.1.0"), result(1))
            await watched.all_told()

    asyncio.run(run())
    assert [type(record.row).__name__ for record in read(tmp_path, RUN_ID).records] == [
        "Answered",
        "Printed",
        "Resumed",
        "Answered",
    ]


def test_a_run_has_one_owner_and_can_be_read_by_anyone(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path, HEADER)) as journal:
        before = names(tmp_path)
        with pytest.raises(JournalBusyError, match=RUN_ID) as refused:
            Journal.reopen(tmp_path, RUN_ID)
        assert refused.value.run_id == RUN_ID
        with pytest.raises(JournalBusyError):
            Journal.create(tmp_path, HEADER)
        assert read(journal.path).header == HEADER
        assert names(tmp_path) == before
    Journal.reopen(tmp_path, RUN_ID)[0].close()


def test_an_id_is_used_once(tmp_path: Path) -> None:
    path = write(tmp_path, [result(0)])
    with pytest.raises(JournalError, match="already"):
        Journal.create(tmp_path, HEADER)
    assert len(read(path).records) == 1
    assert Journal.create(tmp_path, header("20260131-235959-aaaa")).close() is None


@pytest.mark.parametrize("wanted", ["../20260131-235959-k3vd", "/etc/passwd", "", "x", "20260131-235959-k3vd/", "..\0"])
def test_what_is_no_id_never_becomes_a_path(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(UsageError, match="is no run id"):
        Journal.reopen(tmp_path, wanted)
    with pytest.raises(UsageError, match="is no run id"):
        Journal.create(tmp_path, header(wanted))


def test_an_unknown_run_is_refused_without_a_trace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run"):
        Journal.reopen(tmp_path, RUN_ID)
    assert names(tmp_path) == set()


class Failing:
    """What happens when a commit fails, whatever the reason."""

    def __init__(self, journal: Journal) -> None:
        self.watched = Watched(journal)

    async def check(self, message: str) -> None:
        await self.watched.all_told()
        (failure,) = self.watched.failures
        assert message in str(failure)
        assert RUN_ID in str(failure)
        told = len(self.watched.committed)
        self.watched.append(result(1000), result(1001))
        assert len(self.watched.committed) == told, "no callback comes from inside append"
        await self.watched.all_told()
        assert self.watched.committed == list(range(told + 2))
        assert len(self.watched.failures) == 1


def test_after_a_failed_commit_nothing_is_written_and_nothing_hangs(
    tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            pages = connections[-1].execute("PRAGMA page_count").fetchone()[0]
            connections[-1].execute(f"PRAGMA max_page_count = {pages + 10}")
            failing = Failing(journal)
            failing.watched.append(*map(result, range(2000)))
            await failing.check("database or disk is full")

    asyncio.run(run())
    rows = [record.row for record in read(tmp_path, RUN_ID).records]
    assert rows == [result(number) for number in range(len(rows))]
    assert len(rows) < 2000


@pytest.mark.parametrize("end", [".journal", ".journal-wal"])
def test_a_file_that_was_taken_away_is_a_failure(tmp_path: Path, end: str) -> None:
    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            failing = Failing(journal)
            (tmp_path / f"{RUN_ID}{end}").unlink()
            failing.watched.append(result(0))
            await failing.check("its files were taken away")

    asyncio.run(run())


def test_a_row_that_cannot_be_stored_is_a_failure(tmp_path: Path) -> None:
    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            failing = Failing(journal)
            failing.watched.append(Printed(0, "\ud800"))
            await failing.check("half of a surrogate pair")

    asyncio.run(run())
    assert read(tmp_path, RUN_ID).records == []


def test_the_failure_is_told_before_the_callbacks_of_what_was_lost(tmp_path: Path) -> None:
    async def run() -> list[str]:
        told: list[str] = []
        done = asyncio.Event()
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            journal.start(lambda _: told.append("failure"))
            journal.append(Printed(0, "\ud800"), lambda: (told.append("lost"), done.set()))
            await done.wait()
        return told

    assert asyncio.run(run()) == ["failure", "lost"]


def test_the_log_is_bounded_while_rows_come(tmp_path: Path) -> None:
    async def run() -> int:
        with closing(Journal.create(tmp_path, HEADER, sync="normal")) as journal:
            watched = Watched(journal)
            for _ in range(60):
                watched.append(*[Printed(0, "x" * 10_000)] * 20)
                await watched.all_told()
            return (tmp_path / f"{RUN_ID}.journal-wal").stat().st_size

    assert asyncio.run(run()) < 6_000_000

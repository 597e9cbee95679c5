"""The journal as its owner sees it: finished means committed."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from apxm.errors import InternalError, JournalBusyError, JournalError, UsageError
from apxm.journal import segment, store
from apxm.journal.catalog import logs_in, read
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.lock import is_held
from apxm.journal.rows import Ended, Printed, Resumed, TimedRow
from apxm.journal.runs import list_runs
from apxm.journal.segment import Item, Segment
from apxm.journal.store import Sync, store_of
from tests.journal.journals import (
    HEADER,
    RUN_ID,
    STARTED,
    Watched,
    header,
    names,
    refuse,
    result,
    together,
    unexpected,
    write,
)


class Gate:
    """Holds the writer before each of its commits of rows until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self._open = threading.Semaphore(0)
        self._reached = threading.Semaphore(0)
        actual = Segment.append

        def append(segment: Segment, items: Sequence[Item], *, durable: bool) -> None:
            if rows := sum(isinstance(item.row, TimedRow) for item in items):
                self._reached.release()
                assert self._open.acquire(timeout=60)
                self.batches.append(rows)
            actual(segment, items, durable=durable)

        monkeypatch.setattr(Segment, "append", append)

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
                seen.append((number, len(read(tmp_path, RUN_ID).records)))
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
            assert sum("_call_all" in repr(call) for call in calls) == 2
            assert watched.committed == list(range(65))

    asyncio.run(run())


def test_a_commit_close_behind_another_waits_for_more_rows_until_one_is_urgent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_GATHER_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr(store, "perf_counter", lambda: 0.0)
    batches: list[int] = []
    actual = Segment.append

    def append(segment: Segment, items: Sequence[Item], *, durable: bool) -> None:
        if rows := sum(isinstance(item.row, TimedRow) for item in items):
            batches.append(rows)
        actual(segment, items, durable=durable)

    monkeypatch.setattr(Segment, "append", append)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0), result(1), result(2))
            watched.append(result(3), urgent=True)
            await watched.all_told()
            watched.append(result(4))

    asyncio.run(run())
    assert batches == [4, 1], "closing waits for nothing either"


def test_a_commit_waits_from_the_begin_of_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that one took, which nobody need wait for twice."""
    instant, waited = 100.0, set[float | None]()
    actual = Segment.append

    def append(segment: Segment, items: Sequence[Item], *, durable: bool) -> None:
        nonlocal instant
        actual(segment, items, durable=durable)
        instant += 3.0

    class Urgent(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal instant
            waited.add(timeout)
            instant += timeout or 0.0
            return True

    monkeypatch.setattr(Segment, "append", append)
    monkeypatch.setattr(store, "_GATHER_S", 8.0)
    monkeypatch.setattr(store, "perf_counter", lambda: instant)
    kept = store_of(tmp_path)
    monkeypatch.setattr(kept, "_urgent", Urgent())

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            for number in range(3):
                watched.append(result(number))
                await watched.all_told()

    asyncio.run(run())
    assert waited == {5.0}


def test_nothing_is_told_while_the_commit_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0))
            await gate.reached()
            await asyncio.sleep(0)
            assert watched.committed == []
            assert list_runs(tmp_path) == []
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
    assert {path.suffix for path in tmp_path.iterdir()} == {".apxmlog", ".index"}
    history = read(tmp_path, RUN_ID)
    assert len(history.results) == 100
    assert history.ended == Ended("succeeded")
    assert {record.time for record in history.records} == {STARTED + 1}


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path, HEADER)):
        assert len(names(tmp_path)) == 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(("sync", "expected"), [("full", 1), ("normal", 0)])
def test_a_commit_waits_for_the_disk_as_chosen(
    tmp_path: Path, sync: Sync, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread in writers():  # of other tests
        thread.join(timeout=60)
    synced: list[int] = []
    monkeypatch.setattr(segment, "_synced", synced.append)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER, sync=sync)) as journal:
            watched = Watched(journal)
            watched.append(result(0), urgent=True)
            await watched.all_told()

    asyncio.run(run())
    assert len(synced) == expected, "a header alone is not waited for, nor that a run is let go of"


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
    assert len(read(tmp_path, RUN_ID).results) == 1


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
        with pytest.raises(JournalError, match="already"):
            Journal.create(tmp_path, HEADER)
        journal.flush()
        assert read(tmp_path, RUN_ID).header == HEADER
        assert names(tmp_path) == before
    Journal.reopen(tmp_path, RUN_ID)[0].close()


def test_an_id_is_used_once(tmp_path: Path) -> None:
    write(tmp_path, [result(0)])
    with pytest.raises(JournalError, match="already"):
        Journal.create(tmp_path, HEADER)
    assert len(read(tmp_path, RUN_ID).records) == 1
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, lambda rows: result(500) in rows)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            failing = Failing(journal)
            failing.watched.append(*map(result, range(400)), urgent=True)
            await failing.watched.all_told()
            failing.watched.append(*map(result, range(400, 2000)))
            await failing.check("No space left on device")

    asyncio.run(run())
    rows = [record.row for record in read(tmp_path, RUN_ID).records]
    assert rows == [result(number) for number in range(len(rows))]
    assert len(rows) == 400


def test_a_disk_that_is_full_in_the_middle_of_a_commit_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual, left = os.write, 3000

    def write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if len(data) > left:
            data = data[:left]
        left -= len(data)
        if not data:
            raise OSError(28, "No space left on device")
        return actual(descriptor, data)

    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            monkeypatch.setattr(os, "write", write)
            failing = Failing(journal)
            for number in range(30):
                failing.watched.append(result(number), urgent=True)
                if not failing.watched.failures:
                    await failing.watched.all_told()
            await failing.check("No space left on device")
            monkeypatch.undo()

    asyncio.run(run())
    rows = [record.row for record in read(tmp_path, RUN_ID).records]
    assert rows == [result(number) for number in range(len(rows))]
    assert 5 < len(rows) < 30
    [found] = logs_in(tmp_path)
    assert (found.tail.torn, found.tail.gaps) == (False, ())
    write_other(tmp_path)
    assert len(logs_in(tmp_path)) == 1, "it is gone on with"


def write_other(folder: Path) -> None:
    store_of(folder).rest()
    write(folder, [result(0)], "20260201-000000-aaaa")


def test_a_commit_that_fails_costs_only_those_whose_rows_were_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "20260201-000000-aaaa"
    refuse(monkeypatch, lambda rows: result(7) in rows)

    async def run() -> None:
        with (
            closing(Journal.create(tmp_path, HEADER)) as lost,
            closing(Journal.create(tmp_path, header(other))) as kept,
        ):
            failing, watched = Failing(lost), Watched(kept)
            watched.append(result(0), urgent=True)
            await watched.all_told()
            failing.watched.append(result(7), urgent=True)
            await failing.check("No space left on device")
            assert {run.id: run.status for run in list_runs(tmp_path)} == dict.fromkeys([RUN_ID, other], "running")
            watched.append(result(1), urgent=True)
            await watched.all_told()
            assert watched.failures == []
            lost.close()
            kept.flush()
            assert {run.id: run.status for run in list_runs(tmp_path)} == {RUN_ID: "interrupted", other: "running"}

    asyncio.run(run())
    assert [record.row for record in read(tmp_path, other).records] == [result(0), result(1)]


def test_a_log_that_was_taken_away_is_a_failure_and_the_next_run_has_another(tmp_path: Path) -> None:
    async def run() -> None:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            failing = Failing(journal)
            failing.watched.append(result(0), urgent=True)
            await failing.watched.all_told()
            journal.path.unlink()
            failing.watched.append(result(1), urgent=True)
            await failing.check("its files were taken away")

    asyncio.run(run())
    write_other(tmp_path)
    assert [run.id for run in list_runs(tmp_path)] == ["20260201-000000-aaaa"]
    for path in tmp_path.iterdir():
        path.unlink()
    write(tmp_path, [result(0)])
    assert [run.id for run in list_runs(tmp_path)] == [RUN_ID], "also where nobody had noticed"


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


def test_a_log_is_of_bounded_size_and_a_run_goes_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "LARGEST", 20_000)
    monkeypatch.setattr(segment, "_INDEXED_EACH", 5_000)
    other = "20260201-000000-aaaa"
    rows = [Printed(number, "x" * 1000) for number in range(60)]

    async def run() -> None:
        with (
            closing(Journal.create(tmp_path, HEADER, sync="normal")) as journal,
            closing(Journal.create(tmp_path, header(other), sync="normal")) as quiet,
        ):
            watched, silent = Watched(journal), Watched(quiet)
            silent.append(result(0), urgent=True)
            await silent.all_told()
            for row in rows:
                watched.append(row, urgent=True)
                await watched.all_told()
            assert {run.status for run in list_runs(tmp_path)} == {"running"}
            for run_id in (RUN_ID, other):
                with pytest.raises(JournalBusyError):
                    Journal.reopen(tmp_path, run_id)
            held = [found.is_held for found in logs_in(tmp_path)]
            assert (held.count(True), len(held)) == (1, 4)
            silent.append(result(1), urgent=True)
            await silent.all_told()

    asyncio.run(run())
    assert all(path.stat().st_size < 25_000 for path in tmp_path.iterdir())
    assert [record.row for record in read(tmp_path, RUN_ID).records] == rows
    assert [record.row for record in read(tmp_path, other).records] == [result(0), result(1)]
    journal, history = Journal.reopen(tmp_path, RUN_ID)
    journal.close()
    assert [record.row for record in history.records] == rows


def test_a_program_is_stored_once_for_all_runs_of_it(tmp_path: Path) -> None:
    ids = [f"20260201-0000{number:02}-aaaa" for number in range(30)]
    for run_id in ids[:10]:
        write(tmp_path, [result(0)], run_id)
    store_of(tmp_path).rest()
    together(tmp_path, {run_id: [result(0)] for run_id in ids[10:]})
    [path] = tmp_path.glob("*.apxmlog")
    assert path.read_bytes().count(HEADER.program) == 1
    assert path.with_suffix(".index").read_bytes().count(HEADER.program) == 1
    assert {read(tmp_path, run_id).header.program for run_id in ids} == {HEADER.program}


def writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "apxm-journal"}


def test_many_runs_share_commits_files_and_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    actual = Segment.append

    def append(segment: Segment, items: Sequence[Item], *, durable: bool) -> None:
        commits.append(len(items))
        actual(segment, items, durable=durable)

    monkeypatch.setattr(Segment, "append", append)
    before = writers()
    threads = set[threading.Thread]()
    told: list[object] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        actual = loop.call_soon_threadsafe

        def call(callback: Callable[..., object], *arguments: object) -> asyncio.Handle:
            told.append(callback)
            return actual(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", call)
        with ExitStack() as stack:
            heads = [header(new_run_id()) for _ in range(200)]
            journals = [stack.enter_context(closing(Journal.create(tmp_path, head))) for head in heads]
            watched = [Watched(journal) for journal in journals]
            for each in watched:
                each.append(result(0))
            for each in watched:
                await each.all_told()
            threads.update(writers())
            told.clear()
            await asyncio.gather(*(journal.closed() for journal in journals))

    asyncio.run(run())
    assert len(commits) < 40
    assert len(told) < 20, "that a run is let go of is told with all else of its commit"
    assert len(threads - before) == 1
    assert len(names(tmp_path)) == 2
    assert len(list_runs(tmp_path)) == 200


def test_when_nothing_goes_on_the_thread_and_the_log_are_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_IDLE_S", 0.001)
    path = write(tmp_path, [result(0)])
    for thread in writers():
        thread.join(timeout=60)
    assert not writers()
    assert not is_held(path)


def test_one_who_closes_twice_or_from_two_loops_waits_for_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal.create(tmp_path, HEADER)
        await journal.closed()
        await journal.closed()
        journal.close()

    asyncio.run(run())
    assert [run.status for run in list_runs(tmp_path)] == ["interrupted"]


def test_what_is_appended_behind_a_claim_goes_on_from_what_there_was(tmp_path: Path) -> None:
    """Also where nothing was appended by the process in between."""
    write(tmp_path, [result(0)])
    for _ in range(3):
        Journal.reopen(tmp_path, RUN_ID)[0].close()
        store_of(tmp_path).rest()

    async def run() -> None:
        journal, _ = Journal.reopen(tmp_path, RUN_ID)
        with closing(journal):
            watched = Watched(journal)
            watched.append(result(1))
            await watched.all_told()

    asyncio.run(run())
    assert [record.row for record in read(tmp_path, RUN_ID).records] == [result(0), result(1)]
    (listed,) = list_runs(tmp_path)
    assert (listed.status, listed.operations) == ("interrupted", 2)


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_log_whose_maker_is_killed_is_none_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        shutil.copytree(folder, copy)
        raise Killed

    folder, copy = tmp_path / "runs", tmp_path / "copy"
    folder.mkdir()
    monkeypatch.setattr(os, moment, kill)
    with pytest.raises(Killed):
        Journal.create(folder, HEADER)
    monkeypatch.undo()
    assert [path.suffix for path in copy.iterdir()] == [".new"]
    assert list_runs(copy) == []
    write(copy, [result(0)])
    assert [run.id for run in list_runs(copy)] == [RUN_ID]

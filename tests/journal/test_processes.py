"""What only processes show: who owns a run, what a kill leaves, and what a full disk does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random

import pytest

from apxm.errors import JournalBusyError, UsageError
from apxm.journal.catalog import find, read
from apxm.journal.journal import Journal
from apxm.journal.pruning import prune
from apxm.journal.rows import Answered, Resumed
from apxm.journal.runs import list_runs
from tests.journal.crowd import id_of
from tests.journal.journals import HEADER, RUN_ID, Watched, header, result, write
from tests.journal.owner import WAITING

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def owner(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, "-m", "tests.journal.owner", str(folder), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline().strip() for _ in range(count)]


def test_another_process_is_refused_while_the_owner_lives_and_not_a_moment_longer(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        lines(process, 1)
        with pytest.raises(JournalBusyError, match="going on in another process"):
            Journal.reopen(tmp_path, RUN_ID)
        assert [run.status for run in list_runs(tmp_path)] == ["running"]
        assert prune(tmp_path, now=1e12, keep_bytes=0) == []
        process.kill()
        process.wait()
        assert [run.status for run in list_runs(tmp_path)] == ["interrupted"]
        Journal.reopen(tmp_path, RUN_ID)[0].close()


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_leaves_a_prefix_with_every_row_whose_callback_came(tmp_path: Path, seed: int) -> None:
    with owner(tmp_path) as process:
        told = lines(process, Random(seed).randrange(1, 400))
        process.kill()
        assert process.stdout
        told += process.stdout.read().split()
    assert told == [str(number) for number in range(len(told))]
    journal, history = Journal.reopen(tmp_path, RUN_ID)
    journal.close()
    rows = [record.row for record in history.records]
    assert rows == [result(number) for number in range(len(rows))]
    assert len(told) <= len(rows) <= len(told) + WAITING


def test_on_a_full_disk_the_run_is_told_once_and_goes_on_without_a_journal(tmp_path: Path) -> None:
    with owner(tmp_path, "60000") as process:
        assert process.stdout
        shown = process.stdout.read().splitlines()
        assert process.wait() == 0
    (failure,) = [line for line in shown if line.startswith("failed")]
    assert "File too large" in failure
    committed = shown.index(failure)
    assert [line for line in shown if line != failure] == [str(number) for number in range(1000)]
    rows = [record.row for record in read(tmp_path, RUN_ID).records]
    assert rows == [result(number) for number in range(len(rows))]
    assert committed <= len(rows) < 1000


def test_a_journal_without_room_for_its_header_is_told_of_with_the_first_row_and_leaves_no_run(tmp_path: Path) -> None:
    with owner(tmp_path, "400") as process:
        assert process.stdout
        shown = process.stdout.read().splitlines()
        assert process.wait() == 0
    assert shown[0].startswith("failed")
    assert shown[1:] == [str(number) for number in range(1000)]
    assert list_runs(tmp_path) == []


@contextmanager
def running(module: str, *arguments: object) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, "-m", f"tests.journal.{module}", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


SECOND = "20260101-000001"


def killed(folder: Path, second: str, runs: int, told: int, *largest: int) -> dict[str, int]:
    """A process that owned many runs, killed when it had told of so many rows; how many rows of each it told of."""
    with running("crowd", folder, second, runs, *largest) as process:
        shown = lines(process, told)
        process.kill()
        assert process.stdout
        shown += process.stdout.read().splitlines()
    count = Counter(int(line.split()[0]) for line in shown if len(line.split()) == 2)
    return {id_of(second, run): count[run] for run in range(runs)}


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.soak] if seed >= 3 else []) for seed in range(20)]
)
def test_a_kill_leaves_of_each_of_many_runs_a_prefix_with_all_that_was_told(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    told: dict[str, int] = {}
    for process in range(3):  # each goes on in the log of the one before, as long as that may grow
        told |= killed(tmp_path, f"2026010{process + 1}-000000", 40, random.randrange(40, 2000), 60_000)
    for run_id, count in told.items():
        try:
            found = [record.row for record in find(tmp_path, run_id).history.records]
        except UsageError:
            found = []
        assert found == [result(number) for number in range(len(found))]
        assert count <= len(found) <= count + 2
    assert {run.status for run in list_runs(tmp_path)} == {"interrupted"}
    for run_id in random.sample(sorted(told), 5):
        journal, _ = Journal.reopen(tmp_path, run_id)
        journal.close()


def test_two_runs_of_a_dead_process_go_on_in_two_processes_at_once(tmp_path: Path) -> None:
    told = killed(tmp_path, SECOND, 2, 60)
    first, second = sorted(told)
    with running("taker", tmp_path, first) as one, running("taker", tmp_path, second) as two:
        for process in (one, two):
            assert lines(process, 1) == ["ready"]
        for process in (one, two):
            say(process)
        assert lines(one, 1) == [f"taken {first}"]
        assert lines(two, 1) == [f"taken {second}"]
        assert {run.id: run.status for run in list_runs(tmp_path)} == {first: "running", second: "running"}
        for run_id in (first, second):
            with pytest.raises(JournalBusyError):
                Journal.reopen(tmp_path, run_id)
        two.kill()
        two.wait()
        assert {run.id: run.status for run in list_runs(tmp_path)} == {first: "running", second: "interrupted"}
        Journal.reopen(tmp_path, second)[0].close()
        assert one.stdin
        one.stdin.close()
        one.wait()
    for run_id in (first, second):
        rows = [record.row for record in find(tmp_path, run_id).history.records]
        assert [row for row in rows if isinstance(row, Answered)] == [result(n) for n in range(len(rows) - 1)]
        assert rows[-2] == Resumed("0")


def test_of_many_who_take_a_run_over_at_once_one_has_it(tmp_path: Path) -> None:
    told = killed(tmp_path, SECOND, 3, 90)
    ids = sorted(told)
    with ExitStack() as stack:
        takers = [stack.enter_context(running("taker", tmp_path, *ids)) for _ in range(4)]
        for process in takers:
            assert lines(process, 1) == ["ready"]
        for process in takers:
            say(process)
        shown = [line for process in takers for line in lines(process, 3)]
        assert Counter(line for line in shown if line.startswith("taken")) == {f"taken {run_id}": 1 for run_id in ids}
        assert shown.count(f"busy {ids[0]}") == 3


def test_a_run_that_its_process_let_go_of_may_go_on_in_another_while_that_lives(tmp_path: Path) -> None:
    with closing(Journal.create(tmp_path, header("20260101-000000-bbbb"))):
        write(tmp_path, [result(0)])
        with running("taker", tmp_path, RUN_ID) as process:
            say(process)
            assert lines(process, 2) == ["ready", f"taken {RUN_ID}"]
            with pytest.raises(JournalBusyError):
                Journal.reopen(tmp_path, RUN_ID)
    assert len(list(tmp_path.glob("*.apxmlog"))) == 2
    assert [record.row for record in find(tmp_path, RUN_ID).history.records] == [result(0), Resumed("0"), result(1)]


def test_what_a_fork_leaves_alone_is_the_parents(tmp_path: Path) -> None:
    """The child's own runs are in a log of its own, and its end is not that of the parent's runs."""

    async def parent() -> int:
        with closing(Journal.create(tmp_path, HEADER)) as journal:
            watched = Watched(journal)
            watched.append(result(0), urgent=True)
            await watched.all_told()
            child = os.fork()
            if not child:
                status = 1
                try:
                    with pytest.raises(JournalBusyError):
                        Journal.reopen(tmp_path, RUN_ID)
                    with closing(Journal.create(tmp_path, header("20260101-000000-cccc"))):
                        pass
                    journal.close()
                    status = 0
                finally:
                    os._exit(status)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            watched.append(result(1), urgent=True)
            await watched.all_told()
            assert {run.status for run in list_runs(tmp_path)} == {"running", "interrupted"}
            return status

    assert asyncio.run(parent()) == 0
    assert [record.row for record in find(tmp_path, RUN_ID).history.records] == [result(0), result(1)]
    assert len(list(tmp_path.glob("*.apxmlog"))) == 2

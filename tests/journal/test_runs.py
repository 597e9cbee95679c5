"""Ids, lists and the removal of old runs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from apxm.errors import JournalError, UsageError
from apxm.journal.folder import KeptRun
from apxm.journal.ids import is_run_id, new_run_id, start_of
from apxm.journal.journal import Journal
from apxm.journal.lock import RunLock
from apxm.journal.rows import Ended
from apxm.journal.runs import find_run, list_runs, prunable, prune, show_run
from tests.journal.journals import RUN_ID, STARTED, header, names, result, write

DAY = 86_400.0
FIRST, SECOND, THIRD = "20260101-000000-aaaa", "20260102-000000-bbbb", "20260103-000000-cccc"


def test_an_id_says_when_its_run_began_and_sorts_by_it() -> None:
    assert new_run_id(STARTED, "aaaabbbb".__getitem__) == "20260131-235959-aaaa"
    assert start_of("20260131-235959-aaaa") == "2026-01-31T23:59:59Z"
    made = [new_run_id(second * 97.0, Random(second).choice) for second in range(500)]
    assert made == sorted(made)
    assert all(map(is_run_id, made))
    assert not set("ilo01") & {character for run_id in made for character in run_id[16:]}


def test_ids_of_one_second_differ() -> None:
    assert len({new_run_id(STARTED) for _ in range(5_000)}) == 5_000


@pytest.mark.parametrize("text", ["", "..", "20260131-235959-k3v", "20260131-235959-k3v/", "２0260131-235959-k3vd"])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_run_id(text)


def test_a_list_tells_of_each_run_what_it_is_and_how_it_went(tmp_path: Path) -> None:
    write(tmp_path, [result(0), result(1), Ended("succeeded")], FIRST)
    write(tmp_path, [result(0)], SECOND)
    (tmp_path / f"{RUN_ID}.journal").write_bytes(b"?" * 5000)
    (tmp_path / "notes.txt").write_text("not ours")
    with closing(Journal.create(tmp_path, header(THIRD))):
        listed = list_runs(tmp_path)
    assert [(run.id, run.status, run.operations) for run in listed] == [
        (RUN_ID, "damaged", None),
        (THIRD, "running", 0),
        (SECOND, "interrupted", 1),
        (FIRST, "succeeded", 2),
    ]
    damaged, _, _, ended = listed
    assert (ended.program, ended.flow, ended.started) == ("work/flow.ais", "Test.main", "2026-01-01T00:00:00Z")
    assert ended.size_bytes == (tmp_path / f"{FIRST}.journal").stat().st_size
    assert (damaged.program, damaged.flow, damaged.started) == (None, None, "2026-01-31T23:59:59Z")
    assert damaged.size_bytes == 5000


def test_a_folder_that_is_not_there_has_no_runs_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []
    (tmp_path / "runs").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        list_runs(tmp_path / "runs")


def test_a_run_is_shown_with_all_that_it_has(tmp_path: Path) -> None:
    write(tmp_path, [result(0)], FIRST)
    run, history = show_run(find_run(tmp_path, FIRST))
    assert (run.id, run.status, run.operations) == (FIRST, "interrupted", 1)
    assert history.results == {"main/a0": result(0)}


def test_of_runs_that_began_within_a_second_the_last_is_the_one_that_did_so_last(tmp_path: Path) -> None:
    ids = [f"20260101-000000-{letters}" for letters in ("mmmm", "zzzz", "aaaa", "kkkk")]
    for microsecond, run_id in enumerate(ids):
        Journal.create(tmp_path, replace(header(run_id), started=STARTED + microsecond / 1e6)).close()
    assert [run.id for run in list_runs(tmp_path)] == list(reversed(ids))
    assert find_run(tmp_path, "last") == "20260101-000000-kkkk"
    with pytest.raises(UsageError, match="the last one is 20260101-000000-kkkk"):
        find_run(tmp_path, "20260101")
    (tmp_path / f"{ids[0]}.journal").write_bytes(b"?")
    assert find_run(tmp_path, "last") == ids[0], "what cannot be read counts as when it was written"


@pytest.mark.parametrize("wanted", [FIRST, "20260101", "aaaa", "000-aaaa", "20260101-000000-aaa"])
def test_a_run_is_found_by_what_is_its_own(tmp_path: Path, wanted: str) -> None:
    for run_id in (FIRST, SECOND, THIRD):
        write(tmp_path, [], run_id)
    assert find_run(tmp_path, wanted) == FIRST


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("20260101-000000-aaab", f"did you mean {FIRST}"),
        ("ccccc", f"did you mean {THIRD}"),
        ("2026", f"'2026' may be any of 3 runs.*the last one is {THIRD}"),
        ("../../etc/passwd", f"there is no run.*the last one is {THIRD}"),
        ("\x1b[2J", r"there is no run '\\x1b\[2J'"),
        ("", "there is no run"),
    ],
)
def test_what_names_no_run_or_several_is_refused(tmp_path: Path, wanted: str, message: str) -> None:
    for run_id in (FIRST, SECOND, THIRD):
        write(tmp_path, [], run_id)
    with pytest.raises(UsageError, match=message):
        find_run(tmp_path, wanted)


def test_where_there_are_no_runs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are none"):
        find_run(tmp_path, "k3vd")


def aged(folder: Path, run_id: str, days: float) -> int:
    """A run that was last written so many days before `STARTED`; its size."""
    path = write(folder, [result(0)], run_id)
    for file in (path, path.with_suffix(".lock")):
        os.utime(file, (STARTED - days * DAY, STARTED - days * DAY))
    return path.stat().st_size


def ids(runs: list[KeptRun]) -> list[str]:
    return [run.run_id for run in runs]


def test_what_is_too_old_goes_with_all_its_files(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 31)
    aged(tmp_path, SECOND, 29)
    assert ids(prunable(tmp_path, now=STARTED)) == [FIRST]
    assert names(tmp_path) == {f"{run_id}.{end}" for run_id in (FIRST, SECOND) for end in ("journal", "lock")}
    (tmp_path / f"{FIRST}.journal-wal").touch()
    (tmp_path / f"{FIRST}.journal-shm").touch()
    os.utime(tmp_path / f"{FIRST}.journal-wal", (0, 0))
    os.utime(tmp_path / f"{FIRST}.journal-shm", (0, 0))
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert names(tmp_path) == {f"{SECOND}.journal", f"{SECOND}.lock"}


def test_of_what_does_not_fit_the_oldest_goes_first(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 1)  # began first, and was written last
    size = aged(tmp_path, SECOND, 3)
    aged(tmp_path, THIRD, 2)
    assert ids(prunable(tmp_path, now=STARTED, keep_bytes=3 * size)) == []
    assert ids(prunable(tmp_path, now=STARTED, keep_bytes=3 * size - 1)) == [SECOND]
    assert ids(prune(tmp_path, now=STARTED, keep_bytes=0)) == [SECOND, THIRD, FIRST]
    assert names(tmp_path) == set()


def test_what_is_running_stays_and_is_counted(tmp_path: Path) -> None:
    size = aged(tmp_path, FIRST, 99)
    aged(tmp_path, SECOND, 1)
    lock = RunLock(tmp_path / f"{FIRST}.lock", FIRST)
    assert ids(prune(tmp_path, now=STARTED, keep_bytes=size)) == [SECOND]
    lock.release()
    assert ids(prune(tmp_path, now=STARTED, keep_bytes=size)) == [FIRST]


def test_what_a_run_left_that_never_began_goes_too(tmp_path: Path) -> None:
    for end in ("part", "part-wal", "lock"):
        (tmp_path / f"{FIRST}.{end}").touch()
        os.utime(tmp_path / f"{FIRST}.{end}", (0, 0))
    (tmp_path / "notes.txt").touch()
    assert list_runs(tmp_path) == []
    prune(tmp_path, now=STARTED)
    assert names(tmp_path) == {"notes.txt"}


def test_a_lock_file_that_is_removed_while_it_is_taken_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    actual = os.open
    removed: list[Path] = []

    def open_and_lose(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = actual(name, flags, mode)
        if not removed:
            removed.append(name)
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    RunLock(path, FIRST).release()
    assert removed == [path]
    assert path.exists()


def test_what_is_no_file_of_ours_stays_and_keeps_no_other_run(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 40)
    (tmp_path / f"{SECOND}.journal").mkdir()
    os.utime(tmp_path / f"{SECOND}.journal", (0, 0))
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert [run.status for run in list_runs(tmp_path)] == ["damaged"]

"""Ids, lists and the removal of old runs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from time import time

import pytest
from msgspec.structs import replace

from apxm.errors import JournalError, UsageError
from apxm.journal import log, pruning, segment
from apxm.journal.catalog import read
from apxm.journal.ids import is_run_id, new_run_id, start_of
from apxm.journal.journal import Journal
from apxm.journal.lock import FileLock, lock_file
from apxm.journal.pruning import KeptRun, prunable, prune
from apxm.journal.rows import Ended, Printed, Resumed, Row, edited
from apxm.journal.runs import find_run, list_runs, show_run
from apxm.journal.store import store_of
from tests.journal.journals import RUN_ID, SMALL, STARTED, header, names, result, write
from tests.journal.per_run_files import age, write_old

DAY = 86_400.0
FIRST, SECOND, THIRD = "20260101-000000-aaaa", "20260102-000000-bbbb", "20260103-000000-cccc"


def test_an_id_says_when_its_run_began_and_sorts_by_it() -> None:
    assert new_run_id(STARTED, lambda letters: "aaaabbbb"[:letters]) == "20260131-235959-aaaa"
    assert start_of("20260131-235959-aaaa") == "2026-01-31T23:59:59Z"
    made = [new_run_id(second * 97.0) for second in range(500)]
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
    with closing(Journal.create(tmp_path, header(THIRD))) as journal:
        journal.flush()
        listed = list_runs(tmp_path)
    assert [(run.id, run.status, run.operations) for run in listed] == [
        (RUN_ID, "damaged", None),
        (THIRD, "running", 0),
        (SECOND, "interrupted", 1),
        (FIRST, "succeeded", 2),
    ]
    damaged, _, _, ended = listed
    assert (ended.program, ended.flow, ended.started) == ("work/flow.ais", "Test.main", "2026-01-01T00:00:00Z")
    assert 0 < ended.size_bytes < 1500, "what its rows take up"
    assert (damaged.program, damaged.flow, damaged.started) == (None, None, "2026-01-31T23:59:59Z")
    assert damaged.size_bytes == 5000


def test_a_list_tells_the_same_of_what_is_in_an_index_and_what_is_not(tmp_path: Path) -> None:
    program = edited(SMALL, [])
    whole: dict[str, list[Row]] = {
        FIRST: [result(0), result(1), Resumed("0"), program, result(0), Ended("failed"), Resumed("0"), result(2)],
        SECOND: [result(0), Ended("paused")],
    }
    for run_id, rows in whole.items():
        write(tmp_path, rows, run_id)
    by_scan = list_runs(tmp_path)
    store_of(tmp_path).rest()
    by_index = list_runs(tmp_path)
    assert by_scan == by_index
    assert [(run.status, run.operations) for run in by_index] == [("paused", 1), ("interrupted", 2)]
    for run in by_index:
        assert show_run(tmp_path, run.id)[0] == run


def test_a_run_in_old_files_is_listed_and_found_beside_the_others(tmp_path: Path) -> None:
    path = write_old(tmp_path, [result(0), Ended("succeeded")], FIRST)
    write(tmp_path, [result(0)], SECOND)
    assert [(run.id, run.status, run.operations) for run in list_runs(tmp_path)] == [
        (SECOND, "interrupted", 1),
        (FIRST, "succeeded", 1),
    ]
    assert find_run(tmp_path, "aaaa") == FIRST
    shown, history = show_run(tmp_path, FIRST)
    assert (shown.size_bytes, history.results) == (path.stat().st_size, {"main/a0": result(0)})
    with pytest.raises(JournalError, match="already"):
        Journal.create(tmp_path, header(FIRST))


def test_a_folder_that_is_not_there_has_no_runs_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []
    (tmp_path / "runs").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        list_runs(tmp_path / "runs")


def test_a_run_is_shown_with_all_that_it_has(tmp_path: Path) -> None:
    write(tmp_path, [result(0)], FIRST)
    run, history = show_run(tmp_path, find_run(tmp_path, FIRST))
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
    (tmp_path / f"{ids[0][:-4]}qqqq.journal").write_bytes(b"?")
    assert find_run(tmp_path, "last") == f"{ids[0][:-4]}qqqq", "what cannot be read counts as when it was written"


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
    write(folder, [result(0), Printed(0, "x" * 5000)], run_id, STARTED - days * DAY)
    return show_run(folder, run_id)[0].size_bytes


def ids(runs: list[KeptRun]) -> list[str]:
    return [run.run_id for run in runs]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_too_old_goes_and_its_space_is_given_back(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 31)
    size = aged(tmp_path, SECOND, 29)
    store_of(tmp_path).rest()
    before, kept = size_of(tmp_path), read(tmp_path, SECOND).records
    assert ids(prunable(tmp_path, now=STARTED)) == [FIRST]
    assert size_of(tmp_path) == before
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert [run.id for run in list_runs(tmp_path)] == [SECOND]
    assert size_of(tmp_path) < size + 1500
    assert read(tmp_path, SECOND).records == kept
    journal, history = Journal.reopen(tmp_path, SECOND)
    journal.close()
    assert history.records == kept
    assert len(names(tmp_path)) == 2, "the log that was written anew is gone on with"


def test_of_what_does_not_fit_the_oldest_goes_first(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 1)  # began first, and was written last
    size = aged(tmp_path, SECOND, 3)
    aged(tmp_path, THIRD, 2)
    assert ids(prunable(tmp_path, now=STARTED, keep_bytes=3 * size)) == []
    assert ids(prunable(tmp_path, now=STARTED, keep_bytes=3 * size - 1)) == [SECOND]
    assert ids(prune(tmp_path, now=STARTED, keep_bytes=0)) == [SECOND, THIRD, FIRST]
    assert names(tmp_path) == set()


def test_what_is_running_stays_and_is_counted_and_so_does_what_shares_its_log(tmp_path: Path) -> None:
    size = aged(tmp_path, FIRST, 99)
    store_of(tmp_path).rest()
    with open(next(tmp_path.glob("*.apxmlog")), "rb") as file:
        assert lock_file(file.fileno())
        aged(tmp_path, SECOND, 1)
        assert ids(prune(tmp_path, now=STARTED, keep_bytes=size)) == [SECOND]
    assert ids(prune(tmp_path, now=STARTED, keep_bytes=size)) == [FIRST]
    with closing(Journal.create(tmp_path, header(THIRD))) as journal:
        journal.flush()
        assert prune(tmp_path, now=1e12, keep_bytes=0) == []
    assert ids(prune(tmp_path, now=1e12)) == [THIRD]


def test_a_run_is_removed_from_all_logs_that_it_is_in_or_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "LARGEST", 4000)
    aged(tmp_path, FIRST, 40)
    store_of(tmp_path).rest()
    journal, _ = Journal.reopen(tmp_path, FIRST, clock=lambda: STARTED)
    journal.close()
    write(tmp_path, [result(0)], SECOND, STARTED - 50 * DAY)
    assert len(list(tmp_path.glob("*.apxmlog"))) == 2
    assert ids(prune(tmp_path, now=STARTED, keep_days=45)) == [SECOND]
    assert read(tmp_path, FIRST).printed == {0: "x" * 5000}
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert names(tmp_path) == set()


@pytest.mark.parametrize("moment", ["rename", "unlink"])
def test_who_is_killed_while_a_log_is_written_anew_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    aged(tmp_path, FIRST, 40)
    aged(tmp_path, SECOND, 1)
    store_of(tmp_path).rest()
    kept = read(tmp_path, SECOND).records

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "rename", kill) if moment == "rename" else monkeypatch.setattr(pruning, "_unlink", kill)
    with pytest.raises(Killed):
        prune(tmp_path, now=STARTED)
    monkeypatch.undo()
    assert read(tmp_path, SECOND).records == kept
    left = [run.id for run in list_runs(tmp_path)]
    assert left == ([SECOND, FIRST] if moment == "rename" else [SECOND])
    prune(tmp_path, now=STARTED)
    assert [run.id for run in list_runs(tmp_path)] == [SECOND]
    prune(tmp_path, now=time() + 4000, keep_days=1e6)
    assert {path.suffix for path in tmp_path.iterdir()} == {".apxmlog", ".index"}
    assert len(names(tmp_path)) == 2
    assert read(tmp_path, SECOND).records == kept


def test_a_damaged_log_is_not_written_anew(tmp_path: Path) -> None:
    """Of runs that may have lost their ends nothing else would tell."""
    aged(tmp_path, FIRST, 40)
    write(tmp_path, [result(0)], SECOND)
    write(tmp_path, [result(0)], THIRD)
    store_of(tmp_path).rest()
    [path] = tmp_path.glob("*.apxmlog")
    data = path.read_bytes()
    salt = log.read_head(path, data)
    batches = [b for b in log.scan(data[16:], 16, salt) if isinstance(b, log.Batch)]
    lost = next(b for b in batches if any(e.run_id == SECOND and e.kind == log.ROW for e in b.entries()))
    damaged = data[: lost.start] + bytes(lost.end - lost.start) + data[lost.end :]
    path.write_bytes(damaged)
    prune(tmp_path, now=STARTED)
    assert path.read_bytes() == damaged
    assert read(tmp_path, THIRD).results == {"main/a0": result(0)}
    prune(tmp_path, now=1e12)
    assert names(tmp_path) == set()


def test_old_files_go_by_their_looks(tmp_path: Path) -> None:
    age(write_old(tmp_path, [result(0)], FIRST), 31)
    age(write_old(tmp_path, [result(0)], SECOND), 29)
    (tmp_path / f"{FIRST}.journal-wal").touch()
    (tmp_path / f"{FIRST}.journal-shm").touch()
    os.utime(tmp_path / f"{FIRST}.journal-wal", (0, 0))
    os.utime(tmp_path / f"{FIRST}.journal-shm", (0, 0))
    assert ids(prunable(tmp_path, now=STARTED)) == [FIRST]
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert names(tmp_path) == {f"{SECOND}.journal", f"{SECOND}.lock"}


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
    FileLock(path, FIRST).release()
    assert removed == [path]
    assert path.exists()


def test_what_is_no_file_of_ours_stays_and_keeps_no_other_run(tmp_path: Path) -> None:
    aged(tmp_path, FIRST, 40)
    (tmp_path / f"{SECOND}.journal").mkdir()
    os.utime(tmp_path / f"{SECOND}.journal", (0, 0))
    assert ids(prune(tmp_path, now=STARTED)) == [FIRST]
    assert [run.status for run in list_runs(tmp_path)] == ["damaged"]

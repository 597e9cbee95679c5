"""Journals of earlier versions, one file per run: what they hold, and that what is none is refused, and not changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.errors import JournalBusyError, JournalDamagedError, JournalError, JournalVersionError
from apxm.journal.catalog import find
from apxm.journal.format import encode
from apxm.journal.journal import Journal
from apxm.journal.lock import FileLock
from apxm.journal.per_run import APPLICATION_ID, FORMAT_VERSION, SCHEMA, read
from apxm.journal.pruning import prune
from apxm.journal.rows import Printed, TimedRow
from apxm.journal.runs import list_runs
from apxm.journal.store import store_of
from tests.journal.journals import HEADER, RUN_ID, STARTED, contents, names, result
from tests.journal.per_run_files import write_old

ROWS = [*map(result, range(200)), Printed(0, "x" * 9000)]
"""Several pages of them, with one that does not fit into a page."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal at rest. (Hypothesis writes arguments out: its content would be too long.)"""
    return write_old(tmp_path_factory.mktemp("whole"), ROWS)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that a killed process leaves."""
    folder, copy = tmp_path_factory.mktemp("owned"), tmp_path_factory.mktemp("left")
    path = write_old(folder, ROWS[:1])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (before,) = connection.execute("SELECT checksum FROM journal WHERE number = 1").fetchone()
        for number, row in enumerate(ROWS[1:], 2):
            content = encode(TimedRow(STARTED, row))
            before = crc32(content, before)
            connection.execute("INSERT INTO journal VALUES (?, ?, ?)", (number, content, before))
        for file in names(folder):
            shutil.copy(folder / file, copy)
    return copy


def right_or_refused(folder: Path) -> None:
    before = contents(folder)
    try:
        header, records = read(folder / f"{RUN_ID}.journal")
    except JournalError:
        pass
    else:
        assert header == HEADER
        assert [record.row for record in records] == ROWS
    assert contents(folder) == before
    assert len(list_runs(folder)) == 1


PAGE = 4096
heads = st.tuples(st.integers(0, 9), st.integers(0, 150)).map(lambda place: place[0] * PAGE + place[1])
"""What a page says of itself: that is where damage does most."""
places = st.integers(0, 2**16) | heads
edits = st.lists(st.tuples(places, st.binary(min_size=1, max_size=8)), max_size=6)
cuts = st.none() | st.floats(0, 1)


def edited(data: bytes, changes: list[tuple[int, bytes]], cut: float | None) -> bytes:
    for place, replacement in changes:
        at = place % max(1, len(data))
        data = data[:at] + replacement + data[at + len(replacement) :]
    return data if cut is None else data[: int(cut * len(data))]


@settings(max_examples=400, deadline=None)
@given(changes=edits, cut=cuts)
def test_a_damaged_file_is_refused_or_gives_all_that_was_written(
    whole: Path, changes: list[tuple[int, bytes]], cut: float | None
) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, f"{RUN_ID}.journal").write_bytes(edited(whole.read_bytes(), changes, cut))
        right_or_refused(Path(folder))


@settings(max_examples=300, deadline=None)
@given(place=places, bit=st.integers(0, 7))
def test_so_is_one_with_a_single_flipped_bit(whole: Path, place: int, bit: int) -> None:
    data = whole.read_bytes()
    at = place % len(data)
    with TemporaryDirectory() as folder:
        Path(folder, f"{RUN_ID}.journal").write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        right_or_refused(Path(folder))


def test_damage_that_is_no_text_is_not_quoted(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{RUN_ID}.journal"
    path.write_bytes(whole.read_bytes().replace(b"TABLE journal (", b"T\xff\xfeLE journal ("))
    with pytest.raises(JournalDamagedError):
        read(path)


def test_rows_that_are_gone_from_the_end_are_missed(whole: Path, tmp_path: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / f"{RUN_ID}.journal"
    assert int.from_bytes(data[16:18], "big") == PAGE
    for page in range(PAGE, len(data), PAGE):
        cells = int.from_bytes(data[page + 3 : page + 5], "big")
        if data[page] == 0x0D and cells:  # a leaf of the table; without its last row
            path.write_bytes(data[: page + 3] + (cells - 1).to_bytes(2, "big") + data[page + 5 :])
            with pytest.raises(JournalDamagedError):
                read(path)


@settings(max_examples=200, deadline=None)
@given(changes=edits, cut=cuts, file=st.sampled_from([".journal", ".journal-wal", ".journal-shm"]))
def test_of_a_damaged_log_a_prefix_is_left(
    left: Path, changes: list[tuple[int, bytes]], cut: float | None, file: str
) -> None:
    with TemporaryDirectory() as folder:
        for name, data in contents(left).items():
            Path(folder, name).write_bytes(edited(data, changes, cut) if name == RUN_ID + file else data)
        try:
            _, records = read(Path(folder, f"{RUN_ID}.journal"))
        except JournalError:
            return
        rows = [record.row for record in records]
        assert rows == ROWS[: len(rows)]


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_no_journal(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"{RUN_ID}.journal")
        path.write_bytes(data)
        with pytest.raises(JournalDamagedError):
            read(path)
        assert list_runs(Path(folder))[0].status == "damaged"


def test_what_a_killed_process_leaves_is_all_there_and_becomes_part_of_a_log(left: Path, tmp_path: Path) -> None:
    for name in names(left):
        shutil.copy(left / name, tmp_path)
    assert [record.row for record in read(tmp_path / f"{RUN_ID}.journal")[1]] == ROWS
    journal, history = Journal.reopen(tmp_path, RUN_ID)
    journal.close()
    store_of(tmp_path).rest()
    assert len(history.records) == len(ROWS)
    [log] = tmp_path.glob("*.apxmlog")
    assert names(tmp_path) == {log.name, f"{log.stem}.index"}
    found = find(tmp_path, RUN_ID)
    assert (found.header, [record.row for record in found.history.records]) == (HEADER, ROWS)


def test_one_that_its_process_has_is_not_taken_over(tmp_path: Path) -> None:
    path = write_old(tmp_path, ROWS[:1])
    lock = FileLock(path.with_suffix(".lock"), RUN_ID)
    with pytest.raises(JournalBusyError):
        Journal.reopen(tmp_path, RUN_ID)
    assert [run.status for run in list_runs(tmp_path)] == ["running"]
    assert prune(tmp_path, now=1e12, keep_bytes=0) == []
    lock.release()
    Journal.reopen(tmp_path, RUN_ID)[0].close()


def test_of_one_that_is_in_a_log_already_the_file_is_passed_over(tmp_path: Path) -> None:
    """Its process was killed between the two."""
    path = write_old(tmp_path, ROWS[:3])
    before = path.read_bytes()
    journal, _ = Journal.reopen(tmp_path, RUN_ID)
    journal.close()
    path.write_bytes(before)
    assert [run.id for run in list_runs(tmp_path)] == [RUN_ID]
    assert [record.row for record in find(tmp_path, RUN_ID).history.records] == ROWS[:3]
    assert [run.run_id for run in prune(tmp_path, now=1e12)] == [RUN_ID]
    assert names(tmp_path) == set()


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


OURS = f"PRAGMA application_id = {APPLICATION_ID}"
FIRST = "PRAGMA user_version = 1"


OTHER = "CREATE TABLE t (x)"
ENDLESS = "CREATE VIEW journal AS WITH RECURSIVE n(i) AS (SELECT 0 UNION SELECT i + 1 FROM n) SELECT i FROM n"
NO_JOURNAL = {
    "another application": ([OTHER], "it is a database of another application"),
    "no version": ([OURS, SCHEMA], "there is no format version 0"),
    "no table": ([OURS, FIRST], "it has not the table of a journal"),
    "one more table": ([OURS, FIRST, SCHEMA, OTHER], "it has not the table of a journal"),
    "an endless view": ([OURS, FIRST, ENDLESS], "it has not the table of a journal"),
    "no rows": ([OURS, FIRST, SCHEMA], "it has no header"),
    "no header": ([OURS, FIRST, SCHEMA, "INSERT INTO journal VALUES (1, x'00', 0)"], "row 0 is missing"),
    "text": ([OURS, FIRST, SCHEMA, "INSERT INTO journal VALUES (0, 'text', 0)"], "row 0 does not match its checksum"),
    "no sum": (
        [OURS, FIRST, SCHEMA, "INSERT INTO journal VALUES (0, x'c1', 'a')"],
        "row 0 does not match its checksum",
    ),
}


def refusals(folder: Path) -> list[JournalError]:
    """What reading and taking over end in, neither of which may change anything."""
    path, before = folder / f"{RUN_ID}.journal", contents(folder)
    with pytest.raises(JournalError) as read_refused:
        read(path)
    with pytest.raises(JournalError) as reopening_refused:
        Journal.reopen(folder, RUN_ID)
    assert contents(folder) == before
    return [read_refused.value, reopening_refused.value]


@pytest.mark.parametrize("name", NO_JOURNAL)
def test_another_database_is_refused(tmp_path: Path, name: str) -> None:
    statements, message = NO_JOURNAL[name]
    path = tmp_path / f"{RUN_ID}.journal"
    database(path, *statements)
    for refused in refusals(tmp_path):
        assert isinstance(refused, JournalDamagedError)
        assert refused.message.endswith(message)
        assert refused.where == str(path)


def test_a_journal_of_a_later_version_is_refused_and_not_called_damaged(tmp_path: Path) -> None:
    database(tmp_path / f"{RUN_ID}.journal", OURS, f"PRAGMA user_version = {FORMAT_VERSION + 1}", SCHEMA)
    for refused in refusals(tmp_path):
        assert isinstance(refused, JournalVersionError)
        assert f"version {FORMAT_VERSION + 1}; this apxm reads version {FORMAT_VERSION} of such files" in str(refused)
    (run,) = list_runs(tmp_path)
    assert (run.status, run.program, run.started) == ("unreadable", None, "2026-01-31T23:59:59Z")


def forged(path: Path, *contents: bytes) -> None:
    """A journal whose checksums are right, whatever it says."""
    database(path, OURS, FIRST, SCHEMA)
    checksum = 0
    with closing(sqlite3.connect(path)) as connection:
        for number, content in enumerate(contents):
            checksum = crc32(content, checksum)
            connection.execute("INSERT INTO journal VALUES (?, ?, ?)", (number, content, checksum))
        connection.commit()


@pytest.mark.parametrize(
    "row",
    [
        [0.0, ["result", "a", b"", {1: 2}]],
        [0.0, ["result", "a", b"", b"bytes"]],
        [0.0, ["result", "a", b"", msgspec.msgpack.Ext(1, b"x")]],
        [0.0, ["result", "a", b"", float("inf")]],
        [0.0, ["unheard of", "a"]],
        [1e300, ["printed", 0, "a"]],
        [0.0, ["printed", "0", "a"]],
    ],
    ids=["keys", "bytes", "extension", "infinity", "kind", "time", "number"],
)
def test_a_forged_row_is_refused(tmp_path: Path, row: object) -> None:
    path = tmp_path / "forged.journal"
    forged(path, encode(HEADER), msgspec.msgpack.encode(row))
    with pytest.raises(JournalDamagedError, match="row 1 is not a valid one"):
        read(path)


def test_a_row_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "forged.journal"
    forged(path, encode(HEADER), b"\x92\x00\x94\xa6result\xa1a\xc4\x00" + b"\x91" * 100_000 + b"\x00")
    with pytest.raises(JournalDamagedError, match="row 1 is not a valid one"):
        read(path)


def test_fields_that_a_later_version_added_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "later.journal"
    forged(path, encode(HEADER), msgspec.msgpack.encode([1.0, ["printed", 0, "line", "new"], "new"]))
    assert read(path)[1] == [TimedRow(1.0, Printed(0, "line"))]


def test_a_run_is_not_taken_for_another_one(tmp_path: Path) -> None:
    other = "20260131-235959-aaaa"
    shutil.copy(write_old(tmp_path, []), tmp_path / f"{other}.journal")
    with pytest.raises(JournalError, match=f"this is the journal of run {RUN_ID}"):
        Journal.reopen(tmp_path, other)
    assert f"{other}.lock" not in names(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, Path.touch], ids=["folder", "pipe", "empty file"])
def test_what_is_no_file_of_ours_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / f"{RUN_ID}.journal"
    make(path)
    with pytest.raises(JournalDamagedError, match=r"it is (not a regular file|empty)"):
        read(path)
    assert list_runs(tmp_path)[0].status == "damaged"


def test_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file"):
        read(tmp_path / "nothing")

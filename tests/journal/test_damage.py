"""Logs that are no longer what was written: what is lost is what was in the damaged place, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.errors import JournalDamagedError, JournalError, JournalVersionError, UsageError
from apxm.journal import index, log
from apxm.journal.catalog import logs_in, read
from apxm.journal.format import encode
from apxm.journal.journal import Journal
from apxm.journal.log import ROW, Entry, Gap
from apxm.journal.rows import Ended, Printed, Row, TimedRow
from apxm.journal.runs import list_runs
from tests.journal.journals import HEADER, RUN_ID, Watched, contents, header, names, result, together

IDS = [f"20260101-00000{number}-aaaa" for number in range(6)]
ROWS = [[*(result(number) for number in range(3 + each)), Printed(0, "x" * 300 * each)] for each in range(6)]
"""Of six runs, of which the last two go on."""


def rows_of(folder: Path, run_id: str) -> list[Row]:
    return [record.row for record in read(folder, run_id).records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of runs that went on at the same time, so that their rows share commits, and what their
    process leaves when it is killed: no index."""
    folder = tmp_path_factory.mktemp("whole")
    together(folder, {run_id: written(each) for each, run_id in enumerate(IDS)})
    for path in folder.glob("*.index"):
        path.unlink()
    return folder


def written(each: int) -> list[Row]:
    return [*ROWS[each], *([Ended("succeeded")] if each < 4 else [])]


def batches(data: bytes) -> list[log.Batch]:
    salt = log.read_head(Path(), data)
    return [found for found in log.scan(data[log.HEAD.size :], log.HEAD.size, salt) if isinstance(found, log.Batch)]


def check(folder: Path, damaged: Sequence[tuple[int, int]], data: bytes) -> None:
    """Each run is whole, or refused; and it is whole where nothing of it was in a `damaged` place."""
    before = contents(folder)
    for each, run_id in enumerate(IDS):
        touched = False
        for batch in batches(data):
            hit = [(a, b) for a, b in damaged if a < batch.end and b > batch.start]
            heads = [(batch.start, batch.contents), (batch.end - (batch.contents - batch.start), batch.end)]
            lost = all(any(a < d and b > c for a, b in hit) for c, d in heads)
            for entry in batch.entries():
                mine = entry.run_id == run_id or entry.kind == log.PROGRAM
                inside = any(a < entry.at + entry.length and b > entry.at for a, b in hit)
                touched |= (mine and (inside or lost)) or (lost and each >= 4)
        try:
            found = rows_of(folder, run_id)
        except (JournalError, UsageError):
            assert touched, f"{run_id} was not where the damage is"
        else:
            assert found == written(each)
    assert contents(folder) == before
    assert len(list_runs(folder)) <= len(IDS) + 1


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1), replacement=st.binary(min_size=1, max_size=40))
def test_damage_to_one_place_costs_what_was_there(whole: Path, place: float, replacement: bytes) -> None:
    [path] = whole.glob("*.apxmlog")
    data = path.read_bytes()
    # The last batch may be one that was not written to its end: it is no damage then.
    least, most = log.HEAD.size, batches(data)[-1].start - len(replacement)
    at = least + int(place * (most - least))
    with TemporaryDirectory() as folder:
        Path(folder, path.name).write_bytes(data[:at] + replacement + data[at + len(replacement) :])
        check(Path(folder), [(at, at + len(replacement))], data)


def test_each_flipped_byte_of_a_small_log_is_found(tmp_path: Path) -> None:
    first, second = IDS[0], IDS[1]
    whole = tmp_path / "whole"
    whole.mkdir()
    together(whole, {first: [result(0), Ended("succeeded")], second: [result(1), Ended("succeeded")]})
    [path] = whole.glob("*.apxmlog")
    data = path.read_bytes()
    [last] = [batch for batch in batches(data) if batch.end == len(data)]
    # The program, of which the index would have another copy.
    programs = [entry for batch in batches(data) for entry in batch.entries() if entry.kind == log.PROGRAM]
    shared = {at for entry in programs for at in range(entry.at, entry.at + entry.length)}
    for at in range(log.HEAD.size, last.start):
        folder = tmp_path / "damaged"
        folder.mkdir()
        (folder / path.name).write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        refused = 0
        for run_id, row in ((first, result(0)), (second, result(1))):
            try:
                assert rows_of(folder, run_id) == [row, Ended("succeeded")]
            except JournalError:
                refused += 1
        assert refused < 2 or at in shared
        shutil.rmtree(folder)


def test_a_program_that_is_damaged_is_that_of_the_index(tmp_path: Path) -> None:
    together(tmp_path, {run_id: [result(0), Ended("succeeded")] for run_id in IDS[:2]})
    [path] = tmp_path.glob("*.apxmlog")
    [at] = [e.at for batch in batches(path.read_bytes()) for e in batch.entries() if e.kind == log.PROGRAM]
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"?" + data[at + 1 :])
    for run_id in IDS[:2]:
        assert read(tmp_path, run_id).header == replace(HEADER, run_id=run_id)
    path.with_suffix(".index").unlink()
    for run_id in IDS[:2]:
        with pytest.raises(JournalDamagedError, match="its program is missing"):
            read(tmp_path, run_id)


def test_of_a_log_that_ends_anywhere_a_prefix_of_each_run_is_left(whole: Path) -> None:
    [path] = whole.glob("*.apxmlog")
    data = path.read_bytes()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for cut in range(log.HEAD.size, len(data)):
            (folder / path.name).write_bytes(data[:cut])
            ends = [batch.end for batch in batches(data) if batch.end <= cut]
            logs = logs_in(folder)
            assert logs[0].tail.end == (ends[-1] if ends else log.HEAD.size)
            assert logs[0].tail.gaps == ()
            if cut % 37 == 0:
                for each, run_id in enumerate(IDS):
                    try:
                        found = rows_of(folder, run_id)
                    except UsageError:
                        found = []
                    assert found == written(each)[: len(found)]


@pytest.mark.parametrize("content", [b"", b"?" * 3, b"?" * 5000, log.MAGIC + b"\1"], ids=len)
def test_what_is_no_log_is_refused_and_shown_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{RUN_ID}.apxmlog").write_bytes(content)
    (run,) = list_runs(tmp_path)
    assert (run.id, run.status, run.size_bytes) == (RUN_ID, "damaged", len(content))
    together(tmp_path, {IDS[0]: [result(0)]})
    assert [run.status for run in list_runs(tmp_path)] == ["damaged", "interrupted"]
    assert (tmp_path / f"{RUN_ID}.apxmlog").read_bytes() == content
    with pytest.raises(UsageError, match=r"there is no run.*in a log that cannot be read"):
        read(tmp_path, IDS[1])


def test_a_log_of_a_later_version_is_refused_and_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / f"{RUN_ID}.apxmlog"
    path.write_bytes(log.HEAD.pack(log.MAGIC, log.FORMAT_VERSION + 1, 0) + b"?")
    (run,) = list_runs(tmp_path)
    assert (run.status, run.program) == ("unreadable", None)
    [found] = logs_in(tmp_path)
    assert isinstance(found.error, JournalVersionError)
    assert "has format version 5; this apxm reads version 4" in found.error.message
    together(tmp_path, {IDS[0]: [result(0)]})
    assert path.read_bytes().endswith(b"?"), "nobody appends to it"


def test_a_log_whose_head_is_damaged_is_read_by_its_index(tmp_path: Path) -> None:
    together(tmp_path, {IDS[0]: [result(0)]})
    [path] = tmp_path.glob("*.apxmlog")
    path.write_bytes(b"?" * log.HEAD.size + path.read_bytes()[log.HEAD.size :])
    assert rows_of(tmp_path, IDS[0]) == [result(0)]


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), cut=st.booleans(), replacement=st.binary(min_size=1, max_size=8))
def test_a_damaged_index_costs_nothing(whole: Path, place: float, cut: bool, replacement: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        [path] = whole.glob("*.apxmlog")
        shutil.copy(path, folder)
        together(folder, {RUN_ID: [result(7)]})  # whoever goes on with a log writes its index
        known = folder / f"{path.stem}.index"
        data = known.read_bytes()
        at = int(place * len(data))
        known.write_bytes(data[:at] if cut else data[:at] + replacement + data[at + len(replacement) :])
        for each, run_id in enumerate(IDS):
            assert rows_of(folder, run_id) == written(each)
        assert len(list_runs(folder)) == 7
        together(folder, {"20260202-000000-bbbb": [result(8)]})
        assert len(list(folder.glob("*.apxmlog"))) == 1
        assert len(list_runs(folder)) == 8


def test_a_log_that_is_damaged_or_ends_within_a_commit_gets_no_more(whole: Path, tmp_path: Path) -> None:
    [path] = whole.glob("*.apxmlog")
    data = path.read_bytes()
    second, third = (batch.start for batch in batches(data)[1:3])
    for name, content in (("torn", data[:-1]), ("damaged", data[:second] + b"?" * (third - second) + data[third:])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / path.name).write_bytes(content)
        together(folder, {RUN_ID: [result(7)]})
        assert (folder / path.name).read_bytes() == content
        assert rows_of(folder, RUN_ID) == [result(7)]


def test_what_looks_like_a_batch_in_an_answer_is_none(tmp_path: Path) -> None:
    """Whoever makes the answers does not know the salt of a log."""
    forged = log.encode([Entry(ROW, IDS[1], 0, 0, b"")], salt=1)
    assert [type(found) for found in log.scan(forged, 0, salt=2)] == [Gap]
    together(tmp_path, {IDS[0]: [Printed(0, forged.decode("latin-1")), Ended("succeeded")]})
    [path] = tmp_path.glob("*.apxmlog")
    data = bytearray(path.read_bytes())
    [batch] = [b for b in batches(bytes(data)) if any(e.number == 1 and e.kind == ROW for e in b.entries())]
    data[batch.start : batch.start + 4] = b"????"
    path.write_bytes(data)
    assert [run.id for run in list_runs(tmp_path)] == [IDS[0]]


def forged(folder: Path, *contents: bytes) -> None:
    """A log with one run whose checksums are right, whatever it says."""
    entries, checksum = [Entry(log.PROGRAM, "", 0, crc32(HEADER.program), HEADER.program)], 0
    for number, content in enumerate(contents):
        checksum = crc32(content, checksum)
        entries.append(Entry(ROW, RUN_ID, number, checksum, content))
    data = log.HEAD.pack(log.MAGIC, log.FORMAT_VERSION, 7) + log.encode(entries, 7)
    (folder / "20260101-000000-aaaa.apxmlog").write_bytes(data)


STORED = encode(replace(HEADER, program=b""))


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
    forged(tmp_path, STORED, msgspec.msgpack.encode(row))
    with pytest.raises(JournalDamagedError, match="row 1 is not a valid one"):
        read(tmp_path, RUN_ID)


def test_a_row_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    forged(tmp_path, STORED, b"\x92\x00\x94\xa6result\xa1a\xc4\x00" + b"\x91" * 100_000 + b"\x00")
    with pytest.raises(JournalDamagedError, match="row 1 is not a valid one"):
        read(tmp_path, RUN_ID)


def test_fields_that_a_later_version_added_are_passed_over(tmp_path: Path) -> None:
    forged(tmp_path, STORED, msgspec.msgpack.encode([1.0, ["printed", 0, "line", "new"], "new"]))
    assert read(tmp_path, RUN_ID).records == [TimedRow(1.0, Printed(0, "line"))]


def test_a_run_is_not_taken_for_another_one(tmp_path: Path) -> None:
    forged(tmp_path, encode(header("20260131-235959-aaaa")))
    with pytest.raises(JournalDamagedError):
        Journal.reopen(tmp_path, RUN_ID)
    assert names(tmp_path) == {"20260101-000000-aaaa.apxmlog"}


def test_a_program_is_the_one_that_its_digest_says(tmp_path: Path) -> None:
    forged(tmp_path, encode(replace(HEADER, program=b"", program_digest="0" * 64)))
    with pytest.raises(JournalDamagedError, match="its program is missing, of SHA-256 0000"):
        read(tmp_path, RUN_ID)


def test_an_index_that_claims_more_than_there_is_shows_what_is_lost(tmp_path: Path) -> None:
    together(tmp_path, {IDS[0]: [result(0), result(1)]})
    [path] = tmp_path.glob("*.apxmlog")
    data = path.read_bytes()
    first = next(b for b in batches(data) if any(e.number == 2 for e in b.entries()))
    os.truncate(path, first.start)
    with pytest.raises(JournalDamagedError, match=r"row \d is missing"):
        read(tmp_path, IDS[0])
    assert index.salt_of(path.with_suffix(".index").read_bytes()) == log.read_head(path, data)


def test_a_run_that_may_have_lost_its_end_is_refused(tmp_path: Path) -> None:
    """Where its process was killed, and there is no index yet: nothing says that there was more."""
    copy = tmp_path / "copy"
    (tmp_path / "runs").mkdir()

    async def run() -> None:
        with ExitStack() as stack:
            watched = [
                Watched(stack.enter_context(closing(Journal.create(tmp_path / "runs", header(run_id), sync="normal"))))
                for run_id in IDS[:3]
            ]
            for number in range(2):
                for each in watched:
                    each.append(result(number), urgent=True)
                    await each.all_told()
            stack.pop_all().close()
            shutil.copytree(tmp_path / "runs", copy)

    asyncio.run(run())
    [path] = copy.glob("*.apxmlog")
    path.with_suffix(".index").unlink(missing_ok=True)
    data = bytearray(path.read_bytes())
    released = next(b for b in batches(bytes(data)) if any(e.kind == log.RELEASE for e in b.entries()))
    second = next(b for b in batches(bytes(data)) if any((e.run_id, e.number) == (IDS[1], 2) for e in b.entries()))
    data[second.start : second.end] = bytes(second.end - second.start)
    path.write_bytes(data)
    with pytest.raises(JournalDamagedError, match="row 2 is missing"):
        read(copy, IDS[1])  # whoever let go of it said that there was one
    path.write_bytes(data[: released.start])
    with pytest.raises(JournalDamagedError, match="its last rows may have been where the log is damaged"):
        read(copy, IDS[1])
    with pytest.raises(JournalDamagedError, match="its last rows may have been where the log is damaged"):
        read(copy, IDS[0])
    assert rows_of(copy, IDS[2]) == [result(0), result(1)]

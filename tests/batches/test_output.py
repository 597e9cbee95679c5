"""The output of a batch: what was written is there once, and nothing of what was not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from apxm.batches.index import Index
from apxm.batches.output import NotWrittenError, Output, OutputLine, Problem, encoded
from apxm.errors import UsageError

IDENTITY = {"program": "p", "flow": "main", "columns": ["a"]}


def line_of(number: int, *, failed: bool = False, value: object = "v") -> bytes:
    if failed:
        return encoded(OutputLine(number, f"d{number}#1", error=Problem("timeout", "too late")))
    return encoded(OutputLine(number, f"d{number}#1", value=value))


def written(path: Path, *lines: bytes) -> None:
    output = Output(str(path), IDENTITY)
    output.append(list(lines))
    output.close()


def ids(path: Path) -> Index:
    output, index = Output(str(path), IDENTITY), Index()
    output.read(index)
    output.close()
    return index


def test_lines_are_there_and_known_again(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(1, value=None), line_of(2, failed=True))
    assert path.read_text().splitlines() == [
        '{"line":1,"id":"d1#1","value":null}',
        '{"line":2,"id":"d2#1","error":{"kind":"timeout","message":"too late"}}',
    ]
    index = ids(path)
    assert [index.done(f"d{k}#1", k) for k in (1, 2, 3)] == [True, False, None]


@pytest.mark.parametrize("cut", range(1, len(line_of(2, value="é✓")) + 1))
def test_a_torn_end_is_mended_wherever_it_is_torn(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(1))
    whole = line_of(2, value="é✓")
    with open(path, "ab") as file:
        file.write(whole[:cut])
    written(path, line_of(3))
    kept = [line_of(1), line_of(3)] if cut < len(whole) - 1 else [line_of(1), whole, line_of(3)]
    assert path.read_bytes() == b"".join(kept)


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first = Output(str(tmp_path / "o.jsonl"), IDENTITY)
    with pytest.raises(UsageError, match="another process writes this output"):
        Output(str(tmp_path / "o.jsonl"), IDENTITY)
    first.close()
    Output(str(tmp_path / "o.jsonl"), IDENTITY).close()


def test_an_output_of_another_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(1))
    before = path.read_bytes()
    with pytest.raises(UsageError, match='its flow was "main", and now is "other"') as refused:
        Output(str(path), {**IDENTITY, "flow": "other"})
    assert "--overwrite" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="the program was another one"):
        Output(str(path), {**IDENTITY, "program": "q"})
    with pytest.raises(UsageError, match='its model was null, and now is "m"'):
        Output(str(path), {**IDENTITY, "model": "m"})
    assert path.read_bytes() == before
    Output(str(path), {**IDENTITY, "program": "q"}, overwrite=True).close()
    assert path.read_bytes() == b""


def test_what_has_no_line_yet_goes_on_where_it_is_there_and_the_same(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"

    def id_of(identity: dict[str, object] = IDENTITY, **options: bool) -> str:
        output = Output(str(path), identity, **options)
        output.close()
        return output.batch_id

    begun = id_of()
    assert id_of() == begun
    other = id_of({**IDENTITY, "flow": "other"})
    assert other != begun
    assert id_of({**IDENTITY, "flow": "other"}, overwrite=True) != other
    path.unlink()
    begun = id_of()
    (tmp_path / "o.jsonl.batch").write_text('{\n  "apxm_b')  # its writer was killed
    assert id_of() != begun


def test_a_file_that_no_batch_has_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text("mine\n")
    with pytest.raises(UsageError, match="no batch has written it"):
        Output(str(path), IDENTITY)
    assert os.listdir(tmp_path) == ["o.jsonl"]
    assert path.read_text() == "mine\n"
    (tmp_path / "o.jsonl.batch").write_text("{}")
    for _ in ("with an output", "without one"):
        with pytest.raises(UsageError, match="says nothing of a batch"):
            Output(str(path), IDENTITY)
        path.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\n", "o.jsonl:2: this is no line of a batch"),
        (b'{"line":2,"id":"x#1"}\n', "neither a value nor an error"),
        (line_of(1), "o.jsonl:2: this is a second line of input d1#1"),
        (b"\0\0\0\n", "no line of a batch"),
    ],
)
def test_a_line_that_is_none_of_a_batch(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(1))
    with open(path, "ab") as file:
        file.write(content)
    with pytest.raises(UsageError) as refused:
        ids(path)
    assert message in str(refused.value)


@pytest.mark.parametrize("place", ["", "-", "folder", "/dev/full", "none/o.jsonl"])
def test_what_is_no_place_for_an_output(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError):
        Output(place, IDENTITY)
    assert not os.path.exists(f"{place}.batch")


@pytest.mark.parametrize("fits", [0, 10, len(line_of(2)), len(line_of(2)) + 10])
def test_a_disk_that_is_full_takes_whole_lines(fits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "o.jsonl"
    output = Output(str(path), IDENTITY)
    output.append([line_of(1)])
    write, left = os.write, [fits]

    def full(descriptor: int, data: bytes) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, bytes(data)[: left[0]])
        left[0] -= written
        return written

    there = [line_of(1), *([line_of(2)] if fits >= len(line_of(2)) else [])]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(NotWrittenError, match="No space left") as refused:
            output.append([line_of(2), line_of(3)])
    assert path.read_bytes() == b"".join(there)
    assert refused.value.lost == 3 - len(there)
    assert output.append([line_of(4)]) == [len(b"".join(there))]
    output.close()
    assert path.read_bytes() == b"".join(there) + line_of(4)


def test_failed_lines_are_taken_away_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(1), line_of(2, failed=True), line_of(3), line_of(4, failed=True))
    path.chmod(0o640)
    output, index = Output(str(path), IDENTITY), Index()
    output.read(index)
    output.drop_failed(index)
    output.append([line_of(4)])
    assert [index.done(f"d{k}#1", k) for k in (1, 2, 3)] == [True, None, True]
    with pytest.raises(UsageError, match="another process writes"):
        Output(str(path), IDENTITY)
    output.close()
    assert path.read_bytes() == line_of(1) + line_of(3) + line_of(4)
    assert path.stat().st_mode & 0o777 == 0o640


def test_lines_are_put_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    written(path, line_of(3), line_of(1), line_of(9))
    output, index = Output(str(path), IDENTITY), Index()
    output.read(index)
    for k in (1, 2, 3):
        index.done(f"d{k}#1", k)
    (offset,) = output.append([line_of(2)])
    index.add("d2#1", False, offset, len(line_of(2)), 2)
    assert index.gone == 1
    output.arrange(index)
    output.close()
    assert path.read_bytes() == line_of(1) + line_of(2) + line_of(3) + line_of(9)
    assert sorted(os.listdir(tmp_path)) == ["o.jsonl", "o.jsonl.batch"]

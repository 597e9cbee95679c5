"""Inputs and outputs by URL, in fsspec's file system in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from apxm.batches.inputs import open_input
from apxm.batches.output import BESIDE
from apxm.batches.urls import OutputAt, plain_path
from apxm.errors import ApxmError, ConfigurationError, UsageError

URL = "memory://bucket/out.jsonl"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    system: Any = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_the_same_rows_by_path_and_by_url(name: str, memory: Any, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"text": f"row {k}", "n": f"{k}"} for k in range(5000)]
    file = tmp_path / name
    match file.suffix:
        case ".jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".csv":
            file.write_text("text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows))
        case _:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    memory.pipe_file(f"/bucket/{name}", file.read_bytes())
    found = [open_input(path) for path in (str(file), f"memory://bucket/{name}")]
    here, there = ([row for chunk in source.chunks() for row in chunk] for source in found)
    assert here == there
    assert [row.values["text"] for row in there] == [row["text"] for row in rows]
    assert found[0].size == found[1].size
    assert found[0].position == found[1].position
    for source in found:
        source.close()


def test_what_cannot_be_opened_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        open_input("memory://bucket/none.jsonl")
    with pytest.raises(UsageError, match="Protocol not known: nothing"):
        open_input("nothing://bucket/none.jsonl")
    with pytest.raises(ConfigurationError, match="what opens such URLs is not installed: Install adlfs"):
        open_input("abfs://bucket/none.jsonl")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(
        ConfigurationError, match=r"fsspec, which is not installed \(hint: pip install 'apxm\[fsspec\]'"
    ):
        open_input("memory://bucket/none.jsonl")


def test_a_url_of_a_file_is_its_path() -> None:
    assert plain_path("file:///a/b%20c.jsonl") == "/a/b c.jsonl"
    assert plain_path("s3://a/b%20c") == "s3://a/b%20c"


def written(output: OutputAt, content: str) -> None:
    Path(output.path).write_text(content)
    Path(output.path + BESIDE).write_text("{}")


def test_what_is_put_there_is_fetched_elsewhere(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = OutputAt(URL, (BESIDE,))
    output.fetch()
    written(output, "one\n")
    output.put()
    assert memory.cat_file("/bucket/out.jsonl") == b"one\n"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    other = OutputAt(URL, (BESIDE,))
    other.fetch()
    assert (Path(other.path).read_text(), Path(other.path + BESIDE).read_text()) == ("one\n", "{}")
    written(other, "one\ntwo\n")
    other.put()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    output.fetch()
    assert Path(output.path).read_text() == "one\ntwo\n"


def test_what_is_here_and_not_there_yet_is_kept(memory: Any) -> None:
    output = OutputAt(URL, (BESIDE,))
    written(output, "one\n")
    output.put()
    written(output, "one\ntwo\n")  # and killed before it is put there
    output.fetch()
    assert Path(output.path).read_text() == "one\ntwo\n"
    memory.pipe_file("/bucket/out.jsonl", b"another\n")
    with pytest.raises(UsageError, match="changed by somebody else, and here are results that it lacks"):
        output.fetch()
    assert Path(output.path).read_text() == "one\ntwo\n"


def test_an_output_that_was_taken_away_begins_anew(memory: Any) -> None:
    output = OutputAt(URL, (BESIDE,))
    written(output, "one\n")
    output.put()
    memory.rm("/bucket/out.jsonl")
    output.fetch()
    assert not Path(output.path).exists()
    assert not Path(output.path + BESIDE).exists()


def test_where_it_cannot_be_put_it_is_said_where_it_is(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    output = OutputAt(URL, (BESIDE,))
    written(output, "one\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    with pytest.raises(ApxmError, match=r"cannot be written, and is in .*out\.jsonl: PermissionError: not yours"):
        output.put()

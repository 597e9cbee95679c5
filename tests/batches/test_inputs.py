"""Rows of inputs: what is one, and what is none."""

from __future__ import annotations

import os
import threading
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from apxm.batches import lines
from apxm.batches.inputs import open_input
from apxm.batches.rows import Row
from apxm.errors import UsageError


def rows_of(path: Path, content: bytes | str, format: str | None = None) -> list[Row]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = open_input(str(path), format)
    try:
        return [row for chunk in source.chunks() for row in chunk]
    finally:
        source.close()


def told(rows: list[Row]) -> list[object]:
    """The values of each row behind its line, or why there are none."""
    return [(row.line, dict(row.values) if row.flaw is None else row.flaw) for row in rows]


def test_lines_of_json(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": "x\\u00e9\\n"}\n{"a": [1.5]}'
    assert told(rows_of(tmp_path / "d.jsonl", content)) == [(1, {"a": 1}), (4, {"a": "xé\n"}), (5, {"a": [1.5]})]


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        (b'{"a": 1', "this is not JSON"),
        (b"{'a': 1}", "this is not JSON: Expecting property name enclosed in double quotes, at character 2"),
        (b'{"a": NaN}', "a number that is none here: NaN"),
        (b'{"a": 1e999}', "a number that is none here: 1e999"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        (b"[1]", "expected, not an array"),
        (b'"text"', "expected, not a str"),
        (b'{"a": "\xff"}', "the byte 0xff here is not UTF-8"),
        (b"[" * 100_000, "nests too deeply"),
    ],
)
def test_a_line_that_is_none_is_told_of_and_ends_nothing(line: bytes, flaw: str, tmp_path: Path) -> None:
    before, row, after = rows_of(tmp_path / "d.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert flaw in (row.flaw or "")
    assert (before.values, row.line, after.values) == ({"a": 1}, 2, {"a": 2})


def test_a_line_of_fifty_megabytes_is_a_row(tmp_path: Path) -> None:
    long = "x" * 50_000_000
    rows = rows_of(tmp_path / "d.jsonl", f'{{"a": "{long}"}}\n{{"a": ""}}\n')
    assert [len(str(row.values["a"])) for row in rows] == [50_000_000, 0]


def test_a_line_that_is_too_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100_000)
    rows = rows_of(tmp_path / "d.jsonl", f'{{"a": "{"x" * 300_000}"}}\n{{"a": "{"y" * 300_000}"}}\n{{"a": 1}}\n')
    assert [row.flaw is None for row in rows] == [False, False, True]
    assert "longer than 64 MiB" in (rows[0].flaw or "")
    assert rows[0].digest != rows[1].digest


def test_digests_are_of_the_content(tmp_path: Path) -> None:
    content = '{"a": 1, "b": "\\ud800"}\n{ "b":"\\ud800","a":1 }\n{"a": 1.0, "b": "\\ud800"}\n{"a"\n{"a" \n'
    digests = [row.digest for row in rows_of(tmp_path / "d.jsonl", content)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_csv(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfa, b\r\n1,"x\r\ny"\r\n\r\n2,"say ""no"""\r\n3,'
    assert told(rows_of(tmp_path / "d.csv", content)) == [
        (2, {"a": "1", "b": "x\r\ny"}),
        (5, {"a": "2", "b": 'say "no"'}),
        (6, {"a": "3", "b": ""}),
    ]
    assert told(rows_of(tmp_path / "d.tsv", "a\tb\n1\t2,3\n")) == [(2, {"a": "1", "b": "2,3"})]


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        (b"1", "expected 2 values, as the header has, found 1"),
        (b"1,2,3", "found 3"),
        (b'1,"x"y', "this is no CSV"),
        (b"1,\xff", "not UTF-8"),
    ],
)
def test_a_record_that_is_none_is_told_of_and_ends_nothing(line: bytes, flaw: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d.csv", b"a,b\n1,2\n" + line + b"\n3,4\n")
    assert [row.line for row in rows] == [2, 3, 4]
    assert flaw in (rows[1].flaw or "")
    assert rows[2].values == {"a": "3", "b": "4"}


def test_a_line_of_a_table_that_is_too_long_is_told_of_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apxm.batches.lines.LONGEST", 100)
    long = "x" * 200
    rows = rows_of(tmp_path / "d.csv", f'a\n1\n{long}\n2\n"3\n{long}"\n4"\n5\n')
    assert [(row.line, row.values.get("a")) for row in rows] == [(2, "1"), (3, None), (4, "2"), (5, None), (8, "5")]
    assert {row.flaw for row in rows if row.flaw} == {"this line is longer than 64 MiB, the most that a value can be"}
    assert rows[1].digest != rows[3].digest


def test_a_quote_that_never_ends_is_told_of(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d.csv", 'a\n1\n"2\n3\n')
    assert (rows[0].values, rows[1].line, rows[1].flaw) == ({"a": "1"}, 3, "this is no CSV: unexpected end of data")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is empty, expected a header"),
        (b"\n\n", "this is empty, expected a header"),
        (b"a,b,a\n", "two columns called 'a'"),
        (b"\xff\xfea\x00", "this is UTF-16, expected UTF-8"),
        (b"\xffa\n", "its header is not UTF-8"),
    ],
)
def test_a_header_that_is_of_no_use(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        rows_of(tmp_path / "d.csv", content)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"a": list(range(600)), "b": [None, 2.5] * 300, "day": [date(2026, 1, 31)] * 600})
    parquet.write_table(table, tmp_path / "d.parquet", row_group_size=100)
    source = open_input(str(tmp_path / "d.parquet"))
    chunks = list(source.chunks())
    source.close()
    assert (source.columns, source.size, source.position) == (("a", "b", "day"), 600, 600)
    assert max(map(len, chunks)) <= 256
    rows = [row for chunk in chunks for row in chunk]
    assert told(rows)[599] == (600, {"a": 599, "b": 2.5, "day": "2026-01-31"})
    with pytest.raises(UsageError, match="no Parquet table"):
        rows_of(tmp_path / "d.parquet", b"PAR1 and more")


def test_values_of_parquet_that_json_has_no_form_of(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "dates": pyarrow.array([[date(2026, 1, 31)], None]),
        "price": pyarrow.array([Decimal("1.50"), Decimal("3.00")]),
        "nested": pyarrow.array([{"at": datetime(2026, 1, 31, 12), "of": [{"n": Decimal("2.5")}]}, None]),
        "map": pyarrow.array([[("k", Decimal("7"))], []], pyarrow.map_(pyarrow.string(), pyarrow.decimal128(3))),
        "pairs": pyarrow.array([[(1, "a")], None], pyarrow.map_(pyarrow.int64(), pyarrow.string())),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    source = open_input(str(tmp_path / "d.parquet"))
    first, second = (row.values for chunk in source.chunks() for row in chunk)
    source.close()
    assert first == {
        "dates": ["2026-01-31"], "price": 1.5, "nested": {"at": "2026-01-31T12:00:00", "of": [{"n": 2.5}]},
        "map": {"k": 7}, "pairs": [(1, "a")],
    }  # fmt: skip
    assert second == {"dates": None, "price": 3, "nested": None, "map": [], "pairs": None}


def test_rows_of_a_pipe_come_when_they_are_there(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    may_go_on = threading.Event()

    def write() -> None:
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(b'{"a": 1}\n{"a": ')
            may_go_on.wait(60)
            pipe.write(b"2}\n")

    writer = threading.Thread(target=write)
    writer.start()
    source = open_input(str(path))
    chunks = source.chunks()
    assert told(next(chunks)) == [(1, {"a": 1})]
    may_go_on.set()
    assert told(next(chunks)) == [(2, {"a": 2})]
    assert next(chunks, None) is None
    assert source.size is None
    source.close()
    writer.join()


def test_what_is_appended_while_it_is_read_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a\n" + "1\n" * 50_000)
    source = open_input(str(path))
    chunks = source.chunks()
    found = len(next(chunks))
    with open(path, "a") as file:
        file.write("2\n")
    assert found + sum(map(len, chunks)) == 50_001
    source.close()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is empty, expected a file"),
        ("none.jsonl", "there is no such file"),
        ("folder.csv", "this is a directory"),
        ("folder.parquet", "this is a directory"),
        ("rows.txt", "does not tell its format"),
        ("bad\0.jsonl", "cannot be read"),
    ],
)
def test_what_is_no_input(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UsageError, match=message):
        open_input(path)

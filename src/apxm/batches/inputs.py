"""Inputs: lines of JSON, CSV and Parquet, as rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from json import JSONDecodeError
from typing import Any, cast

from apxm.batches.lines import STANDARD_INPUT, Line, Lines
from apxm.batches.rows import LONGEST, Row, Source, flawed, row_of
from apxm.batches.urls import is_url, open_url
from apxm.errors import ConfigurationError, UsageError
from apxm.operations.json_text import TwiceError, parse_json
from apxm.operations.plain import kind_of
from apxm.source import is_utf8, shortened

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The formats by the ends of files' names."""
_ROWS_AT_ONCE = 256
"""Of a table."""


def open_input(path: str, format: str | None = None) -> Source:
    """The rows of a file, by path or URL, or of standard input (``-``), which are lines of JSON unless `format` says
    otherwise. Raises `UsageError`, and `ConfigurationError` where a library is missing that reads it."""
    if not path:
        raise UsageError("the input is empty, expected a file", hint="- is standard input")
    if format is None:
        format = "jsonl" if path == STANDARD_INPUT else FORMATS.get(os.path.splitext(path)[1].lower())
    match format:
        case "jsonl":
            return JsonLines(path)
        case "csv" | "tsv":
            return Csv(path, format)
        case "parquet":
            return Parquet(path)
        case None:
            known = ", ".join(FORMATS)
            raise UsageError(f"its name does not tell its format, expected one of {known}", where=path, hint=_SAY)
        case _:
            raise UsageError(f"{format!r} is no format of inputs", hint=_SAY)


_SAY = "--format jsonl, csv, tsv or parquet says it"


class JsonLines:
    """An object of JSON in each line; empty lines are none."""

    format = "jsonl"
    columns = None
    holds_text = False
    may_block = True

    def __init__(self, path: str) -> None:
        self._lines = Lines(path)
        self.name, self.size = self._lines.name, self._lines.size

    @property
    def position(self) -> int:
        return self._lines.position

    def close(self) -> None:
        self._lines.close()

    def chunks(self) -> Iterator[list[Row]]:
        for lines in self._lines.chunks():
            if lines[0].number == 1 and (lines[0].content or b"").lstrip().startswith(b"["):
                hint = "jq -c '.[]' makes such lines of it"
                raise UsageError("this is a JSON array, expected an object in each line", where=self.name, hint=hint)
            yield [_object_of(line) for line in lines if line.content is None or not line.content.isspace()]


def _object_of(line: Line) -> Row:
    if line.content is None:
        return flawed(line.number, line.digest, _TOO_LONG)

    def no_row(flaw: str) -> Row:
        assert line.content is not None
        return flawed(line.number, line.content, flaw)

    try:
        found = parse_json(line.content.decode(), once=True)
    except UnicodeDecodeError as error:
        return no_row(f"the byte 0x{line.content[error.start]:02x} here is not UTF-8")
    except TwiceError as twice:
        return no_row(str(twice))
    except RecursionError:
        return no_row("this JSON nests too deeply")
    except ValueError as error:
        if not isinstance(error, JSONDecodeError):
            return no_row(f"this JSON holds a number that is none here: {error}")
        return no_row(f"this is not JSON: {error.msg}, at character {error.pos + 1}")
    if not isinstance(found, dict):
        return no_row(f"a JSON object with the parameters is expected, not {_kind(found)}")
    return row_of(line.number, cast("dict[str, object]", found))


_TOO_LONG = f"this line is longer than {LONGEST >> 20} MiB, the most that a value can be"


def _kind(found: object) -> str:
    return "an array" if isinstance(found, list) else kind_of(found)


class Csv:
    """CSV with a header, as Python's csv module reads it. Raises `UsageError` where the header is of no use."""

    holds_text = True
    may_block = True

    def __init__(self, path: str, format: str = "csv") -> None:
        self.format = format
        self._lines = Lines(path)
        self.name, self.size = self._lines.name, self._lines.size
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
        self._left = 0
        """Lines that are there and not read yet."""
        self._record = bytearray()
        """The lines of the record that is being read."""
        self._too_long = ""
        """The digest of a line of it that cannot be read, if there is one."""
        delimiter = "\t" if format == "tsv" else ","
        self._reader = csv.reader(self._texts(), strict=True, delimiter=delimiter)
        try:
            self.columns = self._header()
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        return self._lines.position

    def close(self) -> None:
        self._lines.close()

    def chunks(self) -> Iterator[list[Row]]:
        rows: list[Row] = []
        while True:
            line = self._reader.line_num + 1
            self._record.clear()
            self._too_long = ""
            try:
                record = next(self._reader, None)
            except csv.Error as error:
                rows.append(flawed(line, bytes(self._record), f"this is no CSV: {error}"))
            else:
                if record is None:
                    break
                if self._too_long:
                    rows.append(flawed(line, self._too_long, _TOO_LONG))
                elif record:  # an empty line is none
                    rows.append(self._row(line, record))
            if not self._left and rows:
                yield rows
                rows = []
        if rows:
            yield rows

    def _row(self, line: int, record: list[str]) -> Row:
        if len(record) != len(self.columns):
            expected = f"{len(self.columns)} values, as the header has"
            return flawed(line, bytes(self._record), f"expected {expected}, found {len(record)}")
        if not all(map(is_utf8, record)):
            return flawed(line, bytes(self._record), "this is not UTF-8")
        return row_of(line, dict(zip(self.columns, record, strict=True)))

    def _header(self) -> tuple[str, ...]:
        try:
            header = next((record for record in self._reader if record), None)
        except csv.Error as error:
            raise UsageError(f"its header is no CSV: {error}", where=self.name) from None
        if header is None:
            raise UsageError("this is empty, expected a header that names the columns", where=self.name)
        columns = tuple(name.strip() for name in header)
        if not all(map(is_utf8, columns)):
            raise UsageError("its header is not UTF-8", where=self.name, hint="save it as UTF-8")
        _refuse_twice(columns, self.name)
        return columns

    def _texts(self) -> Iterator[str]:
        for lines in self._lines.chunks():
            self._left = len(lines)
            for line in lines:
                self._left -= 1
                if line.content is None:
                    self._too_long = line.digest
                    yield "\n"
                    continue
                self._record += line.content
                yield line.content.decode(errors="surrogateescape")


def _refuse_twice(columns: tuple[str, ...], where: str) -> None:
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise UsageError(f"it has two columns called {twice!r}", where=where)


class Parquet:
    """A table of Parquet, read a batch of rows at a time."""

    format = "parquet"
    holds_text = False
    may_block = True

    def __init__(self, path: str) -> None:
        if path == STANDARD_INPUT:
            raise UsageError("a Parquet table is read from its end, so it cannot come from standard input")
        Lines(path).close()  # for its words about a file that is none
        try:
            arrow: Any = import_module("pyarrow")  # which has no types
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigurationError(
                "Parquet is read by pyarrow, which is not installed", where=path, hint="pip install 'apxm[parquet]'"
            ) from None
        self._broken: type[Exception] = arrow.ArrowException
        self.name = path
        self._file = open_url(path)[0] if is_url(path) else None
        try:
            self._table: Any = parquet.ParquetFile(self._file or path, pre_buffer=False)
        except (OSError, self._broken) as error:
            raise self._no_parquet(error) from None
        self.columns: tuple[str, ...] = tuple(self._table.schema_arrow.names)
        _refuse_twice(self.columns, path)
        self._others = [field.name for field in self._table.schema_arrow if _is_other(arrow, field.type)]
        """The columns that may hold what JSON has no form of."""
        self.size: int = self._table.metadata.num_rows
        self.position = 0

    def close(self) -> None:
        self._table.close()
        if self._file is not None:
            self._file.close()

    def chunks(self) -> Iterator[list[Row]]:
        try:
            for batch in self._table.iter_batches(batch_size=_ROWS_AT_ONCE):
                rows: list[dict[str, object]] = batch.to_pylist()
                begin, self.position = self.position, self.position + len(rows)
                yield [row_of(begin + k, self._as_json(row)) for k, row in enumerate(rows, 1)]
        except (OSError, self._broken) as error:
            raise self._no_parquet(error) from None

    def _as_json(self, row: dict[str, object]) -> dict[str, object]:
        return row | {name: _json_of(row[name]) for name in self._others}

    def _no_parquet(self, error: Exception) -> UsageError:
        return UsageError(f"this is no Parquet table that can be read: {shortened(str(error), 200)}", where=self.name)


def _is_other(arrow: Any, type_: Any) -> bool:
    types = arrow.types
    return types.is_nested(type_) or types.is_temporal(type_) or types.is_decimal(type_)


def _json_of(value: object) -> object:
    """Dates as texts of ISO 8601, decimals as numbers, and maps as objects where their keys are texts."""
    match value:
        case date() | datetime() | time():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: _json_of(each) for key, each in cast("dict[str, object]", value).items()}
        case list():
            items = cast("list[object]", value)
            pairs = [cast("tuple[object, object]", each) for each in items if isinstance(each, tuple)]
            if items and len(pairs) == len(items) and all(isinstance(key, str) for key, _ in pairs):
                return {cast(str, key): _json_of(each) for key, each in pairs}
            return [_json_of(each) for each in items]
        case _:
            return value

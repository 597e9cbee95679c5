"""What rows are as bytes. docs/journal.md describes it.

Every row carries a checksum that goes on from the one before: a flipped bit in an answer must not become part of a
resumed run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import msgspec

from apxm.errors import JournalError, OperationError
from apxm.journal.rows import Answered, Edited, Header, TimedRow
from apxm.operations.types import Value, check_size, is_json

LARGEST_ROW = 512 * 1024 * 1024
"""Bytes: above an artifact and above a value, each with what is around it."""

_encode = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(Header).decode
_decode_record = msgspec.msgpack.Decoder(TimedRow).decode

C = TypeVar("C", bound=Header | TimedRow)


class End(NamedTuple):
    """Where a journal ends, for whoever goes on with it."""

    number: int
    """The number of the last row; the header is row 0."""
    checksum: int


def encode(content: Header | TimedRow) -> bytes:
    """The content of a row. Raises `JournalError` where it could not be read again."""
    try:
        for value in _values(content):
            if not isinstance(value, str):
                # A value that shares its parts may be exponentially larger when it is written out.
                check_size(value)
                _refuse_odd(value)
        return _encode(content)
    except OperationError as error:
        raise JournalError(error.message) from None
    except UnicodeEncodeError:
        raise JournalError("half of a surrogate pair cannot be stored as UTF-8") from None


def decode_header(content: bytes) -> Header:
    """Raises `JournalError`."""
    with _decoding():
        return _checked(_decode_header(content))


def decode_record(content: bytes) -> TimedRow:
    """Raises `JournalError`."""
    with _decoding():
        return _checked(_decode_record(content))


def reason_of(error: Exception) -> str:
    """Why something went wrong, in the words of whoever noticed it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _checked(content: C) -> C:
    """What is read can be used. Raises `JournalError`."""
    for value in _values(content):
        _refuse_odd(value)
    return content


def _refuse_odd(value: Value) -> None:
    if not is_json(value):
        raise JournalError(f"a {type(value).__name__} is, or holds, something that is no value of AIS")


def _values(content: Header | TimedRow) -> Iterable[Value]:
    if isinstance(content, Header):
        return [*content.inputs, *content.options.values()]
    row = content.row
    return row.inputs if isinstance(row, Edited) else [row.value] if isinstance(row, Answered) else ()


@contextmanager
def _decoding() -> Generator[None, None, None]:
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JournalError(str(error)) from None

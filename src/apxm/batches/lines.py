"""The lines of a file or a pipe, as they come."""

from __future__ import annotations

import io
import os
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from hashlib import blake2b
from typing import IO, NamedTuple, cast

from apxm.batches.rows import LONGEST, digest_of
from apxm.batches.urls import is_url, open_url
from apxm.errors import UsageError

STANDARD_INPUT = "-"
_AT_ONCE = 1 << 16
"""Bytes that are read at once: rows are kept until they are begun, so what is read ahead is bounded by this."""


class Line(NamedTuple):
    number: int
    content: bytes | None
    """With its end, where it has one; None of a line that is longer than `LONGEST`."""
    digest: str = ""
    """Of a line that is longer."""


class Lines:
    """Raises `UsageError` where the file cannot be read."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == STANDARD_INPUT else path
        self.position = 0
        self._file: IO[bytes]
        if is_url(path):
            self._file, self.size = open_url(path)
            return
        try:
            descriptor = os.dup(0) if path == STANDARD_INPUT else os.open(path, os.O_RDONLY)
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                os.close(descriptor)
                raise IsADirectoryError
        except IsADirectoryError:
            raise UsageError("this is a directory, expected a file of inputs", where=self.name) from None
        except FileNotFoundError:
            raise UsageError("there is no such file", where=self.name) from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(f"the input cannot be read: {reason}", where=self.name) from None
        self._file = cast("IO[bytes]", io.FileIO(descriptor))
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else None

    def close(self) -> None:
        self._file.close()

    def chunks(self) -> Iterator[list[Line]]:
        """All lines, those together that are there at the same time. Raises `UsageError` where reading fails."""
        number, growing = 1, _Growing()
        while data := self._read():
            if not self.position:
                data = self._without_mark(data)
            self.position += len(data)
            *whole, rest = data.split(b"\n")
            chunk: list[Line] = []
            for part in whole:
                growing.add(part + b"\n")
                chunk.append(growing.ended(number))
                number += 1
            growing.add(rest)
            if chunk:
                yield chunk
        if growing.length:
            yield [growing.ended(number)]

    def _read(self) -> bytes:
        try:
            return self._file.read(_AT_ONCE)
        except Exception as error:  # file systems by URL have errors of their own
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"the input cannot be read: {why}", where=self.name) from None

    def _without_mark(self, data: bytes) -> bytes:
        if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise UsageError("this is UTF-16, expected UTF-8", where=self.name, hint="save it as UTF-8")
        return data.removeprefix(BOM_UTF8)


class _Growing:
    """A line of which more may come."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._hash = None
        self.length = 0

    def add(self, part: bytes) -> None:
        self.length += len(part)
        if self.length > LONGEST and self._hash is None:
            self._hash = blake2b(b"".join(self._parts))
            self._parts.clear()
        if self._hash is None:
            self._parts.append(part)
        else:
            self._hash.update(part)

    def ended(self, number: int) -> Line:
        content = b"".join(self._parts) if self._hash is None else None
        digest = "" if self._hash is None else digest_of(b"\0", self._hash.digest())
        self._begin()
        return Line(number, content, digest)

"""A log: one file that rows of many runs are appended to, batch by batch. docs/journal.md describes it.

A batch is what one commit wrote. Its directory, which says whose rows follow and where, stands before and behind their
contents: whatever one place of damage hits, the rest of the batch is found, and the batches behind it are. Marks and
checksums of the directory begin with the file's own salt, so that no answer of a model can hold what looks like one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct as Message

from apxm.errors import JournalDamagedError, JournalVersionError
from apxm.source import printable

MAGIC = b"\xffAPXMLOG"
FORMAT_VERSION = 4
"""1 to 3 are those of the files that each had one run (`per_run`)."""
SUFFIX = ".apxmlog"
DRAFT = ".new"
"""Of the name of a log until it is whole."""
HEAD = Struct("<8sII")
"""Magic, format version, salt."""

_BATCH = Struct("<4sIIIII")
"""Mark, number of entries, bytes of contents, checksums of contents, of directory and, with the salt, of this."""
_ENTRY = Struct("<24sIIIB")
"""Run, number, length, checksum, kind."""
_FRONT, _BACK = b"\xffAPF", b"\xffAPB"

ROW, PROGRAM, SESSION, CLAIM, RELEASE = range(5)
"""Kinds of entries. A row of a run; an artifact, by its digest; a process begins to write here; it has a run from here
on, whose next row will have this number; it lets go of the run."""


class Entry(Message, frozen=True, gc=False):
    """What is appended to a log."""

    kind: int
    run_id: str
    number: int
    """The row's number; for a claim that of the next one."""
    checksum: int
    """Of a row: the CRC-32 of its content, continued from the row before. Of a claim: that of the row before."""
    content: bytes = b""

    @property
    def last(self) -> int:
        """The number of the run's last row, as it is with this entry."""
        return self.number - 1 if self.kind == CLAIM else self.number


class Placed(NamedTuple):
    """An entry, as the directory of its batch has it."""

    run_id: str
    number: int
    length: int
    checksum: int
    kind: int
    at: int
    """Where its content begins in the file."""


class Batch(NamedTuple):
    start: int
    end: int
    directory: bytes
    contents: int
    """Where they begin."""
    checksum: int

    def entries(self) -> Iterator[Placed]:
        at = self.contents
        for name, number, length, checksum, kind in _ENTRY.iter_unpack(self.directory):
            yield Placed(name.rstrip(b"\0").decode("ascii", "replace"), number, length, checksum, kind, at)
            at += length


class Gap(NamedTuple):
    """A part of the file in which no batch is found. At the end it is one that was not, or is being, written."""

    start: int
    end: int


def encode(entries: Sequence[Entry], salt: int) -> bytes:
    """A batch."""
    directory = b"".join(
        [_ENTRY.pack(e.run_id.encode(), e.number, len(e.content), e.checksum, e.kind) for e in entries]
    )
    contents = b"".join([e.content for e in entries])
    fields = len(entries), len(contents), crc32(contents), crc32(directory)
    return b"".join([_marked(_FRONT, fields, salt), directory, contents, directory, _marked(_BACK, fields, salt)])


def taken_up(length: int) -> int:
    """The bytes that an entry with so much content takes up."""
    return length + 2 * _ENTRY.size


def read_head(path: Path, data: bytes) -> int:
    """The salt of the log that begins with `data`. Raises `JournalVersionError`, and `JournalDamagedError` where it is
    none."""
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise JournalDamagedError("this is no log of runs, or its head is damaged", where=printable(str(path)))
    _, version, salt = HEAD.unpack_from(data)
    if version > FORMAT_VERSION:
        raise JournalVersionError(
            f"the log has format version {version}; this apxm reads version {FORMAT_VERSION}",
            where=printable(str(path)),
            hint="update apxm",
        )
    return salt


def scan(data: bytes, origin: int, salt: int, *, to_the_end: bool = True) -> Iterator[Batch | Gap]:
    """What is in a part of a log that begins, between two batches, at `origin`. `to_the_end` says that the file ends
    where `data` does: a last batch whose contents do not fit together is one that was not written to its end."""
    at, size = 0, len(data)
    while at < size:
        found = _front(data, at, salt)
        if found is None:
            found = _next(data, at, salt)
        if found is None or found.end > size or (to_the_end and found.end == size and not is_whole(data, found)):
            yield Gap(origin + at, origin + size)
            return
        if found.start > at:
            yield Gap(origin + at, origin + found.start)
        at = found.end
        yield (
            found
            if not origin
            else found._replace(start=origin + found.start, end=origin + at, contents=origin + found.contents)
        )


def is_whole(data: bytes, batch: Batch) -> bool:
    """Whether the contents of a batch are as they were written."""
    return crc32(memoryview(data)[batch.contents : batch.end - _BATCH.size - len(batch.directory)]) == batch.checksum


def read_range(descriptor: int, start: int, end: int) -> bytes:
    """Up to `end`, or to the end of the file."""
    parts: list[bytes] = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _marked(mark: bytes, fields: Iterable[int], salt: int) -> bytes:
    head = _BATCH.pack(mark, *fields, 0)[:-4]
    return head + crc32(head, salt).to_bytes(4, "little")


def _fields(data: bytes, at: int, mark: bytes, salt: int) -> tuple[int, int, int, int] | None:
    """Entries, bytes of contents and both checksums, where there is such a mark."""
    if len(data) < at + _BATCH.size or not data.startswith(mark, at):
        return None
    _, entries, length, contents, directory, checksum = _BATCH.unpack_from(data, at)
    return (entries, length, contents, directory) if crc32(data[at : at + _BATCH.size - 4], salt) == checksum else None


def _front(data: bytes, at: int, salt: int) -> Batch | None:
    """The batch that begins there, by its first directory."""
    fields = _fields(data, at, _FRONT, salt)
    if fields is None:
        return None
    entries, length, contents, checksum = fields
    begin = at + _BATCH.size
    directory = data[begin : begin + entries * _ENTRY.size]
    end = at + 2 * (_BATCH.size + entries * _ENTRY.size) + length
    if crc32(directory) != checksum:
        return None if end <= len(data) else Batch(at, end, b"", begin, contents)  # it was not written to its end
    return Batch(at, end, directory, begin + len(directory), contents)


def _back(data: bytes, at: int, begin: int, salt: int) -> Batch | None:
    """The batch that ends there, by its second directory, where it begins at `begin` or later."""
    fields = _fields(data, at, _BACK, salt)
    if fields is None:
        return None
    entries, length, contents, checksum = fields
    size = entries * _ENTRY.size
    directory, start = data[max(0, at - size) : at], at - 2 * size - length - _BATCH.size
    if start < begin or crc32(directory) != checksum:
        return None
    return Batch(start, at + _BATCH.size, directory, start + _BATCH.size + size, contents)


def _next(data: bytes, begin: int, salt: int) -> Batch | None:
    """The first batch that is found behind a damaged place."""
    at = begin
    while (at := data.find(_FRONT[:3], at)) >= 0:
        if found := _front(data, at, salt) or _back(data, at, begin, salt):
            return found
        at += 1
    return None

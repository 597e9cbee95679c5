"""The log that this process appends to, with the lock that says so. The others are left to other processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from zlib import crc32

from apxm.errors import JournalError
from apxm.journal import index, log
from apxm.journal.folder import unusable
from apxm.journal.ids import new_run_id
from apxm.journal.lock import is_at, lock_file
from apxm.journal.log import PROGRAM, SESSION, Entry
from apxm.journal.rows import Header, TimedRow
from apxm.regular import open_regular
from apxm.source import printable

LARGEST = 16 * 1024 * 1024
"""Bytes. A log that has so many gets no more: it costs little to write it anew without what is removed."""
_INDEXED_EACH = 256 * 1024
"""Bytes of a log that a reader may have to scan, as its index lacks them yet."""
_synced = getattr(os, "fdatasync", os.fsync)


class Item(Entry, frozen=True, gc=False):
    """What is appended: an entry, what its content says, and the program that this refers to."""

    row: Header | TimedRow | None = None
    program: tuple[str, bytes] | None = None
    """Its digest and its artifact."""


class Segment:
    """Use `take`. Whoever has it is the only one who writes to these files."""

    def __init__(self, path: Path, descriptor: int, index_descriptor: int, salt: int, end: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._file = os.fstat(descriptor)
        self._index: int | None = index_descriptor
        """None where it cannot be written: then it ends earlier than the log."""
        self.is_sound = True
        """Whether more may be appended, also after something could not be."""
        self._salt = salt
        self._size = self._indexed = end
        self._session = end
        self._pieces: dict[str, index.Piece] = {}
        self._programs = set[str]()
        self._new_programs: dict[str, bytes] = {}

    @classmethod
    def take(cls, folder: Path) -> Segment:
        """A log that no process appends to, or a new one. Raises `JournalError`."""
        try:
            for path in sorted(folder.glob(f"*{log.SUFFIX}"), reverse=True):
                if segment := cls._adopt(path):
                    return segment._begun()
            return cls._create(folder)._begun()
        except OSError as error:
            raise unusable(folder, error) from error

    @property
    def is_full(self) -> bool:
        return self._size >= LARGEST

    @property
    def is_there(self) -> bool:
        """Whether the file was not deleted or moved."""
        try:
            return os.path.samestat(self._file, os.stat(self.path))
        except FileNotFoundError:
            return False

    def append(self, items: Sequence[Item], *, durable: bool) -> None:
        """Writes all of them or, with whatever error, none. It returns when they outlive this process, or, where they
        are `durable`, a power cut."""
        entries: list[Entry] = []
        programs: dict[str, bytes] = {}
        for item in items:
            if item.program is not None:
                digest, artifact = item.program
                if digest not in self._programs and digest not in programs:
                    programs[digest] = artifact
                    entries.append(Entry(PROGRAM, "", 0, crc32(artifact), artifact))
            entries.append(item)
        begin, data = self._size, log.encode(entries, self._salt)
        self._write(data, durable)
        self._size = end = begin + len(data)
        self._programs |= programs.keys()
        self._new_programs |= programs
        for item in items:
            size = log.taken_up(len(item.content))
            piece = index.note(self._pieces, item.run_id, item.kind, item.number, item.checksum, size, begin, end)
            if item.row is not None:
                index.note_row(piece, item.row)
        if end - self._indexed >= _INDEXED_EACH:
            self._write_chunk()

    def sync(self) -> None:
        """Waits until all that was written outlives a power cut."""
        sound, self.is_sound = self.is_sound, False
        _synced(self._descriptor)
        self.is_sound = sound

    def close(self) -> None:
        """Lets go of the log."""
        if self._size > self._indexed:
            self._write_chunk()
        self.drop()

    def drop(self) -> None:
        """Closes the files, and does nothing else: in a forked process the log is the parent's."""
        os.close(self._descriptor)
        if self._index is not None:
            os.close(self._index)

    @classmethod
    def _adopt(cls, path: Path) -> Segment | None:
        """The log at `path`, where nobody has it, there is room in it, and all of it is as it was written."""
        if path.is_symlink():
            return None
        try:
            descriptor = open_regular(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        segment: Segment | None = None
        try:
            size = os.fstat(descriptor).st_size
            if size < LARGEST and lock_file(descriptor, tries=1) and is_at(descriptor, path):
                segment = cls._opened(path, descriptor)
        except (OSError, JournalError):
            return None
        finally:
            if segment is None:
                os.close(descriptor)
        return segment

    @classmethod
    def _opened(cls, path: Path, descriptor: int) -> Segment | None:
        salt = log.read_head(path, os.pread(descriptor, log.HEAD.size, 0))
        index_descriptor = open_regular(index.index_of(path), os.O_RDWR | os.O_CREAT | os.O_APPEND)
        segment: Segment | None = None
        try:
            data = log.read_range(index_descriptor, 0, os.fstat(index_descriptor).st_size)
            if index.salt_of(data) != salt:
                os.ftruncate(index_descriptor, 0)
                data = index.head(salt)
                os.write(index_descriptor, data)
            end, session, indexed = log.HEAD.size, 0, index.HEAD.size
            programs = set[str]()
            for chunk in index.chunks(data, end):
                end, session, indexed = chunk.end, chunk.session, chunk.at_end
                if chunk.has_programs:
                    programs |= chunk.programs().keys()
            tail = log.read_range(descriptor, end, os.fstat(descriptor).st_size)
            part = index.scanned(tail, end, salt, session)
            if part.torn or part.gaps or os.fstat(descriptor).st_size < end:
                return None
            if indexed < len(data):
                os.ftruncate(index_descriptor, indexed)
            segment = cls(path, descriptor, index_descriptor, salt, part.end)
            segment._programs = programs | part.programs.keys()
            if tail:
                os.write(index_descriptor, index.chunk(part))
            return segment
        finally:
            if segment is None:
                os.close(index_descriptor)

    @classmethod
    def _create(cls, folder: Path) -> Segment:
        """A new log appears with its head in it, or not at all."""
        salt = SystemRandom().getrandbits(32)
        path = folder / f"{new_run_id()}{log.SUFFIX}"
        draft, known = path.with_suffix(log.DRAFT), index.index_of(path)
        made: list[int] = []
        try:
            made.append(_made(draft, log.HEAD.pack(log.MAGIC, log.FORMAT_VERSION, salt)))
            lock_file(made[0])
            os.fsync(made[0])
            os.rename(draft, path)
            sync_folder(folder)
            made.append(_made(known, index.head(salt)))
            return cls(path, made[0], made[1], salt, log.HEAD.size)
        except BaseException:
            for each in (draft, path, known):
                each.unlink(missing_ok=True)
            for descriptor in made:
                os.close(descriptor)
            raise

    def _begun(self) -> Segment:
        """With a mark that what comes from here on is of another process than what there was."""
        try:
            data = log.encode([Entry(SESSION, "", os.getpid(), 0)], self._salt)
            self._write(data, durable=False)
            self._size += len(data)
            return self
        except BaseException:
            self.drop()
            raise

    def _write(self, data: bytes, durable: bool) -> None:
        sound = self.is_sound
        self.is_sound = False
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BaseException:
            os.ftruncate(self._descriptor, self._size)
            self.is_sound = sound
            raise
        if durable:
            try:
                _synced(self._descriptor)
            except BaseException:
                # What the system has of it now, and what it will have, nobody knows.
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise
        # The system goes on writing to a file that was deleted, which nobody can ever open again.
        if not self.is_there:
            raise JournalError("its files were taken away", where=printable(str(self.path)))
        self.is_sound = sound

    def _write_chunk(self) -> None:
        if self._index is None:
            return
        part = index.Part(self._indexed, self._size, self._session, self._pieces, self._new_programs)
        try:
            os.write(self._index, index.chunk(part))
        except OSError:
            os.close(self._index)
            self._index = None
        self._indexed, self._pieces, self._new_programs = self._size, {}, {}


def _made(path: Path, head: bytes) -> int:
    """A new file that is appended to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(descriptor, head)
    return descriptor


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder would outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

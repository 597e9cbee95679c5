"""A journal that is open for writing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Literal
from zlib import crc32

from apxm.errors import JournalError
from apxm.journal.folder import RunFiles, unusable
from apxm.journal.format import APPLICATION_ID, FORMAT_VERSION, SCHEMA, End, connect, encode, failing
from apxm.journal.rows import Header, TimedRow
from apxm.source import printable

Sync = Literal["full", "normal"]
"""What a commit outlives: ``full`` a power cut too, ``normal`` the end of the process, however it ends."""

_INSERT = "INSERT INTO journal VALUES (?, ?, ?)"


class Store:
    """Whoever has it holds the run's lock."""

    def __init__(self, files: RunFiles, end: End, sync: Sync) -> None:
        """Raises `JournalError`."""
        self._path = files.journal
        self._end = end
        with failing("cannot be opened", self._path), ExitStack() as stack:
            connection = stack.enter_context(closing(connect(self._path, "rw")))
            connection.execute(f"PRAGMA synchronous = {sync}")
            # Begins the write-ahead log, so that there are both files for `_identity`.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            self._files = _identity(self._path)
            self._current: bool = connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT_VERSION
            stack.pop_all()
        self._connection = connection

    @classmethod
    def create(cls, files: RunFiles, header: Header, sync: Sync) -> Store:
        """A new journal appears with its header in it, or not at all. Raises `JournalError`."""
        content = encode(header)
        try:
            _remove(files)  # what a process left that ended on the way here
            # SQLite gives its other files the mode of this one.
            os.close(os.open(files.draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise unusable(files.folder, error) from None
        try:
            with failing("cannot be made", files.journal):
                _write_draft(files.draft, content)
                os.rename(files.draft, files.journal)
                _sync(files.folder)
            return cls(files, End(0, crc32(content)), sync)
        except BaseException:
            _remove(files)
            raise

    def write(self, records: Iterable[TimedRow]) -> None:
        """Commits all of them or, with whatever error, none."""
        number, checksum = self._end
        rows: list[tuple[int, bytes, int]] = []
        for record in records:
            number += 1
            content = encode(record)
            checksum = crc32(content, checksum)
            rows.append((number, content, checksum))
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        if not self._current:
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            self._current = True
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")
        # SQLite goes on writing to a file that was deleted, which nobody can ever open again.
        if _identity(self._path) != self._files:
            raise JournalError("its files were taken away")
        self._end = End(number, checksum)

    def close(self) -> None:
        """The last connection to close empties the write-ahead log into the file, and removes it."""
        with suppress(sqlite3.Error):  # what was committed is in the log, if not in the file
            self._connection.close()


def _remove(files: RunFiles) -> None:
    for path in files.all_but_lock:
        path.unlink(missing_ok=True)


def _write_draft(path: Path, header: bytes) -> None:
    """Whole and on the disk, or it fails; what is left then is no journal yet."""
    with closing(connect(path, "rw")) as connection:
        # What is made here counts only as a whole: nothing has to be safe before the end, nor taken back.
        connection.execute("PRAGMA synchronous = off")
        connection.execute("PRAGMA journal_mode = memory")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        connection.execute(SCHEMA)
        connection.execute(_INSERT, (0, header, crc32(header)))
        # Last: what is in a write-ahead log is not in this file, and closing it might fail without a word.
        if connection.execute("PRAGMA journal_mode = wal").fetchone()[0] != "wal":
            raise JournalError(
                "a journal is not safe here: SQLite grants no write-ahead log on this file system",
                where=printable(str(path.parent)),
                hint="name a folder on a local disk",
            )
    _sync(path)


def _identity(path: Path) -> tuple[int, ...]:
    """Which files a journal is made of; none where one is missing."""
    try:
        file, log = os.stat(path), os.stat(f"{path}-wal")
    except FileNotFoundError:
        return ()
    return file.st_dev, file.st_ino, log.st_dev, log.st_ino


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

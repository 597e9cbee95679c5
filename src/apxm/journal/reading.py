"""Reads a journal without changing it, and believes nothing that it does not check."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from zlib import crc32

from apxm.errors import JournalDamagedError, JournalError, JournalVersionError
from apxm.journal.format import (
    APPLICATION_ID,
    FORMAT_VERSION,
    SCHEMA,
    End,
    connect,
    decode_header,
    decode_record,
    failing,
)
from apxm.journal.rows import History
from apxm.source import printable

_OF_THE_PLACE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
"""Codes that say nothing of the file itself."""


def read(path: Path) -> History:
    """What a journal holds, for looking only; its owner may be writing meanwhile. Raises `JournalError`."""
    return read_to_end(path)[0]


def read_to_end(path: Path) -> tuple[History, End]:
    """Reads a journal as `read` does, and gives what it takes to go on, too.

    Where there is no write-ahead log nobody writes, and the file is read as it lies there: else SQLite would make files
    beside it. A process that takes the run over in that moment may change it under the reader, who then begins anew.
    """
    while True:
        with failing("cannot be read", path):
            at_rest, before = not path.with_name(f"{path.name}-wal").exists(), os.stat(path)
            if not stat.S_ISREG(before.st_mode):  # a pipe of that name would be waited for
                raise _damaged(path, "it is not a regular file")
            if not before.st_size:
                raise _damaged(path, "it is empty")
            try:
                with closing(connect(path, "ro&immutable=1" if at_rest else "ro")) as connection:
                    return _contents(path, connection)
            except (sqlite3.Error, MemoryError, UnicodeDecodeError) as error:  # messages may quote the damage
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_PLACE:
                    raise
                damage = _damaged(path, str(error))
            except JournalDamagedError as error:
                damage = error
            after = os.stat(path)
            if not at_rest or (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size):
                raise damage


def _check_kind(path: Path, connection: sqlite3.Connection) -> None:
    # Asked of SQLite, and never read from the file: to close any other descriptor of it would end the locks that this
    # process has on it, and it may be the owner.
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise _damaged(path, "it is a database of another application")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT_VERSION:
        raise JournalVersionError(
            f"the journal has format version {version}; this apxm reads version {FORMAT_VERSION}",
            where=printable(str(path)),
            hint="update apxm",
        )
    if version < 1:
        raise _damaged(path, f"there is no format version {version}")


def _contents(path: Path, connection: sqlite3.Connection) -> tuple[History, End]:
    connection.execute("BEGIN")
    _check_kind(path, connection)
    # A table is read only when it is the one that we make: a view, say, could make SQLite compute without end.
    if connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall() != [("table", "journal", SCHEMA)]:
        raise _damaged(path, "it has not the table of a journal")
    # Finds rows that are gone from the end, which their numbers and checksums cannot tell.
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, str(found))
    history: History | None = None
    end = End(-1, 0)
    for number, content, checksum in connection.execute("SELECT * FROM journal ORDER BY number"):
        if number != end.number + 1:
            raise _damaged(path, f"row {end.number + 1} is missing")
        if not isinstance(content, bytes) or crc32(content, end.checksum) != checksum:
            raise _damaged(path, f"row {number} does not match its checksum")
        end = End(number, checksum)
        try:
            if history is None:
                history = History(decode_header(content))
            else:
                history.add(decode_record(content))
        except JournalError as error:
            raise _damaged(path, f"row {number} is not a valid one: {error.message}") from None
    if history is None:
        raise _damaged(path, "it has no header")
    return history, end


def _damaged(path: Path, found: str) -> JournalDamagedError:
    return JournalDamagedError(
        printable(f"this is no journal of a run, or it is damaged: {found}"), where=printable(str(path))
    )

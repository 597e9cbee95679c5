"""Journals as versions before this one wrote them: a SQLite database for each run. They are read, and become rows of a
log when their run goes on.

Believes nothing that it does not check, and changes nothing.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from apxm.errors import JournalDamagedError, JournalError, JournalVersionError
from apxm.journal.folder import unusable
from apxm.journal.format import LARGEST_ROW, decode_header, decode_record, reason_of
from apxm.journal.ids import RUN_ID
from apxm.journal.rows import Header, TimedRow
from apxm.regular import NotRegularError
from apxm.source import printable

FORMAT_VERSION = 3
"""2 has the row `edited`, 3 the row `discarded`."""
APPLICATION_ID = int.from_bytes(b"APXM", "big")
SCHEMA = "CREATE TABLE journal (number INTEGER PRIMARY KEY, content BLOB NOT NULL, checksum INTEGER NOT NULL)"
SIDE_FILES = ("-journal", "-wal", "-shm")
"""What SQLite looks for beside a database, by the ends of their names."""
_ENDS = ("", "-wal", "-shm")
_FILE = re.compile(rf"({RUN_ID.pattern})\.((journal|part)(-wal|-shm)?|lock)")
_OF_THE_PLACE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
"""Codes that say nothing of the file itself."""


@dataclass
class RunFiles:
    """What one run has in a folder, by the looks of it."""

    folder: Path
    run_id: str
    has_journal: bool = False
    size_bytes: int = 0
    written: float = 0.0
    """When the last of the files was written, in unix time."""
    ours: bool = True
    """Whether all of them are regular files, as those of a run are."""

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.run_id}.journal"

    @property
    def lock(self) -> Path:
        """Empty; the process that owns the run holds its `flock`."""
        return self.folder / f"{self.run_id}.lock"

    def remove(self) -> None:
        """Whoever removes them holds the lock, whose file is the last. Raises `JournalError`."""
        draft = self.folder / f"{self.run_id}.part"  # the journal until its header was in it
        paths = [self.folder / f"{path.name}{end}" for path in (self.journal, draft) for end in _ENDS]
        try:
            for path in [*paths, self.lock]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise unusable(self.folder, error) from None


def runs_in(folder: Path) -> dict[str, RunFiles]:
    """Every run that has such a file there; none where there is no folder. Raises `JournalError`."""
    runs: dict[str, RunFiles] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (match := _FILE.fullmatch(entry.name)):
                    continue
                run = runs.setdefault(match[1], RunFiles(folder, match[1]))
                try:
                    state = entry.stat()
                except FileNotFoundError:
                    continue  # it is being removed
                except OSError:  # a link in a circle, or to where this user may not look
                    run.ours = False
                else:
                    run.size_bytes += state.st_size
                    run.written = max(run.written, state.st_mtime)
                    run.has_journal |= match[2] == "journal"
                    run.ours &= stat.S_ISREG(state.st_mode)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unusable(folder, error) from None
    return runs


def read(path: Path) -> tuple[Header, list[TimedRow]]:
    """What such a file holds. Its owner may be writing meanwhile. Raises `JournalError`.

    Where there is no write-ahead log nobody writes, and the file is read as it lies there: else SQLite would make files
    beside it. A process that takes the run over in that moment may change it under the reader, who then begins anew.
    """
    while True:
        with _failing("cannot be read", path):
            at_rest, before = not path.with_name(f"{path.name}-wal").exists(), os.stat(path)
            if not stat.S_ISREG(before.st_mode):  # a pipe of that name would be waited for
                raise _damaged(path, "it is not a regular file")
            if not before.st_size:
                raise _damaged(path, "it is empty")
            try:
                with closing(_connect(path, "ro&immutable=1" if at_rest else "ro")) as connection:
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


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Raises `NotRegularError` where SQLite would open what is no file: it waits for a pipe, and for ever, since it
    begins anew after each signal."""
    real = os.path.realpath(path)  # as SQLite does, where it is a link
    for name in (real, *(real + end for end in SIDE_FILES)):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(name).st_mode):
                raise NotRegularError(name)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_ROW)
    connection.execute("PRAGMA trusted_schema = off")
    connection.execute("PRAGMA cell_size_check = on")
    return connection


def _check_kind(path: Path, connection: sqlite3.Connection) -> None:
    # Asked of SQLite, and never read from the file: to close any other descriptor of it would end the locks that this
    # process has on it.
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise _damaged(path, "it is a database of another application")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT_VERSION:
        raise JournalVersionError(
            f"the journal has format version {version}; this apxm reads version {FORMAT_VERSION} of such files",
            where=printable(str(path)),
            hint="update apxm",
        )
    if version < 1:
        raise _damaged(path, f"there is no format version {version}")


def _contents(path: Path, connection: sqlite3.Connection) -> tuple[Header, list[TimedRow]]:
    connection.execute("BEGIN")
    _check_kind(path, connection)
    # A table is read only when it is the one that was made: a view, say, could make SQLite compute without end.
    if connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall() != [("table", "journal", SCHEMA)]:
        raise _damaged(path, "it has not the table of a journal")
    # Finds rows that are gone from the end, which their numbers and checksums cannot tell.
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, str(found))
    header: Header | None = None
    records: list[TimedRow] = []
    before = 0
    for expected, (number, content, checksum) in enumerate(connection.execute("SELECT * FROM journal ORDER BY number")):
        if number != expected:
            raise _damaged(path, f"row {expected} is missing")
        if not isinstance(content, bytes) or crc32(content, before) != checksum:
            raise _damaged(path, f"row {number} does not match its checksum")
        before = checksum
        try:
            if header is None:
                header = decode_header(content)
            else:
                records.append(decode_record(content))
        except JournalError as error:
            raise _damaged(path, f"row {number} is not a valid one: {error.message}") from None
    if header is None:
        raise _damaged(path, "it has no header")
    return header, records


@contextmanager
def _failing(what: str, path: Path) -> Generator[None, None, None]:
    """Makes errors of SQLite and of the system ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        place = error.filename if isinstance(error, NotRegularError) else str(path)
        raise JournalError(f"the journal {what}: {reason_of(error)}", where=printable(place)) from error


def _damaged(path: Path, found: str) -> JournalDamagedError:
    return JournalDamagedError(
        printable(f"this is no journal of a run, or it is damaged: {found}"), where=printable(str(path))
    )

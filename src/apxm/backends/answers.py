"""Answers kept by request: for as long as this is there, or in a file that all processes of a user share.

SQLite, as many processes may read and write it at once and its size can be bounded. What goes wrong with it is no
reason for a call to fail: then there is no answer, and nothing is kept.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from time import time

import msgspec

from apxm.backends.protocol import ModelAnswer
from apxm.forks import tell_of_forks

logger = logging.getLogger("apxm")

MOST_BYTES = 1 << 30
"""Of the answers in a file; those that were used longest ago go first."""
_LOOKED_AFTER = 256
"""After so many new answers it is looked at how large the file is."""
_USED_AGAIN_S = 3600
"""How exactly it is known when an answer was last used: to write it down each time would cost more than to read it."""
_SETTINGS = "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000"
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, used INT, answer BLOB);
CREATE INDEX IF NOT EXISTS by_use ON answers (used)
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ModelAnswer).decode


class Answers:
    """May be used in any thread."""

    def __init__(self, path: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        """Opens nothing yet; without a path it is a temporary file of SQLite's."""
        self._path = path
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._base: sqlite3.Connection | None = None
        self._broken = False
        self._added = 0
        tell_of_forks(self)

    def forked(self) -> None:
        # A connection is not to be used, nor closed, in a process that has not opened it.
        self._kept_open, self._base = self._base, None
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    def get(self, key: bytes) -> ModelAnswer | None:
        """The answer that was `put`."""
        with self._lock:
            try:
                base = self._opened()
                found = base.execute("SELECT answer, used FROM answers WHERE key = ?", (key,)).fetchone()
                if found is None:
                    return None
                if self._path is not None and (now := int(time())) - found[1] > _USED_AGAIN_S:
                    with suppress(sqlite3.OperationalError):  # another process writes
                        base.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
                return _decode(found[0])
            except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
                self._give_up(error)
                return None

    def put(self, key: bytes, answer: ModelAnswer) -> None:
        with self._lock:
            try:
                base = self._opened()
                base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (key, int(time()), _encode(answer)))
                self._added += 1
                if self._path is not None and self._added % _LOOKED_AFTER == 0:
                    self._shrink(base)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def _opened(self) -> sqlite3.Connection:
        if self._broken:
            raise sqlite3.OperationalError("it could not be used before")
        if self._base is None:
            if self._path is not None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            # In no transaction, so that no lock outlives a statement; and who waits for one holds up the event loop.
            self._base = sqlite3.connect(self._path or "", timeout=0.05, isolation_level=None, check_same_thread=False)
            if self._path is None:
                self._base.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000")
            else:
                self._base.executescript(_SETTINGS)
            self._base.executescript(_TABLE)
        return self._base

    def _shrink(self, base: sqlite3.Connection) -> None:
        def size() -> int:
            (pages,), (free,), (page,) = (
                base.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * page

        while size() > self._most_bytes:
            tenth = "SELECT key FROM answers ORDER BY used LIMIT 1 + (SELECT count(*) / 10 FROM answers)"
            if not base.execute(f"DELETE FROM answers WHERE key IN ({tenth})").rowcount:
                break
            base.execute("PRAGMA incremental_vacuum").fetchall()

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return  # another process was quicker
        if not self._broken:
            self._broken = True
            where = "" if self._path is None else f" in {self._path}"
            logger.warning("answers%s cannot be kept: %s", where, error)

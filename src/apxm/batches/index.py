"""Which inputs were seen, and which have their line in the output: kept on disk, so that memory does not grow with
them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise

_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000; PRAGMA temp_store=FILE;
CREATE TABLE seen (digest TEXT PRIMARY KEY, times INT) WITHOUT ROWID;
CREATE TABLE runs (id TEXT PRIMARY KEY, part INT, run_id TEXT) WITHOUT ROWID;
CREATE TABLE lines (id TEXT PRIMARY KEY, failed INT, offset INT, length INT, position INT) WITHOUT ROWID;
BEGIN
"""


class Index:
    """A database that no other process sees, and that is gone with this one."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(_TABLES)
        self._run = self._base.execute
        self.lines = 0
        """How many lines the output has."""
        self.failed = 0
        """How many of them are of inputs that failed."""

    def close(self) -> None:
        self._base.close()

    def id_of(self, digest: str) -> str:
        """The id of the next row with this digest: how many rows before it are equal is part of it, so that equal rows
        are different inputs, and rows elsewhere change nothing."""
        found = self._run("SELECT times FROM seen WHERE digest = ?", (digest,)).fetchone()
        times: int = 1 if found is None else found[0] + 1
        self._run("INSERT OR REPLACE INTO seen VALUES (?, ?)", (digest, times))
        return f"{digest}#{times}"

    def add(self, id: str, failed: bool, offset: int, length: int, position: int | None = None) -> bool:
        """Notes a line of the output; says whether it is the first of this input."""
        added = self._run(
            "INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?, ?)", (id, failed, offset, length, position)
        ).rowcount
        self.lines += added
        self.failed += added and failed
        return bool(added)

    def done(self, id: str, position: int) -> bool | None:
        """Whether an input's line says that it succeeded; None where it has no line. It stands at `position` now."""
        if not self.lines:
            return None
        found = self._run("SELECT failed FROM lines WHERE id = ?", (id,)).fetchone()
        if found is None:
            return None
        self._run("UPDATE lines SET position = ? WHERE id = ?", (position, id))
        return not found[0]

    def has(self, digest: str) -> bool:
        """Whether the first of the inputs with this digest has its line."""
        return self._run("SELECT 1 FROM lines WHERE id = ?", (f"{digest}#1",)).fetchone() is not None

    def begun(self, id: str, part: int, run_id: str) -> None:
        """Notes the run that was begun last for an input, and in which part of the journals it is."""
        self._run("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (id, part, run_id))

    def run_of(self, id: str) -> tuple[int, str] | None:
        """What was noted by `begun`."""
        return self._run("SELECT part, run_id FROM runs WHERE id = ?", (id,)).fetchone()

    @property
    def gone(self) -> int:
        """How many lines there are of inputs that were not seen."""
        return self._run("SELECT count(*) FROM lines WHERE position IS NULL").fetchone()[0]

    def forget(self) -> None:
        """All lines."""
        self._run("DELETE FROM lines")
        self.lines = self.failed = 0

    @property
    def is_in_order(self) -> bool:
        """Whether the lines stand in the order of `places`."""
        return all(one < other for (one, _), (other, _) in pairwise(self.places()))

    def places(self) -> Iterator[tuple[int, int]]:
        """Offset and length of each line in the order of the inputs, those of inputs that are gone at the end."""
        yield from self._run("SELECT offset, length FROM lines ORDER BY position IS NULL, position, offset")

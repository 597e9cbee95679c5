"""Journals as versions before this one wrote them: a SQLite database for each run."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from zlib import crc32

from apxm.journal.format import encode
from apxm.journal.per_run import APPLICATION_ID, FORMAT_VERSION, SCHEMA
from apxm.journal.rows import Header, Row, TimedRow
from tests.journal.journals import RUN_ID, STARTED, header


def write_old(
    folder: Path, rows: Sequence[Row], run_id: str = RUN_ID, version: int = FORMAT_VERSION, head: Header | None = None
) -> Path:
    """A run whose process let go of it; its file."""
    path = folder / f"{run_id}.journal"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(SCHEMA)
        checksum = 0
        for number, content in enumerate([head or header(run_id), *(TimedRow(STARTED, row) for row in rows)]):
            encoded = encode(content)
            checksum = crc32(encoded, checksum)
            connection.execute("INSERT INTO journal VALUES (?, ?, ?)", (number, encoded, checksum))
    path.chmod(0o600)
    path.with_suffix(".lock").touch(0o600)
    return path


def age(path: Path, days: float) -> None:
    """As if the run had been written last so many days before `STARTED`."""
    for file in (path, path.with_suffix(".lock")):
        os.utime(file, (STARTED - days * 86_400, STARTED - days * 86_400))

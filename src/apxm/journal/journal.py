"""The journal of one run, as its owner has it.

Finished means committed: a row's callback comes when the row is on the disk, callbacks come in the order in which
their rows were appended, and what the file holds is always a prefix of what was appended. So a caller who lets nothing
depend on a result before its callback came can be killed at any moment, and goes on without paying twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from apxm.errors import InternalError, JournalError, UsageError
from apxm.forks import tell_of_forks
from apxm.journal.folder import RunFiles, check_folder, files_of
from apxm.journal.lock import RunLock
from apxm.journal.reading import read_to_end
from apxm.journal.rows import Header, History, Row, TimedRow
from apxm.journal.store import Store, Sync
from apxm.journal.writer import Committed, OnFailure, Writer
from apxm.source import printable

_of_parents: list[Store] = []


class Journal:
    """Use `create` or `reopen`. From then until `close` this process owns the run."""

    def __init__(self, files: RunFiles, lock: RunLock, store: Store, clock: Callable[[], float]) -> None:
        self.run_id = files.run_id
        self.path = files.journal
        self._lock = lock
        self._clock = clock
        self._store = store
        self._writer: Writer | None = None
        self._closed = False
        tell_of_forks(self)

    def forked(self) -> None:
        # The run is the parent's. SQLite wants nothing done to a connection that was carried over a fork, not even
        # to have it closed.
        self._closed = True
        _of_parents.append(self._store)

    @classmethod
    def create(
        cls, folder: Path, header: Header, *, sync: Sync = "full", clock: Callable[[], float] = time.time
    ) -> Journal:
        """The journal of a new run. Raises `JournalError`, and then leaves nothing in the folder."""
        files = files_of(folder, header.run_id)
        check_folder(folder)
        lock = RunLock(files.lock, files.run_id)
        try:
            if files.journal.exists():
                raise JournalError("there is a run of this id already", where=printable(str(files.journal)))
            return cls(files, lock, Store.create(files, header, sync), clock)
        except BaseException:
            lock.give_up()
            raise

    @classmethod
    def reopen(
        cls, folder: Path, run_id: str, *, sync: Sync = "full", clock: Callable[[], float] = time.time
    ) -> tuple[Journal, History]:
        """Takes over a run that no process owns, with what it has journaled so far.

        Raises `UsageError` where there is no such run, `JournalBusyError` where it has an owner, `JournalError` where
        it cannot be read or gone on with; nothing is changed then.
        """
        files = files_of(folder, run_id)
        check_folder(folder)
        if not files.journal.exists():
            raise UsageError(f"there is no run {run_id} in {printable(str(folder))}")
        lock = RunLock(files.lock, run_id)
        try:
            history, end = read_to_end(files.journal)
            if history.header.run_id != run_id:
                raise JournalError(
                    f"this is the journal of run {printable(history.header.run_id)}",
                    where=printable(str(files.journal)),
                )
            return cls(files, lock, Store(files, end, sync), clock), history
        except BaseException:
            lock.give_up()
            raise

    def start(self, on_failure: OnFailure) -> None:
        """Begins to write; called on the thread of the event loop that the callbacks are to come on.

        If a row cannot be committed, `on_failure` is called, once, and nothing more is journaled: the callbacks of the
        rows that were lost, and of all that are appended later, come without a commit, so that nothing waits for ever.
        """
        self._writer = Writer(self._store, printable(str(self.path)), asyncio.get_running_loop(), on_failure)

    def append(self, row: Row, committed: Committed | None = None, *, urgent: bool = False) -> None:
        """Returns at once; `committed` is called later, on the loop, never from here. `urgent` says that no other row
        is about to come, which this one could share its commit with."""
        if self._writer is None or self._closed:
            raise InternalError("a row was appended to a journal that is not open")
        self._writer.append(TimedRow(self._clock(), row), committed, urgent)

    @property
    def failure(self) -> JournalError | None:
        """Why it lacks something that was appended to it, once it is closed. `on_failure` may come too late to say so:
        of what the loop has no turn for any more, nothing is told."""
        return self._writer.failure if self._writer and self._closed else None

    def close(self) -> None:
        """Writes what is queued, empties the write-ahead log into the file, and lets go of the run."""
        if self._closed:
            return
        self._closed = True
        if self._writer:
            self._writer.close()
        self._store.close()
        self._lock.release()

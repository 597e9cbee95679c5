"""The journal of one run, as its owner has it.

Finished means committed: a row's callback comes when the row is on the disk, callbacks come in the order in which
their rows were appended, and what the log holds of a run is always a prefix of what was appended. So a caller who lets
nothing depend on a result before its callback came can be killed at any moment, and goes on without paying twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

from msgspec.structs import replace

from apxm.errors import InternalError, JournalBusyError, JournalError
from apxm.journal.catalog import LOCK, Found, find, is_known
from apxm.journal.folder import check_folder, checked_id
from apxm.journal.format import encode
from apxm.journal.ids import is_new
from apxm.journal.lock import FileLock
from apxm.journal.log import CLAIM, ROW
from apxm.journal.rows import Edited, Header, History, Row, TimedRow
from apxm.journal.segment import Item
from apxm.journal.store import Committed, OnFailure, Owner, Queued, Store, Sync, store_of
from apxm.source import printable

_TRIES = 10
_PAUSE_S = 0.005
"""A process that has just taken over the log of one that is gone has not said yet that it is another one."""


class Journal:
    """Use `create` or `reopen`. From then until `close` this process owns the run."""

    def __init__(self, store: Store, owner: Owner, clock: Callable[[], float]) -> None:
        self.run_id = owner.run_id
        self.path = store.path
        """The log that it begins, or goes on, in."""
        self._store = store
        self._owner = owner
        self._clock = clock

    @classmethod
    def create(
        cls, folder: Path, header: Header, *, sync: Sync = "full", clock: Callable[[], float] = time.time
    ) -> Journal:
        """The journal of a new run. Raises `JournalError`, and then leaves nothing of it in the folder."""
        run_id = header.run_id
        if not is_new(run_id):
            checked_id(run_id)
            check_folder(folder)
            if is_known(folder, run_id):
                raise JournalError("there is a run of this id already", where=printable(str(folder)))
        item = _item(run_id, -1, 0, header)
        owner = Owner(run_id, sync, item.number, item.checksum)
        store = store_of(folder)
        store.enter(owner)
        store.put(Queued(owner, (item,)), urgent=False)
        return cls(store, owner, clock)

    @classmethod
    def reopen(
        cls, folder: Path, run_id: str, *, sync: Sync = "full", clock: Callable[[], float] = time.time
    ) -> tuple[Journal, History]:
        """Takes over a run that no process owns, with what it has journaled so far.

        Raises `UsageError` where there is no such run, `JournalBusyError` where it has an owner, `JournalError` where
        it cannot be read or gone on with; nothing is changed then.
        """
        checked_id(run_id)
        check_folder(folder)
        store_of(folder).flush()  # it may be a run of this process
        find(folder, run_id)  # who is refused leaves nothing in the folder
        # Of all who would take a run over, one at a time looks whether another one has.
        lock = FileLock(folder / LOCK)
        try:
            found = _unowned(folder, run_id)
            items = [Item(CLAIM, run_id, found.end.number + 1, found.end.checksum)]
            if found.per_run is not None:
                old = FileLock(found.per_run.lock, run_id)  # which an earlier version may have
                try:
                    journal = cls._claimed(folder, _imported(find(folder, run_id)), sync, clock)
                    found.per_run.remove()
                finally:
                    old.release()
            else:
                journal = cls._claimed(folder, items, sync, clock)
            return journal, found.history
        finally:
            lock.remove()

    @classmethod
    def _claimed(cls, folder: Path, items: Sequence[Item], sync: Sync, clock: Callable[[], float]) -> Journal:
        """The journal of a run that is this process's when all of the items are written."""
        store, owner = store_of(folder), Owner(items[0].run_id, sync, items[-1].last, items[-1].checksum)
        store.enter(owner)
        claimed = threading.Event()
        store.put(Queued(owner, items, done=claimed.set), urgent=True)
        claimed.wait()
        journal = cls(store, owner, clock)
        if owner.failure is not None:
            journal.close()
            raise owner.failure
        return journal

    def start(self, on_failure: OnFailure) -> None:
        """Begins to listen; called on the thread of the event loop that the callbacks are to come on.

        If a row cannot be committed, `on_failure` is called, once, and nothing more is journaled: the callbacks of the
        rows that were lost, and of all that are appended later, come without a commit, so that nothing waits for ever.
        """
        owner = self._owner
        owner.on_failure, owner.loop = on_failure, asyncio.get_running_loop()
        if owner.failure is not None:
            owner.loop.call_soon(owner.tell)

    def append(self, row: Row, committed: Committed | None = None, *, urgent: bool = False) -> None:
        """Returns at once; `committed` is called later, on the loop, never from here. `urgent` says that no other row
        is about to come, which this one could share its commit with."""
        owner = self._owner
        if owner.loop is None or owner.closed:
            raise InternalError("a row was appended to a journal that is not open")
        try:
            item = _item(owner.run_id, owner.number, owner.checksum, TimedRow(self._clock(), row))
        except JournalError as error:
            self._store.put(Queued(owner, (), committed, error), urgent=urgent)
        else:
            owner.number, owner.checksum = item.number, item.checksum
            self._store.put(Queued(owner, (item,), committed), urgent=urgent)

    @property
    def failure(self) -> JournalError | None:
        """Why it lacks something that was appended to it, once it is closed. `on_failure` may come too late to say so:
        of what the loop has no turn for any more, nothing is told."""
        return self._owner.failure if self._owner.closed else None

    def flush(self) -> None:
        """Waits until all that was appended is written."""
        self._store.flush()

    def close(self) -> None:
        """Waits until all that was appended is written, and lets go of the run."""
        if not self._owner.closed:
            self._owner.closed = True
            done = threading.Event()
            self._store.put(Queued(self._owner, done=done.set, leaves=True), urgent=True)
            done.wait()

    async def closed(self) -> None:
        """As `close`, for who has other things to do meanwhile; on the loop that it listens on, where there is one."""
        owner = self._owner
        if not owner.closed:
            owner.closed = True
            loop = owner.loop = owner.loop or asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            self._store.put(Queued(owner, committed=partial(_set, done), leaves=True), urgent=True)
            await done


def _unowned(folder: Path, run_id: str) -> Found:
    """What there is of a run. Raises `JournalBusyError` where a process has it."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        found = find(folder, run_id)
        if not found.owned:
            return found
    raise JournalBusyError(run_id)


def _imported(found: Found) -> list[Item]:
    """What an earlier version wrote, as this one writes it."""
    items: list[Item] = []
    checksum = 0
    for before, content in enumerate((found.header, *found.history.records), -1):
        items.append(_item(found.header.run_id, before, checksum, content))
        checksum = items[-1].checksum
    return items


def _item(run_id: str, before: int, checksum: int, content: Header | TimedRow) -> Item:
    """The row behind the one of the number `before`, of that `checksum`. Raises `JournalError` where it cannot be
    stored."""
    stored, program = _without_program(content)
    encoded = encode(stored)
    return Item(ROW, run_id, before + 1, crc32(encoded, checksum), encoded, content, program)


def _without_program(content: Header | TimedRow) -> tuple[Header | TimedRow, tuple[str, bytes] | None]:
    """A program is stored once for all runs of it."""
    if isinstance(content, Header):
        return replace(content, program=b""), (content.program_digest, content.program)
    if isinstance(row := content.row, Edited):
        return TimedRow(content.time, replace(row, program=b"")), (row.program_digest, row.program)
    return content, None


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)

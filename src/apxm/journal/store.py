"""What this process appends to a folder of journals: the rows of all its runs, by one thread.

Rows wait in a queue; the thread takes all there are, commits them together, and then tells the event loops, each once
per commit. A thread, since a commit waits for the disk; one, and all rows at once, since a commit costs the same for
one as for a hundred.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Literal
from weakref import WeakValueDictionary

from msgspec import Struct

from apxm.errors import JournalBusyError, JournalError
from apxm.forks import ProcessLock, tell_of_forks
from apxm.journal.folder import check_folder
from apxm.journal.format import reason_of
from apxm.journal.log import CLAIM, RELEASE
from apxm.journal.segment import Item, Segment
from apxm.source import printable

Sync = Literal["full", "normal"]
"""What a commit outlives: ``full`` a power cut too, ``normal`` the end of the process, however it ends."""
Committed = Callable[[], object]
OnFailure = Callable[[JournalError], object]

_GATHER_S = 0.002
"""A commit costs ten times what a row does. So one does not begin sooner behind the begin of another, and has the rows
that come meanwhile, unless somebody knows that there will be none."""
_SYNCED_S = 0.05
"""How long what nobody waits for may be written, and not on the disk yet."""
_FEW = 4
"""Runs that may go on at once for one of them to know that, and that are not many."""
_IDLE_S = 1.0
"""How long after the last run of this process its thread and its log are kept for the next one."""


@dataclass(eq=False)
class Owner:
    """A run of this process, as its store has it."""

    run_id: str
    sync: Sync
    number: int
    """That of the last row that was appended; set by whoever appends, as its checksum is."""
    checksum: int
    written: tuple[int, int] | None = None
    """As these two, of what is committed; None where nothing is. Set by the thread alone, as is what follows."""
    failure: JournalError | None = None
    """Why nothing is written of it any more."""
    loop: asyncio.AbstractEventLoop | None = None
    """Where callbacks come; None until somebody listens."""
    on_failure: OnFailure | None = None
    told: bool = False
    closed: bool = False
    """Whether this process lets go of it, or has from its parent what it knows of it."""

    def tell(self) -> None:
        """Tells of the failure, once, on the loop."""
        if not self.told and self.failure is not None and self.on_failure is not None:
            self.told = True
            self.on_failure(self.failure)


class Queued(Struct, frozen=True, gc=False):
    owner: Owner
    items: Sequence[Item] = ()
    """One commit has all of them."""
    committed: Committed | None = None
    """Called on the owner's loop."""
    unfit: JournalError | None = None
    """Why this cannot be written, and nothing behind it."""
    leaves: bool = False
    """Whether the owner lets go of the run."""
    done: Committed | None = None
    """Called by the thread, whatever came of it."""


@dataclass(eq=False)
class Store:
    """Use `store_of`."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Of the three below: they are changed by whoever begins a run, and by the thread."""
    _open: dict[str, Owner] = field(default_factory=dict[str, Owner])
    _segment: Segment | None = None
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._queue: SimpleQueue[Queued] = SimpleQueue()
        self._urgent = threading.Event()
        """Whether the thread need not wait for more rows."""
        self._begun = 0.0
        """The instant at which the last commit began, by `perf_counter`."""
        self._unsynced = inf
        """The instant at which something was written that is not on the disk yet, and is to be."""
        self._behind: list[Segment] = []
        """Logs that runs go on in, until it is written elsewhere that they do."""
        self._kept: list[Item] = []
        """What says that runs were let go of, and could not be written yet."""
        tell_of_forks(self)

    def forked(self) -> None:
        # Log, runs and thread are the parent's.
        for owner in self._open.values():
            owner.closed = True
        segment, behind = self._segment, self._behind
        self._lock, self._open, self._segment, self._thread = threading.Lock(), {}, None, None
        self.__post_init__()
        for each in [*behind, *([] if segment is None else [segment])]:
            each.drop()

    def enter(self, owner: Owner) -> None:
        """From now on the run is this process's. Raises `JournalBusyError` where it was before, and `JournalError`
        where no journal can be written here."""
        with self._lock:
            if owner.run_id in self._open:
                raise JournalBusyError(owner.run_id)
            if self._segment is not None and not self._open and not self._segment.is_there:
                self._close_segment()
            if self._segment is None:
                check_folder(self.folder)
                self._segment = Segment.take(self.folder)
            self._open[owner.run_id] = owner
            if self._thread is None:
                # A disk that hangs must not hold the process: whatever is committed is safe without us.
                self._thread = threading.Thread(target=self._work, name="apxm-journal", daemon=True)
                self._thread.start()

    def put(self, queued: Queued, *, urgent: bool) -> None:
        self._queue.put(queued)
        if urgent and len(self._open) <= _FEW:
            self._urgent.set()

    def flush(self) -> None:
        """Returns when what was appended before is written, or has failed."""
        if self._open:
            written = threading.Event()
            self.put(Queued(Owner("", "normal", -1, 0), done=written.set), urgent=True)
            written.wait()

    def rest(self) -> None:
        """Lets go of a log that is kept for the next run alone."""
        with self._lock:
            if self._segment is not None and not self._open:
                self._close_segment()

    @property
    def path(self) -> Path:
        """Where what comes next is written, as far as can be said."""
        segment = self._segment
        return self.folder if segment is None else segment.path

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            self._handle(batch)

    def _next_batch(self) -> list[Queued] | None:
        """All that waits; None where nobody needs the thread any more."""
        queue = self._queue
        while True:
            try:
                batch = [queue.get(timeout=self._patience)]
                break
            except Empty:
                if self._sync():
                    continue
                with self._lock:
                    if not self._open and queue.empty():
                        if self._segment is not None:
                            self._close_segment()
                        self._thread = None
                        return None
        left = self._begun + _GATHER_S - perf_counter()
        if left > 0:
            self._urgent.wait(left)  # rows come in a stream
        self._urgent.clear()
        self._begun = perf_counter()
        batch += [queue.get_nowait() for _ in range(queue.qsize())]  # nobody else takes any
        return batch

    def _handle(self, batch: list[Queued]) -> None:
        wanted: list[Queued] = []
        unfit: dict[Owner, JournalError] = {}
        for queued in batch:
            owner = queued.owner
            if queued.unfit is not None:
                unfit.setdefault(owner, queued.unfit)
            elif queued.items and owner.failure is None and owner not in unfit:
                wanted.append(queued)
        leaving = [queued.owner for queued in batch if queued.leaves]
        last = {queued.owner: queued.items[-1] for queued in wanted}
        ends = {owner: (item.last, item.checksum) for owner, item in last.items()}
        released = [_release(owner.run_id, end) for owner in leaving if (end := ends.get(owner) or owner.written)]
        failed: list[Owner] = []
        if wanted or released:
            try:
                self._commit(wanted, [*self._kept, *released])
            except Exception as error:
                # Whatever it is: were the thread to end here, runs would wait for ever.
                failed += self._lose(ends, error)
                self._kept += [_release(owner.run_id, owner.written) for owner in leaving if owner.written]
            else:
                self._kept.clear()
                for owner, end in ends.items():
                    owner.written = end
        for owner, error in unfit.items():
            failed += _fail([owner], error, self.path)
        with self._lock:
            for owner in leaving:
                self._open.pop(owner.run_id, None)
            if not self._open:
                if self._kept:  # what could not be written is said by a log that nobody has
                    self._kept.clear()
                    self._close_segment()
                self._close(self._behind)
        _tell(batch, failed)

    def _commit(self, wanted: list[Queued], released: list[Item]) -> None:
        """Commits all of them or, with whatever error, none."""
        items = [item for queued in wanted for item in queued.items]
        if self._segment is None or self._segment.is_full:
            before, self._segment = self._segment, Segment.take(self.folder)
            if before is not None:
                self._behind.append(before)
                if self._unsynced < inf:  # else what comes now may outlive what was before it
                    before.sync()
        if self._behind:
            # First, that nobody takes these for runs of a process that is gone.
            items = [*map(_claim, self._written()), *items]
        full = [queued for queued in wanted if queued.owner.sync == "full"]
        durable = any(queued.committed for queued in full) or perf_counter() - self._unsynced > _SYNCED_S
        self._segment.append([*items, *released], durable=durable)
        if durable:
            self._unsynced = inf
        elif full:
            self._unsynced = min(self._unsynced, perf_counter())
        self._close(self._behind)

    @property
    def _patience(self) -> float | None:
        """How long to wait for rows before there is something else to do."""
        if self._unsynced < inf:
            return _SYNCED_S
        return None if self._open else _IDLE_S

    def _sync(self) -> bool:
        """Waits until what is written is on the disk; False where it is, or is not to be."""
        if self._unsynced == inf:
            return False
        self._unsynced = inf
        segment = self._segment
        with suppress(OSError):  # nobody waits for it; who comes next is told
            if segment is not None:
                segment.sync()
        return True

    def _lose(self, owners: Iterable[Owner], error: Exception) -> list[Owner]:
        """What could not be written is lost: who is to be told."""
        segment = self._segment
        if segment is not None and not segment.is_sound:
            with self._lock:
                self._segment = None
            # Kept until it is said elsewhere that the other runs go on.
            self._behind.append(segment)
        lost = [*owners] if segment is None or segment.is_sound else [*owners, *self._written()]
        return _fail(lost, error, self.folder if segment is None else segment.path)

    def _written(self) -> list[Owner]:
        """The runs of this process that something is written of, and more may be."""
        with self._lock:
            return [owner for owner in self._open.values() if owner.written and owner.failure is None]

    def _close_segment(self) -> None:
        """With the lock held."""
        self._sync()
        segment, self._segment = self._segment, None
        if segment is not None:
            self._close([segment])

    @staticmethod
    def _close(segments: list[Segment]) -> None:
        for segment in segments:
            with suppress(OSError):
                segment.close()
        segments.clear()


def _fail(owners: Iterable[Owner], error: Exception, path: Path) -> list[Owner]:
    """Those of the owners that had not failed before."""
    failed = [owner for owner in dict.fromkeys(owners) if owner.failure is None]
    reason = error.message if isinstance(error, JournalError) else reason_of(error)
    for owner in failed:
        owner.failure = JournalError(
            f"the journal cannot be written, and nothing more is journaled: {reason}",
            where=f"{printable(str(path))} (run {owner.run_id})",
        )
        owner.failure.__cause__ = error
    return failed


def _claim(owner: Owner) -> Item:
    assert owner.written is not None
    number, checksum = owner.written
    return Item(CLAIM, owner.run_id, number + 1, checksum)


def _release(run_id: str, end: tuple[int, int]) -> Item:
    return Item(RELEASE, run_id, *end)


def _tell(batch: Iterable[Queued], failed: Iterable[Owner]) -> None:
    """Tells whoever waits that their rows are committed, behind those that are told that theirs are not."""
    calls: dict[asyncio.AbstractEventLoop, list[Committed]] = {}
    for owner in failed:
        if owner.loop is not None:
            calls.setdefault(owner.loop, []).append(owner.tell)
    for queued in batch:
        if queued.committed is not None and queued.owner.loop is not None:
            calls.setdefault(queued.owner.loop, []).append(queued.committed)
    for loop, callbacks in calls.items():
        try:
            loop.call_soon_threadsafe(_call_all, loop, callbacks)
        except RuntimeError:
            if not loop.is_closed():  # nobody is left to be told
                raise
    for queued in batch:
        if queued.done is not None:
            with suppress(RuntimeError):  # of a loop that is closed: nobody waits any more
                queued.done()


def _call_all(loop: asyncio.AbstractEventLoop, callbacks: Iterable[Committed]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception as error:
            # As the loop does with a callback of its own: the others of the commit must still come.
            loop.call_exception_handler({"message": f"{callback!r} failed", "exception": error})


_lock = ProcessLock()
_stores: WeakValueDictionary[tuple[str, int, int], Store] = WeakValueDictionary()
"""By the name of the folder and what is there: a name may come to mean another one."""


def store_of(folder: Path) -> Store:
    """The one that this process has for a folder."""
    try:
        state = os.stat(folder)
    except OSError:  # whoever writes there is told
        return Store(folder)
    key = str(folder), state.st_dev, state.st_ino
    with _lock:
        store = _stores.get(key)
        if store is None:
            store = _stores[key] = Store(folder.resolve())
        return store


@atexit.register
def _rest() -> None:
    for store in list(_stores.values()):
        store.rest()

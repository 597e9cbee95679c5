"""The one thread that writes a journal.

Rows wait in a queue; the thread takes all there are, commits them together, and then tells the event loop, once per
commit. A thread, since a commit waits for the disk; one, since SQLite has one writer anyway; and all rows at once,
since a commit costs the same for one as for a hundred.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import NamedTuple

from apxm.errors import JournalError
from apxm.journal.format import reason_of
from apxm.journal.rows import TimedRow
from apxm.journal.store import Store

Committed = Callable[[], object]
OnFailure = Callable[[JournalError], object]


_GATHER_S = 0.002
"""A commit costs ten times what a row does. So one that comes so soon behind another waits so long for more rows,
unless somebody knows that there will be none."""


class _Entry(NamedTuple):
    record: TimedRow
    committed: Committed | None


class Writer:
    def __init__(self, store: Store, place: str, loop: asyncio.AbstractEventLoop, on_failure: OnFailure) -> None:
        self._store = store
        self._place = place
        self._loop = loop
        self._on_failure = on_failure
        self.failure: JournalError | None = None
        """Why nothing is written any more; set by the thread alone, to be read by others when it has ended."""
        self._committed = 0.0
        """The instant of the last commit, by `perf_counter`; read and set by the thread alone."""
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        """The entries still to be written; None ends the thread."""
        self._urgent = threading.Event()
        """Whether the thread need not wait for more rows."""
        # A disk that hangs must not hold the process: whatever is committed is safe without us.
        self._thread = threading.Thread(target=self._work, name="apxm-journal", daemon=True)
        self._thread.start()

    def append(self, record: TimedRow, committed: Committed | None, urgent: bool) -> None:
        self._queue.put(_Entry(record, committed))
        if urgent:
            self._urgent.set()

    def close(self) -> None:
        """Returns when all that was appended is committed, or has failed. Its callbacks may come later."""
        self._queue.put(None)
        self._urgent.set()
        self._thread.join()

    def _work(self) -> None:
        queue, ending = self._queue, False
        while not ending:
            batch: list[_Entry] = []
            entry = queue.get()
            if perf_counter() - self._committed < _GATHER_S:
                self._urgent.wait(_GATHER_S)  # rows come in a stream
            self._urgent.clear()
            try:
                while entry is not None:
                    batch.append(entry)
                    entry = queue.get_nowait()
                ending = True
            except Empty:
                pass
            if batch:
                self._handle(batch)
                self._committed = perf_counter()

    def _handle(self, batch: list[_Entry]) -> None:
        failure: JournalError | None = None
        if self.failure is None:
            try:
                self._store.write([entry.record for entry in batch])
            except Exception as error:
                # Whatever it is: were the thread to end here, the run would wait for ever.
                failure = self.failure = JournalError(
                    f"the journal cannot be written, and nothing more is journaled: {reason_of(error)}",
                    where=self._place,
                )
                failure.__cause__ = error
        callbacks = [entry.committed for entry in batch if entry.committed]
        if not callbacks and not failure:
            return
        try:
            self._loop.call_soon_threadsafe(self._tell, failure, callbacks)
        except RuntimeError:
            if not self._loop.is_closed():  # nobody is left to be told
                raise

    def _tell(self, failure: JournalError | None, callbacks: list[Committed]) -> None:
        """Tells whoever waits, on the loop, that their rows are committed or why not."""
        if failure:
            self._call(self._on_failure, failure)
        for committed in callbacks:
            self._call(committed)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            # As the loop does with a callback of its own: the others of the batch must still come.
            self._loop.call_exception_handler({"message": f"{callback!r} failed", "exception": error})

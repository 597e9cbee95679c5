"""Results into the output, many in one commit: all that came while the disk was waited for go there together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from apxm.batches.batch import Batch, Finished
from apxm.batches.index import Index
from apxm.batches.journals import Journals
from apxm.batches.output import NotWrittenError, Output, encoded
from apxm.batches.tally import Tally
from apxm.runtime.trace import Status

_MOST_BYTES = 8 << 20
"""Of results that are not on the disk yet; beyond that nothing more is begun."""
_MOST_RESULTS = 4096


class Saving:
    """The sink of a batch whose results go to a file."""

    def __init__(
        self,
        output: Output,
        index: Index | None,
        tally: Tally,
        journals: Journals | None = None,
        put: Callable[[], object] | None = None,
    ) -> None:
        """`index` and `journals` are told of each line that is on the disk, where they are there; `put`, called in a
        thread, puts what is there elsewhere where it is time."""
        self._output = output
        self._index = index
        self._tally = tally
        self._journals = journals
        self._put = put
        self._pending: list[tuple[Finished, bytes]] = []
        self._bytes = 0
        self._told = asyncio.Event()
        self._ending = False

    @property
    def has_room(self) -> bool:
        return self._bytes < _MOST_BYTES and len(self._pending) < _MOST_RESULTS

    def put(self, finished: Finished) -> None:
        line = encoded(finished.line)
        self._pending.append((finished, line))
        self._bytes += len(line)
        self._told.set()

    async def run(self, batch: Batch) -> None:
        """Runs the batch, and returns when all that is finished is on the disk. Raises what `Batch.run` does, and
        `NotWrittenError` where the output cannot be written any more."""
        writing = asyncio.create_task(self._write(batch))
        try:
            await batch.run(self)
        finally:
            self._ending = True
            self._told.set()
            await writing
            self._tally.unwritten += len(self._pending)

    async def _write(self, batch: Batch) -> None:
        while self._pending or not self._ending:
            if not self._pending:
                self._told.clear()
                await self._told.wait()
                continue
            pending, self._pending, self._bytes = self._pending, [], 0
            try:
                offsets = await asyncio.to_thread(self._output.append, [line for _, line in pending])
            except NotWrittenError as error:
                self._tally.unwritten += error.lost
                batch.stop(Status.FAILED, error)
                return
            for (finished, line), offset in zip(pending, offsets, strict=True):
                if self._index is not None:
                    self._index.add(finished.id, finished.line.failed, offset, len(line), finished.position)
                if self._journals is not None:
                    self._journals.saved(finished.id, failed=finished.line.failed)
            if self._put is not None:
                await asyncio.to_thread(self._put)
            batch.changed()

"""Results into the output, many in one commit: all that came while the disk was waited for go there together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from apxm.batches.batch import Batch, Finished
from apxm.batches.index import Index
from apxm.batches.journals import Journals
from apxm.batches.output import NotWrittenError, Output, encoded
from apxm.batches.tally import Tally
from apxm.errors import ApxmError
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
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """`index` and `journals` are told of each line that is on the disk, where they are there, and `written` is
        called when some are, in a thread."""
        self._output = output
        self._index = index
        self._tally = tally
        self._journals = journals
        self._written = written
        self._pending: list[tuple[Finished, bytes]] = []
        self._bytes = 0
        self._told = asyncio.Event()
        self._ending = False

    @property
    def has_room(self) -> bool:
        return self._bytes < _MOST_BYTES and len(self._pending) < _MOST_RESULTS

    def put(self, finished: Finished) -> None:
        if finished.left is not None:
            return
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
                offsets = await asyncio.to_thread(self._append, [line for _, line in pending])
            except NotWrittenError as error:
                self._tally.unwritten += error.lost
                batch.stop(Status.FAILED, error)
                return
            except ApxmError as error:
                batch.stop(Status.FAILED, error)
                return
            for (finished, line), offset in zip(pending, offsets, strict=True):
                if self._index is not None:
                    self._index.add(finished.id, finished.line.failed, offset, len(line), finished.position)
                if self._journals is not None:
                    self._journals.saved(finished.id, failed=finished.line.failed)
            batch.changed()

    def _append(self, lines: list[bytes]) -> list[int]:
        offsets = self._output.append(lines)
        self._written()
        return offsets

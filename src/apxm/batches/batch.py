"""Many inputs through one program: so many at once, each a run of its own, and each result given on as it comes or in
the order of the inputs.

What is held at a time is bounded: the rows of one chunk, the open inputs, and results that wait for an earlier one or
for whoever takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any, Literal, Protocol

from msgspec import UNSET, Struct

from apxm.batches.index import Index
from apxm.batches.output import UNFIT, UNUSABLE, OutputLine, Problem
from apxm.batches.rows import Row, Source
from apxm.batches.tally import Tally
from apxm.batches.work import Work
from apxm.errors import JournalError, UsageError
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Status

DEFAULT_AT_ONCE = 256
"""Inputs at once, where the backend says nothing of calls at once."""
_SAMPLE = 100
"""Rows that are looked at before the first call."""
_HOPELESS = 100
"""After so many runs that failed in a row it is not the inputs: an endpoint that is down fails thousands in seconds."""
_AHEAD = 4
"""In order, so many inputs are begun or wait for an earlier one, for each that may be open."""

BatchOnError = Literal["continue", "stop"]


class Finished(Struct, frozen=True):
    """An input that is over."""

    row: Row
    id: str
    position: int
    """Which of the inputs it is, from 1."""
    line: OutputLine
    value: object
    """What the flow gave, as it is."""
    left: Stopped | None = None
    """Why it is not over but left for later, as the budget of the batch does not cover it; its line is none then."""


class Sink(Protocol):
    """Who takes what is finished."""

    @property
    def has_room(self) -> bool:
        """Whether more may be begun."""
        ...

    def put(self, finished: Finished) -> None: ...


class BatchOptions(Struct, frozen=True, kw_only=True):
    at_once: int = DEFAULT_AT_ONCE
    ordered: bool = False
    limit: int | None = None
    """How many of the first rows are inputs; None is all."""
    on_error: str = "continue"
    """A `BatchOnError`: whether more are begun after one failed."""
    with_input: bool = False

    def __post_init__(self) -> None:
        if self.on_error not in ("continue", "stop"):
            raise UsageError(f"after an input failed a batch can continue or stop, not {self.on_error!r}")


class Batch:
    """Inputs that are run; `run` it once. It belongs to one event loop."""

    def __init__(self, work: Work, source: Source, options: BatchOptions, tally: Tally, index: Index | None) -> None:
        """`index` knows which inputs are done already; where there is none, inputs have no ids."""
        self._work = work
        self._source = source
        self._options = options
        self.at_once = options.at_once
        """The most inputs that are open."""
        self._index = index
        self._tally = tally
        self._chunks = source.chunks()
        self._early: list[Row] = []
        """Rows that are read and not begun."""
        self._reading: asyncio.Future[list[Row] | None] | None = None
        """The rows that are waited for, where some are."""
        self._in_a_row = 0
        """How many runs failed since the last one that did not."""
        self.hopeless = ""
        """What the last of so many failures in a row was that no more inputs are begun."""
        self.uncovered: Finished | None = None
        """The first input that the budget did not cover."""
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, Finished] = {}
        """Results that wait for earlier ones, by their numbers."""
        self._begun = self._given = 0
        """How many inputs were begun, and how many results were given on, where they are in order."""
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self.ended: Status | None = None
        """Why no more inputs are begun; None where there is no such reason."""
        self.read_all = False
        """Whether the whole input was read."""

    async def is_empty(self) -> bool:
        """Reads the first rows, and says whether there are none."""
        while len(self._early) < _SAMPLE and (chunk := await self._next_chunk()) is not None:
            self._early += chunk
            if self._source.size is None and chunk:
                break  # who writes into a pipe may wait for an answer
        return not self._early

    async def sample(self) -> Any:
        """Reads the first rows, and gives the arguments of the first that fits. Raises `UsageError` where there is
        none, or no row at all."""
        if await self.is_empty():
            raise UsageError("there are no inputs", where=self._source.name)
        first = None
        for row in self._early[:_SAMPLE]:
            arguments = self._arguments(row)
            if not isinstance(arguments, Problem):
                return arguments
            first = first or f"line {row.line}: {arguments.message}"
        some = len(self._early[:_SAMPLE])
        which = "the only row does not fit" if some == 1 else f"none of the first {some} rows fits"
        raise UsageError(f"{which}: {first}", where=self._source.name, hint=f"the flow is {self._work.signature}")

    @property
    def sampled(self) -> list[Row]:
        """The rows that `sample` has read."""
        return self._early[:_SAMPLE]

    def rows(self) -> Iterator[Row]:
        """All of them, for whoever only looks."""
        yield from self._early
        yield from chain.from_iterable(self._chunks)

    async def run(self, sink: Sink) -> None:
        """Runs all inputs that have no line yet. Raises what ends more than one input, once what was finished by then
        is given on. Cancelling it cancels all that is open."""
        self._sink = sink
        try:
            async for row in self._rows():
                self._tally.read += 1
                id = "" if self._index is None else self._index.id_of(row.digest)
                done = None if self._index is None else self._index.done(id, self._tally.read)
                if done is not None:
                    self._tally.kept += 1
                    self._tally.kept_failed += not done
                    continue
                while not self._may_begin() and self.ended is None:
                    self._changed.clear()
                    await self._changed.wait()
                if self.ended is not None:
                    break
                self._begin(row, id, self._tally.read)
            while self._running and self._error is None and self.ended is not Status.INTERRUPTED:
                self._changed.clear()
                await self._changed.wait()
        finally:
            await self._cancel()
        if self._error is not None:
            raise self._error

    def stop(self, status: Status, error: BaseException | None = None) -> None:
        """Begins no more inputs. What is open goes on where the batch is `stopped`; where it is interrupted, or ends by
        an error, it is cancelled."""
        self.ended = self.ended or status
        if status is Status.INTERRUPTED:
            self.ended = status
        self._error = self._error or error
        if self._reading is not None:
            self._reading.cancel()
        self._changed.set()

    def changed(self) -> None:
        """The sink has room again."""
        self._changed.set()

    async def _rows(self) -> AsyncIterator[Row]:
        limit = self._options.limit
        while True:
            rows, self._early = self._early, []
            for row in rows:
                if limit is not None and self._tally.read >= limit:
                    return
                yield row
            if self.ended is not None:
                return
            chunk = await self._next_chunk()
            if chunk is None:
                self.read_all = self.ended is None
                self._tally.whole = self._tally.read
                return
            self._early = chunk

    async def _next_chunk(self) -> list[Row] | None:
        """The next rows; None where there are no more, or the batch ended while it was waited for them."""
        rows = await self._in_thread() if self._source.may_block else next(self._chunks, None)
        self._tally.fetched += len(rows or ())
        return rows

    async def _in_thread(self) -> list[Row] | None:
        self._reading = asyncio.ensure_future(asyncio.to_thread(next, self._chunks, None))
        try:
            return await self._reading
        except asyncio.CancelledError:
            if self.ended is None:
                raise
            return None  # the thread may wait on: nobody wants what comes
        finally:
            self._reading = None

    def _may_begin(self) -> bool:
        options = self._options
        if len(self._running) >= self.at_once or not self._sink.has_room:
            return False
        return not options.ordered or self._begun - self._given < self.at_once * _AHEAD

    def _begin(self, row: Row, id: str, position: int) -> None:
        number = self._begun
        self._begun += 1
        arguments = self._arguments(row)
        if isinstance(arguments, Problem):
            self._end(number, row, id, position, arguments)
            return
        self._tally.open += 1
        task = asyncio.create_task(self._run(number, row, id, position, arguments))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _arguments(self, row: Row) -> Any:
        """What a row is to the program, or why it is nothing."""
        if row.flaw is not None:
            return Problem(UNFIT, row.flaw)
        try:
            return self._work.arguments(row.values)
        except UsageError as error:
            return Problem(UNFIT, str(error.args[0]))

    async def _run(self, number: int, row: Row, id: str, position: int, arguments: Any) -> None:
        try:
            outcome = await self._work.run(arguments, id)
        except UsageError as error:  # what it needs of files, for instance, is known of each input alone
            self._end(number, row, id, position, Problem(UNFIT, error.message))
            return
        except JournalError as error:
            hint = f"{error.hint}; " if error.hint else ""
            why = f"{error.message} ({hint}--retry-failed begins it anew)"
            self._end(number, row, id, position, Problem(UNUSABLE, why))
            return
        run = outcome.run
        self._tally.count(run)
        left = run.stopped if run.stopped is not None and run.stopped.kind in ("tokens", "cost") else None
        self._end(number, row, id, position, outcome.error, outcome.value, run.printed, left)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._tally.open -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stop(Status.FAILED, error)
        self._changed.set()

    def _end(
        self, number: int, row: Row, id: str, position: int,
        problem: Problem | None, value: object = None, printed: list[str] | None = None, left: Stopped | None = None,
    ) -> None:  # fmt: skip
        line = OutputLine(
            row.line, id,
            row.values if self._options.with_input and row.flaw is None else UNSET,
            value if problem is None else UNSET,
            printed or [],
            UNSET if problem is None else problem,
        )  # fmt: skip
        finished = Finished(row, id, position, line, value, left)
        if left is not None:
            self._tally.uncovered += 1
            self.uncovered = self.uncovered or finished
            self.stop(Status.STOPPED)
        elif problem is None:
            self._tally.succeeded += 1
            self._in_a_row = 0
        else:
            self._fail(problem)
        if not self._options.ordered:
            self._sink.put(finished)
            return
        self._waiting[number] = finished
        while (next_one := self._waiting.pop(self._given, None)) is not None:
            self._given += 1
            self._sink.put(next_one)

    def _fail(self, problem: Problem) -> None:
        self._tally.fail(problem.kind)
        if self._options.on_error == "stop":
            self.stop(Status.STOPPED)
        if problem.kind == UNFIT:
            return
        self._in_a_row += 1
        if self._in_a_row == _HOPELESS and self.ended is None:
            self.hopeless = problem.message
            self.stop(Status.STOPPED)

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        while self._running:
            await asyncio.wait(set(self._running))

"""A batch from Python: items in, results out, as an iterator."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, suppress
from contextvars import copy_context
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from apxm.batches.batch import DEFAULT_AT_ONCE, Batch, BatchOptions, Finished
from apxm.batches.once import Once
from apxm.batches.output import Problem
from apxm.batches.rows import Row
from apxm.batches.tally import Tally
from apxm.batches.work import ProgramWork
from apxm.config.invocation import Invocation
from apxm.errors import ApxmError, UsageError
from apxm.operations.plain import kind_of
from apxm.program.program import Flow, Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.stopped import Stopped
from apxm.tools.toolbox import Toolbox

T = TypeVar("T")
_AT_ONCE = 64
"""Items that are taken at once of what has them all already."""


class BatchResult(Struct, frozen=True):
    """What came of one input of a batch."""

    index: int
    """Which of the inputs it is, from 0."""
    input: Any
    """The item itself."""
    value: Any
    """What the flow gave; None where it failed."""
    error: Problem | None
    """Why it failed; None where it did not."""


class BatchStopped(ApxmError):  # noqa: N818  # it tells of a batch, not of a mistake of the caller
    """The budget of a batch did not cover all inputs. Those that it covered were given, and so were, as failures of the
    kind `tokens` or `cost`, those that were begun."""

    def __init__(self, finished: Finished, stopped: Stopped) -> None:
        super().__init__(f"the batch ended at input {finished.position - 1}: {stopped.message}")
        self.index = finished.position - 1
        """The first input that was not covered, from 0."""
        self.stopped = stopped
        """Which limit ended it, how much of it was used, and how much the input needed."""


class _Items:
    """Items as rows: each is a mapping of parameters, or the value of the only one."""

    name = "the inputs"
    format = "items"
    columns = None
    holds_text = False
    may_block = False

    def __init__(self, items: Iterable[Any], flow: Flow) -> None:
        self.size = len(items) if isinstance(items, Sized) else None
        self.position = 0
        self.open: dict[int, Any] = {}
        """The items of inputs that are not over, by their position."""
        self._items = items
        self._only = flow.parameters[0].name if len(flow.parameters) == 1 else None

    def chunks(self) -> Iterator[list[Row]]:
        rows: list[Row] = []
        for item in self._items:
            self.position += 1
            self.open[self.position] = item
            rows.append(self._row(item))
            if len(rows) == (1 if self.size is None else _AT_ONCE):
                yield rows
                rows = []
        if rows:
            yield rows

    def _row(self, item: Any) -> Row:
        if isinstance(item, Mapping):
            return Row(self.position, "", cast("Mapping[str, object]", item))
        if self._only is not None:
            return Row(self.position, "", {self._only: item})
        return Row(self.position, "", flaw=f"a mapping with the parameters is expected, not {kind_of(item)}")

    def close(self) -> None: ...


class _Handing:
    """The sink of a batch whose results somebody iterates over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.ready: deque[Finished] = deque()
        self.told = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return len(self.ready) < self._most

    def put(self, finished: Finished) -> None:
        self.ready.append(finished)
        self.told.set()


async def results(
    program: Program,
    flow: Flow,
    items: Iterable[Any],
    told: Invocation,
    opening: AbstractAsyncContextManager[tuple[BackendPool, Toolbox]],
    options: BatchOptions,
    at_once: int | None,
    dedupe: bool,
) -> AsyncGenerator[BatchResult]:
    """Runs a flow for each item, and gives what comes of them. Leaving it cancels what is open. Raises `UsageError`,
    and what `Session.link` does, before the first call."""
    async with AsyncExitStack() as stack:
        pool, tools = await stack.enter_async_context(opening)
        if dedupe:
            pool = stack.enter_context(Once()).of(pool)
        at_once = at_once or pool.backends[pool.default].limits.max_concurrency or DEFAULT_AT_ONCE
        work = ProgramWork(LoadedProgram(program), flow, {}, told, pool, tools)
        work.takes(holds_text=False, is_table=False)
        source = _Items(items, flow)
        batch = Batch(work, source, replace(options, at_once=at_once), Tally(), None)
        if await batch.is_empty():
            return
        await work.session(await batch.sample()).link()
        handing = _Handing(at_once)
        running = asyncio.create_task(batch.run(handing))
        running.add_done_callback(lambda _: handing.told.set())
        try:
            while True:
                if handing.ready:
                    done = handing.ready.popleft()
                    batch.changed()
                    error = done.line.error if isinstance(done.line.error, Problem) else None
                    item = source.open.pop(done.position)
                    yield BatchResult(done.position - 1, item, done.value, error)
                elif running.done():
                    break
                else:
                    handing.told.clear()
                    await handing.told.wait()
            await running
            if batch.uncovered is not None and batch.uncovered.left is not None:
                raise BatchStopped(batch.uncovered, batch.uncovered.left)
        finally:
            running.cancel()
            await asyncio.wait([running])


class _Ended(Struct):
    error: BaseException | None


def in_thread(make: Callable[[], AsyncGenerator[T]], most: int = _AT_ONCE) -> Generator[T]:
    """Goes through what `make` gives in an event loop of its own, in a thread, so that what is in flight goes on while
    the caller is at work; `most` of it is held ready."""
    handed: SimpleQueue[T | _Ended] = SimpleQueue()
    begun: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any], asyncio.Semaphore]] = SimpleQueue()

    async def go_through() -> None:
        room = asyncio.Semaphore(most)
        task = asyncio.current_task()
        assert task is not None
        begun.put((asyncio.get_running_loop(), task, room))
        async with aclosing(make()) as found:
            async for each in found:
                await room.acquire()
                handed.put(each)

    def work() -> None:
        error = None
        try:
            with asyncio.Runner(loop_factory=real_loop) as runner:
                runner.run(go_through())
        except asyncio.CancelledError:
            pass
        except BaseException as raised:
            error = raised
        handed.put(_Ended(error))

    thread = threading.Thread(target=copy_context().run, args=(work,), name=f"batch-{next(_numbers)}", daemon=True)
    thread.start()
    loop, task, room = begun.get()
    try:
        while not isinstance(each := handed.get(), _Ended):
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(room.release)
            yield each
        if each.error is not None:
            raise each.error
    finally:
        with suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


_numbers = count(1)


def refuse_items(items: object) -> None:
    """Raises `UsageError` for what are no inputs."""
    if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
        raise UsageError(
            f"batch takes many inputs, not {kind_of(cast(object, items))}",
            hint="each is a mapping of parameters, or the value of the only one",
        )

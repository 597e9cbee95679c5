"""The two event loops, and the clock each gives a run.

On real time that is uvloop where there is one. On virtual time it is `VirtualLoop`, an asyncio loop without a selector
that jumps to its next timer, so that an hour of simulated calls takes milliseconds and always ends the same way.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from functools import cache, partial
from itertools import count
from time import perf_counter_ns
from typing import Any, Protocol, TypeVar, cast

from apxm.backends.protocol import Clock, Handle
from apxm.errors import InternalError, UsageError
from apxm.garbage import without_collector
from apxm.runtime.threads import LooseThreads

T = TypeVar("T")

COMPLETION, TIMEOUT, START = range(3)
"""Ranks of things due at the same virtual instant: an answer that arrives as its time runs out has arrived, and a slot
is free before someone asks for it."""


def real_loop() -> AbstractEventLoop:
    """A new event loop on real time, as `asyncio.Runner(loop_factory=…)` wants it."""
    return _real_loop_class()()


class _ThreadHost:
    """What a loop on real time has besides: `asyncio.to_thread` works in a `LooseThreads`."""

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        # Not as its default executor: to shut one down, even if it did nothing, takes longer than a short run.
        loop = cast(AbstractEventLoop, super())
        return loop.run_in_executor(LooseThreads() if executor is None else executor, func, *args)


@cache
def _real_loop_class() -> type[AbstractEventLoop]:
    base: type[AbstractEventLoop]
    try:
        from uvloop import Loop

        base = Loop
    except ImportError:  # not on this platform: asyncio's own loop serves
        base = asyncio.ProactorEventLoop if sys.platform == "win32" else asyncio.SelectorEventLoop
    made = type(base.__name__, (_ThreadHost, base), {"__module__": base.__module__})
    return cast(type[AbstractEventLoop], made)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` to its end on virtual time."""
    with without_collector(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def run_virtually_apart(main: Coroutine[Any, Any, T]) -> T:
    """As `run_virtually`, also inside a running event loop, which then stands still."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_virtually(main)
    from concurrent.futures import ThreadPoolExecutor  # nothing else needs it

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_virtually, main).result()


FailureHandler = Callable[[BaseException], object]
"""Told of what a callback raised, whatever it was."""


def enter(callback: Callable[[], object], failed: FailureHandler) -> None:
    """Calls `callback` for whoever waits for what comes of it: what it raises goes to `failed`. Of a callback of the
    loop, or of a task that nobody awaits, it would reach the log only, and the wait would never end."""
    try:
        callback()
    except BaseException as error:
        failed(error)


def _raise(error: BaseException) -> None:
    raise error


_LONGEST_S = 1e9
"""30 years. Beyond it, in steps of the loop or in ns, the clocks of event loops overflow."""


def limit_ns(seconds: float) -> int:
    """A time limit above 0 as the clock counts it: at least 1 ns, for 0 would be none."""
    return max(1, round(min(seconds, _LONGEST_S) * 1e9))


class RankedClock(Clock, Protocol):
    """A clock that knows what goes first among things due together."""

    def call_at(self, when: int, callback: Callable[[], None], rank: int = COMPLETION) -> Handle: ...


def clock_of(loop: AbstractEventLoop, failed: FailureHandler = _raise) -> RankedClock:
    """The clock that belongs to a loop; `failed` is told of what callbacks of its timers raise, by default the loop."""
    return VirtualClock(loop, failed) if isinstance(loop, VirtualLoop) else RealClock(loop, failed)


class RealClock:
    """`perf_counter_ns`; uvloop's own clock steps by 1 ms."""

    def __init__(self, loop: AbstractEventLoop, failed: FailureHandler = _raise) -> None:
        self._loop = loop
        self._failed = failed
        self.now = perf_counter_ns

    def call_at(self, when: int, callback: Callable[[], None], rank: int = COMPLETION) -> Handle:
        del rank  # real instants do not coincide
        return _RealTimer(self._loop, when, callback, self._failed)


class _RealTimer:
    """A timer of the loop, armed again where the loop fired it early (uvloop may, by up to 1 ms)."""

    __slots__ = ("_callback", "_failed", "_handle", "_loop", "_when")

    def __init__(
        self, loop: AbstractEventLoop, when: int, callback: Callable[[], None], failed: FailureHandler
    ) -> None:
        self._loop = loop
        self._when = when
        self._callback = callback
        self._failed = failed
        self._handle = loop.call_later(max(0, when - perf_counter_ns()) / 1e9, self._fire)

    def _fire(self) -> None:
        early = self._when - perf_counter_ns()
        if early > 0:
            self._handle = self._loop.call_later(early / 1e9, self._fire)
        else:
            enter(self._callback, self._failed)

    def cancel(self) -> None:
        self._handle.cancel()


class VirtualClock:
    """Integer ns from 0; it stands still while anything runs."""

    def __init__(self, loop: VirtualLoop, failed: FailureHandler = _raise) -> None:
        self.now = loop.now
        self.call_at = partial(loop.call_at_ns, failed=failed)


class VirtualLoop(asyncio.BaseEventLoop):
    """Time is an integer and moves only when nothing is left to do at this instant: then it is the next timer's.

    Timers due together run in the order of rank, then of creation. Asyncio's own timers (`sleep`, `timeout`) rank as
    completions. Threads, sockets and processes live on real time, so this loop refuses them.
    """

    _ready: Any  # a deque of handles; asyncio's stubs do not show it

    def __init__(self) -> None:
        super().__init__()
        self._now = 0
        self._timers: list[tuple[int, int, int, TimerHandle]] = []
        self._sequence = count()

    def now(self) -> int:
        return self._now

    def time(self) -> float:
        return self._now / 1e9

    def call_at_ns(
        self, when: int, callback: Callable[[], None], rank: int = COMPLETION, failed: FailureHandler = _raise
    ) -> TimerHandle:
        """Calls `callback` at `when`, in ns of this loop."""
        handle = TimerHandle(when / 1e9, enter, (callback, failed), self)
        heapq.heappush(self._timers, (max(when, self._now), rank, next(self._sequence), handle))
        return handle

    def call_at(  # type: ignore[override]  # asyncio's stub types the arguments by a TypeVarTuple
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        due = max(round(when * 1e9), self._now)
        heapq.heappush(self._timers, (due, COMPLETION, next(self._sequence), handle))
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """One round of `run_forever`: everything ready, or else the next instant."""
        ready = self._ready
        if not ready and not self._stopping:  # type: ignore[attr-defined]  # of BaseEventLoop
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][3].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise InternalError("nothing is left to wait for, yet the run is not over")
        self._now = timers[0][0]
        while timers and timers[0][0] == self._now:
            handle = heapq.heappop(timers)[3]
            if not handle.cancelled():
                self._ready.append(handle)

    def _write_to_self(self) -> None:
        """Wakes the selector, elsewhere. Asyncio's own handler of SIGINT calls it; here nothing sleeps."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        del executor, func, args
        raise UsageError("virtual time cannot wait for a thread", hint="run it on real time")

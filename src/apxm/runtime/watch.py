"""Finds code that keeps an event loop busy: while it computes or waits in place, nothing else of the loop goes on.

To read the clock at every step of every handler would cost a tenth of a short operation. So one thread looks, many
times a second, at what the threads are doing in which runs go on; operations pay nothing. It sees code that runs Python
or waits; code in C that holds the interpreter's lock all the while stops this thread too, and stays unseen. So does the
timer by which a callback backend ends a call: nobody but that backend knows whose it is.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from threading import Event, Thread, get_ident
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import NamedTuple

from apxm.forks import ProcessLock, tell_of_forks
from apxm.runtime.attempts import Attempts
from apxm.runtime.waiting import Call

LIMIT_NS = 50_000_000
"""A handler that takes longer in one step is reported."""
_INTERVAL_S = 0.01
"""The time from one look at a loop to the next."""
_CLOSER_S = 0.005
"""The time from one look to the next at a loop that is being held up."""
_LINGER = 10
"""How many looks that find no run the thread outlives."""


class Step(NamedTuple):
    """What somebody else's code does between two waits, as it was seen."""

    held_up: Callable[[int, str], None]
    """Is told, in the loop, for how many ns at least it has kept that busy, and where."""
    of: object
    """Equal for as long as it is the same step."""
    where: str
    """File and line in that code."""


def _of_handler(caller: FrameType, inner: FrameType | None, _innermost: FrameType) -> Step | None:
    call: Call | None = caller.f_locals.get("call")
    if inner is None or call is None or inner.f_globals.get("__name__", "").startswith("apxm.runtime."):
        return None  # our own work
    attempts: Attempts = caller.f_locals["self"]
    return Step(partial(attempts.held_up, call), call, f"{inner.f_code.co_filename}:{inner.f_lineno}")


CALLERS: dict[CodeType, Callable[[FrameType, FrameType | None, FrameType], Step | None]] = {
    Attempts._work.__code__: _of_handler,  # pyright: ignore[reportPrivateUsage] - to be recognized on the stack
    Attempts.begin.__code__: _of_handler,
}
"""The functions of ours that give control to somebody else's code, and what makes a step of their frame, of
that of what they have called, and of the innermost one."""


class _Turn:
    """The loop's next turn. Of what ran before it comes, nothing ran twice: whatever is to go on queues behind it."""

    def __init__(self) -> None:
        self.came = Event()
        self.held_up_by: tuple[Step, int] | None = None
        """What kept it from coming, and for how long at least."""

    def come(self) -> None:
        self.came.set()
        if self.held_up_by is not None:
            step, duration = self.held_up_by
            step.held_up(duration, step.where)


class Watch:
    """Watches all event loops of the process on which runs go on. It reports to the run of the call, in its loop."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._loops: dict[AbstractEventLoop, tuple[int, int]] = {}
        """Each with its thread and the number of its runs."""
        self._looks = 0
        """How often the thread had looked when the first of them began."""
        self._watcher: _Watcher | None = None
        tell_of_forks(self)

    def forked(self) -> None:
        here = get_ident()
        self._loops = {loop: entry for loop, entry in self._loops.items() if entry[0] == here}
        self._watcher = None

    def begin(self, loop: AbstractEventLoop) -> None:
        """A run begins on `loop`, which is the one of this thread."""
        with self._lock:
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = _Watcher(self)
                self._watcher.start()
            if not self._loops:
                self._looks = self._watcher.looks
            thread, runs = self._loops.get(loop, (get_ident(), 0))
            self._loops[loop] = thread, runs + 1

    def end(self, loop: AbstractEventLoop) -> None:
        """A run is over. Behind the last one the thread ends: at once, or a while later where it was too short for a
        look, so that it does not have to begin for each of many short runs."""
        with self._lock:
            thread, runs = self._loops.pop(loop)
            if runs > 1:
                self._loops[loop] = thread, runs - 1
            watcher = self._watcher
            if self._loops or watcher is None or watcher.looks == self._looks:
                return
            self._watcher = None
        watcher.over.set()
        watcher.join()

    def loops(self) -> list[tuple[AbstractEventLoop, int]]:
        """Those to look at, with their threads."""
        with self._lock:
            return [(loop, thread) for loop, (thread, _) in self._loops.items()]

    def retire(self) -> bool:
        """Whether the thread may end: no run has begun meanwhile."""
        with self._lock:
            if self._loops:
                return False
            self._watcher = None
            return True


class _Watcher(Thread):
    def __init__(self, watch: Watch) -> None:
        super().__init__(name="apxm watch", daemon=True)
        self._watch = watch
        self.over = Event()
        self.looks = 0

    def run(self) -> None:
        idle = 0
        while not self.over.wait(_INTERVAL_S):
            self.looks += 1
            loops = self._watch.loops()
            idle = 0 if loops else idle + 1
            if idle >= _LINGER and self._watch.retire():
                break
            for loop, thread in loops:
                if _step_of(thread) is not None:
                    _look(loop, thread)


def _look(loop: AbstractEventLoop, thread: int) -> None:
    """Follows the step that is going on to its end, or to that of the loop's turn."""
    turn = _Turn()
    try:
        loop.call_soon_threadsafe(turn.come)
    except RuntimeError:  # it was closed
        return
    step, begun = _step_of(thread), perf_counter_ns()
    while step is not None and not turn.came.wait(_CLOSER_S):
        now = _step_of(thread)
        if now is None or now.of != step.of:
            break
        if (duration := perf_counter_ns() - begun) >= LIMIT_NS:
            turn.held_up_by = now, duration


def _step_of(thread: int) -> Step | None:
    """The step that `thread` is at."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage] - meant for debugging, as this is
    inner, innermost = None, frame
    while frame is not None and innermost is not None:
        if (step := CALLERS.get(frame.f_code)) is not None:
            return step(frame, inner, innermost)
        inner, frame = frame, frame.f_back
    return None


WATCH = Watch()

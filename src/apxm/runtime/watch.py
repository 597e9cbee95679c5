"""Finds code that keeps an event loop busy: while it computes or waits in place, nothing else of the loop goes on.

To read the clock at every step of every handler would cost a tenth of a short operation. So one thread looks, many
times a second, at what the threads are doing in which runs go on; but only while there is something to see. It sleeps
where a look finds no step of somebody else's code, and whoever begins one while it sleeps wakes it first. So a process
that waits costs nothing, and one in which runs nobody else's code has no such thread.

It sees code that runs Python or waits; code in C that holds the interpreter's lock all the while stops this thread too,
and stays unseen. So does the timer by which a callback backend ends a call: nobody but that backend knows whose it is.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event, Thread, get_ident, get_native_id
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import NamedTuple

from apxm.forks import ProcessLock, tell_of_forks

LIMIT_NS = 50_000_000
"""A handler that takes longer in one step is reported."""
INTERVAL_S = 0.01
"""The time from one look to the next, while there is something to see."""
CLOSER_S = 0.005
"""The time from one look to the next at a loop that is being held up."""
LINGER_S = 0.1
"""How long the thread outlives the last run."""
_PATIENCE = 5
"""How many looks in a row have to find nothing, where it was woken again within as many: to wake it costs as much as a
look, so many short steps shall not wake it each."""
_OURS = ("apxm.backends.", "apxm.runtime.", "apxm.sdks.", "apxm.tools.")
_CALLS_OTHERS = "apxm.tools.python"


def is_ours(module: str | None) -> bool:
    """Whether code of a module that works for a call is ours, and no function of the user's: then nobody looks."""
    return module is not None and module.startswith(_OURS) and module != _CALLS_OTHERS


class Step(NamedTuple):
    """What somebody else's code does between two waits, as it was seen."""

    held_up: Callable[[int, str], None]
    """Is told, in the loop, for how many ns at least it has kept that busy, and where."""
    of: object
    """Equal for as long as it is the same step."""
    where: str
    """File and line in that code."""


CALLERS: dict[CodeType, Callable[[FrameType, FrameType | None, FrameType], Step | None]] = {}
"""The functions of ours that give control to somebody else's code, and what makes a step of their frame, of that of
what they have called, and of the innermost one; None where that is no step which could hold anybody up."""


def step_of(thread: int) -> tuple[bool, Step | None]:
    """Whether a thread is in such a function, and the step that it is at."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage] - meant for debugging, as this is
    inner, innermost = None, frame
    while frame is not None and innermost is not None:
        if (caller := CALLERS.get(frame.f_code)) is not None:
            return True, caller(frame, inner, innermost)
        inner, frame = frame, frame.f_back
    return False, None


def waited_ns(thread: int) -> int:
    """For how many ns a thread, by its number in the system, was able to run and had no processor; 0 where nobody
    counts."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


class Senses(NamedTuple):
    """What the watch knows the world by."""

    now: Callable[[], int] = perf_counter_ns
    step_of: Callable[[int], tuple[bool, Step | None]] = step_of
    waited_ns: Callable[[int], int] = waited_ns


class LoopThread(NamedTuple):
    ident: int
    native: int
    """Its number in the system."""


class Watch:
    """Watches all event loops of the process on which runs go on. It reports to the run of the call, in its loop."""

    def __init__(self, senses: Senses | None = None, start: Callable[[Watcher], None] = Thread.start) -> None:
        """`start` starts the thread that looks."""
        self._senses = senses or Senses()
        self._start = start
        self._lock = ProcessLock()
        self._loops: dict[AbstractEventLoop, tuple[LoopThread, int]] = {}
        """Each with its thread and the number of its runs."""
        self._has_looked = False
        """Whether the thread has looked since the first of them began."""
        self._watcher: Watcher | None = None
        self.asleep = False
        """Whether there are loops, and nobody looks at them: whoever begins a step of somebody else's code calls `wake`
        then. This is all that such a step costs."""
        tell_of_forks(self)

    def forked(self) -> None:
        here = LoopThread(get_ident(), get_native_id())
        runs = {loop: runs for loop, (thread, runs) in self._loops.items() if thread.ident == here.ident}
        self._loops = {loop: (here, count) for loop, count in runs.items()}
        self._watcher, self.asleep = None, bool(runs)

    def begin(self, loop: AbstractEventLoop) -> None:
        """A run begins on `loop`, which is the one of this thread."""
        with self._lock:
            if not self._loops:
                self._has_looked = False
                self.asleep = self._watcher is None or self._watcher.sleeps
            thread, runs = self._loops.get(loop) or (LoopThread(get_ident(), get_native_id()), 0)
            self._loops[loop] = thread, runs + 1

    def end(self, loop: AbstractEventLoop) -> None:
        """A run is over. Behind the last one the thread ends: at once, or a while later where it was too short for a
        look, so that it does not have to begin for each of many short runs."""
        with self._lock:
            thread, runs = self._loops.pop(loop)
            if runs > 1:
                self._loops[loop] = thread, runs - 1
            if self._loops:
                return
            self.asleep = False
            watcher = self._watcher
            if watcher is None or not self._has_looked:
                return
            self._watcher = None
        watcher.end()

    def wake(self) -> None:
        """Somebody else's code begins a step, and nobody looks."""
        with self._lock:
            if not self.asleep:
                return
            self.asleep = False
            if self._watcher is not None:
                self._watcher.sleeps = False
                self._watcher.stirred.set()
                return
            self._watcher = Watcher(self, self._senses)
            try:
                self._start(self._watcher)
            except RuntimeError:  # there can be no more threads: then nobody looks
                self._watcher = None

    # --- what its thread asks --------------------------------------------------------------------------------------

    def loops(self) -> list[tuple[AbstractEventLoop, LoopThread]]:
        """Those to look at, with their threads."""
        with self._lock:
            self._has_looked = True
            return [(loop, thread) for loop, (thread, _) in self._loops.items()]

    def rests(self, watcher: Watcher, sleeps: bool) -> bool:
        """The thread sleeps from here on, or does no more. Gives whether there are runs."""
        with self._lock:
            watcher.sleeps = sleeps
            self.asleep = sleeps and bool(self._loops)
            return bool(self._loops)

    def retire(self) -> bool:
        """Whether the thread may end: no run has begun meanwhile."""
        with self._lock:
            if self._loops:
                return False
            self._watcher = None
            return True


class Watcher(Thread):
    """The thread that looks. It begins when there is something to see."""

    def __init__(self, watch: Watch, senses: Senses) -> None:
        super().__init__(name="apxm watch", daemon=True)
        self._watch = watch
        self._senses = senses
        self._turns: dict[AbstractEventLoop, _Turn] = {}
        """Those that were yet to come at the last look."""
        self._over = False
        self.sleeps = False
        """Whether it does not look before it is stirred."""
        self.stirred = Event()

    def end(self) -> None:
        self._over = True
        self.stirred.set()
        self.join()

    def run(self) -> None:
        for pause in self.pauses():
            self.stirred.wait(pause)

    def pauses(self) -> Generator[float | None]:
        """Looks, and gives how many seconds to wait until it does again, or is stirred; None for no limit."""
        patience = 1
        yield INTERVAL_S
        while True:
            missed = 0
            while not self._over and missed < patience:
                pause = self._look()
                missed = 0 if pause else missed + 1
                if missed < patience:
                    yield pause or INTERVAL_S
            if self._over:
                return
            slept = self._senses.now()
            has_runs = self._watch.rests(self, sleeps=True)
            if self._look() is None:  # else a step began while nobody knew that it had to wake this thread
                yield None if has_runs else LINGER_S
                if self._over or (not self.stirred.is_set() and self._watch.retire()):
                    return
                patience = _PATIENCE if self._senses.now() - slept < _PATIENCE * INTERVAL_S * 1e9 else 1
                self.stirred.clear()
            self._watch.rests(self, sleeps=False)
            yield INTERVAL_S

    def _look(self) -> float | None:
        """Looks at all loops, and gives the seconds until it should again; None where there is nothing to see."""
        before, self._turns = self._turns, {}
        pause = None
        for loop, thread in self._watch.loops():
            now = self._senses.now()  # first: what is seen then has lasted until now at least
            is_inside, step = self._senses.step_of(thread.ident)
            if is_inside:
                pause = pause or INTERVAL_S
            if step is None:
                continue
            if (turn := before.get(loop)) is not None:
                if turn.came or turn.step.of != step.of:
                    continue
                turn.see(step, now)
            elif (turn := self._queued(loop, thread)) is None:
                continue
            self._turns[loop] = turn
            pause = CLOSER_S
        return pause

    def _queued(self, loop: AbstractEventLoop, thread: LoopThread) -> _Turn | None:
        """The next turn of a loop, and the step that it has to wait for; None where there is none any more."""
        turn = _Turn(self._senses, thread.native)
        try:
            loop.call_soon_threadsafe(turn.come)
        except RuntimeError:  # it was closed
            return None
        _, step = self._senses.step_of(thread.ident)
        if step is None:
            return None
        turn.see(step, self._senses.now())
        return turn


class _Turn:
    """A loop's next turn. Of what ran before it comes, nothing ran twice: whatever is to go on queues behind it."""

    step: Step
    """The one that keeps it from coming, as it was last seen."""

    def __init__(self, senses: Senses, native: int) -> None:
        self._senses = senses
        self._native = native
        self._waited = senses.waited_ns(native)
        self._since: int | None = None
        """When the step was first seen."""
        self._duration = 0
        self.came = False

    def see(self, step: Step, now: int) -> None:
        """The same step goes on."""
        if self._since is None:
            self._since = now
        self.step, self._duration = step, now - self._since

    def come(self) -> None:
        self.came = True
        if self._duration < LIMIT_NS:
            return
        # Only here, in the thread itself: the system counts a wait once it is over.
        duration = self._duration - (self._senses.waited_ns(self._native) - self._waited)
        if duration >= LIMIT_NS:
            self.step.held_up(duration, self.step.where)


WATCH = Watch()

"""How attempts begin and end on the event loop: by callbacks, or in tasks. The only file that makes tasks.

Making a task and ending it costs as much as all the rest of an operation. So a task takes one call after the other: a
call that returns without having waited leaves its task to the next one, and one that waits holds it until it is over.
Where all wait there are as many tasks as calls, made in doubling numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from threading import get_ident
from types import FrameType
from typing import Any

from apxm.backends.protocol import Clock
from apxm.errors import OperationError
from apxm.runtime.defects import raised_by
from apxm.runtime.loops import FailureHandler
from apxm.runtime.phases import EXPIRED, SENT, STARTING
from apxm.runtime.waiting import Call
from apxm.runtime.watch import CALLERS, WATCH, Step, is_ours

_TURN_NS = 1_000_000
"""After so long, a task that finds more to do lets everything else of the loop have a turn."""
_MOST_WARNINGS = 3
"""The most operations of a run that are told of because they keep the event loop busy."""


class Attempts:
    """Begins the attempts of one run, and brings their outcomes back: in the loop's own thread, each one once."""

    received: Callable[[Call, object], None]
    """Gets the outcome of each attempt that was not given up, whatever it is; set it before the first begins."""

    def __init__(
        self, clock: Clock, warn: Callable[[Call, str], None], abort: FailureHandler, *, foreign: bool = True
    ) -> None:
        """`abort` is told what ends more than a call: a provider that was interrupted. `foreign` says that some
        providers' code may be somebody else's, and is to be watched."""
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._clock = clock
        self._now = clock.now
        self._warn = warn
        self._abort = abort
        self._create_task = self._loop.create_task
        self._context = copy_context()
        """That of the run: where an attempt begins, any other part of it may be going on, such as a lane."""
        self._foreign = foreign
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh = 0
        """Tasks that have not begun."""
        self._returning = False
        """Whether a task has just ended a call: it will look for another one itself."""
        self._busy: set[tuple[int, int]] = set()
        """Frames and nodes of operations that were told of."""

    def begin(self, call: Call) -> None:
        """Begins an attempt now, or in a task as soon as the loop gets to it; those begun before it go first."""
        provider = call.provider
        if provider.begin is not None:
            if self._foreign and WATCH.asleep:
                WATCH.wake()
            call.phase = SENT
            call.sent = sent = self._now()
            if call.clocked:
                call.dispatch += sent - call.since
            done = partial(self.ended, call, len(call.earlier)) if call.earlier else call.first_ended
            try:
                if call.stream is None:
                    call.handle = provider.begin(call.request, self._clock, done)
                else:
                    call.handle = call.stream.begin(done)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                done(raised_by(provider, error))
        else:
            self._waiting.append(call)
            if not self._fresh and not self._returning:
                self._hire(1)
            if call.clocked:
                call.dispatch += self._now() - call.since

    def ended(self, call: Call, attempt: int, outcome: object) -> None:
        """A provider says so of the attempt of that number, from 0; perhaps not for the first time, from inside
        `begin`, or in a thread of its own."""
        if call.phase is not SENT or len(call.earlier) != attempt:
            return  # it is over already
        if call.handle is None or get_ident() != self._thread:
            # From inside `begin`, or from another thread: then we may be in the middle of something.
            self._loop.call_soon_threadsafe(self._ended_later, call, attempt, outcome)
        else:
            self.received(call, outcome)

    def _ended_later(self, call: Call, attempt: int, outcome: object) -> None:
        if len(call.earlier) == attempt:
            self.received(call, outcome)

    def held_up(self, call: Call, duration: int, where: str) -> None:
        """The provider of a call kept the event loop busy in one step, for at least so many ns, at a place of its
        code."""
        place = call.frame.index, call.node
        if place in self._busy or len(self._busy) == _MOST_WARNINGS:
            return
        self._busy.add(place)
        self._warn(
            call,
            f"{call.provider.title} kept the event loop busy for at least {duration // 1_000_000} ms "
            f"(at {where}), and nothing else could go on; asyncio.to_thread is the place for code that blocks",
        )

    async def closed(self) -> None:
        """Returns once no task is left; what has not begun never does."""
        self._waiting.clear()
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done

    def _hire(self, calls: int) -> None:
        """Makes tasks for so many calls, but at most as many as there are already."""
        for _ in range(min(calls, len(self._tasks) or 1)):
            self._fresh += 1
            work = self._work()
            work = _WatchedSteps(work) if self._foreign else work
            self._tasks.add(self._create_task(work, context=self._context.copy()))

    async def _work(self) -> None:
        waiting, now = self._waiting, self._now
        task = asyncio.current_task()
        assert task is not None
        self._fresh -= 1
        began = now()
        try:
            while waiting and not task.cancelling():
                if len(waiting) > 1 and not self._fresh:
                    self._hire(len(waiting) - 1)
                sent = now()
                if sent - began > _TURN_NS:
                    await asyncio.sleep(0)
                    began = now()
                    continue
                call = waiting.popleft()
                if call.phase is not STARTING:
                    continue  # it was given up meanwhile
                provider = call.provider
                call.phase, call.handle, call.sent = SENT, task, sent
                assert provider.call is not None
                outcome: object
                try:
                    outcome = await (provider.call(call.request) if call.stream is None else call.stream.call())
                except asyncio.CancelledError:
                    if call.phase is EXPIRED:
                        outcome = call.timeout()
                    elif call.phase is SENT:
                        outcome = OperationError("cancelled", f"the {provider.kind} cancelled the call")
                    else:
                        raise
                except OperationError as error:
                    outcome = error
                except (KeyboardInterrupt, SystemExit) as error:
                    self._abort(error)
                    break
                except BaseException as error:
                    if isinstance(error, GeneratorExit) and asyncio.current_task() is not task:
                        raise  # this very coroutine is thrown away
                    outcome = raised_by(provider, error)
                self._returning = True
                self.received(call, outcome)
                self._returning = False
        finally:
            if waiting and not self._fresh:
                self._hire(len(waiting))
            # Nothing is awaited from here on: whoever waits for the tasks need not wait for this one.
            self._tasks.discard(task)


class _WatchedSteps(Coroutine[Any, Any, None]):
    """A coroutine, each step of which wakes the watch of event loops where that sleeps."""

    __slots__ = ("_coroutine", "_go_on")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._go_on = coroutine.send

    def __next__(self) -> Any:
        """What a task calls instead of `send`, where it is there: that saves a look for the name."""
        if WATCH.asleep:
            WATCH.wake()
        return self._go_on(None)

    def send(self, value: Any) -> Any:
        if WATCH.asleep:
            WATCH.wake()
        return self._go_on(value)

    def throw(self, *raised: Any) -> Any:
        if WATCH.asleep:
            WATCH.wake()
        return self._coroutine.throw(*raised)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        """What debuggers ask a coroutine for, such as its frame."""
        return getattr(self._coroutine, name)


def _of_handler(caller: FrameType, inner: FrameType | None, _innermost: FrameType) -> Step | None:
    call: Call | None = caller.f_locals.get("call")
    if inner is None or call is None or is_ours(inner.f_globals.get("__name__")):
        return None
    attempts: Attempts = caller.f_locals["self"]
    return Step(partial(attempts.held_up, call), call, f"{inner.f_code.co_filename}:{inner.f_lineno}")


for _caller in (Attempts._work, Attempts.begin):  # pyright: ignore[reportPrivateUsage] - to be known on the stack
    CALLERS[_caller.__code__] = _of_handler

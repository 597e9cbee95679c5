"""The tasks in which the calls of coroutine backends run. The only file that makes tasks.

Making a task and ending it costs as much as all the rest of an operation. So a task takes one call after the other: a
call that returns without having waited leaves its task to the next one, and one that waits holds it until it is over.
Where all wait there are as many tasks as calls, made in doubling numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from apxm.backends.protocol import Clock
from apxm.errors import OperationError
from apxm.runtime.call import Call
from apxm.runtime.defects import raised_by
from apxm.runtime.loops import Failed

_TURN_NS = 1_000_000
"""After so long, a task that finds more to do lets everything else of the loop have a turn."""


class Workers:
    def __init__(self, clock: Clock, received: Callable[[Call, object], None], abort: Failed) -> None:
        """`received` gets the outcome of each call that was not given up: whatever the backend returned, or an
        `OperationError`. `abort` is told what ends more than a call: a backend that was interrupted."""
        self._now = clock.now
        self._received = received
        self._abort = abort
        self._create_task = asyncio.get_running_loop().create_task
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh = 0
        """Tasks that have not begun."""
        self._returning = False
        """Whether a task has just ended a call: it will look for another one itself."""

    def start(self, call: Call) -> None:
        """Begins with the call as soon as the loop gets to it; those started before it go first."""
        self._waiting.append(call)
        if not self._fresh and not self._returning:
            self._hire(1)

    def clear(self) -> None:
        """Forgets the calls that have not begun. Those that have are given up by cancelling their handles."""
        self._waiting.clear()

    async def closed(self) -> None:
        """Returns once no task is left."""
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done

    def _hire(self, calls: int) -> None:
        """Makes tasks for so many calls, but at most as many as there are already."""
        for _ in range(min(calls, len(self._tasks) or 1)):
            self._fresh += 1
            self._tasks.add(self._create_task(self._work()))

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
                backend, call.handle, call.sent = call.backend, task, sent
                assert backend.call is not None
                outcome: object
                try:
                    outcome = await backend.call(call.request)
                except asyncio.CancelledError:
                    if not call.running:
                        raise
                    outcome = call.timeout() if call.timed_out else _cancelled()
                except OperationError as error:
                    outcome = error
                except (KeyboardInterrupt, SystemExit) as error:
                    self._abort(error)
                    break
                except BaseException as error:
                    if isinstance(error, GeneratorExit) and asyncio.current_task() is not task:
                        raise  # this very coroutine is thrown away
                    outcome = raised_by(backend.name, error)
                self._returning = True
                self._received(call, outcome)
                self._returning = False
        finally:
            if waiting and not self._fresh:
                self._hire(len(waiting))
            # Nothing is awaited from here on: whoever waits for the tasks need not wait for this one.
            self._tasks.discard(task)


def _cancelled() -> OperationError:
    return OperationError("cancelled", "the backend cancelled the call")

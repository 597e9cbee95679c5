"""Attempts in flight and their time limits: one queue per distinct limit, and one armed timer per queue.

Attempts with the same limit expire in the order in which they began, so a queue needs no sorting, and an attempt costs
an entry in a dictionary, which keeps the order, instead of a timer of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apxm.backends.protocol import Handle
from apxm.runtime.loops import TIMEOUT, RankedClock
from apxm.runtime.phases import STARTING
from apxm.runtime.waiting import Call


class Deadlines:
    """The calls of a run that have an attempt in flight."""

    def __init__(self, clock: RankedClock, expire: Callable[[Call], None]) -> None:
        """`expire` is called for each call that was not removed when the time of its attempt is over."""
        self._clock = clock
        self._expire = expire
        self._queues: dict[int | None, dict[Call, None]] = {None: {}}
        """The calls by their limit, in the order in which they began."""
        self._timers: dict[int, Handle] = {}

    def __iter__(self) -> Iterator[Call]:
        for queue in self._queues.values():
            yield from queue

    def add(self, call: Call) -> None:
        limit = call.limit
        queue = self._queues.get(limit)
        if queue is None:
            queue = self._queues[limit] = {}
        queue[call] = None
        if limit is not None and limit not in self._timers:
            self._arm(limit, self._clock.now() + limit)

    def remove(self, call: Call) -> None:
        """The attempt of a call is over. Harmless where it has expired, and where all were forgotten."""
        self._queues[call.limit].pop(call, None)

    def clear(self) -> None:
        """Forgets all."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for queue in self._queues.values():
            queue.clear()

    def _arm(self, limit: int, when: int) -> None:
        self._timers[limit] = self._clock.call_at(when, lambda: self._fire(limit), TIMEOUT)

    def _fire(self, limit: int) -> None:
        del self._timers[limit]
        queue = self._queues[limit]
        now = self._clock.now()
        due: list[Call] = []
        for call in queue:
            # Its time begins when it is sent; those with the same limit are in the order in which that happens.
            when = (now if call.phase is STARTING else call.sent) + limit
            if when > now:
                self._arm(limit, when)
                break
            due.append(call)
        for call in due:
            if call in queue:  # an end may have others in its wake
                del queue[call]
                self._expire(call)

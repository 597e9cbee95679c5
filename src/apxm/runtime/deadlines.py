"""Time limits of attempts: one queue per distinct limit, and one armed timer per queue.

Attempts with the same limit expire in the order in which they began, so a queue needs no sorting, and an attempt costs
an append instead of a timer of the loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from apxm.backends.protocol import Handle
from apxm.runtime.loops import TIMEOUT, RankedClock


class Expirable(Protocol):
    @property
    def running(self) -> bool:
        """False once it is over, however it ended."""
        ...


E = TypeVar("E", bound=Expirable)

_LONGEST_S = 1e9
"""30 years. Beyond it, in steps of the loop or in ns, the clocks of event loops overflow."""


def limit_ns(seconds: float) -> int:
    """A time limit above 0 as the clock counts it: at least 1 ns, for 0 would be none."""
    return max(1, round(min(seconds, _LONGEST_S) * 1e9))


class Deadlines(Generic[E]):
    def __init__(self, clock: RankedClock, expire: Callable[[E], None]) -> None:
        """`expire` is called for each attempt that still runs when its time is over."""
        self._clock = clock
        self._expire = expire
        self._queues: dict[int, deque[tuple[int, E]]] = {}
        self._timers: dict[int, Handle] = {}

    def add(self, attempt: E, began: int, limit: int) -> None:
        """`attempt` began at `began` and may take `limit`, both in ns."""
        queue = self._queues.get(limit)
        if queue is None:
            queue = self._queues[limit] = deque()
        while queue and not queue[0][1].running:
            queue.popleft()
        queue.append((began + limit, attempt))
        if limit not in self._timers:
            self._arm(limit, began + limit)

    def clear(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queues.clear()

    def _arm(self, limit: int, when: int) -> None:
        self._timers[limit] = self._clock.call_at(when, lambda: self._fire(limit), TIMEOUT)

    def _fire(self, limit: int) -> None:
        del self._timers[limit]
        queue = self._queues[limit]
        now = self._clock.now()
        due: list[E] = []
        while queue and (queue[0][0] <= now or not queue[0][1].running):
            due.append(queue.popleft()[1])
        if queue:
            self._arm(limit, queue[0][0])
        for attempt in due:
            if attempt.running:
                self._expire(attempt)

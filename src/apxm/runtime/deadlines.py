"""Attempts in flight and their time limits: one queue per distinct limit, and one armed timer per queue.

Attempts with the same limit expire in the order in which they began, so a queue needs no sorting, and an attempt costs
an entry in a dictionary, which keeps the order, instead of a timer of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from apxm.backends.protocol import Handle
from apxm.runtime.loops import TIMEOUT, RankedClock


class InFlight(Protocol):
    """An attempt."""

    @property
    def limit(self) -> int | None:
        """How long it may take, in ns; None is no limit."""
        ...

    @property
    def sent(self) -> int | None:
        """When that time began; None before. Those with the same limit begin in the order in which they were added."""
        ...


A = TypeVar("A", bound=InFlight)

_LONGEST_S = 1e9
"""30 years. Beyond it, in steps of the loop or in ns, the clocks of event loops overflow."""


def limit_ns(seconds: float) -> int:
    """A time limit above 0 as the clock counts it: at least 1 ns, for 0 would be none."""
    return max(1, round(min(seconds, _LONGEST_S) * 1e9))


class Deadlines(Generic[A]):
    def __init__(self, clock: RankedClock, expire: Callable[[A], None]) -> None:
        """`expire` is called for each attempt that was not removed when its time is over."""
        self._clock = clock
        self._expire = expire
        self._queues: dict[int | None, dict[A, None]] = {None: {}}
        """By limit, in the order in which they began."""
        self._timers: dict[int, Handle] = {}

    def __iter__(self) -> Iterator[A]:
        for queue in self._queues.values():
            yield from queue

    def add(self, attempt: A) -> None:
        limit = attempt.limit
        queue = self._queues.get(limit)
        if queue is None:
            queue = self._queues[limit] = {}
        queue[attempt] = None
        if limit is not None and limit not in self._timers:
            self._arm(limit, self._clock.now() + limit)

    def remove(self, attempt: A) -> None:
        """`attempt` is over. Harmless where it has expired, and where all were forgotten."""
        self._queues[attempt.limit].pop(attempt, None)

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
        due: list[A] = []
        for attempt in queue:
            when = (now if attempt.sent is None else attempt.sent) + limit
            if when > now:
                self._arm(limit, when)
                break
            due.append(attempt)
        for attempt in due:
            if attempt in queue:  # an end may have others in its wake
                del queue[attempt]
                self._expire(attempt)

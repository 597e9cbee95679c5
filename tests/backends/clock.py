"""A clock that stands still until a test moves it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    def __init__(self, start: int = 0) -> None:
        self.time = start
        self.fired = 0
        self._timers: list[tuple[int, int, Timer]] = []
        self._sequence = count()

    def now(self) -> int:
        return self.time

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    @property
    def armed(self) -> int:
        """Timers that are still to fire."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def run(self) -> None:
        """Jumps from timer to timer until none is left."""
        while self._timers:
            when = self._timers[0][0]
            self.at(max(when, self.time))

    def at(self, when: int) -> None:
        """Moves to `when` in one step; what was due before fires now, late."""
        assert when >= self.time
        self.time = when
        while self._timers and self._timers[0][0] <= when:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                self.fired += 1
                callback, timer.callback = timer.callback, None
                callback()

"""Processor sharing: calls in flight slow each other down, as continuous batching does.

A call brings work W, the time it would take alone. While c calls are in flight each of them advances at the rate
1/s(c). With the virtual time V(t) = ∫dt/s(c(t)), a call that arrives at t is over when V has grown by W; so one heap of
target values of V, and one timer for its smallest, decide everything.

V is an integer number of 2⁻³² ns. It is rounded down as it advances and the time to a target is rounded up, so a timer
that fires when it should always finds its call over: no second try one unit later, for ever. A finishing time is never
early, and late by a nanosecond at most, not counting what four thousand million arrivals in its time could add.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import count

from apxm.backends.protocol import Clock, Handle
from apxm.backends.slowdown import Slowdown

_UNIT = 1 << 32
"""Parts of a nanosecond in which virtual time is counted."""


class SharedCall:
    """A call in flight. A cancelled one stays in the heap, without weight, until it surfaces."""

    __slots__ = ("_sharing", "arrived", "done", "over_at")

    def __init__(self, sharing: ProcessorSharing, arrived: int, done: Callable[[int], None]) -> None:
        self._sharing = sharing
        self.arrived = arrived
        self.done: Callable[[int], None] | None = done
        """Who is told; None once it was cancelled or reported."""
        self.over_at: int | None = None

    def cancel(self) -> None:
        if self.done is not None:
            self._sharing.release(self)


class ProcessorSharing:
    """The calls in flight at one simulated endpoint. Belongs to one event loop at a time.

    What happened is computed from the clock, not from when a timer got its turn: a late timer reports late, and the
    load it reports about still ended when it should.
    """

    def __init__(self, slowdown: Slowdown) -> None:
        def ratio(calls: int) -> tuple[int, int]:
            """s(c) as numerator and denominator."""
            return slowdown.factor(calls).as_integer_ratio()

        self._ratio = lru_cache(maxsize=1 << 16)(ratio)
        self._sequence = count()
        self._heap: list[tuple[int, int, SharedCall]] = []
        self._load = 0
        self._cancelled = 0
        self._over: deque[SharedCall] = deque()
        self._unreported = 0
        """Calls in `_over` that were not cancelled since."""
        self._reporting = False
        self._clock: Clock | None = None
        self._virtual = 0
        self._instant = 0
        """The time of the clock at which V was `_virtual`."""
        self._timer: Handle | None = None
        self._timer_at = 0

    @property
    def load(self) -> int:
        """c: how many calls are in flight."""
        return self._load

    def begin(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> SharedCall:
        """Starts a call. `done` gets the time it took, later, unless the call is cancelled.

        While calls are in flight the clock of the first of them tells the time for all.
        """
        if self._clock is None:
            self._clock = clock
            self._instant = clock.now()
        self._bring(self._clock.now())
        call = SharedCall(self, self._instant, done)
        heappush(self._heap, (self._virtual + work_ns * _UNIT, next(self._sequence), call))
        self._load += 1
        # More load makes nothing end sooner, so only a new first call can need an earlier timer.
        if self._timer is None or self._heap[0][2] is call:
            self._arm()
        return call

    def release(self, call: SharedCall) -> None:
        """Takes a cancelled call away, and its load with it at once."""
        if self._clock is None:
            return
        self._bring(self._clock.now())  # up to now it did weigh
        call.done = None
        if call.over_at is None:
            self._load -= 1
            self._cancelled += 1
            if self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if entry[2].done is not None]
                heapify(self._heap)
                self._cancelled = 0
        else:
            self._unreported -= 1
        self._arm()

    def _end_until(self, now: int) -> None:
        """Ends the calls that are over by `now`, one by one, each at its own instant."""
        while (due := self._next_end()) is not None and due <= now:
            self._move(due)
            call = heappop(self._heap)[2]
            call.over_at = due
            self._load -= 1
            self._over.append(call)
            self._unreported += 1

    def _bring(self, now: int) -> None:
        """Brings V to `now`, because the load is about to change.

        Only then: each rounding costs a little exactness, and between changes V is a straight line anyway.
        """
        if now > self._instant:
            self._end_until(now)
            self._move(now)

    def _move(self, instant: int) -> None:
        """Moves on to a later instant, under the load there is."""
        if instant > self._instant:
            if self._load:
                numerator, denominator = self._ratio(self._load)
                self._virtual += (instant - self._instant) * _UNIT * denominator // numerator  # V is rounded down
            self._instant = instant

    def _next_end(self) -> int | None:
        """When the first call in flight ends if nothing changes."""
        while self._heap and self._heap[0][2].done is None:
            heappop(self._heap)
            self._cancelled -= 1
        if not self._heap:
            return None
        missing = self._heap[0][0] - self._virtual
        if missing <= 0:
            return self._instant
        numerator, denominator = self._ratio(self._load)
        return self._instant - (-missing * numerator // (denominator * _UNIT))  # rounded up: its timer finds it over

    def _arm(self) -> None:
        if self._reporting:
            return  # _report arms once, at its end
        due = self._instant if self._unreported else self._next_end()
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if self._clock is None or due is None:
            self._clock = None
            self._virtual = 0
            self._over.clear()
            return
        self._timer_at = due
        self._timer = self._clock.call_at(due, self._report)

    def _report(self) -> None:
        self._timer = None
        if self._clock is None:
            return
        self._reporting = True
        try:
            self._end_until(self._clock.now())
            while self._over:
                call = self._over.popleft()
                done, call.done = call.done, None
                if done is not None and call.over_at is not None:
                    self._unreported -= 1
                    done(call.over_at - call.arrived)
        finally:
            self._reporting = False
            self._arm()

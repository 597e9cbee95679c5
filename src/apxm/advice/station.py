"""An endpoint by its law, for runs on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from apxm.advice.laws import Law
from apxm.advice.scenario import Wall
from apxm.backends.protocol import Handle
from apxm.backends.sharing import ProcessorSharing
from apxm.runtime.loops import START, RankedClock

_GRAIN = 1000
"""ns; works that are equal but for this are equal."""
_NEAR = 10_000
"""Within one part in so many of a call's work is about the same instant."""


class Station:
    """Where calls hold each other up; without a law, nobody does."""

    def __init__(self, law: Law | None = None, wall: Wall | None = None) -> None:
        self._slots = None if law is None else law.slots
        self._sharing = None if law is None or law.slowdown.text == "none" else ProcessorSharing(law.slowdown)
        self._wall = wall
        self._queue: list[tuple[int, int, int, _Call]] = []
        self._sequence = count()
        self._serving = 0
        self._load = 0
        self.most = 0
        """The most calls that were in flight at once."""

    @property
    def refuses(self) -> Wall | None:
        """Why it would not take a call now."""
        return self._wall if self._wall is not None and self._load >= self._wall.calls else None

    def begin(self, work: int, order: int, was_over: int, clock: RankedClock, done: Callable[[], None]) -> Handle:
        """Starts a call that would take `work` ns alone. Of those that come at the same instant the one with the lower
        `order` is in front. One that ends at about the instant `was_over`, as it did, ends right then."""
        call = _Call(self, work, was_over, clock, done)
        self._load += 1
        self.most = max(self.most, self._load)
        if self._slots is None or not work:
            self._serve(call)
            return call
        heappush(self._queue, (clock.now(), order, next(self._sequence), call))
        call.stage = clock.call_at(clock.now(), self._go_on, START)  # when all are there that come now
        return call

    def _go_on(self) -> None:
        while self._queue and (self._slots is None or self._serving < self._slots):
            call = heappop(self._queue)[3]
            if not call.is_over:
                self._serve(call)

    def _serve(self, call: _Call) -> None:
        call.is_served = True
        self._serving += 1
        if self._sharing is not None:
            # Equal works are to be equal, whatever their last digits are: who ends together frees slots together.
            rounded = call.work // _GRAIN * _GRAIN
            call.stage = self._sharing.begin(rounded, call.clock, lambda _: self._shared(call))
        else:
            call.stage = call.clock.call_at(call.clock.now() + call.work, lambda: self._served(call))

    def _shared(self, call: _Call) -> None:
        early = call.was_over - call.clock.now()
        if 0 < early <= 20 * _GRAIN + call.work // _NEAR:
            call.stage = call.clock.call_at(call.was_over, lambda: self._served(call))
        else:
            self._served(call)

    def _served(self, call: _Call) -> None:
        self._leave(call)
        call.done()

    def give_up(self, call: _Call) -> None:
        if call.is_over:
            return
        if call.stage is not None:
            call.stage.cancel()
        self._leave(call)

    def _leave(self, call: _Call) -> None:
        call.is_over = True
        self._load -= 1
        if call.is_served:
            self._serving -= 1
        self._go_on()


class _Call:
    __slots__ = ("_station", "clock", "done", "is_over", "is_served", "stage", "was_over", "work")

    def __init__(
        self, station: Station, work: int, was_over: int, clock: RankedClock, done: Callable[[], None]
    ) -> None:
        self._station = station
        self.work = work
        self.was_over = was_over
        self.clock = clock
        self.done = done
        self.stage: Handle | None = None
        self.is_served = self.is_over = False

    def cancel(self) -> None:
        self._station.give_up(self)

"""An `Engine` on a clock: tells of each call what became of it, when it did.

What happened is computed from the clock, not from when a timer got its turn: a late timer reports late, and the load it
reports about still ended when it should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from apxm.backends.engine import Costs, Engine, EngineCall, Tokens
from apxm.backends.protocol import Clock, Handle


class Served(NamedTuple):
    """What an engine did for a call."""

    took: int
    """From when it was sent to its last token, in ns."""
    cached: int
    """Tokens of the prompt that did not have to be read."""


class _Waiting(NamedTuple):
    """Who waits for a call."""

    sent: int
    done: Callable[[Served], None]
    told: Callable[[], None] | None


class _BatchedCall:
    """A call in flight, for who may give it up."""

    __slots__ = ("_batching", "_call")

    def __init__(self, batching: Batching, call: EngineCall) -> None:
        self._batching = batching
        self._call = call

    def cancel(self) -> None:
        self._batching.release(self._call)


class Batching:
    """The calls in flight at one engine with continuous batching. Belongs to one event loop at a time."""

    def __init__(self, costs: Costs) -> None:
        self._engine = Engine(costs)
        self._waiting: dict[EngineCall, _Waiting] = {}
        self._reporting = False
        self._clock: Clock | None = None
        self._timer: Handle | None = None
        self._timer_at = 0

    @property
    def load(self) -> int:
        """How many calls are in flight."""
        return len(self._waiting)

    def forget(self) -> None:
        """The prompts read so far are not known again."""
        self._engine.cache.forget()

    def begin(
        self,
        tokens: Tokens,
        clock: Clock,
        done: Callable[[Served], None],
        *,
        ratio: float = 1.0,
        told: Callable[[], None] | None = None,
    ) -> Handle:
        """Starts a call, whose tokens cost `ratio` times what they do by `costs`. `told` is called at each of its
        tokens but the last, `done` then, unless the call is cancelled.

        While calls are in flight the clock of the first of them tells the time for all.
        """
        if self._clock is None:
            self._clock = clock
        now = self._clock.now()
        self._engine.advance(now)
        call = self._engine.add(tokens, now, ratio, watched=told is not None)
        self._waiting[call] = _Waiting(now, done, told)
        self._arm()
        return _BatchedCall(self, call)

    def release(self, call: EngineCall) -> None:
        if self._waiting.pop(call, None) is None or self._clock is None:
            return
        now = self._clock.now()
        self._engine.advance(now)
        self._engine.cancel(call, now)
        self._arm()

    def _arm(self) -> None:
        if self._reporting or self._clock is None:
            return  # _report arms once, at its end
        due = self._clock.now() if self._engine.changed else self._engine.next_change()
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is None:
            self._clock = None
            return
        self._timer_at = due
        self._timer = self._clock.call_at(due, self._report)

    def _report(self) -> None:
        self._timer = None
        if self._clock is None:
            return
        self._reporting = True
        changed = self._engine.changed
        try:
            self._engine.advance(self._clock.now())
            while changed:
                call = changed.popleft()
                if call.over is None:
                    waiting = self._waiting.get(call)
                    if waiting is not None and waiting.told is not None:
                        waiting.told()
                elif (waiting := self._waiting.pop(call, None)) is not None:
                    waiting.done(Served(call.over - waiting.sent, call.cached))
        finally:
            self._reporting = False
            self._arm()
